//! Plays a streaming answer in time: beats of frames spread between the first token and the end, and then the ending.

use std::io;
use std::time::Duration;
use std::vec::IntoIter;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::call::Call;
use super::draw::{count, real, whole};
use super::fault::{AwsError, FaultKind};
use super::frames::exception;

/// How a response that is not an error leaves the server.
pub(super) enum Outcome {
    Answer(Response<Body>),
    /// The connection is closed without an answer.
    HangUp,
}

/// Most pieces an answer's text is cut into.
pub(super) const MOST_PIECES: u64 = 200;

struct Beat {
    at: Duration,
    bytes: Bytes,
    produced: u64,
}

enum Ending {
    Served,
    Failed(FaultKind),
}

struct Player {
    call: Option<Call>,
    beats: IntoIter<Beat>,
    start: Instant,
    ending: Option<Ending>,
}

/// A response that streams the frames of a whole answer, unless the call's fate cuts it short.
pub(super) fn play(call: Call, frames: Vec<Bytes>) -> Outcome {
    let (mut beats, mut ending) = (timed(&call, frames), Ending::Served);
    if let Some(fate) = call.fate {
        let keep = usize::try_from(whole(real(count(beats.len())) * fate.at)).unwrap_or(0);
        // The last beat has the metrics: a stream that has it is a whole one.
        beats.truncate(keep.min(beats.len().saturating_sub(1)));
        ending = Ending::Failed(fate.kind);
    }
    let player =
        Player { call: Some(call), beats: merged(beats).into_iter(), start: Instant::now(), ending: Some(ending) };
    let mut response = Response::new(Body::from_stream(futures_util::stream::unfold(player, Player::next)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.amazon.eventstream"));
    Outcome::Answer(response)
}

/// A response of which nothing but the head ever arrives.
pub(super) fn stall(call: Call) -> Outcome {
    let ending = Some(Ending::Failed(FaultKind::Stall));
    let player = Player { call: Some(call), beats: Vec::new().into_iter(), start: Instant::now(), ending };
    let mut response = Response::new(Body::from_stream(futures_util::stream::unfold(player, Player::next)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Outcome::Answer(response)
}

/// The first frame comes with the first token, the last at the end.
fn timed(call: &Call, frames: Vec<Bytes>) -> Vec<Beat> {
    let steps = real(count(frames.len().saturating_sub(1)).max(1));
    let span = call.latency.saturating_sub(call.first_token);
    let beat = |(at, bytes): (usize, Bytes)| {
        let share = real(count(at)) / steps;
        Beat { at: call.first_token + span.mul_f64(share), bytes, produced: whole(real(call.usage.output) * share) }
    };
    frames.into_iter().enumerate().map(beat).collect()
}

/// Beats of the same instant become one write.
fn merged(beats: Vec<Beat>) -> Vec<Beat> {
    let mut merged: Vec<(Duration, BytesMut, u64)> = Vec::new();
    for beat in beats {
        match merged.last_mut() {
            Some((at, bytes, produced)) if *at == beat.at => {
                bytes.extend_from_slice(&beat.bytes);
                *produced = beat.produced;
            }
            _ => merged.push((beat.at, BytesMut::from(&beat.bytes[..]), beat.produced)),
        }
    }
    merged.into_iter().map(|(at, bytes, produced)| Beat { at, bytes: bytes.freeze(), produced }).collect()
}

type Item = Result<Bytes, io::Error>;

impl Player {
    async fn next(mut self) -> Option<(Item, Self)> {
        match self.step().await {
            Some(Ok(bytes)) => Some((Ok(bytes), self)),
            // An error ends the connection: nothing comes after it.
            Some(Err(error)) => {
                self.call = None;
                Some((Err(error), self))
            }
            None => None,
        }
    }

    async fn step(&mut self) -> Option<Item> {
        let call = self.call.as_mut()?;
        if let Some(beat) = self.beats.next() {
            let wait = (self.start + beat.at).saturating_duration_since(Instant::now());
            if call.state.sleep(wait).await.is_err() {
                return Some(Err(io::ErrorKind::ConnectionReset.into()));
            }
            call.produced = beat.produced;
            // Settled before the client can know the end, so that whoever has the answer finds it in the books.
            if self.beats.len() == 0 && matches!(self.ending, Some(Ending::Served)) {
                self.ending = None;
                self.call.take()?.finish();
            }
            return Some(Ok(beat.bytes));
        }
        if matches!(self.ending, Some(Ending::Failed(FaultKind::Stall))) {
            call.stalled = true;
            let pause = Duration::from_secs_f64(call.state.catalog().settings.stall_s);
            // Whether the silence is over or the simulator stops, the connection breaks.
            call.state.sleep(pause).await.ok();
            return Some(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let call = self.call.take()?;
        match self.ending.take()? {
            Ending::Served => None,
            Ending::Failed(kind) => match call.fail(kind) {
                Some(error) => Some(Ok(in_stream(&error))),
                None => Some(Err(io::ErrorKind::ConnectionReset.into())),
            },
        }
    }
}

/// The names of errors amid a stream.
fn in_stream(error: &AwsError) -> Bytes {
    let shape = match error.status {
        424 | 408 => "ModelStreamErrorException",
        500 => "InternalServerException",
        429 => "ThrottlingException",
        400 => "ValidationException",
        _ => "ServiceUnavailableException",
    };
    exception(shape, &error.body())
}
