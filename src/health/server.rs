//! Answers `GET /live` and `GET /ready` with 200 or 503, `GET /metrics` with all metrics, and nothing else. One request a
//! connection, few connections, little patience: whoever can reach the port must not be able to hold the worker up.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Health;

/// Connections at a time; one more is closed at once.
const CONNECTIONS: usize = 16;
/// For a request and its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest head of a request.
const HEAD: usize = 4096;
/// After an accept that failed, as it does for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Plain text, and plain text as Prometheus reads it.
const PLAIN: &str = "text/plain; charset=utf-8";
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the metrics in the text format of Prometheus.
pub type Page = Arc<dyn Fn() -> String + Send + Sync>;

/// Answers for as long as it is polled.
pub async fn serve(listener: TcpListener, health: Arc<Health>, metrics: Page) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS => {
                    let (health, metrics) = (Arc::clone(&health), Arc::clone(&metrics));
                    connections.spawn(async move {
                        if let Err(error) = tokio::time::timeout(PATIENCE, converse(stream, &health, &metrics)).await {
                            tracing::debug!(%error, "a health check took too long");
                        }
                    });
                }
                Ok(_) => tracing::debug!("too many health checks at a time; one is not answered"),
                Err(error) => {
                    tracing::debug!(%error, "could not take a health check");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(mut stream: TcpStream, health: &Health, metrics: &Page) {
    let Some(head) = read_head(&mut stream).await else { return };
    let answer = answer(&head, health, metrics);
    // Whoever has gone away needs no answer.
    if stream.write_all(answer.as_bytes()).await.is_ok() {
        stream.shutdown().await.ok();
    }
}

/// Everything up to the empty line; `None` when that does not come.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while head.len() < HEAD {
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => head.extend_from_slice(part.get(..read)?),
        }
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return String::from_utf8(head).ok();
        }
    }
    None
}

/// The whole response to a request with this head.
fn answer(head: &str, health: &Health, metrics: &Page) -> String {
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let says = |asked: Result<(), String>| match asked {
        Ok(()) => ("200 OK", PLAIN, "ok\n".to_owned()),
        Err(why) => ("503 Service Unavailable", PLAIN, format!("{why}\n")),
    };
    let (status, kind, body) = match (method, path) {
        ("GET", "/live") => says(health.live()),
        ("GET", "/ready") => says(health.ready()),
        ("GET", "/metrics") => ("200 OK", EXPOSITION, metrics()),
        (_, "/live" | "/ready" | "/metrics") => ("405 Method Not Allowed", PLAIN, "expected GET\n".to_owned()),
        _ => ("404 Not Found", PLAIN, "there are /live, /ready and /metrics\n".to_owned()),
    };
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{allow}Content-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    async fn started() -> (Arc<Health>, SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (health, addr) = (Arc::new(Health::default()), listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::clone(&health), Arc::new(|| "smoother_workers_alive 1\n".to_owned())));
        (health, addr, tasks)
    }

    async fn ask(addr: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_answers_what_the_health_says_and_nothing_else() {
        let (health, addr, _tasks) = started().await;
        let get = async |path: &str| ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let live = get("/live").await;
        assert!(live.starts_with("HTTP/1.1 200 OK\r\n") && live.ends_with("Connection: close\r\n\r\nok\n"), "{live}");
        let starting = get("/ready").await;
        assert!(starting.starts_with("HTTP/1.1 503 ") && starting.contains("\r\n\r\nstarting: "), "{starting}");
        health.beat(true);
        assert!(get("/ready").await.starts_with("HTTP/1.1 200 OK\r\n"));
        for path in ["/", "/metric", "/live/", "/ready?x=1"] {
            assert!(get(path).await.starts_with("HTTP/1.1 404 "), "{path}");
        }
        for path in ["/live", "/metrics"] {
            assert!(ask(addr, &format!("POST {path} HTTP/1.1\r\n\r\n")).await.starts_with("HTTP/1.1 405 "));
        }
        let metrics = get("/metrics").await;
        let (head, body) = metrics.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert_eq!(body, "smoother_workers_alive 1\n");
    }

    #[tokio::test]
    async fn nobody_holds_it_up() {
        let (_health, addr, _tasks) = started().await;
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS {
            idle.push(TcpStream::connect(addr).await.unwrap());
        }
        let long = format!("GET /live HTTP/1.1\r\nX: {}", "x".repeat(2 * HEAD));
        let mut refused = TcpStream::connect(addr).await.unwrap();
        // A peer that closes with something unread may well reset the connection.
        let gone = async |stream: &mut TcpStream| stream.read(&mut [0; 1]).await.unwrap_or(0) == 0;
        assert!(gone(&mut refused).await, "one too many");
        for stream in &mut idle {
            assert!(gone(stream).await, "who says nothing is not waited for");
        }
        let mut endless = TcpStream::connect(addr).await.unwrap();
        endless.write_all(long.as_bytes()).await.unwrap();
        assert!(gone(&mut endless).await, "a head without end");
        assert!(ask(addr, "GET /live HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
    }
}
