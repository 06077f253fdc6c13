//! The part of the Bedrock control plane that tells which models and inference profiles there are.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::family::{Family, base_id, known, split_geography};
use super::fault::AwsError;
use super::query::Query;
use super::settings::{ModelSettings, Settings};
use super::state::Catalog;

/// `ListFoundationModels`: every model once, whether it is reached by its id or through profiles.
pub(super) fn foundation_models(catalog: &Catalog, query: &Query) -> Result<Value, AwsError> {
    let settings = &catalog.settings;
    let mut summaries: Vec<Value> = Vec::new();
    for (id, model) in &settings.models {
        let base = base_id(id);
        if summaries.iter().all(|summary| summary["modelId"] != base) {
            summaries.push(summary(settings, base, model));
        }
    }
    let provider = query.get("byProvider");
    let output = query.get("byOutputModality");
    let inference = query.get("byInferenceType");
    let has = |summary: &Value, field: &str, wanted: &Option<String>| {
        wanted
            .as_ref()
            .is_none_or(|wanted| summary[field].as_array().is_some_and(|all| all.iter().any(|one| one == wanted)))
    };
    if let Some(output) = output.as_deref().filter(|output| !matches!(*output, "TEXT" | "IMAGE" | "EMBEDDING")) {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value '{output}' at 'byOutputModality' failed to satisfy constraint: Member must satisfy enum value set: [IMAGE, TEXT, EMBEDDING]"
        )));
    }
    summaries.retain(|summary| {
        let by = summary["providerName"].as_str().unwrap_or_default();
        provider.as_ref().is_none_or(|provider| by.eq_ignore_ascii_case(provider))
            && has(summary, "outputModalities", &output)
            && has(summary, "inferenceTypesSupported", &inference)
    });
    Ok(json!({"modelSummaries": summaries}))
}

fn summary(settings: &Settings, base: &str, model: &ModelSettings) -> Value {
    let facts = known(base);
    let embeds = Family::of(base).embeds();
    let on_demand = settings.models.contains_key(base);
    let profiled = settings.models.keys().any(|id| split_geography(id).0.is_some() && base_id(id) == base);
    let inference: Vec<&str> = [(on_demand, "ON_DEMAND"), (profiled, "INFERENCE_PROFILE")]
        .into_iter()
        .filter_map(|(is, name)| is.then_some(name))
        .collect();
    let mut lifecycle = json!({"status": if model.legacy { "LEGACY" } else { "ACTIVE" }});
    if let Some(end) = &model.end_of_life {
        lifecycle["endOfLifeTime"] = json!(end);
    }
    json!({
        "modelArn": model_arn(&settings.region, base),
        "modelId": base,
        "modelName": facts.map_or_else(|| name(base), |facts| facts.model_name.to_owned()),
        "providerName": facts.map_or_else(|| provider(base), |facts| facts.provider.to_owned()),
        "inputModalities": if facts.is_some_and(|facts| facts.vision) { json!(["TEXT", "IMAGE"]) } else { json!(["TEXT"]) },
        "outputModalities": [if embeds { "EMBEDDING" } else { "TEXT" }],
        "responseStreamingSupported": !embeds,
        "customizationsSupported": [],
        "inferenceTypesSupported": inference,
        "modelLifecycle": lifecycle,
    })
}

fn model_arn(region: &str, base: &str) -> String {
    format!("arn:aws:bedrock:{region}::foundation-model/{base}")
}

/// A readable name for a model that is not shipped.
pub(super) fn name(base: &str) -> String {
    let name = base.split_once('.').map_or(base, |(_, name)| name);
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    };
    name.split('-').map(capital).collect::<Vec<_>>().join(" ")
}

/// A model's provider by the start of its id.
pub(super) fn provider(base: &str) -> String {
    let provider = base.split_once('.').map_or("Unknown", |(provider, _)| provider);
    match provider {
        "amazon" => "Amazon".into(),
        "anthropic" => "Anthropic".into(),
        "cohere" => "Cohere".into(),
        "meta" => "Meta".into(),
        "mistral" => "Mistral AI".into(),
        "openai" => "OpenAI".into(),
        other => name(other),
    }
}

/// `ListInferenceProfiles`: a page of the system's and the account's own profiles.
pub(super) fn inference_profiles(catalog: &Catalog, query: &Query) -> Result<Value, AwsError> {
    let kind = query.get("type").or_else(|| query.get("typeEquals"));
    if let Some(kind) = kind.as_deref().filter(|kind| !matches!(*kind, "SYSTEM_DEFINED" | "APPLICATION")) {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value '{kind}' at 'type' failed to satisfy constraint: Member must satisfy enum value set: [SYSTEM_DEFINED, APPLICATION]"
        )));
    }
    let mut profiles = profiles(&catalog.settings);
    profiles.retain(|profile| kind.as_ref().is_none_or(|kind| profile["type"] == kind.as_str()));
    let (page, next) = query.page(profiles, "maxResults", "nextToken", 1_000)?;
    let mut response = json!({"inferenceProfileSummaries": page});
    if let Some(next) = next {
        response["nextToken"] = json!(next);
    }
    Ok(response)
}

