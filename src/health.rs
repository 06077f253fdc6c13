//! Whether a worker is alive and ready, for whoever restarts it and whoever waits for it: `GET /live` and `GET /ready`.
//!
//! Both follow from its pulse, the loop that shows the fleet that it is there. *Live* means that the pulse goes on, whatever comes of
//! it: a worker that cannot reach its table is no better for being restarted. *Ready* means that the table took a beat lately,
//! and that the worker is not about to end.

pub mod server;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A pulse that made no step for this long hangs. A step may take as long as a call of the table that fails, 30 s.
const LIVE_WITHIN: Duration = Duration::from_secs(90);
/// A worker whose last good beat is older than this is not ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How a worker does. Shared by the worker and the server.
#[derive(Debug)]
pub struct Health(Mutex<Pulse>);

#[derive(Debug)]
struct Pulse {
    stepped: Instant,
    beaten: Option<Instant>,
    stop: CancellationToken,
}

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(Pulse { stepped: Instant::now(), beaten: None, stop: CancellationToken::new() }))
    }
}

impl Health {
    /// The worker ends when this is cancelled.
    pub fn ends_with(&self, stop: CancellationToken) {
        self.with(|pulse| pulse.stop = stop);
    }

    /// The pulse makes a step.
    pub fn step(&self) {
        self.with(|pulse| pulse.stepped = Instant::now());
    }

    /// A beat was made, good or not.
    pub fn beat(&self, good: bool) {
        self.with(|pulse| {
            pulse.stepped = Instant::now();
            if good {
                pulse.beaten = Some(pulse.stepped);
            }
        });
    }

    /// Whether it is of use to let it go on. It is while it ends, since that ends by itself.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn live(&self) -> Result<(), String> {
        self.with(|pulse| {
            let still = pulse.stepped.elapsed();
            if still < LIVE_WITHIN || pulse.stop.is_cancelled() {
                return Ok(());
            }
            Err(format!("the worker's pulse has stood still for {} s", still.as_secs()))
        })
    }

    /// Whether it works.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn ready(&self) -> Result<(), String> {
        self.with(|pulse| match pulse.beaten.map(|beaten| beaten.elapsed()) {
            _ if pulse.stop.is_cancelled() => Err("stopping".to_owned()),
            None => Err("starting: the table of requests has not taken a beat yet".to_owned()),
            Some(ago) if ago >= READY_WITHIN => {
                Err(format!("the table of requests took the last beat {} s ago", ago.as_secs()))
            }
            Some(_) => Ok(()),
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Pulse) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn after(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_is_ready_while_its_beats_are_taken() {
        let health = Health::default();
        assert!(health.ready().unwrap_err().starts_with("starting"));
        health.beat(true);
        assert_eq!(health.ready(), Ok(()));
        after(29).await;
        health.beat(false);
        assert_eq!(health.ready(), Ok(()));
        after(1).await;
        assert_eq!(health.ready().unwrap_err(), "the table of requests took the last beat 30 s ago");
        assert_eq!(health.live(), Ok(()), "beats that fail are beats");
        health.beat(true);
        assert_eq!(health.ready(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_is_live_while_its_pulse_goes_on() {
        let health = Health::default();
        after(89).await;
        assert_eq!(health.live(), Ok(()), "it has time to start");
        health.step();
        after(90).await;
        assert_eq!(health.live().unwrap_err(), "the worker's pulse has stood still for 90 s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_ends_is_live_and_not_ready() {
        let (health, stop) = (Health::default(), CancellationToken::new());
        health.ends_with(stop.clone());
        health.beat(true);
        assert_eq!(health.ready(), Ok(()));
        stop.cancel();
        assert_eq!(health.ready().unwrap_err(), "stopping");
        after(3600).await;
        assert_eq!(health.live(), Ok(()));
    }
}
