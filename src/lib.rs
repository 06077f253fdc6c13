//! smoother: a ranked, paced, exactly accounted stream of Amazon Bedrock calls.

pub mod aws;
pub mod clock;
pub mod local;
pub mod ports;
pub mod request;
