//! Job control: what operators may do to what is queued. The command line is one user of it; programs may be others.

pub mod dead_letters;
