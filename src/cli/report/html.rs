//! The report as one page with charts, which needs nothing but itself: no script, no font, no address.

mod bars;
mod chart;
mod scale;
mod sections;
mod text;
mod tiles;

use std::fmt::Write;

use crate::cli::format::date_time;
use crate::report::{Figures, Report};

use self::text::escape;
use super::columns::{COLUMNS, Column};
use super::summary::{nothing, period_of};
use super::units::period;

const STYLE: &str = include_str!("html/style.css");
/// Nothing is loaded, nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page. It is well-formed XML as well.
pub fn page(report: &Report) -> String {
    let mut page = String::with_capacity(256 << 10);
    // Writing to a String cannot fail.
    write_page(&mut page, report).map(|()| page).unwrap_or_default()
}

fn write_page(page: &mut String, report: &Report) -> std::fmt::Result {
    let period = escape(&period(period_of(report)));
    writeln!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"generator\" content=\"smoother {}\"/>\n<title>smoother report: {period}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>",
        escape(POLICY),
        escape(report.origin.version)
    )?;
    let filters = if report.filters.is_empty() {
        "all requests".to_owned()
    } else {
        format!("only {}", escape(&report.filters.to_string()))
    };
    writeln!(
        page,
        "<header>\n<p class=\"brand\">smoother report</p>\n<h1>{period}</h1>\n\
         <p class=\"facts\">Place <b>{}</b> · {filters} · made {} by smoother {}</p>\n</header>\n<main>",
        escape(&report.origin.place),
        date_time(report.origin.generated_at),
        escape(report.origin.version)
    )?;
    match report.series.as_ref().filter(|_| report.total.requests > 0) {
        Some(series) => {
            tiles::tiles(page, report, series);
            sections::throughput(page, report, series);
            sections::requests(page, report, series);
            sections::times(page, report, series);
            sections::costs(page, report, series);
            sections::throttles(page, report, series);
            groups(page, report)?;
        }
        None => {
            for said in nothing(report) {
                writeln!(page, "<p class=\"empty\">{}</p>", escape(&said))?;
            }
        }
    }
    page.push_str("</main>\n");
    page.push_str(FOOTER);
    page.push_str("</body>\n</html>\n");
    Ok(())
}

const FOOTER: &str = "<footer>\n<p>How to read this</p>\n<ul>\n\
<li>A request counts when it finished. All times are UTC.</li>\n\
<li>Costs are sums of known prices; ≥ says that there are answers of unknown price, which are never counted as nothing.</li>\n\
<li>Errors are requests that failed, were rejected or expired; cancelled ones count on neither side of a rate.</li>\n\
<li>Use of a quota is that of the minutes in which a call started; each request counts with its last call.</li>\n\
<li>p95: 95 % were no longer. Quantiles of many values are within 1 %.</li>\n\
</ul>\n</footer>\n";

/// Paper has no room for what ranks low.
fn look(column: &Column) -> &'static str {
    if column.rank > 5 { " class=\"low\"" } else { "" }
}

fn groups(page: &mut String, report: &Report) -> std::fmt::Result {
    let by: Vec<&str> = report.by.iter().map(|one| one.words()).collect();
    writeln!(page, "<h2>By {}</h2>\n<div class=\"wide\">\n<table><thead><tr>", by.join(" and "))?;
    for heading in &by {
        write!(page, "<th scope=\"col\">{heading}</th>")?;
    }
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| (column.wanted)(report)).collect();
    for column in &columns {
        write!(page, "<th scope=\"col\"{}>{}</th>", look(column), escape(&column.title()))?;
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    let figures = |page: &mut String, figures: &Figures| {
        for column in &columns {
            // Writing to a String does not fail.
            _ = write!(page, "<td{}>{}</td>", look(column), escape(&(column.cell)(figures)));
        }
        page.push_str("</tr>\n");
    };
    for group in &report.groups {
        page.push_str("<tr>");
        for (dimension, value) in &group.key {
            write!(page, "<th scope=\"row\">{}</th>", escape(&group.value_name(*dimension, value.as_deref())))?;
        }
        figures(page, &group.figures);
    }
    if report.groups.len() > 1 {
        write!(page, "<tr class=\"total\"><th scope=\"row\" colspan=\"{}\">total</th>", by.len())?;
        figures(page, &report.total);
    }
    page.push_str("</tbody></table>\n</div>\n");
    Ok(())
}
