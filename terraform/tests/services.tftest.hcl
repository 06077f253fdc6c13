# The services: tasks, autoscaling, load balancer, schedule, each module alone under a mocked AWS.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  deployment = { name = "smoother", region = "us-east-1", account = "123456789012", partition = "aws" }
  cluster    = { name = "smoother", arn = "arn:aws:ecs:us-east-1:123456789012:cluster/smoother" }
  network    = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], assign_public_ip = true }
  access     = { records = "{}", key = "{}", metrics = "{}", usage_feed = "{}", quotas = "{}", model_arns = ["arn:model"] }

  task = {
    image              = "registry.example.com/smoother:1.0.0"
    cpu_architecture   = "ARM64"
    cpu                = 512
    memory             = 1024
    environment        = { SMOOTHER_A = "1" }
    execution_role_arn = "arn:aws:iam::123456789012:role/smoother-execution"
    key_arn            = "arn:aws:kms:us-east-1:123456789012:key/k"
    log_retention_days = 365
  }

  queue_arns             = { input = "arn:input", hold = "arn:hold", hold_dlq = "arn:hold-dlq", results = "arn:results" }
  topic_arn              = "arn:topic"
  webhook_secret_arn     = ""
  allowed_source_buckets = []
  backlog_per_replica    = 5000
  metrics_namespace      = "Smoother/test"
  otlp_endpoint          = ""
  autoscaling            = true

  input_queue_arn     = "arn:input"
  admin_secret_arn    = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s"
  cidrs               = ["203.0.113.0/24", "198.51.100.7/32"]
  certificate_arn     = ""
  deletion_protection = true
  tasks               = ["worker"]
  secret_arns         = []
  key_arn             = "arn:aws:kms:us-east-1:123456789012:key/k"

  bucket_arn        = "arn:bucket"
  security_group_id = "sg-worker"
  schedule          = "rate(1 day)"
  role_arns         = []
}

run "worker_with_a_collector" {
  module {
    source = "./modules/worker"
  }

  variables {
    replicas      = { min = 2, max = 4 }
    otlp_endpoint = "http://collector.example.internal:4318/otlp"
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.collector[0].from_port == 4318 && aws_vpc_security_group_egress_rule.collector[0].to_port == 4318 && aws_vpc_security_group_egress_rule.collector[0].ip_protocol == "tcp"
    error_message = "the collector's port is closed"
  }
}

run "worker_with_a_collector_by_http" {
  module {
    source = "./modules/worker"
  }

  variables {
    replicas      = { min = 2, max = 4 }
    otlp_endpoint = "http://collector.example.internal"
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.collector[0].from_port == 80
    error_message = "the port of plain HTTP is closed"
  }
}

run "worker_with_a_collector_by_https" {
  module {
    source = "./modules/worker"
  }

  variables {
    replicas      = { min = 2, max = 4 }
    otlp_endpoint = "https://collector.example.com/otlp"
  }

  assert {
    condition     = length(aws_vpc_security_group_egress_rule.collector) == 0
    error_message = "HTTPS is open already"
  }
}

