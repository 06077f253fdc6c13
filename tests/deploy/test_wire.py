"""The recording proxy: what a call is named, what it needs, and how it is refused."""

import contextlib
import json
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

from rig.calls import model_arns, parse
from rig.policy import Role
from rig.services import OPENER
from rig.wire import Wire

ROLE_KEY = "AKIDOFTHEROLE0000000"


def client(service, wire, key=ROLE_KEY, **config):
    return boto3.client(
        service,
        endpoint_url=wire.url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **config),
    )


class Answers:
    """An upstream that gives one answer to everything and remembers the requests."""

    def __init__(self, answer=lambda handler: b"{}"):
        self.paths, outer = [], self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in one packet, else each answer waits for the other side's late acknowledgement.
            wbufsize = 1 << 16

            def any(self):
                outer.paths.append(self.path)
                self.rfile.read(int(self.headers.get("content-length", 0)))
                body = answer(self)
                if body is None:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = any

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def echo():
    answers = Answers()
    wire = Wire(answers.url)
    wire.answers = answers
    yield wire
    wire.stop()
    answers.server.shutdown()


URL = "http://x/000000000000/jobs"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:jobs"
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/rows"
ENTRY = {"Id": "1", "ReceiptHandle": "r"}
KEY = {"id": {"S": "1"}}
NOW = "2026-01-01T00:00:00Z"
MODEL = "us.amazon.nova-lite-v1:0"
TALK = [{"role": "user", "content": [{"text": "hi"}]}]
PROFILE = "arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.amazon.nova-lite-v1:0"
LITE = [f"arn:aws:bedrock:{r}::foundation-model/amazon.nova-lite-v1:0" for r in ("us-east-1", "us-east-2", "us-west-2")]

# service, boto3's method, arguments, operation on the wire, [(action, resource)]
CALLS = [
    ("sqs", "send_message", dict(QueueUrl=URL, MessageBody="x"), "SendMessage", [("sqs:SendMessage", QUEUE)]),
    (
        "sqs",
        "send_message_batch",
        dict(QueueUrl=URL, Entries=[{"Id": "1", "MessageBody": "x"}]),
        "SendMessageBatch",
        [("sqs:SendMessage", QUEUE)],
    ),
    ("sqs", "receive_message", dict(QueueUrl=URL), "ReceiveMessage", [("sqs:ReceiveMessage", QUEUE)]),
    (
        "sqs",
        "delete_message_batch",
        dict(QueueUrl=URL, Entries=[ENTRY]),
        "DeleteMessageBatch",
        [("sqs:DeleteMessage", QUEUE)],
    ),
    (
        "sqs",
        "change_message_visibility_batch",
        dict(QueueUrl=URL, Entries=[{**ENTRY, "VisibilityTimeout": 1}]),
        "ChangeMessageVisibilityBatch",
        [("sqs:ChangeMessageVisibility", QUEUE)],
    ),
    ("sqs", "create_queue", dict(QueueName="jobs"), "CreateQueue", [("sqs:CreateQueue", QUEUE)]),
    ("dynamodb", "get_item", dict(TableName="rows", Key=KEY), "GetItem", [("dynamodb:GetItem", TABLE)]),
    ("dynamodb", "get_item", dict(TableName=TABLE, Key=KEY), "GetItem", [("dynamodb:GetItem", TABLE)]),
    (
        "dynamodb",
        "query",
        dict(TableName="rows", IndexName="by-list", KeyConditionExpression="a = b"),
        "Query",
        [("dynamodb:Query", TABLE + "/index/by-list")],
    ),
    ("dynamodb", "query", dict(TableName="rows", KeyConditionExpression="a = b"), "Query", [("dynamodb:Query", TABLE)]),
    (
        "dynamodb",
        "batch_write_item",
        dict(RequestItems={"rows": [{"PutRequest": {"Item": KEY}}], "more": [{"DeleteRequest": {"Key": KEY}}]}),
        "BatchWriteItem",
        [("dynamodb:BatchWriteItem", TABLE), ("dynamodb:BatchWriteItem", TABLE.replace("rows", "more"))],
    ),
    (
        "dynamodb",
        "transact_write_items",
        dict(
            TransactItems=[
                {"Put": {"TableName": "rows", "Item": KEY}},
                {"ConditionCheck": {"TableName": "more", "Key": KEY, "ConditionExpression": "a = b"}},
            ]
        ),
        "TransactWriteItems",
        [("dynamodb:PutItem", TABLE), ("dynamodb:ConditionCheckItem", TABLE.replace("rows", "more"))],
    ),
    (
        "sns",
        "publish",
        dict(TopicArn="arn:aws:sns:us-east-1:1:t", Message="x"),
        "Publish",
        [("sns:Publish", "arn:aws:sns:us-east-1:1:t")],
    ),
    ("sts", "get_caller_identity", {}, "GetCallerIdentity", []),
    ("sts", "assume_role", dict(RoleArn="a" * 20, RoleSessionName="aa"), "AssumeRole", [("sts:AssumeRole", "*")]),
    (
        "cloudwatch",
        "put_metric_data",
        dict(Namespace="Smoother", MetricData=[{"MetricName": "m" * 200, "Value": 1}] * 200),
        "PutMetricData",
        [("cloudwatch:PutMetricData", "*")],
    ),
    (
        "cloudwatch",
        "get_metric_data",
        dict(MetricDataQueries=[], StartTime=NOW, EndTime=NOW),
        "GetMetricData",
        [("cloudwatch:GetMetricData", "*")],
    ),
    (
        "service-quotas",
        "list_service_quotas",
        dict(ServiceCode="bedrock"),
        "ListServiceQuotas",
        [("servicequotas:ListServiceQuotas", "*")],
    ),
    ("s3", "get_object", dict(Bucket="b", Key="a/ä b.json"), "GetObject", [("s3:GetObject", "arn:aws:s3:::b/a/ä b.json")]),
    (
        "s3",
        "get_object",
        dict(Bucket="b", Key="k", VersionId="1"),
        "GetObject",
        [("s3:GetObjectVersion", "arn:aws:s3:::b/k")],
    ),
    ("s3", "put_object", dict(Bucket="b", Key="k", Body=b"x"), "PutObject", [("s3:PutObject", "arn:aws:s3:::b/k")]),
    ("s3", "head_object", dict(Bucket="b", Key="k"), "HeadObject", [("s3:GetObject", "arn:aws:s3:::b/k")]),
    ("s3", "list_objects_v2", dict(Bucket="b"), "ListObjectsV2", [("s3:ListBucket", "arn:aws:s3:::b")]),
    ("s3", "create_bucket", dict(Bucket="b"), "CreateBucket", [("s3:CreateBucket", "arn:aws:s3:::b")]),
    (
        "s3",
        "list_object_versions",
        dict(Bucket="b"),
        "ListObjectVersions",
        [("s3:ListBucketVersions", "arn:aws:s3:::b")],
    ),
    (
        "bedrock-runtime",
        "converse",
        dict(modelId=MODEL, messages=TALK),
        "Converse",
        [("bedrock:InvokeModel", arn) for arn in [PROFILE, *LITE]],
    ),
    (
        "bedrock-runtime",
        "converse_stream",
        dict(modelId=PROFILE, messages=TALK),
        "ConverseStream",
        [("bedrock:InvokeModelWithResponseStream", PROFILE)],
    ),
    (
        "bedrock-runtime",
        "invoke_model",
        dict(modelId="amazon.titan-embed-text-v2:0", body=b"{}"),
        "InvokeModel",
        [("bedrock:InvokeModel", "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0")],
    ),
    ("bedrock", "list_foundation_models", {}, "ListFoundationModels", [("bedrock:ListFoundationModels", "*")]),
]


