//! What the fleet spends, and the budgets that bound it.
//!
//! Each worker counts the costs of the requests that it ended ([`Spend`], by tenant and by day and month of UTC) and saves the
//! sums in a register of its own every two seconds; the planner adds the registers up ([`Budgets`]), puts what is under
//! way on top ([`Reserved`], by estimate), and asks of each request whether the budgets have room for it.
//!
//! What was added is in the register exactly once, through lost answers, restarts under the same name and even two workers of one
//! name: a write that may or may not have been applied is known again by its writer and number. What is not exact:
//! - A worker that is killed loses what it counted since its last write: two seconds of its finished requests, more when the
//!   table is out of reach. That much is spent beyond the budget, or counted by nobody when none is short.
//! - What is under way counts by estimate. Answers longer than expected exceed the budget by the difference. A request that was
//!   settled counts by estimate for a few seconds more, until its cost is sure to be in the registers; where a worker cannot
//!   write for longer than that, its costs are missing meanwhile.
//! - Calls whose answer nobody received (timeouts, lost workers) may be charged and are not counted; nor are models without a
//!   known price.
//! - The register of a worker that is gone stays until a day after its last month, then whoever writes next removes it.

mod account;
mod budgets;
mod reserved;
mod usd;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

pub use self::account::Account;
pub use self::budgets::{Ask, Budgets, Limits, Period, Standing, Verdict, Which};
pub use self::reserved::Reserved;
pub use self::usd::Usd;
use crate::clock::{Clock, Timestamp};
use crate::ports::{PortError, PortResult, Register, Registers};
use crate::request::Tenant;

/// Names of the registers, one per worker.
const PREFIX: &str = "spend/";
/// How often a worker saves what it counted.
const EVERY: Duration = Duration::from_secs(2);
/// Between tries of a worker that ends.
const AGAIN: Duration = Duration::from_millis(250);
/// Writers of one name that collide this often in a row try again later.
const COLLISIONS: u32 = 5;
/// Processes of one name whose last writes are remembered: one is replaced by another, and they overlap.
const MARKS: usize = 8;
/// A register is removed this long after its last month.
const GRACE: Duration = Duration::from_hours(24);
/// What a register may hold, in bytes; registers take 100 KB.
const REGISTER_BYTES: usize = 90_000;

/// A register as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    /// The processes of this name that wrote it, the latest last, each with the number of its last write that is in here.
    marks: Vec<(u64, u64)>,
    spent: Account,
}

/// Counts what this worker spends. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Spend(Arc<Inner>);

struct Inner {
    registers: Arc<dyn Registers>,
    name: String,
    clock: Clock,
    /// Tenants whose sums are needed, whatever the size.
    kept: BTreeSet<Tenant>,
    /// Added since the last attempt to save.
    fresh: Mutex<Account>,
    writer: tokio::sync::Mutex<Writer>,
}

/// The register as we know it.
struct Writer {
    /// Tells our writes from those of another process of our name.
    by: u64,
    number: u64,
    /// 0 when there is none; `None` as long as nobody looked.
    version: Option<u64>,
    saved: Saved,
    /// A write that may have been applied or not.
    attempt: Option<Attempt>,
    /// The day in which old registers were last removed.
    tidied: String,
}

struct Attempt {
    number: u64,
    added: Account,
}

impl Spend {
    /// Counts for this worker, on top of what a worker of the same name saved before. `kept` are the tenants that have a budget.
    #[must_use]
    pub fn new(registers: Arc<dyn Registers>, worker: &str, clock: Clock, kept: BTreeSet<Tenant>) -> Self {
        let writer = Writer {
            by: fastrand::u64(..),
            number: 0,
            version: None,
            saved: Saved::default(),
            attempt: None,
            tidied: String::new(),
        };
        Self(Arc::new(Inner {
            registers,
            name: format!("{PREFIX}{worker}"),
            clock,
            kept,
            fresh: Mutex::default(),
            writer: tokio::sync::Mutex::new(writer),
        }))
    }

    /// Counts the cost of a request that has just become final, once.
    pub fn add(&self, tenant: &Tenant, usd: f64, at: Timestamp) {
        let usd = Usd::of(usd);
        if usd > Usd::default() {
            self.fresh(|fresh| fresh.add(tenant.as_str(), usd, at));
        }
    }

