//! What becomes of requests.

use super::{Content, Facts, advice, moment, number, region, short, text, time, word};
use crate::pipeline::alerts::conditions::{Condition, SwitchReason};
use crate::request::{Lane, ModelId, RequestId, Tenant};

pub fn dead_letters(queue: &str, messages: u64, facts: &Facts<'_>) -> Content {
    let is = if messages == 1 { "is a message" } else { "are messages" };
    Content {
        what: format!("{messages} message{} in the dead-letter queue", if messages == 1 { "" } else { "s" }),
        impact: format!(
            "there {is} that no worker could bring to an end. Their requests are FAILED, or are not smoother's; all others go on."
        ),
        numbers: vec![number("messages", messages as f64, "messages"), text("queue", queue)],
        causes: vec![
            "a request that exhausts the worker's memory or crashes it, three times".to_owned(),
            "workers that are killed again and again: out of memory, health checks, spot interruptions".to_owned(),
            "something else sends to the hold queue".to_owned(),
        ],
        look: vec![
            facts.step("which requests, whose, and since when", "dlq list"),
            facts.step("whether workers come and go", "status"),
            advice("the worker's log around the time of the last sign of life: out of memory, exit codes"),
        ],
        fix: vec![
            facts.step("when the cause is mended: put them back into line", "dlq redrive --all"),
            facts.step("or throw them away; their requests stay FAILED", "dlq purge --all --yes"),
        ],
        over: "the dead-letter queue is empty.".to_owned(),
    }
}

pub fn poison(lane: &Lane, tenant: &Tenant, latest: &RequestId, workers: u32, facts: &Facts<'_>) -> Content {
    let model = lane.model();
    let name = short(&model);
    Content {
        what: format!("request given up as poison: {name}, tenant {tenant}"),
        impact: "a request was started by several workers that were gone before it ended. It is FAILED and is not tried again; its message is kept in the dead-letter queue. Other requests that these workers had in flight were repeated, and may have been billed twice.".to_owned(),
        numbers: vec![
            number("requests_given_up", facts.sums.events as f64, "requests"),
            text("latest_request", latest.as_str()),
            text("tenant", tenant.as_str()),
            text("model", model.as_str()),
            text("region", region(lane)),
            number("workers_lost_by_it", f64::from(workers), "workers"),
        ],
        causes: vec![
            "a very large request or answer, and workers with too little memory".to_owned(),
            "workers that were killed three times for other reasons while it ran: deployments with too short a drain_grace, spot interruptions".to_owned(),
        ],
        look: vec![
            facts.step("its history: which workers, when", &format!("status {}", word(latest.as_str()))),
            facts.step("its message", &format!("dlq show {}", word(latest.as_str()))),
            advice("the logs of those workers around those times"),
        ],
        fix: vec![
            facts.step("when the cause is mended: try it again", &format!("dlq redrive {}", word(latest.as_str()))),
            advice("more memory for the worker, or a lower max_concurrent_executions"),
        ],
        over: "no other request was given up since. Those that were stay FAILED until they are redriven or purged: smoother dlq list.".to_owned(),
    }
}

pub fn deadline_at_risk(condition: &Condition, facts: &Facts<'_>) -> Content {
    let Condition::DeadlineAtRisk { lane, tenant, requests, first, deadline, start } = condition else {
        return Content::default();
    };
    let model = lane.model();
    let name = short(&model);
    let count = if *requests == 1 { "1 deadline".to_owned() } else { format!("{requests} deadlines") };
    Content {
        what: format!("{count} of tenant {tenant} at risk: {name}"),
        impact: format!(
            "{requests} known to be late if nothing is done: what has not started by its deadline ends as EXPIRED without a call. The first, {first}, is due at {} and should start at {}.",
            moment(*deadline),
            moment(*start)
        ),
        numbers: vec![
            number("requests_late", *requests as f64, "requests"),
            text("first_request", first.as_str()),
            time("its_deadline", *deadline),
            time("should_start", *start),
            text("tenant", tenant.as_str()),
            text("model", model.as_str()),
            text("region", region(lane)),
        ],
        causes: vec![
            "more work than the model's quota can do in time".to_owned(),
            "the model is throttled or paused".to_owned(),
            "a deadline that was too short from the start".to_owned(),
        ],
        look: vec![
            facts.step("why the first one waits, and when it should run", &format!("status {}", word(first.as_str()))),
            facts.step("how much is before it", "status"),
        ],
        fix: vec![
            facts.step(
                "let the first one overtake",
                &format!("reprioritise {} --priority urgent", word(first.as_str())),
            ),
            facts.step(
                "or let what matters less wait: see how much that is, then without --dry-run",
                &format!("reprioritise --lane {} --of-priority normal --priority bulk --dry-run", word(model.as_str())),
            ),
            facts.step("or give it more time", &format!("deadline {} --in 2h", word(first.as_str()))),
            advice("for good: more quota, or a higher weight of the tenant"),
        ],
        over: format!(
            "no known request of tenant {tenant} for {name} is late any more: they ran, got more time, or have expired."
        ),
    }
}

