"""Every resource of a deployment, as AWS's own APIs show it: that a stack is complete proves nothing."""

import json

import pytest

from rig.policy import Role
from stack.deployed import arn, document
from stack.lacks import LACKS, kind, shows
from stack.terraform import resources
from stack.variables import ACCOUNT, EVERYTHING, NAME, REGION, WEBHOOK_SECRET

QUEUES = {
    "input_queue_url": ("input", "input-dlq", 5),
    "input_dlq_url": ("input-dlq", None, None),
    "bedrock_results_queue_url": ("bedrock-results", None, None),
    "hold_next_batch_queue_url": ("hold-next-batch", "hold-next-batch-dlq", 3),
    "hold_next_batch_dlq_url": ("hold-next-batch-dlq", None, None),
}
ALARMS = {
    "bedrock-client-errors": (60, EVERYTHING["alarm_threshold"], EVERYTHING["alarm_evaluation_periods"]),
    "bedrock-server-errors": (60, EVERYTHING["alarm_threshold"], EVERYTHING["alarm_evaluation_periods"]),
    "bedrock-throttles": (60, EVERYTHING["alarm_threshold"], EVERYTHING["alarm_evaluation_periods"]),
    "dead-letters": (60, 0, 1),
    "input-dead-letters": (60, 0, 1),
    "input-age": (60, EVERYTHING["minutes_to_process"] * 60, 3),
    "backlog-not-draining": (300, 1, 3),
    "no-worker": (60, 1, 3),
    "missed-deadlines": (300, 0, 1),
    "budget-reached": (60, 0, 1),
    "delivery-faults": (300, 25, 1),
}


@pytest.fixture
def cloud(deployed):
    return deployed.cloud


def test_what_is_left_out_is_exactly_on_the_list(deployed):
    if deployed.kind == "terraform":
        wanted = {resource["type"] for resource in resources(deployed.raw["plan"]["planned_values"]["root_module"])}
        there = {resource["type"] for resource in resources(deployed.raw["state"]["values"]["root_module"])}
    else:
        template = deployed.raw["template"]["Resources"]
        wanted = {kind(resource) for resource in template.values()}
        there = {kind(template[logical]) for logical in deployed.raw["physical"]}
        left_out = {logical for logical, resource in template.items() if kind(resource) in LACKS["cdk"]}
        assert set(deployed.raw["physical"]) == set(template) - left_out
    assert wanted - there == set(LACKS[deployed.kind])


def test_queues(deployed, cloud):
    for output, (name, dead_letters, receives) in QUEUES.items():
        url = deployed.outputs[output]
        assert url.endswith(f"/{ACCOUNT}/{NAME}-{name}")
        got = cloud.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert (got["VisibilityTimeout"], got["MessageRetentionPeriod"], got["MaximumMessageSize"]) == (
            "60",
            "1209600",
            "262144",
        )
        assert got["SqsManagedSseEnabled"] == "true"
        redrive = json.loads(got.get("RedrivePolicy", "null"))
        if dead_letters:
            assert redrive["deadLetterTargetArn"] == arn("sqs", f"{NAME}-{dead_letters}")
            assert int(redrive["maxReceiveCount"]) == receives
        else:
            assert redrive is None
        if name.endswith("-dlq"):
            allowed = json.loads(got["RedriveAllowPolicy"])
            assert allowed["redrivePermission"] == "byQueue"
            assert allowed["sourceQueueArns"] == [arn("sqs", f"{NAME}-{name.removesuffix('-dlq')}")]


def test_tables(deployed, cloud):
    for output in ("requests_table_name", "reporting_table_name"):
        table = cloud.dynamodb.describe_table(TableName=deployed.outputs[output])["Table"]
        assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        assert table["DeletionProtectionEnabled"] is True
        backups = cloud.dynamodb.describe_continuous_backups(TableName=table["TableName"])
        recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        shows(deployed, "point in time recovery", lambda: recovery["PointInTimeRecoveryStatus"], "ENABLED")


