"""The Terraform side: what the plan wants everything to be, with every reference resolved, in the common form."""

import json
from dataclasses import dataclass, field

from stack.terraform import resources
from stack.variables import ACCOUNT, NAME, REGION

from .cloudformation import rules, symbol
from .form import Unmapped, clean, policy

# Told by AWS and not by us, for every type.
TOLD = {"id", "arn", "owner_id", "owner", "unique_id", "create_date", "region"}
# The same tags, of which tags_all has the default ones too.
TAGS = {"tags"}


def camel(name):
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def shape(single=(), rename=()):
    """A converter of blocks: names in camel case; the blocks in `single` are one, which Terraform has in a list."""
    names = dict(rename)

    def convert(value):
        if isinstance(value, list):
            return [convert(item) for item in value]
        if not isinstance(value, dict):
            return value
        made = {}
        for name, item in value.items():
            converted = convert(item)
            if name in single:
                converted = converted[0] if converted else None
            made[names.get(name, camel(name))] = converted
        return made

    return convert


def one(convert=shape()):
    return lambda blocks: convert(blocks[0]) if blocks else None


def value_of(key):
    return lambda blocks: blocks[0][key] if blocks else None


def enabled(blocks):
    return "ENABLED" if blocks else "DISABLED"


def by(key, convert=shape()):
    return lambda blocks: {block[key]: convert(block) for block in blocks}


@dataclass
class Type:
    """How a type of resource becomes one of CloudFormation's, or a part of one.

    `properties`: attribute → property, or (property, converter); a property may be a path with dots.
    `ignored`: attribute → why it is not compared. `defaults`: attribute → what it is when nobody says anything.
    """

    kind: str
    name: object
    properties: dict
    ignored: dict = field(default_factory=dict)
    defaults: dict = field(default_factory=dict)
    tagged: bool = True


def last(text):
    return text.rsplit("/", 1)[-1].rsplit(":", 1)[-1]


AWS = "told by AWS"
READ = "what is read back of a resource that another one sets"
DEPRECATED = "an older place of what has a resource of its own"
SAME = "the same as another attribute"
NETWORK = ("NetworkConfiguration.AwsvpcConfiguration", lambda blocks: awsvpc(blocks))


def awsvpc(blocks):
    block = blocks[0]
    return {
        "AssignPublicIp": "ENABLED" if block["assign_public_ip"] else "DISABLED",
        "SecurityGroups": block["security_groups"],
        "Subnets": sorted(block["subnets"]),
    }


def containers(text):
    def upper(value):
        if isinstance(value, dict):
            return {name[:1].upper() + name[1:]: item if name == "options" else upper(item) for name, item in value.items()}
        return [upper(item) for item in value] if isinstance(value, list) else value

    made = {}
    for container in upper(json.loads(text)):
        for part, value in (("Environment", "Value"), ("Secrets", "ValueFrom")):
            if part in container:
                container[part] = {item["Name"]: item[value] for item in container[part]}
        made[container["Name"]] = container
    return made


def schedule_target(blocks):
    [target] = blocks
    [ecs] = target["ecs_parameters"]
    parameters = {
        "LaunchType": ecs["launch_type"],
        "TaskCount": ecs["task_count"],
        "TaskDefinitionArn": ecs["task_definition_arn"],
        "NetworkConfiguration": {"AwsvpcConfiguration": awsvpc(ecs["network_configuration"])},
        "PropagateTags": ecs["propagate_tags"],
        "PlatformVersion": ecs["platform_version"],
    }
    rest = {name: value for name, value in target.items() if name not in ("arn", "role_arn", "ecs_parameters")}
    return {"Arn": target["arn"], "RoleArn": target["role_arn"], "EcsParameters": parameters, **shape(("retry_policy",))(rest)}


def lifecycle(blocks):
    made = {}
    for rule in blocks:
        shaped = {"Id": rule["id"], "Status": rule["status"]}
        for block in rule["abort_incomplete_multipart_upload"]:
            shaped["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": block["days_after_initiation"]}
        for block in rule["expiration"]:
            shaped |= {"ExpirationInDays": block["days"], "ExpiredObjectDeleteMarker": block["expired_object_delete_marker"]}
        for block in rule["noncurrent_version_expiration"]:
            shaped["NoncurrentVersionExpiration"] = shape()(block)
        prefixes = [block["prefix"] for block in rule["filter"]] + [rule["prefix"]]
        shaped |= {"Transitions": rule["transition"], "Prefix": next(filter(None, prefixes), None)}
        made[rule["id"]] = shaped
    return made


