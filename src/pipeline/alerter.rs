//! Decides when on-call hears of something: at once the first time, then counted, then summed up after a cooldown.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::ports::{Alert, Alerts, Severity};

/// Conditions remembered at a time; beyond it the oldest is forgotten and would alert anew.
const MAX_CONDITIONS: usize = 1_000;
/// Undelivered news that may wait; more of it is dropped, since it would only repeat what waits already.
const MAX_WAITING: usize = 1_000;

/// Something on-call should know.
#[derive(Clone, Debug)]
pub struct News {
    /// Names the condition.
    pub key: String,
    /// How bad.
    pub severity: Severity,
    /// What and where.
    pub subject: String,
    /// Impact, likely causes, what to run.
    pub body: String,
}

/// Takes news from anywhere, never blocks, never fails. Cheap to clone.
#[derive(Clone)]
pub struct Alerter {
    news: mpsc::Sender<News>,
}

struct Condition {
    since: Instant,
    repeats: u64,
    latest: News,
}

impl Alerter {
    /// An alerter and the task that delivers until every clone is dropped.
    pub fn new(alerts: Arc<dyn Alerts>, clock: Clock, cooldown: Duration) -> (Self, impl Future<Output = ()> + Send) {
        let (news, receiver) = mpsc::channel(MAX_WAITING);
        (Self { news }, deliver(alerts, clock, cooldown, receiver))
    }

    /// Tells on-call, unless it was told of the same condition within the cooldown; then it is counted.
    pub fn tell(
        &self,
        severity: Severity,
        key: impl Into<String>,
        subject: impl Into<String>,
        body: impl Into<String>,
    ) {
        let news = News { key: key.into(), severity, subject: subject.into(), body: body.into() };
        if self.news.try_send(news).is_err() {
            tracing::debug!("an alert was dropped: too many wait already");
        }
    }
}

async fn deliver(alerts: Arc<dyn Alerts>, clock: Clock, cooldown: Duration, mut news: mpsc::Receiver<News>) {
    let mut conditions: HashMap<String, Condition> = HashMap::new();
    loop {
        let next = conditions.values().map(|c| c.since + cooldown).min();
        let received = match next {
            Some(at) => tokio::time::timeout_at(at, news.recv()).await.map_or(Received::Nothing, Received::from),
            None => Received::from(news.recv().await),
        };
        match received {
            Received::News(news) => {
                if let Some(condition) = conditions.get_mut(&news.key) {
                    condition.repeats += 1;
                    condition.latest = news;
                } else {
                    publish(&*alerts, &clock, &news, 1).await;
                    forget_oldest(&mut conditions);
                    let condition = Condition { since: Instant::now(), repeats: 0, latest: news };
                    conditions.insert(condition.latest.key.clone(), condition);
                }
            }
            Received::Nothing => {
                let now = Instant::now();
                let due: Vec<String> =
                    conditions.iter().filter(|(_, c)| c.since + cooldown <= now).map(|(k, _)| k.clone()).collect();
                for key in due {
                    let Some(condition) = conditions.remove(&key) else { continue };
                    if condition.repeats > 0 {
                        publish(&*alerts, &clock, &condition.latest, condition.repeats).await;
                        conditions.insert(key, Condition { since: Instant::now(), repeats: 0, ..condition });
                    }
                }
            }
            Received::End => break,
        }
    }
    // What was counted since the last alert is not kept back at the end.
    for condition in conditions.into_values().filter(|c| c.repeats > 0) {
        publish(&*alerts, &clock, &condition.latest, condition.repeats).await;
    }
}

enum Received {
    News(News),
    Nothing,
    End,
}

impl From<Option<News>> for Received {
    fn from(news: Option<News>) -> Self {
        news.map_or(Self::End, Self::News)
    }
}

fn forget_oldest(conditions: &mut HashMap<String, Condition>) {
    if conditions.len() >= MAX_CONDITIONS {
        let oldest = conditions.iter().min_by_key(|(_, c)| c.since).map(|(key, _)| key.clone());
        oldest.map(|key| conditions.remove(&key));
    }
}

/// Tries three times; an alert that cannot be delivered is logged and must not hold up the next one.
async fn publish(alerts: &dyn Alerts, clock: &Clock, news: &News, count: u64) {
    let body = if count > 1 {
        format!("{}\nHappened {count} times since the last alert.", news.body)
    } else {
        news.body.clone()
    };
    let alert = Alert {
        key: news.key.clone(),
        severity: news.severity,
        subject: news.subject.clone(),
        body,
        at: clock.now(),
        count,
    };
    for delay in [200, 1_000, 0] {
        match alerts.publish(&alert).await {
            Ok(()) => return,
            Err(error) if delay == 0 => {
                tracing::error!(%error, key = alert.key, subject = alert.subject, "could not deliver an alert");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(delay)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::clock::Timestamp;
    use crate::ports::{PortError, PortResult};

    #[derive(Default)]
    struct Sink {
        delivered: Mutex<Vec<(String, u64)>>,
        fail_first: Mutex<u32>,
    }

    #[async_trait]
    impl Alerts for Sink {
        async fn publish(&self, alert: &Alert) -> PortResult<()> {
            let mut failures = self.fail_first.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(PortError::transient("publish", "down"));
            }
            self.delivered.lock().unwrap().push((alert.key.clone(), alert.count));
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_gives_one_alert_and_one_sum() {
        let sink = Arc::new(Sink::default());
        let (alerter, serve) = Alerter::new(sink.clone(), Clock::anchored(Timestamp(0)), Duration::from_mins(5));
        let storm = async move {
            for _ in 0..500 {
                alerter.tell(Severity::Warning, "throttled", "s", "b");
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_secs(301)).await;
            alerter.tell(Severity::Critical, "denied", "s", "b");
        };
        tokio::join!(storm, serve);
        let delivered = sink.delivered.lock().unwrap().clone();
        assert_eq!(delivered, [("throttled".to_owned(), 1), ("throttled".to_owned(), 499), ("denied".to_owned(), 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_topic_is_tried_again() {
        let sink = Arc::new(Sink { fail_first: Mutex::new(2), ..Sink::default() });
        let (alerter, serve) = Alerter::new(sink.clone(), Clock::anchored(Timestamp(0)), Duration::from_mins(5));
        alerter.tell(Severity::Warning, "k", "s", "b");
        drop(alerter);
        serve.await;
        assert_eq!(sink.delivered.lock().unwrap().len(), 1);
    }
}
