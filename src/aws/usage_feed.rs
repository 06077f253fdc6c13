//! What an account uses of Bedrock's quotas, from CloudWatch: `EstimatedTPMQuotaUsage`, one metric per model.

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat};

use super::bedrock::{OWN_ACCOUNT, account_and_region, names_credentials};
use super::clients::{is_on_this_machine, test_credentials, timeouts};
use super::errors::port_error;
use crate::clock::Timestamp;
use crate::ports::{Minute, MinuteTokens, PortResult, UsageFeed};
use crate::request::Lane;

const NAMESPACE: &str = "AWS/Bedrock";
const METRIC: &str = "EstimatedTPMQuotaUsage";
const MINUTE_S: i32 = 60;
/// Metrics of one GetMetricData.
const MAX_QUERIES: usize = 500;
/// Pages of an answer that are read at most; five minutes of 500 metrics fit into one.
const MAX_PAGES: usize = 20;

/// CloudWatch, asked for Bedrock's metrics of the own account in one Region.
#[derive(Clone, Debug)]
pub struct CloudWatchUsage {
    client: Client,
    region: String,
}

impl CloudWatchUsage {
    /// With the credentials, the Region and the HTTP client of `config`. A Bedrock endpoint on this machine is a simulator, and
    /// serves its metrics itself; one elsewhere is a way to Bedrock and nothing else, and CloudWatch is asked where the SDK
    /// finds it.
    #[must_use]
    pub fn new(config: &SdkConfig, bedrock_endpoint: Option<&str>) -> Self {
        let mut builder = aws_sdk_cloudwatch::config::Builder::from(config).timeout_config(timeouts(10, 30));
        if let Some(endpoint) = bedrock_endpoint.filter(|endpoint| is_on_this_machine(endpoint)) {
            builder = builder.endpoint_url(endpoint);
            if !names_credentials() {
                builder = builder.credentials_provider(test_credentials());
            }
        }
        let region = config.region().map_or_else(String::new, ToString::to_string);
        Self { client: Client::from_conf(builder.build()), region }
    }

    async fn ask(&self, lanes: &[&Lane], minutes: &Range<Minute>, found: &mut MinuteTokens) -> PortResult<()> {
        let queries = lanes.iter().enumerate().map(|(place, lane)| query(place, lane)).collect();
        let mut pages = self
            .client
            .get_metric_data()
            .set_metric_data_queries(Some(queries))
            .start_time(date(minutes.start))
            .end_time(date(minutes.end))
            .into_paginator()
            .send();
        for _ in 0..MAX_PAGES {
            let Some(page) = pages.next().await else { break };
            let page = page.map_err(|error| port_error("cloudwatch get bedrock's use of quotas", &error))?;
            for result in page.metric_data_results() {
                let place =
                    result.id().and_then(|id| id.strip_prefix('m')).and_then(|place| place.parse::<usize>().ok());
                if let Some(lane) = place.and_then(|place| lanes.get(place)) {
                    note(result, minutes, found.entry((*lane).clone()).or_default());
                }
            }
        }
        found.retain(|_, by_minute| !by_minute.is_empty());
        Ok(())
    }
}

#[async_trait]
impl UsageFeed for CloudWatchUsage {
    /// Lanes of other accounts and Regions are unknown.
    async fn tokens(&self, lanes: &[Lane], minutes: Range<Minute>) -> PortResult<MinuteTokens> {
        let ours = |lane: &&Lane| account_and_region(lane) == Some((OWN_ACCOUNT, self.region.as_str()));
        let lanes: Vec<&Lane> = lanes.iter().filter(ours).collect();
        let mut found = MinuteTokens::new();
        for chunk in lanes.chunks(MAX_QUERIES) {
            self.ask(chunk, &minutes, &mut found).await?;
        }
        Ok(found)
    }
}

fn query(place: usize, lane: &Lane) -> MetricDataQuery {
    let model = Dimension::builder().name("ModelId").value(lane.model().as_str()).build();
    let metric = Metric::builder().namespace(NAMESPACE).metric_name(METRIC).dimensions(model).build();
    let stat = MetricStat::builder().metric(metric).period(MINUTE_S).stat("Sum").build();
    MetricDataQuery::builder().id(format!("m{place}")).metric_stat(stat).build()
}

/// Data that are no numbers, or of minutes that were not asked for, are none.
fn note(result: &MetricDataResult, asked: &Range<Minute>, by_minute: &mut BTreeMap<Minute, f64>) {
    for (at, tokens) in result.timestamps().iter().zip(result.values()) {
        let minute = at.to_millis().ok().and_then(|ms| u64::try_from(ms).ok()).map(|ms| Minute::of(Timestamp(ms)));
        if let Some(minute) = minute.filter(|minute| asked.contains(minute) && tokens.is_finite()) {
            by_minute.insert(minute, tokens.max(0.0));
        }
    }
}

fn date(minute: Minute) -> DateTime {
    DateTime::from_millis(i64::try_from(minute.start().0).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
