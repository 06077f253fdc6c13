//! `smoother report`: what was asked, how it went, what it cost, out of the reporting table.
//!
//! [`scan`] reads rows of a period page by page; an [`Aggregate`] takes them one by one and keeps sums by group, never rows;
//! [`Report`] is what it knows at the end. JSON is its serialisation; the command line has tables, CSV and a page for it.

mod aggregate;
mod dimension;
mod figures;
mod filter;
mod group;
mod period;
mod quantiles;
mod quota;
pub mod scan;
mod series;

use serde::Serialize;

pub use self::aggregate::Aggregate;
pub use self::dimension::Dimension;
pub use self::figures::{ErrorCount, Figures};
pub use self::filter::{Filter, ModelName};
pub use self::group::Group;
pub use self::period::{Buckets, Period};
pub use self::quantiles::Quantiles;
pub use self::quota::{LaneUse, Share};
pub use self::scan::Scan;
pub use self::series::{LanePoint, LaneSeries, Point, Series, Slice, Split};
use crate::clock::Timestamp;

/// Groups that are told apart; what comes later is summed up as others.
pub const MOST_GROUPS: usize = 10_000;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which time, by the end of the requests.
    pub period: Period,
    /// One or two dimensions; groups of the second are within groups of the first.
    pub by: Vec<Dimension>,
    /// Which requests.
    pub filter: Filter,
    /// Groups that are told (of the last dimension, within each of the one before); the rest is summed up.
    pub top: Option<usize>,
    /// Whether time series are wanted as well, for charts.
    pub series: bool,
}

/// Where and when a report was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The directory, or the table and its Region.
    pub place: String,
    /// When.
    pub generated_at: Timestamp,
    /// By which smoother.
    pub version: &'static str,
}

/// The answer. As JSON its names are stable; absent values are null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Where and when.
    #[serde(flatten)]
    pub origin: Origin,
    /// Requests that finished from here on …
    pub since: Timestamp,
    /// … and before this.
    pub until: Timestamp,
    /// What it is grouped by.
    pub by: Vec<Dimension>,
    /// Which requests.
    pub filters: Filter,
    /// All of them.
    pub total: Figures,
    /// Each lane that was called, the busiest first.
    pub lanes: Vec<LaneUse>,
    /// In the order that tables have.
    pub groups: Vec<Group>,
    /// For charts, when they were asked for.
    #[serde(skip)]
    pub series: Option<Series>,
    /// Rows of the period that the filters left out.
    #[serde(skip)]
    pub left_out: u64,
    /// What a filter may have meant that nothing matched.
    #[serde(skip)]
    pub hint: Option<String>,
}
