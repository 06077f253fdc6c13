//! Which of the waiting requests an order is for.

use std::fmt;

use crate::clock::Timestamp;
use crate::pipeline::rank;
use crate::ports::WorkItem;
use crate::request::{Flow, ModelId, Priority, Row, Status, Tenant};

/// Priorities by number, or by the class that reports group by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priorities {
    /// Just this one.
    Number(Priority),
    /// `urgent` … `bulk`.
    Class(&'static str),
}

impl Priorities {
    fn has(self, priority: Priority) -> bool {
        match self {
            Self::Number(number) => priority == number,
            Self::Class(class) => priority.class() == class,
        }
    }

    /// Whether a priority is among them, by its number.
    #[must_use]
    pub fn takes(self, number: u8) -> bool {
        Priority::from_number(u64::from(number)).is_some_and(|priority| self.has(priority))
    }
}

impl fmt::Display for Priorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{}", number.number()),
            Self::Class(class) => f.write_str(class),
        }
    }
}

/// Where a request stands while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// In the backlog.
    Received,
    /// In the backlog, not to be called before a time.
    Deferred,
    /// In the hold queue.
    Queued,
    /// Being called.
    Running,
}

impl Stand {
    /// As tables spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Deferred => "deferred",
            Self::Queued => "queued",
            Self::Running => "running",
        }
    }
}

/// What must be true of a request; all of it. Empty: of every one that is not final.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Whose.
    pub tenant: Option<Tenant>,
    /// The lane by its name, or the model whose lane it is.
    pub lane: Option<String>,
    /// The model by the name of its quota.
    pub model: Option<ModelId>,
    /// The use case it was asked by.
    pub use_case: Option<String>,
    /// Its priority.
    pub priority: Option<Priorities>,
    /// It came before this.
    pub received_before: Option<Timestamp>,
    /// It came at this time or later.
    pub received_after: Option<Timestamp>,
    /// It has a deadline before this.
    pub deadline_before: Option<Timestamp>,
    /// It has a deadline at this time or later.
    pub deadline_after: Option<Timestamp>,
    /// Where it stands.
    pub stand: Option<Stand>,
}

impl Filter {
    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether requests of this line may match.
    #[must_use]
    pub fn takes_flow(&self, flow: &Flow) -> bool {
        let urgent = match self.priority {
            None => true,
            Some(Priorities::Number(number)) => (number == Priority::URGENT) == flow.urgent,
            Some(Priorities::Class(class)) => (class == Priority::URGENT.class()) == flow.urgent,
        };
        let lane = |name: &String| flow.lane.as_str() == name || flow.lane.model().as_str() == name;
        urgent
            && self.tenant.as_ref().is_none_or(|tenant| flow.tenant == *tenant)
            && self.lane.as_ref().is_none_or(lane)
            && self.model.as_ref().is_none_or(|model| flow.lane.model() == *model)
            && self.use_case.as_ref().is_none_or(|name| flow.use_case.as_ref() == Some(name))
    }

    /// Whether an item of a work list matches in all but where it stands.
    #[must_use]
    pub fn takes_item(&self, item: &WorkItem) -> bool {
        let received = || rank::arrived(&item.rank);
        self.takes_flow(&item.flow)
            && self.priority.is_none_or(|priorities| priorities.has(item.priority))
            && self.received_before.is_none_or(|at| received().is_some_and(|received| received < at))
            && self.received_after.is_none_or(|at| received().is_some_and(|received| received >= at))
            && self.deadline_before.is_none_or(|at| item.deadline.is_some_and(|deadline| deadline < at))
            && self.deadline_after.is_none_or(|at| item.deadline.is_some_and(|deadline| deadline >= at))
    }

    /// Whether a row matches.
    #[must_use]
    pub fn takes_row(&self, row: &Row, now: Timestamp) -> bool {
        let request = &row.request;
        let stand = match row.status {
            Status::Received if row.not_before.is_some_and(|until| until > now) => Stand::Deferred,
            Status::Received => Stand::Received,
            Status::Queued => Stand::Queued,
            Status::Running => Stand::Running,
            // It ended meanwhile; that is told and not passed over.
            _ => return true,
        };
        self.stand.is_none_or(|wanted| wanted == stand)
            && self.takes_flow(&request.flow())
            && self.priority.is_none_or(|priorities| priorities.has(request.priority))
            && self.received_before.is_none_or(|at| request.received_at < at)
            && self.received_after.is_none_or(|at| request.received_at >= at)
            && self.deadline_before.is_none_or(|at| request.deadline.is_some_and(|deadline| deadline < at))
            && self.deadline_after.is_none_or(|at| request.deadline.is_some_and(|deadline| deadline >= at))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.tenant.as_ref().map(|tenant| format!("tenant {tenant}")));
        parts.extend(self.lane.as_ref().map(|lane| format!("lane {lane}")));
        parts.extend(self.model.as_ref().map(|model| format!("model {model}")));
        parts.extend(self.use_case.as_ref().map(|name| format!("use case {name}")));
        parts.extend(self.priority.map(|priority| format!("priority {priority}")));
        parts.extend(self.received_before.map(|at| format!("received before {at}")));
        parts.extend(self.received_after.map(|at| format!("received from {at} on")));
        parts.extend(self.deadline_before.map(|at| format!("deadline before {at}")));
        parts.extend(self.deadline_after.map(|at| format!("deadline from {at} on")));
        parts.extend(self.stand.map(|stand| stand.as_str().to_owned()));
        if parts.is_empty() { f.write_str("everything") } else { f.write_str(&parts.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Lane;

    #[test]
    fn a_filter_takes_what_all_of_it_is_true_of_and_says_so() {
        let model = ModelId::new("m").unwrap();
        let flow = |tenant: &str, urgent| Flow {
            lane: Lane::new("default", "us-east-1", &model),
            tenant: Tenant::new(tenant).unwrap(),
            urgent,
            use_case: Some("chat".to_owned()),
        };
        let filter = Filter {
            tenant: Some(Tenant::new("acme").unwrap()),
            lane: Some("default:us-east-1:m".to_owned()),
            priority: Some(Priorities::Class("high")),
            received_before: Some(Timestamp(0)),
            ..Filter::default()
        };
        assert!(filter.takes_flow(&flow("acme", false)));
        assert!(!filter.takes_flow(&flow("acme", true)), "no urgent one has that priority");
        assert!(!filter.takes_flow(&flow("blue", false)));
        let by_model = Filter { lane: Some("m".to_owned()), use_case: Some("chat".to_owned()), ..Filter::default() };
        assert!(by_model.takes_flow(&flow("blue", true)));
        assert_eq!(
            filter.to_string(),
            "tenant acme, lane default:us-east-1:m, priority high, received before 1970-01-01T00:00:00.000Z"
        );
        assert_eq!((Filter::default().to_string().as_str(), filter.is_empty()), ("everything", false));
    }
}
