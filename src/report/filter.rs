//! Which rows a report is about.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::control::filter::Priorities;
use crate::nearest::nearest;
use crate::ports::ReportRow;
use crate::request::Status;

/// Names that are remembered for hints.
const REMEMBERED: usize = 1_000;
/// Names that are listed when none is meant by a typo.
const LISTED: usize = 6;

/// A model by a name, and by the name of its quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelName {
    /// As it was given.
    pub given: String,
    /// What lanes call it.
    pub quota: String,
}

/// What must be true of a row: one of each list that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// Whose.
    #[serde(rename = "tenant", skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// The model used or asked for, by whatever name.
    #[serde(rename = "model", skip_serializing_if = "Vec::is_empty", serialize_with = "models")]
    pub models: Vec<ModelName>,
    /// The use case it was asked by.
    #[serde(rename = "use_case", skip_serializing_if = "Vec::is_empty")]
    pub use_cases: Vec<String>,
    /// Its priority.
    #[serde(rename = "priority", skip_serializing_if = "Vec::is_empty", serialize_with = "priorities")]
    pub priorities: Vec<Priorities>,
    /// How it ended.
    #[serde(rename = "status", skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<Status>,
    /// Its batch.
    #[serde(rename = "batch", skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<String>,
    /// The lane by its name, or the model whose lane it is.
    #[serde(rename = "lane", skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<String>,
    /// Its error, in whatever case.
    #[serde(rename = "error", skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

fn models<S: Serializer>(models: &[ModelName], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(models.iter().map(|model| &model.given))
}

fn priorities<S: Serializer>(priorities: &[Priorities], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(priorities.iter().map(ToString::to_string))
}

/// The model's part of a lane's name.
pub(super) fn lane_model(lane: &str) -> &str {
    lane.splitn(3, ':').nth(2).unwrap_or_default()
}

impl Filter {
    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a row matches.
    #[must_use]
    pub fn takes(&self, row: &ReportRow) -> bool {
        let one = |names: &[String], name: Option<&str>| {
            names.is_empty() || name.is_some_and(|name| names.iter().any(|one| one == name))
        };
        let model = |model: &ModelName| {
            [row.model_id.as_str(), row.asked_model_id.as_str()].contains(&model.given.as_str())
                || lane_model(&row.lane) == model.quota
        };
        let error = |error: &String| row.error_type.as_ref().is_some_and(|kind| kind.eq_ignore_ascii_case(error));
        one(&self.tenants, Some(&row.tenant))
            && one(&self.use_cases, row.use_case.as_deref())
            && one(&self.batches, row.batch_id.as_deref())
            && (self.models.is_empty() || self.models.iter().any(model))
            && (self.priorities.is_empty() || self.priorities.iter().any(|one| one.takes(row.priority)))
            && (self.statuses.is_empty() || self.statuses.contains(&row.status))
            && (self.lanes.is_empty()
                || self.lanes.iter().any(|lane| row.lane == *lane || lane_model(&row.lane) == lane))
            && (self.errors.is_empty() || self.errors.iter().any(error))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let models: Vec<String> = self.models.iter().map(|model| model.given.clone()).collect();
        let priorities: Vec<String> = self.priorities.iter().map(ToString::to_string).collect();
        let statuses: Vec<String> = self.statuses.iter().map(|status| status.as_str().to_lowercase()).collect();
        let lists = [
            ("tenant", &self.tenants),
            ("model", &models),
            ("use case", &self.use_cases),
            ("priority", &priorities),
            ("status", &statuses),
            ("batch", &self.batches),
            ("lane", &self.lanes),
            ("error", &self.errors),
        ];
        let parts = lists.iter().filter(|(_, list)| !list.is_empty());
        let parts: Vec<String> = parts.map(|(name, list)| format!("{name} {}", list.join(" or "))).collect();
        if parts.is_empty() { f.write_str("everything") } else { f.write_str(&parts.join(", ")) }
    }
}

/// Names that were met in rows that a filter left out.
#[derive(Default)]
pub(super) struct Met {
    tenants: BTreeSet<String>,
    models: BTreeSet<String>,
    use_cases: BTreeSet<String>,
    batches: BTreeSet<String>,
    lanes: BTreeSet<String>,
    errors: BTreeSet<String>,
}