run "worker" {
  module {
    source = "./modules/worker"
  }

  variables {
    replicas = { min = 2, max = 4 }
  }

  assert {
    condition = jsondecode(output.container_definitions)[0] == {
      name                   = "worker"
      image                  = "registry.example.com/smoother:1.0.0"
      command                = ["run"]
      essential              = true
      user                   = "65532:65532"
      readonlyRootFilesystem = true
      stopTimeout            = 120
      linuxParameters        = { capabilities = { drop = ["ALL"] }, initProcessEnabled = false }
      healthCheck            = { command = ["CMD", "/usr/local/bin/smoother", "health"], interval = 30, timeout = 5, retries = 3, startPeriod = 30 }
      environment = [
        { name = "SMOOTHER_A", value = "1" },
        { name = "SMOOTHER_DRAIN_GRACE", value = "100s" },
        { name = "SMOOTHER_HEALTH_LISTEN", value = "127.0.0.1:8080" },
      ]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = "/smoother/worker"
          awslogs-region        = "us-east-1"
          awslogs-stream-prefix = "worker"
          mode                  = "non-blocking"
          max-buffer-size       = "4m"
        }
      }
    }
    error_message = "the worker's container is ${output.container_definitions}"
  }

  assert {
    condition     = aws_ecs_service.this.name == "smoother-worker" && aws_ecs_service.this.desired_count == 2 && aws_ecs_service.this.launch_type == "FARGATE" && aws_ecs_service.this.propagate_tags == "SERVICE" && aws_ecs_service.this.enable_execute_command != true
    error_message = "the service is otherwise"
  }

  assert {
    condition     = aws_ecs_service.this.deployment_minimum_healthy_percent == 100 && aws_ecs_service.this.deployment_maximum_percent == 200 && one(aws_ecs_service.this.deployment_circuit_breaker).enable && one(aws_ecs_service.this.deployment_circuit_breaker).rollback
    error_message = "a bad image would stop what runs"
  }

  assert {
    condition     = one(aws_ecs_service.this.network_configuration).subnets == toset(["subnet-1", "subnet-2"]) && one(aws_ecs_service.this.network_configuration).assign_public_ip && one(aws_ecs_service.this.network_configuration).security_groups == toset([aws_security_group.this.id])
    error_message = "the service is in another network"
  }

  assert {
    condition     = aws_security_group.this.name == "smoother-worker" && length(aws_security_group.this.ingress) == 0 && aws_vpc_security_group_egress_rule.https.from_port == 443 && aws_vpc_security_group_egress_rule.https.to_port == 443 && aws_vpc_security_group_egress_rule.https.ip_protocol == "tcp"
    error_message = "something can connect to workers, or they to more than HTTPS"
  }

  assert {
    condition     = length(aws_vpc_security_group_egress_rule.collector) == 0
    error_message = "without a collector HTTPS is the only way out"
  }

  assert {
    condition     = aws_appautoscaling_target.this[0].resource_id == "service/smoother/smoother-worker" && aws_appautoscaling_target.this[0].min_capacity == 2 && aws_appautoscaling_target.this[0].max_capacity == 4
    error_message = "autoscaling has another target"
  }

  assert {
    condition = alltrue([
      for c in aws_appautoscaling_policy.backlog[0].target_tracking_scaling_policy_configuration :
      c.target_value == 5000 && c.scale_out_cooldown == 60 && c.scale_in_cooldown == 300
    ]) && aws_appautoscaling_policy.backlog[0].name == "smoother-backlog-per-replica"
    error_message = "autoscaling has another target value or other cooldowns"
  }

  assert {
    condition = toset([
      for m in aws_appautoscaling_policy.backlog[0].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics :
      m.expression != null ? "${m.id} = ${m.expression} ${m.return_data}" : "${m.id} = ${m.metric_stat[0].stat} of ${m.metric_stat[0].metric[0].namespace} ${m.metric_stat[0].metric[0].metric_name} ${m.return_data}"
      ]) == toset([
      "backlog = Maximum of Smoother/test Backlog false",
      "replicas = Sum of Smoother/test WorkersAlive false",
      "per_replica = FILL(backlog, 0) / FILL(replicas, 1) true",
    ])
    error_message = "autoscaling goes by something else"
  }
}

run "worker_without_autoscaling" {
  command = plan

  module {
    source = "./modules/worker"
  }

  variables {
    replicas    = { min = 1, max = 4 }
    autoscaling = false
  }

  assert {
    condition     = length(aws_appautoscaling_target.this) == 0 && length(aws_appautoscaling_policy.backlog) == 0
    error_message = "there is autoscaling though it is off"
  }
}

