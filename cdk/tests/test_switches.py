import pytest
from deployment import CERTIFICATE, DISCOVERY, EXISTING, GATEWAY, deployed, joined, stack

OUTPUTS = [
    "AwsRegion",
    "InputQueueUrl",
    "InputDlqUrl",
    "BedrockResultsQueueUrl",
    "HoldNextBatchQueueUrl",
    "HoldNextBatchDlqUrl",
    "RequestsTableName",
    "ReportingTableName",
    "BedrockCallsBucketName",
    "AlarmTopicArn",
    "ClusterName",
    "WorkerServiceName",
    "DashboardUrl",
    "GatewayUrl",
    "GatewayServiceName",
    "GatewayAdminSecretArn",
    "DiscoveryTaskDefinitionArn",
    "ExportTaskDefinitionArn",
    "AnalystPolicyArn",
    "AthenaWorkgroupName",
    "AthenaTable",
]
ALL = GATEWAY | CERTIFICATE | DISCOVERY


def test_outputs_of_what_is_always_there():
    outputs = deployed(dashboard_name="calls").outputs()
    assert list(outputs) == OUTPUTS
    dashboard = "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/calls"
    assert outputs == {
        "AwsRegion": "us-east-1",
        "InputQueueUrl": {"Ref": "QueuesInput"},
        "InputDlqUrl": {"Ref": "QueuesInputDlq"},
        "BedrockResultsQueueUrl": {"Ref": "QueuesResults"},
        "HoldNextBatchQueueUrl": {"Ref": "QueuesHold"},
        "HoldNextBatchDlqUrl": {"Ref": "QueuesHoldDlq"},
        "RequestsTableName": {"Ref": "TablesRequests"},
        "ReportingTableName": {"Ref": "TablesReporting"},
        "BedrockCallsBucketName": {"Ref": "PayloadsBucket"},
        "AlarmTopicArn": {"Ref": "MonitoringTopic"},
        "ClusterName": {"Ref": "FargateCluster"},
        "WorkerServiceName": {"Fn::GetAtt": ["WorkerService", "Name"]},
        "DashboardUrl": dashboard,
        "GatewayUrl": "",
        "GatewayServiceName": "",
        "GatewayAdminSecretArn": "",
        "DiscoveryTaskDefinitionArn": "",
        "ExportTaskDefinitionArn": {"Ref": "ExportTaskDefinition"},
        "AnalystPolicyArn": {"Ref": "AnalyticsAnalyst"},
        "AthenaWorkgroupName": {"Ref": "AnalyticsWorkgroup"},
        "AthenaTable": "smoother.requests",
    }


def test_outputs_of_gateway_and_discovery():
    outputs = deployed(**ALL).outputs()
    balancer = {"Fn::GetAtt": ["GatewayBalancer", "DNSName"]}
    assert outputs["GatewayUrl"] == joined("https://", balancer)
    assert deployed(**GATEWAY).outputs()["GatewayUrl"] == joined("http://", balancer)
    assert outputs["GatewayServiceName"] == {"Fn::GetAtt": ["GatewayService", "Name"]}
    assert outputs["GatewayAdminSecretArn"] == {"Fn::GetAtt": ["GatewayAdminKey", "Id"]}
    assert outputs["DiscoveryTaskDefinitionArn"] == {"Ref": "DiscoveryTaskDefinition"}


def test_the_stack_and_its_resources_have_the_prefix_and_the_region():
    made = stack(name="quiet", aws_region="eu-west-1")
    assert (made.stack_name, made.region) == ("quiet", "eu-west-1")
    named = ("QueueName", "TableName", "TopicName", "AlarmName", "RoleName", "ClusterName", "ServiceName", "Family")
    template = deployed(name="quiet", aws_region="eu-west-1", image="smoother:1")
    names = [
        value
        for resource in template.resources.values()
        for key, value in resource.get("Properties", {}).items()
        if key in named and resource["Type"] != "AWS::EC2::VPCEndpoint"
    ]
    assert len(names) == 27
    assert all(name == "quiet" or name.startswith("quiet-") for name in names)
    assert "us-east-1" not in str(template.template)


