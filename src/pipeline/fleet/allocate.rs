//! Getting our parts: one pass over the registers of all pools, each changed by compare-and-swap.
//!
//! Why no part is ever spent twice, whatever is late, lost or cut off:
//! * the gate never has more than our entry says: a part that shrinks leaves the gate before the register is written,
//!   one that grows enters it afterwards; a write whose answer is lost leaves the smaller of both in the gate;
//! * the gate's parts are void `HOLD_FOR` after the begin of our last heartbeat, by the gate's own look at the clock;
//!   others drop our entry when they saw no heartbeat for `LAPSE`, which is later;
//! * who comes back takes nothing into use without writing the register, even when its entry is still there, and who
//!   drops an entry has read the register before it looked at the heartbeats. So either the one who drops sees the new
//!   heartbeat, or its write fails on the other's.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::shares::{Amount, Entry, Table};
use super::{Fleet, HOLD_FOR, Sight};
use crate::pipeline::pace::{Adaptation, Gate, Grant};
use crate::ports::{PortError, PortResult, Register};
use crate::request::Lane;

const SHARES: &str = "share/";
const BUDGET: &str = "share/budget";
/// Attempts to write a register that others write at the same time, and the longest pause before the second, longer each
/// time. What fails waits for the next beat.
const ROUNDS: u32 = 5;
const PAUSE_MS: u64 = 40;
/// Pools at work at a time.
const CONCURRENT: usize = 8;
/// Whoever holds slots while another with demand has none goes to the end of the line after this long.
const TURN: Duration = Duration::from_secs(15);
/// A lane that nobody asks for is given up after this long.
const IDLE: Duration = Duration::from_mins(10);
/// A day's pause that is longer than known by this is news.
const DAY_NEWS_S: f64 = 10.0;

/// What we know of a pool besides what its register says.
#[derive(Debug)]
pub(super) struct Known {
    /// Of its register, when last read or written.
    version: u64,
    /// When there was something to do for it here.
    busy: Instant,
    /// Since when we have slots while others wait without any.
    scarce: Option<Instant>,
}

/// What is divided.
#[derive(Clone, Debug)]
enum Pool {
    /// Calls in flight over all lanes.
    Budget(u32),
    Lane(Lane),
}

/// Our side of a pool.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// All there is, for everybody.
    size: Amount,
    /// What the gate goes by.
    applied: Amount,
    wants: Amount,
    /// What is in use, and cannot be given away before calls end.
    used: Amount,
}

/// A register as it was read.
#[derive(Clone, Debug, Default)]
struct Stored {
    version: u64,
    table: Table,
}

impl Stored {
    fn read(name: &str, register: Option<Register>) -> PortResult<Self> {
        let Some(Register { version, value }) = register else { return Ok(Self::default()) };
        let table = serde_json::from_str(&value).map_err(|error| {
            let advice = "stop all workers and remove it; the next one to start writes it anew";
            PortError::permanent(format!("read register {name}"), format!("not a table of shares ({error}); {advice}"))
        })?;
        Ok(Self { version, table })
    }
}

impl Pool {
    fn name(&self) -> String {
        match self {
            Self::Budget(_) => BUDGET.to_owned(),
            Self::Lane(lane) => format!("{SHARES}{lane}"),
        }
    }

    fn standing(&self, gate: &Gate) -> Option<Standing> {
        let of = |calls| Amount { calls, ..Amount::default() };
        match self {
            Self::Budget(total) => {
                let (in_flight, budget) = gate.load();
                let asked = gate.demands().iter().fold(0_u32, |sum, (_, _, demand)| sum.saturating_add(demand.calls));
                // Who uses all it has takes no more messages either, and could use more than it can show.
                let hungry = if in_flight >= budget { budget.saturating_mul(2) } else { 0 };
                let wants = asked.max(hungry).min(*total);
                Some(Standing { size: of(*total), applied: of(budget), wants: of(wants), used: of(in_flight) })
            }
            Self::Lane(lane) => {
                let (grant, limits, demand) = gate.standing(lane)?;
                let slots = limits.max_concurrent.unwrap_or_default();
                Some(Standing {
                    size: Amount { rate: 1.0, room: 1.0, calls: slots },
                    applied: Amount { rate: grant.rate, room: grant.room, calls: grant.calls.unwrap_or_default() },
                    wants: Amount { rate: demand.rate, room: demand.room, calls: demand.calls.min(slots) },
                    used: Amount { rate: 0.0, room: demand.reserved, calls: demand.in_flight.min(slots) },
                })
            }
        }
    }

