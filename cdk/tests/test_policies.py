import pytest
from deployment import ACCOUNT, CERTIFICATE, DISCOVERY, GATEWAY, as_list, context, deployed, joined

from smoother.policies import model_arns
from smoother.settings import read

ALL = GATEWAY | CERTIFICATE | DISCOVERY
TABLE = {"Fn::GetAtt": ["TablesRequests", "Arn"]}
BUCKET = {"Fn::GetAtt": ["PayloadsBucket", "Arn"]}
KEY = {"Fn::GetAtt": ["EncryptionKey", "Arn"]}
VIA = ["s3.us-east-1.amazonaws.com", "sns.us-east-1.amazonaws.com"]
REQUESTS = [f"dynamodb:{action}Item" for action in ("Get", "BatchGet", "Put", "Update", "Delete")]
QUOTAS = ["servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"]
RECEIVE = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
HOLD = [*RECEIVE, "sqs:SendMessage"]
DEAD_LETTERS = [*HOLD, "sqs:GetQueueAttributes"]


def arn(logical_id):
    return {"Fn::GetAtt": [logical_id, "Arn"]}


def grants(role, **given):
    """Sid → sorted actions, resources."""
    statements = deployed(**given).statements(role)
    return {sid: (sorted(s["Action"]), s["Resource"]) for sid, s in statements.items()}


SHARED = {
    "Requests": (sorted(REQUESTS), [TABLE]),
    "Backlog": (["dynamodb:Query"], [joined(TABLE, "/index/work-index")]),
    "Reports": (["dynamodb:BatchWriteItem", "dynamodb:PutItem"], [arn("TablesReporting")]),
    "Bodies": (["s3:GetObject", "s3:PutObject"], [joined(BUCKET, "/*")]),
    "MissingBodies": (["s3:ListBucket"], [BUCKET]),
    "Key": (["kms:Decrypt", "kms:GenerateDataKey"], [KEY]),
    "Metrics": (["cloudwatch:PutMetricData"], ["*"]),
    "Quotas": (sorted(QUOTAS), ["*"]),
}
PROFILES = joined("arn:aws:bedrock:us-east-1:", ACCOUNT, ":inference-profile/us.amazon.*")
MODELS = ["arn:aws:bedrock:*::foundation-model/amazon.*", PROFILES]


def test_the_worker_may_do_what_its_code_calls():
    found = grants("smoother-worker", allowed_models=["us.amazon.*"])
    models_actions, models = found.pop("Models")
    assert models_actions == ["bedrock:InvokeModel"]
    assert sorted(models, key=str) == sorted(MODELS, key=str)
    assert found == SHARED | {
        "Input": (sorted(RECEIVE), [arn("QueuesInput")]),
        "Hold": (sorted(HOLD), [arn("QueuesHold")]),
        "DeadLetters": (sorted(DEAD_LETTERS), [arn("QueuesHoldDlq")]),
        "Results": (["sqs:SendMessage"], [arn("QueuesResults")]),
        "Alarms": (["sns:Publish"], [{"Ref": "MonitoringTopic"}]),
    }


def test_the_worker_reads_other_buckets_and_measures_only_when_told_to():
    more = grants("smoother-worker", allowed_source_buckets=["big-one", "big-two"], usage_feed=True)
    assert set(more) - set(grants("smoother-worker")) == {"Sources", "UsageFeed"}
    assert more["Sources"] == (["s3:GetObject"], ["arn:aws:s3:::big-one/*", "arn:aws:s3:::big-two/*"])
    assert more["UsageFeed"] == (["cloudwatch:GetMetricData"], ["*"])


def test_the_gateway_has_its_part_of_that_and_streams():
    found = grants("smoother-gateway", **ALL, allowed_models=["us.amazon.*"])
    assert found.pop("Models")[0] == ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]
    assert found == SHARED | {"Input": (["sqs:SendMessage"], [arn("QueuesInput")])}


def test_discovery_lists_and_keeps_what_it_found():
    assert grants("smoother-discovery", **ALL) == {
        "Discover": (["bedrock:ListFoundationModels", "bedrock:ListInferenceProfiles"], ["*"]),
        "Quotas": SHARED["Quotas"],
        "Accounts": (["sts:AssumeRole"], ["arn:aws:iam::210987654321:role/models"]),
        "Catalog": (["s3:GetObject", "s3:PutObject"], [joined(BUCKET, "/models/*")]),
        "Key": SHARED["Key"],
        "Metrics": SHARED["Metrics"],
    }
    assert "Accounts" not in grants("smoother-discovery", discovery_schedule="rate(1 day)")


