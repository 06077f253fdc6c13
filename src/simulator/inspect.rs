//! `/_sim/…`: what the simulator has done, and changes while it runs.
//!
//! `GET /_sim/stats` · `GET /_sim/calls` (`?outcome=any` counts refused and failed calls too) · `GET`, `POST
//! /_sim/settings` (a JSON patch; answers with what is then in force) · `POST /_sim/reset`.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{Response, StatusCode, Uri};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Value, json};

use super::fault::json_response;
use super::query::Query;
use super::state::State;

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/_sim/stats", get(stats))
        .route("/_sim/calls", get(calls))
        .route("/_sim/settings", get(settings).post(change))
        .route("/_sim/reset", post(reset))
}

fn show(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_value(value) {
        Ok(value) => json_response(StatusCode::OK, &value),
        Err(error) => json_response(StatusCode::INTERNAL_SERVER_ERROR, &json!({"message": error.to_string()})),
    }
}

async fn stats(Shared(state): Shared<Arc<State>>) -> Response<Body> {
    show(&state.stats())
}

async fn calls(Shared(state): Shared<Arc<State>>, uri: Uri) -> Response<Body> {
    let any = Query::of(uri.query().unwrap_or_default()).get("outcome").as_deref() == Some("any");
    let calls = state.memory().calls.show(any);
    show(&calls)
}

async fn settings(Shared(state): Shared<Arc<State>>) -> Response<Body> {
    show(&state.catalog().settings)
}

async fn change(Shared(state): Shared<Arc<State>>, body: Bytes) -> Response<Body> {
    let changed = serde_json::from_slice::<Value>(&body)
        .map_err(|error| format!("the patch is not JSON: {error}"))
        .and_then(|patch| state.change(patch));
    match changed {
        Ok(settings) => show(&settings),
        Err(message) => json_response(StatusCode::BAD_REQUEST, &json!({"message": message})),
    }
}

async fn reset(Shared(state): Shared<Arc<State>>) -> Response<Body> {
    state.reset();
    json_response(StatusCode::OK, &json!({}))
}