run "task" {
  module {
    source = "./modules/task"
  }

  variables {
    name               = "worker"
    command            = ["run"]
    image              = var.task.image
    cpu_architecture   = "X86_64"
    cpu                = 1024
    memory             = 4096
    environment        = {}
    execution_role_arn = var.task.execution_role_arn
    policy             = "{}"
    log_retention_days = 90
  }

  assert {
    condition     = aws_ecs_task_definition.this.family == "smoother-worker" && aws_ecs_task_definition.this.network_mode == "awsvpc" && aws_ecs_task_definition.this.requires_compatibilities == toset(["FARGATE"]) && aws_ecs_task_definition.this.cpu == "1024" && aws_ecs_task_definition.this.memory == "4096"
    error_message = "the task has another size"
  }

  assert {
    condition     = one(aws_ecs_task_definition.this.runtime_platform) == { cpu_architecture = "X86_64", operating_system_family = "LINUX" }
    error_message = "the task is for other processors"
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/smoother/worker" && aws_cloudwatch_log_group.this.retention_in_days == 90 && aws_cloudwatch_log_group.this.kms_key_id == var.key_arn
    error_message = "logs go elsewhere, are kept otherwise or not encrypted with the key"
  }
}

run "cluster" {
  module {
    source = "./modules/cluster"
  }

  assert {
    condition     = aws_ecs_cluster.this.name == "smoother" && one(aws_ecs_cluster.this.setting) == { name = "containerInsights", value = "enabled" }
    error_message = "the cluster has another name or no Container Insights"
  }
}

run "gateway" {
  module {
    source = "./modules/gateway"
  }

  variables {
    replicas = 2
  }

  assert {
    condition     = jsondecode(output.container_definitions)[0].command == ["serve", "--listen", "0.0.0.0:8080"] && jsondecode(output.container_definitions)[0].portMappings == [{ containerPort = 8080, hostPort = 8080, protocol = "tcp" }] && jsondecode(output.container_definitions)[0].readonlyRootFilesystem
    error_message = "the gateway's container is ${output.container_definitions}"
  }

  assert {
    condition     = aws_ecs_service.this.name == "smoother-gateway" && aws_ecs_service.this.desired_count == 2 && one(aws_ecs_service.this.load_balancer).container_port == 8080 && one(aws_ecs_service.this.load_balancer).target_group_arn == aws_lb_target_group.this.arn
    error_message = "the gateway's service is otherwise"
  }

  assert {
    condition     = aws_lb.this.name == "smoother-gateway" && !aws_lb.this.internal && aws_lb.this.drop_invalid_header_fields && aws_lb.this.enable_deletion_protection && aws_lb.this.idle_timeout == 900
    error_message = "the load balancer is otherwise"
  }

  assert {
    condition     = aws_lb_target_group.this.target_type == "ip" && aws_lb_target_group.this.port == 8080 && aws_lb_target_group.this.health_check[0].path == "/ready"
    error_message = "the target group is otherwise"
  }

  assert {
    condition     = length(aws_lb_listener.https) == 0 && aws_lb_listener.http.port == 80 && aws_lb_listener.http.default_action[0].type == "forward" && output.url == "http://lb.example.com"
    error_message = "without a certificate port 80 is to lead to the gateway"
  }

  assert {
    condition = toset([for rule in aws_vpc_security_group_ingress_rule.clients : "${rule.from_port}-${rule.to_port} ${rule.cidr_ipv4}"]) == toset([
      "80-80 203.0.113.0/24", "80-80 198.51.100.7/32"
    ])
    error_message = "others than gateway_cidrs can reach the load balancer"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.from_load_balancer.referenced_security_group_id == aws_security_group.load_balancer.id && aws_vpc_security_group_ingress_rule.from_load_balancer.from_port == 8080 && aws_vpc_security_group_ingress_rule.from_load_balancer.cidr_ipv4 == null
    error_message = "others than the load balancer can reach the gateway"
  }
}

