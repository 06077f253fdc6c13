//! smoother: a ranked, paced, exactly accounted stream of Amazon Bedrock calls.

pub mod clock;
mod nearest;
pub mod ports;
pub mod request;
pub mod simulator;
