# What each role may do, to the letter, as the provider writes the policies. The provider is the real one and plans only, for
# which it needs no AWS: all ARNs are given here.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
}

variables {
  deployment = { name = "smoother", region = "us-east-1", account = "123456789012", partition = "aws" }

  requests_table  = { arn = "arn:requests", index_arn = "arn:requests/index/work-index" }
  reporting_table = { arn = "arn:reporting" }
  bucket          = { arn = "arn:bucket" }
  bucket_arn      = "arn:bucket"
  key_arn         = "arn:key"
  topic_arn       = "arn:topic"
  allowed_models  = ["us.amazon.*", "anthropic.claude-*"]
  usage_feed      = false

  metrics_namespace = "Smoother/test"
  otlp_endpoint     = ""

  webhook_secret_arn     = ""
  queue_arns             = { input = "arn:input", hold = "arn:hold", hold_dlq = "arn:hold-dlq", results = "arn:results" }
  input_queue_arn        = "arn:input"
  admin_secret_arn       = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s"
  allowed_source_buckets = []
  autoscaling            = false
  backlog_per_replica    = 1
  deletion_protection    = true
  cidrs                  = ["203.0.113.0/24"]
  certificate_arn        = ""
  security_group_id      = "sg-1"
  schedule               = "rate(1 day)"
  role_arns              = []
  tasks                  = ["worker"]
  secret_arns            = []

  cluster = { name = "smoother", arn = "arn:aws:ecs:us-east-1:123456789012:cluster/smoother" }
  network = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"], assign_public_ip = true }

  task = {
    image              = "registry.example.com/smoother:1.0.0"
    cpu_architecture   = "ARM64"
    cpu                = 512
    memory             = 1024
    environment        = {}
    execution_role_arn = "arn:aws:iam::123456789012:role/smoother-execution"
    key_arn            = "arn:aws:kms:us-east-1:123456789012:key/k"
    log_retention_days = 365
  }
}

run "access" {
  command = plan

  module {
    source = "./modules/access"
  }

  assert {
    condition = toset(output.model_arns) == toset([
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.*",
      "arn:aws:bedrock:*::foundation-model/amazon.*",
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/anthropic.claude-*",
      "arn:aws:bedrock:*::foundation-model/anthropic.claude-*",
    ])
    error_message = "models are ${jsonencode(output.model_arns)}"
  }
}

run "models_of_every_kind" {
  command = plan

  module {
    source = "./modules/access"
  }

  variables {
    allowed_models = [
      "global.a.x", "us-gov.a.y", "us.a.x", "a.x", "usual.a.z",
      "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc",
    ]
  }

  assert {
    condition = output.model_arns == tolist([
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.a.x",
      "arn:aws:bedrock:*::foundation-model/a.x",
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us-gov.a.y",
      "arn:aws:bedrock:*::foundation-model/a.y",
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.a.x",
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/a.x",
      "arn:aws:bedrock:us-east-1:123456789012:inference-profile/usual.a.z",
      "arn:aws:bedrock:*::foundation-model/usual.a.z",
      "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc",
    ])
    error_message = "models are ${jsonencode(output.model_arns)}"
  }
}

run "usage_feed" {
  command = plan

  module {
    source = "./modules/access"
  }

  variables {
    usage_feed = true
  }

  assert {
    condition     = jsondecode(output.usage_feed).Statement == [{ Sid = "UsageFeed", Effect = "Allow", Action = "cloudwatch:GetMetricData", Resource = "*" }]
    error_message = "the usage feed's are ${output.usage_feed}"
  }
}

