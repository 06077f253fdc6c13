"""What an HTTP request asks of AWS: the service, the operation, and what IAM would have to allow for it.

Service from the signature's credential scope, operation from the service's protocol, resources from the body or the path.
Actions are named as IAM names them: SendMessageBatch needs sqs:SendMessage, Converse needs bedrock:InvokeModel.
"""

import gzip
import json
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import cbor2

ACCOUNT = "000000000000"
CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request")

# Signing name → prefix of its actions, where they differ.
PREFIXES = {
    "monitoring": "cloudwatch",
    "email": "ses",
}
# Operations whose action has another name, or that need nothing.
ACTIONS = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "bedrock:Converse": "bedrock:InvokeModel",
    "bedrock:ConverseStream": "bedrock:InvokeModelWithResponseStream",
    "sts:GetCallerIdentity": None,
}
TRANSACTED = {
    "Get": "dynamodb:GetItem",
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}
# Where Bedrock may run what an inference profile of a geography is asked; every one of these models must be allowed.
DESTINATIONS = {
    "us": ("us-east-1", "us-east-2", "us-west-2"),
    "eu": ("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-3"),
    "apac": ("ap-northeast-1", "ap-south-1", "ap-southeast-2"),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
    "in": ("ap-south-1", "ap-south-2"),
    "us-gov": ("us-gov-east-1", "us-gov-west-1"),
    "global": ("",),
}
MODEL_PATHS = {
    ("POST", "converse"): "Converse",
    ("POST", "converse-stream"): "ConverseStream",
    ("POST", "invoke"): "InvokeModel",
    ("POST", "invoke-with-response-stream"): "InvokeModelWithResponseStream",
    ("POST", "count-tokens"): "CountTokens",
}
S3_OBJECT = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
S3_BUCKET = {"GET": "ListObjects", "HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
S3_ACTIONS = {
    "HeadObject": "s3:GetObject",
    "ListObjects": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "HeadBucket": "s3:ListBucket",
    "UploadPart": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
}


@dataclass(frozen=True)
class Need:
    """One thing IAM has to allow: an action on a resource, with what conditions may ask about."""

    action: str
    resource: str
    context: tuple = ()


@dataclass
class Call:
    service: str
    operation: str
    key_id: str = ""
    region: str = "us-east-1"
    needs: list = field(default_factory=list)
    # The wire's dialect, which an error must be written in: json, query, cbor, s3 or rest.
    dialect: str = "json"
    parameters: dict = field(default_factory=dict)

    @property
    def name(self):
        return f"{self.service}:{self.operation}"


def parse(method, target, headers, body, account=ACCOUNT):
    """The call in a request; `headers` by lower-case name. None for what is no call of AWS's, such as a health check."""
    url = urlsplit(target)
    key_id, region, scope = signer(headers, url.query)
    if scope is None:
        return None
    call = Call(PREFIXES.get(scope, scope), "?", key_id, region)
    READERS.get(call.service, read_other)(call, Request(method, url, headers, body, account))
    return call


@dataclass
class Request:
    method: str
    url: object
    headers: dict
    body: bytes
    account: str

    def arn(self, service, region, rest):
        return f"arn:aws:{service}:{region}:{self.account}:{rest}"


def signer(headers, query):
    """(access key id, Region, signing name) of a signature in the headers or, presigned, in the query."""
    text = headers.get("authorization", "")
    found = CREDENTIAL.search(text)
    if not found:
        credential = dict(parse_qsl(query)).get("X-Amz-Credential")
        found = credential and CREDENTIAL.search(f"Credential={credential}")
    return (found[1], found[3], found[4]) if found else (None, None, None)


def read_body(call, request):
    """Names the operation and reads its parameters, in whichever of the protocols with one URL for everything."""
    body = request.body
    if request.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    rpc = re.search(r"/operation/(\w+)$", request.url.path)
    if rpc:
        call.dialect, call.operation = "cbor", rpc[1]
        call.parameters = cbor2.loads(body) if body else {}
    elif "x-amz-target" in request.headers:
        call.operation = request.headers["x-amz-target"].rsplit(".", 1)[-1]
        call.parameters = json.loads(body or b"{}")
    else:
        call.dialect = "query"
        text = body.decode() if request.method == "POST" else request.url.query
        call.parameters = {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}
        call.operation = call.parameters.get("Action", "?")


def need(call, *resources, context=()):
    action = ACTIONS.get(call.name, call.name)
    if action:
        call.needs += [Need(action, resource, context) for resource in resources]


def read_other(call, request):
    read_body(call, request)
    need(call, "*")


def read_sqs(call, request):
    read_body(call, request)
    url, name = call.parameters.get("QueueUrl"), call.parameters.get("QueueName")
    queue = url.rsplit("/", 1)[-1] if url else name
    need(call, request.arn("sqs", call.region, queue) if queue else "*")


def read_sns(call, request):
    read_body(call, request)
    need(call, call.parameters.get("TopicArn") or call.parameters.get("TargetArn") or "*")


def read_cloudwatch(call, request):
    read_body(call, request)
    namespace = call.parameters.get("Namespace")
    named = call.operation == "PutMetricData" and namespace
    need(call, "*", context=(("cloudwatch:namespace", namespace),) if named else ())


def read_dynamodb(call, request):
    read_body(call, request)

    def table(name):
        return name if name.startswith("arn:") else request.arn("dynamodb", call.region, f"table/{name}")

    parameters = call.parameters
    if call.operation in ("BatchGetItem", "BatchWriteItem"):
        need(call, *map(table, parameters["RequestItems"]))
    elif call.operation in ("TransactWriteItems", "TransactGetItems"):
        for item in parameters["TransactItems"]:
            for kind, what in item.items():
                call.needs.append(Need(TRANSACTED[kind], table(what["TableName"])))
    elif parameters.get("TableName"):
        index = parameters.get("IndexName")
        need(call, table(parameters["TableName"]) + (f"/index/{index}" if index else ""))
    else:
        need(call, "*")


def read_bedrock(call, request):
    call.dialect = "rest"
    model = re.fullmatch(r"/model/([^/]+)/([a-z-]+)", request.url.path)
    if not model:
        kind = request.url.path.strip("/").split("/")[0]
        listing = {"foundation-models": "ListFoundationModels", "inference-profiles": "ListInferenceProfiles"}
        call.operation = listing.get(kind, f"{request.method} {request.url.path}")
        need(call, "*")
        return
    call.operation = MODEL_PATHS.get((request.method, model[2]), f"{request.method} {model[2]}")
    call.parameters = {"modelId": unquote(model[1])}
    need(call, *model_arns(call.parameters["modelId"], call.region, request.account))


def model_arns(model_id, region, account=ACCOUNT):
    """What InvokeModel has to be allowed on: the model, or a profile and its model wherever the profile may run it."""
    if model_id.startswith("arn:"):
        return [model_id]
    geography, _, model = model_id.partition(".")
    if geography not in DESTINATIONS:
        return [f"arn:aws:bedrock:{region}::foundation-model/{model_id}"]
    regions = dict.fromkeys((region, *DESTINATIONS[geography]))
    return [
        f"arn:aws:bedrock:{region}:{account}:inference-profile/{model_id}",
        *(f"arn:aws:bedrock:{place}::foundation-model/{model}" for place in regions),
    ]


def read_s3(call, request):
    call.dialect = "s3"
    bucket, key = bucket_and_key(request)
    query = dict(parse_qsl(request.url.query, keep_blank_values=True))
    call.operation = s3_operation(request.method, key, query)
    call.parameters = {"Bucket": bucket, "Key": key}
    if "x-amz-copy-source" in request.headers:
        source = unquote(request.headers["x-amz-copy-source"]).lstrip("/").split("?")[0]
        call.needs.append(Need("s3:GetObject", f"arn:aws:s3:::{source}"))
    version = "Version" if key and query.get("versionId") and request.method in ("GET", "DELETE") else ""
    action = S3_ACTIONS.get(call.operation, call.name) + version
    asked = (("s3:prefix", query["prefix"]),) if "prefix" in query and not key else ()
    call.needs.append(Need(action, "*" if not bucket else f"arn:aws:s3:::{bucket}" + (f"/{key}" if key else ""), asked))


def bucket_and_key(request):
    host = request.headers.get("host", "").split(":")[0]
    virtual = re.match(r"(.+)\.s3[.-]", host)
    path = unquote(request.url.path).lstrip("/")
    if virtual:
        return virtual[1], path
    bucket, _, key = path.partition("/")
    return bucket, key


def s3_operation(method, key, query):
    if "x-id" in query:
        return query["x-id"]
    if "uploads" in query and method == "POST":
        return "CreateMultipartUpload"
    if "uploadId" in query:
        return {"PUT": "UploadPart", "POST": "CompleteMultipartUpload"}.get(method, "AbortMultipartUpload")
    if "versions" in query:
        return "ListObjectVersions"
    if query.get("list-type") == "2":
        return "ListObjectsV2"
    # Subresources such as ?tagging name what is read or written.
    parts = [name for name, value in query.items() if value == "" and re.fullmatch("[a-zA-Z]+", name)]
    if parts:
        return f"{method} {'object' if key else 'bucket'} {parts[0]}"
    return (S3_OBJECT if key else S3_BUCKET).get(method, method)


READERS = {
    "sqs": read_sqs,
    "sns": read_sns,
    "cloudwatch": read_cloudwatch,
    "dynamodb": read_dynamodb,
    "bedrock": read_bedrock,
    "s3": read_s3,
}
