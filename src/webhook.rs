//! Alerts to a URL that somebody gave: each is one POST of its JSON, with a field `text` as chat systems read it. The URL is secret,
//! since it is all that is needed to post there: of it only the host is ever shown.

use std::time::Duration;

use async_trait::async_trait;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;

use crate::ports::{Alert, Alerts, PortError, PortResult};

/// Time to establish a connection, and to get an answer.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// A receiver of JSON over HTTP.
pub struct Webhook {
    client: Connector,
    url: String,
    /// Scheme and host, which is no secret.
    shown: String,
}

impl Webhook {
    /// Posts there; `http://` for receivers on this machine.
    ///
    /// # Errors
    /// Permanent, when it is no URL; it is not repeated in the error.
    pub fn new(url: &str) -> PortResult<Self> {
        let fault = |why| PortError::permanent("use alert_webhook_url", why);
        let uri: http::Uri = url.parse().map_err(|_| fault("it is no URL"))?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return Err(fault("it has no host")) };
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT).read_timeout(ANSWER).build();
        let client = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .connector_settings(settings)
            .proxy_config(ProxyConfig::from_env())
            .build();
        Ok(Self { client, shown: format!("{scheme}://{host}"), url: url.to_owned() })
    }

    fn request(&self, alert: &Alert) -> Option<HttpRequest> {
        let mut request = HttpRequest::new(SdkBody::from(alert.to_json()));
        request.set_method("POST").ok()?;
        request.set_uri(self.url.as_str()).ok()?;
        request.headers_mut().insert("content-type", "application/json");
        request.headers_mut().insert("user-agent", concat!("smoother/", env!("CARGO_PKG_VERSION")));
        Some(request)
    }
}

#[async_trait]
impl Alerts for Webhook {
    fn name(&self) -> String {
        format!("webhook {}", self.shown)
    }

    async fn publish(&self, alert: &Alert) -> PortResult<()> {
        let what = format!("post to the webhook at {}", self.shown);
        let Some(request) = self.request(alert) else { return Err(PortError::permanent(what, "it is no URL")) };
        let answer = match tokio::time::timeout(CONNECT + ANSWER, self.client.call(request)).await {
            Ok(Ok(answer)) => answer.status().as_u16(),
            // Its words may have the URL in them.
            Ok(Err(error)) if error.is_timeout() => return Err(PortError::transient(what, "no answer in time")),
            Ok(Err(_)) => return Err(PortError::transient(what, "no connection, or no answer")),
            Err(_) => return Err(PortError::transient(what, "no answer in time")),
        };
        let why = || format!("HTTP {answer}");
        match answer {
            200..=299 => Ok(()),
            408 | 425 | 429 | 500.. => Err(PortError::transient(what, why())),
            _ => Err(PortError::permanent(what, why())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::pipeline::alerts::samples;
    use crate::ports::alerts::Kind;

    /// Answers one request with this status; answers what it was.
    async fn receive(listener: &TcpListener, status: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let n = stream.read(&mut chunk).await.unwrap();
            request.extend_from_slice(&chunk[..n]);
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.to_lowercase();
                let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                if length.is_some_and(|length: usize| body.len() >= length) {
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    return text;
                }
            }
        }
    }

    #[tokio::test]
    async fn an_alert_is_one_post_of_json_with_a_text() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/services/s3cret?key=s3cret", listener.local_addr().unwrap());
        let webhook = Webhook::new(&url).unwrap();
        let alert = samples::alert(Kind::AccessDenied);
        let (sent, received) = tokio::join!(webhook.publish(&alert), receive(&listener, "204 No Content"));
        sent.unwrap();
        let (head, body) = received.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /services/s3cret?key=s3cret HTTP/1.1"), "{head}");
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["text"], &body["kind"]), (&alert.text().into(), &"access-denied".into()));
    }

    #[tokio::test]
    async fn failures_say_whether_they_may_pass_and_never_show_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let webhook = Webhook::new(&format!("http://{address}/s3cret")).unwrap();
        assert_eq!(webhook.name(), "webhook http://127.0.0.1");
        let alert = samples::alert(Kind::Port);
        for (status, retryable) in
            [("404 Not Found", false), ("503 Busy", true), ("302 Found", false), ("429 Slow", true)]
        {
            let (sent, _) = tokio::join!(webhook.publish(&alert), receive(&listener, status));
            let error = sent.unwrap_err();
            assert_eq!(error.retryable, retryable, "{status}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        drop(listener);
        let error = webhook.publish(&alert).await.unwrap_err();
        assert!(error.retryable && !error.to_string().contains("s3cret"), "{error}");
        assert!(!Webhook::new("s3cret").err().unwrap().to_string().contains("s3cret"));
    }
}
