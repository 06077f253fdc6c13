//! Dead letters as a table of at most 100 columns, and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::cli::format::{clip, count, plain, span, thousands};
use crate::cli::status::Story;
use crate::clock::Timestamp;
use crate::control::dead_letters::{Content, DeadLetter, Fate, Handled, Listing};
use crate::request::{Row, Status};

/// What became of messages, in JSON; these names are stable.
#[derive(Serialize)]
struct Outcome<'a> {
    dry_run: bool,
    handled: Vec<One<'a>>,
}

#[derive(Serialize)]
struct One<'a> {
    /// Null for a message that is not smoother's.
    request_id: Option<&'a str>,
    message_id: &'a str,
    fate: Fate,
}

/// What became of messages; with a dry run, what would have.
pub fn handled_json(handled: &[Handled], dry_run: bool) -> String {
    let is_ours = |one: &&Handled| one.fate != Fate::Foreign && one.name != one.message_id;
    let handled = handled
        .iter()
        .map(|one| One {
            request_id: Some(one).filter(is_ours).map(|one| one.name.as_str()),
            message_id: &one.message_id,
            fate: one.fate,
        })
        .collect();
    serde_json::to_string_pretty(&Outcome { dry_run, handled }).unwrap_or_default()
}

/// A dead letter in JSON; these names are stable.
#[derive(Serialize)]
struct Letter<'a> {
    request_id: Option<&'a str>,
    message_id: &'a str,
    tenant: Option<&'a str>,
    model_id: Option<&'a str>,
    status: Option<Status>,
    error_type: Option<&'a str>,
    why: Option<&'a str>,
    since: Option<Timestamp>,
    receive_count: u32,
    foreign: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
}

#[derive(Serialize)]
struct List<'a> {
    letters: Vec<Letter<'a>>,
    more: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    letters: Vec<Letter<'a>>,
    story: Option<&'a Story>,
}

fn letter(letter: &DeadLetter, body: bool) -> Letter<'_> {
    let row = letter.row();
    let failure = row.and_then(failure);
    let (request_id, foreign) = match &letter.content {
        Content::Request(message, _) => (Some(message.request_id.as_str()), None),
        Content::Foreign(body) => (None, Some(body.as_str())),
    };
    Letter {
        request_id,
        message_id: &letter.message_id,
        tenant: row.map(|row| row.request.tenant.as_str()),
        model_id: row.map(|row| row.request.model_id.as_str()),
        status: row.map(|row| row.status),
        error_type: failure.map(|f| f.kind.as_str()),
        why: failure.map(|f| f.message.as_str()),
        since: row.map(since),
        receive_count: letter.receive_count,
        foreign: foreign.is_some(),
        body: foreign.filter(|_| body),
    }
}

fn failure(row: &Row) -> Option<&crate::request::Failure> {
    row.outcome.as_ref()?.error.as_ref()
}

/// Since when it is as it is.
fn since(row: &Row) -> Timestamp {
    row.outcome.as_ref().map_or(row.updated_at, |outcome| outcome.finished_at)
}

/// The list as one JSON object.
pub fn json(listing: &Listing) -> String {
    let letters = listing.letters.iter().map(|l| letter(l, false)).collect();
    serde_json::to_string_pretty(&List { letters, more: listing.more }).unwrap_or_default()
}

/// The messages of one name and its story as one JSON object.
pub fn shown_json(found: &[DeadLetter], story: Option<&Story>, body: bool) -> String {
    let letters = found.iter().map(|l| letter(l, body)).collect();
    serde_json::to_string_pretty(&Shown { letters, story }).unwrap_or_default()
}

/// The list for people.
pub fn table(listing: &Listing, now: Timestamp) -> String {
    if listing.letters.is_empty() {
        return "the dead-letter queue is empty".to_owned();
    }
    let mut page = String::new();
    // Writing to a String cannot fail.
    write_table(&mut page, listing, now).unwrap_or_default();
    page
}

