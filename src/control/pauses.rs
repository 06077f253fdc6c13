//! Pauses: nothing new of a lane, a tenant, a use case or of everything is called until it is resumed.
//!
//! All pauses are one register, which the planner reads every round (a second): it passes over what is paused and takes back what
//! waits in the hold queue. Calls in flight end, with their repeats; what is past its deadline expires all the same. Nothing
//! of it lies in the planner, so that a change of planner changes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audit::{self, Action, Event, Operator, Target};
use crate::clock::{Clock, Timestamp};
use crate::ports::{PortError, PortResult, Ports, Registers};
use crate::request::{Flow, Row, Tenant};

/// The register of all pauses.
const REGISTER: &str = "control/pauses";
/// How often to try again when somebody else changes it at the same time.
const TRIES: u32 = 10;
/// How long to wait for those others, times the number of tries, at most.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest list, as JSON.
const LONGEST: usize = 80_000;

/// What is paused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    All,
    /// A lane by its name, or all lanes of a model.
    Lane(String),
    /// A tenant.
    Tenant(Tenant),
    /// What was asked by a use case.
    UseCase(String),
}

impl Scope {
    /// Whether requests of this line are meant.
    #[must_use]
    pub fn covers(&self, flow: &Flow) -> bool {
        match self {
            Self::All => true,
            Self::Lane(name) => flow.lane.as_str() == name || flow.lane.model().as_str() == name,
            Self::Tenant(tenant) => flow.tenant == *tenant,
            Self::UseCase(name) => flow.use_case.as_ref() == Some(name),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::Lane(name) => write!(f, "lane {name}"),
            Self::Tenant(tenant) => write!(f, "tenant {tenant}"),
            Self::UseCase(name) => write!(f, "use case {name}"),
        }
    }
}

/// A pause. As JSON these names are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// What is paused.
    pub scope: Scope,
    /// By whom.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// It ends by itself then; absent: when it is resumed.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
}

impl Pause {
    fn lasts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn words(&self) -> String {
        self.until.map_or_else(|| "paused".to_owned(), |until| format!("paused until {until}"))
    }
}

/// All pauses there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses(Vec<Pause>);

impl Pauses {
    /// Reads them.
    ///
    /// # Errors
    /// The registers are out of reach, or this one was written by somebody else.
    pub async fn read(registers: &dyn Registers) -> PortResult<Self> {
        Ok(Self(read(registers).await?.1))
    }

    /// Those in force, in the order they were made.
    #[must_use]
    pub fn in_force(mut self, now: Timestamp) -> Vec<Pause> {
        self.0.retain(|pause| pause.lasts(now));
        self.0
    }

    /// Whether none is in force.
    #[must_use]
    pub fn is_empty(&self, now: Timestamp) -> bool {
        !self.0.iter().any(|pause| pause.lasts(now))
    }

    /// The pause in force that holds this line back longest, if one does.
    #[must_use]
    pub fn covering(&self, flow: &Flow, now: Timestamp) -> Option<&Pause> {
        let covering = self.0.iter().filter(|pause| pause.lasts(now) && pause.scope.covers(flow));
        covering.max_by_key(|pause| pause.until.unwrap_or(Timestamp(u64::MAX)))
    }

    /// The pause that a request waits for. What is decided, running or final waits for none.
    #[must_use]
    pub fn holding(&self, row: &Row, now: Timestamp) -> Option<&Pause> {
        let waits = matches!(row.status, crate::request::Status::Received | crate::request::Status::Queued);
        self.covering(&row.request.flow(), now).filter(|_| waits && row.verdict.is_none())
    }
}

async fn read(registers: &dyn Registers) -> PortResult<(u64, Vec<Pause>)> {
    let Some(register) = registers.read(REGISTER).await? else { return Ok((0, Vec::new())) };
    let pauses = serde_json::from_str(&register.value)
        .map_err(|why| PortError::permanent(format!("read the pauses in register {REGISTER}"), why))?;
    Ok((register.version, pauses))
}

/// Makes and ends pauses for an operator, and writes the audit.
pub struct Switch<'a> {
    registers: &'a dyn Registers,
    clock: Clock,
    operator: Operator,
}

impl<'a> Switch<'a> {
    /// For this operator.
    #[must_use]
    pub fn new(ports: &'a Ports, clock: Clock, operator: Operator) -> Self {
        Self { registers: &*ports.registers, clock, operator }
    }

    /// Pauses `scope`; one that is paused gets this end and this reason. Answers the pause that was there before.
    ///
    /// # Errors
    /// The registers are out of reach, or there are too many pauses. When only the audit failed, the pause is in force.
    pub async fn pause(
        &self,
        scope: Scope,
        reason: Option<String>,
        until: Option<Timestamp>,
    ) -> PortResult<Option<Pause>> {
        let pause = Pause { scope, by: self.operator.name.clone(), since: self.clock.now(), until, reason };
        let before = self
            .change(|pauses| {
                let before = pauses.iter().position(|p| p.scope == pause.scope).map(|at| pauses.remove(at));
                pauses.push(pause.clone());
                before
            })
            .await?;
        let states = (before.as_ref().map_or_else(|| "running".to_owned(), Pause::words), pause.words());
        self.record(Action::Pause, &pause.scope, states, pause.reason.clone()).await?;
        Ok(before)
    }

    /// Ends the pause of just this scope. Answers it; `None` when there was none.
    ///
    /// # Errors
    /// The registers are out of reach. When only the audit failed, it is resumed.
    pub async fn resume(&self, scope: &Scope, reason: Option<String>) -> PortResult<Option<Pause>> {
        let before =
            self.change(|pauses| pauses.iter().position(|p| p.scope == *scope).map(|at| pauses.remove(at))).await?;
        if let Some(pause) = &before {
            let states = (pause.words(), "running".to_owned());
            self.record(Action::Resume, scope, states, reason).await?;
        }
        Ok(before)
    }

    /// Compare and swap; what has ended by itself is dropped.
    async fn change<T>(&self, change: impl Fn(&mut Vec<Pause>) -> T) -> PortResult<T> {
        let what = format!("change the pauses in register {REGISTER}");
        for tries in 0..TRIES {
            tokio::time::sleep(PAUSE.mul_f64(f64::from(tries) * fastrand::f64())).await;
            let (version, mut pauses) = read(self.registers).await?;
            let now = self.clock.now();
            pauses.retain(|pause| pause.lasts(now));
            let answer = change(&mut pauses);
            let value = serde_json::to_string(&pauses).map_err(|why| PortError::permanent(&what, why))?;
            if value.len() > LONGEST {
                let why = format!("{} pauses are too many for one register; resume some", pauses.len());
                return Err(PortError::permanent(&what, why));
            }
            if self.registers.write(REGISTER, version, value).await? {
                return Ok(answer);
            }
        }
        Err(PortError::transient(what, "others changed it at the same time, again and again"))
    }

    async fn record(
        &self,
        action: Action,
        scope: &Scope,
        (before, after): (String, String),
        reason: Option<String>,
    ) -> PortResult<()> {
        let event = Event {
            operator: self.operator.clone(),
            action,
            target: Target::Scope(scope.to_string()),
            before: Some(before),
            after: Some(after),
            reason,
            outcome: BTreeMap::new(),
            stopped: None,
        };
        audit::record(self.registers, &self.clock, event).await
    }
}
