//! Which requests: by id, or by what they have in common.

use std::collections::BTreeSet;

use clap::Args;

use super::times::{Moment, moment};
use crate::cli::Error;
use crate::cli::place::Place;
use crate::control::filter::{Filter, Priorities, Stand};
use crate::models::Catalog;
use crate::nearest::nearest;
use crate::ports::PortResult;
use crate::request::{ModelId, Priority, RequestId, Tenant};

/// Names in line that are listed when none is meant by a typo.
const LISTED: usize = 6;

/// Requests by id or by filter.
#[derive(Debug, Args)]
pub struct SelectionArgs {
    /// Just these requests
    #[arg(value_name = "ID", conflicts_with_all = [
        "tenant", "lane", "model", "use_case", "of_priority", "received_before", "received_after",
        "deadline_before", "deadline_after", "status", "all",
    ])]
    ids: Vec<String>,
    /// All that wait
    #[arg(long)]
    all: bool,
    /// Of this tenant
    #[arg(long, help_heading = "Filters, all of which must be true")]
    tenant: Option<String>,
    /// Of this lane (as in smoother status --json), or of all lanes of a model
    #[arg(long, help_heading = "Filters, all of which must be true")]
    lane: Option<String>,
    /// Of this model, by whatever name it was asked for
    #[arg(long, value_name = "ID", help_heading = "Filters, all of which must be true")]
    model: Option<String>,
    /// Asked by this use case
    #[arg(long, value_name = "NAME", help_heading = "Filters, all of which must be true")]
    use_case: Option<String>,
    /// Of this priority: urgent, high, normal, low or bulk with all numbers of the class, or one number
    #[arg(long, value_name = "P", value_parser = priorities, help_heading = "Filters, all of which must be true")]
    of_priority: Option<Priorities>,
    /// Received before this time, or longer ago than this
    #[arg(long, value_name = "TIME|AGO", value_parser = moment, help_heading = "Filters, all of which must be true")]
    received_before: Option<Moment>,
    /// Received at this time or later, or no longer ago than this
    #[arg(long, value_name = "TIME|AGO", value_parser = moment, help_heading = "Filters, all of which must be true")]
    received_after: Option<Moment>,
    /// With a deadline before this time, or less than this from now
    #[arg(long, value_name = "TIME|IN", value_parser = moment, help_heading = "Filters, all of which must be true")]
    deadline_before: Option<Moment>,
    /// With a deadline at this time or later, or this from now or later
    #[arg(long, value_name = "TIME|IN", value_parser = moment, help_heading = "Filters, all of which must be true")]
    deadline_after: Option<Moment>,
    /// That stand there: received, deferred, queued or running
    #[arg(long, value_name = "STATUS", value_parser = stand, help_heading = "Filters, all of which must be true")]
    status: Option<Stand>,
}

/// What was selected.
pub enum Selection {
    Ids(Vec<RequestId>),
    Matching(Filter),
}

/// For clap: a priority's number or name.
pub fn priority(text: &str) -> Result<Priority, String> {
    let number = text.parse().ok().and_then(Priority::from_number);
    number
        .or_else(|| Priority::from_name(text))
        .ok_or_else(|| "expected urgent, high, normal, low, bulk, or a number from 0 (first) to 9 (last)".to_owned())
}

/// For clap: a class with all its numbers, or one number.
pub fn priorities(text: &str) -> Result<Priorities, String> {
    let one = priority(text)?;
    Ok(if text.parse::<u64>().is_ok() { Priorities::Number(one) } else { Priorities::Class(one.class()) })
}

fn stand(text: &str) -> Result<Stand, String> {
    let all = [Stand::Received, Stand::Deferred, Stand::Queued, Stand::Running];
    let found = all.into_iter().find(|stand| stand.as_str() == text.to_lowercase());
    found.ok_or_else(|| "expected received, deferred, queued or running; what is final cannot be changed".to_owned())
}

