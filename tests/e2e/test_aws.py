"""Everything on AWS: boto3 as producer and consumer, an AWS emulator, a simulated Bedrock that fails now and then."""

import base64
import json
import re
import time

import pytest
from rig import HAIKU, NOVA, REGION, TERMINAL, TITAN, converse, count, quota, stopping, worker

FAULTS = {
    "internal_500": 0.02,
    "unavailable_503": 0.01,
    "model_error_424": 0.01,
    "throttle": 0.002,
    "drop": 0.01,
}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(3_000)).decode()
TOOL = {
    "toolSpec": {
        "name": "look_up_order",
        "inputSchema": {"json": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}},
    }
}
PRIORITIES = ["urgent", "high", "normal", "low", "bulk", 0, 3, 5, 9]


def valid(n):
    """The n-th valid message; its kind follows from n."""
    request_id = f"good-{n:04}"
    message = {
        "request_id": request_id,
        "model_id": [NOVA, HAIKU][n % 2],
        "priority": PRIORITIES[n % len(PRIORITIES)],
        "tenant": ["checkout", "research", "nightly"][n % 3],
        "metadata": {"n": str(n), "täglich": "ja ✓"},
        "converse": converse(request_id, f"Summarise item {n}. " * (1 + n % 7)),
    }
    kind = n % 20
    if kind == 1:
        message["converse"] |= {"toolConfig": {"tools": [TOOL], "toolChoice": {"any": {}}}}
    elif kind == 2:
        message["converse"]["messages"][0]["content"].append({"image": {"format": "png", "source": {"bytes": PNG}}})
    elif kind == 3:
        document = {"name": "notes", "format": "txt", "source": {"bytes": base64.b64encode(b"notes " * 200).decode()}}
        message["converse"]["messages"][0]["content"].append({"document": document})
    elif kind == 4:
        message |= {"model_id": TITAN, "invoke": {"inputText": f"item {n}", "dimensions": 256, "normalize": True}}
        del message["converse"]
    elif kind == 5:
        message["deadline"] = "2099-01-01T00:00:00Z"
    elif kind == 6:
        del message["model_id"]
        message["use_case"] = "support"
    return message


def invalid():
    """Messages of every kind that is refused, with the field that the answer must name."""
    body = converse("x")
    base = {"model_id": NOVA, "converse": body}
    cases = [
        ("{not json", "message"),
        ("[]", "message"),
        (json.dumps(base | {"prioritee": "high"}), "prioritee"),
        (json.dumps(base | {"priority": 12}), "priority"),
        (json.dumps(base | {"priority": "asap"}), "priority"),
        (json.dumps(base | {"tenant": 7}), "tenant"),
        (json.dumps(base | {"metadata": {"a": 1}}), "metadata.a"),
        (json.dumps(base | {"metadata": {str(n): "x" for n in range(17)}}), "metadata"),
        (json.dumps(base | {"invoke": {"inputText": "x"}}), "invoke"),
        (json.dumps({"model_id": NOVA}), "converse"),
        (json.dumps({"converse": body}), "model_id"),
        (json.dumps(base | {"use_case": "support"}), "use_case"),
        (json.dumps({"use_case": "no-such", "converse": body}), "use_case"),
        (json.dumps(base | {"request_id": "no spaces allowed"}), "request_id"),
        (json.dumps(base | {"deadline": "2020-01-01T00:00:00Z"}), "deadline"),
        (json.dumps(base | {"deadline": "tomorrow"}), "deadline"),
        (json.dumps(base | {"model_id": "amazon.nova-light-v1:0"}), "model_id"),
        (json.dumps(base | {"converse": {"messages": []}}), "converse.messages"),
        (json.dumps(base | {"converse": {"messages": body["messages"], "inferenceConfig": {"maxTokens": -1}}}), "converse.inferenceConfig.maxTokens"),
        (pointer("somebody-elses", "k"), "s3BucketName"),
    ]
    return cases


def pointer(bucket, key, legacy=False):
    name = "com.amazon.sqs.javamessaging.MessageS3Pointer" if legacy else "software.amazon.payloadoffloading.PayloadS3Pointer"
    return json.dumps([name, {"s3BucketName": bucket, "s3Key": key}])


def number(n):
    return {"DataType": "Number", "StringValue": str(n)}


@pytest.fixture
def bedrock(simulate):
    model = {"rpm": 30_000, "tpm": 30_000_000, "faults": FAULTS, "mean_output_tokens": 40.0}
    long = model | {"mean_output_tokens": 60_000.0, "output_sigma": 0.0, "max_output_tokens": 64_000, "max_input_tokens": 1_000_000, "faults": {}}
    return simulate(latency_scale=0.1, models={NOVA: model, HAIKU: model, TITAN: model, "us.amazon.nova-pro-v1:0": long})


