//! Groups in the order that people read them.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::dimension::{Dimension, NONE, OTHERS, Value, Values};
use super::figures::{Figures, Sums};
use super::period::Period;
use crate::pipeline::spend::Usd;

/// One row of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its value in each dimension; `None` for having none, or for standing for others.
    pub key: Vec<(Dimension, Option<String>)>,
    /// How many groups it sums up, when it stands for others. Beyond 10,000 groups they are not counted: 0.
    pub others: Option<u64>,
    /// Its figures.
    pub figures: Figures,
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Rest<'a> {
            others: Option<u64>,
            #[serde(flatten)]
            figures: &'a Figures,
        }
        struct Key<'a>(&'a [(Dimension, Option<String>)]);
        impl Serialize for Key<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(Some(self.0.len()))?;
                for (dimension, value) in self.0 {
                    map.serialize_entry(dimension.name(), value)?;
                }
                map.end()
            }
        }
        #[derive(Serialize)]
        struct Whole<'a> {
            key: Key<'a>,
            #[serde(flatten)]
            rest: Rest<'a>,
        }
        let rest = Rest { others: self.others, figures: &self.figures };
        Whole { key: Key(&self.key), rest }.serialize(serializer)
    }
}

impl Group {
    /// What it is called in its last dimension, for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.key.last().map_or_else(String::new, |(dimension, value)| self.value_name(*dimension, value.as_deref()))
    }

    /// What a value of its key is called, for people.
    #[must_use]
    pub fn value_name(&self, dimension: Dimension, value: Option<&str>) -> String {
        let is_last = self.key.last().is_some_and(|(last, _)| *last == dimension);
        match (value, self.others) {
            (Some(value), _) if dimension == Dimension::Hour => {
                value.chars().skip(5).take(11).map(|c| if c == 'T' { ' ' } else { c }).collect()
            }
            (Some(value), _) if dimension == Dimension::Status => value.to_lowercase(),
            (Some(value), _) => value.to_owned(),
            (None, Some(0)) if is_last => "others".to_owned(),
            (None, Some(n)) if is_last => format!("others ({n})"),
            // A period in which nothing ended.
            (None, None) if self.figures.requests == 0 => "–".to_owned(),
            (None, _) => dimension.none().to_owned(),
        }
    }
}

/// Values in all dimensions; [`NONE`] where there is no second one.
pub(super) type Key = [Value; 2];

/// Orders groups, sums up what is not among the top ones, and adds the stretches of time in which nothing ended.
pub(super) fn arrange(
    mut groups: HashMap<Key, Sums>,
    values: &[Values],
    by: &[Dimension],
    lanes: &Values,
    (period, top): (Period, Option<usize>),
) -> Vec<Group> {
    if let Some(first) = values.first() {
        let known: std::collections::HashSet<Value> = groups.keys().map(|key| key[0]).collect();
        let empty = first.all(period).into_iter().filter(|value| !known.contains(value));
        groups.extend(empty.map(|value| ([value, NONE], Sums::default())));
    }
    let mut outer: HashMap<Value, (Usd, u64)> = HashMap::new();
    if by.len() > 1 {
        for (key, sums) in &groups {
            let sum = outer.entry(key[0]).or_default();
            sum.0 += sums.cost;
            sum.1 += sums.requests;
        }
    }
    let mut groups: Vec<(Key, Sums)> = groups.into_iter().collect();
    groups.sort_by(|(a, x), (b, y)| {
        let first = match outer.get(&a[0]).zip(outer.get(&b[0])) {
            Some((x, y)) => in_order(by[0], (a[0], *x), (b[0], *y), &values[0]),
            None => Ordering::Equal,
        };
        let last = by.len() - 1;
        first.then_with(|| {
            let (x, y) = ((a[last], (x.cost, x.requests)), (b[last], (y.cost, y.requests)));
            in_order(by[last], x, y, &values[last])
        })
    });
    let groups = if let Some(top) = top { cut(groups, top, by.len()) } else { uncut(groups, by.len()) };
    groups
        .into_iter()
        .map(|(key, sums, others)| {
            let name = |at: usize, value| match value {
                OTHERS if at + 1 < by.len() => Some("(others)".to_owned()),
                value => values[at].name(value),
            };
            let key = by.iter().zip(key).enumerate().map(|(at, (one, value))| (*one, name(at, value)));
            Group { key: key.collect(), others, figures: sums.told(lanes) }
        })
        .collect()
}

type Told = (Key, Sums, Option<u64>);

fn uncut(groups: Vec<(Key, Sums)>, dimensions: usize) -> Vec<Told> {
    let others = |key: &Key| (key[dimensions - 1] == OTHERS).then_some(0);
    groups.into_iter().map(|(key, sums)| (key, sums, others(&key))).collect()
}

/// Keeps the first `top` of each first value.
fn cut(groups: Vec<(Key, Sums)>, top: usize, dimensions: usize) -> Vec<Told> {
    let mut kept: Vec<Told> = Vec::new();
    let mut run = (None, 0);
    for (key, sums) in groups {
        let outer = (dimensions > 1).then_some(key[0]);
        run = if run.0 == Some(outer) { (run.0, run.1 + 1) } else { (Some(outer), 1) };
        if run.1 <= top {
            let others = (key[dimensions - 1] == OTHERS).then_some(0);
            kept.push((key, sums, others));
            continue;
        }
        match kept.last_mut() {
            Some((_, rest, Some(n))) if run.1 > top + 1 => {
                rest.merge(&sums);
                *n += 1;
            }
            _ => {
                let mut rest = Sums::default();
                rest.merge(&sums);
                let mut all = key;
                all[dimensions - 1] = OTHERS;
                kept.push((all, rest, Some(1)));
            }
        }
    }
    kept
}

/// By the dimension's own order if it has one; otherwise the dearest first, then the most frequent. Others come last.
fn in_order(
    dimension: Dimension,
    (a, x): (Value, (Usd, u64)),
    (b, y): (Value, (Usd, u64)),
    values: &Values,
) -> Ordering {
    if dimension.is_ordered() {
        return a.cmp(&b);
    }
    let last = |value: Value| value == OTHERS;
    last(a).cmp(&last(b)).then_with(|| y.cmp(&x)).then_with(|| values.name(a).cmp(&values.name(b)))
}