    fn apply(&self, gate: &Gate, part: Amount, size: Amount) {
        match self {
            Self::Budget(_) => gate.set_budget(part.calls),
            Self::Lane(lane) => {
                let calls = (size.calls > 0).then_some(part.calls);
                gate.set_grant(lane, Grant { rate: part.rate, room: part.room, calls });
            }
        }
    }

    /// What the gate has learned of the lane, after it took over what the table has to tell; and whether that is news to
    /// the table.
    fn learn(&self, gate: &Gate, told: Option<&Adaptation>, unread: bool) -> Option<(Adaptation, bool)> {
        let Self::Lane(lane) = self else { return None };
        let own = gate.adaptation(lane)?;
        let (episodes, day_pause_s) = told.map_or((0, 0.0), |told| (told.episodes, told.day_pause_s));
        if let Some(told) = told
            && (episodes > own.episodes || unread && day_pause_s > own.day_pause_s + DAY_NEWS_S)
        {
            gate.adopt(lane, told);
        }
        let news = own.episodes > episodes || own.day_pause_s > day_pause_s + DAY_NEWS_S;
        Some((gate.adaptation(lane)?, news))
    }
}

impl Fleet {
    /// Keeps the gate's parts: of every lane that was asked for, and of the fleet's budget of `max_concurrent` calls in
    /// flight. Call after every [`Fleet::beat`], and when [`Gate::lane_opened`]. Does nothing while our heartbeat is too
    /// old to hold anything. An error leaves the gate with no more than what is surely ours.
    pub async fn share(&self, gate: &Gate, max_concurrent: u32) -> PortResult<()> {
        let Some(shown) = self.view().shown else { return Ok(()) };
        gate.hold_until(shown + HOLD_FOR);
        if shown.elapsed() >= HOLD_FOR {
            return Ok(());
        }
        self.view().slots_moving = false;
        let mut result = Ok(());
        let mut stored = BTreeMap::new();
        for (name, register) in self.registers.list(SHARES).await? {
            match Stored::read(&name, Some(register)) {
                Ok(read) => _ = stored.insert(name, read),
                Err(error) => result = Err(error),
            }
        }
        self.doubt(stored.values()).await?;
        let mut pools = vec![Pool::Budget(max_concurrent)];
        for (lane, limits, _) in gate.demands() {
            let limited = limits.requests_per_minute.is_some() || limits.tokens_per_minute.is_some();
            if limited || limits.max_concurrent.is_some() {
                pools.push(Pool::Lane(lane));
            } else {
                gate.set_grant(&lane, Grant::WHOLE);
            }
        }
        let pools: Vec<_> =
            pools.into_iter().map(|pool| (stored.remove(&pool.name()).unwrap_or_default(), pool)).collect();
        let settled = stream::iter(pools).map(|(stored, pool)| self.settle(gate, pool, stored));
        let settled: Vec<PortResult<()>> = settled.buffer_unordered(CONCURRENT).collect().await;
        let foreign = self.clear(stored).await;
        settled.into_iter().chain([foreign]).fold(result, Result::and)
    }

    /// Whether slots are on their way from one replica to another, as of the last [`Fleet::share`]: another one soon, before
    /// the next beat, moves them as fast as calls end.
    #[must_use]
    pub fn slots_move(&self) -> bool {
        self.view().slots_moving
    }