run "worker" {
  command = plan

  module {
    source = "./modules/worker"
  }

  variables {
    access   = run.access
    replicas = { min = 1, max = 1 }
  }

  # Sid: actions -> resources, sorted, so that neither more nor less passes.
  assert {
    condition = {
      for s in jsondecode(data.aws_iam_policy_document.worker.json).Statement :
      s.Sid => "${s.Effect} ${join(" ", sort(flatten([s.Action])))} -> ${join(" ", sort(flatten([s.Resource])))}"
      } == {
      Requests      = "Allow dynamodb:BatchGetItem dynamodb:DeleteItem dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem -> arn:requests"
      Backlog       = "Allow dynamodb:Query -> arn:requests/index/work-index"
      Reports       = "Allow dynamodb:BatchWriteItem dynamodb:PutItem -> arn:reporting"
      Bodies        = "Allow s3:GetObject s3:PutObject -> arn:bucket/*"
      MissingBodies = "Allow s3:ListBucket -> arn:bucket"
      Key           = "Allow kms:Decrypt kms:GenerateDataKey -> arn:key"
      Metrics       = "Allow cloudwatch:PutMetricData -> *"
      Quotas        = "Allow servicequotas:ListAWSDefaultServiceQuotas servicequotas:ListServiceQuotas -> *"
      Input         = "Allow sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:ReceiveMessage -> arn:input"
      Hold          = "Allow sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:ReceiveMessage sqs:SendMessage -> arn:hold"
      DeadLetters   = "Allow sqs:ChangeMessageVisibility sqs:DeleteMessage sqs:GetQueueAttributes sqs:ReceiveMessage sqs:SendMessage -> arn:hold-dlq"
      Results       = "Allow sqs:SendMessage -> arn:results"
      Alarms        = "Allow sns:Publish -> arn:topic"
      Models        = "Allow bedrock:InvokeModel -> arn:aws:bedrock:*::foundation-model/amazon.* arn:aws:bedrock:*::foundation-model/anthropic.claude-* arn:aws:bedrock:us-east-1:123456789012:inference-profile/anthropic.claude-* arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.*"
    }
    error_message = "the worker may ${data.aws_iam_policy_document.worker.json}"
  }

  assert {
    condition = { for s in jsondecode(data.aws_iam_policy_document.worker.json).Statement : s.Sid => jsonencode(s.Condition) if can(s.Condition) } == {
      Key     = jsonencode({ StringEquals = { "kms:ViaService" = ["s3.us-east-1.amazonaws.com", "sns.us-east-1.amazonaws.com"] } })
      Metrics = jsonencode({ StringEquals = { "cloudwatch:namespace" = "Smoother/test" } })
    }
    error_message = "the worker's conditions are otherwise: ${data.aws_iam_policy_document.worker.json}"
  }
}

run "source_buckets" {
  command = plan

  module {
    source = "./modules/worker"
  }

  variables {
    access                 = run.access
    replicas               = { min = 1, max = 1 }
    allowed_source_buckets = ["their-bucket", "our-bucket"]
  }

  assert {
    condition = one([
      for s in jsondecode(data.aws_iam_policy_document.worker.json).Statement :
      "${s.Action} -> ${join(" ", sort(flatten([s.Resource])))}" if s.Sid == "Sources"
    ]) == "s3:GetObject -> arn:aws:s3:::our-bucket/* arn:aws:s3:::their-bucket/*"
    error_message = "the worker may ${data.aws_iam_policy_document.worker.json}"
  }
}

run "gateway" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  variables {
    access   = run.access
    replicas = 2
  }

  assert {
    condition = {
      for s in jsondecode(data.aws_iam_policy_document.gateway.json).Statement :
      s.Sid => join(" ", sort(flatten([s.Action])))
      } == {
      Requests      = "dynamodb:BatchGetItem dynamodb:DeleteItem dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem"
      Backlog       = "dynamodb:Query"
      Reports       = "dynamodb:BatchWriteItem dynamodb:PutItem"
      Bodies        = "s3:GetObject s3:PutObject"
      MissingBodies = "s3:ListBucket"
      Key           = "kms:Decrypt kms:GenerateDataKey"
      Metrics       = "cloudwatch:PutMetricData"
      Quotas        = "servicequotas:ListAWSDefaultServiceQuotas servicequotas:ListServiceQuotas"
      Input         = "sqs:SendMessage"
      Models        = "bedrock:InvokeModel bedrock:InvokeModelWithResponseStream"
    }
    error_message = "the gateway may ${data.aws_iam_policy_document.gateway.json}"
  }

  assert {
    condition     = one([for s in jsondecode(data.aws_iam_policy_document.gateway.json).Statement : s.Resource if s.Sid == "Input"]) == "arn:input"
    error_message = "the gateway may ${data.aws_iam_policy_document.gateway.json}"
  }
}

