//! Charts over time, as SVG: stacked columns, lines, and use against a limit.

use std::fmt::Write;

use super::scale::{Durations, linear, times};
use super::text::{escape, stretch, xy};
use crate::report::Buckets;

pub const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;

/// A named series.
pub struct Line {
    pub name: String,
    /// Its look: `s0` to `s7`, `sx` for others, `ok`, `bad` …
    pub class: &'static str,
    /// A value a bucket; `None` where there is none.
    pub values: Vec<Option<f64>>,
}

impl Line {
    /// Of values that are all there.
    pub fn new(name: impl Into<String>, class: &'static str, values: impl IntoIterator<Item = f64>) -> Self {
        Self { name: name.into(), class, values: values.into_iter().map(Some).collect() }
    }

    /// Whether it shows anything.
    pub fn shows(&self) -> bool {
        self.values.iter().flatten().any(|value| *value > 0.0)
    }
}

/// What a chart shows.
pub struct Subject<'a> {
    pub title: &'a str,
    /// For those who cannot see it.
    pub description: String,
    pub buckets: Buckets,
    /// How values are written.
    pub unit: fn(f64) -> String,
}

fn x(buckets: Buckets, at: u64) -> f64 {
    let period = buckets.period();
    let span = (period.until.0 - period.since.0).max(1) as f64;
    LEFT + (at.saturating_sub(period.since.0)) as f64 / span * (WIDTH - LEFT - RIGHT)
}

fn y(share: f64) -> f64 {
    TOP + (1.0 - share.clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM)
}

/// Opens an SVG with its title and description.
pub fn open(page: &mut String, title: &str, about: &str, height: f64) {
    // Writing to a String does not fail, here and below.
    _ = write!(
        page,
        "<svg viewBox=\"0 0 {} {}\" role=\"img\"><title>{}</title><desc>{}</desc>",
        xy(WIDTH),
        xy(height),
        escape(title),
        escape(about)
    );
}

fn frame(page: &mut String, about: &Subject<'_>, ticks: &[(f64, String)]) {
    open(page, about.title, &about.description, HEIGHT);
    for (share, name) in ticks {
        let at = y(*share);
        let class = if *share <= 0.0 { "base" } else { "grid" };
        _ = write!(
            page,
            "<path class=\"{class}\" d=\"M{} {}H{}\"/><text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            xy(LEFT),
            xy(at),
            xy(WIDTH - RIGHT),
            xy(LEFT - 6.0),
            xy(at + 4.0),
            escape(name)
        );
    }
    for (at, name) in times(about.buckets.period()) {
        let at = x(about.buckets, at.0);
        let anchor = match at {
            at if at < LEFT + 18.0 => "start",
            at if at > WIDTH - RIGHT - 18.0 => "end",
            _ => "middle",
        };
        _ = write!(
            page,
            "<path class=\"base\" d=\"M{} {}v4\"/><text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{name}</text>",
            xy(at),
            xy(y(0.0)),
            xy(at),
            xy(HEIGHT - 6.0)
        );
    }
}

/// Where the pointer rests, the figures of that time are shown.
fn hover(page: &mut String, about: &Subject<'_>, lines: &[&Line]) {
    for bucket in 0..about.buckets.count() {
        let shown: Vec<String> = lines
            .iter()
            .filter_map(|line| Some((line, line.values.get(bucket).copied().flatten()?)))
            .filter(|(_, value)| *value > 0.0)
            .map(|(line, value)| format!("{} {}", line.name, (about.unit)(value)))
            .collect();
        if shown.is_empty() {
            continue;
        }
        let part = about.buckets.part(bucket);
        let (from, to) = (x(about.buckets, part.since.0), x(about.buckets, part.until.0));
        _ = write!(
            page,
            "<rect class=\"hover\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}</title></rect>",
            xy(from),
            xy(TOP),
            xy((to - from).max(0.5)),
            xy(HEIGHT - TOP - BOTTOM),
            escape(&format!("{}: {}", stretch(part), shown.join(", ")))
        );
    }
}

fn ticks(most: f64, unit: fn(f64) -> String) -> (f64, Vec<(f64, String)>) {
    let (top, ticks) = linear(most);
    (top, ticks.into_iter().map(|tick| (tick / top, bare(&unit(tick)))).collect())
}

/// `50.0 k` as `50 k`: ticks are round.
fn bare(text: &str) -> String {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    [number, unit].join(" ").trim_end().to_owned()
}

