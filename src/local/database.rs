//! The SQLite file behind the local adapters: one connection that writes with group commit, one that reads.
//!
//! Commands queue up while a commit is under way; the next commit takes all of them in one transaction, so a
//! thousand concurrent callers pay for one fsync. Each command has a savepoint: a failed one undoes only itself.
//! Work runs on tokio's blocking pool, on one thread at a time and only while there is some: a paused test clock
//! then stands still meanwhile, nothing idles, and nothing has to be stopped.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::schema;
use crate::ports::{PortError, PortResult};

/// The most commands in one transaction, so that a flood of them does not hold back the first one's answer.
const GROUP: usize = 1024;

/// Why a command failed.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    why: String,
    retryable: bool,
}

impl Fault {
    pub(super) fn transient(why: impl fmt::Display) -> Self {
        Self { why: why.to_string(), retryable: true }
    }

    pub(super) fn permanent(why: impl fmt::Display) -> Self {
        Self { why: why.to_string(), retryable: false }
    }

    /// A stored value that this program cannot have written. Names the column, never the value.
    pub(super) fn unreadable(column: &str) -> Self {
        Self::permanent(format!("column {column} holds what smoother never writes; restore smoother.db from a copy"))
    }

    pub(super) fn into_port_error(self, what: impl Into<String>) -> PortError {
        PortError { what: what.into(), why: self.why, retryable: self.retryable }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let retryable = matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::OutOfMemory
                    | ErrorCode::OperationInterrupted
                    | ErrorCode::SchemaChanged
            )
        );
        Self { why: error.to_string(), retryable }
    }
}

/// Tells a command's caller how it ended, once it is known whether the commit worked.
type Reply = Box<dyn FnOnce(Result<(), Fault>) + Send>;

/// A command in the queue. It is given no connection, but the reason, when no transaction could be begun.
type Command = Box<dyn FnOnce(Result<&Connection, Fault>) -> (bool, Reply) + Send>;

/// Handle to one file. Cheap to clone; the connections close with the last clone.
#[derive(Clone)]
pub(super) struct Database {
    writer: Arc<Executor>,
    reader: Arc<Executor>,
}

impl Database {
    /// Opens `path`, creating and upgrading it as needed. Blocks on disk.
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let writer = schema::connect(path)?;
        let reader = schema::connect(path)?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(Self { writer: Executor::new(writer, true), reader: Executor::new(reader, false) })
    }

    /// Runs `command` in a transaction shared with others; answers when it is durable.
    pub(super) async fn write<T, F>(&self, what: &str, command: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        one(&self.writer, what, command).await
    }

    /// Runs `command` once for each of `items`; each succeeds or fails on its own. One answer each, in order.
    pub(super) async fn write_each<I, T, F>(&self, what: &str, items: Vec<I>, command: F) -> Vec<PortResult<T>>
    where
        I: Send + 'static,
        T: Send + 'static,
        F: Fn(&Connection, I) -> Result<T, Fault> + Send + Sync + 'static,
    {
        let command = Arc::new(command);
        let (commands, answers): (Vec<_>, Vec<_>) = items
            .into_iter()
            .map(|item| {
                let command = Arc::clone(&command);
                envelope(move |connection: &Connection| command(connection, item))
            })
            .unzip();
        self.writer.submit(commands);
        let mut results = Vec::with_capacity(answers.len());
        for answer in answers {
            results.push(received(what, answer.await));
        }
        results
    }

    /// Runs `query` on the reading connection, which sees everything that was answered as written, and writes nothing.
    /// A connection of its own keeps reads from waiting for fsyncs.
    pub(super) async fn read<T, F>(&self, what: &str, query: F) -> PortResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        one(&self.reader, what, query).await
    }
}

async fn one<T, F>(executor: &Arc<Executor>, what: &str, command: F) -> PortResult<T>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
{
    let (command, answer) = envelope(command);
    executor.submit(vec![command]);
    received(what, answer.await)
}

fn received<T>(what: &str, answer: Result<Result<T, Fault>, oneshot::error::RecvError>) -> PortResult<T> {
    answer
        .unwrap_or_else(|_| {
            Err(Fault::transient("abandoned, because the program stops or a command before it panicked"))
        })
        .map_err(|fault| fault.into_port_error(what))
}

/// Wraps `command` so that its caller hears of it through the receiver. A caller that has gone away is no error.
fn envelope<T, F>(command: F) -> (Command, oneshot::Receiver<Result<T, Fault>>)
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let wrapped: Command = Box::new(move |connection| {
        let result = connection.and_then(command);
        let keep = result.is_ok();
        let reply: Reply = Box::new(move |committed| drop(sender.send(committed.and(result))));
        (keep, reply)
    });
    (wrapped, receiver)
}

