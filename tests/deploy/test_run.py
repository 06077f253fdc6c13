"""The real worker on what was deployed, as the role that was deployed: it serves, and it may do just what it does."""

import json
from collections import Counter

import duckdb
import pytest

from rig.traffic import POINTERS
from stack.deployed import arn
from stack.run import ADDED
from stack.variables import ACCOUNT, NAME, OWN_PROFILE, REGION, SOURCE_BUCKET

# What the policy of the worker allows and no run used: (Sid, action, resource) → why it is there.
PROFILE = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile"
UNUSED = {
    ("Models", "bedrock:InvokeModel", f"{PROFILE}/amazon.*"): "a pattern may mean models, profiles or both",
    ("Models", "bedrock:InvokeModel", f"{PROFILE}/anthropic.*"): "a pattern may mean models, profiles or both",
    ("Models", "bedrock:InvokeModel", OWN_PROFILE): "an allowed ARN; nothing here is such a profile",
}
# What a run uses or not, by how fast it goes and when its workers are killed.
DEAD_LETTERS = arn("sqs", f"{NAME}-hold-next-batch-dlq")
SOMETIMES = {
    ("Input", "sqs:ChangeMessageVisibility", arn("sqs", f"{NAME}-input")): "keeps a message whose admission takes long, hands back at a stop",
    ("DeadLetters", "sqs:SendMessage", DEAD_LETTERS): "buries a request whose third worker was lost in an earlier pass",
    ("DeadLetters", "sqs:DeleteMessage", DEAD_LETTERS): "deletes the letter of a request that has come to its end otherwise",
}
# What was asked for and denied, and should be: (action, resource) → why.
DENIED = {
    ("s3:ListBucket", f"arn:aws:s3:::{SOURCE_BUCKET}"): "S3 tells a missing object from a forbidden one to none but those who may list",
}


def test_the_worker_is_started_as_its_task_definition_says(worked, deployed):
    given = deployed.environment("worker")
    assert {name: worked.env[name] for name in given if name not in ADDED} == {
        name: value for name, value in given.items() if name not in ADDED
    }
    assert set(worked.env) - set(given) <= set(ADDED)
    assert deployed.container("worker")["command"] == ["run"]
    assert worked.checked and worked.health is not None and worked.ended == 0


def test_everything_has_its_end(worked):
    assert set(worked.rows) == set(worked.reports) == worked.names and not worked.open_ends()
    assert set(worked.reports.values()) == {1}
    statuses = {}
    for result, attributes in worked.results:
        assert result["status"] == attributes["status"] == worked.rows[result["request_id"]]["status"]
        statuses[result["request_id"]] = result["status"]
    assert set(statuses) == worked.names
    depths = worked.place.depths()
    assert (depths["input"], depths["hold"], depths["input_dlq"]) == (0, 0, 0)


def test_answers_refusals_and_failures(worked):
    rows = worked.rows
    failed = {name for name, row in rows.items() if row["status"] == "FAILED"}
    for message in [*worked.goods, *worked.large]:
        row = rows[message.name]
        unlucky = row["status"] == "FAILED" and row["outcome"]["error"]["retryable"]
        assert row["status"] == message.status or unlucky, (message.kind, row)
    assert len(failed) <= 10
    by_kind = Counter(message.kind for message in [*worked.goods, *worked.large] if message.name not in failed)
    assert {"plain", "tool", "embedding", "native", "image", "by pointer", "long result", "use case"} <= set(by_kind)
    for message in worked.bads:
        error = rows[message.name]["outcome"]["error"]
        assert rows[message.name]["status"] == "REJECTED" and error["field"] == message.field, (message.kind, error)
    assert rows["meta"]["status"] == "REJECTED" and rows["meta"]["outcome"]["error"]["field"] == "model_id"
    # The very message that lies in the other bucket under each of the two names of a pointer.
    assert [rows[f"large-{n}"]["status"] for n in range(len(POINTERS))] == ["SUCCEEDED"] * len(POINTERS)
    assert rows["bodiless"]["status"] == "FAILED", rows["bodiless"]


def test_what_takes_workers_down_ends_as_a_dead_letter(worked):
    assert worked.rows["deadly"]["outcome"]["error"]["type"] == "Poison"
    [letter] = worked.dead["Messages"]
    assert "deadly" in letter["Body"]


def test_bedrock_failed_now_and_then(worked):
    total = worked.bedrock.stats()
    kinds = {kind for model in total["models"].values() for kind in model["faulted"]}
    assert {"throttle", "internal_500"} <= kinds, kinds


def test_on_call_is_told(worked):
    alerts = [json.loads(envelope["Message"]) for envelope, _ in worked.told]
    kinds = {alert.get("kind") for alert in alerts}
    assert "access-denied" in kinds, kinds


def test_metrics_are_those_of_the_code(worked, schema):
    known = {(metric["name"], tuple(sorted(metric["dimensions"]))) for metric in schema["metrics"]["metrics"]}
    sent = {(m["MetricName"], tuple(sorted(d["Name"] for d in m["Dimensions"]))) for m in worked.metrics}
    assert sent <= known and len(sent) > 10
    counts = worked.wire.counts()
    for call in ("servicequotas:ListServiceQuotas", "cloudwatch:GetMetricData"):
        assert counts[call][0] >= 1


