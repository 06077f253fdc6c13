//! What can be the matter: the facts of each kind, and nothing else. Few, so that they fit a register; what is said about them
//! is written when it is told, in `wording`. No payload, no prompt, and no message of a model call is ever among them.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ports::PortError;
use crate::ports::alerts::Kind;
use crate::ports::model::CallErrorClass;
use crate::request::{Lane, ModelId, RequestId, Tenant};

/// Longest text of somebody else's that is kept, in characters.
const LONGEST: usize = 300;
/// Names of lost workers that are kept.
const NAMED: usize = 5;

/// A condition, with the latest facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Condition {
    /// Calls of a lane fail.
    ErrorRate {
        /// Which.
        lane: Lane,
        /// Bedrock's exception, or `CallTimeout`.
        error: String,
        /// What it means.
        fault: Fault,
        /// The request that it happened to last.
        latest: RequestId,
    },
    /// Bedrock throttles a lane.
    Throttled {
        /// Which.
        lane: Lane,
        /// Tokens a minute are exceeded, not requests.
        tokens: bool,
    },
    /// The dead-letter queue is not empty.
    DeadLetters {
        /// Its name.
        queue: String,
        /// Messages in it.
        messages: u64,
    },
    /// A request was given up.
    Poison {
        /// Its lane.
        lane: Lane,
        /// Whose.
        tenant: Tenant,
        /// The latest.
        latest: RequestId,
        /// Workers that it took down.
        workers: u32,
    },
    /// Requests should start too late.
    DeadlineAtRisk {
        /// Their lane.
        lane: Lane,
        /// Whose.
        tenant: Tenant,
        /// How many are known.
        requests: u64,
        /// The first of them.
        first: RequestId,
        /// Its deadline.
        deadline: Timestamp,
        /// When it should start.
        start: Timestamp,
    },
    /// A budget has no room.
    Budget {
        /// Whose; of all tenants together when absent.
        tenant: Option<Tenant>,
        /// `day` or `month`.
        period: String,
        /// Dollars that may be spent.
        limit_usd: f64,
        /// Dollars that were.
        spent_usd: f64,
        /// When it renews.
        until: Timestamp,
    },
    /// A lane pauses for hours.
    LanePaused {
        /// Which.
        lane: Lane,
        /// All lanes of its account and Region pause with it.
        account_wide: bool,
        /// Until when, at first.
        until: Timestamp,
    },
    /// Bedrock refuses a model.
    AccessDenied {
        /// Its lane.
        lane: Lane,
        /// As it is called.
        model: ModelId,
        /// The request that was refused last.
        latest: RequestId,
    },
    /// Nothing is finished.
    NoProgress {
        /// Requests that are known in line and could go.
        waiting: u64,
        /// Requests in the hold queue or being called.
        held: u64,
        /// Calls in flight, of all workers.
        in_flight: u64,
        /// Workers that call and are alive.
        callers: u64,
        /// Since when.
        since: Timestamp,
    },
    /// Workers are gone.
    WorkerLost {
        /// The latest few.
        workers: Vec<String>,
        /// Their last sign of life.
        seen: Timestamp,
        /// Workers that are left.
        alive: u64,
        /// Workers that there were.
        before: u64,
    },
    /// Requests go to another model.
    ModelSwitched {
        /// Asked for.
        from: ModelId,
        /// Used.
        to: ModelId,
        /// Whose requests; everybody's when absent.
        tenant: Option<Tenant>,
        /// Of which use case; of any when absent.
        use_case: Option<String>,
        /// Why.
        reason: SwitchReason,
    },
    /// A service does not do what is needed of it.
    Port {
        /// The operation without what differs from call to call.
        group: String,
        /// The latest failure.
        what: String,
        /// The service's words.
        why: String,
        /// It may pass by itself.
        passing: bool,
    },
    /// Something sends to the hold queue that should not.
    ForeignMessage {
        /// The queue.
        queue: String,
        /// The latest.
        message: String,
    },
    /// A test of the channels.
    Test,
}

