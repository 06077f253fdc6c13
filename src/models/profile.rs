//! The forms of a model id: bare, with the prefix of an inference profile, or inside an ARN.

/// Prefixes of profiles that stay within a geography.
const GEOGRAPHIC: [&str; 7] = ["us.", "eu.", "apac.", "jp.", "au.", "in.", "us-gov."];
/// The prefix of profiles that go anywhere.
const GLOBAL: &str = "global.";

/// What a request to `model` is charged to: the id inside the ARN of a foundation model or of a system-defined
/// profile, anything else as it is. An ARN and its id are one model with one quota.
#[must_use]
pub fn quota_id(model: &str) -> &str {
    if !model.starts_with("arn:") {
        return model;
    }
    // arn : partition : bedrock : Region : account : kind/id, where the id may hold colons itself.
    match model.splitn(6, ':').nth(5).and_then(|resource| resource.split_once('/')) {
        Some(("foundation-model" | "inference-profile", id)) if !id.is_empty() => id,
        _ => model,
    }
}

/// The model behind a profile: `us.amazon.nova-lite-v1:0` is `amazon.nova-lite-v1:0`.
#[must_use]
pub fn bare_id(id: &str) -> &str {
    GEOGRAPHIC.iter().chain([&GLOBAL]).find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id)
}

/// Whether the id is that of a profile bound to a geography.
pub(super) fn is_geographic(id: &str) -> bool {
    GEOGRAPHIC.iter().any(|prefix| id.starts_with(prefix))
}

/// Family and version of a Claude model: `("opus", 4, 5)`. The family of the old names, `claude-3-5-haiku`, comes last and is
/// empty here.
pub(super) fn claude(id: &str) -> Option<(&str, u32, u32)> {
    let name = bare_id(id).strip_prefix("anthropic.claude-")?;
    let (family, version) = match name.split_once('-') {
        Some((family, rest)) if !family.starts_with(|c: char| c.is_ascii_digit()) => (family, rest),
        _ => ("", name),
    };
    // A date or a suffix such as v1:0 is no part of the version.
    let mut numbers = version.split('-').map_while(|part| part.parse::<u32>().ok().filter(|n| *n < 100));
    let major = numbers.next()?;
    Some((family, major, numbers.next().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_and_its_id_are_one() {
        for (model, id) in [
            ("us.amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0"),
            ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
            (
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
                "us.amazon.nova-lite-v1:0",
            ),
            (
                "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/us-gov.anthropic.claude-sonnet-5",
                "us-gov.anthropic.claude-sonnet-5",
            ),
        ] {
            assert_eq!(quota_id(model), id);
        }
        for other in [
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2",
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/a1b2",
            "arn:aws:bedrock:us-east-1::foundation-model/",
            "arn:aws:bedrock",
        ] {
            assert_eq!(quota_id(other), other);
        }
    }

    #[test]
    fn prefixes_come_off() {
        for prefix in ["us", "eu", "apac", "jp", "au", "in", "us-gov", "global"] {
            assert_eq!(bare_id(&format!("{prefix}.anthropic.claude-opus-5")), "anthropic.claude-opus-5");
            assert_eq!(is_geographic(&format!("{prefix}.anthropic.claude-opus-5")), prefix != "global");
        }
        assert_eq!(bare_id("ai21.jamba-1-5-mini-v1:0"), "ai21.jamba-1-5-mini-v1:0");
    }

    #[test]
    fn versions_of_claude_are_read_from_old_and_new_names() {
        for (id, expected) in [
            ("anthropic.claude-3-5-haiku-20241022-v1:0", Some(("", 3, 5))),
            ("anthropic.claude-v2:1", None),
            ("anthropic.claude-opus-4-20250514-v1:0", Some(("opus", 4, 0))),
            ("us.anthropic.claude-haiku-4-5-20251001-v1:0", Some(("haiku", 4, 5))),
            ("anthropic.claude-opus-4-6-v1", Some(("opus", 4, 6))),
            ("global.anthropic.claude-opus-5-5", Some(("opus", 5, 5))),
            ("anthropic.claude-sonnet-5", Some(("sonnet", 5, 0))),
            ("anthropic.claude-mythos-preview", None),
            ("amazon.nova-lite-v1:0", None),
        ] {
            assert_eq!(claude(id), expected, "{id}");
        }
    }
}
