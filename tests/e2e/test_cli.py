"""The commands as their users meet them."""

import json

import boto3
import pytest
from botocore.config import Config
from rig import HAIKU, NOVA, REGION, TITAN, converse, free_port, run


def test_every_fault_of_the_configuration_is_told_at_once(tmp_path):
    (tmp_path / "smoother.toml").write_text('max_attempts = 0\nretry_base = "soon"\nmax_atempts = 3\n')
    checked = run(["check-config", "--config", str(tmp_path / "smoother.toml")], {"SMOOTHER_INPUT_POLLERS": "many"})
    assert checked.returncode == 1
    for name in ("max_attempts", "retry_base", "max_atempts", "SMOOTHER_INPUT_POLLERS", "soon", "many"):
        assert name in checked.stderr, checked.stderr


def test_the_effective_configuration_is_machine_readable():
    checked = run(["check-config", "--json", "--set", "max_attempts=3"])
    assert checked.returncode == 0, checked.stderr
    assert "max_attempts" in json.loads(checked.stdout) or "max_attempts" in checked.stdout


def test_init_makes_the_same_things_twice(aws):
    keys = "input_queue_url results_queue_url hold_queue_url dlq_url requests_table reporting_table bucket alarm_topic_arn"
    assert set(keys.split()) <= set(aws.out)
    prefix = aws.out["requests_table"].removesuffix("-requests")
    again = run(["init", "--prefix", prefix, "--json"], aws.env)
    assert json.loads(again.stdout) == aws.out


def test_init_without_a_service_says_what_failed():
    env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    made = run(["init"], env)
    assert made.returncode == 1
    assert "cannot" in made.stderr and "sts" in made.stderr.lower() or "sqs" in made.stderr.lower(), made.stderr


def test_run_without_settings_names_all_that_are_missing():
    ran = run(["run"])
    assert ran.returncode == 1
    for name in ("input_queue_url", "requests_table", "bucket", "--local"):
        assert name in ran.stderr, ran.stderr


@pytest.fixture
def clients(simulate):
    url = simulate(latency_scale=0.0).url
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": REGION, "endpoint_url": url}
    config = Config(retries={"max_attempts": 1})
    return lambda service: boto3.client(service, config=config, **keys)


def test_the_simulator_speaks_to_boto3(clients):
    runtime = clients("bedrock-runtime")
    answer = runtime.converse(modelId=NOVA, **converse("c-1"))
    assert answer["output"]["message"]["content"][0]["text"]
    assert answer["usage"]["outputTokens"] > 0
    events = list(runtime.converse_stream(modelId=HAIKU, **converse("c-2"))["stream"])
    assert "messageStart" in events[0] and "metadata" in events[-1]
    embedded = runtime.invoke_model(modelId=TITAN, body=json.dumps({"inputText": "x"}))
    assert len(json.load(embedded["body"])["embedding"]) == 1024
    counted = runtime.count_tokens(modelId=HAIKU, input={"converse": {"messages": converse("c-3")["messages"]}})
    assert counted["inputTokens"] > 0
    with pytest.raises(runtime.exceptions.ValidationException):
        runtime.converse(modelId="no.such-model", **converse("c-4"))
    control = clients("bedrock")
    assert any(m["modelId"] == NOVA for m in control.list_foundation_models()["modelSummaries"])
    profiles = control.list_inference_profiles()["inferenceProfileSummaries"]
    assert any(p["inferenceProfileId"] == HAIKU for p in profiles)
    assert control.get_inference_profile(inferenceProfileIdentifier=HAIKU)["status"] == "ACTIVE"
    quotas = clients("service-quotas").list_service_quotas(ServiceCode="bedrock")["Quotas"]
    assert any("tokens per minute" in q["QuotaName"] for q in quotas)


def test_the_demo_does_what_it_says(tmp_path):
    demo = run(["demo", "--json", "--dir", str(tmp_path / "demo")], timeout=120)
    assert demo.returncode == 0, demo.stderr
    summary = json.loads(demo.stdout)
    requests = summary["requests"]
    assert requests["submitted"] == 300
    assert sum(v for k, v in requests.items() if k != "submitted") == 300
    assert requests["succeeded"] >= 280 and requests["rejected"] >= 8
    assert summary["throttled_calls"] == 0
    assert summary["bedrock_calls"] >= requests["succeeded"]
    assert all(0 < lane["tpm_used"] <= 1.02 for lane in summary["quota"].values()), summary["quota"]
    assert summary["wait_ms"]["urgent"]["p99"] < summary["wait_ms"]["bulk"]["p99"]
    assert summary["tokens"]["output_tokens"] > 0 and summary["cost_usd"] > 0
    assert summary["elapsed_s"] < 60
    results = list((tmp_path / "demo" / "results").rglob("*.json"))
    assert len(results) == requests["succeeded"] and summary["results_dir"].endswith("results")


def test_the_working_commands_tell_a_story(local, simulate, tmp_path):
    from rig import quota, stopping, worker

    bedrock = simulate(latency_scale=0.05)
    lines = [
        {"request_id": "one", "model_id": NOVA, "converse": converse("one")},
        {"request_id": "two", "model_id": NOVA, "priority": 11, "converse": converse("two")},
    ]
    text = "\n".join(json.dumps(m) for m in lines)
    refused = run(["submit", "-", *local.place()], stdin=text)
    assert refused.returncode == 1 and "line 2" in refused.stderr and "priority" in refused.stderr, refused.stderr
    assert local.submit([lines[0]])["submitted"] == 1
    waiting = run(["status", *local.place(), "--json"])
    assert waiting.returncode == 0 and json.loads(waiting.stdout)
    process = worker(tmp_path, "worker", local, bedrock, "--until-idle", *quota(NOVA, 600, 600_000))
    with stopping(process):
        assert process.wait(60) == 0, process.tail()
    told = run(["status", "one", *local.place()])
    assert told.returncode == 0 and "SUCCEEDED" in told.stdout, told.stdout + told.stderr
    assert run(["status", "nobody", *local.place()]).returncode == 1
    drained = run(["results", *local.place(), "--wait", "1s"])
    (result,) = [json.loads(line) for line in drained.stdout.splitlines()]
    assert result["request_id"] == "one" and result["result"]["output"]["message"]["role"] == "assistant"
