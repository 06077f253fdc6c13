//! Workers, and the services that they need.

use super::{Content, Facts, advice, number, step, text, time};
use crate::clock::Timestamp;
use crate::pipeline::alerts::conditions::Condition;

pub fn no_progress(condition: &Condition, facts: &Facts<'_>) -> Content {
    let Condition::NoProgress { waiting, held, in_flight, callers, since } = condition else {
        return Content::default();
    };
    let mut causes = Vec::new();
    if *callers == 0 {
        causes.push("no worker that calls is alive".to_owned());
    }
    if *in_flight > 0 {
        causes.push("Bedrock answers none of the calls in flight, or the network drops the answers".to_owned());
    }
    causes.push("every call fails and is tried again: see the other open alerts".to_owned());
    causes.push("the queue or the table is out of reach for the workers".to_owned());
    Content {
        what: "no request has finished for minutes".to_owned(),
        impact: "requests could be called, and none comes to an end: results are late, deadlines will be missed. Nothing is lost.".to_owned(),
        numbers: vec![
            time("nothing_finished_since", *since),
            number("in_line", *waiting as f64, "requests at least"),
            number("next_or_being_called", *held as f64, "requests"),
            number("calls_in_flight", *in_flight as f64, "calls"),
            number("workers_that_call", *callers as f64, "workers"),
        ],
        causes,
        look: vec![
            facts.step("workers, lanes, pauses: who is alive and what stands still", "status"),
            facts.step("what else is the matter", "alerts"),
            advice("the workers' logs, for warnings: level WARN and ERROR"),
        ],
        fix: vec![
            advice("no worker: start one, or look why the service's tasks stop; see the runbook, \"workers restart\""),
            advice("workers that are alive and do nothing: restart them one after the other; they hand back what they hold"),
        ],
        over: "requests finish again.".to_owned(),
    }
}

pub fn worker_lost(workers: &[String], seen: Timestamp, alive: u64, before: u64, facts: &Facts<'_>) -> Content {
    let what = match workers {
        [one] => format!("{one} is lost"),
        several => format!("{} workers are lost", several.len()),
    };
    Content {
        what,
        impact: "a worker is gone without having left in order. Its requests go on with the others within a minute; its calls in flight are made again and may be billed twice.".to_owned(),
        numbers: vec![
            number("workers_left", alive as f64, "workers"),
            number("workers_before", before as f64, "workers"),
            text("lost", workers.join(", ")),
            time("last_seen", seen),
        ],
        causes: vec![
            "out of memory, a crash, a host that is gone, a spot interruption".to_owned(),
            "a deployment that killed it before it had drained: stop time-out shorter than drain_grace".to_owned(),
            "a network that keeps it from the requests table: then it has stopped calling by itself".to_owned(),
        ],
        look: vec![
            facts.step("who is alive, and whether the replacement is there", "status"),
            advice("why the task stopped: stoppedReason and exit code in ECS (137 is out of memory or killed), and the last lines of its log"),
        ],
        fix: vec![
            advice("mostly nothing: the service starts another one"),
            advice("if it happens again: more memory for the task, or a lower max_concurrent_executions; see also smoother dlq list"),
        ],
        over: "there are as many workers as before, or nobody misses them any more.".to_owned(),
    }
}

pub fn port(group: &str, what: &str, why: &str, passing: bool, facts: &Facts<'_>) -> Content {
    let causes = if passing {
        vec![
            "the service has trouble or throttles: it mostly passes by itself".to_owned(),
            "the network: NAT, VPC endpoint, proxy, DNS".to_owned(),
        ]
    } else {
        vec![
            "the task role lacks a permission, or a policy, a key policy or an endpoint policy denies it".to_owned(),
            "the resource was deleted or renamed, or the settings name another one".to_owned(),
        ]
    };
    let fix = if passing {
        "see https://health.aws.amazon.com/health/status for the Region; otherwise wait"
    } else {
        "give the role the action that is named, or correct the name in the settings and restart the workers; apply the deployment again to undo what was changed by hand"
    };
    Content {
        what: format!("{group} fails"),
        impact: "work that needs this waits and is repeated at least once a minute until it works; nothing is lost, and the workers go on with what does not need it.".to_owned(),
        numbers: vec![
            number("failures", facts.sums.events as f64, "failures"),
            text("latest", what),
            text("reason", why),
        ],
        causes,
        look: vec![
            step("the names in force, and where each is from", "smoother check-config"),
            step("whose credentials these are here", "aws sts get-caller-identity"),
            facts.step("whether the same works from here", "status"),
        ],
        fix: vec![advice(fix)],
        over: format!("no failure to {group} for some minutes; what had waited was repeated."),
    }
}

pub fn foreign_message(queue: &str, message: &str, facts: &Facts<'_>) -> Content {
    Content {
        what: format!("a message in {queue} is not smoother's"),
        impact: "it is left alone and ends in the dead-letter queue. No request is affected, but whoever sent it waits for nothing.".to_owned(),
        numbers: vec![
            number("receives", facts.sums.events as f64, "receives"),
            text("queue", queue),
            text("latest_message", message),
        ],
        causes: vec![
            "a producer sends to the hold queue instead of the input queue".to_owned(),
            "workers of another version wrote it: see whether all have the same".to_owned(),
        ],
        look: vec![facts.step("what ended there", "dlq list"), facts.step("the workers", "status")],
        fix: vec![
            advice("have the producer send to the input queue; only the worker's role needs rights on the hold queue"),
            facts.step("when it is of no use: throw away what ended in the dead-letter queue", "dlq purge --all --dry-run"),
        ],
        over: "no other such message came.".to_owned(),
    }
}

pub fn test(facts: &Facts<'_>) -> Content {
    Content {
        what: "test of the alerts".to_owned(),
        impact: "none: somebody ran smoother alerts test. If you read this, alerts reach you.".to_owned(),
        look: vec![facts.step("what is open now", "alerts")],
        over: "the test is over.".to_owned(),
        ..Content::default()
    }
}
