//! Registers in memory, each replica on a link of its own that may be slow, lossy or cut.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use smoother::ports::{PortError, PortResult, Register, Registers};
use tokio::sync::Notify;

/// The table that all share.
#[derive(Default)]
pub struct Memory {
    pub registers: Mutex<BTreeMap<String, Register>>,
    /// Writes to registers other than heartbeats.
    pub share_writes: AtomicU64,
}

impl Memory {
    /// A way to the table, fast and sound as it comes.
    pub fn link(self: &Arc<Self>, seed: u64) -> Arc<Link> {
        let dice = Mutex::new(fastrand::Rng::with_seed(seed));
        let no = || AtomicBool::new(false);
        let memory = Arc::clone(self);
        Arc::new(Link { memory, cut: no(), faults: no(), stalled: no(), go_on: Notify::new(), dice })
    }

    /// Changes a register if it is of that version; `None` removes it.
    fn swap(&self, name: &str, expected: u64, value: Option<String>) -> bool {
        let mut all = self.registers.lock().unwrap();
        if all.get(name).map_or(0, |register| register.version) != expected {
            return false;
        }
        if name.starts_with("share/") {
            self.share_writes.fetch_add(1, Ordering::Relaxed);
        }
        match value {
            Some(value) => _ = all.insert(name.to_owned(), Register { version: expected + 1, value }),
            None => _ = all.remove(name),
        }
        true
    }
}

/// One replica's way to the table.
pub struct Link {
    memory: Arc<Memory>,
    /// Nothing gets through; found out after up to four seconds.
    pub cut: AtomicBool,
    /// Calls take up to half a second each way, and one in twelve fails, before or after its effect.
    pub faults: AtomicBool,
    /// Writes of shares wait on the way there, until `go_on`.
    pub stalled: AtomicBool,
    pub go_on: Notify,
    dice: Mutex<fastrand::Rng>,
}

impl Link {
    fn roll(&self, below: u64) -> u64 {
        self.dice.lock().unwrap().u64(0..below)
    }

    async fn way(&self, failing: bool) -> PortResult<()> {
        let fault = || Err(PortError::transient("memory", "as injected"));
        if self.faults.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(self.roll(500))).await;
        }
        if self.cut.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(self.roll(4_000))).await;
            return fault();
        }
        if failing { fault() } else { Ok(()) }
    }

    async fn there_and_back<T>(&self, effect: impl FnOnce(&Memory) -> T + Send) -> PortResult<T>
    where
        T: Send,
    {
        let fate = if self.faults.load(Ordering::Relaxed) { self.roll(24) } else { 24 };
        self.way(fate == 0).await?;
        let answer = effect(&self.memory);
        self.way(fate == 1).await?;
        Ok(answer)
    }
}

#[async_trait]
impl Registers for Link {
    async fn read(&self, name: &str) -> PortResult<Option<Register>> {
        self.there_and_back(|memory| memory.registers.lock().unwrap().get(name).cloned()).await
    }

    async fn write(&self, name: &str, expected: u64, value: String) -> PortResult<bool> {
        if self.stalled.load(Ordering::Relaxed) && name.starts_with("share/") {
            self.go_on.notified().await;
        }
        self.there_and_back(|memory| memory.swap(name, expected, Some(value))).await
    }

    async fn remove(&self, name: &str, expected: u64) -> PortResult<bool> {
        self.there_and_back(|memory| expected > 0 && memory.swap(name, expected, None)).await
    }

    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Register)>> {
        self.there_and_back(|memory| {
            let all = memory.registers.lock().unwrap();
            let found = all.iter().filter(|(name, _)| name.starts_with(prefix));
            found.map(|(name, register)| (name.clone(), register.clone())).collect()
        })
        .await
    }
}
