//! CloudWatch's `GetMetricData`, Smithy RPC v2 CBOR, for the metrics of `AWS/Bedrock` by model: sums of minutes, visible
//! some time after the minute has ended. A minute that saw nothing has no data, as on AWS.
//!
//! All traffic of a model counts, the simulated background included; `InputTokenCount` and `OutputTokenCount` are of real
//! calls only, since background requests have no prompts, and injected throttles are no `InvocationThrottles`.

use std::collections::BTreeMap;

use aws_smithy_cbor::Encoder;
use aws_smithy_types::DateTime;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::cbor;
use super::draw::real;
use super::query::page;
use super::state::State;

const NAMESPACE: &str = "AWS/Bedrock";
const MINUTE_S: u64 = 60;
/// As on AWS.
const MOST_QUERIES: usize = 500;
const MOST_DATAPOINTS: u64 = 100_800;

type Refusal = (&'static str, String);

fn invalid(message: impl Into<String>) -> Refusal {
    ("InvalidParameterValue", message.into())
}

/// Answers `POST /service/GraniteServiceVersion20100801/operation/{operation}`.
pub(super) fn answer(state: &State, operation: &str, body: &[u8]) -> Response<Body> {
    let answered = match operation {
        "GetMetricData" => get_metric_data(state, body),
        other => Err(("UnknownOperation", format!("{other} is not simulated."))),
    };
    match answered {
        Ok(body) => respond(StatusCode::OK, body),
        Err((code, message)) => {
            let mut body = Encoder::new(Vec::new());
            body.map(2).str("__type").str(&format!("com.amazonaws.cloudwatch#{code}")).str("message").str(&message);
            let mut response = respond(StatusCode::BAD_REQUEST, body.into_writer());
            if let Ok(error) = HeaderValue::from_str(&format!("{code};Sender")) {
                response.headers_mut().insert("x-amzn-query-error", error);
            }
            response
        }
    }
}

fn respond(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
    headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    response
}

/// One metric that is asked for.
struct Query {
    id: String,
    model: String,
    metric: String,
    period_s: u64,
}

fn get_metric_data(state: &State, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let request = cbor::read(body).map_err(|why| ("SerializationException", why))?;
    let time = |name: &str| {
        let seconds = request.get(name).and_then(Value::as_f64).filter(|seconds| *seconds >= 0.0);
        seconds.ok_or_else(|| ("MissingParameter", format!("The parameter {name} is required.")))
    };
    let (start, end) = (time("StartTime")?, time("EndTime")?);
    if start >= end {
        return Err(invalid("The parameter StartTime must be less than the parameter EndTime."));
    }
    let asked = request.get("MetricDataQueries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if asked.is_empty() || asked.len() > MOST_QUERIES {
        return Err(invalid(format!("MetricDataQueries has {} items, must have 1 to {MOST_QUERIES}.", asked.len())));
    }
    let queries = asked.iter().map(query).collect::<Result<Vec<_>, _>>()?;
    let ascending = request.get("ScanBy").and_then(Value::as_str) == Some("TimestampAscending");
    let mut points = Vec::new();
    for (place, query) in queries.iter().enumerate() {
        let sums = sums(state, query, (start / real(MINUTE_S)).ceil(), end / real(MINUTE_S));
        let mut of_query: Vec<Value> = sums.iter().map(|(at, sum)| serde_json::json!([place, at, sum])).collect();
        if !ascending {
            of_query.reverse();
        }
        points.append(&mut of_query);
    }
    let most =
        request.get("MaxDatapoints").and_then(Value::as_u64).unwrap_or(MOST_DATAPOINTS).clamp(1, MOST_DATAPOINTS);
    let token = request.get("NextToken").and_then(Value::as_str);
    let (points, next) = page(points, usize::try_from(most).unwrap_or(usize::MAX), token)
        .map_err(|error| ("InvalidNextToken", error.message))?;
    Ok(encode(&queries, &points, next.as_deref()))
}

fn query(asked: &Value) -> Result<Query, Refusal> {
    let id = asked.get("Id").and_then(Value::as_str).unwrap_or_default();
    let stat = asked
        .get("MetricStat")
        .filter(|stat| stat.is_object())
        .ok_or_else(|| invalid(format!("Query {id:?} has no MetricStat; expressions are not simulated.")))?;
    let text = |pointer: &str| stat.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/Stat") != "Sum" {
        return Err(invalid(format!("Query {id:?}: the statistic {:?} is not simulated, only Sum is.", text("/Stat"))));
    }
    let period = stat.get("Period").and_then(Value::as_u64).unwrap_or(0);
    if period == 0 || period % MINUTE_S != 0 {
        return Err(invalid(format!("Query {id:?}: the period {period} is not a multiple of {MINUTE_S}.")));
    }
    let ours = text("/Metric/Namespace") == NAMESPACE && text("/Metric/Dimensions/0/Name") == "ModelId";
    let alone = stat.pointer("/Metric/Dimensions/1").is_none();
    // What nobody reports has no data, and that is no error.
    let model = if ours && alone { text("/Metric/Dimensions/0/Value") } else { "" };
    let (model, metric) = (model.to_owned(), text("/Metric/MetricName").to_owned());
    Ok(Query { id: id.to_owned(), model, metric, period_s: period })
}

/// Sums by the second at which their period begins, of the minutes from `start` up to `end`.
fn sums(state: &State, query: &Query, start: f64, end: f64) -> BTreeMap<u64, f64> {
    let catalog = state.catalog();
    let Some(model) = catalog.models.get(&query.model) else { return BTreeMap::new() };
    let visible_until = real(state.clock.now().0) / 1_000.0 - catalog.settings.metric_delay_s;
    let mut sums = BTreeMap::new();
    for (minute, value) in model.books().metric(&query.metric) {
        let complete = real((minute + 1) * MINUTE_S) <= visible_until;
        if complete && (start..end).contains(&real(minute)) {
            *sums.entry(minute * MINUTE_S / query.period_s * query.period_s).or_default() += value;
        }
    }
    sums
}

fn encode(queries: &[Query], points: &[Value], next: Option<&str>) -> Vec<u8> {
    let mut to = Encoder::new(Vec::new());
    to.begin_map().str("MetricDataResults").array(queries.len());
    for (place, query) in queries.iter().enumerate() {
        let ours: Vec<&Value> = points.iter().filter(|point| point[0].as_u64() == Some(place as u64)).collect();
        to.begin_map().str("Id").str(&query.id).str("Label").str(&query.metric);
        to.str("Timestamps").array(ours.len());
        for point in &ours {
            to.timestamp(&DateTime::from_secs_f64(point[1].as_f64().unwrap_or_default()));
        }
        to.str("Values").array(ours.len());
        for point in &ours {
            to.double(point[2].as_f64().unwrap_or_default());
        }
        let status = if next.is_some() { "PartialData" } else { "Complete" };
        to.str("StatusCode").str(status).end();
    }
    if let Some(next) = next {
        to.str("NextToken").str(next);
    }
    to.str("Messages").array(0).end();
    to.into_writer()
}
