import json

import pytest
from deployment import ACCOUNT, CERTIFICATE, DISCOVERY, GATEWAY, context, deployed, joined

from smoother import monitoring
from smoother.settings import read

QUEUES = {"input", "input-dlq", "bedrock-results", "hold-next-batch", "hold-next-batch-dlq"}


def tls_only(action, resources):
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resources,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def source_arn(queue):
    return joined("arn:aws:sqs:us-east-1:", ACCOUNT, f":smoother-{queue}")


def test_all_resources_of_the_smallest_deployment_are_counted():
    counted = {}
    for resource in deployed(autoscaling=False).resources.values():
        counted[resource["Type"]] = counted.get(resource["Type"], 0) + 1
    assert counted == {
        "AWS::KMS::Key": 1,
        "AWS::KMS::Alias": 1,
        "AWS::SQS::Queue": 5,
        "AWS::SQS::QueuePolicy": 5,
        "AWS::DynamoDB::Table": 2,
        "AWS::S3::Bucket": 1,
        "AWS::S3::BucketPolicy": 1,
        "AWS::SNS::Topic": 1,
        "AWS::SNS::TopicPolicy": 1,
        "AWS::SNS::Subscription": 1,
        "AWS::CloudWatch::Alarm": 11,
        "AWS::CloudWatch::Dashboard": 1,
        "AWS::Logs::LogGroup": 2,
        "AWS::EC2::VPC": 1,
        "AWS::EC2::Subnet": 2,
        "AWS::EC2::InternetGateway": 1,
        "AWS::EC2::VPCGatewayAttachment": 1,
        "AWS::EC2::RouteTable": 1,
        "AWS::EC2::Route": 1,
        "AWS::EC2::SubnetRouteTableAssociation": 2,
        "AWS::EC2::VPCEndpoint": 2,
        "AWS::EC2::SecurityGroup": 1,
        "AWS::ECS::Cluster": 1,
        "AWS::ECS::TaskDefinition": 2,
        "AWS::ECS::Service": 1,
        "AWS::IAM::Role": 4,
        "AWS::IAM::ManagedPolicy": 1,
        "AWS::Scheduler::Schedule": 1,
        "AWS::Glue::Database": 1,
        "AWS::Glue::Table": 1,
        "AWS::Athena::WorkGroup": 1,
    }


@pytest.mark.parametrize("name", sorted(QUEUES))
def test_queues_have_their_times_encryption_and_policy(name):
    template = deployed()
    queue = template.one("SQS::Queue", QueueName=f"smoother-{name}")
    id = template.id("SQS::Queue", QueueName=f"smoother-{name}")
    assert queue["VisibilityTimeout"] == 60
    assert queue["MessageRetentionPeriod"] == 1_209_600
    assert queue["MaximumMessageSize"] == 262_144
    assert queue["SqsManagedSseEnabled"] is True
    policy = template.one("SQS::QueuePolicy", Queues=[{"Ref": id}])
    assert policy["PolicyDocument"]["Statement"] == [tls_only("sqs:*", {"Fn::GetAtt": [id, "Arn"]})]


@pytest.mark.parametrize(("name", "receives"), [("input", 5), ("hold-next-batch", 3)])
def test_poison_goes_to_the_queue_that_takes_it_from_nobody_else(name, receives):
    template = deployed()
    source = template.one("SQS::Queue", QueueName=f"smoother-{name}")
    dlq_arn = template.arn("SQS::Queue", QueueName=f"smoother-{name}-dlq")
    assert source["RedrivePolicy"] == {"deadLetterTargetArn": dlq_arn, "maxReceiveCount": receives}
    dlq = template.one("SQS::Queue", QueueName=f"smoother-{name}-dlq")
    assert dlq["RedriveAllowPolicy"] == {"redrivePermission": "byQueue", "sourceQueueArns": [source_arn(name)]}
    assert "RedrivePolicy" not in dlq


def test_the_results_queue_has_no_redrive():
    results = deployed().one("SQS::Queue", QueueName="smoother-bedrock-results")
    assert "RedrivePolicy" not in results
    assert "RedriveAllowPolicy" not in results