/// A tenant's name from the command line.
pub fn tenant(text: &str) -> Result<Tenant, Error> {
    Tenant::new(text).map_err(|rule| Error::Said(format!("{text:?} is no tenant: {rule}")))
}

impl SelectionArgs {
    /// What is meant.
    pub fn read(&self, place: &Place) -> Result<Selection, Error> {
        if !self.ids.is_empty() {
            let mut seen = BTreeSet::new();
            let mut ids = Vec::new();
            for text in &self.ids {
                let id = RequestId::new(text.as_str())
                    .map_err(|rule| Error::Said(format!("{text:?} is no request_id: {rule}")))?;
                if seen.insert(id.clone()) {
                    ids.push(id);
                }
            }
            return Ok(Selection::Ids(ids));
        }
        let now = place.clock.now();
        let model = match &self.model {
            None => None,
            Some(text) => {
                let id =
                    ModelId::new(text.as_str()).map_err(|rule| Error::Said(format!("{text:?} is no model: {rule}")))?;
                let spec = Catalog::new(&place.config).spec(&id).map_err(|failure| Error::Said(failure.message))?;
                Some(spec.quota_id)
            }
        };
        let filter = Filter {
            tenant: self.tenant.as_deref().map(tenant).transpose()?,
            lane: self.lane.clone(),
            model,
            use_case: self.use_case.clone(),
            priority: self.of_priority,
            received_before: self.received_before.map(|at| at.ago(now)),
            received_after: self.received_after.map(|at| at.ago(now)),
            deadline_before: self.deadline_before.map(|at| at.ahead(now)),
            deadline_after: self.deadline_after.map(|at| at.ahead(now)),
            stand: self.status,
        };
        match (filter.is_empty(), self.all) {
            (true, false) => Err(Error::Said(
                "which requests? Name their IDs, give filters such as --tenant, or say --all for everything that waits"
                    .to_owned(),
            )),
            (false, true) => Err(Error::Said(format!(
                "--all means everything that waits, but there is a filter as well ({filter}): give one or the other"
            ))),
            _ => Ok(Selection::Matching(filter)),
        }
    }
}

/// Names of the backlog that a typo may have meant: of what is in line, and what comes closest.
pub async fn hint(place: &Place, filter: &Filter) -> PortResult<Option<String>> {
    let flows = place.ports.ledger.flows(None).await?;
    let tenants: BTreeSet<&str> = flows.iter().map(|flow| flow.tenant.as_str()).collect();
    let use_cases: BTreeSet<&str> = flows.iter().filter_map(|flow| flow.use_case.as_deref()).collect();
    let models: Vec<ModelId> = flows.iter().map(|flow| flow.lane.model()).collect();
    let lanes: BTreeSet<&str> =
        flows.iter().map(|flow| flow.lane.as_str()).chain(models.iter().map(ModelId::as_str)).collect();
    let wanted = [
        ("tenant", filter.tenant.as_ref().map(Tenant::as_str), tenants),
        ("use case", filter.use_case.as_deref(), use_cases),
        ("lane", filter.lane.as_deref(), lanes),
    ];
    for (what, name, known) in wanted {
        let Some(name) = name.filter(|name| !known.contains(name)) else { continue };
        let meant = match nearest(name, known.iter().copied()) {
            Some(near) => format!("; did you mean {near}?"),
            None if known.is_empty() || known.len() > LISTED => String::new(),
            None => format!("; what is: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        };
        return Ok(Some(format!("no request of {what} {name} is in line now{meant}")));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_numbers_or_classes() {
        assert_eq!(priorities("3"), Ok(Priorities::Number(Priority::from_number(3).unwrap())));
        assert_eq!(priorities("high"), Ok(Priorities::Class("high")));
        assert!(priorities("11").is_err() && priorities("hihg").is_err() && priority("-1").is_err());
        assert_eq!(stand("QUEUED"), Ok(Stand::Queued));
        assert!(stand("succeeded").unwrap_err().contains("final"));
    }
}