def test_exports_read_reports_and_write_their_prefix():
    found = grants("smoother-export")
    assert found == {
        "Reports": (["dynamodb:Query"], [arn("TablesReporting")]),
        "Exports": (["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"], [joined(BUCKET, "/exports/*")]),
        "ListExports": (["s3:ListBucket"], [BUCKET]),
        "Key": SHARED["Key"],
    }
    listing = deployed().statements("smoother-export")["ListExports"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["exports/*"]}}


def test_analysts_read_and_write_results_only():
    [policy] = [found["Properties"] for found in deployed().all("IAM::ManagedPolicy").values()]
    assert policy["ManagedPolicyName"] == "smoother-analyst"
    statements = {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}
    at = [f"arn:aws:{service}:us-east-1:" for service in ("glue", "athena")]
    resources = {sid: as_list(statement["Resource"]) for sid, statement in statements.items()}
    assert resources == {
        "Reports": [arn("TablesReporting")],
        "NoFullScans": [arn("TablesReporting")],
        "Exports": [joined(BUCKET, "/exports/*")],
        "Results": [joined(BUCKET, "/athena/*")],
        "ListExports": [BUCKET],
        "Bucket": [BUCKET],
        "Catalog": [
            joined(at[0], ACCOUNT, ":catalog"),
            joined(at[0], ACCOUNT, ":database/", {"Ref": "AnalyticsDatabase"}),
            joined(at[0], ACCOUNT, ":table/", {"Ref": "AnalyticsDatabase"}, "/", {"Ref": "AnalyticsRequests"}),
        ],
        "Queries": [joined(at[1], ACCOUNT, ":workgroup/smoother")],
        "Console": ["*"],
        "ConsoleCatalog": [joined(at[1], ACCOUNT, ":datacatalog/AwsDataCatalog")],
        "Key": [KEY],
    }
    for sid, statement in statements.items():
        for action in as_list(statement["Action"]):
            assert "*" not in action and "Scan" not in action, (sid, action)
            verb = action.split(":")[1]
            writes = verb.startswith(("Put", "Delete", "Update", "Create", "Write", "Batch")) and verb != "BatchGetQueryExecution"
            assert not writes or (sid, verb) == ("Results", "PutObject"), (sid, action)
    assert statements["NoFullScans"]["Effect"] == "Deny"
    assert statements["NoFullScans"]["Condition"] == {"Bool": {"dynamodb:FullTableScan": "true"}}


