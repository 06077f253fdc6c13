"""What producers send: every kind of good and bad message, and what should become of each."""

import base64
import datetime
import hashlib
import json
from dataclasses import dataclass, field

NOVA = "us.amazon.nova-lite-v1:0"
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
# Answers at length.
VERBOSE = "us.amazon.nova-pro-v1:0"
# Access to it is denied.
DENIED = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
MODELS = (NOVA, HAIKU, TITAN, VERBOSE, DENIED)

PRIORITIES = ("urgent", "high", "normal", "low", "bulk", 0, 1, 3, 6, 9)
CLASSES = {0: "urgent", 1: "high", 3: "high", 6: "normal", 9: "bulk"}
TENANTS = ("default", "checkout", "research", "nightly:eu-1")

POINTERS = {
    "ExtendedPayloadSize": "software.amazon.payloadoffloading.PayloadS3Pointer",
    "SQSLargePayloadSize": "com.amazon.sqs.javamessaging.MessageS3Pointer",
}
TOOL = {
    "toolSpec": {
        "name": "look_up_order",
        "description": "Finds an order by its number",
        "inputSchema": {
            "json": {
                "type": "object",
                "properties": {"order": {"type": "string"}, "größe": {"type": "integer"}},
                "required": ["order", "größe"],
            }
        },
    }
}
# A 1×1 PNG.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="


@dataclass
class Good:
    """A valid message. `id` is None when SQS's message id is to serve."""

    kind: str
    id: str | None
    body: str
    message: dict
    # Under which key the simulator counts its calls.
    key: str
    attributes: dict = field(default_factory=dict)
    status: str = "SUCCEEDED"
    # Its content by pointer: (attribute, text of the object).
    pointer: tuple | None = None
    message_id: str | None = None

    @property
    def name(self):
        return self.id or f"sqs-{self.message_id}"

    @property
    def operation(self):
        return "invoke" if "invoke" in self.message else "converse"

    @property
    def text(self):
        """The message with its body in it, byte for byte."""
        envelope = {k: v for k, v in self.message.items() if k not in ("converse", "invoke")}
        return json.dumps(envelope)[:-1] + f', "{self.operation}": {self.body}}}'


@dataclass
class Bad:
    """A message to be refused, with the field and a part of the reason that its sender must be told."""

    kind: str
    id: str | None
    text: str
    field: str
    reason: str
    attributes: dict = field(default_factory=dict)
    message_id: str | None = None

    @property
    def name(self):
        return self.id or f"sqs-{self.message_id}"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def ask(text, request_id=None, tokens=120, **more):
    body = {"messages": [{"role": "user", "content": [{"text": text}]}], "inferenceConfig": {"maxTokens": tokens}}
    if request_id:
        body["requestMetadata"] = {"request_id": request_id}
    return {**body, **more}


def in_an_hour():
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def good(n):
    """The n-th valid message; which kind follows from n."""
    name = f"order-{n:04}.v1"
    model = (NOVA, HAIKU)[n % 2]
    message = {"request_id": name, "model_id": model, "priority": PRIORITIES[n % 10], "tenant": TENANTS[n % 4]}
    kind, key, operation = "plain", name, "converse"
    body = ask(f"Summarise order {n}, please.", name, 60 + n % 7 * 20)
    match n % 20:
        case 0:
            kind = "tool"
            body["toolConfig"] = {"tools": [TOOL], "toolChoice": {"any": {}}}
            body["additionalModelRequestFields"] = {"unknown_to_anyone": [1, None, {"ä": "\u2028"}]}
        case 1:
            kind = "image"
            body["messages"][0]["content"].append({"image": {"format": "png", "source": {"bytes": PNG}}})
        case 2:
            kind = "document"
            document = base64.b64encode(b"%PDF-1.7 not really " * 50).decode()
            block = {"format": "pdf", "name": f"invoice {n}", "source": {"bytes": document}}
            body["messages"][0]["content"].append({"document": block})
        case 3:
            kind, operation, message["model_id"] = "embedding", "invoke", TITAN
            body = {"inputText": f"A line to embed, number {n}", "dimensions": 256, "normalize": True}
        case 4:
            kind, operation, message["model_id"] = "native", "invoke", HAIKU
            body = {
                "anthropic_version": "bedrock-2023-05-31",
                "max_tokens": 80,
                "messages": [{"role": "user", "content": f"Say {n} in words."}],
            }
        case 5:
            kind = "nameless"
            del message["request_id"]
        case 6:
            kind = "everything"
            message["deadline"] = in_an_hour()
            message["metadata"] = {"team": "billing", "trace": f"{n:x}", "größe": "\"quoted\" ✓"}
        case 8:
            kind = "use case"
            del message["model_id"]
            message["use_case"] = "summaries"
    text = json.dumps(body)
    if n % 20 == 7:
        # Bytes that no serializer would write like this must arrive like this.
        kind = "odd notation"
        text = (
            '{ "inferenceConfig":{"temperature":1.0E-1,\t"maxTokens" :100},"messages" : [{"content":\n'
            f'[{{"text":"caf\\u00e9 \\/ {n}"}}],"role":"user"}}] }}'
        )
    if kind in ("odd notation", "embedding", "native"):
        key = sha256(text)
    return Good(kind, message.get("request_id"), text, {**message, operation: True}, key)


