"""What is deployed, compared with what the code says it needs: `smoother schema`."""

import json
import re

from rig.places import REGION
from stack.deployed import SETTINGS
from stack.lacks import shows
from stack.variables import ACCOUNT, EVERYTHING, SETTINGS as SETTINGS_TEXT

# The settings that a deployment has variables for: variable → how its value is written for the worker.
VARIABLES = {
    "aws_region": str,
    "average_request_duration": "{}s".format,
    "minutes_to_process": str,
    "max_concurrent_executions": str,
    "alarm_threshold": str,
    "alarm_evaluation_periods": str,
    "alert_cooldown": "{}s".format,
    "dashboard_name": str,
    "metrics_namespace": str,
    "queue_depth_threshold": str,
    "allowed_models": ",".join,
    "allowed_source_buckets": ",".join,
    "usage_feed": lambda value: str(value).lower(),
    "otlp_endpoint": str,
    "trace_sample_ratio": str,
    "retention_days": str,
    "report_retention_days": str,
}
OUTPUTS = {
    "aws_region input_queue_url input_dlq_url bedrock_results_queue_url hold_next_batch_queue_url hold_next_batch_dlq_url "
    "requests_table_name reporting_table_name bedrock_calls_bucket_name alarm_topic_arn cluster_name worker_service_name "
    "dashboard_url gateway_url gateway_service_name gateway_admin_secret_arn discovery_task_definition_arn "
    "export_task_definition_arn analyst_policy_arn athena_workgroup_name athena_table"
}
# Seconds that ECS leaves a task beyond the worker's own grace.
MARGIN = 15


def seconds(text):
    return float(text.removesuffix("s"))


def test_outputs_are_complete(deployed):
    assert set(deployed.outputs) == set(*map(str.split, OUTPUTS))
    assert all(isinstance(value, str) and value for value in deployed.outputs.values())


def test_queues(deployed, schema):
    by_name = {queue["name"]: queue for queue in schema["queues"].values()}
    urls = [url for name, url in deployed.outputs.items() if name.endswith(("_queue_url", "_dlq_url"))]
    assert {url.rsplit("/", 1)[-1] for url in urls} == set(by_name)
    for url in urls:
        wanted = by_name[url.rsplit("/", 1)[-1]]
        got = deployed.cloud.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert int(got["VisibilityTimeout"]) == wanted["visibility_seconds"]
        assert int(got["MessageRetentionPeriod"]) == wanted["retention_seconds"]
        redrive = json.loads(got.get("RedrivePolicy", "{}"))
        target = redrive.get("deadLetterTargetArn", "").rsplit(":", 1)[-1] or None
        assert target == (wanted["dead_letters"] and schema["queues"][wanted["dead_letters"]]["name"])
        assert (redrive and int(redrive["maxReceiveCount"]) or None) == wanted["max_receives"]


def test_tables(deployed, schema):
    for which, wanted in schema["tables"].items():
        assert deployed.outputs[f"{which}_table_name"] == wanted["name"]
        table = deployed.cloud.dynamodb.describe_table(TableName=wanted["name"])["Table"]
        types = {definition["AttributeName"]: definition["AttributeType"] for definition in table["AttributeDefinitions"]}

        def keys(of):
            return [
                {"name": key["AttributeName"], "kind": key["KeyType"], "type": types[key["AttributeName"]]}
                for key in of["KeySchema"]
            ]

        assert keys(table) == wanted["keys"]
        indexes = {index["IndexName"]: index for index in table.get("GlobalSecondaryIndexes", [])}
        assert set(indexes) == {index["name"] for index in wanted["indexes"]}
        for index in wanted["indexes"]:
            got = indexes[index["name"]]
            assert keys(got) == index["keys"]
            assert got["Projection"]["ProjectionType"] == "INCLUDE"
            assert set(got["Projection"]["NonKeyAttributes"]) == set(index["includes"])
        ttl = deployed.cloud.dynamodb.describe_time_to_live(TableName=wanted["name"])["TimeToLiveDescription"]
        shown = lambda: (ttl["TimeToLiveStatus"], ttl["AttributeName"])
        shows(deployed, "time to live", shown, ("ENABLED", wanted["ttl"]))


