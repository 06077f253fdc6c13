"""The CDK side: the synthesised template, with every reference resolved, in the common form."""

import json
import re

from stack.variables import ACCOUNT, NAME, REGION

from .form import Unmapped, clean, named, policy

ZONES = [f"{REGION}{letter}" for letter in "abcdef"]
PSEUDO = {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}

# How a resource is named: the property, or what is made of all of them.
IDENTITY = {
    "AWS::KMS::Key": lambda p: NAME,
    "AWS::KMS::Alias": "AliasName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SQS::QueuePolicy": lambda p: p["Queues"][0].rsplit("/", 1)[-1],
    "AWS::DynamoDB::Table": "TableName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::S3::BucketPolicy": "Bucket",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SNS::TopicPolicy": lambda p: p["Topics"][0].rsplit(":", 1)[-1],
    "AWS::SNS::Subscription": "Endpoint",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::EC2::VPC": lambda p: tag(p, "Name"),
    "AWS::EC2::Subnet": lambda p: tag(p, "Name"),
    "AWS::EC2::RouteTable": lambda p: tag(p, "Name"),
    "AWS::EC2::InternetGateway": lambda p: tag(p, "Name"),
    "AWS::EC2::VPCGatewayAttachment": lambda p: NAME,
    "AWS::EC2::Route": "DestinationCidrBlock",
    "AWS::EC2::SubnetRouteTableAssociation": "SubnetId",
    "AWS::EC2::VPCEndpoint": "ServiceName",
    "AWS::EC2::SecurityGroup": "GroupName",
    "AWS::EC2::SecurityGroupIngress": "GroupId",
    "AWS::ECS::Cluster": "ClusterName",
    "AWS::ECS::TaskDefinition": "Family",
    "AWS::ECS::Service": "ServiceName",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "Name",
    "AWS::ElasticLoadBalancingV2::TargetGroup": "Name",
    "AWS::ElasticLoadBalancingV2::Listener": lambda p: str(p["Port"]),
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::Glue::Database": lambda p: p["DatabaseInput"]["Name"],
    "AWS::Glue::Table": lambda p: p["TableInput"]["Name"],
    "AWS::Athena::WorkGroup": "Name",
    "AWS::Scheduler::Schedule": "Name",
    "AWS::ApplicationAutoScaling::ScalableTarget": "ResourceId",
    "AWS::ApplicationAutoScaling::ScalingPolicy": "PolicyName",
}
# What Ref answers with, where that is a name everybody knows.
REFERENCE = {
    "AWS::SQS::Queue": lambda name: f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}",
    "AWS::SNS::Topic": lambda name: f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}",
    "AWS::DynamoDB::Table": str,
    "AWS::S3::Bucket": str,
    "AWS::Logs::LogGroup": str,
    "AWS::IAM::Role": str,
    "AWS::IAM::ManagedPolicy": lambda name: f"arn:aws:iam::{ACCOUNT}:policy/{name}",
    "AWS::Glue::Database": str,
    "AWS::Glue::Table": str,
    "AWS::Athena::WorkGroup": str,
    "AWS::ECS::Cluster": str,
    "AWS::CloudWatch::Dashboard": str,
}
ATTRIBUTE = {
    ("AWS::SQS::Queue", "Arn"): lambda name: f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
    ("AWS::SQS::Queue", "QueueName"): str,
    ("AWS::SNS::Topic", "TopicName"): str,
    ("AWS::DynamoDB::Table", "Arn"): lambda name: f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}",
    ("AWS::S3::Bucket", "Arn"): lambda name: f"arn:aws:s3:::{name}",
    ("AWS::Logs::LogGroup", "Arn"): lambda name: f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:*",
    ("AWS::IAM::Role", "Arn"): lambda name: f"arn:aws:iam::{ACCOUNT}:role/{name}",
    ("AWS::ECS::Cluster", "Arn"): lambda name: f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{name}",
    ("AWS::ECS::Service", "Name"): str,
}
# What AWS makes up: both forms have a symbol in its place. Ref, and what GetAtt calls it.
SYMBOLS = {
    "AWS::KMS::Key": {"Ref": "id", "Arn": "arn", "KeyId": "id"},
    "AWS::EC2::VPC": {"Ref": "id", "VpcId": "id"},
    "AWS::EC2::Subnet": {"Ref": "id", "SubnetId": "id"},
    "AWS::EC2::SecurityGroup": {"Ref": "id", "GroupId": "id"},
    "AWS::EC2::RouteTable": {"Ref": "id", "RouteTableId": "id"},
    "AWS::EC2::InternetGateway": {"Ref": "id", "InternetGatewayId": "id"},
    "AWS::SecretsManager::Secret": {"Ref": "arn", "Id": "arn"},
    "AWS::ElasticLoadBalancingV2::LoadBalancer": {"Ref": "arn", "DNSName": "dns name", "LoadBalancerArn": "arn"},
    "AWS::ElasticLoadBalancingV2::TargetGroup": {"Ref": "arn", "TargetGroupArn": "arn"},
    "AWS::ECS::TaskDefinition": {"Ref": "arn", "TaskDefinitionArn": "arn"},
    "AWS::ApplicationAutoScaling::ScalableTarget": {"Ref": "id", "Id": "id"},
}
# Attributes of resources other than properties. DeletionPolicy is compared, in words that Terraform has as well.
ASIDE = {
    "DependsOn": "an order of making things, and no property",
    "UpdateReplacePolicy": "no name here is ever replaced but by an operator",
    "Metadata": "for tools",
    "DeletionPolicy": "Terraform destroys what it is told to; what must not go has a deletion protection of its own",
}


