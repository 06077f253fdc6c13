//! What Bedrock does to calls.

use super::{Content, Facts, advice, moment, number, region, short, step, text, time, word};
use crate::clock::Timestamp;
use crate::models::{bare_id, quota_id};
use crate::pipeline::alerts::conditions::Fault;
use crate::ports::alerts::Number;
use crate::request::{Lane, ModelId, RequestId};

/// Failed calls, of all calls where that is known.
fn share(facts: &Facts<'_>, name: &'static str) -> Vec<Number> {
    let sums = facts.sums;
    let mut numbers = vec![number(name, sums.events as f64, "calls")];
    if sums.calls >= sums.events && sums.events > 0 {
        numbers.push(number("share_of_calls", 100.0 * sums.events as f64 / sums.calls as f64, "%"));
    }
    if sums.ended > 0 {
        numbers.push(number("requests_failed", sums.ended as f64, "requests"));
    }
    numbers
}

fn where_it_is(lane: &Lane) -> [Number; 2] {
    [text("model", lane.model().as_str()), text("region", region(lane))]
}

pub fn error_rate(lane: &Lane, error: &str, fault: Fault, latest: &RequestId, facts: &Facts<'_>) -> Content {
    let model = lane.model();
    let name = short(&model);
    let mut numbers = share(facts, "failed_calls");
    numbers.extend(where_it_is(lane));
    numbers.push(text("error", error));
    numbers.push(text("latest_request", latest.as_str()));
    numbers.push(text("alert_threshold", facts.threshold()));
    let (impact, causes) = match fault {
        Fault::Bedrock => (
            "these requests are tried again with growing delays, up to max_attempts times; then they end as FAILED, and their producers are told. Other models go on.",
            vec![
                "Bedrock has trouble or too little capacity for this model; it mostly passes by itself".to_owned(),
                "a model that is being loaded, if the error is ModelNotReadyException".to_owned(),
            ],
        ),
        Fault::Unanswered => (
            "no answer came to these calls. Each is tried again up to three times and may have been billed; then the request ends as FAILED.",
            vec![
                "answers that take longer than call_timeout: very long outputs".to_owned(),
                "the network between the worker and Bedrock: NAT, VPC endpoint, proxy, DNS".to_owned(),
                "Bedrock has trouble".to_owned(),
            ],
        ),
        Fault::Request => (
            "these requests end as FAILED at once, and their producers are told why. Trying them again would not help. All others go on.",
            vec![
                "a producer sends what the model does not take: a wrong field, too long an input".to_owned(),
                "a model that is only served through an inference profile, such as us.amazon.nova-lite-v1:0".to_owned(),
                "a model that is no longer offered in this Region".to_owned(),
            ],
        ),
    };
    let quiet = match fault {
        Fault::Request => vec![
            advice("tell the producer: the result message of each request has the error and the reason"),
            facts.step(
                "to stop it meanwhile, hold the model back; what waits stays in line",
                &format!("pause --lane {} --for 1h --reason 'calls fail'", word(model.as_str())),
            ),
        ],
        _ => vec![
            facts.step(
                "if it goes on: hold the model back instead of using up attempts; it goes on by itself after an hour",
                &format!("pause --lane {} --for 1h --reason 'Bedrock fails'", word(model.as_str())),
            ),
            advice(
                "see https://health.aws.amazon.com/health/status for the Region; with a case at AWS Support, name the model and the time",
            ),
        ],
    };
    Content {
        what: format!("{error} from {name}"),
        impact: impact.to_owned(),
        numbers,
        causes,
        look: vec![
            facts.step("what became of the latest one, and why", &format!("status {}", word(latest.as_str()))),
            facts.step("whether other models fail too, and how much waits", "status"),
        ],
        fix: quiet,
        over: format!(
            "calls of {name} fail no more than now and then. Requests that ended as FAILED meanwhile stay so; their producers were told."
        ),
    }
}

pub fn throttled(lane: &Lane, tokens: bool, facts: &Facts<'_>) -> Content {
    let model = lane.model();
    let name = short(&model);
    let mut numbers = share(facts, "throttled_calls");
    numbers.extend(where_it_is(lane));
    numbers.push(text("exceeded", if tokens { "tokens per minute" } else { "requests per minute" }));
    numbers.push(text("alert_threshold", format!("{}, and 1 % of the calls", facts.threshold())));
    Content {
        what: format!("{name} is throttled in spite of pacing"),
        impact: "the model pauses for seconds at a time and is then called less: its requests wait longer. None fails by it, none is lost.".to_owned(),
        numbers,
        causes: vec![
            "the configured quota is above the real one".to_owned(),
            "other programs on the same account and Region call this model".to_owned(),
            "a second deployment of smoother on the same account".to_owned(),
        ],
        look: vec![
            facts.step("the quota, what is used of it, and how far it was slowed down", "status"),
            step("which quota is in force, and who says so", format!("smoother quotas --model {}", word(model.as_str()))),
        ],
        fix: vec![
            advice(format!("correct tokens_per_minute and requests_per_minute under [models.\"{model}\"] in the settings, and restart the workers")),
            advice("others on the account: usage_feed = true measures them and leaves them their part"),
            advice("more quota: Service Quotas, Amazon Bedrock, the quota that smoother quotas names"),
        ],
        over: format!("{name} is throttled no more than now and then."),
    }
}

