"""The commands besides `run`, as their users see them."""

import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from rig.places import CREDENTIALS, REGION
from rig.services import free_port
from rig.traffic import HAIKU, NOVA, TITAN, TOOL, ask, simulated


def test_check_config_names_every_fault_at_once(smoother, tmp_path):
    config = tmp_path / "bad.toml"
    config.write_text('queue_depht_threshold = 5\nmax_attempts = 0\nretry_base = "soon"\n[models."x"]\nburndown = -1\n')
    env = {"SMOOTHER_AWS_REGION": "mars"}
    ended = smoother("check-config", "--config", config, "--set", "hold_visibility=-3", env=env, code=1)
    told = ended.log()
    for part in (
        "queue_depht_threshold",
        "queue_depth_threshold",
        "max_attempts",
        "retry_base",
        "soon",
        "burndown",
        "mars",
        "hold_visibility",
        "bad.toml",
    ):
        assert part in told, told
    assert not ended.out() and "panicked" not in told


def test_check_config_tells_what_counts_and_why(smoother, tmp_path):
    config = tmp_path / "good.toml"
    config.write_text("max_attempts = 3\nretry_base = \"2s\"\n")
    env = {"SMOOTHER_MAX_ATTEMPTS": "4"}
    arguments = ("check-config", "--config", config, "--set", "drain_grace=7s")
    table = smoother(*arguments, env=env).out()
    lines = {line.split()[0]: line for line in table.splitlines() if line.split()}
    assert "SMOOTHER_MAX_ATTEMPTS" in lines["max_attempts"] and "4" in lines["max_attempts"]
    assert "good.toml" in lines["retry_base"] and "7s" in lines["drain_grace"]
    assert json.loads(smoother(*arguments, "--json", env=env).out())


def test_a_worker_without_settings_says_what_is_missing(smoother):
    told = smoother("run", env=CREDENTIALS, code=1).log()
    for part in ("input_queue_url", "requests_table", "bucket", "--local"):
        assert part in told, told


def test_init_without_a_service_says_so(smoother):
    endpoint = f"http://127.0.0.1:{free_port()}"
    told = smoother("init", env={"AWS_ENDPOINT_URL": endpoint, **CREDENTIALS}, seconds=60, code=1).log()
    assert told.startswith("smoother: ") and len(told) < 1000, told
    for part in ("sts", endpoint, "AWS_ENDPOINT_URL"):
        assert part in told, told


def test_help_describes_every_command(smoother):
    top = smoother("--help").out()
    for command in ("run", "init", "check-config", "simulate-bedrock", "demo"):
        assert f"\n  {command} " in top, top
        assert "Options:" in smoother(command, "--help").out()


@pytest.fixture
def simulated_bedrock(bedrock):
    return bedrock(simulated(0))


@pytest.fixture
def sdk(simulated_bedrock):
    def client(service):
        return boto3.client(
            service,
            endpoint_url=simulated_bedrock.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )

    return client


def test_the_simulator_serves_boto3(sdk, simulated_bedrock):
    runtime = sdk("bedrock-runtime")
    body = {k: v for k, v in ask("Say hello.", "hello-1").items()}
    answer = runtime.converse(modelId=NOVA, **body)
    assert answer["output"]["message"]["content"][0]["text"] and answer["usage"]["outputTokens"] > 0
    assert answer["stopReason"] in ("end_turn", "max_tokens")

    tools = {"toolConfig": {"tools": [TOOL], "toolChoice": {"any": {}}}}
    called = runtime.converse(modelId=HAIKU, **ask("Where is my order?"), **tools)
    use = next(block["toolUse"] for block in called["output"]["message"]["content"] if "toolUse" in block)
    assert called["stopReason"] == "tool_use" and set(use["input"]) >= {"order", "größe"}

    events = list(runtime.converse_stream(modelId=NOVA, **body)["stream"])
    kinds = [next(iter(event)) for event in events]
    assert kinds[0] == "messageStart" and kinds[-1] == "metadata" and "messageStop" in kinds
    text = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)
    assert text == answer["output"]["message"]["content"][0]["text"], "the same request gets the same answer"

    titan = runtime.invoke_model(modelId=TITAN, body=json.dumps({"inputText": "a line", "dimensions": 512}))
    assert len(json.loads(titan["body"].read())["embedding"]) == 512
    assert int(titan["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"]) > 0
    native = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 30, "messages": [{"role": "user", "content": "hi"}]}
    stream = runtime.invoke_model_with_response_stream(modelId=HAIKU, body=json.dumps(native))
    chunks = [json.loads(event["chunk"]["bytes"])["type"] for event in stream["body"]]
    assert chunks[0] == "message_start" and chunks[-1] == "message_stop"

    counted = runtime.count_tokens(modelId=NOVA, input={"converse": {"messages": body["messages"]}})
    assert counted["inputTokens"] > 0
    assert simulated_bedrock.worked()["hello-1"] == 2
    assert simulated_bedrock.stats()["total"]["served"] == 5


def test_the_simulator_answers_errors_as_bedrock_does(sdk, simulated_bedrock):
    runtime = sdk("bedrock-runtime")
    with pytest.raises(runtime.exceptions.ValidationException):
        runtime.converse(modelId=NOVA, **ask("too much", tokens=1_000_000))
    with pytest.raises(ClientError) as unknown:
        runtime.converse(modelId="no.such-model", **ask("hi"))
    assert unknown.value.response["Error"]["Code"] in ("ValidationException", "ResourceNotFoundException")
    simulated_bedrock.change(models={NOVA: {"rpm": 1}})
    runtime.converse(modelId=NOVA, **ask("first"))
    with pytest.raises(runtime.exceptions.ThrottlingException) as throttled:
        runtime.converse(modelId=NOVA, **ask("second"))
    assert throttled.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert "Too many requests" in throttled.value.response["Error"]["Message"]


def test_the_simulator_serves_the_control_plane(sdk):
    control = sdk("bedrock")
    models = {model["modelId"]: model for model in control.list_foundation_models()["modelSummaries"]}
    assert "ON_DEMAND" in models[TITAN]["inferenceTypesSupported"]
    assert "INFERENCE_PROFILE" in models["amazon.nova-lite-v1:0"]["inferenceTypesSupported"]
    profiles = control.list_inference_profiles()["inferenceProfileSummaries"]
    assert NOVA in {profile["inferenceProfileId"] for profile in profiles}
    assert control.get_inference_profile(inferenceProfileIdentifier=NOVA)["models"]
    pages = sdk("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="bedrock")
    names = [quota["QuotaName"] for page in pages for quota in page["Quotas"]]
    assert isinstance(names, list)
