//! Spans to an OpenTelemetry collector: OTLP 1 over HTTP, in protobuf.

use std::time::Duration;

use async_trait::async_trait;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;

use super::protobuf::Message;
use crate::ports::{PortError, PortResult, Span, SpanKind, SpanValue, Spans};

/// For a call and its answer.
const PATIENCE: Duration = Duration::from_secs(10);
const PATH: &str = "/v1/traces";

/// A collector.
#[derive(Clone, Debug)]
pub struct Otlp {
    http: SharedHttpConnector,
    url: String,
    headers: Headers,
    worker: String,
}

/// HTTP headers, which may hold a secret.
#[derive(Clone, Default)]
struct Headers(Vec<(String, String)>);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Otlp {
    /// The collector at this base URL, for the spans of `worker`; `headers` are `name=value` pairs with commas in between, the
    /// values in percent encoding if need be.
    #[must_use]
    pub fn new(endpoint: &str, headers: &str, worker: &str) -> Self {
        let base = endpoint.trim_end_matches('/');
        let http = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .build();
        Self {
            http: SharedHttpConnector::new(http),
            url: if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") },
            headers: Headers(pairs(headers).unwrap_or_default()),
            worker: worker.to_owned(),
        }
    }

    fn what(&self) -> String {
        format!("otlp export to {}", self.url)
    }

    fn request(&self, spans: &[Span]) -> PortResult<HttpRequest> {
        let mut request = http::Request::post(&self.url).header("content-type", "application/x-protobuf");
        for (name, value) in &self.headers.0 {
            request = request.header(name, value);
        }
        let request = request.body(SdkBody::from(self.encode(spans)));
        request
            .map_err(|e| PortError::permanent(self.what(), e))
            .and_then(|request| HttpRequest::try_from(request).map_err(|e| PortError::permanent(self.what(), e)))
    }

    /// An `ExportTraceServiceRequest`.
    fn encode(&self, spans: &[Span]) -> Vec<u8> {
        let version = env!("CARGO_PKG_VERSION");
        let request = Message::of(|request| {
            request.message(1, |resource_spans| {
                resource_spans.message(1, |resource| {
                    attribute(resource, 1, "service.name", &"smoother".into());
                    attribute(resource, 1, "service.version", &version.into());
                    attribute(resource, 1, "service.instance.id", &self.worker.as_str().into());
                });
                resource_spans.message(2, |scope_spans| {
                    scope_spans.message(1, |scope| {
                        scope.bytes(1, b"smoother");
                        scope.bytes(2, version.as_bytes());
                    });
                    for span in spans {
                        scope_spans.message(2, |message| encode_span(message, span));
                    }
                });
            });
        });
        request.into_bytes()
    }
}

fn encode_span(message: &mut Message, span: &Span) {
    const SAMPLED: u32 = 1;
    const NANOS: u64 = 1_000_000;
    const ERROR: u64 = 2;
    message.bytes(1, &span.context.trace_id.to_be_bytes());
    message.bytes(2, &span.context.span_id.to_be_bytes());
    if let Some(parent) = span.parent {
        message.bytes(4, &parent.to_be_bytes());
    }
    message.bytes(5, span.name.as_bytes());
    message.varint(
        6,
        match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        },
    );
    message.fixed64(7, span.start.0.saturating_mul(NANOS));
    message.fixed64(8, span.end.0.saturating_mul(NANOS));
    for (name, value) in &span.attributes {
        attribute(message, 9, name, value);
    }
    if let Some(error) = &span.error {
        attribute(message, 9, "error.type", &error.as_str().into());
        message.message(15, |status| {
            status.bytes(2, error.as_bytes());
            status.varint(3, ERROR);
        });
    }
    message.fixed32(16, SAMPLED);
}

fn attribute(message: &mut Message, field: u64, name: &str, value: &SpanValue) {
    message.message(field, |pair| {
        pair.bytes(1, name.as_bytes());
        pair.message(2, |any| match value {
            SpanValue::Text(text) => any.bytes(1, text.as_bytes()),
            SpanValue::Flag(flag) => any.varint(2, u64::from(*flag)),
            SpanValue::Whole(number) => any.varint(3, *number),
            SpanValue::Number(number) => any.double(4, *number),
        });
    });
}

