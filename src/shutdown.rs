//! SIGTERM and SIGINT: the first asks the worker to finish in order, the second to leave at once.

use tokio_util::sync::CancellationToken;

/// The two steps of stopping.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Take nothing new; finish what is in flight.
    pub intake: CancellationToken,
    /// Leave what is in flight to others.
    pub abandon: CancellationToken,
}

impl Stop {
    /// Listens for signals until dropped: the first cancels `intake`, the second `abandon`.
    pub async fn on_signals(self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        for (token, message) in [
            (&self.intake, "stopping: finishing what is in flight (again to leave at once)"),
            (&self.abandon, "leaving at once: what is in flight will be done again"),
        ] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("{message}");
            token.cancel();
        }
        Ok(())
    }
}