run "gateway_with_certificate" {
  module {
    source = "./modules/gateway"
  }

  variables {
    replicas            = 2
    certificate_arn     = "arn:aws:acm:us-east-1:123456789012:certificate/c"
    deletion_protection = false
  }

  assert {
    condition     = aws_lb_listener.https[0].port == 443 && aws_lb_listener.https[0].certificate_arn == var.certificate_arn && aws_lb_listener.https[0].default_action[0].type == "forward" && startswith(aws_lb_listener.https[0].ssl_policy, "ELBSecurityPolicy-TLS13-")
    error_message = "HTTPS does not lead to the gateway"
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].type == "redirect" && aws_lb_listener.http.default_action[0].redirect[0].protocol == "HTTPS" && aws_lb_listener.http.default_action[0].redirect[0].port == "443" && aws_lb_listener.http.default_action[0].redirect[0].status_code == "HTTP_301"
    error_message = "port 80 does not redirect to HTTPS"
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.clients) == 4 && output.url == "https://lb.example.com" && !aws_lb.this.enable_deletion_protection
    error_message = "ports, URL or protection are otherwise"
  }
}

run "secret" {
  module {
    source = "./modules/secrets"
  }

  assert {
    condition     = aws_secretsmanager_secret.admin_key.name == "smoother/gateway-admin-key" && aws_secretsmanager_secret.admin_key.kms_key_id == var.key_arn && aws_secretsmanager_secret.admin_key.recovery_window_in_days == 30
    error_message = "the secret has another name, another key, or is not kept for 30 days"
  }
}

run "scheduled" {
  module {
    source = "./modules/scheduled"
  }

  variables {
    name        = "discovery"
    description = "Looks for new models"
    command     = ["discover"]
    policy      = "{}"
  }

  assert {
    condition     = aws_scheduler_schedule.this.name == "smoother-discovery" && aws_scheduler_schedule.this.schedule_expression == "rate(1 day)" && one(aws_scheduler_schedule.this.flexible_time_window).mode == "OFF"
    error_message = "the schedule is otherwise"
  }

  assert {
    condition     = one(aws_scheduler_schedule.this.target).role_arn == aws_iam_role.scheduler.arn && one(one(aws_scheduler_schedule.this.target).ecs_parameters).task_definition_arn == output.task_definition_arn && one(one(one(aws_scheduler_schedule.this.target).ecs_parameters).network_configuration).security_groups == toset(["sg-worker"])
    error_message = "the schedule starts something else, or elsewhere"
  }
}

run "analytics" {
  module {
    source = "./modules/analytics"
  }

  variables {
    reporting_table = { arn = "arn:reporting" }
    bucket          = { name = "calls", arn = "arn:aws:s3:::calls" }
    key_arn         = "arn:aws:kms:us-east-1:123456789012:key/k"
  }

  assert {
    condition     = aws_glue_catalog_table.requests.parameters["storage.location.template"] == "s3://calls/exports/day=$${day}/" && aws_glue_catalog_table.requests.parameters["projection.day.type"] == "date" && one(aws_glue_catalog_table.requests.partition_keys).name == "day"
    error_message = "the table does not find its days: ${jsonencode(aws_glue_catalog_table.requests.parameters)}"
  }

  assert {
    condition = (
      one(aws_athena_workgroup.this.configuration).enforce_workgroup_configuration &&
      one(aws_athena_workgroup.this.configuration).bytes_scanned_cutoff_per_query == 107374182400 &&
      one(one(aws_athena_workgroup.this.configuration).result_configuration).output_location == "s3://calls/athena/" &&
      one(one(one(aws_athena_workgroup.this.configuration).result_configuration).encryption_configuration).encryption_option == "SSE_KMS"
    )
    error_message = "the workgroup leaves analysts to choose, or writes results elsewhere or unencrypted"
  }

  assert {
    condition     = output.table == "smoother.requests" && output.workgroup == "smoother"
    error_message = "the table is ${output.table}, the workgroup ${output.workgroup}"
  }
}
