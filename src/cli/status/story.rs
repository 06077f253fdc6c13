//! One request as a page of at most 100 columns.

use std::fmt::Write;

use super::page::tone;
use super::paint::{Paint, Tone};
use super::request::{End, Story};
use crate::cli::format::{WIDTH, count, date_time, millis, plain, shell_word, span, thousands, time_of_day, wrap};

/// Where values begin.
const INDENT: usize = 13;

/// The page. `local` says whether results lie in a directory.
pub fn page(story: &Story, local: bool, paint: Paint) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    write_page(&mut page, story, local, paint).map(|()| page).unwrap_or_default()
}

fn write_page(page: &mut String, story: &Story, local: bool, paint: Paint) -> std::fmt::Result {
    let id = paint.paint(Tone::Strong, story.request_id.as_str());
    writeln!(page, "{id}  {}\n", paint.paint(tone(story.status), story.status.as_str()))?;
    let model = if story.model_id.is_empty() { "unknown" } else { &story.model_id };
    let model = match &story.use_case {
        Some(use_case) => format!("{model}, for use case {use_case}"),
        None => model.to_owned(),
    };
    field(page, "Model", &model)?;
    field(page, "Tenant", &format!("{}, priority {}", story.tenant, story.priority))?;
    if let Some(batch) = &story.batch_id {
        field(page, "Batch", batch)?;
    }
    if let Some(deadline) = story.deadline {
        let (left, late) = (deadline.since(story.at), story.at.since(deadline));
        let when = if deadline > story.at { format!("in {}", span(left)) } else { format!("{} ago", span(late)) };
        field(page, "Deadline", &format!("{} ({when})", date_time(deadline)))?;
    }
    if !story.metadata.is_empty() {
        let pairs: Vec<String> = story.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
        field(page, "Metadata", &pairs.join(" "))?;
    }
    if let Some(trace) = &story.trace_id {
        field(page, "Trace", trace)?;
    }
    if story.throttles > 0 || story.attempts > 1 {
        let throttled = if story.throttles > 0 { format!(", {} throttled", story.throttles) } else { String::new() };
        let calls = u64::from(story.attempts + story.throttles);
        field(page, "Calls", &format!("{}{throttled}", count(calls, "call")))?;
    }
    timeline(page, story, paint)?;
    if let Some(waits) = &story.waits {
        writeln!(page, "\n{}", paint.paint(Tone::Strong, "Where it stands"))?;
        for reason in &waits.reasons {
            bullet(page, reason)?;
        }
        writeln!(page)?;
        field(page, "Should run", &waits.expectation(story.at))?;
    }
    if let Some(end) = &story.outcome {
        outcome(page, end, local, paint)?;
    }
    Ok(())
}

fn timeline(page: &mut String, story: &Story, paint: Paint) -> std::fmt::Result {
    let mut day = String::new();
    let mut before = None;
    for event in &story.timeline {
        if day != event.at.day() {
            day = event.at.day();
            writeln!(page, "\n{}", paint.paint(Tone::Strong, &format!("{day} UTC")))?;
        }
        let gap = before.map(|before| format!("+ {}", span(event.at.since(before)))).unwrap_or_default();
        before = Some(event.at);
        let gap = paint.paint(Tone::Faint, &format!("{gap:>12}"));
        let mut lines = wrap(&plain(&event.what), WIDTH - 30).into_iter();
        writeln!(page, "  {}{gap}   {}", time_of_day(event.at), lines.next().unwrap_or_default())?;
        for line in lines {
            writeln!(page, "  {:27}{line}", "")?;
        }
    }
    Ok(())
}

fn outcome(page: &mut String, end: &End, local: bool, paint: Paint) -> std::fmt::Result {
    writeln!(page, "\n{}", paint.paint(Tone::Strong, "Outcome"))?;
    if let Some(error) = &end.error {
        field(page, "Error", &error.kind)?;
        if let Some(name) = &error.field {
            field(page, "Field", name)?;
        }
        field(page, "Why", &error.message)?;
        let again =
            if error.retryable { "may succeed when sent again under a new id" } else { "would fail again as it is" };
        field(page, "Again", again)?;
    }
    if let Some(ms) = end.latency_ms {
        field(page, "Last call", &millis(ms))?;
    }
    if let Some(usage) = end.usage {
        let mut tokens = format!("{} in, {} out", thousands(usage.input_tokens), thousands(usage.output_tokens));
        for (n, what) in
            [(usage.cache_read_input_tokens, "read from the cache"), (usage.cache_write_input_tokens, "written to it")]
        {
            if n > 0 {
                tokens = format!("{tokens}, {} {what}", thousands(n));
            }
        }
        field(page, "Tokens", &tokens)?;
    }
    if end.result.is_some() {
        let cost = end
            .cost_usd
            .map_or_else(|| "unknown: a price it takes is not known".to_owned(), |usd| format!("${usd:.6}"));
        let as_of = end.price_as_of.as_ref().map(|day| format!(", by prices of {day}")).unwrap_or_default();
        field(page, "Cost", &format!("{cost}{as_of}"))?;
        if let Some(tier) = &end.service_tier {
            field(page, "Tier", tier)?;
        }
    }
    if let Some(result) = &end.result {
        let place = if local {
            shell_word(&format!("{}/{}", result.bucket, result.key))
        } else {
            format!("s3://{}/{}", result.bucket, result.key)
        };
        // Not wrapped: it is there to be copied.
        writeln!(page, "  {:<11}{place}", "Result")?;
        writeln!(page, "  {:<11}{} bytes", "", thousands(result.bytes))?;
        if let Some(preview) = &result.preview {
            field(page, "Begins", preview)?;
        }
    }
    Ok(())
}

/// A name and its value, wrapped.
fn field(page: &mut String, name: &str, value: &str) -> std::fmt::Result {
    for (place, line) in wrap(&plain(value), WIDTH - INDENT).iter().enumerate() {
        writeln!(page, "  {:<11}{line}", if place == 0 { name } else { "" })?;
    }
    Ok(())
}

fn bullet(page: &mut String, text: &str) -> std::fmt::Result {
    for (place, line) in wrap(&plain(text), WIDTH - 4).iter().enumerate() {
        writeln!(page, "  {} {line}", if place == 0 { "-" } else { " " })?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