def symbol(kind, name, attribute):
    return f"<{kind.removeprefix('AWS::')} {name} {attribute}>"


def tag(properties, key):
    return next((tag["Value"] for tag in properties.get("Tags", []) if tag["Key"] == key), "?")


class Template:
    def __init__(self, template):
        self.resources = template["Resources"]
        self.outputs = template.get("Outputs", {})
        assert set(template) <= {"Description", "Resources", "Outputs"}, set(template)

    def name(self, logical):
        kind = self.resources[logical]["Type"]
        if kind not in IDENTITY:
            raise Unmapped(f"{kind} has no identity here")
        identity = IDENTITY[kind]
        properties = self.resources[logical].get("Properties", {})
        if isinstance(identity, str):
            return self.resolve(properties[identity])
        return identity(self.resolve(properties))

    def resolve(self, value):
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(function, argument)] = value.items()
            if function == "Ref":
                return self.reference(argument)
            if function.startswith("Fn::"):
                return self.call(function, argument)
        return {name: self.resolve(item) for name, item in value.items()}

    def reference(self, logical):
        if logical in PSEUDO:
            return PSEUDO[logical]
        return self.attribute(logical, "Ref")

    def attribute(self, logical, attribute):
        kind, name = self.resources[logical]["Type"], self.name(logical)
        if kind in SYMBOLS and attribute in SYMBOLS[kind]:
            return symbol(kind, name, SYMBOLS[kind][attribute])
        known = REFERENCE.get(kind) if attribute == "Ref" else ATTRIBUTE.get((kind, attribute))
        if not known:
            raise Unmapped(f"{attribute} of a {kind} is not known here")
        return known(name)

    def call(self, function, argument):
        match function:
            case "Fn::GetAtt":
                logical, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
                return self.attribute(logical, attribute)
            case "Fn::Join":
                return argument[0].join(self.resolve(argument[1]))
            case "Fn::Select":
                return self.resolve(argument[1])[int(argument[0])]
            case "Fn::GetAZs":
                return ZONES
            case "Fn::Sub" if isinstance(argument, str):
                return re.sub(r"\$\{([\w:]+)(?:\.(\w+))?\}", self.substituted, argument)
        raise Unmapped(f"{function} is not known here")

    def substituted(self, match):
        return self.attribute(match[1], match[2]) if match[2] else self.reference(match[1])

    def form(self):
        made = {}
        for logical, resource in self.resources.items():
            if unknown := set(resource) - {"Type", "Properties", *ASIDE}:
                raise Unmapped(f"{sorted(unknown)} of {logical} are not known here")
            kind, name = resource["Type"], self.name(logical)
            properties = SHAPES.get(kind, lambda p: p)(self.resolve(resource.get("Properties", {})))
            if "Tags" in properties:
                properties["Tags"] = tags(properties["Tags"])
            target = (kind, name)
            if kind == "AWS::EC2::SecurityGroupIngress":
                # A rule of a group, written down by itself.
                target = ("AWS::EC2::SecurityGroup", re.search(r"SecurityGroup (\S+) id", name)[1])
                rule = {key: value for key, value in properties.items() if key != "GroupId"}
                made.setdefault(target, {}).setdefault("SecurityGroupIngress", []).append(rule)
                continue
            merged = made.setdefault(target, {})
            for key, value in properties.items():
                merged[key] = merged[key] + value if key == "SecurityGroupIngress" and key in merged else value
        for (kind, _), properties in made.items():
            if kind == "AWS::EC2::SecurityGroup":
                for direction in ("SecurityGroupIngress", "SecurityGroupEgress"):
                    properties[direction] = rules(properties.get(direction, []))
        return {where: clean(properties) or {} for where, properties in made.items()}

    def told(self):
        """The outputs."""
        return {name: self.resolve(output["Value"]) for name, output in self.outputs.items()}


