//! A [`Transition`] as one conditional UpdateItem.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::item;
use super::places::{Place, key_prefix, sort_key};
use crate::aws::schema::requests as schema;
use crate::ports::PortResult;
use crate::ports::ledger::Transition;

/// The parts of an UpdateItem call.
#[derive(Debug)]
pub struct Update {
    pub expression: String,
    pub condition: String,
    pub names: HashMap<String, String>,
    pub values: HashMap<String, AttributeValue>,
}

/// Collects clauses. Attributes are always named by `#<name>`, since many names are reserved words.
#[derive(Default)]
struct Clauses {
    set: Vec<String>,
    add: Vec<String>,
    remove: Vec<String>,
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Clauses {
    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, placeholder: &str, value: AttributeValue) -> String {
        let placeholder = format!(":{placeholder}");
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    fn set(&mut self, attribute: &str, value: AttributeValue) {
        let clause = format!("{} = {}", self.name(attribute), self.value(attribute, value));
        self.set.push(clause);
    }

    /// Sets what is not there yet.
    fn keep(&mut self, attribute: &str, value: AttributeValue) {
        let (name, value) = (self.name(attribute), self.value(attribute, value));
        self.set.push(format!("{name} = if_not_exists({name}, {value})"));
    }

    fn add(&mut self, attribute: &str, amount: i64) {
        if amount != 0 {
            let clause = format!("{} {}", self.name(attribute), self.value(attribute, item::number(amount)));
            self.add.push(clause);
        }
    }

    fn remove(&mut self, attribute: &str) {
        let clause = self.name(attribute);
        self.remove.push(clause);
    }

    fn must_be(&mut self, attribute: &str, value: AttributeValue) {
        let clause = format!("{} = {}", self.name(attribute), self.value(&format!("if_{attribute}"), value));
        self.conditions.push(clause);
    }

    fn finish(self) -> Update {
        let parts = [("SET", self.set), ("ADD", self.add), ("REMOVE", self.remove)];
        let parts = parts.into_iter().filter(|(_, clauses)| !clauses.is_empty());
        let expression: Vec<String> = parts.map(|(verb, clauses)| format!("{verb} {}", clauses.join(", "))).collect();
        Update {
            expression: expression.join(" "),
            condition: self.conditions.join(" AND "),
            names: self.names,
            values: self.values,
        }
    }
}

/// Builds the call; `place` is where the row stands afterwards. `transition.from` must not be empty.
pub fn build(
    what: &str,
    transition: &Transition,
    place: Option<Place>,
    retention_seconds: u64,
    write_id: &str,
) -> PortResult<Update> {
    let mut clauses = Clauses::default();
    guards(&mut clauses, transition);
    clauses.set(item::WRITE_ID, item::text(write_id));
    clauses.set(item::STATUS, item::text(transition.to.as_str()));
    clauses.set(item::UPDATED_AT, item::time(transition.at));
    if let Some(place) = place {
        clauses.set(schema::INDEX_KEY, item::text(place.list));
        clauses.set(schema::INDEX_SORT, item::text(place.sort));
    } else {
        clauses.remove(schema::INDEX_KEY);
        clauses.remove(schema::INDEX_SORT);
        clauses.set(schema::TTL, item::expiry(transition.at, retention_seconds));
    }
    let patch = &transition.set;
    if let Some(ticket) = &patch.ticket {
        clauses.set(item::TICKET, item::text(ticket));
    }
    if let Some((claim, worker)) = &patch.claim {
        clauses.set(item::CLAIM, item::text(claim));
        clauses.set(item::WORKER, item::text(worker));
    }
    clauses.add(item::CLAIMS, patch.add_claims.into());
    clauses.add(item::ATTEMPTS, patch.add_attempts.into());
    clauses.add(item::THROTTLES, patch.add_throttles.into());
    let times = [
        (item::QUEUED_AT, patch.queued_at),
        (item::CLAIMED_AT, patch.claimed_at),
        (item::STARTED_AT, patch.started_at),
        (item::NOT_BEFORE, patch.not_before),
        (item::AT_RISK, patch.at_risk),
    ];
    for (name, at) in times {
        if let Some(at) = at {
            clauses.set(name, item::time(at));
        }
    }
    for (name, at) in [(item::FIRST_QUEUED_AT, patch.queued_at), (item::FIRST_STARTED_AT, patch.first_started_at)] {
        if let Some(at) = at {
            clauses.keep(name, item::time(at));
        }
    }
    if let Some(note) = &patch.note {
        let name = clauses.name(item::NOTES);
        let none = clauses.value("no_notes", AttributeValue::L(Vec::new()));
        let more = clauses.value(item::NOTES, AttributeValue::L(vec![item::note(note)]));
        clauses.set.push(format!("{name} = list_append(if_not_exists({name}, {none}), {more})"));
    }
    if let Some(request) = &patch.request {
        for (name, value) in item::request_attributes(what, request)? {
            match value {
                Some(value) => clauses.set(name, value),
                None => clauses.remove(name),
            }
        }
        if patch.at_risk.is_none() {
            clauses.remove(item::AT_RISK);
        }
    }
    if let Some(verdict) = &patch.verdict {
        clauses.set(item::VERDICT, item::json(what, verdict)?);
    } else if patch.clear_outcome {
        clauses.remove(item::VERDICT);
    }
    if let Some(outcome) = &patch.outcome {
        clauses.set(item::OUTCOME, item::json(what, outcome)?);
    } else if patch.clear_outcome {
        clauses.remove(item::OUTCOME);
        if !transition.to.is_terminal() {
            clauses.remove(schema::TTL);
        }
    }
    Ok(clauses.finish())
}

fn guards(clauses: &mut Clauses, transition: &Transition) {
    let status = clauses.name(item::STATUS);
    let from = transition.from.iter().enumerate();
    let from: Vec<String> =
        from.map(|(n, status)| clauses.value(&format!("from_{n}"), item::text(status.as_str()))).collect();
    clauses.conditions.push(format!("{status} IN ({})", from.join(", ")));
    if let Some(ticket) = &transition.if_ticket {
        clauses.must_be(item::TICKET, item::text(ticket));
    }
    if let Some(claim) = &transition.if_claim {
        clauses.must_be(item::CLAIM, item::text(claim));
    }
    if let Some(work) = &transition.if_work {
        // By prefix: the row may stand in a shard from before the number of shards was raised.
        let name = clauses.name(schema::INDEX_KEY);
        let prefix = clauses.value("if_list", item::text(key_prefix(&work.list)));
        clauses.conditions.push(format!("begins_with({name}, {prefix})"));
        clauses.must_be(schema::INDEX_SORT, item::text(sort_key(&work.sort, &transition.id)));
    }
    if let Some(at) = transition.if_updated_at {
        clauses.must_be(item::UPDATED_AT, item::time(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::ports::ledger::{Patch, Work, WorkList};
    use crate::request::{Failure, Note, RequestId, Status, Verdict};

    fn transition(to: Status, set: Patch) -> Transition {
        Transition {
            id: RequestId::new("r-1").unwrap(),
            from: &[Status::Received, Status::Queued],
            if_ticket: Some("t".to_owned()),
            if_claim: None,
            if_work: Some(Work { list: WorkList::Deferred, sort: "5".to_owned() }),
            if_updated_at: Some(Timestamp(8000)),
            to,
            at: Timestamp(9000),
            work: None,
            set,
        }
    }

    #[test]
    fn placeholders_and_their_definitions_agree() {
        let patch = Patch {
            ticket: Some("t2".to_owned()),
            claim: Some(("c".to_owned(), "w".to_owned())),
            add_claims: -1,
            add_attempts: 1,
            add_throttles: 2,
            queued_at: Some(Timestamp(1)),
            claimed_at: Some(Timestamp(2)),
            started_at: Some(Timestamp(2)),
            first_started_at: Some(Timestamp(2)),
            not_before: Some(Timestamp(3)),
            note: Some(Note { at: Timestamp(4), what: "x".to_owned() }),
            request: Some(Box::new(item::tests::row().request)),
            verdict: Some(Verdict {
                status: Status::Cancelled,
                failure: Failure { kind: "x".to_owned(), message: "y".to_owned(), retryable: true, field: None },
            }),
            at_risk: Some(Timestamp(5)),
            outcome: None,
            clear_outcome: false,
        };
        let place = Place { list: "held#1".to_owned(), sort: "7\tr-1".to_owned() };
        let update = build("t", &transition(Status::Running, patch), Some(place), 60, "w1").unwrap();
        let used: std::collections::BTreeSet<&str> = update
            .expression
            .split(|c: char| " ,()=".contains(c))
            .chain(update.condition.split(|c: char| " ,()=".contains(c)))
            .filter(|word| word.starts_with(['#', ':']))
            .collect();
        let defined = update.names.keys().chain(update.values.keys()).map(String::as_str).collect();
        assert_eq!(used, defined);
        assert_eq!(update.values[":ticket"], item::text("t2"));
        assert_eq!(update.values[":if_ticket"], item::text("t"));
        assert_eq!(update.values[":if_list"], item::text("deferred#"));
    }

    #[test]
    fn a_final_row_leaves_the_index_and_will_expire() {
        let update = build("t", &transition(Status::Expired, Patch::default()), None, 60, "w1").unwrap();
        assert!(update.expression.ends_with("REMOVE #work_list, #work_sort"), "{}", update.expression);
        assert_eq!(update.values[":expires_at"], item::number(69));
        assert!(!update.expression.contains("ADD"), "{}", update.expression);
    }

    #[test]
    fn a_row_that_is_brought_back_has_no_outcome_and_does_not_expire() {
        let set = Patch { clear_outcome: true, ..Patch::default() };
        let place = Place { list: "ready#lane#1".to_owned(), sort: "7\tr-1".to_owned() };
        let update = build("t", &transition(Status::Received, set), Some(place), 60, "w1").unwrap();
        assert!(update.expression.ends_with("REMOVE #verdict, #outcome, #expires_at"), "{}", update.expression);
        assert_eq!(update.names["#expires_at"], "expires_at");
    }
}
