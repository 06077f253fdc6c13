# The workers: an ECS service of tasks that keep no state of their own.

module "task" {
  source = "../task"

  deployment         = var.deployment
  name               = "worker"
  command            = ["run"]
  health_command     = ["/usr/local/bin/smoother", "health"]
  image              = var.task.image
  cpu_architecture   = var.task.cpu_architecture
  cpu                = var.task.cpu
  memory             = var.task.memory
  secrets            = var.webhook_secret_arn == "" ? {} : { SMOOTHER_ALERT_WEBHOOK_URL = var.webhook_secret_arn }
  execution_role_arn = var.task.execution_role_arn
  policy             = data.aws_iam_policy_document.worker.json
  key_arn            = var.task.key_arn
  log_retention_days = var.task.log_retention_days

  environment = merge(var.task.environment, {
    # Shorter than the task's stopTimeout of 120 s, so that a worker gives back what it could not finish.
    SMOOTHER_DRAIN_GRACE   = "100s"
    SMOOTHER_HEALTH_LISTEN = "127.0.0.1:8080"
  })
}

resource "aws_ecs_service" "this" {
  #checkov:skip=CKV_AWS_333:In public subnets a task needs a public address to reach AWS. Its security group lets nobody in; assign_public_ip = false is for subnets with a NAT gateway

  name            = module.task.family
  cluster         = var.cluster.arn
  task_definition = module.task.definition_arn
  launch_type     = "FARGATE"
  desired_count   = var.replicas.min
  propagate_tags  = "SERVICE"

  # New tasks first, then the old ones stop: no moment without a worker, and a bad image stops nothing.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.network.subnet_ids
    security_groups  = [aws_security_group.this.id]
    assign_public_ip = var.network.assign_public_ip
  }

  lifecycle {
    # Belongs to autoscaling, or to whoever told ECS.
    ignore_changes = [desired_count]
  }
}
