//! The overview as a page of at most 100 columns.

use std::fmt::Write;

use super::lanes::write_lanes;
use super::overview::{Life, Overview, QueueNow, WorkerNow};
use super::paint::{Paint, Tone};
use super::tenants::{write_budgets, write_tenants};
use crate::cli::alerts::lines;
use crate::cli::control::line;
use crate::cli::format::{WIDTH, clip, date_time, plain, span, thousands, wrap};
use crate::clock::Timestamp;
use crate::ports::Severity;
use crate::request::Status;

/// Workers shown.
const WORKERS: usize = 20;
/// Alerts shown.
const ALERTS: usize = 5;
/// Pauses shown.
const PAUSES: usize = 10;

/// The page.
pub fn page(overview: &Overview, paint: Paint) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    write_page(&mut page, overview, paint).map(|()| page).unwrap_or_default()
}

fn write_page(page: &mut String, now: &Overview, paint: Paint) -> std::fmt::Result {
    let title = paint.paint(Tone::Strong, "smoother");
    writeln!(page, "{title} · {} · {}\n", clip(&plain(&now.place), 60), date_time(now.at))?;
    alerts(page, now, paint)?;
    requests(page, now, paint)?;
    pauses(page, now, paint)?;
    queues(page, now, paint)?;
    write_tenants(page, &now.tenants, paint)?;
    write_budgets(page, &now.budgets, now.at, paint)?;
    write_lanes(page, &now.lanes, paint)?;
    workers(page, now, paint)
}

pub(super) fn heading(page: &mut String, paint: Paint, text: &str) -> std::fmt::Result {
    writeln!(page, "{}", paint.paint(Tone::Strong, text))
}

fn alerts(page: &mut String, now: &Overview, paint: Paint) -> std::fmt::Result {
    if now.alerts.is_empty() {
        return Ok(());
    }
    heading(page, paint, "Alerts")?;
    for alert in now.alerts.iter().take(ALERTS) {
        let tone = if alert.severity == Severity::Critical { Tone::Bad } else { Tone::Warn };
        let [what, since] = lines(alert, now.at).map(|line| clip(&line, WIDTH - 2));
        writeln!(page, "  {}\n  {}", paint.paint(tone, &what), paint.paint(Tone::Faint, &since))?;
    }
    let more = now.alerts.len().saturating_sub(ALERTS);
    let rest = if more > 0 { format!("and {more} more: ") } else { String::new() };
    writeln!(page, "  {rest}{}\n", paint.paint(Tone::Faint, "smoother alerts tells what to do"))
}

fn requests(page: &mut String, now: &Overview, paint: Paint) -> std::fmt::Result {
    heading(page, paint, "Requests")?;
    let known = |final_ones: bool| {
        let statuses = Status::ALL.into_iter().filter(move |status| status.is_terminal() == final_ones);
        let parts = statuses.filter_map(|status| {
            let n = *now.requests.get(&status)?;
            let tone = if n > 0 { tone(status) } else { Tone::Faint };
            let words = format!("{} {}", thousands(n), status.as_str().to_lowercase());
            (n > 0 || !final_ones).then(|| paint.paint(tone, &words))
        });
        parts.collect::<Vec<_>>().join(" · ")
    };
    let (open, finished) = (known(false), known(true));
    if open.is_empty() && finished.is_empty() {
        return writeln!(page, "  none yet\n");
    }
    for (name, parts) in [("open", open), ("finished", finished)] {
        if !parts.is_empty() {
            writeln!(page, "  {name:<10}{parts}")?;
        }
    }
    writeln!(page)
}

fn pauses(page: &mut String, now: &Overview, paint: Paint) -> std::fmt::Result {
    if now.pauses.is_empty() {
        return Ok(());
    }
    heading(page, paint, "Paused")?;
    for pause in now.pauses.iter().take(PAUSES) {
        for (place, line) in wrap(&line(pause, now.at), WIDTH - 4).iter().enumerate() {
            writeln!(page, "  {}{}", if place == 0 { "" } else { "  " }, paint.paint(Tone::Warn, line))?;
        }
    }
    if now.pauses.len() > PAUSES {
        writeln!(page, "  and {} more", now.pauses.len() - PAUSES)?;
    }
    writeln!(page)
}

