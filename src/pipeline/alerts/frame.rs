//! Where a worker is, so that an alert says it, and its commands can be copied as they are.

use std::path::Path;

use super::Settings;
use super::board::Told;
use super::wording::{self, Facts};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ports::Alert;
use crate::ports::alerts::{Kind, MAX_SUBJECT, Severity, State};
use crate::shell;

/// Where the runbook is when nothing else is configured.
const RUNBOOK: &str = "docs/runbook.md";
/// Longest part of a subject that says where, in characters.
const LONGEST_PLACE: usize = 40;

/// A deployment as its alerts name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Its name and Region, or its directory.
    pub deployment: String,
    /// Its Region.
    pub region: String,
    /// What a command needs besides its own words, with a space before it: ` --local DIR`.
    pub flags: String,
    /// The dashboard's URL.
    pub dashboard: Option<String>,
    /// Where the runbook is, without an anchor.
    pub runbook: String,
    /// This worker.
    pub worker: String,
}

impl Frame {
    /// Of this configuration and worker; `dir` when it works in a directory.
    #[must_use]
    pub fn new(config: &Config, dir: Option<&Path>, worker: &str) -> Self {
        let region = config.aws_region.clone();
        let runbook = config.alert_runbook_url.clone().unwrap_or_else(|| RUNBOOK.to_owned());
        let (deployment, flags, dashboard) = match dir {
            Some(dir) => {
                let dir = dir.display().to_string();
                (dir.clone(), format!(" --local {}", shell::word(&dir)), None)
            }
            None => (
                format!("{} {region}", config.metrics_namespace),
                String::new(),
                Some(dashboard(&region, &config.dashboard_name)),
            ),
        };
        Self { deployment, region, flags, dashboard, runbook, worker: worker.to_owned() }
    }

    /// A command of smoother's that works on the requests: `smoother status` with what says where.
    pub(super) fn command(&self, words: &str) -> String {
        format!("smoother {words}{}", self.flags)
    }

    /// The section of the runbook on a kind.
    #[must_use]
    pub fn runbook(&self, kind: Kind) -> String {
        format!("{}#{}", self.runbook, kind.as_str())
    }

    /// Writes an alert.
    #[must_use]
    pub fn alert(&self, told: &Told, now: Timestamp, settings: &Settings) -> Alert {
        let Told { state, entry } = told;
        let kind = entry.condition.kind();
        let content = wording::content(&entry.condition, &Facts { sums: entry.sums, settings, frame: self });
        let over = *state == State::Recovered;
        let keep = |steps| if over { Vec::new() } else { steps };
        Alert {
            schema_version: Alert::SCHEMA_VERSION,
            kind,
            key: entry.condition.key(),
            severity: if over { Severity::Info } else { entry.severity() },
            state: *state,
            subject: self.subject(*state, entry.severity(), &content.what),
            impact: if over { content.over } else { content.impact },
            numbers: if over { wording::of_all(content.numbers) } else { content.numbers },
            causes: if over { Vec::new() } else { content.causes },
            look: keep(content.look),
            fix: keep(content.fix),
            dashboard: self.dashboard.clone(),
            runbook: self.runbook(kind),
            deployment: self.deployment.clone(),
            at: now,
            since: entry.since,
            count: entry.sums.events,
            worker: self.worker.clone(),
        }
    }

    /// How bad or over, where, and what.
    fn subject(&self, state: State, severity: Severity, what: &str) -> String {
        let severity = severity.as_str().to_uppercase();
        let standing = match state {
            State::Firing => severity,
            State::Ongoing => format!("ONGOING {severity}"),
            State::Recovered => "RECOVERED".to_owned(),
        };
        let place = ascii(&self.deployment);
        // Of a directory the end says more than the beginning.
        let skip = place.chars().count().saturating_sub(LONGEST_PLACE);
        let place: String = place.chars().skip(skip).collect();
        let subject = format!("{standing} {place}: {}", ascii(what));
        if subject.len() <= MAX_SUBJECT {
            return subject;
        }
        let short: String = subject.chars().take(MAX_SUBJECT - 3).collect();
        format!("{}...", short.trim_end())
    }
}

fn ascii(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The console's page of a dashboard.
fn dashboard(region: &str, name: &str) -> String {
    let console = match region.split('-').next() {
        Some("cn") => "console.amazonaws.cn".to_owned(),
        _ if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com".to_owned(),
        _ => format!("{region}.console.aws.amazon.com"),
    };
    format!("https://{console}/cloudwatch/home?region={region}#dashboards/dashboard/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_says_state_where_and_what_in_a_hundred_ascii_characters() {
        let frame = Frame { deployment: "Smoother us-east-1".to_owned(), ..Frame::default() };
        let subject = |state| frame.subject(state, Severity::Critical, "no  progress\nfür x");
        assert_eq!(subject(State::Firing), "CRITICAL Smoother us-east-1: no progress f r x");
        assert_eq!(subject(State::Ongoing), "ONGOING CRITICAL Smoother us-east-1: no progress f r x");
        let frame = Frame { deployment: format!("/data/{}/end", "x".repeat(80)), ..Frame::default() };
        let subject = frame.subject(State::Recovered, Severity::Info, &"m".repeat(80));
        assert!(subject.len() == MAX_SUBJECT && subject.contains("/end: m") && subject.ends_with("..."), "{subject}");
    }

    #[test]
    fn dashboards_are_on_the_console_of_the_partition() {
        assert!(dashboard("us-east-1", "d").starts_with("https://us-east-1.console.aws.amazon.com/cloudwatch"));
        assert!(dashboard("us-gov-west-1", "d").starts_with("https://console.amazonaws-us-gov.com/"));
        assert!(dashboard("cn-north-1", "d").starts_with("https://console.amazonaws.cn/"));
    }

    #[test]
    fn commands_say_where() {
        let config = Config::default();
        let local = Frame::new(&config, Some(Path::new("/srv/my data")), "w");
        assert_eq!(local.command("status"), "smoother status --local '/srv/my data'");
        let aws = Frame::new(&config, None, "w");
        assert_eq!(
            (aws.command("status").as_str(), aws.deployment.as_str()),
            ("smoother status", "Smoother us-east-1")
        );
    }
}
