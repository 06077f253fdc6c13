# A task that runs on a schedule and ends, and the role by which it is started.

locals {
  name = "${var.deployment.name}-${var.name}"
}

module "task" {
  source = "../task"

  deployment         = var.deployment
  name               = var.name
  command            = var.command
  image              = var.task.image
  cpu_architecture   = var.task.cpu_architecture
  cpu                = var.task.cpu
  memory             = var.task.memory
  environment        = var.task.environment
  execution_role_arn = var.task.execution_role_arn
  policy             = var.policy
  key_arn            = var.task.key_arn
  log_retention_days = var.task.log_retention_days
}

resource "aws_scheduler_schedule" "this" {
  #checkov:skip=CKV_AWS_297:The schedule holds no input and no secret; AWS's own key encrypts it

  name                = local.name
  description         = var.description
  schedule_expression = var.schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = var.cluster.arn
    role_arn = aws_iam_role.scheduler.arn

    ecs_parameters {
      task_definition_arn = module.task.definition_arn
      launch_type         = "FARGATE"
      task_count          = 1

      network_configuration {
        subnets          = var.network.subnet_ids
        security_groups  = [var.security_group_id]
        assign_public_ip = var.network.assign_public_ip
      }
    }
  }

  depends_on = [aws_iam_role_policy.scheduler]
}
