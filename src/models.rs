//! What is known of models: whether one may be asked for, its quota, its prices, and what a request will use.

mod catalog;
mod estimate;
mod prices;
mod profile;
mod quota_names;
mod quotas;

pub use self::catalog::{Catalog, ModelSpec, PRICES_AS_OF};
pub use self::estimate::{estimate, estimated_cost, expected_output};
pub use self::prices::{AsOf, Factors, Prices};
pub use self::profile::{bare_id, quota_id};
pub use self::quota_names::{Limits, Listed, QuotaTable};
pub use self::quotas::{ModelQuotas, QuotaChange, QuotaOrigin, QuotaSettings, Sourced};