/// Columns that stand on each other, the first series at the bottom.
pub fn stacked(page: &mut String, about: &Subject<'_>, lines: &[Line]) {
    let count = about.buckets.count();
    let value = |line: &Line, bucket: usize| line.values.get(bucket).copied().flatten().unwrap_or(0.0);
    let most = (0..count).map(|bucket| lines.iter().map(|line| value(line, bucket)).sum::<f64>()).fold(0.0, f64::max);
    let (top, ticks) = ticks(most, about.unit);
    frame(page, about, &ticks);
    let mut base = vec![0.0; count];
    for line in lines {
        let mut path = String::new();
        for (bucket, base) in base.iter_mut().enumerate() {
            let value = value(line, bucket);
            if value <= 0.0 {
                continue;
            }
            let part = about.buckets.part(bucket);
            let (from, to) = (x(about.buckets, part.since.0), x(about.buckets, part.until.0));
            let gap = if to - from > 3.0 { 1.0 } else { 0.0 };
            let (low, high) = (y(*base / top), y((*base + value) / top));
            _ = write!(path, "M{} {}H{}V{}H{}z", xy(from), xy(low), xy(to - gap), xy(high), xy(from));
            *base += value;
        }
        if !path.is_empty() {
            _ = write!(page, "<path class=\"{}\" d=\"{path}\"/>", line.class);
        }
    }
    hover(page, about, &lines.iter().collect::<Vec<_>>());
    page.push_str("</svg>\n");
}

/// Lines of durations in ms on a logarithmic scale, broken where there is nothing.
pub fn durations(page: &mut String, about: &Subject<'_>, lines: &[Line]) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "milliseconds that were whole")]
    let whole = |value: f64| value as u64;
    let values = lines.iter().flat_map(|line| line.values.iter().flatten()).map(|value| whole(*value));
    let scale = Durations::of(values);
    let ticks: Vec<(f64, String)> = scale.ticks().into_iter().map(|(at, name)| (at, name.to_owned())).collect();
    frame(page, about, &ticks);
    for line in lines {
        let heights: Vec<Option<f64>> =
            line.values.iter().map(|value| value.map(|value| scale.place(whole(value)))).collect();
        _ = write!(page, "<path class=\"line {}\" d=\"{}\"/>", line.class, path(about.buckets, &heights));
    }
    hover(page, about, &lines.iter().collect::<Vec<_>>());
    page.push_str("</svg>\n");
}

/// A path through the middles of the buckets; one that stands alone is a short dash.
fn path(buckets: Buckets, heights: &[Option<f64>]) -> String {
    let mut path = String::new();
    for (bucket, height) in heights.iter().enumerate() {
        let Some(height) = height else { continue };
        let before = bucket.checked_sub(1).and_then(|at| heights[at]).is_some();
        let after = heights.get(bucket + 1).copied().flatten().is_some();
        let part = buckets.part(bucket);
        let (from, to) = (x(buckets, part.since.0), x(buckets, part.until.0));
        let middle = f64::midpoint(from, to);
        match (before, after) {
            (false, false) => {
                _ = write!(path, "M{} {}H{}", xy(from), xy(y(*height)), xy(to.max(from + 1.5)));
            }
            (false, true) => _ = write!(path, "M{} {}", xy(middle), xy(y(*height))),
            (true, _) => _ = write!(path, "L{} {}", xy(middle), xy(y(*height))),
        }
    }
    path
}

/// What was used, as an area, its busiest minutes as a line, and the limit above it.
pub fn against(page: &mut String, about: &Subject<'_>, used: &Line, peak: Option<&Line>, limit: &Line) {
    let all = [Some(used), peak, Some(limit)];
    let values = all.iter().flatten().flat_map(|line| line.values.iter().flatten());
    let most = values.fold(0.0_f64, |most, value| most.max(*value));
    let (top, ticks) = ticks(most, about.unit);
    frame(page, about, &ticks);
    let mut area = String::new();
    for (bucket, value) in used.values.iter().enumerate() {
        let Some(value) = value.filter(|value| *value > 0.0) else { continue };
        let part = about.buckets.part(bucket);
        let (from, to) = (x(about.buckets, part.since.0), x(about.buckets, part.until.0));
        _ = write!(area, "M{} {}H{}V{}H{}z", xy(from), xy(y(0.0)), xy(to), xy(y(value / top)), xy(from));
    }
    _ = write!(page, "<path class=\"{} area\" d=\"{area}\"/>", used.class);
    if let Some(peak) = peak {
        let heights: Vec<Option<f64>> = peak.values.iter().map(|value| value.map(|value| value / top)).collect();
        _ = write!(page, "<path class=\"line {}\" d=\"{}\"/>", peak.class, path(about.buckets, &heights));
    }
    _ = write!(page, "<path class=\"limit\" d=\"{}\"/>", steps(about.buckets, limit, top));
    let shown: Vec<&Line> = all.into_iter().flatten().collect();
    hover(page, about, &shown);
    page.push_str("</svg>\n");
}

/// A limit holds until another one is known, and before the first one as well.
fn steps(buckets: Buckets, limit: &Line, top: f64) -> String {
    let mut path = String::new();
    let mut last: Option<f64> = None;
    for (bucket, value) in limit.values.iter().enumerate() {
        let Some(value) = value else { continue };
        let at = if last.is_none() { LEFT } else { x(buckets, buckets.part(bucket).since.0) };
        match last {
            None => _ = write!(path, "M{} {}", xy(at), xy(y(value / top))),
            Some(last) if (last - value).abs() > f64::EPSILON => {
                _ = write!(path, "H{}V{}", xy(at), xy(y(value / top)));
            }
            Some(_) => {}
        }
        last = Some(*value);
    }
    if last.is_some() {
        _ = write!(path, "H{}", xy(WIDTH - RIGHT));
    }
    path
}