def test_the_scheduler_starts_one_task_in_one_cluster():
    statements = deployed(**ALL).statements("smoother-discovery-scheduler")
    assert set(statements) == {"Run", "PassRoles"}
    family = joined("arn:aws:ecs:us-east-1:", ACCOUNT, ":task-definition/smoother-discovery:*")
    assert (statements["Run"]["Action"], statements["Run"]["Resource"]) == (["ecs:RunTask"], [family])
    assert statements["Run"]["Condition"] == {"ArnEquals": {"ecs:cluster": arn("FargateCluster")}}
    assert statements["PassRoles"]["Action"] == ["iam:PassRole"]
    assert statements["PassRoles"]["Resource"] == [arn("FargateExecutionRole"), arn("DiscoveryTaskRole")]
    assert statements["PassRoles"]["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def test_starting_tasks_pulls_images_and_writes_logs():
    repositories = joined("arn:aws:ecr:us-east-1:", ACCOUNT, ":repository/*")
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    plain = {
        "Login": (["ecr:GetAuthorizationToken"], ["*"]),
        "Image": (pull, [repositories]),
        "Logs": (["logs:CreateLogStream", "logs:PutLogEvents"], [arn("FargateWorkerLogs"), arn("FargateExportLogs")]),
    }
    assert grants("smoother-execution") == plain
    groups = [arn(f"Fargate{part}Logs") for part in ("Worker", "Gateway", "Discovery", "Export")]
    assert grants("smoother-execution", **ALL) == plain | {
        "Logs": (["logs:CreateLogStream", "logs:PutLogEvents"], groups),
        "Secrets": (["secretsmanager:GetSecretValue"], [{"Fn::GetAtt": ["GatewayAdminKey", "Id"]}]),
        "SecretsKey": (["kms:Decrypt"], [KEY]),
    }


def test_conditions_narrow_what_resources_cannot():
    worker = deployed(**ALL).statements("smoother-worker")
    assert worker["Key"]["Condition"] == {"StringEquals": {"kms:ViaService": VIA}}
    assert worker["Metrics"]["Condition"] == {"StringEquals": {"cloudwatch:namespace": "Smoother"}}
    execution = deployed(**ALL).statements("smoother-execution")
    via = {"StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}}
    assert execution["SecretsKey"]["Condition"] == via


TASKS = ["worker", "gateway", "discovery", "export"]


@pytest.mark.parametrize("part", ["execution", *TASKS, "discovery-scheduler", "export-scheduler"])
def test_roles_serve_one_service_of_this_account_and_exact_actions(part):
    template = deployed(**ALL, allowed_source_buckets=["big-one"], usage_feed=True)
    role = template.one("IAM::Role", RoleName=f"smoother-{part}")
    service = "scheduler" if part.endswith("-scheduler") else "ecs-tasks"
    assert role["AssumeRolePolicyDocument"]["Statement"] == [
        {
            "Action": "sts:AssumeRole",
            "Effect": "Allow",
            "Principal": {"Service": f"{service}.amazonaws.com"},
            "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        }
    ]
    assert "ManagedPolicyArns" not in role
    for sid, statement in template.statements(f"smoother-{part}").items():
        assert statement["Effect"] == "Allow"
        assert not [action for action in statement["Action"] if "*" in action], sid
        if "*" in statement["Resource"]:
            assert sid in ("Login", "Metrics", "UsageFeed", "Quotas", "Discover")


def test_no_policy_stands_beside_the_roles_but_the_analysts():
    template = deployed(**ALL, analytics_enabled=False)
    assert len(template.all("IAM::Role")) == 7
    assert {found["Type"] for found in template.resources.values() if "IAM" in found["Type"]} == {"AWS::IAM::Role"}


def arns(*models, region="us-east-1"):
    """With the account's token written as ACCOUNT."""
    settings = read(context(allowed_models=list(models), aws_region=region))
    return [found if "Token" not in found else _named(found) for found in model_arns(settings)]


def _named(found):
    before, _, rest = found.partition("${Token[")
    return before + "ACCOUNT" + rest.partition("}")[2]


@pytest.mark.parametrize("prefix", ["us", "eu", "apac", "jp", "au", "in", "us-gov", "global"])
def test_a_profile_is_allowed_with_the_model_behind_it(prefix):
    assert arns(f"{prefix}.anthropic.claude-x") == [
        f"arn:aws:bedrock:us-east-1:ACCOUNT:inference-profile/{prefix}.anthropic.claude-x",
        "arn:aws:bedrock:*::foundation-model/anthropic.claude-x",
    ]


def test_models_are_allowed_as_named_and_once():
    assert arns("usual.model") == [
        "arn:aws:bedrock:us-east-1:ACCOUNT:inference-profile/usual.model",
        "arn:aws:bedrock:*::foundation-model/usual.model",
    ]
    given = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc"
    assert arns(given) == [given]
    assert arns("us.amazon.*", "amazon.*", "eu.amazon.*") == [
        "arn:aws:bedrock:us-east-1:ACCOUNT:inference-profile/us.amazon.*",
        "arn:aws:bedrock:*::foundation-model/amazon.*",
        "arn:aws:bedrock:us-east-1:ACCOUNT:inference-profile/amazon.*",
        "arn:aws:bedrock:us-east-1:ACCOUNT:inference-profile/eu.amazon.*",
    ]
    assert arns("us-gov.amazon.*", region="us-gov-west-1") == [
        "arn:aws-us-gov:bedrock:us-gov-west-1:ACCOUNT:inference-profile/us-gov.amazon.*",
        "arn:aws-us-gov:bedrock:*::foundation-model/amazon.*",
    ]


def test_resource_policies_name_their_resource():
    for kind in ("SQS::QueuePolicy", "S3::BucketPolicy", "SNS::TopicPolicy"):
        for policy in deployed().all(kind).values():
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
                assert "*" not in as_list(statement["Resource"])
