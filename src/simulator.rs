//! A simulator of Amazon Bedrock: an HTTP/1.1 server that speaks bedrock-runtime, part of the Bedrock control plane and
//! Service Quotas on one port, with Bedrock's quota accounting. It serves real SDKs in the demo, in tests and in
//! measurements.
//!
//! ```text
//!  SDK ─► listener ─► server ─┬► control, service_quotas          which models, profiles, quotas there are
//!                             ├► inspect                          /_sim/{stats,calls,settings,reset}
//!                             └► runtime ─► dialect | native      the prompt: tokens, cache points, what is wanted
//!                                   │        (anthropic)
//!                                   ▼
//!                                 call ── draw (fate) ── quota (meter, background): reserve
//!                                   │  └─ answer (example): words, a tool call, JSON, vectors
//!                                   ▼  takes its time
//!                    converse | invoke ─► one response, or stream (frames)
//!                                   └──── settle | give back ─► stats, memory (attempts, prompt cache)
//! ```
//! `settings` says what is simulated, `family` what is known of models, `fault` how errors look, `state` is shared.
//! No authentication is checked. Time is tokio's, chance comes from the seed alone (see `draw`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

mod answer;
mod anthropic;
mod background;
mod call;
mod control;
mod converse;
mod dialect;
pub mod draw;
mod example;
mod family;
mod fault;
mod frames;
mod inspect;
mod invoke;
mod listener;
mod memory;
mod meter;
mod native;
mod prompt;
mod query;
pub mod quota;
mod runtime;
mod server;
mod service_quotas;
mod settings;
mod state;
mod stats;
mod stream;

pub use background::Step;
pub use fault::{FaultKind, Faults};
pub use quota::Refill;
pub use settings::{Latency, ModelSettings, SHIPPED_MODELS, Settings};
pub use stats::{Free, Limits, ModelStats, Stats, Throttled, Tokens, Totals, Used};

use state::State;

/// A running simulator; dropping it stops it without waiting.
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
    state: StateHandle,
    server: JoinSet<io::Result<()>>,
}

/// Tells everything that runs to stop when it goes.
struct StateHandle(Arc<State>);

impl std::fmt::Debug for StateHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl Drop for StateHandle {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}

/// How long a stop waits for clients to take what they are being sent.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Binds `addr` (port 0 takes any free one) and serves in the background.
///
/// # Errors
/// The address cannot be bound, or settings are faulty (`InvalidInput`, with every fault in the message).
pub async fn start(settings: Settings, addr: SocketAddr) -> io::Result<Simulator> {
    settings.check().map_err(|faults| io::Error::new(io::ErrorKind::InvalidInput, faults.join("; ")))?;
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let state = Arc::new(State::new(settings));
    let mut server = JoinSet::new();
    server.spawn(server::serve(listener, Arc::clone(&state)));
    Ok(Simulator { addr, state: StateHandle(state), server })
}

impl Simulator {
    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The endpoint URL for SDKs.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.state.0.stats()
    }

    /// How many calls each key caused whose work was done: by `requestMetadata.request_id`, else by the body's SHA-256
    /// in hexadecimal. Empty when `record_calls` is off.
    #[must_use]
    pub fn calls(&self) -> std::collections::BTreeMap<String, u64> {
        self.state.0.memory().calls.show(false)
    }

    /// Lays a JSON patch over the settings, as `POST /_sim/settings` does.
    ///
    /// # Errors
    /// Every fault of the result, in words; nothing has changed then.
    pub fn change(&self, patch: serde_json::Value) -> Result<Settings, String> {
        self.state.0.change(patch)
    }

    /// Stops accepting, breaks off what is running and waits until the connections are closed, two seconds at most.
    pub async fn stop(mut self) {
        self.state.0.stop.cancel();
        if tokio::time::timeout(STOP_GRACE, self.server.join_next()).await.is_err() {
            self.server.shutdown().await;
        }
    }
}
