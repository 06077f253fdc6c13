//! An alert as text, for somebody who was asleep a minute ago: what is broken first, then how much, why, and what to type.

use std::fmt::Write;

use super::{Alert, Amount, Kind, Number, State, Step};
use crate::clock::Timestamp;

/// The text.
pub fn render(alert: &Alert) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    write(&mut text, alert).map(|()| text).unwrap_or_default()
}

fn write(text: &mut String, alert: &Alert) -> std::fmt::Result {
    let Alert { state, deployment, since, at, worker, key, .. } = alert;
    writeln!(text, "{}", alert.subject)?;
    let what = if *state == State::Recovered { "Over" } else { "Impact" };
    writeln!(text, "\n{what}: {}", alert.impact)?;
    writeln!(text, "\nNumbers")?;
    let lasted = span(at.since(*since).as_secs());
    let standing = match state {
        State::Firing => time(*since),
        State::Ongoing => format!("{}, for {lasted} so far", time(*since)),
        State::Recovered => format!("{}, over at {} after {lasted}", time(*since), time(*at)),
    };
    let numbers = alert.numbers.iter().map(|number| (number.name, amount(number)));
    for (name, value) in [("since", standing)].into_iter().chain(numbers) {
        writeln!(text, "  {:<26}{value}", name.replace('_', " "))?;
    }
    if !alert.causes.is_empty() {
        writeln!(text, "\nLikely causes")?;
        for cause in &alert.causes {
            writeln!(text, "  - {cause}")?;
        }
    }
    steps(text, "Look", &alert.look)?;
    steps(text, "Fix", &alert.fix)?;
    writeln!(text)?;
    if let Some(dashboard) = &alert.dashboard {
        if !alert.look.is_empty() {
            writeln!(text, "The commands need the deployment's settings in your shell: the runbook's first section.")?;
        }
        writeln!(text, "Dashboard  {dashboard}")?;
    }
    if alert.kind != Kind::Test {
        writeln!(text, "Runbook    {}", alert.runbook)?;
    }
    writeln!(text, "{deployment} · {key} · told by {worker} at {}", time(*at))
}

fn steps(text: &mut String, heading: &str, steps: &[Step]) -> std::fmt::Result {
    if steps.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{heading}")?;
    for step in steps {
        match &step.run {
            Some(run) => writeln!(text, "  # {}\n  {run}", step.why)?,
            None => writeln!(text, "  - {}", step.why)?,
        }
    }
    Ok(())
}

fn amount(number: &Number) -> String {
    match &number.amount {
        Amount::Text(text) => text.clone(),
        Amount::Number(value) if number.unit == "USD" => format!("${value:.2}"),
        Amount::Number(value) if number.unit == "s" => span(whole(*value)),
        Amount::Number(1.0) => format!("1 {}", number.unit.trim_end_matches('s')),
        Amount::Number(value) if value.fract() == 0.0 => format!("{} {}", thousands(whole(*value)), number.unit),
        Amount::Number(value) => format!("{value:.1} {}", number.unit),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and seconds, positive and below 2^53"
)]
fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2026-11-21 03:12:07 UTC`.
fn time(at: Timestamp) -> String {
    let text: String = at.to_string().chars().take(19).collect();
    format!("{} UTC", text.replace('T', " "))
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}