pub fn budget(condition: &Condition, facts: &Facts<'_>) -> Content {
    let Condition::Budget { tenant, period, limit_usd, spent_usd, until } = condition else {
        return Content::default();
    };
    let (whose, setting) = match tenant {
        Some(tenant) => (format!("tenant {tenant}"), format!("tenants.{tenant}.usd_per_{period}")),
        None => ("all tenants".to_owned(), format!("usd_per_{period}")),
    };
    Content {
        what: format!("the {period}'s budget of {whose} is used up"),
        impact: format!(
            "requests of {whose} wait in line until {}, when it renews; what has a deadline before that ends as EXPIRED. Calls in flight end as usual.",
            moment(*until)
        ),
        numbers: vec![number("limit", *limit_usd, "USD"), number("spent", *spent_usd, "USD"), time("renews", *until)],
        causes: vec![
            "more work than usual, or longer answers: see which tenant and model".to_owned(),
            "work that should have gone to a cheaper model".to_owned(),
            "a budget that was set too low".to_owned(),
        ],
        look: vec![facts.step("what was spent of each budget, and who has how much in line", "status")],
        fix: vec![
            advice(format!("to go on now: raise {setting} in the settings and restart the workers")),
            match tenant {
                Some(tenant) => facts.step(
                    "or take back what is not needed: see how much that is, then without --dry-run",
                    &format!("cancel --tenant {} --of-priority bulk --dry-run", word(tenant.as_str())),
                ),
                None => facts.step(
                    "or take back what is not needed: see how much that is, then without --dry-run",
                    "cancel --of-priority bulk --dry-run",
                ),
            },
            advice("or do nothing: it goes on by itself when the budget renews"),
        ],
        over: format!("the {period}'s budget of {whose} has room again."),
    }
}

pub fn model_switched(
    from: &ModelId,
    to: &ModelId,
    whose: (Option<&Tenant>, Option<&str>),
    reason: SwitchReason,
    facts: &Facts<'_>,
) -> Content {
    let (old, new) = (short(from), short(to));
    let mut requests = match whose.0 {
        Some(tenant) => format!("requests of tenant {tenant}"),
        None => "requests".to_owned(),
    };
    if let Some(use_case) = whose.1 {
        requests = format!("{requests} for {use_case}");
    }
    let (why, fix) = match reason {
        SwitchReason::Budget => (
            "a budget is nearly spent, and its policy is downgrade",
            advice(
                "to stop it: raise the budget (usd_per_day, usd_per_month), or set budget_policy to delay, and restart the workers",
            ),
        ),
        SwitchReason::Unavailable => {
            ("the model asked for cannot be used", advice("it ends by itself when the model answers again"))
        }
        SwitchReason::Operator => ("an operator said so", facts.step("who, when and why", "audit")),
    };
    let mut numbers = vec![
        number("requests_switched", facts.sums.events as f64, "requests"),
        text("asked_for", from.as_str()),
        text("used", to.as_str()),
    ];
    numbers.extend(whose.0.map(|tenant| text("tenant", tenant.as_str())));
    numbers.extend(whose.1.map(|use_case| text("use_case", use_case)));
    Content {
        what: format!("{old} switched to {new}"),
        impact: format!(
            "{requests} that ask for {old} are answered by {new}. They succeed, at another price and quality; the result message and the report say which model it was."
        ),
        numbers,
        causes: vec![why.to_owned()],
        look: vec![facts.step("what was spent, and what waits for which model", "status")],
        fix: vec![fix],
        over: format!("{requests} that ask for {old} go to it again."),
    }
}