fn write_table(page: &mut String, listing: &Listing, now: Timestamp) -> std::fmt::Result {
    writeln!(page, "{:<28} {:<12} {:<20} {:<9} {:>8}  failed as", "request", "tenant", "model", "status", "for")?;
    for letter in &listing.letters {
        let Some(row) = letter.row() else {
            let what = match letter.content {
                Content::Request(..) => "its request is gone",
                Content::Foreign(_) => "not smoother's message",
            };
            writeln!(page, "{} {what}", cell(letter.name(), 40))?;
            continue;
        };
        let request = &row.request;
        writeln!(
            page,
            "{} {} {} {} {:>8}  {}",
            cell(request.id.as_str(), 28),
            cell(request.tenant.as_str(), 12),
            cell(request.model_id.as_str(), 20),
            cell(row.status.as_str(), 9),
            span(now.since(since(row))),
            clip(failure(row).map_or("-", |f| &f.kind), 17),
        )?;
    }
    let n = listing.letters.len() as u64;
    if listing.more { writeln!(page, "\nthe first {}; there are more: --limit", thousands(n)) } else { Ok(()) }
}

fn cell(text: &str, width: usize) -> String {
    format!("{:<width$}", clip(&plain(text), width))
}

/// The messages of one name for people, below the story.
pub fn shown(found: &[DeadLetter], body: bool) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    write_shown(&mut page, found, body).unwrap_or_default();
    page
}

fn write_shown(page: &mut String, found: &[DeadLetter], body: bool) -> std::fmt::Result {
    writeln!(page, "In the dead-letter queue")?;
    for letter in found {
        writeln!(page, "  message {}, received {}", letter.message_id, times(letter.receive_count))?;
        match &letter.content {
            Content::Request(message, row) => {
                let latest = row.as_ref().is_some_and(|row| row.ticket.as_deref() == Some(&message.ticket));
                let which = if latest { "the latest" } else { "an earlier" };
                writeln!(page, "  of {which} pass through the hold queue, on lane {}", plain(message.lane.as_str()))?;
            }
            Content::Foreign(text) if body => writeln!(page, "  not smoother's:\n{}", plain_lines(text))?,
            Content::Foreign(text) => {
                let bytes = thousands(text.len() as u64);
                writeln!(page, "  not smoother's; {bytes} bytes, shown with --body since they may be private")?;
            }
        }
    }
    Ok(())
}

fn times(n: u32) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

/// A text of somebody else's with its line breaks and nothing else that could move a terminal's cursor.
fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// Whether the request stays FAILED.
pub fn is_failed(handled: &Handled) -> bool {
    handled.row.as_ref().is_some_and(|row| row.status == Status::Failed)
}

/// What became of a message, on a line.
pub fn handled(handled: &Handled, dry_run: bool, now: Timestamp) -> String {
    let late = handled.row.as_ref().and_then(|row| row.request.deadline).is_some_and(|deadline| deadline <= now);
    let what = match (handled.fate, dry_run) {
        (Fate::Revived, _) if late => "back in line, to end EXPIRED: its deadline has passed",
        (Fate::Revived, false) => "back in line",
        (Fate::Revived, true) => "would go back into line",
        (Fate::LeftOver, false) => "was dealt with before; its message is deleted",
        (Fate::LeftOver, true) => "was dealt with before; its message would be deleted",
        (Fate::Undecided, _) => "left to the planner, which decides about it within seconds",
        (Fate::Foreign, _) => "not smoother's message; left where it is",
        (Fate::Purged, false) if is_failed(handled) => "deleted; the request stays FAILED for good",
        (Fate::Purged, true) if is_failed(handled) => "would be deleted; the request would stay FAILED for good",
        (Fate::Purged, false) => "deleted",
        (Fate::Purged, true) => "would be deleted",
    };
    format!("{}  {what}", plain(&handled.name))
}