    /// Gets our part of a pool.
    async fn settle(&self, gate: &Gate, pool: Pool, mut stored: Stored) -> PortResult<()> {
        let name = pool.name();
        for round in 0..ROUNDS {
            if round > 0 {
                stored = self.again(&name, round).await?;
            }
            let Stored { version, table: before } = stored;
            let mut table = before.clone();
            table.parts.retain(|worker, _| !self.is_dead(worker));
            let unread = self.note_version(&name, version);
            let learned = pool.learn(gate, table.learned.as_ref(), unread);
            let Some(Standing { size, applied, .. }) = pool.standing(gate) else { return Ok(()) };
            let part = self.claim(gate, &pool, &mut table);
            let news = learned.is_some_and(|(_, news)| news) && !table.parts.is_empty();
            // What enlarges the gate's part is written even if the register says so already, see above.
            if table.parts == before.parts && !news && !part.exceeds(applied) {
                pool.apply(gate, part, size);
                return Ok(());
            }
            table.learned = learned.map(|(learned, _)| learned);
            if self.put(&name, version, &table).await? {
                self.note_version(&name, version + 1);
                pool.apply(gate, part, size);
                return Ok(());
            }
            stored = Stored::default();
        }
        Ok(())
    }

    /// Puts into the table what we want and may have, and answers what the gate may go by once that is written. Until then it
    /// goes by what it may have in either case.
    fn claim(&self, gate: &Gate, pool: &Pool, table: &mut Table) -> Amount {
        let Some(Standing { size, applied, wants, used }) = pool.standing(gate) else { return Amount::default() };
        let held = table.parts.get(&self.worker).copied();
        let ours = applied.min(held.unwrap_or_default().has);
        if !self.takes_part(pool, table, wants.max(used)) {
            table.parts.remove(&self.worker);
            if let Pool::Lane(lane) = pool {
                gate.set_grant(lane, Grant::NONE);
            }
            return Amount::default();
        }
        let mut entry = held.unwrap_or_else(|| Entry { turn: table.last_turn(), ..Entry::default() });
        entry.wants = wants.as_told(entry.wants, entry.has);
        if let (Pool::Budget(total), 0) = (pool, entry.has.calls) {
            // Who has no slot is given no work, and could not show what it wants: an even part, until it knows better.
            let others = table.parts.keys().filter(|worker| **worker != self.worker).count();
            entry.wants.calls = entry.wants.calls.max(total / u32::try_from(others + 1).unwrap_or(u32::MAX));
        }
        if self.turn_is_over(pool, table, entry) {
            entry.turn = table.last_turn();
        }
        table.parts.insert(self.worker.clone(), entry);
        let free = table.free(&self.worker, size);
        let target = table.target(&self.worker, size);
        let part = target.min(free);
        pool.apply(gate, ours.min(part), size);
        // Only now nothing more can start on what we give away.
        let used = pool.standing(gate).map_or(used, |standing| standing.used);
        entry.has = part.max(used).min(free).unless_fine(entry.has);
        self.view().slots_moving |= target.calls > part.calls || entry.has.calls > part.calls;
        table.parts.insert(self.worker.clone(), entry);
        part.unless_fine(applied).min(entry.has)
    }

    /// Whether we have an entry: always of the budget; of a lane while there is demand, and long after.
    fn takes_part(&self, pool: &Pool, table: &Table, demand: Amount) -> bool {
        let (Pool::Lane(_), now) = (pool, Instant::now()) else { return true };
        let mut view = self.view();
        let Some(known) = view.pools.get_mut(&pool.name()) else { return true };
        if demand.exceeds(Amount::default()) {
            known.busy = now;
        }
        let mut others = table.parts.iter().filter(|(worker, _)| **worker != self.worker);
        let idle = now.saturating_duration_since(known.busy);
        idle < IDLE || table.parts.contains_key(&self.worker) && !others.all(|(_, entry)| entry.wants.is_noise())
    }

