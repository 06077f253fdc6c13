//! The headline: a few numbers, each with what it needs to be understood.

use std::fmt::Write;

use super::text::escape;
use crate::cli::format::{count, thousands, whole};
use crate::cli::report::summary::{lane_name, throttled};
use crate::cli::report::units::{NOTHING, answers, compact, cost_of, ms, percent, percent_or};
use crate::report::{Report, Series};

struct Tile {
    label: &'static str,
    number: String,
    note: String,
    bad: bool,
}

/// A list of tiles.
pub fn tiles(page: &mut String, report: &Report, series: &Series) {
    page.push_str("<ul class=\"tiles\">\n");
    for tile in all(report, series) {
        // Writing to a String does not fail.
        _ = writeln!(
            page,
            "<li class=\"tile{}\"><div class=\"label\">{}</div><div class=\"number\">{}</div><div class=\"note\">{}</div></li>",
            if tile.bad { " bad" } else { "" },
            escape(tile.label),
            escape(&tile.number),
            escape(&tile.note)
        );
    }
    page.push_str("</ul>\n");
}

fn all(report: &Report, series: &Series) -> Vec<Tile> {
    let total = &report.total;
    let seconds = series.buckets.period().length().as_secs_f64().max(1.0);
    let judged = total.requests - total.cancelled;
    let success = (judged > 0).then(|| total.succeeded as f64 / judged as f64);
    let urgent = series.waits[0].known();
    let mut tiles = vec![
        Tile {
            label: "Requests",
            number: compact(total.requests),
            note: format!("finished, {} an hour on average", whole(total.requests as f64 / seconds * 3_600.0)),
            bad: false,
        },
        Tile {
            label: "Success rate",
            number: percent_or(success),
            note: match total.bad() {
                0 => "nothing failed, was rejected or expired".to_owned(),
                n => format!("{} failed, rejected or expired", thousands(n)),
            },
            bad: success.is_some_and(|rate| rate < 0.95),
        },
        Tile {
            label: "Cost",
            number: cost_of(total),
            note: match (total.unpriced, total.cost_usd) {
                (0, _) => match total.succeeded {
                    0 => "nothing was answered".to_owned(),
                    n => format!("for {}, all priced", answers(n)),
                },
                (n, None) => format!("no price is known for {}", answers(n)),
                (n, Some(_)) => format!("and {} of unknown price", answers(n)),
            },
            bad: false,
        },
        match urgent {
            Some(wait) => Tile {
                label: "Wait of urgent, p95",
                number: ms(wait.at(0.95)),
                note: format!("p50 {} of {}", ms(wait.at(0.5)), count(wait.count(), "urgent request")),
                bad: false,
            },
            None => Tile {
                label: "Wait, p95",
                number: total.wait_ms.as_ref().map_or_else(|| NOTHING.to_owned(), |wait| ms(wait.at(0.95))),
                note: "of all; none was urgent".to_owned(),
                bad: false,
            },
        },
    ];
    tiles.push(match report.lanes.first().and_then(|lane| Some((lane, lane.tighter()?))) {
        Some((lane, (what, share))) => Tile {
            label: "Quota use, mean",
            number: percent(share.mean),
            note: format!("max {} of {what}/min, {}", percent(share.max), lane_name(&lane.lane)),
            bad: false,
        },
        None => Tile {
            label: "Quota use",
            number: NOTHING.to_owned(),
            note: "no call on a lane whose quota is known".to_owned(),
            bad: false,
        },
    });
    tiles.push(Tile {
        label: "Throttled",
        number: percent_or(total.throttled_share),
        note: throttled(total),
        bad: total.throttled_share.is_some_and(|share| share > 0.01),
    });
    if total.deadlines > 0 {
        tiles.push(Tile {
            label: "Deadlines met",
            number: percent_or(total.deadline_hit_rate),
            note: format!("{} of {}", thousands(total.deadlines_met), thousands(total.deadlines)),
            bad: total.deadline_hit_rate.is_some_and(|rate| rate < 0.95),
        });
    }
    let tokens = |n: Option<u64>| n.map_or_else(|| "unknown".to_owned(), compact);
    tiles.push(Tile {
        label: "Tokens out",
        number: tokens(total.output_tokens),
        note: format!("{} in, {} read from cache", tokens(total.input_tokens), tokens(total.cache_read_tokens)),
        bad: false,
    });
    tiles
}
