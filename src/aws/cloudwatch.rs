//! Metrics on CloudWatch: up to 1,000 data and 1 MB a call, each datum a statistic set.
//!
//! CloudWatch adds up what it is sent twice, so nothing is repeated that may have been taken.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::SdkError;
use aws_sdk_cloudwatch::operation::put_metric_data::PutMetricDataError;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit, StatisticSet};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::errors::{causes, code_of, port_error};
use crate::ports::{Datum, Metrics, PortError, Undelivered, Unit};

/// Data of one PutMetricData.
const MAX_DATA: usize = 1000;
/// Their bytes, with room to the 1 MB that CloudWatch takes.
const MAX_BYTES: usize = 900_000;
/// What a datum takes besides its texts: the names of all its fields and its numbers, as the longest encoding writes them.
const DATUM_BYTES: usize = 600;
/// The longest value of a dimension.
const MAX_VALUE: usize = 1024;
/// Tries of a call that CloudWatch refused unread.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);

type Failed = SdkError<PutMetricDataError, HttpResponse>;

/// Metrics in one namespace.
#[derive(Clone, Debug)]
pub struct CloudWatchMetrics {
    client: Client,
    namespace: String,
}

/// What became of the data of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// CloudWatch has not taken them: they may be sent again.
    NotTaken,
    /// It refused what they say, and would again.
    Refused,
    /// Nobody knows whether it has taken them.
    Unknown,
}

impl CloudWatchMetrics {
    /// On a client whose own retries are off.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    async fn put_call(&self, data: Vec<MetricDatum>) -> Result<(), (PortError, Fate)> {
        let mut pause = PAUSE;
        for tries_left in (0..TRIES).rev() {
            let call = self.client.put_metric_data().namespace(&self.namespace);
            let Err(error) = call.set_metric_data(Some(data.clone())).send().await else { return Ok(()) };
            let throttled =
                matches!(code_of(&error), Some("Throttling" | "ThrottlingException" | "RequestLimitExceeded"));
            if !throttled || tries_left == 0 {
                return Err((port_error("cloudwatch put metrics", &error), fate(&error)));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }
}

/// In doubt nobody knows: a minute that is missing misleads less than one that counts twice.
fn fate(error: &Failed) -> Fate {
    match error {
        SdkError::ConstructionFailure(_) => Fate::NotTaken,
        SdkError::DispatchFailure(failure) if failure.is_user() || never_connected(error) => Fate::NotTaken,
        SdkError::ServiceError(service) => {
            let malformed = |code: &str| ["Invalid", "Missing", "Validation"].iter().any(|kind| code.starts_with(kind));
            match service.raw().status().as_u16() {
                400..500 if code_of(error).is_some_and(|code| malformed(code) && !code.contains("Token")) => {
                    Fate::Refused
                }
                400..500 | 503 => Fate::NotTaken,
                _ => Fate::Unknown,
            }
        }
        _ => Fate::Unknown,
    }
}

/// Whether a call came to nothing before there was a connection: no address, nobody there, no credentials.
fn never_connected(error: &Failed) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(io, Some(ConnectionRefused | HostUnreachable | NetworkDown | NetworkUnreachable)) {
            return true;
        }
        next = cause.source();
    }
    let causes = causes(error);
    ["dns error", "failed to lookup", "HTTP connect timeout", "credential"].iter().any(|known| causes.contains(known))
}

/// `None` for numbers that CloudWatch refuses: they would take the whole call down with them.
fn datum(of: &Datum) -> Option<MetricDatum> {
    let finite = [of.count, of.sum, of.min, of.max].iter().all(|n| n.is_finite());
    if !finite || of.count <= 0.0 {
        return None;
    }
    let dimensions = of.dimensions.iter().filter(|(_, value)| !value.is_empty());
    let dimensions = dimensions.map(|(n, v)| Dimension::builder().name(*n).value(short(v)).build());
    let statistics = StatisticSet::builder().sample_count(of.count).sum(of.sum).minimum(of.min).maximum(of.max).build();
    let millis = i64::try_from(of.at.0).unwrap_or(i64::MAX);
    Some(
        MetricDatum::builder()
            .metric_name(of.name)
            .set_dimensions(Some(dimensions.collect()))
            .timestamp(DateTime::from_millis(millis))
            .unit(match of.unit {
                Unit::Count => StandardUnit::Count,
                Unit::Milliseconds => StandardUnit::Milliseconds,
                Unit::Percent => StandardUnit::Percent,
                Unit::None => StandardUnit::None,
            })
            .statistic_values(statistics)
            .build(),
    )
}

fn short(value: &str) -> String {
    value.chars().take(MAX_VALUE).collect()
}

/// How long a datum is in a call, at most.
fn bytes(of: &Datum) -> usize {
    let dimensions = of.dimensions.iter().map(|(name, value)| name.len() + value.len().min(MAX_VALUE) + 100);
    DATUM_BYTES + of.name.len() + dimensions.sum::<usize>()
}

/// Splits data into calls, in order.
fn calls(data: Vec<Datum>) -> Vec<Vec<Datum>> {
    let mut calls: Vec<Vec<Datum>> = Vec::new();
    let mut room = 0;
    for datum in data {
        let size = bytes(&datum);
        match calls.last_mut() {
            Some(call) if call.len() < MAX_DATA && size <= room => {
                room -= size;
                call.push(datum);
            }
            _ => {
                room = MAX_BYTES.saturating_sub(size);
                calls.push(vec![datum]);
            }
        }
    }
    calls
}