def test_a_thousand_mixed_requests(aws, bedrock, tmp_path):
    uploads = f"{aws.out['bucket']}-uploads"
    aws.s3.create_bucket(Bucket=uploads)
    alerts = aws.sqs.create_queue(QueueName=aws.out["bucket"] + "-alerts")["QueueUrl"]
    arn = aws.sqs.get_queue_attributes(QueueUrl=alerts, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.sns.subscribe(TopicArn=aws.out["alarm_topic_arn"], Protocol="sqs", Endpoint=arn)

    good = {m["request_id"]: m for m in map(valid, range(940))}
    messages = [(json.dumps(m), None) for m in good.values()]
    # Large ones by pointer, in both conventions of the SQS extended client.
    for n, (attribute, legacy) in enumerate([("ExtendedPayloadSize", False), ("SQSLargePayloadSize", True)]):
        request_id = f"large-{n}"
        good[request_id] = {
            "request_id": request_id,
            "model_id": "us.amazon.nova-pro-v1:0",
            "metadata": {"n": "large"},
            "converse": converse(request_id, "A long story. " * 110_000, max_tokens=60_000),
        }
        body = json.dumps(good[request_id])
        assert len(body) > 1_500_000
        aws.s3.put_object(Bucket=uploads, Key=f"in/{n}", Body=body.encode())
        messages.append((pointer(uploads, f"in/{n}", legacy), {attribute: number(len(body))}))
    # The same again, other white space: acknowledged, not called.
    messages += [(json.dumps(good[f"good-{n:04}"], indent=1), None) for n in range(20)]
    refused = invalid() + [(pointer(uploads, "missing"), "s3Key")]
    messages += [(body, None) for body, _ in refused]
    conflict = json.dumps({"request_id": "good-0000", "model_id": NOVA, "converse": converse("x", "other content")})

    order = range(len(messages))
    ids = dict(zip(order, aws.send([messages[n] for n in order]), strict=True))
    conflict_id = aws.send([(conflict, None)])[0]

    process = worker(
        tmp_path, "worker", aws, bedrock, "--until-idle",
        *[flag for model in (NOVA, HAIKU, TITAN) for flag in quota(model, 30_000, 30_000_000)],
        *quota("us.amazon.nova-pro-v1:0", 30_000, 30_000_000),
        "--set", f"use_cases.support.model={NOVA}",
        allowed_source_buckets=uploads, retry_base="200ms", hold_visibility="20s", max_attempts=10,
    )
    with stopping(process):
        assert process.wait(240) == 0, process.tail()

    rows, reports, results = aws.rows(), aws.reports(), aws.results()
    by_id = {}
    for result, attributes in results:
        by_id.setdefault(result["request_id"], []).append((result, attributes))

    expected = set(good) | {f"sqs-{ids[n]}" for n in ids if n >= 962} | {f"sqs-{conflict_id}"}
    assert set(rows) == expected
    assert {row["status"] for row in rows.values()} <= TERMINAL
    assert reports == dict.fromkeys(expected, 1)
    assert set(by_id) == expected

    for request_id, message in good.items():
        result, attributes = by_id[request_id][0]
        assert result["status"] == "SUCCEEDED", result
        assert result["metadata"] == message["metadata"]
        assert attributes["status"] == "SUCCEEDED" and attributes["request_id"] == request_id
        if request_id.startswith("large"):
            stored = aws.s3.get_object(Bucket=result["result_s3"]["bucket"], Key=result["result_s3"]["key"])["Body"].read()
            assert len(stored) > 200_000 and "result" not in result
            assert json.loads(stored)["output"]["message"]["role"] == "assistant"
        elif "invoke" in message:
            assert len(result["result"]["embedding"]) == 256
            assert result["usage"]["input_tokens"] > 0
        else:
            assert result["result"]["output"]["message"]["role"] == "assistant"
            assert result["cost_usd"] > 0
            if "toolConfig" in message["converse"]:
                content = result["result"]["output"]["message"]["content"]
                assert any(block.get("toolUse", {}).get("name") == "look_up_order" for block in content)

    for n, (_, field) in enumerate(refused, start=962):
        result, attributes = by_id[f"sqs-{ids[n]}"][0]
        assert result["status"] == attributes["status"] == "REJECTED"
        assert result["error"]["field"] == field, result["error"]
        assert len(result["error"]["message"]) > 20 and result["error"]["retryable"] is False
        request = json.loads(rows[f"sqs-{ids[n]}"]["request"])
        raw = aws.s3.get_object(Bucket=aws.out["bucket"], Key=request["body"])["Body"].read().decode()
        assert raw == messages[n][0]
    assert by_id[f"sqs-{conflict_id}"][0][0]["error"]["type"] == "IdConflict"

    # Every request's work was done once, but for answers that were lost on the way (drop).
    calls = {i: n for i, n in bedrock.calls().items() if i in good}
    lost = sum(model["faulted"].get("drop", 0) for model in bedrock.stats()["models"].values())
    assert sum(calls.values()) <= len([m for m in good.values() if "converse" in m]) + lost
    for queue in ("input_queue", "hold_queue", "dlq"):
        assert aws.depth(queue) == 0, queue

    published = [json.loads(body) for body, _ in aws.drain(alerts)]
    subjects = count(alert["Subject"] for alert in published)
    assert any("InternalServerException" in subject for subject in subjects), subjects
    assert all(len(subject) <= 100 for subject in subjects)
    assert max(subjects.values()) <= 3, f"alerts are not deduplicated: {subjects}"
    assert not re.search("Summarise item", json.dumps(published) + process.log.read_text()), "a prompt surfaced"
