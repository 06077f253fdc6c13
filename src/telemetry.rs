//! How a process is seen from outside: its log lines, and its spans on their way to an OpenTelemetry collector.

pub mod logs;
pub mod otlp;
mod protobuf;
