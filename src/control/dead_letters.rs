//! The dead-letter queue of the hold queue: messages that were received three times in vain.
//!
//! The planner puts the requests of most of them back into line by itself. What stays is for people: messages of
//! requests that took too many workers down (`FAILED` as `Poison`), each of which has at least one, put here by the queue
//! itself or by the worker that gave the request up; and messages that are not smoother's. Looking at
//! them means receiving them: until a walk ends and hands them back, others do not see them; if it is killed, they come
//! back at the queue's visibility timeout.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;
use crate::pipeline::hold::HoldMessage;
use crate::pipeline::intake::hand_back;
use crate::pipeline::lifecycle;
use crate::ports::{Applied, Delivery, Ledger, PortError, PortResult, Ports, Queue};
use crate::request::{Row, Status};

/// Messages of one receive.
const BATCH: usize = 10;
/// A receive waits this long, since SQS asks all its servers only then. So the end of the queue is surely its end.
const WAIT: Duration = Duration::from_secs(1);

/// A message in the dead-letter queue.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The queue's name for it.
    pub message_id: String,
    /// How often it was received from the dead-letter queue and, on SQS, from the hold queue before; looking counts.
    pub receive_count: u32,
    /// What it is.
    pub content: Content,
}

/// What a dead letter says.
#[derive(Clone, Debug)]
pub enum Content {
    /// A request's pass through the hold queue, and its row as it is now; `None` when there is none any more.
    Request(Box<HoldMessage>, Option<Box<Row>>),
    /// Something that smoother did not send: its body.
    Foreign(String),
}

impl DeadLetter {
    /// What people call it by: the request id, of a foreign message its message id.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.content {
            Content::Request(message, _) => message.request_id.as_str(),
            Content::Foreign(_) => &self.message_id,
        }
    }

    /// The request's row, where there is one.
    #[must_use]
    pub fn row(&self) -> Option<&Row> {
        match &self.content {
            Content::Request(_, row) => row.as_deref(),
            Content::Foreign(_) => None,
        }
    }
}

/// Which messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All there are.
    All,
    /// Those of these requests, or of these message ids.
    Named(BTreeSet<String>),
}

impl Which {
    fn includes(&self, letter: &DeadLetter) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(letter.name()) || names.contains(&letter.message_id),
        }
    }
}

/// What became of a message, or would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Its request is back in line, and the message deleted.
    Revived,
    /// Its request had been brought back before or came to its end by itself; the left-over message is deleted.
    LeftOver,
    /// Its request is not final: the planner decides about it within seconds. Nothing was done.
    Undecided,
    /// It is not smoother's. Nothing was done.
    Foreign,
    /// Deleted, and nothing else.
    Purged,
}

/// A message and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Handled {
    /// As [`DeadLetter::name`].
    pub name: String,
    /// The queue's name for it.
    pub message_id: String,
    /// The request's row as it was before.
    pub row: Option<Box<Row>>,
    /// What became of the message; with a dry run, what would have.
    pub fate: Fate,
}

/// Answer to [`DeadLetters::list`].
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Messages, in no order.
    pub letters: Vec<DeadLetter>,
    /// Whether there are others.
    pub more: bool,
}

/// The dead-letter queue as operators see it.
pub struct DeadLetters {
    ledger: Arc<dyn Ledger>,
    dead: Arc<dyn Queue>,
    clock: Clock,
}

/// Messages taken in a walk that shall come back at its end: message ids with their latest receipts.
type Taken = HashMap<String, String>;

impl DeadLetters {
    /// The dead-letter queue of these ports.
    #[must_use]
    pub fn new(ports: &Ports, clock: Clock) -> Self {
        Self { ledger: Arc::clone(&ports.ledger), dead: Arc::clone(&ports.dead), clock }
    }

    /// Up to `limit` messages.
    ///
    /// # Errors
    /// When queue or ledger cannot be read.
    pub async fn list(&self, limit: usize) -> PortResult<Listing> {
        let mut taken = Taken::new();
        let listed = self.list_into(limit, &mut taken).await;
        self.give_back(taken).await;
        listed
    }

    /// The messages of this request, or of this message id. Walks through the whole queue.
    ///
    /// # Errors
    /// When queue or ledger cannot be read.
    pub async fn find(&self, name: &str) -> PortResult<Vec<DeadLetter>> {
        let which = Which::Named(BTreeSet::from([name.to_owned()]));
        let mut found = Vec::new();
        self.walk(&which, async |letter, _| {
            found.push(letter.clone());
            Ok((judge(letter), false))
        })
        .await?;
        Ok(found)
    }

    /// Puts FAILED requests back into line, as new but for their calls, which go on counting, and deletes their messages.
    /// `by` is who wants it, for the row's notes. A request so revived ends again: consumers get another result message
    /// of its id, and the reporting table another row.
    ///
    /// Each row is moved before its message is deleted. What a crash leaves between the two, the planner or a
    /// repeat deletes.
    ///
    /// # Errors
    /// When queue or ledger fail; what was done until then stays done.
    pub async fn redrive(&self, which: &Which, by: &str, dry_run: bool) -> PortResult<Vec<Handled>> {
        self.walk(which, async |letter, receipt| {
            let fate = match judge(letter) {
                Fate::Revived if !dry_run => self.revive(letter, by).await?,
                fate => fate,
            };
            let delete = !dry_run && matches!(fate, Fate::Revived | Fate::LeftOver);
            if delete {
                self.delete(receipt).await?;
            }
            Ok((fate, delete))
        })
        .await
    }