def traffic(count):
    """Valid messages of all kinds that go straight to the queue."""
    return [good(n) for n in range(count)]


def verbose(n):
    """Its answer is too long for a results message."""
    name = f"verbose-{n}"
    message = {"request_id": name, "model_id": VERBOSE, "converse": True}
    return Good("long result", name, json.dumps(ask("Tell me everything.", name, 100_000)), message, name)


def denied(n):
    name = f"denied-{n}"
    message = {"request_id": name, "model_id": DENIED, "converse": True}
    return Good("denied", name, json.dumps(ask(f"Let me in, {n}.", name)), message, name, status="FAILED")


def by_pointer(n, bucket, size, attribute):
    """A message of about `size` bytes that lies in S3: most of it an image."""
    name = f"large-{n}"
    body = ask("What is in the picture?", name)
    image = {"format": "png", "source": {"bytes": "A" * (size // 4 * 4)}}
    body["messages"][0]["content"].append({"image": image})
    message = {"request_id": name, "model_id": NOVA, "converse": True}
    large = Good("by pointer", name, json.dumps(body), message, name)
    large.pointer = (bucket, f"incoming/{name}.json", large.text)
    large.attributes = {attribute: str(len(large.text))}
    return large


def pointer_text(attribute, bucket, key):
    return json.dumps([POINTERS[attribute], {"s3BucketName": bucket, "s3Key": key}])


def bad(bucket, too_large_key):
    """Messages with every kind of fault. `bucket` may be pointed to; an object of over 25 MB lies at the key."""

    def whole(kind, text, reason):
        return Bad(kind, None, text, "message", reason)

    def envelope(kind, field_name, reason, readable=True, **change):
        name = f"bad-{kind.replace(' ', '-')}"
        message = {"request_id": name, "model_id": NOVA, "converse": ask("hi")}
        message.update(change)
        message = {k: v for k, v in message.items() if v is not ...}
        return Bad(kind, message.get("request_id") if readable else None, json.dumps(message), field_name, reason)

    def body(kind, field_name, reason, **change):
        return envelope(kind, field_name, reason, converse={**ask("hi"), **change})

    def pointer(kind, where, key, field_name, reason, attribute="ExtendedPayloadSize", size="300000"):
        attributes = {attribute: size}
        return Bad(kind, None, pointer_text(attribute, where, key), field_name, reason, attributes)

    pairs = {f"k{n}": "v" for n in range(17)}
    return [
        whole("not JSON", "hello", "not JSON"),
        whole("cut off", '{"request_id": "bad-cut", "model_id": ', "not JSON"),
        whole("an array", "[1, 2]", "expected a JSON object, found an array"),
        whole("a string", '"hello"', "expected a JSON object, found a string"),
        whole("a number", "42", "expected a JSON object"),
        whole("null", "null", "expected a JSON object"),
        whole("spaces", "   ", "empty"),
        whole("two objects", "{} {}", "not JSON"),
        whole("a byte order mark", '\ufeff{"model_id": "x"}', "byte order mark"),
        whole("single quotes", "{'model_id': 'x'}", "not JSON"),
        envelope("unknown field", "prioritee", "did you mean `priority`", prioritee="high"),
        envelope("unknown field model", "model", "did you mean `model_id`", model=NOVA),
        envelope("unknown field messages", "messages", "inside `converse`", messages=[]),
        envelope("priority too large", "priority", "found 12", priority=12),
        envelope("priority unheard of", "priority", "expected urgent, high", priority="asap"),
        envelope("priority a fraction", "priority", "found 2.5", priority=2.5),
        envelope("priority negative", "priority", "found -1", priority=-1),
        envelope("priority null", "priority", "found null", priority=None),
        envelope("tenant a number", "tenant", "expected a string", tenant=7),
        envelope("tenant with a space", "tenant", "1 to 128 characters", tenant="a b"),
        envelope("tenant empty", "tenant", "1 to 128 characters", tenant=""),
        envelope("model a list", "model_id", "expected a string", model_id=[NOVA]),
        envelope("model null", "model_id", "no such field at all", model_id=None),
        envelope("model empty", "model_id", "found", model_id=""),
        envelope("no model", "model_id", "missing", model_id=...),
        envelope("two targets", "use_case", "exactly one", use_case="summaries"),
        envelope("use case unheard of", "use_case", "unknown use case", model_id=..., use_case="haiku"),
        envelope("use case a number", "use_case", "expected a string", model_id=..., use_case=5),
        envelope("model unheard of", "model_id", "unknown model", model_id="us.amazon.nova-lit-v1:0"),
        envelope("model not allowed", "model_id", "may not be asked for", model_id="amazon.nova-micro-v1:0"),
        envelope("model unheard of ARN", "model_id", "unknown model", model_id="arn:aws:bedrock:us-east-1::foundation-model/x"),
        envelope("id with a space", "request_id", "A-Z", readable=False, request_id="two words"),
        envelope("id empty", "request_id", "1 to 128", readable=False, request_id=""),
        envelope("id too long", "request_id", "1 to 128", readable=False, request_id="x" * 129),
        envelope("id a number", "request_id", "expected a string", readable=False, request_id=123),
        envelope("id with a slash", "request_id", "A-Z", readable=False, request_id="a/b"),
        envelope("deadline past", "deadline", "has passed", deadline="2020-01-31T17:30:00Z"),
        envelope("deadline no time", "deadline", "expected", deadline="tomorrow"),
        envelope("deadline a number", "deadline", "expected a string", deadline=1_900_000_000),
        envelope("deadline without zone", "deadline", "expected", deadline="2030-01-31T17:30:00"),
        envelope("metadata a list", "metadata", "an object of strings", metadata=["a"]),
        envelope("metadata nested", "metadata.a", "expected a string", metadata={"a": {"b": "c"}}),
        envelope("metadata a number", "metadata.a", "expected a string", metadata={"a": 1}),
        envelope("metadata too many", "metadata", "at most 16", metadata=pairs),
        envelope("metadata too long", "metadata.a", "at most 1024", metadata={"a": "x" * 1025}),
        envelope("two bodies", "invoke", "exactly one", invoke={"inputText": "x"}),
        envelope("no body", "converse", "missing", converse=...),
        envelope("body a string", "converse", "put the body in as JSON", converse="hi"),
        envelope("body null", "converse", "expected an object", converse=None),
        envelope("invoke a list", "invoke", "expected an object", converse=..., invoke=[1]),
        body("no messages", "converse.messages", "at least one", messages=[]),
        body("messages a string", "converse.messages", "an array of messages", messages="hi"),
        body("model in the body", "converse.modelId", "message's model_id", modelId=NOVA),
        body("zero tokens", "converse.inferenceConfig.maxTokens", "from 1", inferenceConfig={"maxTokens": 0}),
        body("tokens a string", "converse.inferenceConfig.maxTokens", "whole number", inferenceConfig={"maxTokens": "5"}),
        body("more than any quota", "inferenceConfig.maxTokens", "tokens per minute", inferenceConfig={"maxTokens": 2_000_000_000}),
        pointer("foreign bucket", "somebody-elses-bucket", "a.json", "s3BucketName", "allowed_source_buckets"),
        pointer("missing object", bucket, "incoming/nothing-here.json", "s3Key", "no object"),
        pointer("oversize object", bucket, too_large_key, "s3Key", "at most 25000000"),
        pointer("oversize announced", bucket, "a.json", "attributes.SQSLargePayloadSize", "too many", "SQSLargePayloadSize", "30000000"),
        Bad("no pointer", None, "elsewhere", "message", "no S3 pointer", {"ExtendedPayloadSize": "5"}),
        Bad("pointer without key", None, json.dumps([POINTERS["ExtendedPayloadSize"], {"s3BucketName": bucket}]), "pointer.s3Key", "missing"),
    ]


def worker_settings(**more):
    """The worker's configuration file: quotas that let everything through quickly."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in more.items()]
    for model in MODELS:
        lines += [f'[models."{model}"]', "requests_per_minute = 60_000", "tokens_per_minute = 1_000_000_000"]
        lines += ["max_output_tokens = 200_000"] if model == VERBOSE else []
    return "\n".join([*lines, "[use_cases.summaries]", f'model = "{NOVA}"', ""])


def simulated(latency_scale=0.05, faults="", **latency):
    """The simulator's settings: no quota in the way."""
    lines = [f"latency_scale = {latency_scale}"]
    for model in MODELS:
        lines += [f'[models."{model}"]', "rpm = 0", "tpm = 0"]
        if model == VERBOSE:
            lines += ["mean_output_tokens = 90_000", "max_output_tokens = 200_000", "output_sigma = 0.0"]
            lines += ["latency.tokens_per_second = 100_000"]
        else:
            lines += [f"latency.{name} = {value}" for name, value in latency.items()]
        lines += ["faults.access_denied_403 = 1.0"] if model == DENIED else [faults]
    return "\n".join(lines) + "\n"
