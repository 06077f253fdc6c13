//! Queues with SQS's semantics in a SQLite table.
//!
//! A message is visible when its `visible_at` has come. One index (queue, visible_at, seq) serves receives in
//! O(batch) whatever the queue holds, oldest first; a message that was handed back stands behind those sent before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::database::{Database, Fault};
use super::schema::{integer, natural};
use crate::clock::Clock;
use crate::ports::{Delivery, Depth, Outgoing, PortResult, Queue};

/// How soon a waiting receive notices what another process sent, or what became visible again by time.
const POLL: Duration = Duration::from_millis(200);

/// SQS's limits, kept here too so that what works locally works there.
const MAX_BYTES: usize = 1024 * 1024;
const MAX_ATTRIBUTES: usize = 10;

/// How a queue is set up.
#[derive(Clone, Debug)]
pub(super) struct QueueSettings {
    /// Its name in the file.
    pub name: &'static str,
    /// How long a received message stays invisible.
    pub visibility: Duration,
    /// After how many receives a message moves on instead of being received once more, and to which queue.
    pub redrive: Option<(u32, &'static str)>,
}

/// One queue.
pub(super) struct LocalQueue {
    database: Database,
    clock: Clock,
    settings: QueueSettings,
    arrived: Arc<Notify>,
    dead_arrived: Option<Arc<Notify>>,
}

impl LocalQueue {
    /// A handle to the queue, which exists from then on. `dead_arrived` are the arrivals of the queue it redrives to.
    pub(super) async fn open(
        database: Database,
        clock: Clock,
        settings: QueueSettings,
        dead_arrived: Option<Arc<Notify>>,
    ) -> PortResult<Self> {
        let name = settings.name;
        database
            .write(&format!("create queue {name}"), move |connection| {
                connection.execute("INSERT INTO queues VALUES (?, 0) ON CONFLICT DO NOTHING", [name])?;
                Ok(())
            })
            .await?;
        Ok(Self { database, clock, settings, arrived: Arc::default(), dead_arrived })
    }

    /// Rung when this process makes a message of this queue visible.
    pub(super) fn arrivals(&self) -> Arc<Notify> {
        Arc::clone(&self.arrived)
    }

    fn what(&self, verb: &str) -> String {
        format!("local queue {}: {verb}", self.settings.name)
    }

    fn now(&self) -> i64 {
        integer(self.clock.now().0)
    }

