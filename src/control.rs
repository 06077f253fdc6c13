//! Job control: what operators may do to what is queued. The command line is one user of it; programs may be others.

pub mod audit;
pub mod dead_letters;
pub mod filter;
pub mod jobs;
pub mod pauses;
mod walk;