def encryption(blocks):
    [rule] = blocks
    [default] = rule["apply_server_side_encryption_by_default"]
    made = {"KMSMasterKeyID": default["kms_master_key_id"], "SSEAlgorithm": default["sse_algorithm"]}
    return {"BucketKeyEnabled": rule["bucket_key_enabled"], "ServerSideEncryptionByDefault": made}


def storage(blocks):
    made = shape(("ser_de_info",), {"ser_de_info": "SerdeInfo"})(blocks[0])
    # Names of the serializer's parameters are as they are.
    made["SerdeInfo"]["Parameters"] = blocks[0]["ser_de_info"][0]["parameters"]
    return made


def workgroup(blocks):
    names = {
        "enforce_workgroup_configuration": "EnforceWorkGroupConfiguration",
        "publish_cloudwatch_metrics_enabled": "PublishCloudWatchMetricsEnabled",
        "kms_key_arn": "KmsKey",
    }
    made = shape(("result_configuration", "encryption_configuration"), names)(blocks[0])
    made.pop("EngineVersion", None)
    return made


def indexes(blocks):
    made = {}
    for block in blocks:
        keys = [{"AttributeName": block["hash_key"], "KeyType": "HASH"}, {"AttributeName": block["range_key"], "KeyType": "RANGE"}]
        projection = {"NonKeyAttributes": sorted(block["non_key_attributes"]), "ProjectionType": block["projection_type"]}
        made[block["name"]] = {"IndexName": block["name"], "KeySchema": keys, "Projection": projection}
    return made


def metrics(blocks):
    convert = shape(("metric", "metric_stat"))
    made = {}
    for block in blocks:
        query = convert(block)
        stat = query.pop("Metric", None)
        if stat:
            metric = {name: stat[name] for name in ("MetricName", "Namespace", "Dimensions")}
            query["MetricStat"] = {"Metric": metric, "Period": stat["Period"], "Stat": stat["Stat"], "Unit": stat["Unit"]}
        made[block["id"]] = query
    return made


def actions(blocks):
    made = []
    for block in blocks:
        action = {"Type": block["type"], "TargetGroupArn": block["target_group_arn"]}
        for redirect in block["redirect"]:
            same = {"host": "#{host}", "path": "/#{path}", "query": "#{query}"}
            action["RedirectConfig"] = shape()({name: redirect[name] for name in redirect if redirect[name] != same.get(name)})
        for name in ("authenticate_cognito", "authenticate_oidc", "fixed_response", "forward"):
            action[camel(name)] = block[name]
        made.append(action)
    return made


def switch(value):
    return str(value).lower()


def health_check(blocks):
    """Without what the load balancer does anyway, which the provider always writes down."""
    usual = {"enabled": True, "interval": 30, "timeout": 5, "port": "traffic-port"}
    return shape()({name: value for name, value in blocks[0].items() if value != usual.get(name)})


QUEUE_NAME = lambda v: last(v["queue_url"])
BUCKET = lambda v: v["bucket"]
RULE = {
    "cidr_ipv4": "CidrIp",
    "description": "Description",
    "from_port": "FromPort",
    "to_port": "ToPort",
    "ip_protocol": "IpProtocol",
}
RULE_IGNORED = {"security_group_id": "the group the rule is put into", "security_group_rule_id": AWS}