run "discovery" {
  command = plan

  module {
    source = "./modules/discovery"
  }

  variables {
    access    = run.access
    role_arns = ["arn:aws:iam::210987654321:role/models"]
  }

  assert {
    condition = {
      for s in jsondecode(data.aws_iam_policy_document.discovery.json).Statement :
      s.Sid => "${join(" ", sort(flatten([s.Action])))} -> ${join(" ", sort(flatten([s.Resource])))}"
      } == {
      Key      = "kms:Decrypt kms:GenerateDataKey -> arn:key"
      Metrics  = "cloudwatch:PutMetricData -> *"
      Quotas   = "servicequotas:ListAWSDefaultServiceQuotas servicequotas:ListServiceQuotas -> *"
      Discover = "bedrock:ListFoundationModels bedrock:ListInferenceProfiles -> *"
      Catalog  = "s3:GetObject s3:PutObject -> arn:bucket/models/*"
      Accounts = "sts:AssumeRole -> arn:aws:iam::210987654321:role/models"
    }
    error_message = "discovery may ${data.aws_iam_policy_document.discovery.json}"
  }
}

run "export" {
  command = plan

  module {
    source = "./modules/export"
  }

  variables {
    access          = run.access
    reporting_table = { arn = "arn:reporting" }
    bucket          = { name = "calls", arn = "arn:bucket" }
  }

  assert {
    condition = {
      for s in jsondecode(data.aws_iam_policy_document.export.json).Statement :
      s.Sid => "${join(" ", sort(flatten([s.Action])))} -> ${join(" ", sort(flatten([s.Resource])))} if ${jsonencode(try(s.Condition.StringLike, null))}"
      } == {
      Key         = "kms:Decrypt kms:GenerateDataKey -> arn:key if null"
      Reports     = "dynamodb:Query -> arn:reporting if null"
      Exports     = "s3:AbortMultipartUpload s3:GetObject s3:PutObject -> arn:bucket/exports/* if null"
      ListExports = "s3:ListBucket -> arn:bucket if ${jsonencode({ "s3:prefix" = "exports/*" })}"
    }
    error_message = "exports may ${data.aws_iam_policy_document.export.json}"
  }
}

run "analyst" {
  command = plan

  module {
    source = "./modules/analytics"
  }

  variables {
    reporting_table = { arn = "arn:reporting" }
    bucket          = { name = "calls", arn = "arn:bucket" }
    key_arn         = "arn:aws:kms:us-east-1:123456789012:key/k"
  }

  assert {
    condition = {
      for s in jsondecode(data.aws_iam_policy_document.analyst.json).Statement : s.Sid => join(" ", sort(flatten([s.Resource])))
      } == {
      Reports        = "arn:reporting"
      NoFullScans    = "arn:reporting"
      Exports        = "arn:bucket/exports/*"
      Results        = "arn:bucket/athena/*"
      ListExports    = "arn:bucket"
      Bucket         = "arn:bucket"
      Catalog        = "arn:aws:glue:us-east-1:123456789012:catalog arn:aws:glue:us-east-1:123456789012:database/smoother arn:aws:glue:us-east-1:123456789012:table/smoother/requests"
      Queries        = "arn:aws:athena:us-east-1:123456789012:workgroup/smoother"
      Console        = "*"
      ConsoleCatalog = "arn:aws:athena:us-east-1:123456789012:datacatalog/AwsDataCatalog"
      Key            = "arn:aws:kms:us-east-1:123456789012:key/k"
    }
    error_message = "analysts may ${data.aws_iam_policy_document.analyst.json}"
  }

  assert {
    condition = alltrue(flatten([
      for s in jsondecode(data.aws_iam_policy_document.analyst.json).Statement : [
        for action in flatten([s.Action]) : !can(regex("\\*|Delete|Write|Update|Create|Scan|s3:Put", action)) || (action == "s3:PutObject" && s.Sid == "Results")
      ]
    ]))
    error_message = "analysts may change or scan something: ${data.aws_iam_policy_document.analyst.json}"
  }

  assert {
    condition = one([
      for s in jsondecode(data.aws_iam_policy_document.analyst.json).Statement : "${s.Effect} ${jsonencode(s.Condition)}" if s.Sid == "NoFullScans"
    ]) == "Deny ${jsonencode({ Bool = { "dynamodb:FullTableScan" = "true" } })}"
    error_message = "PartiQL may read the whole table"
  }
}

run "execution" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  assert {
    condition = {
      for s in jsondecode(data.aws_iam_policy_document.execution.json).Statement :
      s.Sid => "${join(" ", sort(flatten([s.Action])))} -> ${join(" ", sort(flatten([s.Resource])))}"
      } == {
      Login = "ecr:GetAuthorizationToken -> *"
      Image = "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer -> arn:aws:ecr:us-east-1:123456789012:repository/*"
      Logs  = "logs:CreateLogStream logs:PutLogEvents -> arn:aws:logs:us-east-1:123456789012:log-group:/smoother/worker:*"
    }
    error_message = "ECS may ${data.aws_iam_policy_document.execution.json}"
  }

  assert {
    condition = [for s in jsondecode(data.aws_iam_policy_document.trust.json).Statement : jsonencode([s.Principal, s.Condition])] == [
      jsonencode([{ Service = "ecs-tasks.amazonaws.com" }, { StringEquals = { "aws:SourceAccount" = "123456789012" } }])
    ]
    error_message = "the execution role trusts ${data.aws_iam_policy_document.trust.json}"
  }
}

run "execution_with_secrets" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  variables {
    tasks       = ["worker", "gateway"]
    secret_arns = ["arn:secret"]
  }

  assert {
    condition = {
      for s in jsondecode(data.aws_iam_policy_document.execution.json).Statement :
      s.Sid => "${join(" ", sort(flatten([s.Action])))} -> ${join(" ", sort(flatten([s.Resource])))}" if contains(["Logs", "Secrets", "SecretsKey"], s.Sid)
      } == {
      Logs       = "logs:CreateLogStream logs:PutLogEvents -> arn:aws:logs:us-east-1:123456789012:log-group:/smoother/gateway:* arn:aws:logs:us-east-1:123456789012:log-group:/smoother/worker:*"
      Secrets    = "secretsmanager:GetSecretValue -> arn:secret"
      SecretsKey = "kms:Decrypt -> arn:key"
    }
    error_message = "ECS may ${data.aws_iam_policy_document.execution.json}"
  }
}

run "task_role_trust" {
  command = plan

  module {
    source = "./modules/task"
  }

  variables {
    name               = "worker"
    command            = ["run"]
    image              = var.task.image
    cpu_architecture   = "ARM64"
    cpu                = 512
    memory             = 1024
    environment        = {}
    execution_role_arn = var.task.execution_role_arn
    policy             = "{}"
    log_retention_days = 365
    key_arn            = "arn:aws:kms:us-east-1:123456789012:key/k"
  }

  assert {
    condition = [for s in jsondecode(data.aws_iam_policy_document.trust.json).Statement : jsonencode([s.Principal, s.Condition])] == [
      jsonencode([{ Service = "ecs-tasks.amazonaws.com" }, { StringEquals = { "aws:SourceAccount" = "123456789012" } }])
    ]
    error_message = "the task's role trusts ${data.aws_iam_policy_document.trust.json}"
  }

  assert {
    condition     = aws_iam_role.this.name == "smoother-worker" && aws_iam_role_policy.this.name == "smoother-worker"
    error_message = "role and policy are not named like the task"
  }
}

run "scheduler" {
  command = plan

  module {
    source = "./modules/scheduled"
  }

  variables {
    name        = "discovery"
    description = "Looks for new models"
    command     = ["discover"]
    policy      = "{}"
  }

  # Its role's ARN is not known before it is made.
  override_resource {
    target          = module.task.aws_iam_role.this
    override_during = plan
    values          = { arn = "arn:aws:iam::123456789012:role/smoother-discovery" }
  }

  assert {
    condition = {
      for s in jsondecode(data.aws_iam_policy_document.scheduler.json).Statement :
      s.Sid => "${s.Action} -> ${join(" ", sort(flatten([s.Resource])))} if ${jsonencode(s.Condition)}"
      } == {
      Run       = "ecs:RunTask -> arn:aws:ecs:us-east-1:123456789012:task-definition/smoother-discovery:* if ${jsonencode({ ArnEquals = { "ecs:cluster" = "arn:aws:ecs:us-east-1:123456789012:cluster/smoother" } })}"
      PassRoles = "iam:PassRole -> arn:aws:iam::123456789012:role/smoother-discovery arn:aws:iam::123456789012:role/smoother-execution if ${jsonencode({ StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } })}"
    }
    error_message = "the scheduler may ${data.aws_iam_policy_document.scheduler.json}"
  }

  assert {
    condition = [for s in jsondecode(data.aws_iam_policy_document.trust.json).Statement : jsonencode([s.Principal, s.Condition])] == [
      jsonencode([{ Service = "scheduler.amazonaws.com" }, { StringEquals = { "aws:SourceAccount" = "123456789012" } }])
    ]
    error_message = "the scheduler's role trusts ${data.aws_iam_policy_document.trust.json}"
  }

  assert {
    condition     = aws_iam_role.scheduler.name == "smoother-discovery-scheduler" && aws_scheduler_schedule.this.name == "smoother-discovery" && aws_scheduler_schedule.this.schedule_expression == "rate(1 day)" && aws_scheduler_schedule.this.target[0].arn == var.cluster.arn
    error_message = "the schedule is otherwise"
  }
}

run "key" {
  command = plan

  module {
    source = "./modules/encryption"
  }

  assert {
    condition = {
      for s in jsondecode(data.aws_iam_policy_document.key.json).Statement :
      s.Sid => "${values(s.Principal)[0]}: ${join(" ", sort(flatten([s.Action])))} if ${jsonencode(try(s.Condition, null))}"
      } == {
      Account = "arn:aws:iam::123456789012:root: kms:* if null"
      Alarms  = "cloudwatch.amazonaws.com: kms:Decrypt kms:GenerateDataKey* if ${jsonencode({ StringEquals = { "aws:SourceAccount" = "123456789012" } })}"
      Logs    = "logs.us-east-1.amazonaws.com: kms:Decrypt* kms:Describe* kms:Encrypt* kms:GenerateDataKey* kms:ReEncrypt* if ${jsonencode({ ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:us-east-1:123456789012:log-group:/smoother/*" } })}"
    }
    error_message = "the key's policy is ${data.aws_iam_policy_document.key.json}"
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30 && aws_kms_alias.this.name == "alias/smoother"
    error_message = "rotation, window or alias are otherwise"
  }
}

run "key_without_deletion_protection" {
  command = plan

  module {
    source = "./modules/encryption"
  }

  variables {
    deletion_protection = false
  }

  assert {
    condition     = aws_kms_key.this.deletion_window_in_days == 7
    error_message = "a deleted key is gone after ${aws_kms_key.this.deletion_window_in_days} days"
  }
}
