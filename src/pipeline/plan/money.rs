//! Budgets: what nobody can pay for waits, is refused, or goes to the cheaper model.
//!
//! Enforced where it is decided who goes next, by what was spent and what is under way: its estimated cost, then the settled
//! one. What is refused ends as FAILED, and what goes to a cheaper model moves to that model's line at its old rank.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Planner, SWEEP, Term};
use crate::clock::Timestamp;
use crate::models::{estimated_cost, expected_output};
use crate::pipeline::alerts::conditions::{Condition, SwitchReason};
use crate::pipeline::lifecycle;
use crate::pipeline::spend::{Ask, Budgets, Reserved, Verdict, Which};
use crate::ports::{Applied, PortResult, WorkItem};
use crate::request::{self, Flow, Lane, Request, RequestId, Status, Tenant};

/// How often what was spent is read.
const READ: Duration = Duration::from_secs(2);
/// A new planner judges what is over when it has seen the heads of all lines.
const SETTLING: Duration = Duration::from_secs(30);
/// Without a request sent to a cheaper model for so long, and with money left, none will be.
const CALM: Duration = Duration::from_mins(10);

/// What the planner knows of money.
#[derive(Default)]
pub struct Money {
    pub budgets: Budgets,
    reserved: Reserved,
    read: Option<Instant>,
    /// Requests for which no cheaper model may stand in.
    as_asked: HashSet<RequestId>,
    /// Budgets that had no room for a request that came up, with when they renew.
    blocking: BTreeMap<Which, Timestamp>,
    /// Budgets that on-call knows to be used up, until when.
    told: HashSet<(Which, Timestamp)>,
    /// When a request of a tenant was last sent to a cheaper model.
    switched: HashMap<Tenant, Instant>,
    /// Since when all of this is looked at.
    begun: Option<Instant>,
}

impl Money {
    pub fn new(budgets: Budgets) -> Self {
        Self { budgets, ..Self::default() }
    }

    /// Counts what is under way: all that is `held`, and for a while what has left.
    pub fn observe(&mut self, held: impl Fn(&RequestId) -> bool, now: Timestamp) {
        let gone: Vec<RequestId> = self.reserved.ids().filter(|id| !held(id)).cloned().collect();
        for id in gone {
            self.reserved.remove(&id, now);
        }
        self.reserved.settle(now);
    }

    /// How many budgets have no room, by what was spent alone: those that are spent, and those that a request could not be paid from.
    pub fn used_up(&mut self, now: Timestamp) -> usize {
        self.blocking.retain(|_, renews| *renews > now);
        let standing = self.budgets.standing(&Reserved::default(), now);
        let spent =
            standing.into_iter().filter(|budget| budget.spent_usd >= budget.limit_usd).map(|budget| budget.which);
        spent.chain(self.blocking.keys().cloned()).collect::<BTreeSet<Which>>().len()
    }
}

impl Planner {
    /// Counts the cost of a request that goes.
    pub(super) fn reserve(&self, money: &mut Money, item: &WorkItem) {
        if !money.budgets.is_empty() && !money.reserved.contains(&item.id) {
            let usd = self.usd(&item.flow.lane, item).unwrap_or(0.0);
            money.reserved.add(item.id.clone(), item.flow.tenant.clone(), usd);
        }
    }

    /// Whether there is money for a request.
    pub(super) fn can_be_paid(&self, money: &Money, item: &WorkItem) -> bool {
        money.budgets.is_empty() || self.judge(money, item) == Verdict::Go
    }

    /// Refuses, and sends to cheaper models, what is first in its line and must not go as it is.
    pub(super) async fn keep_budgets(&self, term: &mut Term) -> PortResult<()> {
        if term.money.budgets.is_empty() {
            return Ok(());
        }
        term.money.begun.get_or_insert_with(Instant::now);
        if term.money.read.is_none_or(|read| read.elapsed() >= READ) {
            term.money.budgets.refresh(&*self.registers).await?;
            term.money.read = Some(Instant::now());
        }
        for _ in 0..SWEEP {
            let judged = term.lines.heads().map(|(flow, item)| (flow, self.judge(&term.money, item)));
            let waiting = |verdict: &Verdict| matches!(verdict, Verdict::Wait { .. });
            let judged: Vec<(Flow, Verdict)> =
                judged.filter(|(_, verdict)| *verdict != Verdict::Go).map(|(f, v)| (f.clone(), v)).collect();
            for item in judged.iter().filter_map(|(flow, _)| term.lines.head(flow)) {
                let blocking = self.blocking(&term.money, item);
                term.money.blocking.extend(blocking);
            }
            for (flow, verdict) in judged.iter().filter(|(_, verdict)| waiting(verdict)) {
                // Not for the moment only, until estimates have given way to what was settled.
                let settled = term.lines.head(flow).map(|item| self.judge_by(&term.money, item, &Reserved::default()));
                if let (Verdict::Wait { until, which }, Some(Verdict::Wait { .. })) = (verdict, settled) {
                    self.tell_used_up(&mut term.money, which, *until);
                }
            }
            let Some((flow, verdict)) = judged.into_iter().find(|(_, verdict)| !waiting(verdict)) else { break };
            let Some(item) = term.lines.pop(&flow) else { break };
            let Some(row) = self.ledger.get(&item.id).await? else { continue };
            if let Verdict::Refuse(failure) = verdict {
                let why = failure.message.clone();
                self.condemn(&row, request::Verdict { status: Status::Failed, failure }, why).await;
                continue;
            }
            let Some(request) = self.cheaper(&row.request) else {
                term.money.as_asked.insert(item.id);
                term.lines.recheck(&flow);
                break;
            };
            let why = format!("goes to {} to keep a budget", request.model_id);
            let switched = Condition::ModelSwitched {
                from: row.request.model_id.clone(),
                to: request.model_id.clone(),
                tenant: Some(request.tenant.clone()),
                use_case: request.use_case.clone(),
                reason: SwitchReason::Budget,
            };
            let tenant = request.tenant.clone();
            if let Some(change) = lifecycle::change(&row, request, why, self.context.clock.now())
                && let Applied::Done(_) = self.context.recorder.apply(change).await
            {
                self.context.recorder.alerter().tell(switched);
                term.money.switched.insert(tenant, Instant::now());
            }
        }
        Ok(())
    }

