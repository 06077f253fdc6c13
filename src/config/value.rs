//! Values of settings: how each kind is read from what was written, judged, and shown again.

use std::fmt;
use std::time::Duration;

use super::budgets::BudgetPolicy;
use super::units;
use crate::telemetry::otlp;

/// What was written, before anybody knows what it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    /// From the environment or a flag, where everything is text.
    Loose(String),
    /// From the file, where numbers and lists have types.
    Toml(toml::Value),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Loose(text) => text.clone(),
            Self::Toml(toml::Value::Table(_)) => return f.write_str("a table"),
            Self::Toml(value) => value.to_string(),
        };
        let short: String = text.chars().take(80).collect();
        write!(f, "{short}{}", if short.len() < text.len() { "…" } else { "" })
    }
}

/// A value that fits its setting.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Whole(u64),
    Number(f64),
    Span(Duration),
    Size(u64),
    List(Vec<String>),
    Flag(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Span(span) => f.write_str(&units::show_duration(*span)),
            Self::Size(bytes) => f.write_str(&units::show_size(*bytes)),
            Self::List(items) => f.write_str(&items.join(",")),
            Self::Flag(on) => write!(f, "{on}"),
        }
    }
}

impl Value {
    /// Numbers as numbers, lists as lists, all else as it would be written in the file.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Whole(number) => (*number).into(),
            Self::Number(number) => (*number).into(),
            Self::List(items) => items.clone().into(),
            Self::Flag(on) => (*on).into(),
            other => other.to_string().into(),
        }
    }
}

/// A text that no log and no `Debug` shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for where it is needed.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What a setting takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Text of a form.
    Text(Form),
    /// A whole number from the first to the second.
    Whole(u64, u64),
    /// Any number from the first to the second.
    Number(f64, f64),
    /// A duration from the first to the second, in milliseconds.
    Span(u64, u64),
    /// A size from the first to the second, in bytes.
    Size(u64, u64),
    /// Texts of a form.
    List(Form),
    /// On or off.
    Flag,
}

/// What a text must look like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Region,
    Email,
    Name,
    Namespace,
    Url,
    Table,
    Bucket,
    TopicArn,
    Listen,
    Model,
    ModelPattern,
    QuotaSource,
    BudgetPolicy,
    Headers,
}

impl Form {
    fn fits(self, text: &str) -> bool {
        let made_of = |more: &[u8]| text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b));
        let long = |least: usize, most: usize| (least..=most).contains(&text.len());
        match self {
            Self::Region => long(5, 32) && text.contains('-') && made_of(b"-"),
            Self::Email => {
                let parts = text.split_once('@');
                parts.is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.') && !domain.contains('@'))
                    && text.bytes().all(|b| b.is_ascii_graphic())
            }
            Self::Name => long(1, 128) && made_of(b"._-"),
            Self::Namespace => long(1, 128) && made_of(b"._-/") && !text.starts_with("AWS/"),
            Self::Url => {
                let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
                host.is_some_and(|h| !h.is_empty() && !h.starts_with('/')) && text.bytes().all(|b| b.is_ascii_graphic())
            }
            Self::Table => long(3, 255) && made_of(b"._-"),
            Self::Bucket => {
                long(3, 63)
                    && made_of(b".-")
                    && !text.contains("..")
                    && !text.starts_with(['.', '-'])
                    && !text.bytes().any(|b| b.is_ascii_uppercase())
            }
            Self::TopicArn => text.starts_with("arn:") && text.split(':').count() == 6 && text.contains(":sns:"),
            Self::Listen => text.parse::<std::net::SocketAddr>().is_ok(),
            Self::QuotaSource => matches!(text, "service-quotas" | "settings"),
            Self::BudgetPolicy => BudgetPolicy::parse(text).is_some(),
            Self::Headers => otlp::pairs(text).is_some(),
            Self::Model | Self::ModelPattern => long(1, 2048) && text.bytes().all(|b| b.is_ascii_graphic()),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Region => "an AWS Region such as us-east-1",
            Self::Email => "an e-mail address",
            Self::Name => "1 to 128 characters of A-Z a-z 0-9 . _ -",
            Self::Namespace => "1 to 128 characters of A-Z a-z 0-9 . _ - /, not beginning with AWS/",
            Self::Url => "a URL that starts with https:// or http://",
            Self::Table => "a DynamoDB table name: 3 to 255 characters of A-Z a-z 0-9 . _ -",
            Self::Bucket => "an S3 bucket name: 3 to 63 characters of a-z 0-9 . -",
            Self::TopicArn => "the ARN of an SNS topic, arn:aws:sns:REGION:ACCOUNT:NAME",
            Self::Listen => "an IP address and a port such as 127.0.0.1:8080",
            Self::Model => "a Bedrock model id, inference profile id or ARN",
            Self::ModelPattern => "a model id, or a pattern with * for any characters",
            Self::QuotaSource => "service-quotas or settings",
            Self::BudgetPolicy => "delay, reject or downgrade",
            Self::Headers => "pairs NAME=VALUE with commas in between, values percent-encoded where they hold a comma",
        }
    }
}

