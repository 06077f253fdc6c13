"""Traces and log lines of the real binary: one trace a request across processes, and nothing in either of what was asked."""

import json
import time

import pytest

from rig.collector import Collector
from rig.services import free_port, http
from rig.traffic import DENIED, NOVA, denied, good, simulated, worker_settings
from rig.waiting import wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
QUICK = ["--set", "hold_visibility=5s", "--set", "input_visibility=5s", "--set", "plan_interval=200ms"]
MARKER = "xyzzy-7391"


@pytest.fixture(params=["embedded", "aws"])
def place(request):
    return request.getfixturevalue("local" if request.param == "embedded" else "aws")()


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "smoother.toml"
    path.write_text(worker_settings(retry_base="100ms"))
    return ["--config", path, *QUICK]


def send(place, smoother, texts, traceparent, tmp_path):
    """Sends as a producer does that traces: boto3 with an attribute, or the command line with an argument."""
    if place.flags:
        lines = tmp_path / "traced.jsonl"
        lines.write_text("".join(f"{text}\n" for text in texts))
        smoother("submit", lines, "--traceparent", traceparent, *place.flags, env=place.env)
    else:
        place.send([(text, {"traceparent": traceparent}) for text in texts])


def plain(count):
    return [m for m in (good(n) for n in range(count * 2)) if m.kind in ("plain", "tool", "image")][:count]


def names(spans):
    return [span.name.removeprefix("smoother.") for span in spans]


def test_a_request_is_one_trace_from_producer_to_consumer(place, bedrock, worker, smoother, collector, config, tmp_path):
    simulator = bedrock(simulated())
    messages = [good(9), denied(1)]
    send(place, smoother, [message.text for message in messages], TRACEPARENT, tmp_path)
    place.env = {**place.env, "SMOOTHER_OTLP_HEADERS": "x-api-key=s3cret%2C1"}
    traced = ["--set", f"otlp_endpoint={collector.url}", "--set", "worker_id=w-1", "--until-idle"]
    process = worker(place, simulator, *config, *traced)
    assert process.ended(60) == 0, process.log()
    assert all(headers["x-api-key"] == "s3cret,1" for headers in collector.headers)
    assert "s3cret" not in process.log()

    spans = collector.of(messages[0].name)
    assert names(spans) == ["ingest", "wait", "call", "record"]
    ingest, wait, call, record = spans
    assert {span.trace for span in spans} == {TRACE} and all(span.sampled for span in spans)
    assert len({span.id for span in spans}) == 4
    assert ingest.parent == PARENT and all(span.parent == ingest.id for span in spans[1:])
    assert [span.kind for span in spans] == ["CONSUMER", "INTERNAL", "CLIENT", "PRODUCER"]
    assert abs(record.end - time.time()) < 60 and ingest.start <= wait.start + 1 and wait.end == call.start
    assert ingest.resource["service.name"] == "smoother" and ingest.resource["service.instance.id"] == "w-1"
    assert ingest.resource["service.version"]
    row = place.rows()[messages[0].name]
    usage = row["outcome"]["usage"]
    assert call.attributes["gen_ai.provider.name"] == "aws.bedrock"
    assert call.attributes["gen_ai.request.model"] == json.loads(messages[0].text)["model_id"]
    assert call.attributes["gen_ai.usage.input_tokens"] == usage["input_tokens"]
    assert call.attributes["gen_ai.usage.output_tokens"] == usage["output_tokens"]
    assert record.attributes["smoother.status"] == "SUCCEEDED" and not record.failed
    assert row["request"]["trace"] == f"00-{TRACE}-{ingest.id}-01"

    refused = collector.of(messages[1].name)
    assert names(refused) == ["ingest", "wait", "call", "record"]
    assert refused[2].failed and refused[2].attributes["error.type"] == "AccessDeniedException"
    assert refused[3].failed and refused[3].attributes["smoother.status"] == "FAILED"

    attributes = {result["request_id"]: attributes for result, attributes in place.take_results(wait=1)}
    assert attributes[messages[0].name]["traceparent"] == f"00-{TRACE}-{record.id}-01", "the consumer goes on from here"

    shown = smoother("status", messages[0].name, "--json", *place.flags, env=place.env)
    assert json.loads(shown.out())["trace_id"] == TRACE
    assert TRACE in smoother("status", messages[0].name, *place.flags, env=place.env).out()
    finished = [json.loads(line) for line in process.log().splitlines() if "request finished" in line]
    assert {line["trace_id"] for line in finished} == {TRACE} and {line["worker"] for line in finished} == {"w-1"}


def test_the_next_worker_goes_on_with_the_trace_after_a_kill(place, bedrock, worker, smoother, collector, config, tmp_path):
    simulator = bedrock(simulated(1, base_ms=6_000))
    message = good(9)
    send(place, smoother, [message.text], TRACEPARENT, tmp_path)
    traced = ["--set", f"otlp_endpoint={collector.url}"]
    first = worker(place, simulator, *config, *traced, "--set", "worker_id=first")
    wait_for("a call in flight", lambda: simulator.in_flight() == 1, 30, 0.1, [first])
    wait_for("its first spans", lambda: names(collector.of(message.name)) == ["ingest", "wait"], 5, 0.1, [first])
    first.kill()
    second = worker(place, simulator, *config, *traced, "--set", "worker_id=second", "--until-idle")
    assert second.ended(90) == 0, second.log()
    spans = collector.of(message.name)
    assert {span.trace for span in spans} == {TRACE}
    by = {name: [s for s in spans if s.resource["service.instance.id"] == name] for name in ("first", "second")}
    assert names(by["first"]) == ["ingest", "wait"] and names(by["second"]) == ["wait", "call", "record"]
    ingest = by["first"][0]
    assert all(span.parent == ingest.id for span in by["second"])
    assert by["second"][0].attributes["smoother.lost_claims"] == 1


