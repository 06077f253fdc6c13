"""A deployment as it is seen from outside: by AWS's own APIs."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote

from rig.places import Aws, client
from rig.policy import Role

from .lacks import FORGETS
from .variables import ACCOUNT, NAME, REGION

# Services seen through boto3; the signing name is boto3's business.
SERVICES = (
    "sqs dynamodb s3 sns cloudwatch kms iam ec2 ecs elbv2 logs scheduler secretsmanager cloudformation "
    "glue athena"
).split()

# Output → the worker's setting of the same thing.
SETTINGS = {
    "input_queue_url": "input_queue_url",
    "bedrock_results_queue_url": "results_queue_url",
    "hold_next_batch_queue_url": "hold_queue_url",
    "hold_next_batch_dlq_url": "dlq_url",
    "requests_table_name": "requests_table",
    "reporting_table_name": "reporting_table",
    "bedrock_calls_bucket_name": "bucket",
    "alarm_topic_arn": "alarm_topic_arn",
    "aws_region": "aws_region",
}


class Cloud:
    """boto3 clients of the account, by name."""

    def __init__(self, emulator):
        self.emulator = emulator

    def __getattr__(self, service):
        if service not in SERVICES:
            raise AttributeError(service)
        made = client(service, self.emulator)
        setattr(self, service, made)
        return made

    def pages(self, service, operation, key, **arguments):
        paginator = getattr(self, service).get_paginator(operation)
        return [item for page in paginator.paginate(**arguments) for item in page.get(key, [])]


@dataclass
class Deployed:
    kind: str
    stack: object
    emulator: str
    variables: dict
    outputs: dict
    # What was there before, and what was asked for: for the comparison of the two deployments, and after destroying.
    before: set = field(default_factory=set)
    raw: dict = field(default_factory=dict)

    @cached_property
    def cloud(self):
        return Cloud(self.emulator)

    def service(self, part):
        [service] = self.cloud.ecs.describe_services(cluster=NAME, services=[f"{NAME}-{part}"])["services"]
        return service

    def task_definition(self, part):
        family = f"{NAME}-{part}"
        return self.cloud.ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]

    def container(self, part):
        [container] = self.task_definition(part)["containerDefinitions"]
        return container

    def environment(self, part):
        return {variable["name"]: variable["value"] for variable in self.container(part)["environment"]}

    def policies(self, role):
        """name → document of a role's inline policies; it has no others."""
        iam = self.cloud.iam
        assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        return {name: document(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]) for name in names}

    def resource_policies(self):
        """ARN → policy of every queue, of the topic and of the bucket."""
        cloud, found = self.cloud, {}
        for name, url in self.outputs.items():
            if name.endswith(("_queue_url", "_dlq_url")):
                got = cloud.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
                found[got["QueueArn"]] = document(got["Policy"])
        topic = self.outputs["alarm_topic_arn"]
        found[topic] = document(cloud.sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
        bucket = self.outputs["bedrock_calls_bucket_name"]
        found[f"arn:aws:s3:::{bucket}"] = document(cloud.s3.get_bucket_policy(Bucket=bucket)["Policy"])
        return found

    def key_arn(self):
        aliases = self.cloud.pages("kms", "list_aliases", "Aliases")
        [key] = [alias["TargetKeyId"] for alias in aliases if alias["AliasName"] == f"alias/{NAME}"]
        return self.cloud.kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]

    def keys(self):
        """ARN of what is encrypted → ARN of the key, also where the emulator has forgotten that (see lacks.FORGETS)."""
        bucket, topic = self.outputs["bedrock_calls_bucket_name"], self.outputs["alarm_topic_arn"]
        rules = self.cloud.s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        default = rules[0]["ApplyServerSideEncryptionByDefault"]
        attributes = self.cloud.sns.get_topic_attributes(TopicArn=topic)["Attributes"]
        keys = {f"arn:aws:s3:::{bucket}": default.get("KMSMasterKeyID"), topic: attributes.get("KmsMasterKeyId")}
        for arn, what in ((f"arn:aws:s3:::{bucket}", "bucket encryption"), (topic, "topic encryption")):
            if (self.kind, what) in FORGETS:
                keys[arn] = self.key_arn()
        return {arn: key if key.startswith("arn:") else self.key_arn_of(key) for arn, key in keys.items()}

    def key_arn_of(self, key):
        return self.cloud.kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]

    def role(self, part, secure=True):
        """The role of a task, with what the deployed policies say."""
        name = self.task_definition(part)["taskRoleArn"].rsplit("/", 1)[-1]
        return Role(name, self.policies(name).values(), self.resource_policies().values(), secure)

    def place(self):
        """Where the deployed worker works, for producers and consumers."""
        outputs = {setting: self.outputs[output] for output, setting in SETTINGS.items()}
        outputs["input_dlq_url"] = self.outputs["input_dlq_url"]
        return Aws(self.emulator, NAME, outputs, self.environment("worker"))


def document(policy):
    return json.loads(unquote(policy)) if isinstance(policy, str) else policy


def arn(service, rest, region=REGION, account=ACCOUNT):
    return f"arn:aws:{service}:{region}:{account}:{rest}"
