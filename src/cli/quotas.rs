//! `smoother quotas`: what may be used of each model, and who says so.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::ExitCode;

use clap::Args as ClapArgs;
use serde::Serialize;

use super::format::whole;
use super::place::{ConfigArgs, quotas as service_quotas};
use super::{Done, Error, print, say};
use crate::models::{Catalog, Listed, ModelQuotas, QuotaOrigin, Sourced};
use crate::request::ModelId;

/// Shows the quotas in force: of the models that are configured or serve a use case, and of all that Service Quotas lists.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
JSON: service_quotas (read|off|failed), account_tokens_per_day, models [model, requests_per_minute,
tokens_per_minute, tokens_per_day, warnings]; each quota is null where no limit is known, or value,
source (setting|service-quotas|assumed) and quota_name, the quota's name in Service Quotas.
Exit status: 1 when Service Quotas could not be read; what is configured is shown all the same.")]
pub struct Args {
    /// Of this model only, with the names of its quotas
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    model: Option<String>,
    /// Of every known model, also where the quota is only assumed
    #[arg(long)]
    all: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Asks the simulator there instead of AWS
    #[arg(long, value_name = "URL")]
    bedrock_endpoint: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub async fn quotas(args: Args) -> Done {
    let mut config = args.config.load()?.config;
    config.bedrock_endpoint = args.bedrock_endpoint.or(config.bedrock_endpoint);
    let catalog = Catalog::new(&config);
    let chosen = match &args.model {
        None => None,
        Some(text) => {
            let id =
                ModelId::new(text.as_str()).map_err(|rule| Error::Said(format!("{text:?} is no model: {rule}")))?;
            catalog.spec(&id).map_err(|failure| Error::Said(failure.message))?;
            Some(id)
        }
    };
    let mut state = "off";
    if let Some(service) = service_quotas(&config).await? {
        state = match service.list().await {
            Ok(rows) => {
                drop(catalog.set_service_quotas(&rows));
                "read"
            }
            Err(error) => {
                say(&format!("smoother: cannot {error}"));
                "failed"
            }
        };
    }
    let in_use: BTreeSet<ModelId> = catalog.in_use().into_iter().collect();
    let ids = chosen.clone().map_or_else(|| catalog.models(), |id| vec![id]);
    let shown: Vec<(ModelId, ModelQuotas)> = ids
        .into_iter()
        .map(|id| (catalog.quotas(&id), id))
        .filter(|(quotas, id)| args.all || chosen.is_some() || in_use.contains(id) || is_known(quotas))
        .map(|(quotas, id)| (id, quotas))
        .collect();
    print(
        match &chosen {
            _ if args.json => json(&catalog, state, &shown),
            Some(_) => details(&shown),
            None => table(&shown, catalog.account_tokens_per_day().as_ref()),
        }
        .trim_end(),
    )?;
    Ok(if state == "failed" { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The limits of a model with their names.
fn limits(quotas: &ModelQuotas) -> [(&'static str, Option<&Sourced>); 3] {
    [
        ("requests/min", quotas.requests_per_minute.as_ref()),
        ("tokens/min", Some(&quotas.tokens_per_minute)),
        ("tokens/day", quotas.tokens_per_day.as_ref()),
    ]
}

/// Whether anything but a default is known of it.
fn is_known(quotas: &ModelQuotas) -> bool {
    !quotas.faults.is_empty()
        || limits(quotas).into_iter().filter_map(|(_, q)| q).any(|q| q.origin != QuotaOrigin::Assumed)
}

/// A quota may be a fraction; only small ones are written as such.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || value >= 100.0 { whole(value) } else { value.to_string() }
}

fn table(shown: &[(ModelId, ModelQuotas)], account: Option<&Listed>) -> String {
    if shown.is_empty() {
        return "no quota is configured, and Service Quotas lists none of a known model; see smoother quotas --all"
            .to_owned();
    }
    let mut page = String::new();
    // Writing to a String cannot fail.
    write_table(&mut page, shown, account).unwrap_or_default();
    page
}

fn write_table(page: &mut String, shown: &[(ModelId, ModelQuotas)], account: Option<&Listed>) -> std::fmt::Result {
    let width = shown.iter().map(|(id, _)| id.as_str().len()).max().unwrap_or_default().max("model".len());
    writeln!(page, "{:width$} {:>8} {:>11} {:>15} from", "model", "req/min", "tokens/min", "tokens/day")?;
    for (id, quotas) in shown {
        let [requests, tokens, day] = limits(quotas).map(|(_, q)| q.map_or("-".to_owned(), |q| number(q.value)));
        let mut from: Vec<&str> = limits(quotas).into_iter().filter_map(|(_, q)| Some(word(q?.origin))).collect();
        from.sort_unstable();
        from.dedup();
        writeln!(page, "{:width$} {requests:>8} {tokens:>11} {day:>15} {}", id.as_str(), from.join("+"))?;
    }
    if let Some(account) = account {
        writeln!(page, "\nall models together: {} tokens/day, which AWS counts by price", number(account.value))?;
    }
    writeln!(
        page,
        "\nsetting: under [models] · listed: by Service Quotas · assumed: a careful default until it is known"
    )?;
    writeln!(page, "smoother quotas --model ID names the quotas; - where no limit is known")
}

fn word(origin: QuotaOrigin) -> &'static str {
    match origin {
        QuotaOrigin::Configured => "setting",
        QuotaOrigin::ServiceQuotas => "listed",
        QuotaOrigin::Assumed => "assumed",
    }
}

fn details(shown: &[(ModelId, ModelQuotas)]) -> String {
    let mut page = String::new();
    for (id, quotas) in shown {
        // Writing to a String cannot fail.
        write_details(&mut page, id, quotas).unwrap_or_default();
    }
    page
}

fn write_details(page: &mut String, id: &ModelId, quotas: &ModelQuotas) -> std::fmt::Result {
    writeln!(page, "{}", id.as_str())?;
    for (what, quota) in limits(quotas) {
        match quota {
            None => writeln!(page, "  {what:<13}{:>15}", "none known")?,
            Some(quota) => {
                writeln!(page, "  {what:<13}{:>15}  {}", number(quota.value), word(quota.origin))?;
                if let Some(name) = &quota.quota_name {
                    writeln!(page, "    {name}")?;
                }
            }
        }
    }
    for fault in &quotas.faults {
        writeln!(page, "  {fault}")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Report<'a> {
    service_quotas: &'a str,
    account_tokens_per_day: Option<QuotaJson>,
    models: Vec<ModelJson<'a>>,
}

#[derive(Serialize)]
struct ModelJson<'a> {
    model: &'a str,
    requests_per_minute: Option<QuotaJson>,
    tokens_per_minute: Option<QuotaJson>,
    tokens_per_day: Option<QuotaJson>,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct QuotaJson {
    value: f64,
    source: &'static str,
    quota_name: Option<String>,
}

impl QuotaJson {
    fn of(quota: &Sourced) -> Self {
        let source = match quota.origin {
            QuotaOrigin::Configured => "setting",
            QuotaOrigin::ServiceQuotas => "service-quotas",
            QuotaOrigin::Assumed => "assumed",
        };
        Self { value: quota.value, source, quota_name: quota.quota_name.as_deref().map(str::to_owned) }
    }
}

fn json(catalog: &Catalog, state: &str, shown: &[(ModelId, ModelQuotas)]) -> String {
    let account = catalog.account_tokens_per_day().map(|listed| QuotaJson {
        value: listed.value,
        source: "service-quotas",
        quota_name: Some(listed.name.to_string()),
    });
    let models = shown.iter().map(|(id, quotas)| {
        let [requests_per_minute, tokens_per_minute, tokens_per_day] =
            limits(quotas).map(|(_, q)| q.map(QuotaJson::of));
        ModelJson {
            model: id.as_str(),
            requests_per_minute,
            tokens_per_minute,
            tokens_per_day,
            warnings: &quotas.faults,
        }
    });
    let report = Report { service_quotas: state, account_tokens_per_day: account, models: models.collect() };
    serde_json::to_string_pretty(&report).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::format::WIDTH;
    use crate::config::{Config, Sources};
    use crate::ports::QuotaRow;

    const GOV: &str = "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0";

    fn shown() -> (Catalog, Vec<(ModelId, ModelQuotas)>) {
        let overrides = vec![(format!("models.\"{GOV}\".requests_per_minute"), "10000".to_owned())];
        let config = Config::load(&Sources { overrides, ..Sources::default() }).unwrap().config;
        let catalog = Catalog::new(&config);
        let row = |name: &str, value: f64| QuotaRow { name: name.to_owned(), value };
        drop(catalog.set_service_quotas(&[
            row("Cross-region model inference tokens per minute for Anthropic Claude Sonnet 4.5 V1", 100_000_000.0),
            row("Model invocation max tokens per day for Anthropic Claude Sonnet 4.5 V1 (doubled for cross-region calls)", 72e9),
            row("Cross-Model Max Tokens Per Day", 5e6),
        ]));
        let models = [GOV, "amazon.nova-lite-v1:0"].map(|id| ModelId::new(id).unwrap());
        let shown = models.into_iter().map(|id| (id.clone(), catalog.quotas(&id))).collect();
        (catalog, shown)
    }

    #[test]
    fn the_table_fits_and_tells_who_says_so() {
        let (catalog, shown) = shown();
        let page = table(&shown, catalog.account_tokens_per_day().as_ref());
        assert!(page.contains("all models together: 5,000,000 tokens/day"), "{page}");
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
        let line = |model: &str| {
            page.lines().find(|line| line.starts_with(model)).unwrap().split_whitespace().collect::<Vec<_>>()
        };
        assert_eq!(line(GOV)[1..], ["10,000", "100,000,000", "144,000,000,000", "listed+setting"]);
        assert_eq!(line("amazon")[1..], ["60", "100,000", "-", "assumed"]);
    }

    #[test]
    fn of_one_model_the_quotas_are_named() {
        let page = details(&shown().1[..1]);
        assert!(
            page.contains("    Cross-region model inference tokens per minute for Anthropic Claude Sonnet 4.5 V1\n"),
            "{page}"
        );
    }

    #[test]
    fn json_has_sources_and_names() {
        let (catalog, shown) = shown();
        let report: serde_json::Value = serde_json::from_str(&json(&catalog, "read", &shown)).unwrap();
        let model = &report["models"][0];
        assert_eq!(
            (&model["requests_per_minute"]["source"], &model["tokens_per_minute"]["source"]),
            (&"setting".into(), &"service-quotas".into())
        );
        assert_eq!(report["models"][1]["tokens_per_day"], serde_json::Value::Null);
        assert_eq!(report["account_tokens_per_day"]["value"], 5e6);
    }

    #[test]
    fn only_what_is_known_is_worth_a_line() {
        let (_, shown) = shown();
        assert_eq!([is_known(&shown[0].1), is_known(&shown[1].1)], [true, false]);
    }
}
