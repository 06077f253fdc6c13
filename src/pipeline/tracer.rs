//! Traces requests: ingest, wait, each call, record. One trace a request, whichever workers it passes through.
//!
//! The context travels with the request itself ([`Request::trace`]), so that a worker that takes it over goes on with the
//! same trace. Spans go through a bounded channel to one task that hands them over in batches. Nothing here waits for that
//! task, and what it cannot get rid of is dropped and counted: a collector that is down costs traces, never requests.

mod conventions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::conventions::Called;
use super::tally::Tally;
use crate::ports::{Span, Spans};
use crate::request::{Request, TraceContext};

/// Spans that may wait to be handed over.
const QUEUE: usize = 8192;
/// Spans handed over at a time.
const BATCH: usize = 512;
/// How long the first of a batch waits for others.
const LINGER: Duration = Duration::from_secs(2);
/// Tries of a batch, with pauses that double between them.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// The log tells of what was dropped at most this often.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// Makes spans. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Recording>>);

struct Recording {
    spans: mpsc::Sender<Span>,
    ratio: f64,
    worker: String,
    /// Dropped since the log told of it.
    dropped: Arc<AtomicU64>,
    tally: Arc<Tally>,
}

impl Tracer {
    /// Records nothing; the contexts of producers are passed on all the same.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// A tracer for `worker`, and the task that hands its spans over until every clone is dropped. Of the traces that begin
    /// here `ratio` (0 to 1) are recorded; of those that producers began, the ones that they record.
    pub fn new(
        spans: Arc<dyn Spans>,
        ratio: f64,
        worker: &str,
        tally: Arc<Tally>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let dropped = Arc::<AtomicU64>::default();
        let handover =
            Handover { spans, dropped: Arc::clone(&dropped), tally: Arc::clone(&tally), told: None, failing: false };
        let recording = Recording { spans: sender, ratio, worker: worker.to_owned(), dropped, tally };
        (Self(Some(Arc::new(recording))), handover.run(receiver))
    }

    /// What a new request's own trace context is to be, given what its message carries: a span of ingest below the producer's
    /// when there is a context that can be read, a new trace when there is none and chance says so.
    #[must_use]
    pub fn begin(&self, traceparent: Option<&str>) -> Option<TraceContext> {
        let parent = traceparent.and_then(TraceContext::parse);
        match (&self.0, parent) {
            // What is recorded nowhere here has no span of its own here.
            (None, parent) => parent,
            (Some(_), Some(parent)) if !parent.sampled => Some(parent),
            (Some(_), Some(parent)) => Some(parent.child()),
            (Some(recording), None) => (fastrand::f64() < recording.ratio).then(|| TraceContext::start(true)),
        }
    }

    /// A new span below that of a request's ingest; `None` when it is not recorded.
    fn below(&self, request: &Request) -> Option<TraceContext> {
        self.0.as_ref()?;
        request.trace_context().filter(|context| context.sampled).map(TraceContext::child)
    }

    fn record(&self, mut span: Span) {
        let Some(recording) = &self.0 else { return };
        span.attributes.push((conventions::WORKER, recording.worker.as_str().into()));
        if recording.spans.try_send(span).is_err() {
            recording.dropped.fetch_add(1, Ordering::Relaxed);
            recording.tally.spans_dropped(1);
        }
    }
}

/// Takes spans from the channel to where they go.
struct Handover {
    spans: Arc<dyn Spans>,
    dropped: Arc<AtomicU64>,
    tally: Arc<Tally>,
    told: Option<Instant>,
    failing: bool,
}