/// What a failed call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Bedrock cannot at the moment; tried again.
    Bedrock,
    /// No answer came; tried again a few times, may have been billed.
    Unanswered,
    /// The request is at fault; not tried again.
    Request,
}

/// Why requests go to another model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchReason {
    /// To keep a budget.
    Budget,
    /// The model asked for cannot be used.
    Unavailable,
    /// An operator said so.
    Operator,
}

impl Condition {
    /// The call of a request failed; `None` for what is nobody's business, see `throttled` and `lane_paused`.
    #[must_use]
    pub fn failed_call(lane: &Lane, latest: &RequestId, class: CallErrorClass, error: &str) -> Self {
        let fault = match class {
            CallErrorClass::NotReady | CallErrorClass::Unavailable | CallErrorClass::Server => Fault::Bedrock,
            CallErrorClass::ModelTimeout | CallErrorClass::Transport => Fault::Unanswered,
            _ => Fault::Request,
        };
        Self::ErrorRate { lane: lane.clone(), error: clip(error, 80), fault, latest: latest.clone() }
    }

    /// A port failed.
    #[must_use]
    pub fn port(error: &PortError) -> Self {
        Self::Port {
            group: group(&error.what),
            what: clip(&error.what, LONGEST),
            why: clip(&error.why, LONGEST),
            passing: error.retryable,
        }
    }

