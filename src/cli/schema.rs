//! `smoother schema`: what a deployment must provide, as JSON from the code's own definitions. Terraform and CDK are checked
//! against it.

use std::process::ExitCode;

use clap::Args as ClapArgs;
use serde::Serialize;

use crate::aws::provision::check_prefix;
use crate::aws::schema::{BODIES, EXPORTS, METRICS_NAMESPACE, Names, Queues, Tables, glue_type};
use crate::config::{PlainSetting, plain_settings};
use crate::export::PARTITION;
use crate::pipeline::tally::metrics::{Entry, METRICS};
use crate::ports::ReportRow;
use crate::ports::reports::Column;

use super::{Done, Error, print};

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// What every name begins with
    #[arg(long, default_value = Names::PREFIX)]
    prefix: String,
}

/// As JSON these names are stable.
#[derive(Serialize)]
struct Schema {
    queues: Queues,
    tables: Tables,
    bucket: Bucket,
    topic: Named,
    reporting: Reporting,
    settings: Vec<PlainSetting>,
    metrics: Metrics,
}

#[derive(Serialize)]
struct Named {
    name: String,
}

#[derive(Serialize)]
struct Bucket {
    name: String,
    /// What is below these is deleted after `retention_days`.
    expiring: [&'static str; 4],
    exports: &'static str,
}

/// The reporting table as files and as a table of Glue.
#[derive(Serialize)]
struct Reporting {
    partition: &'static str,
    columns: Vec<Reported>,
}

#[derive(Serialize)]
struct Reported {
    #[serde(flatten)]
    column: &'static Column,
    glue_type: &'static str,
    about: String,
}

#[derive(Serialize)]
struct Metrics {
    namespace: &'static str,
    metrics: &'static [Entry],
}

pub fn schema(args: &Args) -> Done {
    check_prefix(&args.prefix)?;
    let schema = serde_json::to_string_pretty(&Schema::of(&args.prefix)).map_err(|e| Error::Said(e.to_string()))?;
    print(&schema)?;
    Ok(ExitCode::SUCCESS)
}

impl Schema {
    fn of(prefix: &str) -> Self {
        let names = Names::new(prefix);
        Self {
            queues: Queues::new(&names),
            tables: Tables::new(&names),
            // The account is known only to who deploys.
            bucket: Bucket { name: names.bucket("{account}"), expiring: BODIES, exports: EXPORTS },
            topic: Named { name: names.topic },
            reporting: Reporting {
                partition: PARTITION,
                columns: ReportRow::COLUMNS
                    .iter()
                    .map(|column| Reported { column, glue_type: glue_type(column.kind), about: column.about() })
                    .collect(),
            },
            settings: plain_settings().collect(),
            metrics: Metrics { namespace: METRICS_NAMESPACE, metrics: METRICS },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn it_has_the_names_of_the_contract() {
        let schema = serde_json::to_value(Schema::of("acme")).unwrap();
        let names: Vec<&String> = schema.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 7, "{names:?}");
        let plain = |name: &str| json!({"name": name, "visibility_seconds": 60, "retention_seconds": 1_209_600, "dead_letters": null, "max_receives": null});
        let redriven = |name: &str, target: &str, receives: u32| {
            let mut queue = plain(name);
            queue["dead_letters"] = target.into();
            queue["max_receives"] = receives.into();
            queue
        };
        let queues = json!({
            "input": redriven("acme-input", "input_dlq", 5),
            "input_dlq": plain("acme-input-dlq"),
            "results": plain("acme-bedrock-results"),
            "hold": redriven("acme-hold-next-batch", "hold_dlq", 3),
            "hold_dlq": plain("acme-hold-next-batch-dlq"),
        });
        assert_eq!(schema["queues"], queues);
        let key = |name: &str, kind: &str| json!({"name": name, "kind": kind, "type": "S"});
        let requests = &schema["tables"]["requests"];
        assert_eq!(requests["keys"], json!([key("request_id", "HASH")]));
        assert_eq!((&requests["name"], &requests["ttl"]), (&json!("acme-requests"), &json!("expires_at")));
        let index = &requests["indexes"][0];
        assert_eq!(index["keys"], json!([key("work_list", "HASH"), key("work_sort", "RANGE")]));
        assert_eq!((&index["name"], index["includes"].as_array().map(Vec::len)), (&json!("work-index"), Some(8)));
        let reporting = json!({
            "name": "acme-reporting",
            "keys": [key("day", "HASH"), key("finished_key", "RANGE")],
            "ttl": "expires_at",
            "indexes": [],
        });
        assert_eq!(schema["tables"]["reporting"], reporting);
        assert_eq!(schema["bucket"]["name"], "acme-bedrock-calls-{account}");
        let prefixes = crate::ports::PutKind::ALL.map(|kind| format!("{}/", kind.prefix()));
        assert_eq!(schema["bucket"]["expiring"], json!(prefixes), "every body expires");
        assert_eq!(schema["bucket"]["exports"], "exports/");
        assert_eq!(schema["topic"]["name"], "acme-alarms");
        let columns = schema["reporting"]["columns"].as_array().unwrap();
        assert_eq!((columns.len(), &columns[0]["name"]), (ReportRow::COLUMNS.len(), &schema["reporting"]["partition"]));
        let wait = columns.iter().find(|column| column["name"] == "wait_ms").unwrap();
        let about = "From received to the start of the last call; to the end, when there was no call.";
        let expected = json!({"name": "wait_ms", "kind": "whole", "optional": false, "unit": "ms", "glue_type": "bigint", "about": about});
        assert_eq!(*wait, expected);
        let entry = |list: &Value, name: &str| list.as_array().unwrap().iter().find(|e| e["name"] == name).cloned();
        assert_eq!(
            entry(&schema["settings"], "max_attempts"),
            Some(json!({"name": "max_attempts", "environment": "SMOOTHER_MAX_ATTEMPTS", "default": "6"}))
        );
        assert_eq!(entry(&schema["settings"], "bucket").map(|s| s["default"].clone()), Some(Value::Null));
        assert_eq!(schema["metrics"]["namespace"], "Smoother");
        let wait = json!({"name": "Wait", "unit": "Milliseconds", "kind": "histogram", "dimensions": ["Priority"]});
        assert_eq!(entry(&schema["metrics"]["metrics"], "Wait"), Some(wait));
    }

    /// What the Glue tables of both deployments are made of.
    #[test]
    fn the_columns_of_the_deployments_are_those_of_the_rows() {
        let lines: Vec<String> = crate::export::columns()
            .map(|(_, column)| {
                let unit = if column.unit.is_empty() { String::new() } else { format!(" [{}]", column.unit) };
                // Glue takes 255 characters.
                let comment: String = format!("{}{unit}", column.about()).replace('`', "").chars().take(255).collect();
                format!(
                    "  {{ \"name\": {}, \"type\": {}, \"comment\": {} }}",
                    json!(column.name),
                    json!(glue_type(column.kind)),
                    json!(comment)
                )
            })
            .collect();
        let json = format!("[\n{}\n]\n", lines.join(",\n"));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/terraform/modules/analytics/columns.json");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &json).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == json,
            "terraform/modules/analytics/columns.json is old: UPDATE_DOCS=1 cargo test --lib schema"
        );
    }
}