    /// Receives without waiting. Looks before it writes: an idle queue costs no transaction.
    async fn take(&self, max: usize) -> PortResult<Vec<Delivery>> {
        let (what, now, name) = (self.what("receive"), self.now(), self.settings.name);
        let any = self.database.read(&what, move |connection| Ok(any_visible(connection, name, now)?)).await?;
        if !any {
            return Ok(Vec::new());
        }
        let settings = self.settings.clone();
        let (taken, redriven) =
            self.database.write(&what, move |connection| receive(connection, &settings, now, max)).await?;
        if let (true, Some(dead)) = (redriven > 0, &self.dead_arrived) {
            tracing::warn!(queue = name, messages = redriven, "messages moved to the dead-letter queue");
            dead.notify_waiters();
        }
        Ok(taken)
    }
}

#[async_trait]
impl Queue for LocalQueue {
    async fn receive(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let until = Instant::now() + wait;
        loop {
            // Listening begins before looking, so that what arrives in between is not missed.
            let arrival = self.arrived.notified();
            tokio::pin!(arrival);
            arrival.as_mut().enable();
            let taken = self.take(max).await?;
            let now = Instant::now();
            if !taken.is_empty() || now >= until {
                return Ok(taken);
            }
            tokio::select! {
                () = arrival => {}
                () = tokio::time::sleep_until(until.min(now + POLL)) => {}
            }
        }
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<PortResult<()>> {
        let (now, name) = (self.now(), self.settings.name);
        let results = self
            .database
            .write_each(&self.what("send"), messages, move |connection, message| send(connection, name, now, message))
            .await;
        self.arrived.notify_waiters();
        results
    }

    async fn delete(&self, receipts: Vec<String>) -> Vec<PortResult<()>> {
        self.database
            .write_each(&self.what("delete"), receipts, |connection, receipt| {
                let (seq, token) = parts(&receipt)?;
                connection
                    .prepare_cached("DELETE FROM messages WHERE seq = ? AND token = ?")?
                    .execute(params![seq, token])?;
                Ok(())
            })
            .await
    }

    async fn extend(&self, receipts: Vec<String>, after: Duration) -> Vec<PortResult<()>> {
        let (now, visible_at) = (self.now(), integer((self.clock.now() + after).0));
        let results = self
            .database
            .write_each(&self.what("extend"), receipts, move |connection, receipt| {
                let (seq, token) = parts(&receipt)?;
                connection
                    .prepare_cached(
                        "UPDATE messages SET visible_at = ? WHERE seq = ? AND token = ? AND visible_at > ?",
                    )?
                    .execute(params![visible_at, seq, token, now])?;
                Ok(())
            })
            .await;
        if after.is_zero() {
            self.arrived.notify_waiters();
        }
        results
    }

    async fn depth(&self) -> PortResult<Depth> {
        let (now, name) = (self.now(), self.settings.name);
        self.database
            .read(&self.what("depth"), move |connection| {
                let all: i64 = connection
                    .prepare_cached("SELECT messages FROM queues WHERE name = ?")?
                    .query_row([name], |row| row.get(0))?;
                let in_flight: i64 = connection
                    .prepare_cached("SELECT count(*) FROM messages WHERE queue = ? AND visible_at > ?")?
                    .query_row(params![name, now], |row| row.get(0))?;
                Ok(Depth { visible: natural(all - in_flight), in_flight: natural(in_flight) })
            })
            .await
    }

    fn name(&self) -> &str {
        self.settings.name
    }
}

fn send(connection: &Connection, queue: &str, now: i64, mut message: Outgoing) -> Result<(), Fault> {
    message.attributes.retain(|_, value| !value.is_empty());
    if message.attributes.len() > MAX_ATTRIBUTES {
        return Err(Fault::permanent(format!(
            "{} attributes, at most {MAX_ATTRIBUTES} are allowed",
            message.attributes.len()
        )));
    }
    // SQS counts the data type too, which is String for all of them.
    let attributes = message.attributes.iter().map(|(name, value)| name.len() + value.len() + "String".len());
    let bytes = message.body.len() + attributes.sum::<usize>();
    if bytes > MAX_BYTES {
        return Err(Fault::permanent(format!("{bytes} bytes with attributes, at most {MAX_BYTES} are allowed")));
    }
    let attributes = serde_json::to_string(&message.attributes).map_err(Fault::permanent)?;
    connection
        .prepare_cached("INSERT INTO messages (queue, message_id, visible_at, receives) VALUES (?, ?, ?, 0)")?
        .execute(params![queue, random_hex(), now])?;
    connection.prepare_cached("INSERT INTO bodies (seq, body, attributes) VALUES (?, ?, ?)")?.execute(params![
        connection.last_insert_rowid(),
        message.body,
        attributes
    ])?;
    Ok(())
}

fn any_visible(connection: &Connection, queue: &str, now: i64) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM messages WHERE queue = ? AND visible_at <= ?")?.exists(params![queue, now])
}

/// Takes up to `max` messages, and moves those that were received too often; answers with how many moved.
fn receive(
    connection: &Connection,
    settings: &QueueSettings,
    now: i64,
    max: usize,
) -> Result<(Vec<Delivery>, u64), Fault> {
    let until = now.saturating_add(integer(u64::try_from(settings.visibility.as_millis()).unwrap_or(u64::MAX)));
    let mut taken = Vec::new();
    let mut redriven = 0;
    while taken.len() < max {
        let found = visible(connection, settings.name, now, max - taken.len())?;
        if found.is_empty() {
            break;
        }
        for message in found {
            match settings.redrive {
                Some((limit, dead)) if message.receives >= limit => {
                    redrive(connection, &message, dead, now)?;
                    redriven += 1;
                }
                _ => taken.push(deliver(connection, message, until)?),
            }
        }
        if settings.visibility.is_zero() {
            break;
        }
    }
    Ok((taken, redriven))
}

struct Found {
    seq: i64,
    message_id: String,
    receives: u32,
}

fn visible(connection: &Connection, queue: &str, now: i64, limit: usize) -> rusqlite::Result<Vec<Found>> {
    connection
        .prepare_cached(
            "SELECT seq, message_id, receives FROM messages WHERE queue = ? AND visible_at <= ?
             ORDER BY visible_at, seq LIMIT ?",
        )?
        .query_map(params![queue, now, integer(limit as u64)], |row| {
            Ok(Found { seq: row.get(0)?, message_id: row.get(1)?, receives: row.get(2)? })
        })?
        .collect()
}

fn redrive(connection: &Connection, message: &Found, dead: &str, now: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE messages SET queue = ?, visible_at = ?, receives = 0, token = NULL WHERE seq = ?")?
        .execute(params![dead, now, message.seq])?;
    Ok(())
}

fn deliver(connection: &Connection, message: Found, until: i64) -> Result<Delivery, Fault> {
    let token = random_hex();
    let receive_count = message.receives.saturating_add(1);
    connection
        .prepare_cached("UPDATE messages SET visible_at = ?, receives = ?, token = ? WHERE seq = ?")?
        .execute(params![until, receive_count, token, message.seq])?;
    let (body, attributes): (String, String) = connection
        .prepare_cached("SELECT body, attributes FROM bodies WHERE seq = ?")?
        .query_row([message.seq], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or_else(|| Fault::unreadable("bodies.seq"))?;
    let attributes: BTreeMap<String, String> =
        serde_json::from_str(&attributes).map_err(|_| Fault::unreadable("bodies.attributes"))?;
    let receipt = format!("{}-{token}", message.seq);
    Ok(Delivery { message_id: message.message_id, receipt, body, attributes, receive_count })
}

/// A receipt is where the message lies and the token of one receive; a later receive changes the token.
fn parts(receipt: &str) -> Result<(i64, &str), Fault> {
    receipt
        .split_once('-')
        .and_then(|(seq, token)| Some((seq.parse().ok()?, token)))
        .ok_or_else(|| Fault::permanent("the receipt is none of this queue's"))
}

fn random_hex() -> String {
    format!("{:032x}", fastrand::u128(..))
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
