//! What the account may use, as the cloud lists it.

use async_trait::async_trait;

use super::PortResult;

/// One quota of Amazon Bedrock in this account and Region.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaRow {
    /// For people, and all there is to tell what it is for: `Cross-region model inference tokens per minute for Amazon Nova Lite`.
    pub name: String,
    /// The value in force.
    pub value: f64,
}

/// Where quotas can be looked up.
#[async_trait]
pub trait Quotas: Send + Sync {
    /// All of Bedrock's, in no order, those with their default values too. All or an error.
    async fn list(&self) -> PortResult<Vec<QuotaRow>>;
}
