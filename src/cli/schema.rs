//! `smoother schema`: what a deployment must provide, as JSON from the code's own definitions. Terraform and CDK are checked
//! against it.

use std::process::ExitCode;

use clap::Args as ClapArgs;
use serde::Serialize;

use crate::aws::provision::check_prefix;
use crate::aws::schema::{METRICS_NAMESPACE, Names, Queues, Tables};
use crate::config::{PlainSetting, plain_settings};
use crate::pipeline::tally::metrics::{Entry, METRICS};

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
    bucket: Named,
    topic: Named,
    settings: Vec<PlainSetting>,
    metrics: Metrics,
}

#[derive(Serialize)]
struct Named {
    name: String,
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
            bucket: Named { name: names.bucket("{account}") },
            topic: Named { name: names.topic },
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
        assert_eq!(names.len(), 6, "{names:?}");
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
        assert_eq!(schema["topic"]["name"], "acme-alarms");
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
}