#[async_trait]
impl Spans for Otlp {
    async fn export(&self, spans: Vec<Span>) -> PortResult<()> {
        let request = self.request(&spans)?;
        let exchange = async {
            let answer = self
                .http
                .call(request)
                .await
                .map_err(|e| PortError::transient(self.what(), crate::aws::errors::causes(&e)))?;
            let status = answer.status().as_u16();
            // Read to its end, so that the connection can be used again; it says no more than the status does.
            ByteStream::new(answer.into_body()).collect().await.ok();
            match status {
                200..300 => Ok(()),
                // What the standard calls worth a repeat.
                429 | 502 | 503 | 504 => Err(PortError::transient(self.what(), format!("HTTP {status}"))),
                _ => Err(PortError::permanent(self.what(), format!("HTTP {status}"))),
            }
        };
        let late = || PortError::transient(self.what(), "no answer in time");
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(late()))
    }
}

/// The headers in a text; `None` when it is not made of pairs or a name or a value cannot be one.
pub(crate) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), unescaped(value.trim())?);
        http::HeaderName::try_from(name).ok()?;
        http::HeaderValue::try_from(&value).ok()?;
        Some((name.to_owned(), value))
    });
    pairs.collect()
}

/// Percent encoding undone.
fn unescaped(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
            bytes.push(digit(rest.next()?)? << 4 | digit(rest.next()?)?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::test_server::{Canned, Server};
    use crate::clock::Timestamp;
    use crate::request::TraceContext;

    fn span() -> Span {
        Span {
            context: TraceContext { trace_id: 0xabcd, span_id: 0x12, sampled: true },
            parent: Some(0x34),
            name: "smoother.call",
            kind: SpanKind::Client,
            start: Timestamp(1_795_252_123_456),
            end: Timestamp(1_795_252_124_456),
            attributes: vec![("a", "ä".into()), ("n", 7_u64.into()), ("f", SpanValue::Flag(true))],
            error: Some("ThrottlingException".to_owned()),
        }
    }

    fn says(status: u16) -> Canned {
        (status, vec![], vec![])
    }

    fn holds(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[tokio::test]
    async fn spans_go_to_the_collectors_path_with_its_headers() {
        let server = Server::saying(vec![says(200), says(200)]).await;
        for base in [server.url.clone(), format!("{}/v1/traces/", server.url)] {
            let otlp = Otlp::new(&base, "authorization=Bearer%20s3cret, x-tenant=a", "w-1");
            assert!(!format!("{otlp:?}").contains("s3cret"));
            otlp.export(vec![span()]).await.unwrap();
        }
        let script = server.script();
        for asked in &script.asked {
            assert_eq!(asked.path, "/v1/traces");
            assert_eq!(asked.headers["content-type"], "application/x-protobuf");
            assert_eq!(
                (&asked.headers["authorization"], &asked.headers["x-tenant"]),
                (&"Bearer s3cret".parse().unwrap(), &"a".parse().unwrap())
            );
            let trace = [[0; 14].as_slice(), &[0xab, 0xcd]].concat();
            for part in [b"service.instance.id".as_slice(), b"w-1", &trace, "ä".as_bytes(), b"ThrottlingException"] {
                assert!(holds(&asked.body, part), "{part:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_passes_is_told_from_what_stays() {
        for (status, retryable) in [(429, true), (503, true), (400, false), (401, false), (404, false), (500, false)] {
            let server = Server::saying(vec![says(status)]).await;
            let error = Otlp::new(&server.url, "", "w").export(vec![span()]).await.unwrap_err();
            assert_eq!(error.retryable, retryable, "{status}");
            assert!(error.to_string().contains(&format!("/v1/traces: HTTP {status}")), "{error}");
        }
        let error = Otlp::new("http://127.0.0.1:1", "", "w").export(vec![span()]).await.unwrap_err();
        assert!(error.retryable, "{error}");
    }

    #[test]
    fn headers_are_pairs_with_commas_in_between() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs("a=b, c = d=e ,"), Some(vec![pair("a", "b"), pair("c", "d=e")]));
        assert_eq!(pairs("k=a%2Cb"), Some(vec![pair("k", "a,b")]));
        assert_eq!(pairs(""), Some(vec![]));
        for bad in ["a", "a b=c", "a=%zz", "a=%1", "a=b%0Ac", "=b"] {
            assert_eq!(pairs(bad), None, "{bad:?}");
        }
    }
}