impl Handover {
    async fn run(mut self, mut receiver: mpsc::Receiver<Span>) {
        let mut batch = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut batch, 1).await > 0 {
            let until = Instant::now() + LINGER;
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                match tokio::time::timeout_at(until, receiver.recv_many(&mut batch, room)).await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => break,
                }
            }
            self.hand_over(std::mem::take(&mut batch), &receiver).await;
            self.tell();
        }
        self.told = None;
        self.tell();
    }

    async fn hand_over(&mut self, batch: Vec<Span>, receiver: &mpsc::Receiver<Span>) {
        let mut pause = PAUSE;
        for tries_left in (0..TRIES).rev() {
            let Err(error) = self.spans.export(batch.clone()).await else {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the trace collector takes spans again");
                }
                return;
            };
            if !std::mem::replace(&mut self.failing, true) {
                tracing::warn!(%error, "the trace collector does not take spans; what cannot wait any longer is dropped");
            }
            // A worker that ends does not wait for a collector to come back.
            if tries_left == 0 || !error.retryable || receiver.is_closed() {
                break;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.tally.spans_dropped(batch.len());
    }

    fn tell(&mut self) {
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        let spans = self.dropped.swap(0, Ordering::Relaxed);
        if spans > 0 {
            self.told = Some(Instant::now());
            tracing::warn!(spans, "spans were dropped: the trace collector is out of reach or too slow");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::clock::Timestamp;
    use crate::ports::{PortError, PortResult, SpanKind};

    /// Fails as often as it is told, then takes everything.
    #[derive(Default)]
    struct Collector {
        failures: Mutex<Vec<PortError>>,
        batches: Mutex<Vec<Vec<Span>>>,
    }

    #[async_trait]
    impl Spans for Collector {
        async fn export(&self, spans: Vec<Span>) -> PortResult<()> {
            if let Some(error) = self.failures.lock().unwrap().pop() {
                return Err(error);
            }
            self.batches.lock().unwrap().push(spans);
            Ok(())
        }
    }

    fn span(n: u64) -> Span {
        Span {
            context: TraceContext { trace_id: 1, span_id: n + 1, sampled: true },
            parent: None,
            name: "x",
            kind: SpanKind::Internal,
            start: Timestamp(0),
            end: Timestamp(1),
            attributes: vec![],
            error: None,
        }
    }

    fn dropped(tally: &Tally) -> usize {
        let page = tally.exposition(&super::super::tally::Standing::default());
        let line = page.lines().find_map(|line| line.strip_prefix("smoother_spans_dropped_total ")).unwrap();
        line.parse().unwrap()
    }

    #[test]
    fn the_producers_decision_is_honoured_and_new_traces_begin_by_chance() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let unrecorded = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let with = |ratio: f64| Tracer::new(Arc::<Collector>::default(), ratio, "w", Arc::default()).0;
        for (tracer, parent_kept) in [(Tracer::off(), true), (with(0.0), false), (with(1.0), false)] {
            let began = tracer.begin(Some(parent)).unwrap();
            assert_eq!(began.trace_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(began.to_string() == parent, parent_kept, "a span of its own only where it is recorded");
            assert_eq!(tracer.begin(Some(unrecorded)).unwrap().to_string(), unrecorded);
        }
        for malformed in [None, Some(""), Some("00-nonsense"), Some("\u{0}")] {
            assert_eq!(Tracer::off().begin(malformed), None);
            assert_eq!(with(0.0).begin(malformed), None);
            assert!(with(1.0).begin(malformed).is_some_and(|began| began.sampled));
        }
        let some = with(0.25);
        let began = (0..4000).filter(|_| some.begin(None).is_some()).count();
        assert!((800..1200).contains(&began), "{began} of 4,000 at a quarter");
    }

    #[tokio::test(start_paused = true)]
    async fn spans_go_in_batches_and_all_of_them_at_the_end() {
        let (collector, tally) = (Arc::<Collector>::default(), Arc::<Tally>::default());
        let (tracer, serve) = Tracer::new(Arc::clone(&collector) as _, 1.0, "w", Arc::clone(&tally));
        (0..1200).for_each(|n| tracer.record(span(n)));
        drop(tracer);
        serve.await;
        let sizes: Vec<usize> = collector.batches.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sizes, [512, 512, 176]);
        assert_eq!(dropped(&tally), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_comes_back_gets_what_waited() {
        let (collector, tally) = (Arc::<Collector>::default(), Arc::<Tally>::default());
        *collector.failures.lock().unwrap() = vec![PortError::transient("export", "503"); 3];
        let (tracer, serve) = Tracer::new(Arc::clone(&collector) as _, 1.0, "w", Arc::clone(&tally));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(serve);
        tracer.record(span(0));
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!((collector.batches.lock().unwrap().len(), dropped(&tally)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_is_down_costs_spans_and_holds_nobody_up() {
        let (collector, tally) = (Arc::<Collector>::default(), Arc::<Tally>::default());
        *collector.failures.lock().unwrap() = vec![PortError::transient("export", "refused"); 1000];
        let (tracer, serve) = Tracer::new(Arc::clone(&collector) as _, 1.0, "w", Arc::clone(&tally));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(serve);
        let began = Instant::now();
        (0..20_000).for_each(|n| tracer.record(span(n)));
        assert_eq!(began.elapsed(), Duration::ZERO, "nothing waits");
        assert!(dropped(&tally) >= 20_000 - QUEUE, "{}", dropped(&tally));
        drop(tracer);
        let ending = Instant::now();
        tasks.join_next().await;
        assert!(ending.elapsed() < Duration::from_secs(3), "one try of each batch at the end: {:?}", ending.elapsed());
        assert_eq!(dropped(&tally), 20_000);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_collector_refuses_is_not_repeated() {
        let (collector, tally) = (Arc::<Collector>::default(), Arc::<Tally>::default());
        *collector.failures.lock().unwrap() = vec![PortError::permanent("export", "HTTP 401")];
        let (tracer, serve) = Tracer::new(Arc::clone(&collector) as _, 1.0, "w", Arc::clone(&tally));
        tracer.record(span(0));
        drop(tracer);
        serve.await;
        assert_eq!((collector.batches.lock().unwrap().len(), dropped(&tally)), (0, 1));
    }
}