def tags(given):
    return dict(given) if isinstance(given, dict) else named(given, "Key")


def rules(given):
    """Rules of a security group by what they let through."""
    return sorted(given, key=lambda rule: (rule["FromPort"], str(rule.get("CidrIp")), str(sorted(rule))))


def shaped(**parts):
    """A change of some properties' shapes."""
    return lambda properties: {
        name: parts[name](value) if name in parts else value for name, value in properties.items()
    }


def role(properties):
    policies = {entry["PolicyName"]: policy(entry["PolicyDocument"]) for entry in properties.get("Policies", [])}
    return {**shaped(AssumeRolePolicyDocument=policy)(properties), "Policies": policies}


def container(given):
    made = dict(given)
    for part, key, value in (("Environment", "Name", "Value"), ("Secrets", "Name", "ValueFrom")):
        if part in made:
            made[part] = named(made[part], key, value)
    return made


def indexes(given):
    for index in given:
        index["Projection"]["NonKeyAttributes"].sort()
    return {index["IndexName"]: index for index in given}


SHAPES = {
    "AWS::KMS::Key": shaped(KeyPolicy=policy),
    "AWS::SQS::QueuePolicy": shaped(PolicyDocument=policy),
    "AWS::S3::BucketPolicy": shaped(PolicyDocument=policy),
    "AWS::SNS::TopicPolicy": shaped(PolicyDocument=policy),
    "AWS::IAM::Role": role,
    "AWS::IAM::ManagedPolicy": shaped(PolicyDocument=policy),
    "AWS::CloudWatch::Dashboard": shaped(DashboardBody=json.loads),
    "AWS::CloudWatch::Alarm": shaped(Dimensions=named, Metrics=lambda m: {part["Id"]: part for part in m}),
    "AWS::DynamoDB::Table": shaped(
        AttributeDefinitions=lambda a: named(a, "AttributeName", "AttributeType"),
        GlobalSecondaryIndexes=indexes,
        KeySchema=lambda k: named(k, "KeyType", "AttributeName"),
    ),
    "AWS::ECS::Cluster": shaped(ClusterSettings=named),
    "AWS::ECS::TaskDefinition": shaped(ContainerDefinitions=lambda c: {one["Name"]: container(one) for one in c}),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": shaped(LoadBalancerAttributes=lambda a: named(a, "Key")),
    "AWS::ElasticLoadBalancingV2::TargetGroup": shaped(TargetGroupAttributes=lambda a: named(a, "Key")),
    "AWS::S3::Bucket": shaped(
        LifecycleConfiguration=lambda l: {rule["Id"]: rule for rule in l["Rules"]},
        BucketEncryption=lambda b: b["ServerSideEncryptionConfiguration"][0],
    ),
}
