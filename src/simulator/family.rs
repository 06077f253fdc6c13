//! What is known of a model from its id: provider, dialect of its native bodies, names, limits.

use super::settings::{Latency, ModelSettings};

/// Geographies of cross-Region inference profiles, as prefixes of a model id.
pub const GEOGRAPHIES: [&str; 8] = ["us.", "eu.", "apac.", "jp.", "au.", "in.", "us-gov.", "global."];

/// The dialect of a model's native request and response bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Anthropic messages.
    Anthropic,
    /// Amazon Nova, schema messages-v1.
    Nova,
    /// Amazon Titan text embeddings.
    TitanEmbed,
    /// Cohere text embeddings.
    CohereEmbed,
    /// Anything else: `prompt`, `inputText` or `messages` in, `completion` out.
    Other,
}

impl Family {
    /// The family of a model id or inference profile id.
    #[must_use]
    pub fn of(id: &str) -> Self {
        let base = base_id(id);
        if base.starts_with("anthropic.") {
            Self::Anthropic
        } else if base.starts_with("amazon.nova") && !base.contains("embed") {
            Self::Nova
        } else if base.starts_with("amazon.titan-embed-text") {
            Self::TitanEmbed
        } else if base.starts_with("cohere.embed") {
            Self::CohereEmbed
        } else {
            Self::Other
        }
    }

    /// Whether the model turns text into vectors instead of text.
    #[must_use]
    pub const fn embeds(self) -> bool {
        matches!(self, Self::TitanEmbed | Self::CohereEmbed)
    }
}

/// A geography's prefix and the foundation model behind it; no prefix for a bare model id.
#[must_use]
pub fn split_geography(id: &str) -> (Option<&'static str>, &str) {
    GEOGRAPHIES
        .into_iter()
        .find_map(|geography| Some((Some(geography.trim_end_matches('.')), id.strip_prefix(geography)?)))
        .unwrap_or((None, id))
}

/// The foundation model behind a model id or inference profile id.
#[must_use]
pub fn base_id(id: &str) -> &str {
    split_geography(id).1
}

/// Names and limits of a foundation model.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// As in `ListFoundationModels`.
    pub model_name: &'static str,
    /// As in `ListFoundationModels`.
    pub provider: &'static str,
    /// As in the names of Service Quotas.
    pub quota_name: &'static str,
    /// Whether images are understood.
    pub vision: bool,
    shipped: Shipped,
}

#[derive(Clone, Copy, Debug)]
struct Shipped {
    rpm: u64,
    tpm: u64,
    burndown: f64,
    max_input_tokens: u64,
    max_output_tokens: u64,
    mean_output_tokens: f64,
    base_ms: f64,
    tokens_per_second: f64,
}

const TEXT: Shipped = Shipped {
    rpm: 500,
    tpm: 300_000,
    burndown: 1.0,
    max_input_tokens: 200_000,
    max_output_tokens: 4_096,
    mean_output_tokens: 350.0,
    base_ms: 800.0,
    tokens_per_second: 80.0,
};

const EMBED: Shipped = Shipped { rpm: 2_000, max_output_tokens: 0, mean_output_tokens: 0.0, base_ms: 120.0, ..TEXT };