#[async_trait]
impl Metrics for CloudWatchMetrics {
    /// Data without samples, and sums that are not numbers, are left out.
    async fn put(&self, data: Vec<Datum>) -> Result<(), Undelivered> {
        let data = data.into_iter().filter(|of| datum(of).is_some()).collect();
        let mut calls = calls(data).into_iter();
        let mut refused: Option<Undelivered> = None;
        while let Some(call) = calls.next() {
            let Err((error, fate)) = self.put_call(call.iter().filter_map(datum).collect()).await else { continue };
            let lost = refused.as_ref().map_or(0, |earlier| earlier.lost);
            match fate {
                // What another call says may well be taken.
                Fate::Refused => refused = Some(Undelivered { error, data: Vec::new(), lost: lost + call.len() }),
                Fate::NotTaken => {
                    let data = call.into_iter().chain(calls.flatten()).collect();
                    return Err(Undelivered { error, data, lost });
                }
                Fate::Unknown => {
                    return Err(Undelivered { error, data: calls.flatten().collect(), lost: lost + call.len() });
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::clients::{Clients, emulator_config};
    use crate::aws::test_server::{Canned, Server};
    use crate::clock::Timestamp;

    fn sample(sum: f64, count: f64) -> Datum {
        let dimensions = vec![("Lane", "a".to_owned()), ("Tenant", String::new())];
        Datum {
            name: "QueueWait",
            dimensions,
            at: Timestamp(1500),
            unit: Unit::Milliseconds,
            count,
            sum,
            min: 1.0,
            max: 2.0,
        }
    }

    fn metrics(url: &str) -> CloudWatchMetrics {
        CloudWatchMetrics::new(Clients::new(&emulator_config(url, "us-east-1").unwrap()).cloudwatch, "Smoother")
    }

    fn refusal(status: u16, code: &str) -> Canned {
        let named = format!("{code};Sender");
        (status, vec![("x-amzn-query-error", named), ("smithy-protocol", "rpc-v2-cbor".to_owned())], vec![0xa0])
    }

    /// The length of the map that RPC v2 CBOR writes without an answer's members.
    fn taken() -> Canned {
        (200, vec![("smithy-protocol", "rpc-v2-cbor".to_owned())], vec![0xa0])
    }

    fn many(count: usize) -> Vec<Datum> {
        (0..count).map(|n| Datum { at: Timestamp(n as u64), ..sample(1.0, 1.0) }).collect()
    }

    #[test]
    fn a_datum_becomes_a_statistic_set() {
        let built = datum(&sample(3.0, 2.0)).unwrap();
        assert_eq!(built.statistic_values().and_then(StatisticSet::sample_count), Some(2.0));
        assert_eq!(built.dimensions().len(), 1);
        assert_eq!(built.timestamp().and_then(|t| t.to_millis().ok()), Some(1500));
        let long = Datum { dimensions: vec![("Lane", "x".repeat(3000))], ..sample(1.0, 1.0) };
        assert_eq!(datum(&long).unwrap().dimensions()[0].value().map(str::len), Some(1024));
    }

    #[test]
    fn what_cloudwatch_refuses_is_left_out() {
        assert!(datum(&sample(f64::NAN, 1.0)).is_none());
        assert!(datum(&sample(0.0, 0.0)).is_none());
    }

    #[test]
    fn a_call_has_at_most_a_thousand_data_and_a_megabyte() {
        let sizes = |data| calls(data).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(many(2001)), [1000, 1000, 1]);
        let long = Datum { dimensions: vec![("Lane", "x".repeat(1024))], ..sample(1.0, 1.0) };
        let split = calls(vec![long; 1000]);
        assert_eq!(split.len(), 2, "{} bytes each", bytes(&split[0][0]));
        assert!(split.iter().all(|call| call.iter().map(bytes).sum::<usize>() <= MAX_BYTES));
        assert!(calls(vec![]).is_empty());
    }

    #[tokio::test]
    async fn what_was_not_taken_is_given_back_and_what_may_have_been_is_not() {
        for (second, kept, lost) in [
            (refusal(403, "AccessDenied"), 1500, 0),
            (refusal(503, "ServiceUnavailable"), 1500, 0),
            (refusal(500, "InternalServiceFault"), 500, 1000),
        ] {
            let what = format!("{second:?}");
            let server = Server::saying(vec![taken(), second]).await;
            let undelivered = metrics(&server.url).put(many(2500)).await.unwrap_err();
            assert_eq!((undelivered.data.len(), undelivered.lost), (kept, lost), "{what}: {}", undelivered.error);
            assert_eq!(undelivered.data[0].at.0, 2500 - kept as u64, "{what}: in order");
        }
    }

    #[tokio::test]
    async fn what_is_malformed_does_not_hold_up_the_rest() {
        let server = Server::saying(vec![refusal(400, "InvalidParameterValue"), taken()]).await;
        let undelivered = metrics(&server.url).put(many(1001)).await.unwrap_err();
        assert_eq!((undelivered.data.len(), undelivered.lost), (0, 1000), "{}", undelivered.error);
        assert_eq!(server.script().asked.len(), 2);
    }

    #[tokio::test]
    async fn nobody_there_takes_nothing() {
        let undelivered = metrics("http://127.0.0.1:1").put(many(3)).await.unwrap_err();
        assert_eq!((undelivered.data.len(), undelivered.lost), (3, 0), "{}", undelivered.error);
    }
}