fn queues(page: &mut String, now: &Overview, paint: Paint) -> std::fmt::Result {
    heading(page, paint, "Queues")?;
    for (name, about) in [
        ("input", "sent and not yet admitted"),
        ("hold", "called next"),
        ("results", "for consumers to receive"),
        ("dead", "nobody could bring to an end: see smoother dlq list"),
    ] {
        let QueueNow { visible, in_flight } = now.queues.get(name).copied().unwrap_or_default();
        let taken = if in_flight > 0 { format!(" + {} received", thousands(in_flight)) } else { String::new() };
        let numbers = format!("{:>9}{taken:<20}", thousands(visible));
        let bad = name == "dead" && visible + in_flight > 0;
        let numbers = if bad { paint.paint(Tone::Bad, &numbers) } else { numbers };
        writeln!(page, "  {name:<8}{numbers}{}", paint.paint(Tone::Faint, about))?;
    }
    writeln!(page)
}

fn workers(page: &mut String, now: &Overview, paint: Paint) -> std::fmt::Result {
    heading(page, paint, "Workers")?;
    if now.workers.is_empty() {
        return writeln!(page, "  none: start one with smoother run");
    }
    for worker in now.workers.iter().take(WORKERS) {
        let roles: Vec<String> = worker.roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect();
        let state = state(worker, now.at);
        let state = match worker.life {
            Life::Alive => state,
            Life::Silent => paint.paint(Tone::Warn, &state),
            Life::Gone => paint.paint(Tone::Faint, &state),
        };
        let plans = if now.planner.as_ref() == Some(&worker.worker) { " · plans" } else { "" };
        writeln!(page, "  {:<40} {:<18} {state}{plans}", clip(&plain(&worker.worker), 40), roles.join(" "))?;
    }
    if now.workers.len() > WORKERS {
        writeln!(page, "  and {} more", now.workers.len() - WORKERS)?;
    }
    let alive = now.workers.iter().any(|worker| worker.life == Life::Alive);
    if !alive {
        writeln!(page, "  {}", paint.paint(Tone::Warn, "nobody is working: start a worker with smoother run"))?;
    } else if now.planner.is_none() {
        writeln!(page, "  {}", paint.paint(Tone::Warn, "nobody plans: a worker with that role takes over in seconds"))?;
    }
    Ok(())
}

fn state(worker: &WorkerNow, now: Timestamp) -> String {
    let silence = span(now.since(worker.shown_at));
    match worker.life {
        Life::Alive => format!("up {}", span(now.since(worker.since))),
        Life::Silent => format!("silent for {silence}"),
        Life::Gone => format!("gone, last seen {silence} ago"),
    }
}

