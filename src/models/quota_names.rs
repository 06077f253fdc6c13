//! Which of the quotas that Service Quotas lists for Bedrock are a model's. There is no API from one to the other: a
//! quota is known by its name alone, and names follow the marketing name of the model, each generation in a way of its own.
//!
//! Ids and names are both brought to the same words: the provider apart, numbers apart from letters, no dates and no
//! first versions (`us.anthropic.claude-3-5-sonnet-20240620-v1:0` and `Anthropic Claude 3.5 Sonnet` are both
//! `claude 3 5 sonnet`). What does not follow that rule is in `quota_aliases.csv`. A name that might be for two models is for
//! none.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::profile::{bare_id, is_geographic};
use crate::ports::QuotaRow;

/// A quota that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// What may be used; more than 0.
    pub value: f64,
    /// The name of the quota.
    pub name: Arc<str>,
}

/// The quotas of one model, profile or ARN's id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Requests a minute. Bedrock limits them for few models, and lists them for those only.
    pub requests_per_minute: Option<Listed>,
    /// Tokens a minute.
    pub tokens_per_minute: Option<Listed>,
    /// Tokens a day.
    pub tokens_per_day: Option<Listed>,
    /// Why a value that is listed was not taken, a sentence each.
    pub faults: Vec<String>,
}

/// All quotas of models, to look a model up in.
#[derive(Clone, Debug, Default)]
pub struct QuotaTable {
    /// By the words of the model's id.
    rows: HashMap<String, Vec<Row>>,
    account_tokens_per_day: Option<Listed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    RequestsPerMinute,
    TokensPerMinute,
    TokensPerDay,
}

/// By which ids a quota is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    OnDemand,
    CrossRegion,
    Global,
    /// On demand and across Regions, but not globally.
    Regional,
}

#[derive(Clone, Debug)]
struct Row {
    measure: Measure,
    reach: Reach,
    provider: Option<&'static str>,
    /// Calls across Regions may use twice the value.
    doubled: bool,
    listed: Listed,
}

/// What names call the providers, and ids. The longer before the shorter.
const PROVIDERS: [(&str, &str); 24] = [
    ("ai21 labs", "ai21"),
    ("ai21", "ai21"),
    ("amazon", "amazon"),
    ("anthropic", "anthropic"),
    ("cohere", "cohere"),
    ("deepseek", "deepseek"),
    ("google", "google"),
    ("meta", "meta"),
    ("minimax", "minimax"),
    ("mistral ai", "mistral"),
    ("mistral", "mistral"),
    ("moonshot ai", "moonshot"),
    ("moonshotai", "moonshot"),
    ("moonshot", "moonshot"),
    ("nvidia", "nvidia"),
    ("openai", "openai"),
    ("twelve labs", "twelvelabs"),
    ("twelvelabs", "twelvelabs"),
    ("writer ai", "writer"),
    ("writer", "writer"),
    ("xai", "xai"),
    ("z ai", "zai"),
    ("zai", "zai"),
    ("qwen", "qwen"),
];

/// The words of names that stand for others: those of the ids' own.
static ALIASES: LazyLock<HashMap<String, Vec<String>>> = LazyLock::new(|| {
    let mut aliases: HashMap<String, Vec<String>> = HashMap::new();
    for (name, id) in include_str!("quota_aliases.csv").lines().skip(1).filter_map(|line| line.split_once(',')) {
        aliases.entry(words_of_name(name).1).or_default().push(words_of_id(id).1);
    }
    aliases
});

impl QuotaTable {
    /// Reads the names. Whatever is no quota of a model's requests or tokens is left out.
    #[must_use]
    pub fn new(rows: &[QuotaRow]) -> Self {
        let mut table = Self::default();
        for QuotaRow { name, value } in rows {
            let listed = Listed { value: *value, name: name.as_str().into() };
            if name.trim().eq_ignore_ascii_case("Cross-Model Max Tokens Per Day") {
                table.account_tokens_per_day = Some(listed);
                continue;
            }
            let Some((measure, reach, model)) = measured(name) else { continue };
            let (model, doubled) = match model.strip_suffix("(doubled for cross-region calls)") {
                Some(model) => (model, true),
                None => (model.as_str(), false),
            };
            let (provider, words) = words_of_name(model);
            let row = Row { measure, reach, provider, doubled, listed };
            match ALIASES.get(&words) {
                None => table.rows.entry(words).or_default().push(row),
                Some(others) => {
                    for words in others {
                        table.rows.entry(words.clone()).or_default().push(row.clone());
                    }
                }
            }
        }
        table
    }

    /// The quotas of a model by its quota id ([`super::quota_id`]): `global.…` draws on the global quota, `us.…` and the
    /// other geographies on the one across Regions, a bare id on the one on demand.
    #[must_use]
    pub fn of(&self, id: &str) -> Limits {
        let bare = bare_id(id);
        let reach = match () {
            () if is_geographic(id) => Reach::CrossRegion,
            () if bare == id => Reach::OnDemand,
            () => Reach::Global,
        };
        let (provider, words) = words_of_id(bare);
        let rows = self.rows.get(&words).map(Vec::as_slice).unwrap_or_default();
        let mut faults = Vec::new();
        let mut only = |measure: Measure, what: &str| {
            let matching = rows.iter().filter(|row| {
                row.measure == measure && row.reach.serves(reach) && row.provider.is_none_or(|p| Some(p) == provider)
            });
            single(matching, reach).unwrap_or_else(|why| {
                faults.push(format!("{what} of {id}: {why}"));
                None
            })
        };
        let requests_per_minute = only(Measure::RequestsPerMinute, "requests per minute");
        let tokens_per_minute = only(Measure::TokensPerMinute, "tokens per minute");
        let tokens_per_day = only(Measure::TokensPerDay, "tokens per day");
        Limits { requests_per_minute, tokens_per_minute, tokens_per_day, faults }
    }