/// Known models: the start of the foundation model's id, then its facts.
const KNOWN: [(&str, Facts); 6] = [
    (
        "anthropic.claude-sonnet-4-5",
        facts(
            "Claude Sonnet 4.5",
            "Anthropic",
            "Anthropic Claude Sonnet 4.5 V1",
            true,
            Shipped { burndown: 5.0, max_output_tokens: 64_000, ..TEXT },
        ),
    ),
    (
        "anthropic.claude-haiku-4-5",
        facts(
            "Claude Haiku 4.5",
            "Anthropic",
            "Anthropic Claude Haiku 4.5",
            true,
            Shipped {
                rpm: 1_000,
                tpm: 1_000_000,
                burndown: 5.0,
                max_output_tokens: 64_000,
                base_ms: 500.0,
                tokens_per_second: 160.0,
                ..TEXT
            },
        ),
    ),
    (
        "amazon.nova-lite",
        facts(
            "Nova Lite",
            "Amazon",
            "Amazon Nova Lite",
            true,
            Shipped {
                rpm: 1_000,
                tpm: 2_000_000,
                max_input_tokens: 300_000,
                max_output_tokens: 10_000,
                base_ms: 400.0,
                tokens_per_second: 150.0,
                ..TEXT
            },
        ),
    ),
    (
        "amazon.nova-pro",
        facts(
            "Nova Pro",
            "Amazon",
            "Amazon Nova Pro",
            true,
            Shipped { tpm: 1_000_000, max_input_tokens: 300_000, max_output_tokens: 10_000, ..TEXT },
        ),
    ),
    (
        "amazon.titan-embed-text-v2",
        facts(
            "Titan Text Embeddings V2",
            "Amazon",
            "Amazon Titan Text Embeddings V2",
            false,
            Shipped { max_input_tokens: 8_192, ..EMBED },
        ),
    ),
    (
        "cohere.embed-english-v3",
        facts(
            "Embed English",
            "Cohere",
            "Cohere Embed English",
            false,
            Shipped { max_input_tokens: 96 * 512, ..EMBED },
        ),
    ),
];

const fn facts(
    model_name: &'static str,
    provider: &'static str,
    quota_name: &'static str,
    vision: bool,
    shipped: Shipped,
) -> Facts {
    Facts { model_name, provider, quota_name, vision, shipped }
}

/// What is known of a model; none for one that is not shipped.
#[must_use]
pub fn known(id: &str) -> Option<&'static Facts> {
    let base = base_id(id);
    KNOWN.iter().find(|(start, _)| base.starts_with(start)).map(|(_, facts)| facts)
}

/// The settings a model has until told otherwise.
#[must_use]
pub fn shipped_settings(id: &str) -> ModelSettings {
    let family = Family::of(id);
    let shipped = known(id).map_or(if family.embeds() { EMBED } else { TEXT }, |facts| facts.shipped);
    let burndown = if family == Family::Anthropic { shipped.burndown.max(5.0) } else { shipped.burndown };
    ModelSettings {
        rpm: Some(shipped.rpm),
        tpm: Some(shipped.tpm),
        burndown,
        max_input_tokens: shipped.max_input_tokens,
        max_output_tokens: shipped.max_output_tokens,
        mean_output_tokens: shipped.mean_output_tokens,
        latency: Latency { base_ms: shipped.base_ms, tokens_per_second: shipped.tokens_per_second, sigma: 0.35 },
        ..ModelSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_apart() {
        assert_eq!(split_geography("us.amazon.nova-pro-v1:0"), (Some("us"), "amazon.nova-pro-v1:0"));
        assert_eq!(split_geography("us-gov.anthropic.x"), (Some("us-gov"), "anthropic.x"));
        assert_eq!(split_geography("amazon.nova-lite-v1:0"), (None, "amazon.nova-lite-v1:0"));
        assert_eq!(Family::of("global.anthropic.claude-sonnet-4-5-20250929-v1:0"), Family::Anthropic);
        assert_eq!(Family::of("amazon.titan-embed-text-v2:0"), Family::TitanEmbed);
        assert_eq!(Family::of("meta.llama3-3-70b-instruct-v1:0"), Family::Other);
    }

    #[test]
    fn burndown_follows_the_family() {
        assert!((shipped_settings("us.anthropic.claude-3-haiku-20240307-v1:0").burndown - 5.0).abs() < f64::EPSILON);
        assert!((shipped_settings("meta.llama3-3-70b-instruct-v1:0").burndown - 1.0).abs() < f64::EPSILON);
        assert_eq!(shipped_settings("cohere.embed-english-v3").max_output_tokens, 0);
    }
}