def test_bucket(deployed, cloud, schema):
    bucket = deployed.outputs["bedrock_calls_bucket_name"]
    assert bucket == f"{NAME}-bedrock-calls-{ACCOUNT}"
    s3 = cloud.s3

    def encryption():
        [rule] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        default = rule["ApplyServerSideEncryptionByDefault"]
        return default["SSEAlgorithm"], default["KMSMasterKeyID"], rule["BucketKeyEnabled"]

    shows(deployed, "bucket encryption", encryption, ("aws:kms", deployed.key_arn(), True))
    shows(deployed, "bucket versioning", lambda: s3.get_bucket_versioning(Bucket=bucket)["Status"], "Enabled")
    block = lambda: set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    shows(deployed, "public access block", block, {True})
    owners = lambda: s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    shows(deployed, "bucket ownership", owners, [{"ObjectOwnership": "BucketOwnerEnforced"}])

    def lifecycle():
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert {rule["Status"] for rule in rules} == {"Enabled"}
        found = {}
        for rule in rules:
            expiration, prefix = rule.get("Expiration", {}), rule.get("Filter", {}).get("Prefix") or rule.get("Prefix")
            if prefix:
                found[prefix] = expiration["Days"]
                continue
            found |= {name: expiration[name] for name in ("Days", "ExpiredObjectDeleteMarker") if expiration.get(name)}
            found |= rule.get("NoncurrentVersionExpiration", {})
            found |= rule.get("AbortIncompleteMultipartUpload", {})
        return found

    days = EVERYTHING["retention_days"]
    # Nothing takes exports away.
    expected = {prefix: days for prefix in schema["bucket"]["expiring"]} | {"athena/": 7}
    assert schema["bucket"]["exports"] not in expected
    expected |= {"NoncurrentDays": 1, "DaysAfterInitiation": 1, "ExpiredObjectDeleteMarker": True}
    shows(deployed, "bucket lifecycle", lifecycle, expected)


