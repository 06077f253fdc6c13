//! What is known of models: whether one may be asked for, its quota, its prices, and what a request will use.

mod catalog;
mod estimate;
mod prices;
mod profile;

pub use self::catalog::{Catalog, ModelSpec, QuotaSettings};
pub use self::estimate::estimate;
pub use self::prices::Prices;
pub use self::profile::{bare_id, quota_id};