/// All of it in a sentence.
pub fn sum(fates: &BTreeMap<Fate, u64>, dry_run: bool) -> String {
    let part = |(fate, n): (&Fate, &u64)| match fate {
        Fate::Revived => format!("{} back in line", count(*n, "request")),
        Fate::LeftOver => format!("{} left over", thousands(*n)),
        Fate::Undecided => format!("{} left to the planner", thousands(*n)),
        Fate::Foreign => format!("{} not smoother's", thousands(*n)),
        Fate::Purged => format!("{} deleted", count(*n, "message")),
    };
    let parts: Vec<String> = fates.iter().map(part).collect();
    match (parts.is_empty(), dry_run) {
        (true, _) => "nothing to do: no such message in the dead-letter queue".to_owned(),
        (false, true) => format!("dry run, nothing was changed; it would be: {}", parts.join(", ")),
        (false, false) => parts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::format::WIDTH;

    const NOW: Timestamp = Timestamp(1_795_252_123_456);

    fn row() -> Row {
        let at = "2026-11-21T08:00:00.000Z";
        serde_json::from_value(json!({
            "request": {
                "id": "r".repeat(128), "content_hash": "", "message_id": "m", "model_id": "m".repeat(200),
                "lane": "default:us-east-1:m", "tenant": "t".repeat(64), "priority": 5, "deadline": at,
                "metadata": {}, "operation": "converse", "body": "", "rank": "5", "received_at": at,
                "estimate": {"input_tokens": 1, "max_output_tokens": 1},
            },
            "status": "FAILED", "attempts": 0, "throttles": 0, "claims": 4, "ticket": "t2", "updated_at": at, "notes": [],
            "outcome": {
                "finished_at": at,
                "error": {"type": "Poison".repeat(9), "message": "three", "retryable": false},
            },
        }))
        .unwrap()
    }

    fn letters() -> Vec<DeadLetter> {
        let row = row();
        let message = serde_json::from_value(json!({
            "request_id": row.request.id, "ticket": "t1", "lane": row.request.lane, "rank": "5",
            "estimate": row.request.estimate, "overdue": "2026-11-21T08:00:00.000Z",
        }));
        let foreign = Content::Foreign("secret \u{1b}[2J\nline".to_owned());
        [Content::Request(Box::new(message.unwrap()), Some(Box::new(row))), foreign]
            .into_iter()
            .map(|content| DeadLetter { message_id: "m-1".to_owned(), receive_count: 1, content })
            .collect()
    }

    #[test]
    fn the_table_fits_whatever_the_names() {
        let page = table(&Listing { letters: letters(), more: true }, NOW);
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
        assert!(page.contains("FAILED") && page.contains("1 h 08 m") && page.contains("there are more"), "{page}");
        assert!(table(&Listing::default(), NOW).contains("empty"));
    }

    #[test]
    fn a_foreign_body_is_shown_only_when_asked_for() {
        let letters = letters();
        let listed = json(&Listing { letters: letters.clone(), more: false });
        assert!(!listed.contains("secret") && listed.contains("three"), "{listed}");
        assert!(!shown(&letters, false).contains("secret") && !shown_json(&letters, None, false).contains("secret"));
        assert!(shown(&letters, true).contains("secret  [2J\nline"), "{}", shown(&letters, true));
        let shown: serde_json::Value = serde_json::from_str(&shown_json(&letters, None, true)).unwrap();
        assert_eq!(shown["letters"][1]["body"], "secret \u{1b}[2J\nline");
    }

    #[test]
    fn what_happened_is_told_with_what_it_means() {
        let one = |fate| Handled { name: "r".to_owned(), message_id: "m".to_owned(), row: Some(Box::new(row())), fate };
        assert!(handled(&one(Fate::Revived), false, NOW).ends_with("its deadline has passed"));
        assert_eq!(handled(&one(Fate::Revived), true, Timestamp(0)), "r  would go back into line");
        assert!(handled(&one(Fate::Purged), false, NOW).contains("stays FAILED for good"));
        assert!(sum(&BTreeMap::from([(Fate::Revived, 2)]), true).starts_with("dry run, nothing was changed"));
    }
}