    /// The quota over all models of the account and Region. AWS counts it by price, so that it is not a number of tokens as they
    /// are counted elsewhere.
    #[must_use]
    pub fn account_tokens_per_day(&self) -> Option<&Listed> {
        self.account_tokens_per_day.as_ref()
    }
}

impl Reach {
    /// Whether a quota of this reach is what an id of the other draws on.
    fn serves(self, id: Self) -> bool {
        self == id || (self == Self::Regional && id != Self::Global)
    }
}

/// The one value of some rows.
fn single<'a>(rows: impl Iterator<Item = &'a Row>, reach: Reach) -> Result<Option<Listed>, String> {
    let mut found: Option<Listed> = None;
    for row in rows {
        let factor = if row.doubled && reach == Reach::CrossRegion { 2.0 } else { 1.0 };
        let listed = Listed { value: row.listed.value * factor, name: Arc::clone(&row.listed.name) };
        match &found {
            Some(other) if (other.value - listed.value).abs() > f64::EPSILON => {
                return Err(format!(
                    "Service Quotas lists {} for {:?} and {} for {:?}, and it is not clear which counts",
                    other.value, other.name, listed.value, listed.name
                ));
            }
            Some(_) => {}
            None => found = Some(listed),
        }
    }
    match found {
        Some(listed) if listed.value.is_nan() || listed.value <= 0.0 => {
            Err(format!("Service Quotas lists {} for {:?}; ask AWS for more", listed.value, listed.name))
        }
        found => Ok(found),
    }
}

/// What a quota measures, by what ids, and the name of its model in lower case.
fn measured(name: &str) -> Option<(Measure, Reach, String)> {
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let (what, model) = name.split_once(" for ")?;
    if what == "model invocation max tokens per day" {
        return Some((Measure::TokensPerDay, Reach::Regional, model.to_owned()));
    }
    let reaches = [
        ("on-demand ", Reach::OnDemand),
        ("cross-region ", Reach::CrossRegion),
        ("global cross-region ", Reach::Global),
    ];
    let (what, reach) = reaches.into_iter().find_map(|(start, reach)| Some((what.strip_prefix(start)?, reach)))?;
    let what = what.strip_prefix("model inference ").or_else(|| what.strip_prefix("invokemodel "))?;
    let measure = match what {
        "requests per minute" => Measure::RequestsPerMinute,
        "tokens per minute" => Measure::TokensPerMinute,
        "tokens per day" => Measure::TokensPerDay,
        _ => return None,
    };
    Some((measure, reach, model.to_owned()))
}

/// Provider, if it is named, and words of a model's name in a quota's.
fn words_of_name(name: &str) -> (Option<&'static str>, String) {
    let name = name.to_lowercase();
    let mut words: Vec<&str> =
        name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    // `V1` is a version of the API, as `v1:0` is in ids, and says nothing.
    if words.len() > 1 && words.last() == Some(&"v1") {
        words.pop();
    }
    without_provider(words)
}

/// Provider and words of a bare id.
fn words_of_id(id: &str) -> (Option<&'static str>, String) {
    let (provider, name) = id.split_once('.').unwrap_or(("", id));
    let (name, revised) = match name.rsplit_once(':') {
        Some((name, revision)) if revision.bytes().all(|b| b.is_ascii_digit()) => (name, true),
        _ => (name, false),
    };
    let name = match name.rsplit_once('-') {
        Some((name, "v0" | "v1")) => name,
        Some((name, "1")) if revised => name,
        _ => name,
    };
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let provider = PROVIDERS.iter().find(|(called, _)| *called == provider).map(|(_, provider)| *provider);
    (provider, without_provider(words.collect()).1)
}

/// Takes the provider off the front, as often as it is there (`Mistral AI Mistral Small`), and brings the rest to one form.
fn without_provider(mut words: Vec<&str>) -> (Option<&'static str>, String) {
    let mut provider = None;
    while let Some((count, found)) = PROVIDERS.iter().find_map(|(called, provider)| {
        let count = called.split(' ').count();
        (words.len() > count && called.split(' ').eq(words.iter().take(count).copied())).then_some((count, *provider))
    }) {
        provider = provider.or(Some(found));
        words.drain(..count);
    }
    let parts = words.into_iter().flat_map(parts).collect::<Vec<_>>();
    (provider, parts.join(" "))
}

/// `llama3` as `llama`, `3`; `v2` as `2`; nothing of a date.
fn parts(word: &str) -> Vec<&str> {
    if word.len() == 8 && word.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    let parts: Vec<&str> = word
        .as_bytes()
        .chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
        .filter_map(|part| str::from_utf8(part).ok())
        .collect();
    match parts.as_slice() {
        ["v", numbers @ ..] if !numbers.is_empty() => numbers.to_vec(),
        _ => parts,
    }
}

#[cfg(test)]
mod tests;
