//! Service Quotas, AWS JSON 1.1: the simulated models' quotas under the names that Bedrock's have.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::call::hex;
use super::control::{name, provider};
use super::family::{known, split_geography};
use super::query::page;
use super::settings::{ModelSettings, Settings};

/// Answers `POST /` by its `X-Amz-Target`.
pub(super) fn answer(settings: &Settings, target: &str, body: &[u8]) -> Response<Body> {
    let request: Value = if body.is_empty() { json!({}) } else { serde_json::from_slice(body).unwrap_or(Value::Null) };
    match target {
        "ServiceQuotasV20190624.ListServiceQuotas" | "ServiceQuotasV20190624.ListAWSDefaultServiceQuotas" => {
            list(settings, &request)
                .map_or_else(|(kind, message)| refuse(kind, &message), |body| respond(StatusCode::OK, &body))
        }
        "" => refuse("UnknownOperationException", "The request has no X-Amz-Target header."),
        other => refuse("UnknownOperationException", &format!("{other} is not simulated.")),
    }
}

type Refusal = (&'static str, String);

fn list(settings: &Settings, request: &Value) -> Result<Value, Refusal> {
    let illegal = |message: &str| ("IllegalArgumentException", message.to_owned());
    let service =
        request.get("ServiceCode").and_then(Value::as_str).ok_or_else(|| illegal("ServiceCode is required."))?;
    if service != "bedrock" {
        return Err((
            "NoSuchResourceException",
            format!("The request failed because the specified service does not exist: {service}."),
        ));
    }
    let size = match request.get("MaxResults").filter(|size| !size.is_null()) {
        None => 100,
        Some(size) => size
            .as_u64()
            .and_then(|size| usize::try_from(size).ok())
            .filter(|size| (1..=100).contains(size))
            .ok_or_else(|| illegal("MaxResults must be between 1 and 100."))?,
    };
    let mut all = quotas(settings);
    if let Some(code) = request.get("QuotaCode").and_then(Value::as_str) {
        all.retain(|quota| quota["QuotaCode"] == code);
    }
    let token = request.get("NextToken").and_then(Value::as_str);
    let (quotas, next) = page(all, size, token).map_err(|error| ("InvalidPaginationTokenException", error.message))?;
    let mut response = json!({"Quotas": quotas});
    if let Some(next) = next {
        response["NextToken"] = json!(next);
    }
    Ok(response)
}

fn quotas(settings: &Settings) -> Vec<Value> {
    let mut all: Vec<Value> = settings.models.iter().flat_map(|(id, model)| of_model(settings, id, model)).collect();
    // Profiles of several geographies have one name between them, and AWS lists a name once; the smaller is safe for both.
    let key = |quota: &Value| (quota["QuotaName"].as_str().unwrap_or_default().to_owned(), quota["Value"].as_f64());
    all.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
    all.dedup_by(|later, kept| later["QuotaName"] == kept["QuotaName"]);
    all
}

fn of_model(settings: &Settings, id: &str, model: &ModelSettings) -> Vec<Value> {
    let (geography, base) = split_geography(id);
    let reach = match geography {
        None => "On-demand",
        Some("global") => "Global cross-region",
        Some(_) => "Cross-region",
    };
    let label = model.quota_name.clone().unwrap_or_else(|| {
        known(base).map_or_else(|| format!("{} {}", provider(base), name(base)), |facts| facts.quota_name.to_owned())
    });
    let day = match geography {
        Some("global") => "Global cross-region model inference tokens per day",
        _ => "Model invocation max tokens per day",
    };
    let limits = [
        (model.rpm, format!("{reach} model inference requests per minute for {label}"), "MINUTE", true),
        (model.tpm, format!("{reach} model inference tokens per minute for {label}"), "MINUTE", true),
        (model.tpd, format!("{day} for {label}"), "DAY", false),
    ];
    let enforced = limits
        .into_iter()
        .filter_map(|(limit, name, period, adjustable)| Some((limit.filter(|n| *n > 0)?, name, period, adjustable)));
    enforced.map(|(limit, name, period, adjustable)| quota(settings, limit, &name, period, adjustable)).collect()
}

fn quota(settings: &Settings, limit: u64, name: &str, period: &str, adjustable: bool) -> Value {
    let code = format!("L-{}", hex(Sha256::digest(name).get(..4).unwrap_or_default()).to_uppercase());
    json!({
        "ServiceCode": "bedrock",
        "ServiceName": "Amazon Bedrock",
        "QuotaArn": format!("arn:aws:servicequotas:{}:{}:bedrock/{code}", settings.region, settings.account_id),
        "QuotaCode": code,
        "QuotaName": name,
        "Value": super::draw::real(limit),
        "Unit": "None",
        "Adjustable": adjustable,
        "GlobalQuota": false,
        "Period": {"PeriodValue": 1, "PeriodUnit": period},
        "QuotaAppliedAtLevel": "ACCOUNT",
    })
}

fn refuse(kind: &str, message: &str) -> Response<Body> {
    let mut response =
        respond(StatusCode::BAD_REQUEST, &json!({"__type": kind, "Message": message, "message": message}));
    if let Ok(kind) = HeaderValue::from_str(kind) {
        response.headers_mut().insert("x-amzn-errortype", kind);
    }
    response
}

fn respond(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = super::fault::json_response(status, body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bedrocks() {
        let patch = json!({"models": {"global.anthropic.claude-sonnet-4-5-20250929-v1:0": {"tpd": 5}, "meta.x-v1:0": {"rpm": null}, "us.amazon.nova-pro-v1:0": {"tpd": 7}}});
        let all = quotas(&Settings::default().patched(patch).unwrap());
        let names: Vec<&str> = all.iter().filter_map(|quota| quota["QuotaName"].as_str()).collect();
        for name in [
            "Cross-region model inference tokens per minute for Anthropic Claude Sonnet 4.5 V1",
            "Global cross-region model inference tokens per minute for Anthropic Claude Sonnet 4.5 V1",
            "Global cross-region model inference tokens per day for Anthropic Claude Sonnet 4.5 V1",
            "Model invocation max tokens per day for Amazon Nova Pro",
            "Cross-region model inference requests per minute for Amazon Nova Pro",
            "On-demand model inference requests per minute for Amazon Titan Text Embeddings V2",
            "On-demand model inference tokens per minute for Meta X V1",
        ] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(!names.contains(&"On-demand model inference requests per minute for Meta X V1"));
    }

    #[test]
    fn a_name_is_listed_once_with_the_smallest_value() {
        let patch = json!({"models": {"us.amazon.nova-pro-v1:0": {"tpm": 9}, "eu.amazon.nova-pro-v1:0": {"tpm": 8}}});
        let all = quotas(&Settings::default().patched(patch).unwrap());
        let name = "Cross-region model inference tokens per minute for Amazon Nova Pro";
        let values: Vec<&Value> = all.iter().filter(|quota| quota["QuotaName"] == name).map(|q| &q["Value"]).collect();
        assert_eq!(values, [&json!(8.0)]);
    }

    #[test]
    fn lists_are_paged_and_other_services_are_unknown() {
        let settings = Settings::default();
        let first = list(&settings, &json!({"ServiceCode": "bedrock", "MaxResults": 7})).unwrap();
        let second = list(&settings, &json!({"ServiceCode": "bedrock", "NextToken": first["NextToken"]})).unwrap();
        assert_eq!((first["Quotas"].as_array().unwrap().len(), second["Quotas"].as_array().unwrap().len()), (7, 5));
        assert_eq!(list(&settings, &json!({"ServiceCode": "s3"})).unwrap_err().0, "NoSuchResourceException");
        assert_eq!(
            list(&settings, &json!({"ServiceCode": "bedrock", "MaxResults": 0})).unwrap_err().0,
            "IllegalArgumentException"
        );
        assert_eq!(answer(&settings, "ServiceQuotasV20190624.GetServiceQuota", b"{}").status(), 400);
    }
}