/// A connection and the commands that wait for it.
struct Executor {
    waiting: Mutex<Waiting>,
    connection: Mutex<Connection>,
    grouped: bool,
}

#[derive(Default)]
struct Waiting {
    commands: VecDeque<Command>,
    draining: bool,
}

impl Executor {
    fn new(connection: Connection, grouped: bool) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), connection: Mutex::new(connection), grouped })
    }

    fn submit(self: &Arc<Self>, commands: Vec<Command>) {
        let mut waiting = lock(&self.waiting);
        waiting.commands.extend(commands);
        if waiting.draining || waiting.commands.is_empty() {
            return;
        }
        waiting.draining = true;
        drop(waiting);
        let drain = Drain { executor: Arc::clone(self), done: false };
        // The handle is not needed: every command's caller waits for its answer, and the drain ends with the last command.
        drop(tokio::task::spawn_blocking(move || drain.run()));
    }
}

/// The right and duty to empty the queue. Dropped before it ran (by a runtime that stops), it abandons the commands,
/// whose callers hear of it, and leaves the executor usable.
struct Drain {
    executor: Arc<Executor>,
    done: bool,
}

impl Drain {
    fn run(mut self) {
        let executor = Arc::clone(&self.executor);
        let connection = lock(&executor.connection);
        while let Some(commands) = self.next_group() {
            let run = if executor.grouped { run_group } else { run_each };
            // A panic abandons its group, whose callers hear of it; begin() rolls back what it left open.
            if catch_unwind(AssertUnwindSafe(|| run(&connection, commands))).is_err() {
                tracing::error!("a database command panicked; the commands it ran with are abandoned");
            }
        }
    }

    fn next_group(&mut self) -> Option<Vec<Command>> {
        let mut waiting = lock(&self.executor.waiting);
        let count = waiting.commands.len().min(GROUP);
        if count == 0 {
            waiting.draining = false;
            self.done = true;
            return None;
        }
        Some(waiting.commands.drain(..count).collect())
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if !self.done {
            let mut waiting = lock(&self.executor.waiting);
            waiting.draining = false;
            waiting.commands.clear();
        }
    }
}

/// A panic under one of these locks leaves nothing half done: the queue is a list, and an open transaction is
/// rolled back before the next.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run_each(connection: &Connection, commands: Vec<Command>) {
    for command in commands {
        let (_, reply) = command(Ok(connection));
        reply(Ok(()));
    }
}

/// One transaction for all `commands`, then all answers.
fn run_group(connection: &Connection, commands: Vec<Command>) {
    let mut lost = begin(connection).err();
    let mut replies = Vec::with_capacity(commands.len());
    for command in commands {
        let ready = lost.clone().map_or_else(|| savepoint(connection), Err);
        let begun = ready.is_ok();
        let (keep, reply) = command(ready.map(|()| connection));
        replies.push(reply);
        if begun && let Err(fault) = release(connection, keep) {
            lost = Some(fault);
        }
    }
    let committed = match lost {
        Some(fault) => Err(fault),
        None => connection.execute_batch("COMMIT").map_err(Fault::from),
    };
    if committed.is_err() && !connection.is_autocommit() {
        roll_back(connection);
    }
    for reply in replies {
        reply(committed.clone());
    }
}

fn begin(connection: &Connection) -> Result<(), Fault> {
    if !connection.is_autocommit() {
        roll_back(connection);
    }
    Ok(connection.execute_batch("BEGIN IMMEDIATE")?)
}

fn savepoint(connection: &Connection) -> Result<(), Fault> {
    connection.prepare_cached("SAVEPOINT command")?.execute([])?;
    Ok(())
}

/// Keeps or undoes what happened since the savepoint. Fails when the transaction as a whole is gone, as after some
/// disk errors: then nobody's command took effect.
fn release(connection: &Connection, keep: bool) -> Result<(), Fault> {
    if connection.is_autocommit() {
        return Err(Fault::transient(
            "SQLite undid the whole transaction, most likely because the disk is full or failing",
        ));
    }
    if !keep {
        connection.prepare_cached("ROLLBACK TO command")?.execute([])?;
    }
    connection.prepare_cached("RELEASE command")?.execute([])?;
    Ok(())
}

fn roll_back(connection: &Connection) {
    if let Err(error) = connection.execute_batch("ROLLBACK") {
        tracing::error!(%error, "a failed SQLite transaction could not be rolled back");
    }
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