def key_schema(*names):
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]


def test_tables_have_the_keys_of_the_worker():
    requests = deployed().one("DynamoDB::Table", TableName="smoother-requests")
    assert requests["KeySchema"] == key_schema("request_id")
    (index,) = requests["GlobalSecondaryIndexes"]
    assert index == {
        "IndexName": "work-index",
        "KeySchema": key_schema("work_list", "work_sort"),
        "Projection": {
            "ProjectionType": "INCLUDE",
            "NonKeyAttributes": [
                "lane",
                "tenant",
                "use_case",
                "priority",
                "rank",
                "estimate_input",
                "estimate_output",
                "deadline",
            ],
        },
    }
    assert {d["AttributeType"] for d in requests["AttributeDefinitions"]} == {"S"}
    reporting = deployed().one("DynamoDB::Table", TableName="smoother-reporting")
    assert reporting["KeySchema"] == key_schema("day", "finished_key")
    assert "GlobalSecondaryIndexes" not in reporting
    for table in (requests, reporting):
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert table["DeletionProtectionEnabled"] is True
        assert "SSESpecification" not in table


def test_the_bucket_is_private_encrypted_versioned_and_emptied_in_time():
    template = deployed(retention_days=9)
    bucket = template.one("S3::Bucket")
    assert bucket["BucketName"] == joined("smoother-bedrock-calls-", ACCOUNT)
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"] == [
        {
            "BucketKeyEnabled": True,
            "ServerSideEncryptionByDefault": {
                "SSEAlgorithm": "aws:kms",
                "KMSMasterKeyID": template.arn("KMS::Key"),
            },
        }
    ]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["LifecycleConfiguration"]["Rules"] == [
        *(
            {"Id": f"retention-{part}", "Status": "Enabled", "Prefix": f"{part}/", "ExpirationInDays": days}
            for part, days in {"requests": 9, "results": 9, "rejected": 9, "uploads": 9, "athena": 7}.items()
        ),
        {
            "Id": "versions",
            "Status": "Enabled",
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
        {"Id": "delete-markers", "Status": "Enabled", "ExpiredObjectDeleteMarker": True},
    ]
    arn = template.arn("S3::Bucket")
    statements = template.one("S3::BucketPolicy")["PolicyDocument"]["Statement"]
    assert statements == [tls_only("s3:*", [arn, joined(arn, "/*")])]


def test_the_key_is_for_the_account_the_alarms_and_the_logs():
    template = deployed()
    key = template.one("KMS::Key")
    assert key["EnableKeyRotation"] is True
    assert key["PendingWindowInDays"] == 30
    by_sid = {statement["Sid"]: statement for statement in key["KeyPolicy"]["Statement"]}
    assert set(by_sid) == {"Account", "Alarms", "Logs"}
    assert by_sid["Account"]["Action"] == "kms:*"
    assert by_sid["Alarms"]["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert by_sid["Alarms"]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]
    assert by_sid["Alarms"]["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert by_sid["Logs"]["Principal"] == {"Service": "logs.us-east-1.amazonaws.com"}
    assert by_sid["Logs"]["Condition"] == {
        "ArnLike": {
            "kms:EncryptionContext:aws:logs:arn": joined("arn:aws:logs:us-east-1:", ACCOUNT, ":log-group:/smoother/*")
        }
    }
    assert template.one("KMS::Alias")["AliasName"] == "alias/smoother"


def test_the_topic_takes_alarms_of_this_account_and_has_the_email():
    template = deployed()
    topic = {"Ref": template.id("SNS::Topic", TopicName="smoother-alarms")}
    assert template.one("SNS::Topic")["KmsMasterKeyId"] == template.arn("KMS::Key")
    assert template.one("SNS::TopicPolicy")["PolicyDocument"]["Statement"] == [
        tls_only("sns:Publish", topic),
        {
            "Sid": "Alarms",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic,
            "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        },
    ]
    assert template.one("SNS::Subscription") == {
        "Protocol": "email",
        "Endpoint": "oncall@example.com",
        "TopicArn": topic,
    }


# Namespace, metric, statistic, period, comparison, threshold, periods.
SIMPLE_ALARMS = {
    "dead-letters": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", 60, ">", 0, 1),
    "input-dead-letters": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", 60, ">", 0, 1),
    "input-age": ("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", 60, ">", 420, 3),
    "no-worker": ("Smoother", "WorkersAlive", "Sum", 60, "<", 1, 3),
    "missed-deadlines": ("Smoother", "MissedDeadlines", "Sum", 300, ">", 0, 1),
    "budget-reached": ("Smoother", "BudgetsUsedUp", "Maximum", 60, ">", 0, 1),
    "delivery-faults": ("Smoother", "PortErrors", "Sum", 300, ">=", 25, 1),
}
COMPARISONS = {">": "GreaterThanThreshold", ">=": "GreaterThanOrEqualToThreshold", "<": "LessThanThreshold"}
BEDROCK_ALARMS = {
    "bedrock-client-errors": "InvocationClientErrors",
    "bedrock-server-errors": "InvocationServerErrors",
    "bedrock-throttles": "InvocationThrottles",
}


def alarm(name):
    return deployed(alarm_threshold=9, alarm_evaluation_periods=2, minutes_to_process=7).one(
        "CloudWatch::Alarm", AlarmName=f"smoother-{name}"
    )


@pytest.mark.parametrize("name", SIMPLE_ALARMS)
def test_alarms_of_one_metric(name):
    namespace, metric, statistic, period, comparison, threshold, periods = SIMPLE_ALARMS[name]
    found = alarm(name)
    assert (found["Namespace"], found["MetricName"], found["Statistic"]) == (namespace, metric, statistic)
    assert (found["Period"], found["Threshold"]) == (period, threshold)
    assert found["ComparisonOperator"] == COMPARISONS[comparison]
    assert found["EvaluationPeriods"] == found["DatapointsToAlarm"] == periods


@pytest.mark.parametrize(
    ("name", "queue"),
    [("dead-letters", "HoldDlq"), ("input-dead-letters", "InputDlq"), ("input-age", "Input")],
)
def test_queue_alarms_watch_their_queue(name, queue):
    value = {"Fn::GetAtt": [f"Queues{queue}", "QueueName"]}
    assert alarm(name)["Dimensions"] == [{"Name": "QueueName", "Value": value}]


@pytest.mark.parametrize("name", BEDROCK_ALARMS)
def test_bedrock_alarms_sum_over_all_models(name):
    found = alarm(name)
    (query,) = found["Metrics"]
    assert query["Expression"] == f'SELECT SUM({BEDROCK_ALARMS[name]}) FROM SCHEMA("AWS/Bedrock", ModelId)'
    assert (query["Period"], query["ReturnData"]) == (60, True)
    assert (found["Threshold"], found["EvaluationPeriods"], found["DatapointsToAlarm"]) == (9, 2, 2)
    assert found["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"


def test_a_backlog_of_which_nothing_is_finished_is_an_alarm():
    found = alarm("backlog-not-draining")
    queries = {query["Id"]: query for query in found["Metrics"]}
    assert queries["stuck"]["Expression"] == "IF(FILL(backlog, 0) > 0 AND FILL(finished, 0) == 0, 1, 0)"
    assert [id for id, query in queries.items() if query["ReturnData"]] == ["stuck"]
    for id, metric, stat in (("backlog", "Backlog", "Minimum"), ("finished", "RequestsFinished", "Sum")):
        expected = {"Metric": {"Namespace": "Smoother", "MetricName": metric}, "Period": 300, "Stat": stat}
        assert queries[id]["MetricStat"] == expected
    assert (found["Threshold"], found["EvaluationPeriods"], found["DatapointsToAlarm"]) == (1, 3, 3)


def test_every_alarm_tells_the_topic_both_ways_and_what_to_do():
    alarms = [found["Properties"] for found in deployed().all("CloudWatch::Alarm").values()]
    names = {found["AlarmName"].removeprefix("smoother-") for found in alarms}
    assert names == {*SIMPLE_ALARMS, *BEDROCK_ALARMS, "backlog-not-draining"}
    for found in alarms:
        assert found["AlarmActions"] == found["OKActions"] == [{"Ref": "MonitoringTopic"}]
        assert "first" in found["AlarmDescription"]
        missing = "breaching" if found["AlarmName"] == "smoother-no-worker" else "notBreaching"
        assert found["TreatMissingData"] == missing


def test_the_dashboard_is_the_shared_one_with_the_names_filled_in():
    found = deployed(name="quiet", dashboard_name="calls").one("CloudWatch::Dashboard")
    assert found["DashboardName"] == "calls"
    text = found["DashboardBody"]
    assert "${" not in text
    for queue in QUEUES:
        assert f'"quiet-{queue}"' in text
    shared = json.loads(monitoring.DASHBOARD.read_text())
    assert len(json.loads(text)["widgets"]) == len(shared["widgets"])


def test_without_the_shared_dashboard_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(monitoring, "DASHBOARD", tmp_path / "dashboard.json")
    with pytest.raises(FileNotFoundError, match="run cdk in a whole checkout"):
        monitoring.dashboard_body(read(context()))


def test_the_worker_is_a_hardened_fargate_task():
    template = deployed(cpu=1024, memory=3072, cpu_architecture="X86_64")
    task = template.one("ECS::TaskDefinition", Family="smoother-worker")
    assert (task["Cpu"], task["Memory"], task["NetworkMode"]) == ("1024", "3072", "awsvpc")
    assert task["RequiresCompatibilities"] == ["FARGATE"]
    assert task["RuntimePlatform"] == {"CpuArchitecture": "X86_64", "OperatingSystemFamily": "LINUX"}
    assert task["ExecutionRoleArn"] == template.arn("IAM::Role", RoleName="smoother-execution")
    assert task["TaskRoleArn"] == template.arn("IAM::Role", RoleName="smoother-worker")
    container = template.container("worker")
    assert {k: v for k, v in container.items() if k not in ("Environment", "LogConfiguration")} == {
        "Name": "worker",
        "Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/smoother:1.0.0",
        "Command": ["run"],
        "Essential": True,
        "User": "65532:65532",
        "ReadonlyRootFilesystem": True,
        "LinuxParameters": {"Capabilities": {"Drop": ["ALL"]}, "InitProcessEnabled": False},
        "StopTimeout": 120,
        "HealthCheck": {
            "Command": ["CMD", "/usr/local/bin/smoother", "health"],
            "Interval": 30,
            "Timeout": 5,
            "Retries": 3,
            "StartPeriod": 30,
        },
    }
    assert container["LogConfiguration"] == {
        "LogDriver": "awslogs",
        "Options": {
            "awslogs-group": {"Ref": template.id("Logs::LogGroup", LogGroupName="/smoother/worker")},
            "awslogs-region": "us-east-1",
            "awslogs-stream-prefix": "worker",
            "mode": "non-blocking",
            "max-buffer-size": "4m",
        },
    }


def test_the_worker_gets_its_settings_and_addresses(tmp_path):
    file = tmp_path / "worker.toml"
    file.write_text("usd_per_day = 5\n")
    plain = deployed().environment("worker")
    assert plain == {
        "SMOOTHER_AWS_REGION": "us-east-1",
        "SMOOTHER_AVERAGE_REQUEST_DURATION": "5s",
        "SMOOTHER_MINUTES_TO_PROCESS": "5",
        "SMOOTHER_MAX_CONCURRENT_EXECUTIONS": "30",
        "SMOOTHER_ALARM_THRESHOLD": "5",
        "SMOOTHER_ALARM_EVALUATION_PERIODS": "1",
        "SMOOTHER_ALERT_COOLDOWN": "900s",
        "SMOOTHER_DASHBOARD_NAME": "bedrock-errors",
        "SMOOTHER_METRICS_NAMESPACE": "Smoother",
        "SMOOTHER_QUEUE_DEPTH_THRESHOLD": "100",
        "SMOOTHER_INPUT_QUEUE_URL": {"Ref": "QueuesInput"},
        "SMOOTHER_RESULTS_QUEUE_URL": {"Ref": "QueuesResults"},
        "SMOOTHER_HOLD_QUEUE_URL": {"Ref": "QueuesHold"},
        "SMOOTHER_DLQ_URL": {"Ref": "QueuesHoldDlq"},
        "SMOOTHER_REQUESTS_TABLE": {"Ref": "TablesRequests"},
        "SMOOTHER_REPORTING_TABLE": {"Ref": "TablesReporting"},
        "SMOOTHER_BUCKET": {"Ref": "PayloadsBucket"},
        "SMOOTHER_ALARM_TOPIC_ARN": {"Ref": "MonitoringTopic"},
        "SMOOTHER_ALLOWED_MODELS": "amazon.*,anthropic.*,us.amazon.*,us.anthropic.*",
        "SMOOTHER_USAGE_FEED": "false",
        "SMOOTHER_RETENTION_DAYS": "30",
        "SMOOTHER_TRACE_SAMPLE_RATIO": "1",
        "SMOOTHER_REPORT_RETENTION_DAYS": "400",
        "SMOOTHER_DRAIN_GRACE": "100s",
        "SMOOTHER_HEALTH_LISTEN": "127.0.0.1:8080",
    }
    given = deployed(
        average_request_duration=0.5,
        usage_feed=True,
        allowed_source_buckets=["big-one", "big-two"],
        otlp_endpoint="http://collector.example.internal:4318",
        trace_sample_ratio=0.25,
        settings_file=str(file),
    ).environment("worker")
    assert given | plain == given | plain
    assert {name: value for name, value in given.items() if plain.get(name) != value} == {
        "SMOOTHER_AVERAGE_REQUEST_DURATION": "0.5s",
        "SMOOTHER_USAGE_FEED": "true",
        "SMOOTHER_ALLOWED_SOURCE_BUCKETS": "big-one,big-two",
        "SMOOTHER_OTLP_ENDPOINT": "http://collector.example.internal:4318",
        "SMOOTHER_TRACE_SAMPLE_RATIO": "0.25",
        "SMOOTHER_SETTINGS": "usd_per_day = 5\n",
    }


def test_the_webhook_of_the_alerts_is_a_secret_of_the_worker():
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:on-call/webhook-AbCdEf"
    template = deployed(alert_webhook_secret_arn=arn, alert_cooldown=60)
    assert template.container("worker")["Secrets"] == [{"Name": "SMOOTHER_ALERT_WEBHOOK_URL", "ValueFrom": arn}]
    assert template.environment("worker")["SMOOTHER_ALERT_COOLDOWN"] == "60s"
    statements = template.statements("smoother-execution")
    assert statements["Secrets"]["Resource"] == [arn]
    assert "Secrets" not in deployed().container("worker")


def test_the_service_starts_new_tasks_before_old_ones_stop():
    template = deployed()
    service = template.one("ECS::Service", ServiceName="smoother-worker")
    assert service["LaunchType"] == "FARGATE"
    assert service["PropagateTags"] == "SERVICE"
    assert service["EnableExecuteCommand"] is False
    assert service["DeploymentConfiguration"] == {
        "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
        "MinimumHealthyPercent": 100,
        "MaximumPercent": 200,
    }
    assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "ENABLED"
    cluster = template.one("ECS::Cluster")
    assert cluster["ClusterName"] == "smoother"
    assert cluster["ClusterSettings"] == [{"Name": "containerInsights", "Value": "enabled"}]
    depends_on = template.resources["WorkerService"]["DependsOn"]
    assert "NetworkInternetRoute" in depends_on, "tasks pull their image through it"


def test_the_network_has_two_public_subnets_and_the_free_endpoints():
    template = deployed(vpc_cidr="10.9.0.0/20")
    vpc = template.one("EC2::VPC")
    assert (vpc["CidrBlock"], vpc["EnableDnsHostnames"], vpc["EnableDnsSupport"]) == ("10.9.0.0/20", True, True)
    subnets = sorted(
        (subnet["Properties"]["CidrBlock"], subnet["Properties"]["AvailabilityZone"]["Fn::Select"][0], name(subnet))
        for subnet in template.all("EC2::Subnet").values()
    )
    assert subnets == [("10.9.0.0/24", 0, "smoother-public-1"), ("10.9.1.0/24", 1, "smoother-public-2")]
    assert template.one("EC2::Route")["DestinationCidrBlock"] == "0.0.0.0/0"
    endpoints = {found["Properties"]["ServiceName"] for found in template.all("EC2::VPCEndpoint").values()}
    assert endpoints == {"com.amazonaws.us-east-1.s3", "com.amazonaws.us-east-1.dynamodb"}
    for endpoint in template.all("EC2::VPCEndpoint").values():
        assert endpoint["Properties"]["VpcEndpointType"] == "Gateway"


def name(resource):
    return next(tag["Value"] for tag in resource["Properties"]["Tags"] if tag["Key"] == "Name")


def test_workers_take_no_connection_and_only_open_https():
    group = deployed().one("EC2::SecurityGroup", GroupName="smoother-worker")
    assert "SecurityGroupIngress" not in group
    (rule,) = group["SecurityGroupEgress"]
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"], rule["CidrIp"]) == ("tcp", 443, 443, "0.0.0.0/0")


@pytest.mark.parametrize(
    ("endpoint", "ports"),
    [
        ("http://collector.example.internal:4318/otlp", [443, 4318]),
        ("http://collector.example.internal", [443, 80]),
        ("https://collector.example.com/otlp", [443]),
    ],
)
def test_workers_reach_the_collector_of_traces(endpoint, ports):
    group = deployed(otlp_endpoint=endpoint).one("EC2::SecurityGroup", GroupName="smoother-worker")
    rules = [(rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]]
    assert rules == [(port, port) for port in ports]


def test_log_groups_are_encrypted_and_kept_for_the_days_set():
    template = deployed(log_retention_days=90, **GATEWAY, **DISCOVERY)
    groups = [found["Properties"] for found in template.all("Logs::LogGroup").values()]
    assert {group["LogGroupName"] for group in groups} == {f"/smoother/{p}" for p in ("worker", "gateway", "discovery", "export")}
    for group in groups:
        assert group["RetentionInDays"] == 90
        assert group["KmsKeyId"] == template.arn("KMS::Key")


def test_everything_that_takes_tags_has_them():
    template = deployed(name="quiet", tags={"team": "search"}, **GATEWAY, **CERTIFICATE, **DISCOVERY)
    untagged = {
        resource["Type"]
        for resource in template.resources.values()
        if not {"Project=quiet", "ManagedBy=cdk", "team=search"} <= tags(resource)
    }
    assert untagged == {
        "AWS::KMS::Alias",
        "AWS::SQS::QueuePolicy",
        "AWS::S3::BucketPolicy",
        "AWS::SNS::TopicPolicy",
        "AWS::SNS::Subscription",
        "AWS::EC2::Route",
        "AWS::EC2::VPCGatewayAttachment",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::Scheduler::Schedule",
        "AWS::IAM::ManagedPolicy",
        "AWS::Glue::Database",
        "AWS::Glue::Table",
    }


def tags(resource):
    return {f"{tag['Key']}={tag['Value']}" for tag in resource.get("Properties", {}).get("Tags", [])}


def test_the_template_has_nothing_but_what_is_meant():
    template = deployed(**GATEWAY, **DISCOVERY)
    kinds = {found["Type"] for found in template.resources.values()}
    assert not {
        kind for kind in kinds if kind.startswith(("AWS::Lambda", "Custom::", "AWS::CloudFormation", "AWS::CDK"))
    }
    assert set(template.template) == {"Description", "Resources", "Outputs"}, "no parameters, rules or conditions"
    assert not [id for id, found in template.resources.items() if "Metadata" in found]