impl Kind {
    /// The value that was written, if it fits.
    pub(super) fn read(self, raw: &Raw) -> Option<Value> {
        match self {
            Self::Text(form) => text(raw).filter(|t| form.fits(t)).map(Value::Text),
            Self::Whole(least, most) => whole(raw).filter(|n| (least..=most).contains(n)).map(Value::Whole),
            Self::Number(least, most) => number(raw).filter(|n| (least..=most).contains(n)).map(Value::Number),
            Self::Span(least, most) => {
                let range = Duration::from_millis(least)..=Duration::from_millis(most);
                united(raw).and_then(|t| units::duration(&t)).filter(|d| range.contains(d)).map(Value::Span)
            }
            Self::Size(least, most) => united(raw)
                .and_then(|t| units::size(&t))
                .filter(|bytes| (least..=most).contains(bytes))
                .map(Value::Size),
            Self::List(form) => list(raw).filter(|items| items.iter().all(|i| form.fits(i))).map(Value::List),
            Self::Flag => flag(raw).map(Value::Flag),
        }
    }

    /// What would fit, in words.
    pub(super) fn expected(self) -> String {
        match self {
            Self::Text(form) => form.expected().to_owned(),
            Self::Whole(least, u64::MAX) => format!("a whole number from {least}"),
            Self::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Self::Number(least, f64::MAX) => format!("a number from {least}"),
            Self::Number(least, most) => format!("a number from {least} to {most}"),
            Self::Span(least, most) => {
                let show = |millis| units::show_duration(Duration::from_millis(millis));
                format!("a duration from {} to {}, such as 90s, 5m or 500ms", show(least), show(most))
            }
            Self::Size(least, most) => {
                format!("a size from {} to {}, such as 256KiB or 1MB", units::show_size(least), units::show_size(most))
            }
            Self::List(form) => format!("a list; each item {}", form.expected()),
            Self::Flag => "true or false".to_owned(),
        }
    }
}

fn text(raw: &Raw) -> Option<String> {
    match raw {
        Raw::Loose(text) | Raw::Toml(toml::Value::String(text)) => Some(text.trim().to_owned()),
        Raw::Toml(_) => None,
    }
}

fn whole(raw: &Raw) -> Option<u64> {
    match raw {
        Raw::Loose(text) => text.trim().replace('_', "").parse().ok(),
        Raw::Toml(toml::Value::Integer(number)) => u64::try_from(*number).ok(),
        Raw::Toml(_) => None,
    }
}

fn number(raw: &Raw) -> Option<f64> {
    match raw {
        Raw::Loose(text) => text.trim().replace('_', "").parse().ok().filter(|n: &f64| n.is_finite()),
        Raw::Toml(toml::Value::Integer(number)) => Some(*number as f64),
        Raw::Toml(toml::Value::Float(number)) => Some(*number).filter(|n| n.is_finite()),
        Raw::Toml(_) => None,
    }
}

/// A number with or without a unit.
fn united(raw: &Raw) -> Option<String> {
    match raw {
        Raw::Toml(toml::Value::Integer(number)) => Some(number.to_string()),
        Raw::Toml(toml::Value::Float(number)) => Some(number.to_string()),
        _ => text(raw),
    }
}

fn list(raw: &Raw) -> Option<Vec<String>> {
    match raw {
        Raw::Loose(text) => {
            Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
        }
        Raw::Toml(toml::Value::Array(items)) => items.iter().map(|i| i.as_str().map(str::to_owned)).collect(),
        Raw::Toml(_) => None,
    }
}

fn flag(raw: &Raw) -> Option<bool> {
    match raw {
        Raw::Loose(text) => text.trim().parse().ok(),
        Raw::Toml(toml::Value::Boolean(on)) => Some(*on),
        Raw::Toml(_) => None,
    }
}

/// A field of a configuration struct that a value can be put in.
pub(super) trait Field {
    /// Takes the value; one of another kind changes nothing, which a test of all settings rules out.
    fn put(&mut self, value: Value);
}

macro_rules! field {
    ($type:ty, $pattern:pat => $taken:expr) => {
        impl Field for $type {
            fn put(&mut self, value: Value) {
                if let $pattern = value {
                    *self = $taken;
                }
            }
        }
    };
}