@pytest.mark.parametrize(("service", "method", "arguments", "operation", "needs"), CALLS, ids=lambda v: str(v)[:24])
def test_a_call_and_what_it_needs(echo, service, method, arguments, operation, needs):
    try:
        getattr(client(service, echo), method)(**arguments)
    except Exception:
        # The upstream's answer is no answer to most calls; the request is what counts.
        assert echo.answers.paths
    [record] = echo.calls
    assert record.call.operation == operation
    assert [(need.action, need.resource) for need in record.call.needs] == needs
    assert record.status == 200
    if method == "put_metric_data":
        assert dict(record.call.needs[0].context) == {"cloudwatch:namespace": "Smoother"}


# And how boto3 calls what it is told when it may not: the codes of the services.
REFUSED = {
    "sqs": "AccessDenied",
    "dynamodb": "AccessDeniedException",
    "sns": "AuthorizationError",
    "cloudwatch": "AccessDenied",
    "service-quotas": "AccessDeniedException",
    "s3": "AccessDenied",
    "bedrock-runtime": "AccessDeniedException",
    "bedrock": "AccessDeniedException",
}


@pytest.mark.parametrize(("service", "method", "arguments", "operation", "needs"), CALLS, ids=lambda v: str(v)[:24])
def test_a_refusal_never_gets_through(echo, service, method, arguments, operation, needs):
    echo.roles[ROLE_KEY] = Role("nobody", [])
    if not needs:
        return
    with pytest.raises(ClientError) as refused:
        getattr(client(service, echo), method)(**arguments)
    assert not echo.answers.paths
    assert echo.calls[0].refused == echo.calls[0].call.needs[0]
    if method == "head_object":
        assert refused.value.response["Error"]["Code"] == "403"
        return
    assert refused.value.response["Error"]["Code"] == REFUSED.get(service, "AccessDenied")
    assert f"not authorized to perform: {needs[0][0]} on resource: {needs[0][1]}" in str(refused.value)


@pytest.mark.parametrize("missing", range(4))
def test_a_profile_needs_its_model_wherever_it_may_run(echo, missing):
    arns = model_arns(MODEL, "us-east-1")
    assert len(arns) == 4
    allowed = {"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": arns[:missing] + arns[missing + 1 :]}
    echo.roles[ROLE_KEY] = Role("r", [{"Statement": [allowed]}])
    with pytest.raises(ClientError, match=arns[missing]):
        client("bedrock-runtime", echo).converse(modelId=MODEL, messages=TALK)