TYPES = {
    "aws_kms_key": Type(
        "AWS::KMS::Key",
        lambda v: NAME,
        {
            "description": "Description",
            "enable_key_rotation": "EnableKeyRotation",
            "policy": ("KeyPolicy", policy),
            "deletion_window_in_days": "PendingWindowInDays",
            "multi_region": "MultiRegion",
        },
        {"key_id": AWS, "bypass_policy_lockout_safety_check": "a switch of making it"},
        {
            "customer_master_key_spec": "SYMMETRIC_DEFAULT",
            "key_usage": "ENCRYPT_DECRYPT",
            "is_enabled": True,
            "rotation_period_in_days": 365,
        },
    ),
    "aws_kms_alias": Type(
        "AWS::KMS::Alias",
        lambda v: v["name"],
        {"name": "AliasName", "target_key_id": "TargetKeyId"},
        {"target_key_arn": SAME},
        tagged=False,
    ),
    "aws_sqs_queue": Type(
        "AWS::SQS::Queue",
        lambda v: v["name"],
        {
            "name": "QueueName",
            "visibility_timeout_seconds": "VisibilityTimeout",
            "message_retention_seconds": "MessageRetentionPeriod",
            "max_message_size": "MaximumMessageSize",
            "sqs_managed_sse_enabled": "SqsManagedSseEnabled",
            "delay_seconds": "DelaySeconds",
            "receive_wait_time_seconds": "ReceiveMessageWaitTimeSeconds",
            "fifo_queue": "FifoQueue",
        },
        {"url": AWS, "policy": READ, "redrive_policy": READ, "redrive_allow_policy": READ},
        {"kms_data_key_reuse_period_seconds": 300},
    ),
    "aws_sqs_queue_policy": Type(
        "AWS::SQS::QueuePolicy",
        QUEUE_NAME,
        {"policy": ("PolicyDocument", policy), "queue_url": ("Queues", lambda url: [url])},
        tagged=False,
    ),
    "aws_sqs_queue_redrive_policy": Type(
        "AWS::SQS::Queue",
        QUEUE_NAME,
        {"redrive_policy": ("RedrivePolicy", json.loads)},
        {"queue_url": "the queue"},
        tagged=False,
    ),
    "aws_sqs_queue_redrive_allow_policy": Type(
        "AWS::SQS::Queue",
        QUEUE_NAME,
        {"redrive_allow_policy": ("RedriveAllowPolicy", json.loads)},
        {"queue_url": "the queue"},
        tagged=False,
    ),
    "aws_dynamodb_table": Type(
        "AWS::DynamoDB::Table",
        lambda v: v["name"],
        {
            "name": "TableName",
            "attribute": ("AttributeDefinitions", lambda a: {block["name"]: block["type"] for block in a}),
            "billing_mode": "BillingMode",
            "deletion_protection_enabled": "DeletionProtectionEnabled",
            "hash_key": "KeySchema.HASH",
            "range_key": "KeySchema.RANGE",
            "point_in_time_recovery": (
                "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled",
                value_of("enabled"),
            ),
            "ttl": ("TimeToLiveSpecification", one()),
            "global_secondary_index": ("GlobalSecondaryIndexes", indexes),
            "local_secondary_index": "LocalSecondaryIndexes",
            "server_side_encryption": ("SSESpecification", one()),
            "stream_enabled": "StreamSpecification",
        },
        {"stream_arn": AWS, "stream_label": AWS, "stream_view_type": AWS},
        {"table_class": "STANDARD"},
    ),
    "aws_s3_bucket": Type(
        "AWS::S3::Bucket",
        BUCKET,
        {"bucket": "BucketName", "object_lock_enabled": "ObjectLockEnabled"},
        {
            **dict.fromkeys(("bucket_domain_name", "bucket_regional_domain_name", "hosted_zone_id", "bucket_region"), AWS),
            **dict.fromkeys(("grant", "server_side_encryption_configuration", "versioning", "lifecycle_rule", "policy"), READ),
            "force_destroy": "a switch of destroying; CloudFormation has none and scripts/cleanup empties the bucket",
        },
    ),
    "aws_s3_bucket_versioning": Type(
        "AWS::S3::Bucket",
        BUCKET,
        {"versioning_configuration": ("VersioningConfiguration.Status", value_of("status"))},
        {"bucket": "the bucket"},
        tagged=False,
    ),
    "aws_s3_bucket_public_access_block": Type(
        "AWS::S3::Bucket",
        BUCKET,
        {
            name: f"PublicAccessBlockConfiguration.{camel(name)}"
            for name in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
        },
        {"bucket": "the bucket"},
        tagged=False,
    ),
    "aws_s3_bucket_ownership_controls": Type(
        "AWS::S3::Bucket",
        BUCKET,
        {"rule": ("OwnershipControls.Rules", shape())},
        {"bucket": "the bucket"},
        tagged=False,
    ),
    "aws_s3_bucket_policy": Type(
        "AWS::S3::BucketPolicy",
        BUCKET,
        {"bucket": "Bucket", "policy": ("PolicyDocument", policy)},
        tagged=False,
    ),
    "aws_s3_bucket_server_side_encryption_configuration": Type(
        "AWS::S3::Bucket",
        BUCKET,
        {"rule": ("BucketEncryption", encryption)},
        {"bucket": "the bucket"},
        tagged=False,
    ),
    "aws_s3_bucket_lifecycle_configuration": Type(
        "AWS::S3::Bucket",
        BUCKET,
        {"rule": ("LifecycleConfiguration", lifecycle)},
        {"bucket": "the bucket"},
        {"transition_default_minimum_object_size": "all_storage_classes_128K"},
        tagged=False,
    ),
    "aws_sns_topic": Type(
        "AWS::SNS::Topic",
        lambda v: v["name"],
        {"name": "TopicName", "kms_master_key_id": "KmsMasterKeyId", "display_name": "DisplayName"},
        {"policy": READ, "beginning_archive_time": AWS},
    ),
    "aws_sns_topic_policy": Type(
        "AWS::SNS::TopicPolicy",
        lambda v: last(v["arn"]),
        {"policy": ("PolicyDocument", policy)},
        tagged=False,
    ),
    "aws_sns_topic_subscription": Type(
        "AWS::SNS::Subscription",
        lambda v: v["endpoint"],
        {"endpoint": "Endpoint", "protocol": "Protocol", "topic_arn": "TopicArn"},
        {
            "confirmation_timeout_in_minutes": "how long Terraform waits for an endpoint that confirms by itself",
            "confirmation_was_authenticated": AWS,
            "pending_confirmation": AWS,
        },
        tagged=False,
    ),
    "aws_cloudwatch_log_group": Type(
        "AWS::Logs::LogGroup",
        lambda v: v["name"],
        {"name": "LogGroupName", "retention_in_days": "RetentionInDays", "kms_key_id": "KmsKeyId"},
        {"skip_destroy": "a switch of destroying"},
        {"log_group_class": "STANDARD"},
    ),
    "aws_cloudwatch_metric_alarm": Type(
        "AWS::CloudWatch::Alarm",
        lambda v: v["alarm_name"],
        {
            **{
                name: camel(name)
                for name in (
                    "alarm_actions alarm_description alarm_name comparison_operator datapoints_to_alarm evaluation_periods "
                    "metric_name namespace period statistic extended_statistic threshold treat_missing_data unit dimensions "
                    "insufficient_data_actions"
                ).split()
            },
            "ok_actions": "OKActions",
            "metric_query": ("Metrics", metrics),
        },
        {"evaluate_low_sample_count_percentiles": "of alarms on percentiles, which none is"},
        {"actions_enabled": True},
    ),
    "aws_cloudwatch_dashboard": Type(
        "AWS::CloudWatch::Dashboard",
        lambda v: v["dashboard_name"],
        {"dashboard_name": "DashboardName", "dashboard_body": ("DashboardBody", json.loads)},
        {"dashboard_arn": AWS},
        tagged=False,
    ),
    "aws_secretsmanager_secret": Type(
        "AWS::SecretsManager::Secret",
        lambda v: v["name"],
        {"name": "Name", "description": "Description", "kms_key_id": "KmsKeyId"},
        {
            "policy": READ,
            "replica": AWS,
            "recovery_window_in_days": "a switch of destroying; CloudFormation always leaves 30 days",
            "force_overwrite_replica_secret": "there are no replicas",
        },
    ),
    "aws_vpc": Type(
        "AWS::EC2::VPC",
        lambda v: v["tags_all"]["Name"],
        {
            "cidr_block": "CidrBlock",
            "enable_dns_hostnames": "EnableDnsHostnames",
            "enable_dns_support": "EnableDnsSupport",
            "instance_tenancy": "InstanceTenancy",
        },
        dict.fromkeys(
            (
                "default_network_acl_id default_route_table_id default_security_group_id dhcp_options_id main_route_table_id "
                "ipv6_association_id ipv6_cidr_block_network_border_group"
            ).split(),
            AWS,
        ),
        {"instance_tenancy": "default"},
    ),
    "aws_subnet": Type(
        "AWS::EC2::Subnet",
        lambda v: v["tags_all"]["Name"],
        {
            "availability_zone": "AvailabilityZone",
            "cidr_block": "CidrBlock",
            "map_public_ip_on_launch": "MapPublicIpOnLaunch",
            "vpc_id": "VpcId",
        },
        {"availability_zone_id": SAME, "ipv6_cidr_block_association_id": AWS},
        {"private_dns_hostname_type_on_launch": "ip-name"},
    ),
    "aws_internet_gateway": Type(
        "AWS::EC2::InternetGateway", lambda v: v["tags_all"]["Name"], {"vpc_id": "attached to"}
    ),
    "aws_route_table": Type(
        "AWS::EC2::RouteTable",
        lambda v: v["tags_all"]["Name"],
        {"vpc_id": "VpcId"},
        {"route": READ, "propagating_vgws": AWS},
    ),
    "aws_route": Type(
        "AWS::EC2::Route",
        lambda v: v["destination_cidr_block"],
        {"destination_cidr_block": "DestinationCidrBlock", "gateway_id": "GatewayId", "route_table_id": "RouteTableId"},
        {"origin": AWS, "state": AWS, "instance_id": AWS, "instance_owner_id": AWS, "network_interface_id": AWS},
        tagged=False,
    ),
    "aws_route_table_association": Type(
        "AWS::EC2::SubnetRouteTableAssociation",
        lambda v: v["subnet_id"],
        {"route_table_id": "RouteTableId", "subnet_id": "SubnetId"},
        tagged=False,
    ),
    "aws_vpc_endpoint": Type(
        "AWS::EC2::VPCEndpoint",
        lambda v: v["service_name"],
        {
            "service_name": "ServiceName",
            "vpc_endpoint_type": "VpcEndpointType",
            "vpc_id": "VpcId",
            "route_table_ids": "RouteTableIds",
            "policy": ("PolicyDocument", lambda text: policy(text) if text else None),
        },
        {
            **dict.fromkeys(("cidr_blocks", "prefix_list_id", "state", "dns_entry", "dns_options", "ip_address_type"), AWS),
            **dict.fromkeys(("network_interface_ids", "requester_managed", "subnet_configuration", "subnet_ids"), AWS),
            **dict.fromkeys(("security_group_ids", "service_region", "private_dns_enabled"), AWS),
        },
    ),
    "aws_security_group": Type(
        "AWS::EC2::SecurityGroup",
        lambda v: v["name"],
        {"name": "GroupName", "description": "GroupDescription", "vpc_id": "VpcId"},
        {"egress": READ, "ingress": READ, "revoke_rules_on_delete": "a switch of destroying"},
    ),
    "aws_default_security_group": Type(
        "default security group",
        lambda v: v["name"],
        {"egress": "SecurityGroupEgress", "ingress": "SecurityGroupIngress", "vpc_id": "VpcId"},
        {"name": AWS, "description": AWS, "revoke_rules_on_delete": "a switch of destroying", "name_prefix": AWS},
    ),
    "aws_vpc_security_group_ingress_rule": Type(
        "AWS::EC2::SecurityGroup",
        lambda v: v["security_group_id"],
        {**RULE, "referenced_security_group_id": "SourceSecurityGroupId"},
        RULE_IGNORED,
        tagged=False,
    ),
    "aws_vpc_security_group_egress_rule": Type(
        "AWS::EC2::SecurityGroup",
        lambda v: v["security_group_id"],
        {**RULE, "referenced_security_group_id": "DestinationSecurityGroupId"},
        RULE_IGNORED,
        tagged=False,
    ),
    "aws_ecs_cluster": Type(
        "AWS::ECS::Cluster",
        lambda v: v["name"],
        {
            "name": "ClusterName",
            "setting": ("ClusterSettings", lambda s: {block["name"]: block["value"] for block in s}),
        },
        {"configuration": AWS, "service_connect_defaults": AWS},
    ),
    "aws_ecs_task_definition": Type(
        "AWS::ECS::TaskDefinition",
        lambda v: v["family"],
        {
            "family": "Family",
            "container_definitions": ("ContainerDefinitions", containers),
            "cpu": "Cpu",
            "memory": "Memory",
            "execution_role_arn": "ExecutionRoleArn",
            "task_role_arn": "TaskRoleArn",
            "network_mode": "NetworkMode",
            "requires_compatibilities": "RequiresCompatibilities",
            "runtime_platform": ("RuntimePlatform", one()),
        },
        {
            "arn_without_revision": AWS,
            "revision": AWS,
            "skip_destroy": "a switch of destroying",
            "track_latest": "a switch of Terraform's",
        },
    ),
    "aws_ecs_service": Type(
        "AWS::ECS::Service",
        lambda v: v["name"],
        {
            "name": "ServiceName",
            "cluster": ("Cluster", last),
            "task_definition": "TaskDefinition",
            "desired_count": "DesiredCount",
            "launch_type": "LaunchType",
            "propagate_tags": "PropagateTags",
            "enable_execute_command": "EnableExecuteCommand",
            "deployment_circuit_breaker": ("DeploymentConfiguration.DeploymentCircuitBreaker", one()),
            "deployment_maximum_percent": "DeploymentConfiguration.MaximumPercent",
            "deployment_minimum_healthy_percent": "DeploymentConfiguration.MinimumHealthyPercent",
            "health_check_grace_period_seconds": "HealthCheckGracePeriodSeconds",
            "load_balancer": ("LoadBalancers", shape()),
            "network_configuration": NETWORK,
            "platform_version": "PlatformVersion",
            "enable_ecs_managed_tags": "EnableECSManagedTags",
        },
        {"wait_for_steady_state": "a switch of Terraform's", "triggers": AWS, "iam_role": AWS, "force_delete": AWS},
        {
            "deployment_controller": [{"type": "ECS"}],
            "scheduling_strategy": "REPLICA",
            "availability_zone_rebalancing": "DISABLED",
        },
    ),
    "aws_lb": Type(
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
        lambda v: v["name"],
        {
            "name": "Name",
            "internal": ("Scheme", lambda internal: "internal" if internal else "internet-facing"),
            "load_balancer_type": "Type",
            "security_groups": "SecurityGroups",
            "subnets": ("Subnets", sorted),
            "drop_invalid_header_fields": (
                "LoadBalancerAttributes.routing/http/drop_invalid_header_fields/enabled",
                switch,
            ),
            "enable_deletion_protection": ("LoadBalancerAttributes.deletion_protection/enabled", switch),
            "idle_timeout": ("LoadBalancerAttributes.idle_timeout/timeout_seconds", str),
        },
        dict.fromkeys(("arn_suffix", "dns_name", "zone_id", "vpc_id", "subnet_mapping"), AWS),
        {
            "access_logs": [{"bucket": "", "enabled": False, "prefix": ""}],
            "connection_logs": [{"bucket": "", "enabled": False, "prefix": ""}],
            "client_keep_alive": 3600,
            "desync_mitigation_mode": "defensive",
            "enable_http2": True,
            "ip_address_type": "ipv4",
            "xff_header_processing_mode": "append",
        },
    ),
    "aws_lb_target_group": Type(
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        lambda v: v["name"],
        {
            "name": "Name",
            "port": "Port",
            "protocol": "Protocol",
            "target_type": "TargetType",
            "vpc_id": "VpcId",
            "health_check": ("HealthCheck", health_check),
            "deregistration_delay": ("TargetGroupAttributes.deregistration_delay/timeout_seconds", str),
        },
        {
            "arn_suffix": AWS,
            "load_balancer_arns": AWS,
            "ip_address_type": AWS,
            "protocol_version": AWS,
            "load_balancing_algorithm_type": AWS,
            "load_balancing_anomaly_mitigation": AWS,
            "load_balancing_cross_zone_enabled": AWS,
            **dict.fromkeys(("stickiness", "target_failover", "target_group_health", "target_health_state"), AWS),
        },
        {"deregistration_delay": "300"},
    ),
    "aws_lb_listener": Type(
        "AWS::ElasticLoadBalancingV2::Listener",
        lambda v: str(v["port"]),
        {
            "port": "Port",
            "protocol": "Protocol",
            "load_balancer_arn": "LoadBalancerArn",
            "certificate_arn": ("Certificates", lambda arn: [{"CertificateArn": arn}] if arn else None),
            "ssl_policy": "SslPolicy",
            "default_action": ("DefaultActions", actions),
        },
        {"mutual_authentication": AWS, "tcp_idle_timeout_seconds": AWS},
        {"routing_http_response_server_enabled": True},
    ),
    "aws_iam_role": Type(
        "AWS::IAM::Role",
        lambda v: v["name"],
        {
            "name": "RoleName",
            "description": "Description",
            "assume_role_policy": ("AssumeRolePolicyDocument", policy),
            "permissions_boundary": "PermissionsBoundary",
        },
        {
            "inline_policy": READ,
            "managed_policy_arns": READ,
            "force_detach_policies": "a switch of destroying",
        },
        {"path": "/", "max_session_duration": 3600},
    ),
    "aws_iam_role_policy": Type(
        "AWS::IAM::Role", lambda v: v["role"], {"policy": ("Policies", policy), "name": "its name"}, {"role": "the role"}, tagged=False
    ),
    "aws_iam_policy": Type(
        "AWS::IAM::ManagedPolicy",
        lambda v: v["name"],
        {
            "name": "ManagedPolicyName",
            "description": "Description",
            "path": "Path",
            "policy": ("PolicyDocument", policy),
        },
        {"attachment_count": AWS, "policy_id": AWS, "name_prefix": AWS},
    ),
    "aws_glue_catalog_database": Type(
        "AWS::Glue::Database",
        lambda v: v["name"],
        {"name": "DatabaseInput.Name", "description": "DatabaseInput.Description", "catalog_id": "CatalogId"},
        {"create_table_default_permission": AWS, "location_uri": AWS, "parameters": AWS},
    ),
    "aws_glue_catalog_table": Type(
        "AWS::Glue::Table",
        lambda v: v["name"],
        {
            "name": "TableInput.Name",
            "description": "TableInput.Description",
            "table_type": "TableInput.TableType",
            "parameters": "TableInput.Parameters",
            "database_name": "DatabaseName",
            "catalog_id": "CatalogId",
            "partition_keys": ("TableInput.PartitionKeys", shape()),
            "storage_descriptor": ("TableInput.StorageDescriptor", storage),
        },
        {"partition_index": AWS},
        tagged=False,
    ),
    "aws_athena_workgroup": Type(
        "AWS::Athena::WorkGroup",
        lambda v: v["name"],
        {
            "name": "Name",
            "description": "Description",
            "force_destroy": "RecursiveDeleteOption",
            "configuration": ("WorkGroupConfiguration", workgroup),
        },
        defaults={"state": "ENABLED"},
    ),
    "aws_scheduler_schedule": Type(
        "AWS::Scheduler::Schedule",
        lambda v: v["name"],
        {
            "name": "Name",
            "description": "Description",
            "schedule_expression": "ScheduleExpression",
            "flexible_time_window": ("FlexibleTimeWindow", one()),
            "target": ("Target", schedule_target),
            "kms_key_arn": "KmsKeyArn",
        },
        defaults={"group_name": "default", "schedule_expression_timezone": "UTC", "state": "ENABLED"},
        tagged=False,
    ),
    "aws_appautoscaling_target": Type(
        "AWS::ApplicationAutoScaling::ScalableTarget",
        lambda v: v["resource_id"],
        {
            "min_capacity": "MinCapacity",
            "max_capacity": "MaxCapacity",
            "resource_id": "ResourceId",
            "scalable_dimension": "ScalableDimension",
            "service_namespace": "ServiceNamespace",
        },
        {"role_arn": AWS, "suspended_state": AWS},
    ),
    "aws_appautoscaling_policy": Type(
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        lambda v: v["name"],
        {
            "name": "PolicyName",
            "policy_type": "PolicyType",
            "resource_id": "ScalingTargetId",
            "target_tracking_scaling_policy_configuration": (
                "TargetTrackingScalingPolicyConfiguration",
                one(shape(("customized_metric_specification", "metric_stat", "metric"))),
            ),
        },
        {"service_namespace": "of its target", "scalable_dimension": "of its target", "alarm_arns": AWS},
        tagged=False,
    ),
}
# What AWS makes up: attribute → what the symbol says.
SYMBOLS = {
    "aws_kms_key": {"arn": "arn", "key_id": "arn"},
    "aws_vpc": {"id": "id"},
    "aws_subnet": {"id": "id"},
    "aws_security_group": {"id": "id"},
    "aws_route_table": {"id": "id"},
    "aws_internet_gateway": {"id": "id"},
    "aws_secretsmanager_secret": {"arn": "arn"},
    "aws_lb": {"arn": "arn", "dns_name": "dns name"},
    "aws_lb_target_group": {"arn": "arn"},
    "aws_ecs_task_definition": {"arn": "arn"},
}


