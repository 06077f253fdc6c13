//! Bedrock's quotas from Service Quotas: those in force in the account and Region, and the defaults of the others.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_servicequotas::Client;
use aws_sdk_servicequotas::types::ServiceQuota;

use super::bedrock::names_credentials;
use super::clients::{is_on_this_machine, test_credentials, timeouts};
use super::errors::{code_of, port_error};
use crate::ports::{PortError, PortResult, QuotaRow, Quotas};

/// Bedrock's code, the control plane's and the runtime's alike.
const SERVICE: &str = "bedrock";
/// Rows of a page, the most there may be.
const PAGE: i32 = 100;
/// Pages that are read at most: Bedrock has some 1,500 quotas.
const PAGES: usize = 100;

/// Service Quotas, asked for Bedrock.
#[derive(Clone, Debug)]
pub struct ServiceQuotas {
    client: Client,
}

impl ServiceQuotas {
    /// With the credentials, the Region and the HTTP client of `config`. A Bedrock endpoint on this machine is a simulator, and
    /// serves Service Quotas itself; one elsewhere is a way to Bedrock and nothing else, and Service Quotas is asked where the
    /// SDK finds it.
    #[must_use]
    pub fn new(config: &SdkConfig, bedrock_endpoint: Option<&str>) -> Self {
        let mut builder = aws_sdk_servicequotas::config::Builder::from(config).timeout_config(timeouts(10, 30));
        if let Some(endpoint) = bedrock_endpoint.filter(|endpoint| is_on_this_machine(endpoint)) {
            builder = builder.endpoint_url(endpoint);
            if !names_credentials() {
                builder = builder.credentials_provider(test_credentials());
            }
        }
        Self { client: Client::from_conf(builder.build()) }
    }

    async fn applied(&self) -> PortResult<BTreeMap<String, QuotaRow>> {
        let mut pages = self.client.list_service_quotas().service_code(SERVICE).into_paginator().page_size(PAGE).send();
        let mut rows = BTreeMap::new();
        for _ in 0..PAGES {
            let Some(page) = pages.next().await else { break };
            let page = page.map_err(|error| {
                let denied = is_denied(code_of(&error));
                explained(port_error("service quotas list bedrock's quotas", &error), denied)
            })?;
            rows.extend(page.quotas().iter().filter_map(row));
        }
        Ok(rows)
    }

    async fn defaults(&self) -> PortResult<BTreeMap<String, QuotaRow>> {
        let mut pages =
            self.client.list_aws_default_service_quotas().service_code(SERVICE).into_paginator().page_size(PAGE).send();
        let mut rows = BTreeMap::new();
        for _ in 0..PAGES {
            let Some(page) = pages.next().await else { break };
            let page = page.map_err(|error| {
                let denied = is_denied(code_of(&error));
                explained(port_error("service quotas list bedrock's default quotas", &error), denied)
            })?;
            rows.extend(page.quotas().iter().filter_map(row));
        }
        Ok(rows)
    }
}

#[async_trait]
impl Quotas for ServiceQuotas {
    async fn list(&self) -> PortResult<Vec<QuotaRow>> {
        // Both at once: either takes a second or two, and a starting worker waits for them.
        let (defaults, applied) = tokio::join!(self.defaults(), self.applied());
        let mut rows = defaults.unwrap_or_else(|error| {
            // What is in force is what matters; a role that may list only that is well served.
            tracing::debug!(%error, "default quotas are not known");
            BTreeMap::new()
        });
        rows.extend(applied?);
        Ok(rows.into_values().collect())
    }
}

/// A quota by its code. One without a name or a value is none.
fn row(quota: &ServiceQuota) -> Option<(String, QuotaRow)> {
    let row = QuotaRow { name: quota.quota_name()?.to_owned(), value: quota.value()? };
    Some((quota.quota_code()?.to_owned(), row))
}

fn is_denied(code: Option<&str>) -> bool {
    matches!(code, Some("AccessDeniedException" | "AccessDenied"))
}

