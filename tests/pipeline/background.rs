//! What others on the account use is measured, and left to them.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use smoother::ports::{Minute, MinuteTokens, PortError, PortResult, UsageFeed};
use smoother::request::Lane;
use smoother::shutdown::Stop;

use crate::rig::{Rig, request};

/// Says of every minute what others used in it, and fails when there is nothing to say.
#[derive(Default)]
struct Others(Mutex<Option<f64>>);

#[async_trait]
impl UsageFeed for Others {
    async fn tokens(&self, lanes: &[Lane], minutes: Range<Minute>) -> PortResult<MinuteTokens> {
        let tokens = self.0.lock().unwrap().ok_or_else(|| PortError::permanent("scripted feed", "AccessDenied"))?;
        let by_minute = (minutes.start.0..minutes.end.0).map(|minute| (Minute(minute), tokens));
        Ok(lanes.iter().map(|lane| (lane.clone(), by_minute.clone().collect())).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn others_get_what_they_use_until_it_is_not_known_any_more() {
    let rig = Rig::new().await;
    rig.send(&[request("opens-the-lane", "hello")]).await;
    let feed = Arc::new(Others(Mutex::new(Some(180_000.0))));
    let worker = rig.worker("w", |settings| settings.until_idle = false).with_usage_feed(Some(Arc::clone(&feed) as _));
    let gate = worker.gate();
    let stop = Stop::default();
    let lane = || gate.snapshots().into_iter().next().unwrap();
    let watch = async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!((lane().answered, lane().background), (1, None));
        tokio::time::sleep(Duration::from_mins(4)).await;
        // Of 600,000 tokens a minute.
        assert!((lane().background.unwrap() - 0.3).abs() < 0.001, "{:?}", lane().background);
        assert!((lane().factor - 0.7).abs() < 0.001, "{}", lane().factor);
        *feed.0.lock().unwrap() = None;
        tokio::time::sleep(Duration::from_secs(370)).await;
        assert_eq!(lane().background, None);
        assert!((lane().factor - 1.0).abs() < 1e-9);
        stop.intake.cancel();
    };
    tokio::join!(worker.run(stop.clone()), watch);
}

#[tokio::test(start_paused = true)]
async fn without_a_feed_nothing_is_measured_or_published() {
    let rig = Rig::new().await;
    rig.send(&[request("r", "hello")]).await;
    let worker = rig.worker("w", |settings| settings.until_idle = false);
    let stop = Stop::default();
    let watch = async {
        tokio::time::sleep(Duration::from_mins(5)).await;
        let registers = rig.local.ports.registers.list("").await.unwrap();
        assert!(registers.iter().all(|(name, _)| !name.starts_with("background/")));
        let (_, member) = registers.iter().find(|(name, _)| name == "member/w").unwrap();
        assert!(!member.value.contains("\"used\""), "{}", member.value);
        stop.intake.cancel();
    };
    tokio::join!(worker.run(stop.clone()), watch);
}