impl Met {
    pub(super) fn note(&mut self, filter: &Filter, row: &ReportRow) {
        let asked = |yes: bool, name: &str, set: &mut BTreeSet<String>| {
            if yes && !name.is_empty() && set.len() < REMEMBERED && !set.contains(name) {
                set.insert(name.to_owned());
            }
        };
        let text = |name: &Option<String>| name.clone().unwrap_or_default();
        asked(!filter.tenants.is_empty(), &row.tenant, &mut self.tenants);
        asked(!filter.models.is_empty(), &row.model_id, &mut self.models);
        asked(!filter.use_cases.is_empty(), &text(&row.use_case), &mut self.use_cases);
        asked(!filter.batches.is_empty(), &text(&row.batch_id), &mut self.batches);
        asked(!filter.lanes.is_empty(), &row.lane, &mut self.lanes);
        asked(!filter.errors.is_empty(), &text(&row.error_type), &mut self.errors);
    }

    /// What a name may have meant that nothing has.
    pub(super) fn hint(&self, filter: &Filter) -> Option<String> {
        let models: Vec<String> = filter.models.iter().map(|model| model.given.clone()).collect();
        let wanted = [
            ("tenant", &filter.tenants, &self.tenants),
            ("model", &models, &self.models),
            ("use case", &filter.use_cases, &self.use_cases),
            ("batch", &filter.batches, &self.batches),
            ("lane", &filter.lanes, &self.lanes),
            ("error", &filter.errors, &self.errors),
        ];
        for (what, names, met) in wanted {
            let Some(name) = names.iter().find(|name| !met.contains(*name)) else { continue };
            let none = format!("No request of this period has the {what} {name:?}");
            return Some(match nearest(name, met.iter().map(String::as_str)) {
                Some(meant) => format!("{none}: did you mean {meant:?}?"),
                None if met.is_empty() => format!("{none}, or any {what}."),
                None => {
                    let listed: Vec<&str> = met.iter().take(LISTED).map(String::as_str).collect();
                    let more = if met.len() > LISTED { " and more" } else { "" };
                    format!("{none}; there are {}{more}.", listed.join(", "))
                }
            });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Priority;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_filter_takes_one_of_each_list_and_says_so() {
        let row = ReportRow {
            model_id: "us.m".to_owned(),
            asked_model_id: "us.dear".to_owned(),
            error_type: Some("ThrottlingException".to_owned()),
            ..ReportRow::example()
        };
        let model = |given: &str, quota: &str| ModelName { given: given.to_owned(), quota: quota.to_owned() };
        let filter = |change: &dyn Fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter
        };
        let takes: [(bool, Filter); 13] = [
            (true, Filter::default()),
            (true, filter(&|f| f.tenants = names(&["x", "t"]))),
            (false, filter(&|f| f.tenants = names(&["x"]))),
            (true, filter(&|f| f.models = vec![model("us.dear", "dear")])),
            (true, filter(&|f| f.models = vec![model("eu.m", "m")])),
            (false, filter(&|f| f.models = vec![model("other", "other")])),
            (false, filter(&|f| f.use_cases = names(&["chat"]))),
            (true, filter(&|f| f.priorities = vec![Priorities::Class("normal")])),
            (false, filter(&|f| f.priorities = vec![Priorities::Number(Priority::URGENT)])),
            (false, filter(&|f| f.statuses = vec![Status::Failed])),
            (true, filter(&|f| f.lanes = names(&["m"]))),
            (true, filter(&|f| f.errors = names(&["throttlingexception"]))),
            (false, filter(&|f| f.batches = names(&["b"]))),
        ];
        for (expected, filter) in takes {
            assert_eq!(filter.takes(&row), expected, "{filter}");
        }
        let both = filter(&|f| {
            f.tenants = names(&["a", "b"]);
            f.statuses = vec![Status::Failed];
        });
        assert_eq!(both.to_string(), "tenant a or b, status failed");
        assert_eq!(serde_json::to_value(&both).unwrap().to_string(), r#"{"status":["FAILED"],"tenant":["a","b"]}"#);
    }

    #[test]
    fn a_typo_is_pointed_out() {
        let filter = Filter { tenants: names(&["acne"]), ..Filter::default() };
        let mut met = Met::default();
        assert_eq!(
            met.hint(&filter).as_deref(),
            Some("No request of this period has the tenant \"acne\", or any tenant.")
        );
        met.note(&filter, &ReportRow { tenant: "acme".to_owned(), ..ReportRow::example() });
        assert_eq!(
            met.hint(&filter).as_deref(),
            Some("No request of this period has the tenant \"acne\": did you mean \"acme\"?")
        );
    }
}
