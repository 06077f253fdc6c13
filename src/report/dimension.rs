//! What rows are grouped by.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::{MOST_GROUPS, Period};
use crate::clock::Timestamp;
use crate::ports::ReportRow;
use crate::request::{Priority, Status};

/// One of a row's properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// The UTC day of its end.
    Day,
    /// The UTC hour of its end.
    Hour,
    /// Whose.
    Tenant,
    /// The model that was (or would have been) called.
    Model,
    /// The use case it was asked by.
    UseCase,
    /// The priority's class.
    Priority,
    /// How it ended.
    Status,
    /// The quota it drew on.
    Lane,
    /// Its batch.
    Batch,
    /// Its error.
    Error,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Day,
        Self::Hour,
        Self::Tenant,
        Self::Model,
        Self::UseCase,
        Self::Priority,
        Self::Status,
        Self::Lane,
        Self::Batch,
        Self::Error,
    ];

    /// As the command line spells it.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Tenant => "tenant",
            Self::Model => "model",
            Self::UseCase => "use-case",
            Self::Priority => "priority",
            Self::Status => "status",
            Self::Lane => "lane",
            Self::Batch => "batch",
            Self::Error => "error",
        }
    }

    /// As JSON and CSV spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        if self == Self::UseCase { "use_case" } else { self.flag() }
    }

    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        if self == Self::UseCase { "use case" } else { self.flag() }
    }

    /// What a group without a value is called.
    #[must_use]
    pub fn none(self) -> &'static str {
        match self {
            Self::Model => "(no model: the message was refused)",
            Self::UseCase => "(no use case)",
            Self::Batch => "(no batch)",
            Self::Error => "(no error)",
            _ => "(none)",
        }
    }

    /// Length of its groups, if they are stretches of time.
    #[must_use]
    pub fn width(self) -> Option<Duration> {
        match self {
            Self::Day => Some(Duration::from_hours(24)),
            Self::Hour => Some(Duration::from_hours(1)),
            _ => None,
        }
    }

    /// Whether its groups have an order of their own.
    pub(super) fn is_ordered(self) -> bool {
        matches!(self, Self::Day | Self::Hour | Self::Priority | Self::Status)
    }
}

/// A value of a dimension by number. In the order of the values, where [`Dimension::is_ordered`].
pub(super) type Value = u32;
/// Stands for all values that are not told apart.
pub(super) const OTHERS: Value = u32::MAX;
/// Stands for having none.
pub(super) const NONE: Value = u32::MAX - 1;

/// Numbers the values of a dimension.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values {
    dimension: Dimension,
    numbers: HashMap<Box<str>, Value>,
    names: Vec<Box<str>>,
}

impl Values {
    pub(super) fn new(dimension: Dimension) -> Self {
        Self { dimension, numbers: HashMap::new(), names: Vec::new() }
    }

    pub(super) fn dimension(&self) -> Dimension {
        self.dimension
    }

    /// The value of a row.
    pub(super) fn of(&mut self, row: &ReportRow) -> Value {
        let text = match self.dimension {
            Dimension::Day | Dimension::Hour => return self.at(row.finished_at),
            Dimension::Priority => return class(&row.priority_class),
            Dimension::Status => return status(row.status),
            Dimension::Tenant => Some(row.tenant.as_str()),
            Dimension::Model => Some(row.model_id.as_str()),
            Dimension::UseCase => row.use_case.as_deref(),
            Dimension::Lane => Some(row.lane.as_str()),
            Dimension::Batch => row.batch_id.as_deref(),
            Dimension::Error => row.error_type.as_deref(),
        };
        match text {
            None | Some("") => NONE,
            Some(text) => self.number(text),
        }
    }

    /// The value of a time.
    pub(super) fn at(&self, at: Timestamp) -> Value {
        let width = self.dimension.width().unwrap_or(Duration::from_hours(1));
        let index = u128::from(at.0) / width.as_millis();
        Value::try_from(index).unwrap_or(NONE)
    }

    /// The values of all the time of a period, if this is about time.
    pub(super) fn all(&self, period: Period) -> Vec<Value> {
        let Some(width) = self.dimension.width() else { return Vec::new() };
        period.starts(width).map(|at| self.at(at)).collect()
    }

    /// The number of a name.
    pub(super) fn number(&mut self, name: &str) -> Value {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.names.len() >= MOST_GROUPS {
            return OTHERS;
        }
        let number = Value::try_from(self.names.len()).unwrap_or(OTHERS);
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        number
    }

    /// The inverse: what a value is called, as JSON has it. `None` for having none.
    pub(super) fn name(&self, value: Value) -> Option<String> {
        if value == NONE || value == OTHERS {
            return None;
        }
        let index = value as usize;
        match (self.dimension, self.dimension.width()) {
            (Dimension::Day, Some(width)) => Some((Timestamp(0) + width * value).day()),
            (_, Some(width)) => {
                let text = (Timestamp(0) + width * value).to_string();
                Some(text.replace(".000Z", "Z"))
            }
            (Dimension::Priority, _) => Priority::CLASSES.get(index).map(|class| (*class).to_owned()),
            (Dimension::Status, _) => Status::ALL.get(index).map(|status| status.as_str().to_owned()),
            _ => self.names.get(index).map(ToString::to_string),
        }
    }
}

fn class(name: &str) -> Value {
    let at = Priority::CLASSES.iter().position(|class| *class == name);
    at.and_then(|at| Value::try_from(at).ok()).unwrap_or(NONE)
}

fn status(status: Status) -> Value {
    let at = Status::ALL.iter().position(|one| *one == status);
    at.and_then(|at| Value::try_from(at).ok()).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_names() {
        let row = ReportRow {
            tenant: "acme".to_owned(),
            model_id: String::new(),
            status: Status::Expired,
            priority_class: "bulk".to_owned(),
            finished_at: Timestamp::parse("2026-11-21T09:30:00Z").unwrap(),
            error_type: Some("ValidationException".to_owned()),
            ..ReportRow::example()
        };
        let expected = [
            Some("2026-11-21"),
            Some("2026-11-21T09:00:00Z"),
            Some("acme"),
            None,
            None,
            Some("bulk"),
            Some("EXPIRED"),
            Some("default:us-east-1:m"),
            None,
            Some("ValidationException"),
        ];
        for (dimension, expected) in Dimension::ALL.into_iter().zip(expected) {
            let mut values = Values::new(dimension);
            let value = values.of(&row);
            assert_eq!(values.name(value).as_deref(), expected, "{dimension:?}");
            assert_eq!(values.of(&row), value);
        }
    }

    #[test]
    fn too_many_names_are_others() {
        let mut values = Values::new(Dimension::Tenant);
        let numbers: Vec<Value> = (0..=MOST_GROUPS).map(|n| values.number(&n.to_string())).collect();
        assert_eq!(numbers[MOST_GROUPS], OTHERS);
        assert_eq!(values.number("0"), 0, "a name that is known stays known");
    }
}
