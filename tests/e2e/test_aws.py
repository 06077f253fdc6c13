"""The main job on AWS: boto3 sends 1,000 mixed requests and takes the results; Bedrock fails now and then."""

import json
from collections import Counter

from rig import traffic
from rig.traffic import bad, by_pointer, denied, good, pointer_text, simulated, verbose, worker_settings
from rig.waiting import wait_for

FAULTS = """faults = { internal_500 = 0.02, unavailable_503 = 0.015, model_error_424 = 0.01, throttle = 0.002, \
not_ready = 0.005, overloaded_529 = 0.005, drop = 0.02 }"""

OUTPUTS = {
    "input_queue_url",
    "results_queue_url",
    "hold_queue_url",
    "dlq_url",
    "requests_table",
    "reporting_table",
    "bucket",
    "alarm_topic_arn",
}


def subscribe(place):
    """A queue that gets what on-call gets."""
    url = place.sqs.create_queue(QueueName=f"{place.prefix}-on-call")["QueueUrl"]
    arn = place.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    place.sns.subscribe(TopicArn=place.outputs["alarm_topic_arn"], Protocol="sqs", Endpoint=arn)
    return url


def again(message, notation):
    """The same request, written differently or not."""
    copy = json.loads(message.text)
    return json.dumps(dict(reversed(copy.items())), indent=notation, ensure_ascii=False)


def test_init_is_idempotent_and_tells_what_there_is(aws):
    place = aws()
    assert OUTPUTS <= set(place.outputs)
    # The first run printed the environment, the second one the outputs.
    for name in OUTPUTS:
        assert place.env[f"SMOOTHER_{name.upper()}"] == place.outputs[name]


def test_a_thousand_mixed_requests(aws, bedrock, worker, tmp_path):
    place = aws()
    simulator = bedrock(simulated(0.05, FAULTS), seed=6)
    on_call = subscribe(place)
    source = f"{place.prefix}-source"
    place.s3.create_bucket(Bucket=source)
    place.s3.put_object(Bucket=source, Key="too-large.json", Body=b" " * 25_000_001)
    config = tmp_path / "smoother.toml"
    config.write_text(
        worker_settings(retry_base="100ms", allowed_source_buckets=[source], allowed_models=list(traffic.MODELS))
    )

    goods = traffic.traffic(970) + [verbose(n) for n in range(10)] + [denied(n) for n in range(12)]
    sizes = [300_000, 1_200_000, 2_000_000, 24_000_000]
    large = [
        by_pointer(n, source, size, attribute)
        for n, (size, attribute) in enumerate((s, a) for s in sizes for a in traffic.POINTERS)
    ]
    for message in large:
        bucket, key, text = message.pointer
        place.s3.put_object(Bucket=bucket, Key=key, Body=text.encode())
    bads = bad(source, "too-large.json")
    assert len(goods) + len(large) == 1000 and len(bads) > 60
    conflicts = [json.dumps({**json.loads(good(n).text), "tenant": "another"}) for n in range(9, 200, 20)]

    processes = [worker(place, simulator, "--config", config, "--until-idle", "--set", "plan_interval=200ms")]
    sent = [*goods, *bads]
    for message, message_id in zip(sent, place.send([(m.text, m.attributes) for m in sent])):
        message.message_id = message_id
    pointers = [(pointer_text(next(iter(m.attributes)), *m.pointer[:2]), m.attributes) for m in large]
    place.send(pointers)
    repeats = [m for m in goods if m.kind in ("plain", "everything", "tool")][:60]
    place.send([again(message, (None, 2)[n % 2]) for n, message in enumerate(repeats)])
    # Their namesakes have been sent before, and one of the two is refused.
    rivals = place.send(conflicts)
    goods += large

    results = []

    def all_there():
        results.extend(place.take_results())
        return len({result["request_id"] for result, _ in results}) >= len(goods) + len(bads) + len(rivals)

    wait_for("a result of every request", all_there, 240, every=0.2)
    assert processes[0].ended(30) == 0
    results.extend(place.take_results(wait=1))
    assert not any(place.depths().values()), place.depths()

    rows, reports, worked = place.rows(), Counter(place.report_ids()), simulator.worked()
    by_id = {}
    for result, attributes in results:
        by_id.setdefault(result["request_id"], []).append((result, attributes))
    names = [message.name for message in [*goods, *bads]] + [f"sqs-{message_id}" for message_id in rivals]
    assert len(set(names)) == len(names)
    assert set(rows) == set(names) == set(reports) == set(by_id)
    assert set(reports.values()) == {1}

    out_of_luck = [message for message in goods if out_of_attempts(rows[message.name])]
    assert len(out_of_luck) <= 5, out_of_luck
    for message in out_of_luck:
        message.status = "FAILED"
    for message in goods:
        check_good(message, rows[message.name], by_id[message.name], worked, place)
    for message in bads:
        check_bad(message, rows[message.name], by_id[message.name], place)
    for message_id, text in zip(rivals, conflicts):
        row, ((result, _), *_) = rows[f"sqs-{message_id}"], by_id[f"sqs-{message_id}"]
        assert row["status"] == result["status"] == "REJECTED"
        assert result["error"]["type"] == "IdConflict" and json.loads(text)["request_id"] in result["error"]["message"]
    tools_are_untouched(simulator, [m for m in goods if m.kind == "tool"][:5], by_id)
    stats = simulator.stats()
    kinds = {kind for model in stats["models"].values() for kind in model["faulted"]}
    assert stats["total"]["faulted"] > 40 and "throttle" in kinds and "drop" in kinds, "the faults were not injected"
    on_call_heard(place.take(on_call))
    metrics = place.cloudwatch.list_metrics(Namespace="Smoother")["Metrics"]
    assert len({metric["MetricName"] for metric in metrics}) > 3, metrics