    /// Deletes messages. Their requests stay as they are: a FAILED one can then no longer be put back into line.
    ///
    /// # Errors
    /// When queue or ledger fail; what was deleted until then is gone.
    pub async fn purge(&self, which: &Which, dry_run: bool) -> PortResult<Vec<Handled>> {
        self.walk(which, async |letter, receipt| {
            // The planner needs this one still.
            let undecided = judge(letter) == Fate::Undecided;
            let delete = !dry_run && !undecided;
            if delete {
                self.delete(receipt).await?;
            }
            Ok((if undecided { Fate::Undecided } else { Fate::Purged }, delete))
        })
        .await
    }

    async fn revive(&self, letter: &DeadLetter, by: &str) -> PortResult<Fate> {
        let Some(row) = letter.row() else { return Ok(Fate::LeftOver) };
        let revival = lifecycle::revive(row, by, self.clock.now());
        let applied = self.ledger.apply(vec![revival]).await.pop();
        match applied.unwrap_or_else(|| Err(PortError::transient("ledger apply", "no answer")))? {
            Applied::Done(_) => Ok(Fate::Revived),
            // Somebody else was faster.
            Applied::Refused(_) => Ok(Fate::LeftOver),
        }
    }

    async fn delete(&self, receipt: &str) -> PortResult<()> {
        self.dead.delete(vec![receipt.to_owned()]).await.into_iter().collect()
    }

    async fn list_into(&self, limit: usize, taken: &mut Taken) -> PortResult<Listing> {
        let mut listing = Listing::default();
        while listing.letters.len() < limit {
            let wanted = BATCH.min(limit - listing.letters.len());
            let Some(deliveries) = self.take(wanted, taken).await? else { return Ok(listing) };
            for delivery in deliveries {
                listing.letters.push(self.read(delivery).await?);
            }
        }
        listing.more = self.dead.depth().await?.visible > 0;
        Ok(listing)
    }

    /// Shows every chosen message to `visit`, which answers with its fate and whether it is gone from the queue.
    async fn walk<F>(&self, which: &Which, mut visit: F) -> PortResult<Vec<Handled>>
    where
        F: AsyncFnMut(&DeadLetter, &str) -> PortResult<(Fate, bool)>,
    {
        let mut taken = Taken::new();
        let mut handled = Vec::new();
        let walked = async {
            while let Some(deliveries) = self.take(BATCH, &mut taken).await? {
                for delivery in deliveries {
                    let receipt = delivery.receipt.clone();
                    let letter = self.read(delivery).await?;
                    if !which.includes(&letter) {
                        continue;
                    }
                    let (fate, gone) = visit(&letter, &receipt).await?;
                    if gone {
                        taken.remove(&letter.message_id);
                    }
                    let name = letter.name().to_owned();
                    let row = match letter.content {
                        Content::Request(_, row) => row,
                        Content::Foreign(_) => None,
                    };
                    handled.push(Handled { name, message_id: letter.message_id, row, fate });
                }
            }
            Ok(())
        }
        .await;
        self.give_back(taken).await;
        walked.map(|()| handled)
    }

    /// The next messages that were not seen before; `None` at the end. What comes a second time, because the walk took
    /// longer than the visibility timeout, is taken along under its new receipt.
    async fn take(&self, max: usize, taken: &mut Taken) -> PortResult<Option<Vec<Delivery>>> {
        let mut fresh = Vec::new();
        for delivery in self.dead.receive(max, WAIT).await? {
            if taken.insert(delivery.message_id.clone(), delivery.receipt.clone()).is_none() {
                fresh.push(delivery);
            }
        }
        Ok((!fresh.is_empty()).then_some(fresh))
    }

    async fn give_back(&self, taken: Taken) {
        hand_back(&*self.dead, taken.into_values().collect()).await;
    }

    async fn read(&self, delivery: Delivery) -> PortResult<DeadLetter> {
        let Delivery { message_id, body, receive_count, .. } = delivery;
        let content = match serde_json::from_str::<HoldMessage>(&body) {
            Ok(message) => {
                let row = self.ledger.get(&message.request_id).await?;
                Content::Request(Box::new(message), row.map(Box::new))
            }
            Err(_) => Content::Foreign(body),
        };
        Ok(DeadLetter { message_id, receive_count, content })
    }
}

/// What a redrive does with a message.
fn judge(letter: &DeadLetter) -> Fate {
    let Content::Request(message, row) = &letter.content else { return Fate::Foreign };
    let Some(row) = row else { return Fate::LeftOver };
    let current = row.ticket.as_deref() == Some(&message.ticket);
    match row.status {
        Status::Failed => Fate::Revived,
        // Finished under this very message: perhaps nobody was told yet, which the planner does.
        status if status.is_terminal() && current => Fate::Undecided,
        status if status.is_terminal() => Fate::LeftOver,
        // Its next claim fails it, and then its message is what it can be brought back by.
        _ if current || row.claims >= lifecycle::MAX_LOST_CLAIMS => Fate::Undecided,
        _ => Fate::LeftOver,
    }
}
