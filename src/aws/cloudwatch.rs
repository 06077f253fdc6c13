//! Metrics on CloudWatch: up to 1,000 data a call, each a statistic set.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit, StatisticSet};

use super::errors::{code_of, port_error};
use crate::ports::{Datum, Metrics, PortError, PortResult, Unit};

/// Data of one PutMetricData.
const MAX_DATA: usize = 1000;
/// Tries of a call that CloudWatch refused unread; nothing else is repeated, since it might count twice.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);

/// Metrics in one namespace.
#[derive(Clone, Debug)]
pub struct CloudWatchMetrics {
    client: Client,
    namespace: String,
}

impl CloudWatchMetrics {
    /// On a client whose own retries are off.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    async fn put_call(&self, data: Vec<MetricDatum>) -> PortResult<()> {
        let mut pause = PAUSE;
        for tries_left in (0..TRIES).rev() {
            let call = self.client.put_metric_data().namespace(&self.namespace);
            let Err(error) = call.set_metric_data(Some(data.clone())).send().await else { return Ok(()) };
            let throttled =
                matches!(code_of(&error), Some("Throttling" | "ThrottlingException" | "RequestLimitExceeded"));
            if !throttled || tries_left == 0 {
                return Err(port_error("cloudwatch put metrics", &error));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }
}

/// `None` for numbers that CloudWatch refuses: they would take the whole call down with them.
fn datum(of: &Datum) -> Option<MetricDatum> {
    let finite = [of.count, of.sum, of.min, of.max].iter().all(|n| n.is_finite());
    if !finite || of.count <= 0.0 {
        return None;
    }
    let dimensions = of.dimensions.iter().filter(|(_, value)| !value.is_empty());
    let statistics = StatisticSet::builder().sample_count(of.count).sum(of.sum).minimum(of.min).maximum(of.max).build();
    let millis = i64::try_from(of.at.0).unwrap_or(i64::MAX);
    Some(
        MetricDatum::builder()
            .metric_name(of.name)
            .set_dimensions(Some(dimensions.map(|(n, v)| Dimension::builder().name(*n).value(v).build()).collect()))
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

#[async_trait]
impl Metrics for CloudWatchMetrics {
    /// Data without samples, and sums that are not numbers, are left out. After a failure the calls before it have counted.
    async fn put(&self, data: Vec<Datum>) -> PortResult<()> {
        let built: Vec<MetricDatum> = data.iter().filter_map(datum).collect();
        let calls = built.len().div_ceil(MAX_DATA);
        for (done, chunk) in built.chunks(MAX_DATA).enumerate() {
            self.put_call(chunk.to_vec())
                .await
                .map_err(|e| PortError { why: format!("{} ({done} of {calls} calls had gone through)", e.why), ..e })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn a_datum_becomes_a_statistic_set() {
        let built = datum(&sample(3.0, 2.0)).unwrap();
        assert_eq!(built.statistic_values().and_then(StatisticSet::sample_count), Some(2.0));
        assert_eq!(built.dimensions().len(), 1);
        assert_eq!(built.timestamp().and_then(|t| t.to_millis().ok()), Some(1500));
    }

    #[test]
    fn what_cloudwatch_refuses_is_left_out() {
        assert!(datum(&sample(f64::NAN, 1.0)).is_none());
        assert!(datum(&sample(0.0, 0.0)).is_none());
    }
}
