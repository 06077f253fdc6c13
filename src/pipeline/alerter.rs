//! Decides when on-call hears of something: at once or when it has happened often enough, then counted, then summed up
//! after a cooldown.

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
    /// When to tell of it.
    pub after: After,
    /// What and where.
    pub subject: String,
    /// Impact, likely causes, what to run.
    pub body: String,
}

/// When a condition is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The first time.
    First,
    /// When it has happened [`Settings::threshold`] times within [`Settings::period`].
    Threshold,
}

/// How patient an alerter is.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How often a condition that passes by itself must happen.
    pub threshold: u64,
    /// Within which time.
    pub period: Duration,
    /// For how long a condition that was told of is only counted.
    pub cooldown: Duration,
}

/// Takes news from anywhere, never blocks, never fails. Cheap to clone.
#[derive(Clone)]
pub struct Alerter {
    news: mpsc::Sender<News>,
}

struct Condition {
    /// When it was told of, or first happened.
    since: Instant,
    told: bool,
    /// How often it happened and was not told.
    repeats: u64,
    latest: News,
}

impl Condition {
    /// When it is looked at again: to sum up, or to forget it.
    fn ends(&self, settings: Settings) -> Instant {
        self.since + if self.told { settings.cooldown } else { settings.period }
    }
}

impl Alerter {
    /// An alerter and the task that delivers until every clone is dropped.
    pub fn new(alerts: Arc<dyn Alerts>, clock: Clock, settings: Settings) -> (Self, impl Future<Output = ()> + Send) {
        let (news, receiver) = mpsc::channel(MAX_WAITING);
        (Self { news }, deliver(alerts, clock, settings, receiver))
    }

    /// Tells on-call when it is time to, as the news say; else it is counted.
    pub fn tell(&self, news: News) {
        if self.news.try_send(news).is_err() {
            tracing::debug!("an alert was dropped: too many wait already");
        }
    }
}

async fn deliver(alerts: Arc<dyn Alerts>, clock: Clock, settings: Settings, mut news: mpsc::Receiver<News>) {
    let mut conditions: HashMap<String, Condition> = HashMap::new();
    loop {
        let next = conditions.values().map(|c| c.ends(settings)).min();
        let received = match next {
            Some(at) => tokio::time::timeout_at(at, news.recv()).await.map_or(Received::Nothing, Received::from),
            None => Received::from(news.recv().await),
        };
        match received {
            Received::News(news) => {
                if !conditions.contains_key(&news.key) {
                    forget_oldest(&mut conditions);
                }
                let condition = conditions.entry(news.key.clone()).or_insert_with(|| Condition {
                    since: Instant::now(),
                    told: false,
                    repeats: 0,
                    latest: news.clone(),
                });
                condition.repeats += 1;
                condition.latest = news;
                let enough = match condition.latest.after {
                    After::First => 1,
                    After::Threshold => settings.threshold,
                };
                if !condition.told && condition.repeats >= enough {
                    condition.told = true;
                    publish(&*alerts, &clock, condition).await;
                }
            }
            Received::Nothing => {
                let now = Instant::now();
                let due: Vec<String> =
                    conditions.iter().filter(|(_, c)| c.ends(settings) <= now).map(|(key, _)| key.clone()).collect();
                for key in due {
                    let Some(mut condition) = conditions.remove(&key) else { continue };
                    if condition.told && condition.repeats > 0 {
                        publish(&*alerts, &clock, &mut condition).await;
                        conditions.insert(key, condition);
                    }
                }
            }
            Received::End => break,
        }
    }
    // What was counted since the last alert is not kept back at the end.
    for mut condition in conditions.into_values().filter(|c| c.told && c.repeats > 0) {
        publish(&*alerts, &clock, &mut condition).await;
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

/// Tells what was counted, and counts anew. Tries three times: an alert that cannot be delivered is logged and must not
/// hold up the next one.
async fn publish(alerts: &dyn Alerts, clock: &Clock, condition: &mut Condition) {
    let (news, count) = (&condition.latest, condition.repeats);
    let body = if count > 1 { format!("{}\nHappened {count} times.", news.body) } else { news.body.clone() };
    let alert = Alert {
        key: news.key.clone(),
        severity: news.severity,
        subject: news.subject.clone(),
        body,
        at: clock.now(),
        count,
    };
    condition.since = Instant::now();
    condition.repeats = 0;
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

    const SETTINGS: Settings =
        Settings { threshold: 5, period: Duration::from_mins(1), cooldown: Duration::from_mins(5) };

    fn alerter(sink: &Arc<Sink>) -> (Alerter, impl Future<Output = ()> + Send) {
        Alerter::new(Arc::clone(sink) as _, Clock::anchored(Timestamp(0)), SETTINGS)
    }

    fn news(key: &str, after: After) -> News {
        News { key: key.into(), severity: Severity::Warning, after, subject: "s".into(), body: "b".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_gives_one_alert_and_one_sum() {
        let sink = Arc::new(Sink::default());
        let (alerter, serve) = alerter(&sink);
        let storm = async move {
            for _ in 0..500 {
                alerter.tell(news("throttled", After::Threshold));
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_secs(301)).await;
            alerter.tell(news("denied", After::First));
        };
        tokio::join!(storm, serve);
        let delivered = sink.delivered.lock().unwrap().clone();
        assert_eq!(delivered, [("throttled".to_owned(), 5), ("throttled".to_owned(), 495), ("denied".to_owned(), 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_by_itself_is_not_told() {
        let sink = Arc::new(Sink::default());
        let (alerter, serve) = alerter(&sink);
        let now_and_then = async move {
            for _ in 0..20 {
                alerter.tell(news("blip", After::Threshold));
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
        };
        tokio::join!(now_and_then, serve);
        assert!(sink.delivered.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_topic_is_tried_again() {
        let sink = Arc::new(Sink { fail_first: Mutex::new(2), ..Sink::default() });
        let (alerter, serve) = alerter(&sink);
        alerter.tell(news("k", After::First));
        drop(alerter);
        serve.await;
        assert_eq!(sink.delivered.lock().unwrap().len(), 1);
    }
}