fn explained(error: PortError, denied: bool) -> PortError {
    if !denied {
        return error;
    }
    let why = format!(
        "{}. Allow servicequotas:ListServiceQuotas and servicequotas:ListAWSDefaultServiceQuotas, or set quota_source to settings",
        error.why
    );
    PortError { why, ..error }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::aws::clients::emulator_config;
    use crate::aws::test_server::{Asked, Canned, Reply, Server, json as answer};
    use crate::simulator;

    fn quotas(names: std::ops::Range<u32>, value: f64) -> Vec<Value> {
        names
            .map(|n| json!({"QuotaCode": format!("L-{n:03}"), "QuotaName": format!("quota {n}"), "Value": value}))
            .collect()
    }

    fn page(quotas: &[Value], next: Option<&str>) -> Canned {
        answer(200, &json!({"Quotas": quotas, "NextToken": next}))
    }

    fn refusal(code: &str) -> Canned {
        answer(400, &json!({"__type": code, "Message": "no"}))
    }

    async fn list(server: &Server) -> PortResult<Vec<QuotaRow>> {
        let config = emulator_config(&server.url, "us-east-1").unwrap();
        ServiceQuotas::new(&config, None).list().await
    }

    /// Answers at most so many calls, each by its operation and the page it asks for.
    async fn serving(
        applied: impl Fn(&str) -> Canned + Send + Sync + 'static,
        defaults: impl Fn(&str) -> Canned + Send + Sync + 'static,
    ) -> Server {
        let (applied, defaults) = (Arc::new(applied), Arc::new(defaults));
        let reply = || -> Reply {
            let (applied, defaults) = (Arc::clone(&applied), Arc::clone(&defaults));
            Box::new(move |asked: &Asked| {
                let body = asked.json();
                assert_eq!((&body["ServiceCode"], &body["MaxResults"]), (&json!("bedrock"), &json!(100)));
                let token = body["NextToken"].as_str().unwrap_or_default().to_owned();
                match asked.headers["x-amz-target"].to_str().unwrap().rsplit_once('.').unwrap().1 {
                    "ListServiceQuotas" => applied(&token),
                    "ListAWSDefaultServiceQuotas" => defaults(&token),
                    other => panic!("{other} was asked for"),
                }
            })
        };
        Server::replying((0..10).map(|_| reply()).collect()).await
    }

    #[tokio::test]
    async fn all_pages_are_read_and_applied_values_win() {
        let applied = |token: &str| match token {
            "" => page(&quotas(0..100, 2.0), Some("more")),
            "more" => {
                let unset = json!({"QuotaCode": "L-999", "QuotaName": "no value"});
                page(&[&quotas(100..110, 2.0)[..], &[unset]].concat(), None)
            }
            other => panic!("{other}"),
        };
        let defaults = |token: &str| match token {
            "" => page(&quotas(0..100, 1.0), Some("rest")),
            "rest" => page(&quotas(100..130, 1.0), None),
            other => panic!("{other}"),
        };
        let server = serving(applied, defaults).await;
        let rows = list(&server).await.unwrap();
        let of = |value: f64| rows.iter().filter(|row| (row.value - value).abs() < 1e-9).count();
        assert_eq!((rows.len(), of(2.0), of(1.0)), (130, 110, 20));
        assert_eq!(server.script().asked.len(), 4);
    }

    #[tokio::test]
    async fn without_the_defaults_the_applied_values_do() {
        let server = serving(|_| page(&quotas(0..3, 2.0), None), |_| refusal("AccessDeniedException")).await;
        assert_eq!(list(&server).await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_refusal_names_the_action_to_allow() {
        let server = serving(|_| refusal("AccessDeniedException"), |_| page(&[], None)).await;
        let error = list(&server).await.unwrap_err();
        assert!(!error.retryable && error.why.contains("servicequotas:ListServiceQuotas"), "{error}");
        let server = serving(|_| refusal("NoSuchResourceException"), |_| page(&[], None)).await;
        let error = list(&server).await.unwrap_err();
        assert!(!error.why.contains("servicequotas:"), "{error}");
    }

    #[tokio::test]
    async fn the_simulator_serves_its_own_quotas_in_pages() {
        let mut patch = json!({"models": {}});
        for n in 0..80 {
            patch["models"][format!("us.meta.llama3-{n}-9b-instruct-v1:0")] = json!({"rpm": 10, "tpm": 1000 + n});
        }
        let settings = simulator::Settings::default().patched(patch).unwrap();
        let simulator = simulator::start(settings, ([127, 0, 0, 1], 0).into()).await.unwrap();
        // The configuration points elsewhere: a simulator is asked itself.
        let config = emulator_config("http://127.0.0.1:1", "us-east-1").unwrap();
        let rows = ServiceQuotas::new(&config, Some(&simulator.url())).list().await.unwrap();
        assert!(rows.len() > 160, "{} rows", rows.len());
        let table = crate::models::QuotaTable::new(&rows);
        for n in [0, 41, 79] {
            let limits = table.of(&format!("us.meta.llama3-{n}-9b-instruct-v1:0"));
            assert_eq!(limits.tokens_per_minute.map(|q| q.value), Some(f64::from(1000 + n)));
        }
    }
}
