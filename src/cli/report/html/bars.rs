//! Bars that lie: amounts, and ranges of durations.

use std::fmt::Write;

use super::chart::{WIDTH, open};
use super::scale::Durations;
use super::text::{escape, shorten, xy};
use crate::report::Quantiles;

/// A named amount.
pub struct Bar {
    pub name: String,
    pub class: &'static str,
    pub value: f64,
    /// The amount, written out.
    pub shown: String,
}

const ROW: f64 = 40.0;
/// Characters of a name; more do not fit beside the figures.
const NAME: usize = 46;
const RANGE_NAME: usize = 42;
const AXIS: f64 = 26.0;

/// Bars from the left, each below its name.
pub fn bars(page: &mut String, title: &str, about: &str, bars: &[Bar]) {
    let height = ROW * bars.len() as f64;
    open(page, title, about, height);
    let most = bars.iter().map(|bar| bar.value).fold(0.0_f64, f64::max);
    for (at, bar) in bars.iter().enumerate() {
        let top = ROW * at as f64;
        let width = if most > 0.0 { bar.value / most * WIDTH } else { 0.0 };
        // Writing to a String does not fail, here and below.
        _ = write!(
            page,
            "<text class=\"name\" x=\"0\" y=\"{}\">{}<title>{}</title></text><text class=\"value\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"track\" x=\"0\" y=\"{}\" width=\"{}\" height=\"10\" rx=\"2\"/>",
            xy(top + 16.0),
            escape(&shorten(&bar.name, NAME)),
            escape(&bar.name),
            xy(WIDTH),
            xy(top + 16.0),
            escape(&bar.shown),
            xy(top + 22.0),
            xy(WIDTH)
        );
        if bar.value > 0.0 {
            _ = write!(
                page,
                "<rect class=\"{}\" x=\"0\" y=\"{}\" width=\"{}\" height=\"10\" rx=\"2\"/>",
                bar.class,
                xy(top + 22.0),
                xy(width.max(1.0))
            );
        }
    }
    page.push_str("</svg>\n");
}

/// A named set of durations.
pub struct Range<'a> {
    pub name: String,
    pub class: &'static str,
    pub times: &'a Quantiles,
    /// Its p50, p95 and p99, written out.
    pub shown: String,
}

/// From p50 to p99 on a logarithmic scale, with a mark at p95.
pub fn ranges(page: &mut String, title: &str, about: &str, ranges: &[Range<'_>]) {
    let rows = ROW * ranges.len() as f64;
    open(page, title, about, rows + AXIS);
    let values = ranges.iter().flat_map(|range| [0.5, 0.99].map(|share| range.times.at(share)));
    let scale = Durations::of(values);
    let inset = 4.0;
    let x = |place: f64| inset + place * (WIDTH - 2.0 * inset);
    let ticks = scale.ticks();
    for (at, (place, name)) in ticks.iter().enumerate() {
        let anchor = match at {
            0 => "start",
            at if at + 1 == ticks.len() => "end",
            _ => "middle",
        };
        _ = write!(
            page,
            "<path class=\"grid\" d=\"M{} 0V{}\"/><text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{name}</text>",
            xy(x(*place)),
            xy(rows + 4.0),
            xy(x(*place)),
            xy(rows + 19.0)
        );
    }
    for (at, range) in ranges.iter().enumerate() {
        let top = ROW * at as f64;
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| x(scale.place(range.times.at(share))));
        _ = write!(
            page,
            "<text class=\"name halo\" x=\"0\" y=\"{}\">{}<title>{}</title></text><text class=\"value halo\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"track\" x=\"0\" y=\"{}\" width=\"{}\" height=\"10\" rx=\"2\"/>",
            xy(top + 16.0),
            escape(&shorten(&range.name, RANGE_NAME)),
            escape(&range.name),
            xy(WIDTH),
            xy(top + 16.0),
            escape(&range.shown),
            xy(top + 22.0),
            xy(WIDTH)
        );
        _ = write!(
            page,
            "<rect class=\"{0}\" x=\"{1}\" y=\"{2}\" width=\"{3}\" height=\"10\"/><rect class=\"{0} soft\" x=\"{4}\" y=\"{2}\" width=\"{5}\" height=\"10\"/>\
             <circle class=\"dot\" cx=\"{1}\" cy=\"{6}\" r=\"4\"/><path class=\"mark\" d=\"M{4} {7}v14\"/>",
            range.class,
            xy(p50),
            xy(top + 22.0),
            xy((p95 - p50).max(0.0)),
            xy(p95),
            xy((p99 - p95).max(1.0)),
            xy(top + 27.0),
            xy(top + 20.0)
        );
    }
    page.push_str("</svg>\n");
}
