//! Showing a configuration: as a table, as JSON, and all settings as documentation.

use std::fmt::Write as _;

use serde_json::{Map, json};

use super::settings::{MODEL_SETTINGS, SETTINGS, Setting, TENANT_SETTINGS, USE_CASE_SETTINGS, env_name};
use super::value::Value;
use super::{Effective, Loaded};

impl Loaded {
    /// Every setting with its value and origin, in columns, for `smoother check-config`.
    #[must_use]
    pub fn to_table(&self) -> String {
        let rows: Vec<[String; 3]> = self
            .rows()
            .map(|(name, secret, effective)| match effective {
                Some(Effective { value, origin }) => [name, masked(secret, value).to_string(), origin.to_string()],
                None => [name, "-".to_owned(), "not set".to_owned()],
            })
            .collect();
        let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (names, values) = (wide(0), wide(1).min(60));
        rows.iter().fold(String::new(), |mut table, [name, value, origin]| {
            let value = if value.is_empty() { "(none)" } else { value };
            // Writing to a String does not fail.
            _ = writeln!(table, "{name:names$}  {value:values$}  {origin}");
            table
        })
    }

    /// The same as JSON: `{"settings": {NAME: {"value": …, "origin": …}}, "warnings": [...]}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let settings: Map<String, serde_json::Value> = self
            .rows()
            .map(|(name, secret, effective)| {
                let row = match effective {
                    Some(Effective { value, origin }) => {
                        json!({"value": masked(secret, value).to_json(), "origin": origin.to_string()})
                    }
                    None => json!({"value": null, "origin": "not set"}),
                };
                (name, row)
            })
            .collect();
        format!("{:#}", json!({"settings": settings, "warnings": self.warnings}))
    }

    /// Name, whether it is secret, and the value of every plain setting, then of every nested one that is set.
    fn rows(&self) -> impl Iterator<Item = (String, bool, Option<&Effective>)> {
        let plain = SETTINGS.iter().map(|s| (s.name.to_owned(), s.secret, self.effective.get(s.name)));
        let nested = self.effective.iter().filter(|(name, _)| name.contains('.'));
        plain.chain(nested.map(|(name, effective)| (name.clone(), false, Some(effective))))
    }
}

fn masked(secret: bool, value: &Value) -> Value {
    if secret { Value::Text("(hidden)".to_owned()) } else { value.clone() }
}

/// `docs/configuration.md`, generated from the lists that configurations are loaded by.
#[must_use]
pub fn document() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("| setting | environment | default | takes | what it is for |\n|---|---|---|---|---|\n");
    for setting in SETTINGS {
        let default = match setting.default {
            None => "not set".to_owned(),
            Some("") => "empty".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        // Writing to a String does not fail.
        _ = writeln!(
            page,
            "| `{}` | `{}` | {default} | {} | {} |",
            setting.name,
            env_name(setting.name),
            setting.kind.expected(),
            setting.about(),
        );
    }
    page.push_str(MODELS);
    nested(&mut page, MODEL_SETTINGS);
    page.push_str(USE_CASES);
    nested(&mut page, USE_CASE_SETTINGS);
    page.push_str(TENANTS);
    nested(&mut page, TENANT_SETTINGS);
    page.push_str(BUDGETS);
    page
}

fn nested<Owner>(page: &mut String, settings: &[Setting<Owner>]) {
    page.push_str("| setting | takes | what it is for |\n|---|---|---|\n");
    for setting in settings {
        _ = writeln!(page, "| `{}` | {} | {} |", setting.name, setting.kind.expected(), setting.about());
    }
}

const INTRODUCTION: &str =
    "<!-- Generated from src/config/settings.rs. After a change there: UPDATE_DOCS=1 cargo test --lib config -->
# Configuration

Defaults, then the TOML file (`--config FILE`), then environment variables, then flags: the later one counts.
`smoother check-config` prints what counts and where it came from, or everything that is wrong at once.
`smoother.example.toml` is a file to start from.

Where there is no place for a file, as in a container with a read-only root, the environment variable `SMOOTHER_SETTINGS`
holds its text (TOML, several lines) and counts as the file does. Having both is a fault.

Durations are written `500ms`, `90s`, `5m`, `1h` (a bare number is seconds), sizes `256KiB`, `25MB` (a bare number is
bytes; KB is 1,000 bytes, KiB 1,024). Lists are arrays in the file, separated by commas in the environment. An empty
environment variable counts as not set.

";

const MODELS: &str = "
## `[models.\"<model id>\"]`

What is known of a model, an inference profile or an ARN. Adds to the built-in catalogue and overrides it. All optional. On
the command line: `models.\"us.amazon.nova-lite-v1:0\".tokens_per_minute=100000`.

";

const USE_CASES: &str = "
## `[use_cases.<name>]`

What producers may ask for by `use_case` instead of naming a model.

";

const TENANTS: &str = "
## `[tenants.<name>]`

A tenant's part of the lanes, its limits and its budgets. Tenants that are not listed have the defaults: weight 1 and no
limit of their own. On the command line: `tenants.acme.usd_per_day=25`.

";

const BUDGETS: &str = "
## Budgets

A request may start while what was spent, what the requests under way are expected to cost and what it is expected to cost
itself fit into every budget that covers it: its tenant's day and month, and those of all tenants together. Days and months
are those of UTC. The policy of the budget that has no room counts. A request that is expected to cost more than a whole
budget is ended with `BudgetExceeded` under every policy: it would wait for ever.

Budgets hold by count, not to the cent:

- A cost counts when its request ends, by the tokens that Bedrock reports and the prices of the catalogue or of `[models]`.
  A model without a known price costs nothing here; `smoother check-config` names those in use.
- What is under way counts by estimate. It is off where answers are longer than those before them, and then a budget is
  exceeded by at most what is under way.
- Each worker saves what it has counted every two seconds. One that is killed (`kill -9`, a lost machine) loses what it counted
  since: at most those two seconds, or longer when the table could not be written to.
- A call whose answer was lost (a timeout, a worker that died) may be charged by Bedrock and counts nothing.
- Of a tenant without a budget the worker may cease to keep a sum of its own when there are hundreds; it still counts for all.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::{Form, Kind};

    #[test]
    fn secrets_are_never_shown() {
        let secret: Setting<()> = Setting {
            name: "token",
            kind: Kind::Text(Form::Name),
            default: None,
            doc: &["."],
            secret: true,
            put: |(), _| {},
        };
        assert_eq!(secret.shown(&"hunter2"), "(hidden)");
        assert_eq!(masked(true, &Value::Text("hunter2".to_owned())).to_string(), "(hidden)");
        assert_eq!(masked(false, &Value::Whole(7)).to_string(), "7");
    }
}
