//! What the demo sends, and the simulated Bedrock that it sends it to.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::ports::Outgoing;
use crate::simulator::{Faults, ModelSettings, Settings};

const CLAUDE: &str = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
const NOVA: &str = "amazon.nova-lite-v1:0";
/// Requests and tokens a minute.
const CLAUDE_QUOTA: (u64, u64) = (600, 450_000);
const NOVA_QUOTA: (u64, u64) = (450, 160_000);
const TENANTS: [&str; 3] = ["checkout", "research", "nightly"];

/// A message of the demo.
#[derive(Clone, Debug)]
pub struct Message {
    /// Whether it arrives while others are at work.
    pub urgent: bool,
    /// As it goes to the input queue.
    pub outgoing: Outgoing,
}

/// Two models with quotas; a few calls fail.
pub fn bedrock(seed: u64) -> Settings {
    let faults = Faults { internal_500: 0.02, unavailable_503: 0.01, drop: 0.003, ..Faults::default() };
    let model = |(rpm, tpm), burndown| ModelSettings {
        rpm: Some(rpm),
        tpm: Some(tpm),
        burndown,
        mean_output_tokens: 130.0,
        faults,
        ..ModelSettings::default()
    };
    let models = [(CLAUDE.to_owned(), model(CLAUDE_QUOTA, 5.0)), (NOVA.to_owned(), model(NOVA_QUOTA, 1.0))];
    Settings { seed, models: models.into(), ..Settings::default() }
}

/// The same quotas as settings of the worker, and a use case.
pub fn quotas() -> Vec<(String, String)> {
    let mut settings = vec![("use_cases.support.model".to_owned(), NOVA.to_owned())];
    for (model, (rpm, tpm)) in [(CLAUDE, CLAUDE_QUOTA), (NOVA, NOVA_QUOTA)] {
        settings.push((format!("models.\"{model}\".requests_per_minute"), rpm.to_string()));
        settings.push((format!("models.\"{model}\".tokens_per_minute"), tpm.to_string()));
    }
    settings
}

/// `count` messages, the same for the same seed: about one in 25 invalid, one in 16 urgent.
pub fn messages(count: u64, seed: u64) -> Vec<Message> {
    let mut rng = Rng::with_seed(seed);
    (0..count)
        .map(|n| {
            if n % 25 == 7 {
                return Message { urgent: false, outgoing: outgoing(invalid(n, &mut rng)) };
            }
            let urgent = n % 16 == 3;
            Message { urgent, outgoing: outgoing(valid(n, urgent, &mut rng).to_string()) }
        })
        .collect()
}

fn outgoing(body: String) -> Outgoing {
    Outgoing { body, attributes: BTreeMap::new() }
}

fn valid(n: u64, urgent: bool, rng: &mut Rng) -> Value {
    let priority = match (urgent, rng.u8(..100)) {
        (true, _) => "urgent",
        (_, 0..15) => "high",
        (_, 15..70) => "normal",
        (_, 70..85) => "low",
        _ => "bulk",
    };
    let mut message = json!({
        "request_id": format!("demo-{n:05}"),
        "priority": priority,
        "tenant": TENANTS[rng.usize(..TENANTS.len())],
        "metadata": {"ticket": format!("T-{}", 1_000 + n)},
        "converse": {
            "system": [{"text": "You answer briefly and name your sources."}],
            "messages": [{"role": "user", "content": [{"text": prompt(rng)}]}],
            "inferenceConfig": {"maxTokens": 150 + 50 * rng.u64(..4), "temperature": 0.2},
        },
    });
    match rng.u8(..100) {
        0..55 => message["model_id"] = CLAUDE.into(),
        55..90 => message["model_id"] = NOVA.into(),
        _ => message["use_case"] = "support".into(),
    }
    if rng.u8(..100) < 8 {
        message["converse"]["toolConfig"] = json!({"tools": [{"toolSpec": {
            "name": "look_up_order",
            "description": "Finds an order by its number",
            "inputSchema": {"json": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}},
        }}]});
    }
    message
}

/// Text of 50 to 1,200 words, most of it short.
fn prompt(rng: &mut Rng) -> String {
    const WORDS: [&str; 12] =
        ["orders", "arrive", "late", "when", "stock", "runs", "low", "in", "the", "northern", "warehouse", "again"];
    let words = 50 + rng.usize(..350) * usize::from(rng.u8(..4));
    let text: Vec<&str> = (0..words).map(|_| WORDS[rng.usize(..WORDS.len())]).collect();
    format!("Summarise and say what to do: {}", text.join(" "))
}

/// What producers get wrong.
fn invalid(n: u64, rng: &mut Rng) -> String {
    let id = format!("demo-{n:05}");
    let body = json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]});
    match rng.u8(..6) {
        0 => format!("{{\"request_id\": \"{id}\", \"model_id\": "),
        1 => json!({"request_id": id, "model_id": NOVA, "converse": body, "prioritee": "high"}).to_string(),
        2 => json!({"request_id": id, "model_id": NOVA, "converse": body, "priority": 12}).to_string(),
        3 => json!({"request_id": id, "model_id": "amazon.nova-light-v1:0", "converse": body}).to_string(),
        4 => json!({"request_id": id, "model_id": NOVA, "converse": body, "deadline": "2020-01-01T00:00:00Z"})
            .to_string(),
        _ => json!({"request_id": id, "model_id": NOVA}).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::request::message::{Limits, decode};

    #[test]
    fn the_traffic_is_what_it_claims_to_be() {
        let now = Timestamp::parse("2026-11-21T00:00:00Z").unwrap();
        let messages = messages(300, 1);
        let decoded: Vec<_> =
            messages.iter().map(|m| decode(m.outgoing.body.as_bytes(), now, &Limits::default())).collect();
        let refused = decoded.iter().filter(|d| d.is_err()).count();
        // An unknown model is well formed; the catalog refuses it.
        assert!((8..=12).contains(&refused), "{refused} of 300 are not well formed");
        assert!(messages.iter().filter(|m| m.urgent).count() >= 15);
    }
}