    fn judge(&self, money: &Money, item: &WorkItem) -> Verdict {
        self.judge_by(money, item, &money.reserved)
    }

    fn judge_by(&self, money: &Money, item: &WorkItem, reserved: &Reserved) -> Verdict {
        money.budgets.verdict(&self.ask(money, item), reserved, self.context.clock.now())
    }

    fn blocking(&self, money: &Money, item: &WorkItem) -> Vec<(Which, Timestamp)> {
        money.budgets.blocking(&self.ask(money, item), self.context.clock.now())
    }

    fn ask<'a>(&self, money: &Money, item: &'a WorkItem) -> Ask<'a> {
        let flow = &item.flow;
        let may_change = !money.as_asked.contains(&item.id)
            && self.context.catalog.has_stand_in(&flow.lane.model(), flow.use_case.as_deref());
        // What the stand-in costs is looked at when it is its turn there.
        Ask { tenant: &flow.tenant, usd: self.usd(&flow.lane, item), cheaper: may_change.then_some(0.0) }
    }

    /// The request as it goes to the cheaper model.
    fn cheaper(&self, request: &Request) -> Option<Request> {
        if request.downgraded_from.is_some() {
            return None;
        }
        let model = self.context.catalog.downgrade(request)?;
        Some(Request {
            downgraded_from: Some(request.model_id.clone()),
            lane: request.lane.with_model(&model.quota_id),
            model_id: model.id,
            ..request.clone()
        })
    }

    fn usd(&self, lane: &Lane, item: &WorkItem) -> Option<f64> {
        let model = self.context.catalog.admitted(&lane.model());
        estimated_cost(&model, item.estimate, expected_output(item.estimate, None))
    }

    fn tell_used_up(&self, money: &mut Money, which: &Which, until: Timestamp) {
        if !money.told.insert((which.clone(), until)) {
            return;
        }
        let standing = money.budgets.standing(&Reserved::default(), self.context.clock.now());
        let Some(budget) = standing.into_iter().find(|budget| budget.which == *which) else { return };
        self.context.recorder.alerter().tell(Condition::Budget {
            tenant: which.tenant.clone(),
            period: which.period.as_str().to_owned(),
            limit_usd: budget.limit_usd,
            spent_usd: budget.spent_usd,
            until,
        });
    }

    /// Tells what is over: budgets that have room again, tenants whose requests go as they ask.
    pub(super) fn tell_renewed(&self, money: &mut Money) {
        let long = |since: Option<Instant>, span| since.is_some_and(|since| since.elapsed() >= span);
        if !money.budgets.is_empty() && !long(money.begun, SETTLING) {
            return;
        }
        let (alerter, now) = (self.context.recorder.alerter(), self.context.clock.now());
        money.used_up(now);
        let standing = money.budgets.standing(&Reserved::default(), now);
        for condition in alerter.open() {
            let over = match &condition {
                Condition::Budget { tenant, period, .. } => {
                    let is_it = |which: &Which| which.tenant == *tenant && which.period.as_str() == period;
                    let spent = standing.iter().filter(|budget| budget.spent_usd >= budget.limit_usd);
                    !money.blocking.keys().chain(spent.map(|budget| &budget.which)).any(is_it)
                }
                Condition::ModelSwitched { tenant: Some(tenant), reason: SwitchReason::Budget, .. } => {
                    let lately = money.switched.get(tenant).copied().or(money.begun);
                    !money.budgets.is_strained(tenant, now) && (money.budgets.is_empty() || long(lately, CALM))
                }
                _ => false,
            };
            if over {
                alerter.recovered(&condition.key());
            }
        }
    }
}