    /// Of which kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::ErrorRate { .. } => Kind::ErrorRate,
            Self::Throttled { .. } => Kind::Throttled,
            Self::DeadLetters { .. } => Kind::DeadLetters,
            Self::Poison { .. } => Kind::Poison,
            Self::DeadlineAtRisk { .. } => Kind::DeadlineAtRisk,
            Self::Budget { .. } => Kind::Budget,
            Self::LanePaused { .. } => Kind::LanePaused,
            Self::AccessDenied { .. } => Kind::AccessDenied,
            Self::NoProgress { .. } => Kind::NoProgress,
            Self::WorkerLost { .. } => Kind::WorkerLost,
            Self::ModelSwitched { .. } => Kind::ModelSwitched,
            Self::Port { .. } => Kind::Port,
            Self::ForeignMessage { .. } => Kind::ForeignMessage,
            Self::Test => Kind::Test,
        }
    }

    /// What tells it from others: reports of one key are of one condition.
    #[must_use]
    pub fn key(&self) -> String {
        let kind = self.kind().as_str();
        match self {
            Self::ErrorRate { lane, error, .. } => format!("{kind}/{lane}/{error}"),
            Self::Throttled { lane, .. } | Self::Poison { lane, .. } | Self::AccessDenied { lane, .. } => {
                format!("{kind}/{lane}")
            }
            Self::LanePaused { lane, account_wide: true, .. } => {
                let account: Vec<&str> = lane.as_str().splitn(3, ':').take(2).collect();
                format!("{kind}/{}", account.join(":"))
            }
            Self::LanePaused { lane, .. } => format!("{kind}/{lane}"),
            Self::DeadlineAtRisk { lane, tenant, .. } => format!("{kind}/{lane}/{tenant}"),
            Self::Budget { tenant, period, .. } => {
                format!("{kind}/{}/{period}", tenant.as_ref().map_or("*", Tenant::as_str))
            }
            Self::ModelSwitched { from, tenant, use_case, .. } => {
                let tenant = tenant.as_ref().map_or("*", Tenant::as_str);
                format!("{kind}/{from}/{tenant}/{}", use_case.as_deref().unwrap_or("*"))
            }
            Self::Port { group, .. } => format!("{kind}/{group}"),
            Self::ForeignMessage { queue, .. } => format!("{kind}/{queue}"),
            Self::DeadLetters { .. } | Self::NoProgress { .. } | Self::WorkerLost { .. } | Self::Test => {
                kind.to_owned()
            }
        }
    }

    /// The lane that it is about, for its share of the calls.
    #[must_use]
    pub fn lane(&self) -> Option<&Lane> {
        match self {
            Self::ErrorRate { lane, .. } | Self::Throttled { lane, .. } | Self::AccessDenied { lane, .. } => Some(lane),
            _ => None,
        }
    }

    /// It cannot be over before.
    #[must_use]
    pub fn lasts_until(&self) -> Option<Timestamp> {
        match self {
            Self::LanePaused { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// Whether an answered call of this lane shows that it is over.
    #[must_use]
    pub fn ends_with_answer(&self, answered: &Lane, now: Timestamp) -> bool {
        match self {
            Self::AccessDenied { lane, .. } => lane == answered,
            Self::LanePaused { lane, account_wide, until } => {
                now >= *until && (lane == answered || (*account_wide && lane.shares_account_with(answered)))
            }
            _ => false,
        }
    }

    /// Takes over newer facts of the same condition.
    pub fn absorb(&mut self, newer: Self) {
        match (&mut *self, newer) {
            (
                Self::WorkerLost { workers, before, seen, alive },
                Self::WorkerLost { workers: more, before: then, seen: later, alive: left },
            ) => {
                workers.retain(|worker| !more.contains(worker));
                workers.extend(more);
                workers.drain(..workers.len().saturating_sub(NAMED));
                (*before, *seen, *alive) = (then.max(*before), later.max(*seen), left);
            }
            (_, newer) => *self = newer,
        }
    }
}

/// An operation without what differs from call to call, such as a request's id: its first two words, and the resource after the
/// last `of`, `in`, `from` or `to`.
fn group(what: &str) -> String {
    let words: Vec<&str> = what.split_whitespace().collect();
    let resource = words.iter().rposition(|word| ["of", "in", "from", "to"].contains(word));
    let resource = resource.filter(|at| *at >= 2).and_then(|at| words.get(at + 1));
    let group: Vec<&str> = words.iter().take(2).chain(resource).copied().collect();
    clip(&group.join(" "), 120)
}

fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_operation_are_one_condition() {
        for (what, expected) in [
            ("sqs receive from smoother-input", "sqs receive smoother-input"),
            ("dynamodb update order-17 in smoother-requests", "dynamodb update smoother-requests"),
            ("s3 get results/a/b.json from smoother-bodies", "s3 get smoother-bodies"),
            ("dynamodb read reports of 2026-11-21 from smoother-reporting", "dynamodb read smoother-reporting"),
            ("sts get caller identity", "sts get"),
            ("", ""),
        ] {
            assert_eq!(group(what), expected);
        }
    }

    #[test]
    fn conditions_come_back_from_a_register() {
        for condition in crate::pipeline::alerts::samples::all() {
            let json = serde_json::to_string(&condition).unwrap();
            assert_eq!(serde_json::from_str::<Condition>(&json).unwrap(), condition, "{json}");
            assert!(json.len() < 900, "{json}");
            let kind = &serde_json::from_str::<serde_json::Value>(&json).unwrap()["kind"];
            assert_eq!(kind, condition.kind().as_str());
            assert!(condition.key().starts_with(condition.kind().as_str()));
        }
    }

    #[test]
    fn lost_workers_are_gathered() {
        let lost = |name: &str, before| Condition::WorkerLost {
            workers: vec![name.to_owned()],
            seen: Timestamp(before),
            alive: 1,
            before,
        };
        let mut all = lost("w-0", 7);
        for n in 1..7 {
            all.absorb(lost(&format!("w-{n}"), 5));
        }
        let Condition::WorkerLost { workers, before, .. } = all else { panic!("{all:?}") };
        assert_eq!((workers.join(" "), before), ("w-2 w-3 w-4 w-5 w-6".to_owned(), 7));
    }
}
