//! For the adapters' tests: a loopback server that answers from a script and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What the server got.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the server says: status, headers, body.
pub type Canned = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// Makes one answer out of what was asked.
pub type Reply = Box<dyn FnOnce(&Asked) -> Canned + Send>;

/// An answer of this status and JSON, as the JSON protocols give it.
pub fn json(status: u16, body: &serde_json::Value) -> Canned {
    (status, vec![("content-type", "application/json".to_owned())], body.to_string().into_bytes())
}

#[derive(Default)]
pub struct Script {
    replies: VecDeque<Reply>,
    pub asked: Vec<Asked>,
}

/// Ends with the test.
pub struct Server {
    pub url: String,
    script: Arc<Mutex<Script>>,
    _task: JoinSet<()>,
}

impl Server {
    /// Gives these answers in turn; calls beyond them are never answered.
    pub async fn saying(answers: Vec<Canned>) -> Self {
        Self::replying(answers.into_iter().map(|answer| Box::new(move |_: &Asked| answer) as Reply).collect()).await
    }

    pub async fn replying(replies: Vec<Reply>) -> Self {
        let script = Arc::new(Mutex::new(Script { replies: replies.into(), asked: vec![] }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&script));
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, script, _task: task }
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let asked = Asked { path: parts.uri.path().to_owned(), headers: parts.headers, body };
    let reply = {
        let mut script = script.lock().unwrap();
        let reply = script.replies.pop_front().map(|reply| reply(&asked));
        script.asked.push(asked);
        reply
    };
    let Some((status, headers, body)) = reply else { std::future::pending().await };
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap()
}
