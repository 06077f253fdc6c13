//! What each tenant may have: its weight and its limits, and how much of those is taken.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Config, TenantSettings};
use crate::request::Tenant;

/// What one tenant may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// Its part of a lane, relative to the others that want it.
    pub weight: f64,
    /// Requests of it that may be in the hold queue or called at the same time.
    pub max_in_flight: Option<u32>,
    /// Requests of it that may be started a minute.
    pub requests_per_minute: Option<f64>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { weight: 1.0, max_in_flight: None, requests_per_minute: None }
    }
}

impl Allowance {
    /// That of a tenant, as configured.
    #[must_use]
    pub fn of(config: &Config, tenant: &Tenant) -> Self {
        let TenantSettings { weight, max_in_flight, requests_per_minute, .. } = config.tenant(tenant);
        Self { weight, max_in_flight, requests_per_minute }
    }
}

/// The tenants that are not like the others.
pub type Allowances = HashMap<Tenant, Allowance>;

/// All that are configured.
#[must_use]
pub fn allowances(config: &Config) -> Allowances {
    config.tenants.keys().map(|tenant| (tenant.clone(), Allowance::of(config, tenant))).collect()
}

/// Spaces the requests of tenants whose rate is limited: one every 60 ÷ limit seconds, with a tenth of a minute's in reserve.
#[derive(Debug, Default)]
pub struct Rates {
    /// When each tenant's reserve would be full again.
    full_at: HashMap<Tenant, Instant>,
}

impl Rates {
    /// Whether one may go now.
    pub fn allows(&self, tenant: &Tenant, allowance: &Allowance) -> bool {
        let Some(per_minute) = allowance.requests_per_minute else { return true };
        let (gap, reserve) = spacing(per_minute);
        let now = Instant::now();
        self.full_at.get(tenant).is_none_or(|full| full.saturating_duration_since(now) + gap <= reserve)
    }

    /// One goes.
    pub fn take(&mut self, tenant: &Tenant, allowance: &Allowance) {
        let Some(per_minute) = allowance.requests_per_minute else { return };
        let now = Instant::now();
        let full = self.full_at.get(tenant).map_or(now, |full| (*full).max(now));
        self.full_at.retain(|_, full| *full > now);
        self.full_at.insert(tenant.clone(), full + spacing(per_minute).0);
    }
}

/// The time between two, and the time that a full reserve lasts.
fn spacing(per_minute: f64) -> (Duration, Duration) {
    let gap = Duration::from_secs_f64(60.0 / per_minute);
    (gap, gap.max(Duration::from_secs(6)))
}