def out_of_attempts(row):
    """Connections dropped three times, or six faults: rare, and FAILED is then the right end."""
    return row["status"] == "FAILED" and row["outcome"]["error"]["retryable"] and row["attempts"] >= 3


def check_good(message, row, results, worked, place):
    what = f"{message.name} ({message.kind})"
    assert row["status"] == message.status, f"{what}: {row}"
    for result, attributes in results:
        check_result(message, what, row, result, attributes, place)
    # A request that was sent twice, or failed before, is answered by Bedrock once.
    assert worked.get(message.key, 0) == (1 if message.status == "SUCCEEDED" else 0), what
    stored = place.payload(row["request"]["body"]).decode()
    assert json.loads(stored) == json.loads(message.body), what
    if message.kind == "odd notation":
        # Byte for byte, here as at Bedrock: the key above is a hash of the body as it came there.
        assert stored == message.body, what


def check_result(message, what, row, result, attributes, place):
    sent = message.message
    model = sent.get("model_id", traffic.NOVA)
    tenant = sent.get("tenant", "default")
    priority = sent.get("priority", "normal")
    expected = {
        "request_id": message.name,
        "status": message.status,
        "tenant": tenant,
        "model_id": model,
        "priority": traffic.CLASSES.get(priority, priority),
    }
    assert attributes == expected, what
    assert {name: result[name] for name in ("status", "tenant", "model_id")} == {
        name: expected[name] for name in ("status", "tenant", "model_id")
    }, what
    assert result.get("metadata", {}) == sent.get("metadata", {}), what
    assert result["attempts"] == row["attempts"] >= 1, what
    if message.status == "FAILED":
        retryable = result["error"]["retryable"]
        assert (result["error"]["type"] == "AccessDeniedException") == (message.kind == "denied") == (not retryable), what
        return
    assert result["usage"]["input_tokens"] > 0 and result["latency_ms"] >= 0 and result["cost_usd"] > 0, what
    if message.kind == "long result":
        assert "result" not in result and result["result_s3"]["bucket"] == place.outputs["bucket"], what
        answer = json.loads(place.payload(result["result_s3"]["key"]))
        assert len(answer["output"]["message"]["content"][0]["text"]) > 200_000, what
        return
    answer = result["result"]
    match message.kind:
        case "embedding":
            assert len(answer["embedding"]) == 256, what
        case "native":
            assert answer["content"][0]["type"] == "text" and answer["usage"]["output_tokens"] > 0, what
        case "tool":
            assert answer["stopReason"] == "tool_use", what
        case _:
            assert answer["output"]["message"]["content"][0]["text"], what


def check_bad(message, row, results, place):
    what = f"{message.name} ({message.kind}): {results[0][0]}"
    assert row["status"] == "REJECTED", what
    for result, attributes in results:
        assert result["status"] == attributes["status"] == "REJECTED", what
        error = result["error"]
        assert error["field"] == message.field and not error["retryable"], what
        assert message.field in error["message"] or error["type"] != "InvalidMessage", what
        assert message.reason in error["message"], what
    assert place.payload(row["request"]["body"]).decode() == message.text, what


def tools_are_untouched(simulator, messages, by_id):
    """The simulator answers the same bytes with the same tool call: ours must be that one, key order and all."""
    simulator.change(models={model: {"faults": {"access_denied_403": 0}} for model in (traffic.NOVA, traffic.HAIKU)})
    for message in messages:
        for _ in range(20):
            status, body = simulator.converse(message.message["model_id"], message.body.encode())
            if status == 200:
                break
        assert status == 200, body
        direct, through = json.loads(body), by_id[message.name][0][0]["result"]
        call = through["output"]["message"]["content"][0]["toolUse"]
        assert call["name"] == "look_up_order" and "größe" in call["input"]
        for part in ("output", "usage", "stopReason"):
            assert json.dumps(through[part]) == json.dumps(direct[part]), message.name


def on_call_heard(notifications):
    """Each condition is told once, and perhaps that it is over."""
    told = Counter()
    for envelope, _ in notifications:
        alert = json.loads(envelope["Message"])
        told[alert["key"]] += 1
        assert envelope["Subject"] and "order-" not in envelope["Subject"], envelope
    denied_key = [key for key in told if key.startswith("access-denied/")]
    assert len(denied_key) == 1 and len(told) > 1, told
    assert max(told.values()) <= 2, told
