"""Everything that is in an account, by every service's own list."""


def inventory(cloud):
    """{(kind, identity)} of all there is. What is being deleted by AWS's own delay, such as a key, is gone."""
    found = set()

    def add(kind, identities):
        found.update((kind, identity) for identity in identities)

    add("queue", cloud.sqs.list_queues().get("QueueUrls", []))
    add("table", cloud.pages("dynamodb", "list_tables", "TableNames"))
    add("bucket", [bucket["Name"] for bucket in cloud.s3.list_buckets()["Buckets"]])
    add("topic", [topic["TopicArn"] for topic in cloud.pages("sns", "list_topics", "Topics")])
    subscriptions = cloud.pages("sns", "list_subscriptions", "Subscriptions")
    add("subscription", [(s["TopicArn"], s["Protocol"], s["Endpoint"]) for s in subscriptions])
    add("log group", [group["logGroupName"] for group in cloud.pages("logs", "describe_log_groups", "logGroups")])
    keys = [cloud.kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in cloud.pages("kms", "list_keys", "Keys")]
    add("key", [key["KeyId"] for key in keys if key["KeyState"] != "PendingDeletion"])
    add("alias", [alias["AliasName"] for alias in cloud.pages("kms", "list_aliases", "Aliases")])
    add("role", [role["RoleName"] for role in cloud.pages("iam", "list_roles", "Roles")])
    add("policy", [policy["Arn"] for policy in cloud.pages("iam", "list_policies", "Policies", Scope="Local")])
    alarms = cloud.cloudwatch.describe_alarms()
    add("alarm", [alarm["AlarmName"] for kind in ("MetricAlarms", "CompositeAlarms") for alarm in alarms.get(kind, [])])
    add("dashboard", [entry["DashboardName"] for entry in cloud.cloudwatch.list_dashboards()["DashboardEntries"]])
    add("secret", [secret["Name"] for secret in cloud.pages("secretsmanager", "list_secrets", "SecretList")])
    add("schedule", [schedule["Name"] for schedule in cloud.pages("scheduler", "list_schedules", "Schedules")])
    databases = [database["Name"] for database in cloud.pages("glue", "get_databases", "DatabaseList")]
    add("database", databases)
    for name in databases:
        add("table of Glue", [(name, table["Name"]) for table in cloud.pages("glue", "get_tables", "TableList", DatabaseName=name)])
    add("workgroup", [group["Name"] for group in cloud.athena.list_work_groups()["WorkGroups"]])
    stacks = cloud.cloudformation.describe_stacks()["Stacks"]
    add("stack", [stack["StackName"] for stack in stacks if stack["StackStatus"] != "DELETE_COMPLETE"])
    add_containers(cloud, add)
    add_network(cloud, add)
    return found


def add_containers(cloud, add):
    clusters = cloud.ecs.list_clusters()["clusterArns"]
    described = cloud.ecs.describe_clusters(clusters=clusters)["clusters"] if clusters else []
    active = [cluster["clusterArn"] for cluster in described if cluster["status"] != "INACTIVE"]
    add("cluster", active)
    for cluster in active:
        add("service", cloud.ecs.list_services(cluster=cluster)["serviceArns"])
        add("task", cloud.ecs.list_tasks(cluster=cluster)["taskArns"])
    add("task definition", cloud.pages("ecs", "list_task_definitions", "taskDefinitionArns", status="ACTIVE"))
    balancers = [balancer["LoadBalancerArn"] for balancer in cloud.pages("elbv2", "describe_load_balancers", "LoadBalancers")]
    add("load balancer", balancers)
    for balancer in balancers:
        listeners = cloud.elbv2.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
        add("listener", [listener["ListenerArn"] for listener in listeners])
    add("target group", [group["TargetGroupArn"] for group in cloud.pages("elbv2", "describe_target_groups", "TargetGroups")])


def add_network(cloud, add):
    for kind, operation, key, identity in [
        ("vpc", "describe_vpcs", "Vpcs", "VpcId"),
        ("subnet", "describe_subnets", "Subnets", "SubnetId"),
        ("internet gateway", "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
        ("route table", "describe_route_tables", "RouteTables", "RouteTableId"),
        ("security group", "describe_security_groups", "SecurityGroups", "GroupId"),
        ("endpoint", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
        ("network interface", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
        ("address", "describe_addresses", "Addresses", "AllocationId"),
        ("nat gateway", "describe_nat_gateways", "NatGateways", "NatGatewayId"),
        ("flow log", "describe_flow_logs", "FlowLogs", "FlowLogId"),
    ]:
        items = getattr(cloud.ec2, operation)().get(key, [])
        add(kind, [item[identity] for item in items if item.get("State") != "deleted"])
