//! What a submit did, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::check::Message;
use crate::cli::format::{WIDTH, count, thousands, wrap};

/// The order in which priorities are shown.
const CLASSES: [&str; 5] = ["urgent", "high", "normal", "low", "bulk"];

/// As JSON these names are stable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Messages that are on the input queue now.
    pub submitted: u64,
    /// Lines with a fault.
    pub invalid: u64,
    /// Good lines that could not be sent.
    pub failed: u64,
    /// Lines that say the same as an earlier one, which was sent once.
    pub repeated: u64,
    /// Messages sent that have no request_id.
    pub without_request_id: u64,
    /// Messages sent, by `urgent` … `bulk`.
    pub by_priority: BTreeMap<&'static str, u64>,
    /// Messages sent, by model.
    pub by_model: BTreeMap<String, u64>,
}

/// Where everything is, for the summary.
pub struct Around<'a> {
    /// The file, or `stdin`.
    pub source: &'a str,
    /// The input queue.
    pub input: &'a str,
    /// The results queue.
    pub results: &'a str,
    /// The flags that name the place.
    pub flags: &'a str,
    /// Whether no worker shows signs of life.
    pub idle: bool,
}

impl Report {
    pub fn sent(&mut self, message: &Message) {
        self.submitted += 1;
        self.without_request_id += u64::from(message.id.is_none());
        *self.by_priority.entry(message.priority.class()).or_default() += 1;
        *self.by_model.entry(message.model.as_str().to_owned()).or_default() += 1;
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The summary of a submit that was made.
    pub fn to_page(&self, around: &Around<'_>) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        self.write_page(&mut page, around).map(|()| page).unwrap_or_default()
    }

    fn write_page(&self, page: &mut String, around: &Around<'_>) -> std::fmt::Result {
        let Around { source, input, results, flags, idle } = around;
        writeln!(page, "{} sent to {}", count(self.submitted, "request"), short(input))?;
        if self.submitted > 0 {
            let classes = CLASSES.iter().filter_map(|class| Some((*class, *self.by_priority.get(class)?)));
            let classes: Vec<String> = classes.map(|(class, n)| format!("{} {class}", thousands(n))).collect();
            writeln!(page, "  Priority   {}", classes.join(" · "))?;
            for (place, (model, n)) in self.by_model.iter().enumerate() {
                let label = if place == 0 { "Model" } else { "" };
                writeln!(page, "  {label:<9}  {} {model}", thousands(*n))?;
            }
        }
        let mut notes = Vec::new();
        if self.invalid > 0 {
            notes.push(format!("{} invalid and not sent: see above.", lines(self.invalid)));
        }
        if self.repeated > 0 {
            let say = if self.repeated == 1 { "repeats an earlier one" } else { "repeat earlier ones" };
            notes.push(format!("{} {say}; what they ask was sent once.", count(self.repeated, "line")));
        }
        if self.without_request_id > 0 {
            notes.push(format!(
                "{} no request_id: submitting {source} again would run and charge them again. With a request_id of its own a request runs once, however often it is sent.",
                has(self.without_request_id)
            ));
        }
        for note in notes {
            for (place, line) in wrap(&note, WIDTH - 13).iter().enumerate() {
                writeln!(page, "  {:<9}  {line}", if place == 0 { "Note" } else { "" })?;
            }
        }
        if self.submitted > 0 {
            writeln!(page, "  Results    will be on {}", short(results))?;
            if *idle {
                writeln!(page, "\nNo worker is running here. Next\n  smoother run{flags}")?;
            } else {
                writeln!(page, "\nNext")?;
            }
            writeln!(page, "  smoother status{flags} --watch")?;
            writeln!(page, "  smoother results{flags} --follow --out results.jsonl")?;
        }
        Ok(())
    }
}

/// A queue's name for people: the last part of a URL.
fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn lines(n: u64) -> String {
    format!("{} {}", count(n, "line"), if n == 1 { "is" } else { "are" })
}

fn has(n: u64) -> String {
    format!("{} {}", count(n, "request"), if n == 1 { "has" } else { "have" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_went_where_and_what_to_do_next() {
        let report = Report {
            submitted: 1204,
            invalid: 1,
            failed: 0,
            repeated: 2,
            without_request_id: 12,
            by_priority: [("bulk", 4), ("urgent", 1200)].into(),
            by_model: [("amazon.nova-lite-v1:0".to_owned(), 1204)].into(),
        };
        let around = Around {
            source: "requests.jsonl",
            input: "https://sqs.us-east-1.amazonaws.com/1/smoother-input",
            results: "results",
            flags: " --local ./data",
            idle: true,
        };
        assert_eq!(
            report.to_page(&around),
            "\
1,204 requests sent to smoother-input
  Priority   1,200 urgent · 4 bulk
  Model      1,204 amazon.nova-lite-v1:0
  Note       1 line is invalid and not sent: see above.
  Note       2 lines repeat earlier ones; what they ask was sent once.
  Note       12 requests have no request_id: submitting requests.jsonl again would run and charge
             them again. With a request_id of its own a request runs once, however often it is sent.
  Results    will be on results

No worker is running here. Next
  smoother run --local ./data
  smoother status --local ./data --watch
  smoother results --local ./data --follow --out results.jsonl
"
        );
        assert_eq!(
            report.to_json(),
            r#"{"submitted":1204,"invalid":1,"failed":0,"repeated":2,"without_request_id":12,"by_priority":{"bulk":4,"urgent":1200},"by_model":{"amazon.nova-lite-v1:0":1204}}"#
        );
    }
}
