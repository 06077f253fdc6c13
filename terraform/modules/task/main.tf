# A task definition as all of them are here: one container that is not root, has no capabilities and writes nowhere but to its
# own log group.

locals {
  name = "${var.deployment.name}-${var.name}"

  container = merge(
    {
      name      = var.name
      image     = var.image
      command   = var.command
      essential = true
      # Numbers, because nothing in the image maps a name to them.
      user                   = "65532:65532"
      readonlyRootFilesystem = true
      stopTimeout            = 120
      environment            = [for name in sort(keys(var.environment)) : { name = name, value = var.environment[name] }]

      linuxParameters = {
        capabilities       = { drop = ["ALL"] }
        initProcessEnabled = false
      }

      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this.name
          awslogs-region        = var.deployment.region
          awslogs-stream-prefix = var.name
          # Logs are lost rather than work held up when CloudWatch does not take them.
          mode            = "non-blocking"
          max-buffer-size = "4m"
        }
      }
    },
    var.port == null ? {} : {
      portMappings = [{ containerPort = var.port, hostPort = var.port, protocol = "tcp" }]
    },
    length(var.secrets) == 0 ? {} : {
      secrets = [for name in sort(keys(var.secrets)) : { name = name, valueFrom = var.secrets[name] }]
    },
    var.health_command == null ? {} : {
      healthCheck = { command = concat(["CMD"], var.health_command), interval = 30, timeout = 5, retries = 3, startPeriod = 30 }
    },
  )
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is the operator's choice; the default is a year

  name              = "/${var.deployment.name}/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

resource "aws_ecs_task_definition" "this" {
  family                   = local.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = var.execution_role_arn
  task_role_arn            = aws_iam_role.this.arn
  container_definitions    = jsonencode([local.container])

  runtime_platform {
    cpu_architecture        = var.cpu_architecture
    operating_system_family = "LINUX"
  }
}
