//! smoother: a ranked, paced, exactly accounted stream of Amazon Bedrock calls.

pub mod aws;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod export;
pub mod health;
pub mod local;
pub mod models;
mod nearest;
pub mod pipeline;
pub mod ports;
pub mod request;
pub mod retry;
mod shell;
pub mod shutdown;
pub mod simulator;
pub mod telemetry;
pub mod webhook;
pub mod worker;