def test_workers_scale_by_their_backlog():
    template = deployed(min_replicas=2, max_replicas=9, backlog_per_replica=700)
    target = template.one("ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 9)
    service = {"Fn::GetAtt": ["WorkerService", "Name"]}
    assert target["ResourceId"] == joined("service/", {"Ref": "FargateCluster"}, "/", service)
    assert (target["ServiceNamespace"], target["ScalableDimension"]) == ("ecs", "ecs:service:DesiredCount")
    policy = template.one("ApplicationAutoScaling::ScalingPolicy", PolicyName="smoother-backlog-per-replica")
    assert policy["PolicyType"] == "TargetTrackingScaling"
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert (tracking["TargetValue"], tracking["ScaleOutCooldown"], tracking["ScaleInCooldown"]) == (700, 60, 300)
    backlog, replicas, per_replica = tracking["CustomizedMetricSpecification"]["Metrics"]
    for query, metric, stat in ((backlog, "Backlog", "Maximum"), (replicas, "WorkersAlive", "Sum")):
        expected = {"Metric": {"Namespace": "Smoother", "MetricName": metric}, "Stat": stat}
        assert (query["MetricStat"], query["ReturnData"]) == (expected, False)
    assert (backlog["Id"], replicas["Id"]) == ("backlog", "replicas")
    assert per_replica["Expression"] == "FILL(backlog, 0) / FILL(replicas, 1)"
    assert per_replica["ReturnData"] is True


def test_workers_do_not_scale_when_told_so():
    template = deployed(autoscaling=False, min_replicas=2)
    assert template.one("ECS::Service", ServiceName="smoother-worker")["DesiredCount"] == 2
    assert "DesiredCount" not in deployed(min_replicas=2).one("ECS::Service", ServiceName="smoother-worker")
    kinds = {found["Type"] for found in template.resources.values()}
    assert not {kind for kind in kinds if "AutoScaling" in kind}


def test_an_existing_network_is_used_as_it_is():
    template = deployed(**EXISTING, assign_public_ip=False, **ALL)
    made = {found["Type"] for found in template.resources.values() if "::EC2::" in found["Type"]}
    assert made == {"AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress"}
    assert {group["Properties"]["VpcId"] for group in template.all("EC2::SecurityGroup").values()} == {
        "vpc-0123456789abcdef0"
    }
    for service in template.all("ECS::Service").values():
        network = service["Properties"]["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert (network["Subnets"], network["AssignPublicIp"]) == (
            ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
            "DISABLED",
        )
    for schedule in template.all("Scheduler::Schedule").values():
        network = schedule["Properties"]["Target"]["EcsParameters"]["NetworkConfiguration"]
        assert network["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    assert template.one("ElasticLoadBalancingV2::LoadBalancer")["Subnets"] == [
        "subnet-0123456789abcdef0",
        "subnet-0123456789abcdef1",
    ]
    assert template.one("ElasticLoadBalancingV2::TargetGroup")["VpcId"] == "vpc-0123456789abcdef0"


KEPT = ("DynamoDB::Table", "S3::Bucket", "KMS::Key", "Logs::LogGroup")


@pytest.mark.parametrize(
    ("protected", "policies", "days"),
    [(True, ("RetainExceptOnCreate", "Retain"), 30), (False, ("Delete", "Delete"), 7)],
)
def test_what_cannot_be_made_again_outlives_the_stack(protected, policies, days):
    template = deployed(deletion_protection=protected, **ALL)
    for kind in KEPT:
        for found in template.all(kind).values():
            assert (found["DeletionPolicy"], found["UpdateReplacePolicy"]) == policies, kind
    for table in template.all("DynamoDB::Table").values():
        assert table["Properties"]["DeletionProtectionEnabled"] is protected
    assert template.one("KMS::Key")["PendingWindowInDays"] == days
    assert balancer_attributes(template)["deletion_protection.enabled"] == str(protected).lower()
    assert stack(deletion_protection=protected).termination_protection is protected
    others = {
        f["DeletionPolicy"] for f in template.resources.values() if f["Type"][5:] not in KEPT and "DeletionPolicy" in f
    }
    assert others <= {"Delete"}


def balancer_attributes(template):
    attributes = template.one("ElasticLoadBalancingV2::LoadBalancer")["LoadBalancerAttributes"]
    return {attribute["Key"]: attribute["Value"] for attribute in attributes}


def test_the_gateway_runs_behind_its_load_balancer():
    template = deployed(gateway_replicas=3, **GATEWAY)
    container = template.container("gateway")
    assert container["Command"] == ["serve", "--listen", "0.0.0.0:8080"]
    assert container["PortMappings"] == [{"ContainerPort": 8080, "HostPort": 8080, "Protocol": "tcp"}]
    assert container["Secrets"] == [
        {"Name": "SMOOTHER_ADMIN_KEY", "ValueFrom": {"Fn::GetAtt": ["GatewayAdminKey", "Id"]}}
    ]
    worker, gateway = template.container("worker"), template.container("gateway")
    for same in ("Image", "User", "ReadonlyRootFilesystem", "LinuxParameters", "StopTimeout"):
        assert gateway[same] == worker[same]
    environment = template.environment("worker")
    del environment["SMOOTHER_HEALTH_LISTEN"]
    assert template.environment("gateway") == environment
    service = template.one("ECS::Service", ServiceName="smoother-gateway")
    targets = {"Ref": "GatewayTargets"}
    assert service["DesiredCount"] == 3
    assert service["HealthCheckGracePeriodSeconds"] == 60
    assert service["LoadBalancers"] == [{"ContainerName": "gateway", "ContainerPort": 8080, "TargetGroupArn": targets}]
    assert "GatewayHttp" in template.resources["GatewayService"]["DependsOn"]
    assert template.one("ElasticLoadBalancingV2::TargetGroup") == {
        "Name": "smoother-gateway",
        "TargetType": "ip",
        "Protocol": "HTTP",
        "Port": 8080,
        "VpcId": {"Fn::GetAtt": ["NetworkVpc", "VpcId"]},
        "HealthCheckPath": "/ready",
        "HealthCheckProtocol": "HTTP",
        "Matcher": {"HttpCode": "200"},
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 2,
        "Tags": [{"Key": "ManagedBy", "Value": "cdk"}, {"Key": "Project", "Value": "smoother"}],
    }
    balancer = template.one("ElasticLoadBalancingV2::LoadBalancer")
    assert (balancer["Name"], balancer["Scheme"], balancer["Type"]) == (
        "smoother-gateway",
        "internet-facing",
        "application",
    )
    assert balancer_attributes(template) == {
        "idle_timeout.timeout_seconds": "900",
        "routing.http.drop_invalid_header_fields.enabled": "true",
        "deletion_protection.enabled": "true",
    }


def listeners(template):
    found = template.all("ElasticLoadBalancingV2::Listener").values()
    return {listener["Properties"]["Port"]: listener["Properties"] for listener in found}


def test_without_a_certificate_the_gateway_speaks_http():
    found = listeners(deployed(**GATEWAY))
    assert list(found) == [80]
    assert found[80]["DefaultActions"] == [{"Type": "forward", "TargetGroupArn": {"Ref": "GatewayTargets"}}]


def test_with_a_certificate_the_gateway_speaks_https_and_leads_there():
    template = deployed(**GATEWAY, **CERTIFICATE)
    found = listeners(template)
    assert sorted(found) == [80, 443]
    redirect = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    assert found[80]["DefaultActions"] == [{"Type": "redirect", "RedirectConfig": redirect}]
    assert found[443]["Certificates"] == [{"CertificateArn": CERTIFICATE["certificate_arn"]}]
    assert found[443]["SslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    assert found[443]["DefaultActions"] == [{"Type": "forward", "TargetGroupArn": {"Ref": "GatewayTargets"}}]
    assert "GatewayHttps" in template.resources["GatewayService"]["DependsOn"]


@pytest.mark.parametrize(("certificate", "ports"), [({}, {80}), (CERTIFICATE, {80, 443})])
def test_only_the_networks_allowed_reach_the_gateway(certificate, ports):
    template = deployed(**GATEWAY, **certificate)
    balancer = template.one("EC2::SecurityGroup", GroupName="smoother-gateway-alb")
    ways_in = {(rule["CidrIp"], rule["FromPort"], rule["ToPort"]) for rule in balancer["SecurityGroupIngress"]}
    assert ways_in == {(cidr, port, port) for cidr in GATEWAY["gateway_cidrs"] for port in ports}
    (way_out,) = balancer["SecurityGroupEgress"]
    tasks_group = {"Fn::GetAtt": ["GatewaySecurityGroup", "GroupId"]}
    assert (way_out["FromPort"], way_out["ToPort"]) == (8080, 8080)
    assert way_out["DestinationSecurityGroupId"] == tasks_group
    tasks = template.one("EC2::SecurityGroup", GroupName="smoother-gateway")
    assert "SecurityGroupIngress" not in tasks
    assert [rule["ToPort"] for rule in tasks["SecurityGroupEgress"]] == [443]
    way_in = template.one("EC2::SecurityGroupIngress")
    assert way_in["GroupId"] == tasks_group
    assert way_in["SourceSecurityGroupId"] == {"Fn::GetAtt": ["GatewayBalancerSecurityGroup", "GroupId"]}
    assert (way_in["FromPort"], way_in["ToPort"], way_in["IpProtocol"]) == (8080, 8080, "tcp")


def test_the_administrators_key_is_made_up_by_cloudformation():
    secret = deployed(**GATEWAY).one("SecretsManager::Secret", Name="smoother/gateway-admin-key")
    assert secret["KmsKeyId"] == {"Fn::GetAtt": ["EncryptionKey", "Arn"]}
    assert secret["GenerateSecretString"] == {"PasswordLength": 48, "ExcludePunctuation": True}
    assert "SecretString" not in secret


def test_without_the_gateway_nothing_of_it_is_there():
    template = deployed(**DISCOVERY)
    assert not [id for id in template.resources if "Gateway" in id and not id.startswith("NetworkInternetGateway")]
    assert not template.all("SecretsManager::Secret")


def test_discovery_runs_on_its_schedule():
    template = deployed(**DISCOVERY)
    container = template.container("discovery")
    assert container["Command"] == ["discover"]
    assert "HealthCheck" not in container
    assert not {"SMOOTHER_DRAIN_GRACE", "SMOOTHER_HEALTH_LISTEN"} & set(template.environment("discovery"))
    schedule = template.one("Scheduler::Schedule", Name="smoother-discovery")
    assert schedule["ScheduleExpression"] == "rate(1 day)"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    target = schedule["Target"]
    assert target["Arn"] == {"Fn::GetAtt": ["FargateCluster", "Arn"]}
    assert target["RoleArn"] == {"Fn::GetAtt": ["DiscoverySchedulerRole", "Arn"]}
    started = target["EcsParameters"]
    assert started["TaskDefinitionArn"] == {"Ref": "DiscoveryTaskDefinition"}
    assert (started["LaunchType"], started["TaskCount"]) == ("FARGATE", 1)
    network = started["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["SecurityGroups"] == [{"Fn::GetAtt": ["WorkerSecurityGroup", "GroupId"]}]
    assert network["AssignPublicIp"] == "ENABLED"


def test_without_a_schedule_nothing_of_discovery_is_there():
    template = deployed(**GATEWAY)
    assert not [id for id in template.resources if "Discovery" in id]
    assert list(template.all("Scheduler::Schedule")) == ["ExportSchedule"]


def test_exports_run_on_their_schedule():
    container = deployed(export_schedule="cron(5 * * * ? *)").container("export")
    to = joined("s3://", {"Ref": "PayloadsBucket"}, "/exports/")
    assert container["Command"] == ["export", "--format", "parquet", "--to", to, "--whole-hours", "--json"]
    schedule = deployed(export_schedule="cron(5 * * * ? *)").one("Scheduler::Schedule", Name="smoother-export")
    assert schedule["ScheduleExpression"] == "cron(5 * * * ? *)"
    assert schedule["Target"]["EcsParameters"]["TaskDefinitionArn"] == {"Ref": "ExportTaskDefinition"}


def test_athena_finds_the_exports_by_their_days():
    template = deployed(name="two-words")
    table = template.one("Glue::Table")
    assert template.one("Glue::Database")["DatabaseInput"]["Name"] == "two_words"
    assert template.outputs()["AthenaTable"] == "two_words.requests"
    parameters = table["TableInput"]["Parameters"]
    folder = joined("s3://", {"Ref": "PayloadsBucket"}, "/exports/day=${day}/")
    assert parameters["storage.location.template"] == folder
    assert (parameters["projection.enabled"], parameters["projection.day.type"]) == ("true", "date")
    assert [key["Name"] for key in table["TableInput"]["PartitionKeys"]] == ["day"]
    columns = {column["Name"]: column["Type"] for column in table["TableInput"]["StorageDescriptor"]["Columns"]}
    assert "day" not in columns and columns["metadata"] == "map<string,string>" and columns["wait_ms"] == "bigint"
    workgroup = template.one("Athena::WorkGroup")["WorkGroupConfiguration"]
    assert workgroup["EnforceWorkGroupConfiguration"] is True
    assert workgroup["BytesScannedCutoffPerQuery"] == 107_374_182_400
    result = workgroup["ResultConfiguration"]
    assert result["OutputLocation"] == joined("s3://", {"Ref": "PayloadsBucket"}, "/athena/")
    assert result["EncryptionConfiguration"] == {"EncryptionOption": "SSE_KMS", "KmsKey": template.arn("KMS::Key")}


def test_without_analysts_nothing_of_exports_and_athena_is_there():
    template = deployed(export_schedule="", analytics_enabled=False)
    assert not [id for id in template.resources if "Export" in id or "Analytics" in id]
    outputs = template.outputs()
    assert not any(outputs[name] for name in OUTPUTS[-4:])