    /// Saves every two seconds what there is; runs until dropped. What cannot be saved is kept and saved later.
    pub async fn run(&self, mut failed: impl FnMut(&PortError)) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.flush().await {
                failed(&error);
            }
        }
    }

    /// Saves what was added so far. May be dropped half-way, and repeated after an error: nothing is lost or counted twice.
    pub async fn flush(&self) -> PortResult<()> {
        let mut writer = self.0.writer.lock().await;
        if writer.attempt.is_some() {
            self.save(&mut writer).await?;
        }
        let added = self.fresh(std::mem::take);
        if added.is_empty() {
            return Ok(());
        }
        writer.number += 1;
        writer.attempt = Some(Attempt { number: writer.number, added });
        self.save(&mut writer).await?;
        self.tidy(&mut writer).await
    }

    /// Brings the attempt to its end.
    async fn save(&self, writer: &mut Writer) -> PortResult<()> {
        let inner = &*self.0;
        let mut version = match writer.version {
            Some(version) => version,
            None => self.load(writer).await?,
        };
        for _ in 0..COLLISIONS {
            let Some(next) = writer.next(&inner.kept, inner.clock.now()) else { return Ok(()) };
            let what = || format!("write register {}", inner.name);
            let value = serde_json::to_string(&next).map_err(|e| PortError::permanent(what(), e))?;
            if inner.registers.write(&inner.name, version, value).await? {
                writer.saved = next;
                writer.version = Some(version + 1);
                writer.attempt = None;
                return Ok(());
            }
            version = self.load(writer).await?;
        }
        Err(PortError::transient(format!("write register {}", inner.name), "others write it all the time"))
    }

    /// As [`Spend::flush`], repeated while it fails; says why when it did not succeed in time.
    pub async fn flush_within(&self, patience: Duration) -> PortResult<()> {
        let mut last = PortError::transient(format!("write register {}", self.0.name), "no answer in time");
        let tries = async {
            while let Err(error) = self.flush().await {
                last = error;
                tokio::time::sleep(AGAIN).await;
            }
        };
        let in_time = tokio::time::timeout(patience, tries).await;
        in_time.map_err(|_| last)
    }

    fn fresh<T>(&self, with: impl FnOnce(&mut Account) -> T) -> T {
        with(&mut self.0.fresh.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the register; what it says may have our attempt in it, although the answer was lost.
    async fn load(&self, writer: &mut Writer) -> PortResult<u64> {
        let register = self.0.registers.read(&self.0.name).await?;
        let version = register.as_ref().map_or(0, |r| r.version);
        writer.saved = register.and_then(|register| read(&self.0.name, &register)).unwrap_or_default();
        writer.version = Some(version);
        let is_in = |attempt: &mut Attempt| writer.saved.marks.contains(&(writer.by, attempt.number));
        writer.attempt.take_if(is_in);
        Ok(version)
    }

    /// Once a day, removes the registers of workers whose last month is over.
    async fn tidy(&self, writer: &mut Writer) -> PortResult<()> {
        let now = self.0.clock.now();
        if writer.tidied == now.day() {
            return Ok(());
        }
        let oldest = (now - GRACE).month();
        for (name, register) in self.0.registers.list(PREFIX).await? {
            let is_over = read(&name, &register).is_some_and(|saved| saved.spent.is_over(&oldest));
            if is_over && name != self.0.name {
                // Whether we or another removed it, it is gone; a worker that comes back begins anew.
                self.0.registers.remove(&name, register.version).await?;
            }
        }
        writer.tidied = now.day();
        Ok(())
    }
}

impl Writer {
    /// What is to be written; `None` when nothing is left to write.
    fn next(&self, kept: &BTreeSet<Tenant>, now: Timestamp) -> Option<Saved> {
        let attempt = self.attempt.as_ref()?;
        let mut spent = self.saved.spent.clone();
        spent.merge(&attempt.added);
        spent.forget_before(now);
        spent.fit(REGISTER_BYTES, kept, now);
        let mut marks: Vec<_> = self.saved.marks.iter().copied().filter(|(by, _)| *by != self.by).collect();
        marks.push((self.by, attempt.number));
        marks.drain(..marks.len().saturating_sub(MARKS));
        Some(Saved { marks, spent })
    }
}

/// What a register says; one that cannot be read counts as empty, which is told.
fn read(name: &str, register: &Register) -> Option<Saved> {
    serde_json::from_str(&register.value)
        .inspect_err(|error| tracing::error!(register = name, %error, "this record of spending cannot be read and counts as none"))
        .ok()
}

/// What all workers have saved.
pub async fn spent(registers: &dyn Registers) -> PortResult<Account> {
    let mut sum = Account::default();
    for (name, register) in registers.list(PREFIX).await? {
        if let Some(saved) = read(&name, &register) {
            sum.merge(&saved.spent);
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
