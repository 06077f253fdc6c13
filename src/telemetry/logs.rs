//! Log lines: one JSON object a line for machines, one line of text for people, the same fields in both.
//!
//! What a span knows (the request that is worked on, its tenant, lane and trace) stands in every line that is written within
//! it, so that no place that logs has to think of it. What a line says itself counts more than what its span says.

use std::fmt;
use std::sync::OnceLock;

use serde::Serializer;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::request::{Request, RequestId, TraceContext};

static WORKER: OnceLock<String> = OnceLock::new();

/// Names the worker of this process, for every line from now on. The first one stays.
pub fn set_worker(name: &str) {
    WORKER.get_or_init(|| name.to_owned());
}

/// The span of work on a request. It is there whatever level is asked for.
#[must_use]
pub fn request_span(request: &Request) -> Span {
    let span = tracing::error_span!(
        "request",
        request_id = %request.id,
        tenant = %request.tenant,
        lane = %request.lane,
        trace_id = tracing::field::Empty,
        span_id = tracing::field::Empty,
    );
    note_trace(&span, request.trace_context());
    span
}

/// The span of work on what is not known to be a request yet, by the id of its message. [`note_request`] fills it in.
#[must_use]
pub fn message_span(message_id: &str) -> Span {
    use tracing::field::Empty;
    tracing::error_span!(
        "message",
        message_id,
        request_id = Empty,
        tenant = Empty,
        lane = Empty,
        trace_id = Empty,
        span_id = Empty
    )
}

/// The span of a held request, of which no more is known yet than its message says.
#[must_use]
pub fn held_span(id: &RequestId, lane: &crate::request::Lane) -> Span {
    use tracing::field::Empty;
    tracing::error_span!("request", request_id = %id, lane = %lane, tenant = Empty, trace_id = Empty, span_id = Empty)
}

/// What the span of the work at hand did not know before.
pub fn note_request(request: &Request) {
    let span = Span::current();
    span.record("request_id", tracing::field::display(&request.id));
    span.record("tenant", tracing::field::display(&request.tenant));
    span.record("lane", tracing::field::display(&request.lane));
    note_trace(&span, request.trace_context());
}

fn note_trace(span: &Span, context: Option<TraceContext>) {
    if let Some(context) = context {
        span.record("trace_id", context.trace_hex());
        span.record("span_id", context.span_hex());
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One JSON object a line: `timestamp`, `level`, `target`, `message`, `worker`, then what the line and its spans say.
    Json,
    /// Text for a terminal.
    Text,
}

/// What a span or a line says, in its order. Kept with the span.
#[derive(Clone, Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

/// Keeps what spans say for the lines within them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Keep {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut said = Fields::default();
        attributes.record(&mut said);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(said);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(said) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(said);
        }
    }
}

/// Writes lines.
#[derive(Clone, Debug)]
pub struct Lines {
    /// How.
    pub style: Style,
    /// When it is.
    pub clock: Clock,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.take("message").unwrap_or_default();
        for span in context.event_scope().into_iter().flatten() {
            if let Some(said) = span.extensions().get::<Fields>() {
                said.0.iter().for_each(|(name, value)| fields.add(name, value));
            }
        }
        let meta = event.metadata();
        let now = self.clock.now();
        match self.style {
            Style::Json => {
                let mut line: Vec<(&str, Value)> = vec![
                    ("timestamp", now.to_string().into()),
                    ("level", meta.level().as_str().into()),
                    ("target", meta.target().into()),
                    ("message", message),
                ];
                line.extend(WORKER.get().map(|worker| ("worker", worker.as_str().into())));
                let known = line.len();
                // What every line has is never replaced.
                for (name, value) in fields.0 {
                    if line.iter().take(known).all(|(there, _)| *there != name) {
                        line.push((name, value));
                    }
                }
                let mut bytes = Vec::with_capacity(256);
                serde_json::Serializer::new(&mut bytes).collect_map(line).map_err(|_| fmt::Error)?;
                writeln!(writer, "{}", String::from_utf8_lossy(&bytes))
            }
            Style::Text => {
                let color = match *meta.level() {
                    Level::ERROR => "31",
                    Level::WARN => "33",
                    Level::INFO => "32",
                    _ => "34",
                };
                let (on, dim, off) = if writer.has_ansi_escapes() {
                    (format!("\x1b[{color}m"), "\x1b[2m", "\x1b[0m")
                } else {
                    <_>::default()
                };
                write!(writer, "{dim}{now}{off} {on}{:>5}{off} {}", meta.level().as_str(), text(&message))?;
                for (name, value) in fields.0 {
                    write!(writer, " {dim}{name}={off}{}", text(&value))?;
                }
                writeln!(writer)
            }
        }
    }
}

/// Text as it is, on one line; everything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace('\n', " "),
        other => other.to_string(),
    }
}

/// What is absent is left out.
impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(name, _)| *name == field.name()) {
            Some((_, there)) => *there = value,
            None => self.0.push((field.name(), value)),
        }
    }

    /// Unless it is there.
    fn add(&mut self, name: &'static str, value: &Value) {
        if self.0.iter().all(|(there, _)| *there != name) {
            self.0.push((name, value.clone()));
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(there, _)| *there == name)?;
        Some(self.0.remove(at).1)
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::clock::Timestamp;

    #[derive(Clone, Default)]
    struct Pipe(Arc<Mutex<Vec<u8>>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(style: Style, act: impl FnOnce()) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).enable_time().build().unwrap();
        let _guard = runtime.enter();
        let (pipe, clock) = (Pipe::default(), Clock::anchored(Timestamp(1_795_252_123_456)));
        let writer = pipe.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(Lines { style, clock });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Keep).with(lines), act);
        let written = pipe.0.lock().unwrap().clone();
        String::from_utf8(written).unwrap().lines().map(str::to_owned).collect()
    }

    fn work() {
        let span = message_span("m-1");
        let _entered = span.enter();
        tracing::warn!("nothing known yet");
        Span::current().record("request_id", "r-1");
        tracing::info!(count = 3, ratio = 0.5, absent = None::<u64>, tenant = %"own", "two\nlines \"quoted\"");
    }

    #[test]
    fn a_line_is_one_object_with_what_its_span_knows() {
        let lines: Vec<Value> =
            logged(Style::Json, work).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [first, second] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(first["timestamp"], "2026-11-21T09:08:43.456Z");
        assert_eq!((&first["level"], &first["message_id"]), (&"WARN".into(), &"m-1".into()));
        assert!(first.get("request_id").is_none(), "{first}");
        assert_eq!(second["target"], "smoother::telemetry::logs::tests");
        assert_eq!(second["message"], "two\nlines \"quoted\"");
        let told = ["request_id", "tenant", "count", "ratio"].map(|name| second[name].clone());
        assert_eq!(Value::from(told.to_vec()), serde_json::json!(["r-1", "own", 3, 0.5]));
        assert!(second.get("absent").is_none(), "{second}");
    }

    #[test]
    fn people_get_the_same_on_one_line() {
        let lines = logged(Style::Text, work);
        assert_eq!(lines.len(), 2);
        let expected = "2026-11-21T09:08:43.456Z  INFO two lines \"quoted\" count=3 ratio=0.5 tenant=own message_id=m-1 request_id=r-1";
        assert_eq!(lines[1], expected);
    }
}
