//! Sums over rows, group by group. Memory is bounded by groups, lanes and open minutes, never by rows.

use std::collections::HashMap;

use super::dimension::{Dimension, NONE, OTHERS, Value, Values};
use super::figures::Sums;
use super::filter::Met;
use super::group::{Key, arrange};
use super::quota::{Minutes, Owner};
use super::series::Series;
use super::{MOST_GROUPS, Origin, Question, Report};
use crate::clock::Timestamp;
use crate::ports::ReportRow;

/// The owner of all minutes.
const TOTAL: Owner = Owner::MAX;

/// A report in the making.
pub struct Aggregate {
    question: Question,
    values: Vec<Values>,
    lanes: Values,
    total: Sums,
    /// Where the groups' sums are.
    places: HashMap<Key, Owner>,
    groups: Vec<Sums>,
    minutes: Minutes,
    series: Option<Series>,
    left_out: u64,
    met: Met,
}

impl Aggregate {
    /// Of nothing yet.
    #[must_use]
    pub fn new(question: Question) -> Self {
        Self {
            values: question.by.iter().map(|dimension| Values::new(*dimension)).collect(),
            lanes: Values::new(Dimension::Lane),
            total: Sums::default(),
            places: HashMap::new(),
            groups: Vec::new(),
            minutes: Minutes::default(),
            series: question.series.then(|| Series::new(question.period)),
            left_out: 0,
            met: Met::default(),
            question,
        }
    }

    /// Takes a row in.
    pub fn add(&mut self, row: &ReportRow) {
        if !self.question.filter.takes(row) {
            self.left_out += 1;
            if self.total.requests == 0 {
                self.met.note(&self.question.filter, row);
            }
            return;
        }
        let group = self.group(row);
        self.total.add(row);
        self.groups[group as usize].add(row);
        if row.started_at.is_some() {
            let lane = self.lanes.number(&row.lane);
            self.minutes.add(row, lane, &[TOTAL, group]);
        }
        if let Some(series) = &mut self.series {
            series.add(row);
        }
    }

    /// Tells that all rows that ended before this have been taken in.
    pub fn complete(&mut self, until: Timestamp) {
        let Self { minutes, groups, total, series, lanes, .. } = self;
        minutes.close(until, |owner, lane, minute, cell| {
            let sums = if owner == TOTAL { Some(&mut *total) } else { groups.get_mut(owner as usize) };
            if let Some(sums) = sums {
                sums.uses.entry(lane).or_default().close(minute, &cell);
            }
            if let (TOTAL, Some(series)) = (owner, &mut *series) {
                series.close(lane, lanes, minute, &cell);
            }
        });
    }

    /// The answer.
    #[must_use]
    pub fn finish(mut self, origin: Origin) -> Report {
        self.complete(Timestamp(u64::MAX));
        let Question { period, by, filter, top, .. } = self.question;
        let mut sums: Vec<Option<Sums>> = self.groups.into_iter().map(Some).collect();
        let groups: HashMap<Key, Sums> =
            self.places.into_iter().filter_map(|(key, at)| Some((key, sums.get_mut(at as usize)?.take()?))).collect();
        Report {
            origin,
            since: period.since,
            until: period.until,
            total: self.total.told(&self.lanes),
            lanes: self.total.lanes(&self.lanes),
            groups: arrange(groups, &self.values, &by, &self.lanes, (period, top)),
            series: self.series,
            left_out: self.left_out,
            hint: if self.total.requests == 0 { self.met.hint(&filter) } else { None },
            by,
            filters: filter,
        }
    }

    /// Where the row's group is.
    fn group(&mut self, row: &ReportRow) -> Owner {
        let mut key: Key = [NONE; 2];
        for (part, values) in key.iter_mut().zip(&mut self.values) {
            *part = values.of(row);
        }
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        if self.places.len() >= MOST_GROUPS
            && let Some(last) = self.question.by.iter().rposition(|dimension| dimension.width().is_none())
        {
            key[last] = OTHERS;
        }
        let new = Value::try_from(self.groups.len()).unwrap_or(Owner::MAX - 1);
        let place = *self.places.entry(key).or_insert(new);
        if place == new {
            self.groups.push(Sums::default());
        }
        place
    }
}

#[cfg(test)]
#[path = "aggregate_tests.rs"]
mod tests;
