//! Text in a page: everything that producers named goes through here.

use std::fmt::Write;

use crate::clock::Timestamp;
use crate::report::Period;

/// A text as text: nothing in it is markup, moves the cursor, or turns the direction of writing.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// At most so many characters; the middle is left out, since names differ at their ends.
pub fn shorten(text: &str, most: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= most {
        return text.to_owned();
    }
    let (head, tail) = (most / 2, most - most / 2 - 1);
    chars.iter().take(head).chain(['…'].iter()).chain(chars.iter().skip(chars.len() - tail)).collect()
}

/// A coordinate.
pub fn xy(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// `21 Nov`.
pub fn day(at: Timestamp) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = at.day();
    let mut parts = text.split('-').skip(1).map(|part| part.parse::<usize>().unwrap_or(1));
    let (month, day) = (parts.next().unwrap_or(1), parts.next().unwrap_or(1));
    format!("{day} {}", MONTHS.get(month - 1).unwrap_or(&""))
}

/// `09:15`.
pub fn clock(at: Timestamp) -> String {
    at.to_string().chars().skip(11).take(5).collect()
}

/// A stretch of time: `21 Nov 09:00–09:15`.
pub fn stretch(part: Period) -> String {
    let (since, until) = (part.since, part.until);
    let whole_days = since.0.is_multiple_of(86_400_000) && until.0.is_multiple_of(86_400_000);
    match (whole_days, part.length().as_secs()) {
        (true, 86_400) => day(since),
        (true, _) => format!("{}–{}", day(since), day(Timestamp(until.0 - 1))),
        _ if since.day() == Timestamp(until.0 - 1).day() => format!("{} {}–{}", day(since), clock(since), clock(until)),
        _ => format!("{} {}–{} {}", day(since), clock(since), day(until), clock(until)),
    }
}

/// A table: headings, then rows; the first column names things, the others are numbers.
pub fn table(page: &mut String, caption: &str, headings: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    // Writing to a String does not fail.
    _ = write!(page, "<table><caption>{}</caption><thead><tr>", escape(caption));
    for heading in headings {
        _ = write!(page, "<th scope=\"col\">{}</th>", escape(heading));
    }
    page.push_str("</tr></thead><tbody>");
    for row in rows {
        page.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            if at == 0 {
                _ = write!(page, "<th scope=\"row\">{}</th>", escape(cell));
            } else {
                _ = write!(page, "<td>{}</td>", escape(cell));
            }
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(
            escape("<script>alert('x')</script> & \"q\"\u{1b}\u{202e}\u{ffff}"),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;q&quot; \u{fffd}"
        );
        assert_eq!([shorten("abcdefgh", 5), shorten("abc", 5)], ["ab…gh", "abc"]);
    }

    #[test]
    fn stretches_of_time_are_short() {
        let part = |since: &str, until: &str| Period {
            since: Timestamp::parse(since).unwrap(),
            until: Timestamp::parse(until).unwrap(),
        };
        assert_eq!(stretch(part("2026-11-21T09:00:00Z", "2026-11-21T09:15:00Z")), "21 Nov 09:00–09:15");
        assert_eq!(stretch(part("2026-11-21T23:00:00Z", "2026-11-22T00:00:00Z")), "21 Nov 23:00–00:00");
        assert_eq!(stretch(part("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z")), "21 Nov");
        assert_eq!(stretch(part("2026-11-02T00:00:00Z", "2026-11-09T00:00:00Z")), "2 Nov–8 Nov");
        assert_eq!(stretch(part("2026-11-21T22:00:00Z", "2026-11-22T04:00:00Z")), "21 Nov 22:00–22 Nov 04:00");
    }
}