    /// Whether we had slots for long enough while another with demand had none.
    fn turn_is_over(&self, pool: &Pool, table: &Table, own: Entry) -> bool {
        let waits = |entry: &Entry| entry.wants.calls > 0 && entry.has.calls == 0;
        let scarce = own.has.calls > 0 && table.parts.values().any(waits);
        let mut view = self.view();
        let Some(known) = view.pools.get_mut(&pool.name()) else { return false };
        let now = Instant::now();
        let since = *known.scarce.get_or_insert(now);
        let over = scarce && now.saturating_duration_since(since) >= TURN;
        if !scarce || over {
            known.scarce = None;
        }
        over
    }

    /// Removes the dead from tables of lanes that nobody has asked us for.
    async fn clear(&self, tables: BTreeMap<String, Stored>) -> PortResult<()> {
        let mut result = Ok(());
        for (name, Stored { version, mut table }) in tables {
            let parts = table.parts.len();
            table.parts.retain(|worker, _| !self.is_dead(worker));
            if table.parts.len() < parts {
                result = result.and(self.put(&name, version, &table).await.map(|_| ()));
            }
        }
        result
    }

    /// Removes our entries, for good.
    pub(super) async fn give_back(&self) -> PortResult<()> {
        let mut result = Ok(());
        for (name, register) in self.registers.list(SHARES).await? {
            result = result.and(self.give_back_one(&name, register).await);
        }
        result
    }

    async fn give_back_one(&self, name: &str, register: Register) -> PortResult<()> {
        let mut stored = Stored::read(name, Some(register))?;
        for round in 1..=ROUNDS {
            if stored.table.parts.remove(&self.worker).is_none()
                || self.put(name, stored.version, &stored.table).await?
            {
                break;
            }
            stored = self.again(name, round).await?;
        }
        Ok(())
    }

    /// Reads a register that somebody else has just written.
    async fn again(&self, name: &str, round: u32) -> PortResult<Stored> {
        let pause = 1 + fastrand::u64(0..PAUSE_MS * u64::from(round));
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let stored = Stored::read(name, self.registers.read(name).await?)?;
        self.doubt([&stored]).await?;
        Ok(stored)
    }

    /// Looks at the heartbeats again when somebody in these tables, read before, may be dead.
    async fn doubt(&self, tables: impl IntoIterator<Item = &Stored>) -> PortResult<()> {
        let now = Instant::now();
        let mut doubtful = false;
        {
            let mut view = self.view();
            for worker in tables.into_iter().flat_map(|stored| stored.table.parts.keys()) {
                let unknown = || Sight { register: None, since: now, dead: false };
                doubtful |= view.seen.entry(worker.clone()).or_insert_with(unknown).dead;
            }
        }
        if doubtful { self.look().await } else { Ok(()) }
    }

    fn is_dead(&self, worker: &str) -> bool {
        worker != self.worker && self.view().seen.get(worker).is_some_and(|sight| sight.dead)
    }

    /// Writes a table, or removes its register when there is nothing to keep. Whether it was still of that version.
    async fn put(&self, name: &str, version: u64, table: &Table) -> PortResult<bool> {
        let kept = table.learned.is_some_and(|learned| {
            let pauses = learned.log_engaged_s.max(learned.day_pause_s);
            pauses > 0.0 || learned.token_factor.min(learned.request_factor) < 1.0
        });
        if !table.parts.is_empty() || kept {
            let value = serde_json::to_string(table)
                .map_err(|error| PortError::permanent(format!("write register {name}"), error))?;
            return self.registers.write(name, version, value).await;
        }
        if version == 0 { Ok(true) } else { self.registers.remove(name, version).await }
    }

    /// Whether the pool's register has not been read in this version before.
    fn note_version(&self, name: &str, version: u64) -> bool {
        let new = || Known { version: 0, busy: Instant::now(), scarce: None };
        let mut view = self.view();
        let known = view.pools.entry(name.to_owned()).or_insert_with(new);
        std::mem::replace(&mut known.version, version) != version
    }
}