field!(String, Value::Text(text) => text);
field!(Secret, Value::Text(text) => Secret(text));
field!(Vec<String>, Value::List(items) => items);
field!(Duration, Value::Span(span) => span);
field!(BudgetPolicy, Value::Text(text) => BudgetPolicy::parse(&text).unwrap_or_default());
field!(bool, Value::Flag(on) => on);
field!(f64, Value::Number(number) => number);
field!(u64, Value::Whole(number) | Value::Size(number) => number);
field!(u32, Value::Whole(number) => u32::try_from(number).unwrap_or(u32::MAX));

impl<T: Field + Default> Field for Option<T> {
    fn put(&mut self, value: Value) {
        self.get_or_insert_default().put(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loose(text: &str) -> Raw {
        Raw::Loose(text.to_owned())
    }

    fn toml(text: &str) -> Raw {
        let mut table: toml::Table = toml::from_str(&format!("x = {text}")).unwrap();
        Raw::Toml(table.remove("x").unwrap())
    }

    #[test]
    fn each_kind_takes_what_fits_and_nothing_else() {
        use Kind::{Flag, List, Number, Size, Span, Text, Whole};
        let text = |t: &str| Some(Value::Text(t.to_owned()));
        for (kind, raw, expected) in [
            (Whole(1, 9), loose("9"), Some(Value::Whole(9))),
            (Whole(1, 9), loose("10"), None),
            (Whole(0, 10_000), loose("10_000"), Some(Value::Whole(10_000))),
            (Whole(1, 9), toml("3"), Some(Value::Whole(3))),
            (Whole(1, 9), toml("\"3\""), None),
            (Whole(1, 9), toml("-3"), None),
            (Whole(1, 9), toml("true"), None),
            (Number(0.0, 1.0), loose("0.5"), Some(Value::Number(0.5))),
            (Number(0.0, 1.0), toml("1"), Some(Value::Number(1.0))),
            (Number(0.0, f64::MAX), toml("inf"), None),
            (Number(0.0, f64::MAX), loose("NaN"), None),
            (Span(0, 60_000), toml("5"), Some(Value::Span(Duration::from_secs(5)))),
            (Span(0, 60_000), toml("0.5"), Some(Value::Span(Duration::from_millis(500)))),
            (Span(0, 60_000), toml("\"1m\""), Some(Value::Span(Duration::from_mins(1)))),
            (Span(0, 60_000), loose("61s"), None),
            (Size(0, 1000), loose("1KB"), Some(Value::Size(1000))),
            (Size(0, 1000), loose("1KiB"), None),
            (List(Form::Bucket), loose("aaa, bbb,"), Some(Value::List(vec!["aaa".to_owned(), "bbb".to_owned()]))),
            (List(Form::Bucket), toml("[\"aaa\"]"), Some(Value::List(vec!["aaa".to_owned()]))),
            (List(Form::Bucket), toml("[\"a b\"]"), None),
            (List(Form::Bucket), toml("[1]"), None),
            (List(Form::Bucket), toml("[\"Aaa\"]"), None),
            (List(Form::Bucket), toml("\"aaa\""), None),
            (Text(Form::Namespace), loose("Smoother/eu"), text("Smoother/eu")),
            (Text(Form::Namespace), loose("AWS/SQS"), None),
            (Text(Form::Namespace), loose("two words"), None),
            (Text(Form::Region), loose("eu-west-1"), text("eu-west-1")),
            (Text(Form::Region), loose("Ireland"), None),
            (Text(Form::Email), loose("on-call@example.com"), text("on-call@example.com")),
            (Text(Form::Email), loose("on-call"), None),
            (Text(Form::Url), loose("http://127.0.0.1:9000/x"), text("http://127.0.0.1:9000/x")),
            (Text(Form::Url), loose("localhost:9000"), None),
            (
                Text(Form::TopicArn),
                loose("arn:aws:sns:us-east-1:123456789012:alarms"),
                text("arn:aws:sns:us-east-1:123456789012:alarms"),
            ),
            (Text(Form::TopicArn), loose("alarms"), None),
            (Text(Form::Listen), loose("[::]:8080"), text("[::]:8080")),
            (Text(Form::Listen), loose("localhost:8080"), None),
            (Text(Form::Listen), loose("8080"), None),
            (Text(Form::Headers), loose("authorization=Bearer%20x,a=b"), text("authorization=Bearer%20x,a=b")),
            (Text(Form::Headers), loose("authorization"), None),
            (Flag, loose(" true"), Some(Value::Flag(true))),
            (Flag, toml("false"), Some(Value::Flag(false))),
            (Flag, loose("1"), None),
            (Flag, toml("\"true\""), None),
        ] {
            assert_eq!(kind.read(&raw), expected, "{kind:?} {raw:?}");
        }
    }

    #[test]
    fn long_values_are_cut_in_faults() {
        assert_eq!(loose(&"x".repeat(90)).to_string(), format!("{}…", "x".repeat(80)));
        assert_eq!(toml("[1, \"a\"]").to_string(), "[1, \"a\"]");
    }
}