/// `GetInferenceProfile` by id or ARN.
pub(super) fn inference_profile(catalog: &Catalog, given: &str) -> Result<Value, AwsError> {
    let found = profiles(&catalog.settings)
        .into_iter()
        .find(|profile| profile["inferenceProfileId"] == given || profile["inferenceProfileArn"] == given);
    found.ok_or_else(|| {
        AwsError::new(
            StatusCode::NOT_FOUND.as_u16(),
            "ResourceNotFoundException",
            format!("The resource you requested, {given}, does not exist. Check the inference profile identifier and try again."),
        )
    })
}

fn profiles(settings: &Settings) -> Vec<Value> {
    let system = settings.models.keys().filter_map(|id| {
        let (geography, base) = split_geography(id);
        let geography = geography?;
        Some(profile(settings, id, base, geography, "inference-profile", "SYSTEM_DEFINED"))
    });
    let own = settings.application_profiles.iter().map(|(id, model)| {
        let (geography, base) = split_geography(model);
        profile(settings, id, base, geography.unwrap_or_default(), "application-inference-profile", "APPLICATION")
    });
    system.chain(own).collect()
}

fn profile(settings: &Settings, id: &str, base: &str, geography: &str, resource: &str, kind: &str) -> Value {
    let (region, account) = (&settings.region, &settings.account_id);
    let model_name = known(base).map_or_else(|| name(base), |facts| format!("{} {}", facts.provider, facts.model_name));
    let reach = geography.to_uppercase();
    let label = if kind == "APPLICATION" { id.to_owned() } else { format!("{reach} {model_name}") };
    let regions: Vec<String> = match geography {
        "us" => ["us-east-1", "us-east-2", "us-west-2"].map(|region| model_arn(region, base)).to_vec(),
        "eu" => ["eu-central-1", "eu-north-1", "eu-west-1", "eu-west-3"].map(|region| model_arn(region, base)).to_vec(),
        "global" => vec![model_arn("", base), model_arn(region, base)],
        _ => vec![model_arn(region, base)],
    };
    json!({
        "inferenceProfileName": label,
        "description": format!("Routes requests to {model_name} in {}.", if reach.is_empty() { region } else { &reach }),
        "createdAt": "2025-10-01T00:00:00Z",
        "updatedAt": "2025-10-01T00:00:00Z",
        "inferenceProfileArn": format!("arn:aws:bedrock:{region}:{account}:{resource}/{id}"),
        "models": regions.into_iter().map(|arn| json!({"modelArn": arn})).collect::<Vec<_>>(),
        "inferenceProfileId": id,
        "status": "ACTIVE",
        "type": kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::state::State;

    fn catalog() -> std::sync::Arc<Catalog> {
        let patch = json!({
            "application_profiles": {"abc": "us.amazon.nova-pro-v1:0"},
            "models": {"amazon.nova-pro-v1:0": {"legacy": true}}
        });
        State::new(Settings::default().patched(patch).unwrap(), crate::clock::Clock::system()).catalog()
    }

    #[tokio::test]
    async fn models_are_listed_once_with_how_they_are_reached() {
        let all = foundation_models(&catalog(), &Query::of("")).unwrap();
        let of = |id: &str| {
            all["modelSummaries"].as_array().unwrap().iter().filter(|model| model["modelId"] == id).collect::<Vec<_>>()
        };
        assert_eq!(of("amazon.nova-pro-v1:0").len(), 1);
        assert_eq!(of("amazon.nova-pro-v1:0")[0]["inferenceTypesSupported"], json!(["ON_DEMAND", "INFERENCE_PROFILE"]));
        assert_eq!(of("amazon.nova-pro-v1:0")[0]["modelLifecycle"]["status"], "LEGACY");
        assert_eq!(
            of("anthropic.claude-haiku-4-5-20251001-v1:0")[0]["inferenceTypesSupported"],
            json!(["INFERENCE_PROFILE"])
        );
        let embeddings = foundation_models(&catalog(), &Query::of("byOutputModality=EMBEDDING")).unwrap();
        assert_eq!(embeddings["modelSummaries"].as_array().unwrap().len(), 2);
        assert!(foundation_models(&catalog(), &Query::of("byOutputModality=SMELL")).is_err());
    }

    #[tokio::test]
    async fn profiles_are_paged_filtered_and_found() {
        let page = |text: &str| inference_profiles(&catalog(), &Query::of(text)).unwrap();
        assert_eq!(page("")["inferenceProfileSummaries"].as_array().unwrap().len(), 4);
        assert_eq!(page("type=APPLICATION")["inferenceProfileSummaries"].as_array().unwrap().len(), 1);
        let first = page("maxResults=3");
        let token = first["nextToken"].as_str().unwrap();
        let second = page(&format!("maxResults=3&nextToken={token}"));
        assert_eq!(second["inferenceProfileSummaries"].as_array().unwrap().len(), 1);
        assert!(second.get("nextToken").is_none());
        let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
        assert_eq!(inference_profile(&catalog(), arn).unwrap()["models"].as_array().unwrap().len(), 3);
        assert_eq!(inference_profile(&catalog(), "nope").unwrap_err().status, 404);
    }

    #[test]
    fn names_of_models_that_are_not_shipped() {
        assert_eq!(name("meta.llama3-3-70b-instruct-v1:0"), "Llama3 3 70b Instruct V1");
        assert_eq!(provider("meta.llama3"), "Meta");
    }
}