def test_bucket_and_topic(deployed, schema):
    assert deployed.outputs["bedrock_calls_bucket_name"] == schema["bucket"]["name"].replace("{account}", ACCOUNT)
    assert deployed.outputs["alarm_topic_arn"].rsplit(":", 1)[-1] == schema["topic"]["name"]


def test_the_environment_is_settings_of_the_worker(deployed, schema):
    known = {setting["name"]: setting["environment"] for setting in schema["settings"]}
    environment = deployed.environment("worker")
    others = {"SMOOTHER_SETTINGS": SETTINGS_TEXT}
    assert set(environment) - set(others) <= set(known.values())
    for variable, write in VARIABLES.items():
        assert environment[known[variable]] == write(EVERYTHING[variable]), variable
    for output, setting in SETTINGS.items():
        assert environment[known[setting]] == deployed.outputs[output], setting
    for name, text in others.items():
        assert environment[name] == text
    given = {*map(known.get, VARIABLES), *map(known.get, SETTINGS.values()), *others}
    assert set(environment) - given == {known["drain_grace"], known["health_listen"]}


def test_a_task_gets_the_time_its_worker_takes_to_stop(deployed):
    grace = seconds(deployed.environment("worker")["SMOOTHER_DRAIN_GRACE"])
    assert deployed.container("worker")["stopTimeout"] >= grace + MARGIN


def test_health_is_asked_where_it_is_told(deployed):
    container = deployed.container("worker")
    command = ["CMD", "/usr/local/bin/smoother", "health"]
    shows(deployed, "health check", lambda: container["healthCheck"]["command"], command)
    assert deployed.environment("worker")["SMOOTHER_HEALTH_LISTEN"] == "127.0.0.1:8080"


def metrics_of_alarms(raw):
    """(name, dimensions) of our own metrics in every alarm and in the metric that replicas follow."""
    found = set()

    def look(value):
        if isinstance(value, list):
            for item in value:
                look(item)
        elif isinstance(value, dict):
            if value.get("Namespace") == EVERYTHING["metrics_namespace"]:
                found.add((value["MetricName"], tuple(sorted(d["Name"] for d in value.get("Dimensions", [])))))
            for item in value.values():
                look(item)

    look([r for r in raw["Resources"].values() if r["Type"].startswith(("AWS::CloudWatch::Alarm", "AWS::ApplicationAuto"))])
    return found


# A search over our own metrics: the dimensions, and what is searched for.
OURS = re.compile(r"SEARCH\('\{" + re.escape(EVERYTHING["metrics_namespace"]) + r"((?:,\s*\w+)*)\}([^']*)'")


def metrics_of_dashboard(body):
    found = set()
    for widget in json.loads(body)["widgets"]:
        for row in widget.get("properties", {}).get("metrics", []):
            texts = [part for part in row if isinstance(part, str)]
            options = [part for part in row if isinstance(part, dict)]
            if texts and texts[0] == EVERYTHING["metrics_namespace"]:
                found.add((texts[1], tuple(sorted(texts[2::2]))))
            for option in options:
                for names, text in OURS.findall(option.get("expression", "")):
                    dimensions = tuple(sorted(part.strip() for part in names.split(",") if part.strip()))
                    metric = re.search(r'MetricName\s*=\s*"?(\w+)"?', text)
                    assert metric, f"a search for no metric: {text}"
                    found.add((metric[1], dimensions))
    return found


def test_alarms_and_dashboard_are_of_metrics_that_there_are(deployments, schema):
    template = deployments[0]["cdk"].result().raw["template"]
    known = {(metric["name"], tuple(sorted(metric["dimensions"]))) for metric in schema["metrics"]["metrics"]}
    alarms = metrics_of_alarms(template)
    [body] = [r["Properties"]["DashboardBody"] for r in template["Resources"].values() if r["Type"] == "AWS::CloudWatch::Dashboard"]
    shown = metrics_of_dashboard(body if isinstance(body, str) else json.dumps(body))
    assert len(alarms) >= 5 and len(shown) >= 8, (alarms, shown)
    assert alarms <= known, alarms - known
    assert shown <= known, shown - known
    assert REGION == EVERYTHING["aws_region"]
