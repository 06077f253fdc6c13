//! Routes requests of all services and gives every response its request id.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, Request, State as Shared};
use axum::http::{HeaderValue, Response, StatusCode, Uri};
use axum::routing::{get, post};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::fault::{AwsError, json_response};
use super::listener::{Line, Lines};
use super::query::Query;
use super::runtime::{self, Operation};
use super::state::State;
use super::stream::Outcome;
use super::{cloudwatch, control, inspect, service_quotas};

/// Bedrock takes 25 MB; the JSON around a body in base64 is let through.
const BODY_LIMIT: usize = 26 * 1024 * 1024;

/// Serves until the state's stop.
pub(super) async fn serve(listener: TcpListener, state: Arc<State>) -> io::Result<()> {
    let stop = state.stop.clone();
    let router = Router::new()
        .route("/model/{*rest}", post(model))
        .route("/foundation-models", get(foundation_models))
        .route("/inference-profiles", get(inference_profiles))
        .route("/inference-profiles/{*id}", get(inference_profile))
        .route("/", post(target))
        .route("/service/GraniteServiceVersion20100801/operation/{operation}", post(metrics))
        .merge(inspect::router())
        .fallback(unknown)
        .with_state(state);
    axum::serve(Lines(listener), router.into_make_service_with_connect_info::<Line>())
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

type Reply = Response<Body>;

fn identified(state: &State, mut response: Reply) -> Reply {
    if let Ok(id) = HeaderValue::from_str(&state.request_id()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

fn replied(state: &State, result: Result<Value, AwsError>) -> Reply {
    let retry_after_s = state.catalog().settings.retry_after_s;
    let response =
        result.map_or_else(|error| error.respond(retry_after_s), |body| json_response(StatusCode::OK, &body));
    identified(state, response)
}

async fn read_body(body: Body) -> Result<Bytes, AwsError> {
    axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| {
        AwsError::new(
            413,
            "RequestEntityTooLargeException",
            "The request body is longer than 25 MB or could not be read.",
        )
    })
}

async fn model(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(rest): Path<String>,
    request: Request,
) -> Reply {
    let Some((model_id, operation)) = Operation::of(&rest) else { return unknown(Shared(state)).await };
    let outcome = match read_body(request.into_body()).await {
        Ok(body) => runtime::serve(&state, model_id, operation, &body).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(Outcome::Answer(response)) => identified(&state, response),
        Ok(Outcome::HangUp) => {
            line.cut();
            Response::new(Body::empty())
        }
        Err(error) => replied(&state, Err(error)),
    }
}

async fn foundation_models(Shared(state): Shared<Arc<State>>, uri: Uri) -> Reply {
    let query = Query::of(uri.query().unwrap_or_default());
    replied(&state, control::foundation_models(&state.catalog(), &query))
}

async fn inference_profiles(Shared(state): Shared<Arc<State>>, uri: Uri) -> Reply {
    let query = Query::of(uri.query().unwrap_or_default());
    replied(&state, control::inference_profiles(&state.catalog(), &query))
}

async fn inference_profile(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Reply {
    replied(&state, control::inference_profile(&state.catalog(), &id))
}

async fn target(Shared(state): Shared<Arc<State>>, headers: HeaderMap, request: Request) -> Reply {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let response = match read_body(request.into_body()).await {
        Ok(body) => service_quotas::answer(&state.catalog().settings, target, &body),
        Err(error) => error.respond(None),
    };
    identified(&state, response)
}

async fn metrics(Shared(state): Shared<Arc<State>>, Path(operation): Path<String>, request: Request) -> Reply {
    let response = match read_body(request.into_body()).await {
        Ok(body) => cloudwatch::answer(&state, &operation, &body),
        Err(error) => error.respond(None),
    };
    identified(&state, response)
}

async fn unknown(Shared(state): Shared<Arc<State>>) -> Reply {
    let body = json!({"Output": {"__type": "com.amazon.coral.service#UnknownOperationException"}, "Version": "1.0"});
    let mut response = json_response(StatusCode::NOT_FOUND, &body);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static("UnknownOperationException"));
    identified(&state, response)
}
