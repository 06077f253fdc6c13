//! Whose the backlog is, and how the budgets stand.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::page::heading;
use super::paint::{Paint, Tone};
use crate::cli::format::{clip, dollars, gauge, plain, span, thousands};
use crate::cli::place::Place;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::pipeline::spend::{Budgets, Limits, Period, Reserved, Standing};
use crate::ports::PortResult;
use crate::ports::ledger::Counts;
use crate::request::Tenant;

/// Tenants shown; those with the longest backlog come first.
const TENANTS: usize = 12;
/// From this share on a budget is as good as used up.
const STRAINED: f64 = 0.8;

/// A tenant's part of the backlog. As JSON these names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TenantNow {
    pub tenant: Tenant,
    /// Requests that may be called.
    pub ready: u64,
    /// Of those, urgent ones.
    pub urgent: u64,
    /// Its part of a lane, relative to the others that want it.
    pub weight: f64,
}

/// Those with a backlog, the longest first.
pub fn tenants(counts: &Counts, config: &Config) -> Vec<TenantNow> {
    let mut all: BTreeMap<&Tenant, TenantNow> = BTreeMap::new();
    for (flow, requests) in &counts.ready {
        let new = || TenantNow {
            tenant: flow.tenant.clone(),
            ready: 0,
            urgent: 0,
            weight: config.tenant(&flow.tenant).weight,
        };
        let tenant = all.entry(&flow.tenant).or_insert_with(new);
        tenant.ready += requests;
        tenant.urgent += if flow.urgent { *requests } else { 0 };
    }
    let mut all: Vec<_> = all.into_values().collect();
    all.sort_by(|a, b| b.ready.cmp(&a.ready).then_with(|| a.tenant.cmp(&b.tenant)));
    all
}

/// How the budgets of this configuration stand by what was spent.
pub async fn budgets(place: &Place) -> PortResult<Vec<Standing>> {
    let mut budgets = Budgets::new(Limits::of(&place.config));
    budgets.refresh(&*place.ports.registers).await?;
    Ok(budgets.standing(&Reserved::default(), place.clock.now()))
}

pub fn write_tenants(page: &mut String, tenants: &[TenantNow], paint: Paint) -> std::fmt::Result {
    // A single one has all of the backlog.
    if tenants.len() < 2 {
        return Ok(());
    }
    heading(page, paint, "Backlog by tenant")?;
    for now in tenants.iter().take(TENANTS) {
        let urgent = if now.urgent > 0 { format!(", {} urgent", thousands(now.urgent)) } else { String::new() };
        let weight = paint.paint(Tone::Faint, &format!("weight {}", now.weight));
        let ready = format!("{} ready{urgent}", thousands(now.ready));
        writeln!(page, "  {:<32}{ready:<34}{weight}", clip(&plain(now.tenant.as_str()), 31))?;
    }
    if tenants.len() > TENANTS {
        writeln!(page, "  and {} more", tenants.len() - TENANTS)?;
    }
    writeln!(page)
}

pub fn write_budgets(page: &mut String, budgets: &[Standing], now: Timestamp, paint: Paint) -> std::fmt::Result {
    if budgets.is_empty() {
        return Ok(());
    }
    heading(page, paint, "Budgets")?;
    for budget in budgets {
        let whose = budget.which.tenant.as_ref().map_or("all tenants", Tenant::as_str);
        let period = match budget.which.period {
            Period::Day => "day",
            Period::Month => "month",
        };
        let name = format!("{} a {period}", clip(&plain(whose), 22));
        let money = format!("{} of {}", dollars(budget.spent_usd), dollars(budget.limit_usd));
        let money = if budget.share >= STRAINED { paint.paint(Tone::Warn, &money) } else { money };
        let renews = paint.paint(Tone::Faint, &format!("renews in {}", span(budget.renews_at.since(now))));
        let bar = gauge(budget.share.min(1.0));
        writeln!(page, "  {name:<32}{bar} {:>4.0} %  {money} · {renews}", budget.share * 100.0)?;
    }
    writeln!(page)
}
