# The OpenAI-compatible gateway: an ECS service behind a load balancer.

locals {
  name = "${var.deployment.name}-gateway"
  port = 8080
}

module "task" {
  source = "../task"

  deployment         = var.deployment
  name               = "gateway"
  command            = ["serve", "--listen", "0.0.0.0:${local.port}"]
  port               = local.port
  image              = var.task.image
  cpu_architecture   = var.task.cpu_architecture
  cpu                = var.task.cpu
  memory             = var.task.memory
  environment        = merge(var.task.environment, { SMOOTHER_DRAIN_GRACE = "100s" })
  secrets            = { SMOOTHER_ADMIN_KEY = var.admin_secret_arn }
  execution_role_arn = var.task.execution_role_arn
  policy             = data.aws_iam_policy_document.gateway.json
  key_arn            = var.task.key_arn
  log_retention_days = var.task.log_retention_days
}

resource "aws_ecs_service" "this" {
  #checkov:skip=CKV_AWS_333:In public subnets a task needs a public address to reach AWS. Its security group lets only the load balancer in; assign_public_ip = false is for subnets with a NAT gateway

  name            = module.task.family
  cluster         = var.cluster.arn
  task_definition = module.task.definition_arn
  launch_type     = "FARGATE"
  desired_count   = var.replicas
  propagate_tags  = "SERVICE"

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.network.subnet_ids
    security_groups  = [aws_security_group.gateway.id]
    assign_public_ip = var.network.assign_public_ip
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "gateway"
    container_port   = local.port
  }

  # ECS refuses a target group that no listener uses yet.
  depends_on = [aws_lb_listener.http, aws_lb_listener.https]
}