/// How a status looks.
pub fn tone(status: Status) -> Tone {
    match status {
        Status::Received | Status::Queued => Tone::Strong,
        Status::Running => Tone::Busy,
        Status::Succeeded => Tone::Good,
        Status::Cancelled | Status::Expired => Tone::Warn,
        Status::Failed | Status::Rejected => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::super::overview::Crew;
    use std::time::Duration;

    use super::super::overview::fixture::{NOW, members};
    use super::super::tenants::TenantNow;
    use super::*;
    use crate::cli::alerts::AlertNow;
    use crate::config::BudgetPolicy;
    use crate::control::pauses::{Pause, Scope};
    use crate::pipeline::spend::{Period, Standing, Which};
    use crate::request::Tenant;

    fn tenant(name: &str) -> Tenant {
        Tenant::new(name).unwrap()
    }

    fn overview() -> Overview {
        let Crew { lanes, workers, planner } = Crew::of(&members(), Some("worker-1".to_owned()), NOW);
        Overview {
            at: NOW,
            place: "./data".to_owned(),
            alerts: vec![AlertNow {
                key: "access-denied/default:us-east-1:amazon.nova-lite-v1:0".to_owned(),
                severity: Severity::Critical,
                subject: "access denied to amazon.nova-lite-v1:0".to_owned(),
                since: NOW - Duration::from_mins(12),
                count: 340,
            }],
            requests: [(Status::Received, 1204), (Status::Queued, 0), (Status::Running, 30), (Status::Failed, 2)]
                .into(),
            queues: [
                ("input", QueueNow { visible: 0, in_flight: 3 }),
                ("hold", QueueNow { visible: 66, in_flight: 30 }),
                ("results", QueueNow { visible: 8_312, in_flight: 0 }),
                ("dead", QueueNow::default()),
            ]
            .into(),
            pauses: vec![Pause {
                scope: Scope::Tenant(Tenant::new("acme").unwrap()),
                by: "ann".to_owned(),
                since: NOW - Duration::from_mins(5),
                until: None,
                reason: Some("their batch went wild".to_owned()),
            }],
            tenants: vec![
                TenantNow { tenant: tenant("acme"), ready: 1_200, urgent: 3, weight: 2.0 },
                TenantNow { tenant: tenant("b"), ready: 4, urgent: 0, weight: 1.0 },
            ],
            budgets: vec![Standing {
                which: Which { tenant: Some(tenant("acme")), period: Period::Day },
                policy: BudgetPolicy::Delay,
                limit_usd: 10.0,
                spent_usd: 8.5,
                reserved_usd: 0.0,
                share: 0.85,
                renews_at: NOW + Duration::from_hours(5),
            }],
            lanes,
            workers,
            planner,
        }
    }

    #[test]
    fn a_page_shows_it_all() {
        assert_eq!(
            page(&overview(), Paint::none()),
            "\
smoother · ./data · 2026-11-21 09:08:43 UTC

Alerts
  critical  access denied to amazon.nova-lite-v1:0
            for 12 m 00 s, 340 times · access-denied/default:us-east-1:amazon.nova-lite-v1:0
  smoother alerts tells what to do

Requests
  open      1,204 received · 0 queued · 30 running
  finished  2 failed

Paused
  tenant acme by ann, 5 m 00 s ago, until it is resumed: their batch went wild

Queues
  input           0 + 3 received       sent and not yet admitted
  hold           66 + 30 received      called next
  results     8,312                    for consumers to receive
  dead            0                    nobody could bring to an end: see smoother dlq list

Backlog by tenant
  acme                            1,200 ready, 3 urgent             weight 2
  b                               4 ready                           weight 1

Budgets
  acme a day                      ██████████████░░   85 %  $8.50 of $10.00 · renews in 5 h 00 m

Quotas, use in the last minute
  amazon.nova-lite-v1:0 · us-east-1
    tokens    ████████████░░░░  75 %      75,012 of 100,000 a minute
    requests  ███████████░░░░░  67 %          40 of 60 a minute
    30 in flight, 24,000 tokens reserved · 66 waiting · 6 throttled
    slowed to 80 % · bound by the last minute too · others use 12 % · paused for 4.0 s
    learned: 1.18 tokens in per estimated one, 320 out (chat 210, report 1,450)
    reserves 3.4 times what is used: a lower maxTokens lets more calls run at a time

Workers
  worker-1                                 ingest plan call   up 3 h 12 m · plans
  worker-2                                 call               up 3 h 12 m
  worker-4                                 call               silent for 20.0 s
  worker-3                                 call               gone, last seen 1 h 00 m ago
"
        );
    }

    #[test]
    fn an_empty_place_says_what_to_do() {
        let empty = Overview {
            requests: [].into(),
            alerts: vec![],
            pauses: vec![],
            queues: [].into(),
            tenants: vec![],
            budgets: vec![],
            lanes: vec![],
            workers: vec![],
            planner: None,
            ..overview()
        };
        let page = page(&empty, Paint::none());
        for words in ["none yet", "nothing called yet", "none: start one with smoother run"] {
            assert!(page.contains(words), "{page}");
        }
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let mut wide = overview();
        wide.lanes[0].lane = format!("default:us-east-1:arn:aws:bedrock:{}", "x".repeat(2000));
        wide.alerts[0].subject = "x".repeat(200);
        wide.workers[0].worker = "w".repeat(200);
        wide.pauses[0].reason = Some("because ".repeat(37));
        wide.tenants[0].tenant = tenant(&"t".repeat(128));
        wide.tenants[0].ready = 1_000_000;
        wide.budgets[0].which.tenant = Some(tenant(&"t".repeat(128)));
        for status in Status::ALL {
            wide.requests.insert(status, 1_000);
        }
        for line in page(&wide, Paint::none()).lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }
}
