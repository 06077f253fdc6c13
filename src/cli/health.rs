//! `smoother health`: asks a worker how it does, for the health checks of containers, whose images hold nothing to ask with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::place::ConfigArgs;
use super::{Done, Error};

/// Below the five seconds that the deployments' health checks wait.
const PATIENCE: Duration = Duration::from_secs(4);
/// Of an answer, so much is read.
const ANSWER: u64 = 4096;
/// Asked when the setting `health_listen` is not set.
const USUAL: &str = "http://127.0.0.1:8080";

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Where the worker listens; the setting health_listen, or http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Ask whether it works (/ready), not only whether it is alive (/live)
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub async fn health(args: Args) -> Done {
    let url = match args.url {
        Some(url) => url,
        None => args.config.load()?.config.health_listen.map_or_else(|| USUAL.to_owned(), |listen| reached_at(&listen)),
    };
    let path = if args.ready { "/ready" } else { "/live" };
    let answer = tokio::time::timeout(PATIENCE, ask(&url, path)).await;
    let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
    match answer {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(why) => Err(Error::Said(format!("{}{path}: {why}", url.trim_end_matches('/')))),
    }
}

/// The URL of a worker that listens there: one that listens everywhere is reached on this machine.
fn reached_at(listen: &str) -> String {
    let Ok(mut addr) = listen.parse::<SocketAddr>() else { return format!("http://{listen}") };
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{addr}")
}

/// `Ok` when the answer is 200, else what it says.
async fn ask(url: &str, path: &str) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|e| format!("no URL: {e}"))?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
    let authority = authority.ok_or("expected a URL such as http://127.0.0.1:8080")?;
    let host = authority.host().trim_matches(['[', ']']);
    let unreached = |why: std::io::Error| format!("no worker answers: {why}");
    let mut stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await.map_err(unreached)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(unreached)?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer).await.map_err(unreached)?;
    judge(&String::from_utf8_lossy(&answer))
}

fn judge(answer: &str) -> Result<(), String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("what answers does not speak HTTP")?;
    let status = head.lines().next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).unwrap_or(head);
    if status.starts_with("200 ") {
        return Ok(());
    }
    let said = body.lines().next().unwrap_or_default();
    Err([status, said].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_listens_everywhere_is_reached_here() {
        for (listen, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:9000", "http://[::1]:9000"),
            ("10.0.0.7:1", "http://10.0.0.7:1"),
        ] {
            assert_eq!(reached_at(listen), url);
        }
    }

    #[test]
    fn only_200_is_well() {
        assert_eq!(judge("HTTP/1.1 200 OK\r\nA: b\r\n\r\nok\n"), Ok(()));
        let ended = judge("HTTP/1.1 503 Service Unavailable\r\n\r\nstopping\n");
        assert_eq!(ended, Err("503 Service Unavailable: stopping".to_owned()));
        assert_eq!(judge("HTTP/1.1 404 Not Found\r\n\r\n"), Err("404 Not Found".to_owned()));
        assert!(judge("SSH-2.0-OpenSSH\r\n").is_err() && judge("").is_err());
    }

    #[tokio::test]
    async fn urls_that_are_none_are_told() {
        for url in ["", "127.0.0.1", "https://127.0.0.1:1", "http://", "http://a b"] {
            let why = ask(url, "/live").await.unwrap_err();
            assert!(why.starts_with("no URL") || why.starts_with("expected a URL"), "{url:?}: {why}");
        }
    }
}