def test_a_global_profile_needs_the_model_of_no_region():
    assert "arn:aws:bedrock:::foundation-model/anthropic.a" in model_arns("global.anthropic.a", "us-east-1")


def test_encryption_asks_for_its_key(echo):
    echo.keys["arn:aws:s3:::b"] = key = "arn:aws:kms:us-east-1:1:key/1"
    put = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/*"}
    via = {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}
    use = {"Effect": "Allow", "Action": "kms:GenerateDataKey", "Resource": key, "Condition": via}
    s3 = client("s3", echo)
    for statements, refused in (([put], 1), ([put, use], 0)):
        echo.calls.clear()
        echo.roles[ROLE_KEY] = Role("r", [{"Statement": statements}])
        # Of an empty answer boto3 makes an error, too.
        with contextlib.suppress(ClientError):
            s3.put_object(Bucket="b", Key="k", Body=b"x")
        assert sum(record.refused is not None for record in echo.calls) == refused


def test_a_missing_object_is_forbidden_to_whoever_may_not_list(wire):
    bucket = f"b-{uuid.uuid4().hex[:10]}"
    client("s3", wire, "someone").create_bucket(Bucket=bucket)
    get = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    list_it = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}
    for statements, code in (([get], "AccessDenied"), ([get, list_it], "NoSuchKey")):
        wire.roles[ROLE_KEY] = Role("r", [{"Statement": statements}])
        with pytest.raises(ClientError) as error:
            client("s3", wire).get_object(Bucket=bucket, Key="nothing")
        assert error.value.response["Error"]["Code"] == code
    assert wire.denied() == {("s3:ListBucket", f"arn:aws:s3:::{bucket}"): 1}


def test_through_and_back_and_counted(wire):
    name = f"q-{uuid.uuid4().hex[:10]}"
    sqs, s3 = client("sqs", wire, "someone"), client("s3", wire, "someone")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    for n in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=f"message {n}")
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert {message["Body"] for message in received} == {f"message {n}" for n in range(3)}
    s3.create_bucket(Bucket=name)
    large = bytes(range(256)) * 12_000
    # Large enough for "Expect: 100-continue", and sent in chunks with a checksum behind them.
    s3.put_object(Bucket=name, Key="large", Body=large)
    assert s3.get_object(Bucket=name, Key="large")["Body"].read() == large
    counts = wire.counts()
    assert counts["sqs:SendMessage"][0] == 3
    assert counts["s3:PutObject"][1] >= len(large) and counts["s3:GetObject"][2] == len(large)


def test_what_has_no_signature_is_passed_on_unrecorded(echo):
    with OPENER.open(f"{echo.url}/health") as answer:
        assert answer.read() == b"{}"
    assert echo.calls == [] and parse("GET", "/health", {}, b"") is None


def test_a_dropped_connection_stays_one():
    answers = Answers(lambda handler: None)
    wire = Wire(answers.url)
    with pytest.raises(HTTPClientError):
        client("sqs", wire).send_message(QueueUrl=URL, MessageBody="x")
    assert len(answers.paths) == 1
    wire.stop()


def test_who_hangs_up_hangs_up_on_the_upstream_as_well():
    gone = threading.Event()

    def slow(handler):
        handler.connection.settimeout(10)
        if handler.connection.recv(1) == b"":
            gone.set()
        return b"{}"

    answers = Answers(slow)
    wire = Wire(answers.url)
    with pytest.raises(HTTPClientError):
        client("sqs", wire, read_timeout=0.5).send_message(QueueUrl=URL, MessageBody="x")
    assert gone.wait(5)
    wire.stop()


def test_bedrock_is_elsewhere(echo):
    bedrock = Answers()
    echo.point_bedrock_to(bedrock.url)
    client("bedrock-runtime", echo).converse(modelId=MODEL, messages=TALK)
    client("service-quotas", echo).list_service_quotas(ServiceCode="bedrock")
    assert len(bedrock.paths) == 2 and echo.answers.paths == []
    client("sqs", echo).send_message(QueueUrl=URL, MessageBody="x")
    assert len(bedrock.paths) == 2 and len(echo.answers.paths) == 1


def test_it_keeps_up(echo):
    """500 calls a second are asked for; the bound here leaves room for a busy machine."""
    request = json.dumps({"QueueUrl": URL, "MessageBody": "x" * 2000}).encode()
    credential = "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0"

    def many(count):
        import http.client

        connection = http.client.HTTPConnection(echo.url.removeprefix("http://"))
        headers = {"authorization": credential, "x-amz-target": "AmazonSQS.SendMessage"}
        for _ in range(count):
            connection.request("POST", "/", request, headers)
            assert connection.getresponse().read() == b"{}"

    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many, [250] * 4))
    rate = 1000 / (time.monotonic() - started)
    print(f"{rate:.0f} calls a second")
    assert rate > 250 and len(echo.calls) == 1000