pub fn lane_paused(lane: &Lane, account_wide: bool, until: Timestamp, facts: &Facts<'_>) -> Content {
    let model = lane.model();
    let name = short(&model);
    let mut numbers = vec![time("paused_until", until)];
    numbers.extend(where_it_is(lane));
    numbers.push(text(
        "exceeded",
        if account_wide { "tokens per day of the whole account" } else { "tokens per day of the model" },
    ));
    let what = if account_wide {
        format!("all models in {} pause, the day's tokens are used up", region(lane))
    } else {
        format!("{name} pauses, its tokens of the day are used up")
    };
    let whose = if account_wide { "No model of this account and Region is" } else { "The model is not" };
    Content {
        what,
        impact: format!(
            "{whose} called until {}; then one call tries whether there is quota again. Requests wait in line, none is lost; what has a deadline before that ends as EXPIRED.",
            moment(until)
        ),
        numbers,
        causes: vec![
            "more work than the quota of a day has room for".to_owned(),
            "other programs on the same account use the model".to_owned(),
            "reruns of large batches".to_owned(),
        ],
        look: vec![
            facts.step("how many wait, by tenant and priority", "status"),
            step("the tokens per day of the model", format!("smoother quotas --model {}", word(model.as_str()))),
        ],
        fix: vec![
            facts.step(
                "take back what is not needed (first with --dry-run, to see how much)",
                &format!("cancel --lane {} --of-priority bulk --dry-run", word(model.as_str())),
            ),
            facts.step(
                "give urgent work more time",
                &format!("deadline --lane {} --of-priority urgent --in 12h --dry-run", word(model.as_str())),
            ),
            advice(if account_wide {
                "more quota: Service Quotas, Amazon Bedrock, the cross-model tokens per day; or another account"
            } else {
                "more quota: Service Quotas, Amazon Bedrock, max tokens per day of the model; or send new work to another model"
            }),
        ],
        over: if account_wide {
            format!("the models in {} are called again.", region(lane))
        } else {
            format!("{name} is called again.")
        },
    }
}

pub fn access_denied(lane: &Lane, model: &ModelId, latest: &RequestId, facts: &Facts<'_>) -> Content {
    let name = short(model);
    let mut numbers = share(facts, "refused_calls");
    numbers.extend([
        text("model", model.as_str()),
        text("region", region(lane)),
        text("latest_request", latest.as_str()),
    ]);
    Content {
        what: format!("access denied to {name}"),
        impact: "Bedrock refuses the calls of this model. Its requests end as FAILED at once, and their producers are told. Other models go on.".to_owned(),
        numbers,
        causes: vec![
            "the task role may not call the model: it is not in allowed_models of the deployment".to_owned(),
            "access to the model was never requested in this account, or its use case form or Marketplace subscription is missing".to_owned(),
            "a service control policy denies the model or one of the Regions of its inference profile".to_owned(),
        ],
        look: vec![
            facts.step("what Bedrock answered", &format!("status {}", word(latest.as_str()))),
            step(
                "whether the account has access, and the agreement it needs",
                format!("aws bedrock get-foundation-model-availability --region {} --model-id {}", region(lane), word(bare_id(quota_id(model.as_str())))),
            ),
        ],
        fix: vec![
            advice(format!("the task role needs bedrock:InvokeModel on {}; add the model to allowed_models of the deployment and apply it", resources(lane, model))),
            advice("access of the account: Amazon Bedrock console, Model access; for Anthropic models submit the use case form there"),
            facts.step(
                "meanwhile keep its requests in line instead of failing them",
                &format!("pause --lane {} --reason 'access denied'", word(model.as_str())),
            ),
        ],
        over: format!("Bedrock answers calls of {name} again. Requests that ended as FAILED meanwhile stay so; send them again under new ids."),
    }
}

/// What a policy must name for a model.
fn resources(lane: &Lane, model: &ModelId) -> String {
    let (id, region) = (model.as_str(), region(lane));
    if id.starts_with("arn:") {
        return id.to_owned();
    }
    let bare = bare_id(id);
    if bare == id {
        format!("arn:aws:bedrock:{region}::foundation-model/{id}")
    } else {
        format!("arn:aws:bedrock:{region}:*:inference-profile/{id} and arn:aws:bedrock:*::foundation-model/{bare}")
    }
}
