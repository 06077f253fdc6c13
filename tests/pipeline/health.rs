//! Whether a worker is alive and ready, while its table is out of reach and while it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smoother::ports::Ports;
use smoother::shutdown::Stop;
use tokio::task::JoinSet;

use crate::registers::Memory;
use crate::rig::{Reply, Rig, request};
use crate::seconds;

#[tokio::test(start_paused = true)]
async fn health_follows_the_beats_and_the_stop() {
    let rig = Rig::new().await;
    let link = Arc::<Memory>::default().link(1);
    let ports = Ports { registers: Arc::clone(&link) as _, ..rig.local.ports.clone() };
    rig.model.on("slow", &[Reply::After(seconds(300))]);
    rig.send(&[request("r-1", "slow")]).await;
    let worker = rig.worker_on(ports, rig.model(), "w", Vec::new(), |settings| {
        settings.until_idle = false;
        settings.drain_grace = Duration::from_mins(10);
    });
    let (health, stop) = (worker.health(), Stop::default());
    assert!(health.ready().unwrap_err().starts_with("starting"));
    let mut running = JoinSet::new();
    running.spawn(worker.run(stop.clone()));
    tokio::time::sleep(seconds(20)).await;
    assert_eq!((health.live(), health.ready()), (Ok(()), Ok(())));
    assert_eq!(rig.model.calls_of("slow"), 1);

    link.cut.store(true, Ordering::Relaxed);
    tokio::time::sleep(seconds(20)).await;
    assert_eq!(health.ready(), Ok(()), "a table that fails for moments is no reason to complain");
    tokio::time::sleep(seconds(100)).await;
    assert!(health.ready().unwrap_err().contains("took the last beat 1"), "{:?}", health.ready());
    assert_eq!(health.live(), Ok(()), "a restart would not bring the table back");
    link.cut.store(false, Ordering::Relaxed);
    tokio::time::sleep(seconds(10)).await;
    assert_eq!(health.ready(), Ok(()));

    stop.intake.cancel();
    assert_eq!((health.live(), health.ready()), (Ok(()), Err("stopping".to_owned())), "at once");
    tokio::time::sleep(seconds(100)).await;
    assert!(running.try_join_next().is_none(), "the call in flight is waited for");
    assert_eq!(health.live(), Ok(()));
    tokio::time::timeout(seconds(120), running.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(rig.row("r-1").await.status, smoother::request::Status::Succeeded);
}