def test_a_collector_that_is_down_costs_no_request(local, bedrock, worker, config):
    place, simulator = local(), bedrock(simulated())
    messages = plain(50)
    place.send([message.text for message in messages])
    began = time.monotonic()
    process = worker(place, simulator, *config, "--set", f"otlp_endpoint=http://127.0.0.1:{free_port()}", "--until-idle")
    assert process.ended(60) == 0, process.log()
    assert time.monotonic() - began < 40
    assert place.finished() == len(messages)
    lines = [json.loads(line) for line in process.log().splitlines()]
    dropped = [line["spans"] for line in lines if "spans were dropped" in line["message"]]
    assert sum(dropped) == 4 * len(messages), dropped
    counted = place.query("SELECT sum(sum) FROM metrics WHERE name = 'SpansDropped'")
    assert counted == [(4.0 * len(messages),)] or counted == [(None,)], "the last minute's may have been told before"


def test_standard_variables_set_it_up_and_sampling_thins_it_out(local, bedrock, worker, collector, config):
    place, simulator = local(), bedrock(simulated())
    messages = plain(40)
    place.send([message.text for message in messages[:20]])
    place.env = {**place.env, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "SMOOTHER_TRACE_SAMPLE_RATIO": "0"}
    assert worker(place, simulator, *config, "--until-idle").ended(60) == 0
    assert not collector.spans
    place.env["SMOOTHER_TRACE_SAMPLE_RATIO"] = "1"
    place.send([message.text for message in messages[20:]])
    assert worker(place, simulator, *config, "--until-idle").ended(60) == 0
    traces = {span.trace for span in collector.spans}
    assert len(traces) == 20, "one each"


def test_no_log_line_metric_or_trace_tells_what_was_asked(place, bedrock, worker, collector, config, tmp_path):
    """Through an answer, throttling, a refusal by Bedrock and a rejection, with the finest logs there are."""
    simulator = bedrock(simulated(faults="faults = { throttle = 0.5, internal_500 = 0.5 }"))

    def ask(request_id, model, **more):
        body = {
            "messages": [{"role": "user", "content": [{"text": f"{MARKER} {request_id}"}]}],
            "system": [{"text": MARKER}],
            "inferenceConfig": {"maxTokens": 50},
        }
        return json.dumps({"request_id": request_id, "model_id": model, "metadata": {"note": MARKER}, "converse": body, **more})

    asked = [ask(f"fine-{n}", NOVA) for n in range(12)]
    asked += [ask("denied", DENIED), ask("rejected", NOVA, prioritee=MARKER), ask("urgent", NOVA, priority=MARKER)]
    port = free_port()
    place.env = {**place.env, "SMOOTHER_LOG": "trace", "SMOOTHER_HEALTH_LISTEN": f"127.0.0.1:{port}"}
    if place.flags:
        # What submit refuses, a producer of another make may send all the same.
        database = place.directory / "smoother.db"
        place.send(asked[:-2])
        assert database.exists()
    else:
        place.send(asked)
    traced = ["--set", f"otlp_endpoint={collector.url}", "--set", "worker_id=w-1"]
    process = worker(place, simulator, *config, *traced)
    failures = ("ThrottlingException", "InternalServerException", "AccessDeniedException")
    wait_for("every kind of failure", lambda: all(failure in process.log() for failure in failures), 30, 0.1, [process])
    simulator.change(models={NOVA: {"faults": {"throttle": 0, "internal_500": 0}}})
    count = len(asked) - (2 if place.flags else 0)
    wait_for(f"{count} finished requests", lambda: place.finished() == count, 60, 0.2, [process])
    page = http("GET", f"http://127.0.0.1:{port}/metrics")[1].decode()
    process.stop()
    assert process.code == 0
    rows = place.rows()
    statuses = {row["status"] for row in rows.values()}
    assert statuses >= {"SUCCEEDED", "FAILED"} and (place.flags or "REJECTED" in statuses), statuses

    log = process.log()
    assert MARKER not in log and MARKER not in page and MARKER not in repr(collector.spans)
    lines = [json.loads(line) for line in log.splitlines()]
    for line in lines:
        assert {"timestamp", "level", "target", "message"} <= set(line) and isinstance(line["message"], str), line
        assert list(line)[:4] == ["timestamp", "level", "target", "message"], line
    calls = [line for line in lines if line["message"] == "a Bedrock call failed"]
    ends = [line for line in lines if line["message"] == "request finished"]
    assert calls and {line["request_id"] for line in ends} == set(rows)
    traces = {name: row["request"]["trace"].split("-")[1] for name, row in rows.items()}
    for line in calls + ends:
        assert line["worker"] == "w-1" and line["tenant"] and line["lane"], line
        assert line["trace_id"] == traces[line["request_id"]] and len(line["span_id"]) == 16, line