def test_topic(deployed, cloud):
    topic = deployed.outputs["alarm_topic_arn"]
    assert topic == arn("sns", f"{NAME}-alarms")
    attributes = cloud.sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    shows(deployed, "topic encryption", lambda: deployed.key_arn_of(attributes["KmsMasterKeyId"]), deployed.key_arn())
    subscriptions = cloud.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert ("email", EVERYTHING["notification_email"]) in {(s["Protocol"], s["Endpoint"]) for s in subscriptions}
    publishers = [s for s in deployed.resource_policies()[topic]["Statement"] if s["Effect"] == "Allow"]
    assert [s["Principal"] for s in publishers] == [{"Service": "cloudwatch.amazonaws.com"}]
    assert publishers[0]["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_key(deployed, cloud):
    key = deployed.key_arn()
    assert cloud.kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True
    policy = json.loads(cloud.kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    services = {
        statement["Principal"]["Service"]: statement for statement in policy["Statement"] if "Service" in statement["Principal"]
    }
    assert set(services) == {"cloudwatch.amazonaws.com", f"logs.{REGION}.amazonaws.com"}
    # Nobody's service but of this account and these log groups.
    assert "aws:SourceAccount" in services["cloudwatch.amazonaws.com"]["Condition"]["StringEquals"]
    logs = services[f"logs.{REGION}.amazonaws.com"]["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    assert logs == arn("logs", f"log-group:/{NAME}/*")


def test_logs(deployed, cloud):
    groups = {group["logGroupName"]: group for group in cloud.pages("logs", "describe_log_groups", "logGroups")}
    for part in ("worker", "gateway", "discovery", "export"):
        group = groups[f"/{NAME}/{part}"]
        assert group["retentionInDays"] == EVERYTHING["log_retention_days"]
        shows(deployed, "key of log groups", lambda: group.get("kmsKeyId"), deployed.key_arn())
        assert deployed.container(part)["logConfiguration"]["options"]["awslogs-group"] == f"/{NAME}/{part}"


def test_network(deployed, cloud):
    ec2 = cloud.ec2
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": [EVERYTHING["vpc_cidr"]]}])["Vpcs"]
    here = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    subnets = ec2.describe_subnets(Filters=here)["Subnets"]
    assert len({subnet["AvailabilityZone"] for subnet in subnets}) == len(subnets) == 2
    tables = ec2.describe_route_tables(Filters=here)["RouteTables"]
    [public] = [table for table in tables if any(route.get("GatewayId", "").startswith("igw-") for route in table["Routes"])]
    associated = {association.get("SubnetId") for association in public["Associations"]}
    assert {subnet["SubnetId"] for subnet in subnets} <= associated
    endpoints = ec2.describe_vpc_endpoints(Filters=here)["VpcEndpoints"]
    assert {endpoint["ServiceName"].rsplit(".", 1)[-1] for endpoint in endpoints} == {"s3", "dynamodb"}
    assert all(endpoint["RouteTableIds"] == [public["RouteTableId"]] for endpoint in endpoints)


def test_security_groups(deployed, cloud):
    groups = {group["GroupName"]: group for group in cloud.ec2.describe_security_groups()["SecurityGroups"]}

    def rules(name, direction):
        return {
            (rule.get("FromPort"), rule.get("ToPort"), source)
            for rule in groups[name][direction]
            for source in [block["CidrIp"] for block in rule.get("IpRanges", [])]
            + [pair["GroupId"] for pair in rule.get("UserIdGroupPairs", [])]
        }

    out = {(443, 443, "0.0.0.0/0")}
    assert rules(f"{NAME}-worker", "IpPermissions") == set()
    collector = {(4318, 4318, "0.0.0.0/0")}
    shows(deployed, "egress of security groups", lambda: rules(f"{NAME}-worker", "IpPermissionsEgress"), out | collector)
    shows(deployed, "egress of security groups", lambda: rules(f"{NAME}-gateway", "IpPermissionsEgress"), out)
    balancer = groups[f"{NAME}-gateway-alb"]["GroupId"]
    if "AWS::EC2::SecurityGroupIngress" not in LACKS[deployed.kind]:
        assert rules(f"{NAME}-gateway", "IpPermissions") == {(8080, 8080, balancer)}
    assert rules(f"{NAME}-gateway-alb", "IpPermissions") == {
        (port, port, block) for port in (80, 443) for block in EVERYTHING["gateway_cidrs"]
    }


@pytest.mark.parametrize("part", ["worker", "gateway", "discovery", "export"])
def test_task_definitions(deployed, part):
    task, container = deployed.task_definition(part), deployed.container(part)
    assert task["requiresCompatibilities"] == ["FARGATE"] and task["networkMode"] == "awsvpc"
    assert (task["cpu"], task["memory"]) == ("1024", "2048")
    platform = {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}
    shows(deployed, "runtime platform", lambda: task["runtimePlatform"], platform)
    assert task["taskRoleArn"].endswith(f":role/{NAME}-{part}") and task["executionRoleArn"].endswith(f":role/{NAME}-execution")
    assert container["name"] == part and container["image"] == EVERYTHING["image"] and container["essential"]
    assert container["user"] == "65532:65532" and container["readonlyRootFilesystem"] is True
    shows(deployed, "capabilities", lambda: container["linuxParameters"]["capabilities"]["drop"], ["ALL"])
    assert container["logConfiguration"]["options"]["mode"] == "non-blocking"
    assert container["stopTimeout"] == 120
    secrets = lambda: {secret["name"]: secret["valueFrom"] for secret in container.get("secrets", [])}
    if part == "gateway":
        shows(deployed, "secrets", secrets, {"SMOOTHER_ADMIN_KEY": deployed.outputs["gateway_admin_secret_arn"]})
    elif part == "worker":
        shows(deployed, "secrets", secrets, {"SMOOTHER_ALERT_WEBHOOK_URL": WEBHOOK_SECRET})
    else:
        assert secrets() == {}
    assert not any("KEY" in name or "SECRET" in name for name in deployed.environment(part))


def test_services(deployed):
    assert deployed.outputs["cluster_name"] == NAME
    # CloudFormation leaves the number of workers to autoscaling, which the emulator lacks; ECS begins with one.
    workers = 1 if deployed.kind == "cdk" else EVERYTHING["min_replicas"]
    for part, count in (("worker", workers), ("gateway", EVERYTHING["gateway_replicas"])):
        service = deployed.service(part)
        assert service["serviceName"] == deployed.outputs[f"{part}_service_name"]
        assert service["desiredCount"] == count and service["launchType"] == "FARGATE"
        breaker = lambda: service["deploymentConfiguration"]["deploymentCircuitBreaker"]
        shows(deployed, "circuit breaker", breaker, {"enable": True, "rollback": True})
        network = service["networkConfiguration"]["awsvpcConfiguration"]
        assert len(network["subnets"]) == 2 and len(network["securityGroups"]) == 1
        assert network["assignPublicIp"] == "ENABLED"


def test_alarms(deployed, cloud):
    alarms = {alarm["AlarmName"].removeprefix(f"{NAME}-"): alarm for alarm in cloud.cloudwatch.describe_alarms()["MetricAlarms"]}
    math = {name for name in ALARMS if name.startswith("bedrock-") or name == "backlog-not-draining"}
    wanted = set(ALARMS) - (math if deployed.kind == "cdk" else set())
    assert set(alarms) == wanted
    topic = [deployed.outputs["alarm_topic_arn"]]
    for name, alarm in alarms.items():
        period, threshold, periods = ALARMS[name]
        assert alarm["AlarmActions"] == alarm["OKActions"] == topic, name
        assert alarm["Threshold"] == threshold and alarm["EvaluationPeriods"] == periods, name
        assert alarm["TreatMissingData"] == ("breaching" if name == "no-worker" else "notBreaching"), name
        assert "first" in alarm["AlarmDescription"], f"{name} does not say what to look at first"
        if name not in math:
            assert alarm["Period"] == period, name


def test_dashboard(deployed, cloud):
    body = cloud.cloudwatch.get_dashboard(DashboardName=EVERYTHING["dashboard_name"])["DashboardBody"]
    assert len(json.loads(body)["widgets"]) > 10
    assert "${" not in body and NAME in body
    assert deployed.outputs["dashboard_url"].endswith(f"region={REGION}#dashboards/dashboard/{EVERYTHING['dashboard_name']}")


def test_gateway(deployed, cloud):
    [balancer] = cloud.elbv2.describe_load_balancers()["LoadBalancers"]
    assert balancer["LoadBalancerName"] == f"{NAME}-gateway" and balancer["Scheme"] == "internet-facing"
    assert deployed.outputs["gateway_url"] == f"https://{balancer['DNSName']}"
    attributes = cloud.elbv2.describe_load_balancer_attributes(LoadBalancerArn=balancer["LoadBalancerArn"])["Attributes"]
    attributes = {attribute["Key"]: attribute["Value"] for attribute in attributes}
    shows(deployed, "attributes of the load balancer", lambda: attributes.get("routing.http.drop_invalid_header_fields.enabled"), "true")
    shows(deployed, "attributes of the load balancer", lambda: attributes.get("deletion_protection.enabled"), "true")
    listeners = cloud.elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    listeners = {(listener["Port"], listener["Protocol"]): listener["DefaultActions"][0] for listener in listeners}
    assert {where: action["Type"] for where, action in listeners.items()} == {(80, "HTTP"): "redirect", (443, "HTTPS"): "forward"}
    [group] = cloud.elbv2.describe_target_groups()["TargetGroups"]
    assert (group["Port"], group["TargetType"], group["HealthCheckPath"]) == (8080, "ip", "/ready")


def test_secret(deployed, cloud):
    secret = cloud.secretsmanager.describe_secret(SecretId=deployed.outputs["gateway_admin_secret_arn"])
    assert secret["Name"] == f"{NAME}/gateway-admin-key"
    shows(deployed, "key of the secret", lambda: secret.get("KmsKeyId"), deployed.key_arn())


@pytest.mark.parametrize("part", ["discovery", "export"])
def test_schedules(deployed, cloud, part):
    schedule = cloud.scheduler.get_schedule(Name=f"{NAME}-{part}")
    target = schedule["Target"]
    assert schedule["ScheduleExpression"] == EVERYTHING[f"{part}_schedule"]
    assert target["RoleArn"].endswith(f":role/{NAME}-{part}-scheduler") and target["Arn"] == arn("ecs", f"cluster/{NAME}")
    assert target["EcsParameters"]["TaskDefinitionArn"] == deployed.outputs[f"{part}_task_definition_arn"]


def test_the_table_of_athena_is_that_of_the_exports(deployed, cloud, schema):
    database, name = deployed.outputs["athena_table"].split(".")
    table = cloud.glue.get_table(DatabaseName=database, Name=name)["Table"]
    columns = {column["name"]: column["glue_type"] for column in schema["reporting"]["columns"]}
    partition = schema["reporting"]["partition"]
    assert {key["Name"]: key["Type"] for key in table["PartitionKeys"]} == {partition: columns.pop(partition)}
    storage = table["StorageDescriptor"]
    assert {column["Name"]: column["Type"] for column in storage["Columns"]} == columns
    folder = f"s3://{deployed.outputs['bedrock_calls_bucket_name']}/{schema['bucket']['exports']}"
    assert storage["Location"] == folder
    assert table["Parameters"]["storage.location.template"] == f"{folder}{partition}=${{{partition}}}/"


def test_the_workgroup_is_limited(deployed, cloud):
    shown = cloud.athena.get_work_group(WorkGroup=deployed.outputs["athena_workgroup_name"])["WorkGroup"]
    bucket = deployed.outputs["bedrock_calls_bucket_name"]

    def configuration():
        found = shown["Configuration"]
        result = found["ResultConfiguration"]
        return (
            found["EnforceWorkGroupConfiguration"],
            found["BytesScannedCutoffPerQuery"],
            result["OutputLocation"],
            result["EncryptionConfiguration"],
        )

    key = {"EncryptionOption": "SSE_KMS", "KmsKey": deployed.key_arn()}
    shows(deployed, "configuration of the workgroup", configuration, (True, 107_374_182_400, f"s3://{bucket}/athena/", key))


def analyst(deployed):
    policy = deployed.outputs["analyst_policy_arn"]
    version = deployed.cloud.iam.get_policy(PolicyArn=policy)["Policy"]["DefaultVersionId"]
    found = deployed.cloud.iam.get_policy_version(PolicyArn=policy, VersionId=version)["PolicyVersion"]["Document"]
    return Role("analyst", [document(found)], deployed.resource_policies().values())


def test_analysts_read_and_nothing_else(deployed):
    role, bucket = analyst(deployed), f"arn:aws:s3:::{deployed.outputs['bedrock_calls_bucket_name']}"
    reports, workgroup = arn("dynamodb", f"table/{NAME}-reporting"), arn("athena", f"workgroup/{NAME}")
    exports = (("s3:prefix", "exports/day=2026-11-21/"),)
    for action, resource, context in [
        ("dynamodb:Query", reports, ()),
        ("dynamodb:PartiQLSelect", reports, (("dynamodb:FullTableScan", "false"),)),
        ("s3:GetObject", f"{bucket}/exports/day=2026-11-21/part-09.parquet", ()),
        ("s3:ListBucket", bucket, exports),
        ("s3:PutObject", f"{bucket}/athena/1.csv", ()),
        ("glue:GetTable", arn("glue", f"table/{NAME}/requests"), ()),
        ("athena:StartQueryExecution", workgroup, ()),
    ]:
        assert role.allows(action, resource, context), (action, resource)
    for action, resource, context in [
        ("dynamodb:Scan", reports, ()),
        ("dynamodb:PutItem", reports, ()),
        ("dynamodb:PartiQLSelect", reports, (("dynamodb:FullTableScan", "true"),)),
        ("dynamodb:Query", arn("dynamodb", f"table/{NAME}-requests"), ()),
        ("s3:GetObject", f"{bucket}/results/2026/11/21/a/b.json", ()),
        ("s3:PutObject", f"{bucket}/exports/day=2026-11-21/part-09.parquet", ()),
        ("s3:ListBucket", bucket, (("s3:prefix", "requests/"),)),
        ("athena:StartQueryExecution", arn("athena", "workgroup/primary"), ()),
    ]:
        assert not role.allows(action, resource, context), (action, resource)


@pytest.mark.parametrize(
    "role", ["execution", "worker", "gateway", "discovery", "export", "discovery-scheduler", "export-scheduler"]
)
def test_roles(deployed, cloud, role):
    name = f"{NAME}-{role}"
    trust = cloud.iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    [statement] = trust["Statement"]
    service = "scheduler.amazonaws.com" if role.endswith("-scheduler") else "ecs-tasks.amazonaws.com"
    assert statement["Principal"] == {"Service": service}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert list(deployed.policies(name)) == [name]


def test_tags(deployed, cloud):
    expected = {"Project": NAME, "ManagedBy": deployed.kind, **EVERYTHING["tags"]}
    url = deployed.outputs["input_queue_url"]
    table = arn("dynamodb", f"table/{NAME}-requests")
    bucket = deployed.outputs["bedrock_calls_bucket_name"]
    looks = {
        "queue": lambda: cloud.sqs.list_queue_tags(QueueUrl=url)["Tags"],
        "table": lambda: pairs(cloud.dynamodb.list_tags_of_resource(ResourceArn=table)["Tags"]),
        "bucket": lambda: pairs(cloud.s3.get_bucket_tagging(Bucket=bucket)["TagSet"]),
        "topic": lambda: pairs(cloud.sns.list_tags_for_resource(ResourceArn=deployed.outputs["alarm_topic_arn"])["Tags"]),
        "role": lambda: pairs(cloud.iam.list_role_tags(RoleName=f"{NAME}-worker")["Tags"]),
    }
    for what, look in looks.items():
        ours = lambda: {name: value for name, value in look().items() if not name.startswith("aws:")}
        shows(deployed, f"tags of a {what}", ours, expected)


def pairs(tags):
    return {tag["Key"]: tag["Value"] for tag in tags}