class Plan:
    """Of a plan's planned values: what configuration and what is there make together."""

    def __init__(self, plan):
        self.resources = list(resources(plan["planned_values"]["root_module"]))
        self.outputs = plan["planned_values"]["outputs"]
        found = {}
        for resource in self.resources:
            kind = resource["type"]
            if kind not in TYPES:
                raise Unmapped(f"{kind} ({resource['address']}) is not known here")
            for attribute, word in SYMBOLS.get(kind, {}).items():
                found[resource["values"][attribute]] = symbol(TYPES[kind].kind, TYPES[kind].name(resource["values"]), word)
        # The longest first: an id may be part of an ARN.
        self.symbols = sorted(found.items(), key=lambda pair: -len(pair[0]))

    def resolve(self, value):
        if isinstance(value, dict):
            return {name: self.resolve(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if isinstance(value, str):
            for text, shown in self.symbols:
                value = value.replace(text, shown)
        return value

    def form(self):
        made = {}
        for resource in self.resources:
            kind = TYPES[resource["type"]]
            values = self.resolve(resource["values"])
            properties = shaped(kind, values, resource["address"])
            name = kind.name(values)
            if resource["type"].startswith("aws_vpc_security_group_"):
                direction = "SecurityGroupIngress" if "ingress" in resource["type"] else "SecurityGroupEgress"
                where = (kind.kind, name.split(" ")[1])
                made.setdefault(where, {}).setdefault(direction, []).append(properties)
                continue
            special = SPECIAL.get(resource["type"])
            for where, part in special(name, properties) if special else [((kind.kind, name), properties)]:
                made.setdefault(where, {}).update(part)
        for (kind, _), properties in made.items():
            if kind == "AWS::EC2::SecurityGroup":
                for direction in ("SecurityGroupIngress", "SecurityGroupEgress"):
                    properties[direction] = rules([clean(rule) for rule in properties.get(direction, [])])
        return {where: clean(properties) or {} for where, properties in made.items()}

    def told(self):
        return {name: self.resolve(output["value"]) for name, output in self.outputs.items()}


def shaped(kind, values, address):
    made = {}
    for name, value in values.items():
        if name in kind.properties and not (name in kind.defaults and value == kind.defaults[name]):
            target = kind.properties[name]
            target, convert = target if isinstance(target, tuple) else (target, lambda same: same)
            if value is not None:
                put(made, target, convert(value))
        elif name == "tags_all" and kind.tagged:
            made["Tags"] = value
        elif name in kind.properties or name in kind.ignored or name in TOLD | TAGS | {"tags_all"}:
            continue
        elif name in kind.defaults and value == kind.defaults[name]:
            continue
        elif clean(value):
            raise Unmapped(f"{name} = {str(value)[:200]} of {address} is not known here")
    return made


def put(made, path, value):
    *above, name = path.split(".")
    for part in above:
        made = made.setdefault(part, {})
    made[name.replace("/", ".")] = value


def gateway(name, properties):
    """An internet gateway and its being attached."""
    attachment = {"InternetGatewayId": symbol("AWS::EC2::InternetGateway", name, "id"), "VpcId": properties["attached to"]}
    yield ("AWS::EC2::InternetGateway", name), {"Tags": properties["Tags"]}
    yield ("AWS::EC2::VPCGatewayAttachment", name), attachment


def role_policy(name, properties):
    yield ("AWS::IAM::Role", name), {"Policies": {properties["its name"]: properties["Policies"]}}


def topic_policy(name, properties):
    yield ("AWS::SNS::TopicPolicy", name), {**properties, "Topics": [f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}"]}


def target_group(name, properties):
    """Its health check, which is no part of its own in CloudFormation."""
    names = {
        "Path": "HealthCheckPath",
        "Protocol": "HealthCheckProtocol",
        "Interval": "HealthCheckIntervalSeconds",
        "Timeout": "HealthCheckTimeoutSeconds",
        "HealthyThreshold": "HealthyThresholdCount",
        "UnhealthyThreshold": "UnhealthyThresholdCount",
        "Port": "HealthCheckPort",
        "Enabled": "HealthCheckEnabled",
    }
    check = properties.pop("HealthCheck")
    matcher = {"Matcher": {"HttpCode": check.pop("Matcher")}}
    yield ("AWS::ElasticLoadBalancingV2::TargetGroup", name), {
        **properties,
        **matcher,
        **{names[key]: value for key, value in check.items() if clean(value)},
    }


def scaling_policy(name, properties):
    target = symbol("AWS::ApplicationAutoScaling::ScalableTarget", properties["ScalingTargetId"], "id")
    yield ("AWS::ApplicationAutoScaling::ScalingPolicy", name), {**properties, "ScalingTargetId": target}


SPECIAL = {
    "aws_internet_gateway": gateway,
    "aws_iam_role_policy": role_policy,
    "aws_sns_topic_policy": topic_policy,
    "aws_lb_target_group": target_group,
    "aws_appautoscaling_policy": scaling_policy,
}
