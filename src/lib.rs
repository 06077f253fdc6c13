//! smoother: a ranked, paced, exactly accounted stream of Amazon Bedrock calls.

pub mod clock;
pub mod config;
pub mod models;
mod nearest;
pub mod ports;
pub mod request;