def test_nothing_is_denied_that_is_needed(worked):
    denied = worked.wire.denied()
    assert set(denied) == set(DENIED), denied
    assert not worked.wire.faults


def test_nothing_is_allowed_that_is_not_used(worked):
    """Every action on every resource that the policy names was used, or there is a reason on the list."""
    resource_of_key = next(iter(worked.wire.keys.values()))
    unused = {
        (sid, action, "key" if resource == resource_of_key else resource) for sid, action, resource in worked.role.unused()
    }
    assert unused - set(SOMETIMES) == set(UNUSED)


def test_exports_are_the_reports(worked, deployed, schema, tmp_path):
    """Written by the deployed role as the schedule would, read by DuckDB: the reports, in the columns of the table of Athena."""
    early, now, again = worked.exports
    assert (early["rows"] + now["rows"], again["written"], again["rows_read"]) == (len(worked.reports), 0, now["rows_read"])
    s3, bucket = deployed.cloud.s3, deployed.outputs["bedrock_calls_bucket_name"]
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix="exports/")["Contents"]]
    assert "exports/_smoother/export.json" in keys
    for key in keys:
        file = tmp_path / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    files = f"{tmp_path}/exports/day=*/*.parquet"
    read = f"read_parquet('{files}', hive_partitioning = true, hive_types = {{'day': VARCHAR}})"
    ids = [name for (name,) in duckdb.sql(f"SELECT request_id FROM {read}").fetchall()]
    assert sorted(ids) == sorted(worked.reports)
    shown = duckdb.sql(f"DESCRIBE SELECT * FROM {read}").fetchall()
    words = {"VARCHAR": "string", "TIMESTAMP WITH TIME ZONE": "timestamp", "BIGINT": "bigint", "DOUBLE": "double"}
    words |= {"BOOLEAN": "boolean", "MAP(VARCHAR, VARCHAR)": "map<string,string>"}
    assert {name: words[kind] for name, kind, *_ in shown} == {
        column["name"]: column["glue_type"] for column in schema["reporting"]["columns"]
    }


def test_exports_may_do_what_they_do(worked, deployed):
    bucket = f"arn:aws:s3:::{deployed.outputs['bedrock_calls_bucket_name']}"
    # Only files of more than 16 MiB go in parts.
    unused = {("Exports", "s3:AbortMultipartUpload", f"{bucket}/exports/*")}
    assert worked.export_role.unused() == unused
    role = deployed.role("export")
    for action, resource, context in [
        ("s3:PutObject", f"{bucket}/results/2026/11/21/a/b.json", ()),
        ("s3:GetObject", f"{bucket}/requests/2026/11/21/a/b.json", ()),
        ("s3:ListBucket", bucket, ()),
        ("s3:ListBucket", bucket, (("s3:prefix", "requests/"),)),
        ("dynamodb:Query", arn("dynamodb", f"table/{NAME}-requests"), ()),
        ("dynamodb:PutItem", arn("dynamodb", f"table/{NAME}-reporting"), ()),
    ]:
        assert not role.allows(action, resource, context), (action, resource)


def test_only_by_tls(deployed):
    """With the policies of the resources themselves: what does not come encrypted is refused by all of them."""
    role, plain = deployed.role("worker"), deployed.role("worker", secure=False)
    policies = deployed.resource_policies()
    assert len(policies) == 7
    bucket = deployed.outputs["bedrock_calls_bucket_name"]
    for action, resource in [
        ("sqs:ReceiveMessage", arn("sqs", f"{NAME}-input")),
        ("sqs:SendMessage", arn("sqs", f"{NAME}-bedrock-results")),
        ("sqs:ReceiveMessage", arn("sqs", f"{NAME}-hold-next-batch")),
        ("s3:GetObject", f"arn:aws:s3:::{bucket}/requests/x"),
        ("s3:ListBucket", f"arn:aws:s3:::{bucket}"),
        ("sns:Publish", deployed.outputs["alarm_topic_arn"]),
    ]:
        assert role.allows(action, resource), (action, resource)
        assert not plain.allows(action, resource), (action, resource)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("bedrock:InvokeModel", "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-3-70b-instruct-v1:0"),
        ("bedrock:InvokeModelWithResponseStream", "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"),
        ("s3:GetObject", "arn:aws:s3:::somebody-elses-bucket/a.json"),
        ("s3:DeleteObject", f"arn:aws:s3:::{NAME}-bedrock-calls-000000000000/requests/x"),
        ("sqs:PurgeQueue", arn("sqs", f"{NAME}-input")),
        ("sqs:ReceiveMessage", arn("sqs", f"{NAME}-bedrock-results")),
        ("dynamodb:Scan", arn("dynamodb", f"table/{NAME}-requests")),
        ("dynamodb:DeleteItem", arn("dynamodb", f"table/{NAME}-reporting")),
        ("cloudwatch:PutMetricData", "*"),
        ("iam:PassRole", "arn:aws:iam::000000000000:role/proof-worker"),
    ],
)
def test_what_a_worker_may_not_do(deployed, action, resource):
    assert not deployed.role("worker").allows(action, resource, (("cloudwatch:namespace", "AWS/Bedrock"),))
