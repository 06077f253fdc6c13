# The whole deployment under a mocked AWS: what is there with which switches, and how the parts are wired to each other.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  notification_email = "oncall@example.com"
  image              = "123456789012.dkr.ecr.us-east-1.amazonaws.com/smoother:1.0.0"
}

run "defaults" {
  assert {
    condition     = output.aws_region == "us-east-1" && output.cluster_name == "smoother" && output.worker_service_name == "smoother-worker"
    error_message = "names do not begin with the default prefix"
  }

  assert {
    condition     = output.requests_table_name == "smoother-requests" && output.reporting_table_name == "smoother-reporting" && output.bedrock_calls_bucket_name == "smoother-bedrock-calls-123456789012"
    error_message = "tables or bucket are named otherwise than src/aws/schema.rs says"
  }

  assert {
    condition     = output.dashboard_url == "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/bedrock-errors"
    error_message = "dashboard_url is ${output.dashboard_url}"
  }

  assert {
    condition     = join("", [output.gateway_url, output.gateway_service_name, output.gateway_admin_secret_arn, output.discovery_task_definition_arn]) == ""
    error_message = "something of the gateway or of discovery is there though both are off"
  }

  assert {
    condition     = length(module.gateway) == 0 && length(module.secrets) == 0 && length(module.discovery) == 0 && length(module.network) == 1 && length(module.export) == 1 && length(module.analytics) == 1
    error_message = "by default there are a network, exports and what analysts need, and no gateway, no secret, no discovery"
  }

  assert {
    condition = jsonencode({ for pair in jsondecode(module.worker.container_definitions)[0].environment : pair.name => pair.value }) == jsonencode({
      SMOOTHER_AWS_REGION                = "us-east-1"
      SMOOTHER_AVERAGE_REQUEST_DURATION  = "5s"
      SMOOTHER_MINUTES_TO_PROCESS        = "5"
      SMOOTHER_MAX_CONCURRENT_EXECUTIONS = "30"
      SMOOTHER_ALARM_THRESHOLD           = "5"
      SMOOTHER_ALARM_EVALUATION_PERIODS  = "1"
      SMOOTHER_ALERT_COOLDOWN            = "900s"
      SMOOTHER_DASHBOARD_NAME            = "bedrock-errors"
      SMOOTHER_METRICS_NAMESPACE         = "Smoother"
      SMOOTHER_QUEUE_DEPTH_THRESHOLD     = "100"
      SMOOTHER_INPUT_QUEUE_URL           = output.input_queue_url
      SMOOTHER_RESULTS_QUEUE_URL         = output.bedrock_results_queue_url
      SMOOTHER_HOLD_QUEUE_URL            = output.hold_next_batch_queue_url
      SMOOTHER_DLQ_URL                   = output.hold_next_batch_dlq_url
      SMOOTHER_REQUESTS_TABLE            = "smoother-requests"
      SMOOTHER_REPORTING_TABLE           = "smoother-reporting"
      SMOOTHER_BUCKET                    = "smoother-bedrock-calls-123456789012"
      SMOOTHER_ALARM_TOPIC_ARN           = output.alarm_topic_arn
      SMOOTHER_ALLOWED_MODELS            = "amazon.*,anthropic.*,us.amazon.*,us.anthropic.*"
      SMOOTHER_USAGE_FEED                = "false"
      SMOOTHER_RETENTION_DAYS            = "30"
      SMOOTHER_TRACE_SAMPLE_RATIO        = "1"
      SMOOTHER_REPORT_RETENTION_DAYS     = "400"
      SMOOTHER_DRAIN_GRACE               = "100s"
      SMOOTHER_HEALTH_LISTEN             = "127.0.0.1:8080"
    })
    error_message = "the worker's environment is ${jsonencode(jsondecode(module.worker.container_definitions)[0].environment)}"
  }

  assert {
    condition     = length(distinct([output.input_queue_url, output.input_dlq_url, output.bedrock_results_queue_url, output.hold_next_batch_queue_url, output.hold_next_batch_dlq_url])) == 5
    error_message = "two outputs are of the same queue"
  }
}

run "settings_reach_the_worker" {
  variables {
    name                      = "night"
    aws_region                = "eu-central-1"
    average_request_duration  = 2.5
    minutes_to_process        = 7
    max_concurrent_executions = 31
    alarm_threshold           = 6
    alarm_evaluation_periods  = 2
    alert_cooldown            = 600
    alert_webhook_secret_arn  = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:on-call/webhook-AbCdEf"
    dashboard_name            = "night-calls"
    queue_depth_threshold     = 101
    allowed_models            = ["eu.amazon.nova-lite-v1:0"]
    allowed_source_buckets    = ["their-bucket", "our-bucket"]
    usage_feed                = true
    otlp_endpoint             = "http://collector.example.internal:4318"
    trace_sample_ratio        = 0.25
    retention_days            = 9
    settings_file             = "tests/fixtures/settings.toml"
  }

  assert {
    condition = alltrue([
      for name, value in {
        SMOOTHER_AWS_REGION                = "eu-central-1"
        SMOOTHER_AVERAGE_REQUEST_DURATION  = "2.5s"
        SMOOTHER_MINUTES_TO_PROCESS        = "7"
        SMOOTHER_MAX_CONCURRENT_EXECUTIONS = "31"
        SMOOTHER_ALARM_THRESHOLD           = "6"
        SMOOTHER_ALARM_EVALUATION_PERIODS  = "2"
        SMOOTHER_ALERT_COOLDOWN            = "600s"
        SMOOTHER_DASHBOARD_NAME            = "night-calls"
        SMOOTHER_QUEUE_DEPTH_THRESHOLD     = "101"
        SMOOTHER_REQUESTS_TABLE            = "night-requests"
        SMOOTHER_REPORTING_TABLE           = "night-reporting"
        SMOOTHER_BUCKET                    = "night-bedrock-calls-123456789012"
        SMOOTHER_ALLOWED_MODELS            = "eu.amazon.nova-lite-v1:0"
        SMOOTHER_ALLOWED_SOURCE_BUCKETS    = "their-bucket,our-bucket"
        SMOOTHER_USAGE_FEED                = "true"
        SMOOTHER_RETENTION_DAYS            = "9"
        SMOOTHER_OTLP_ENDPOINT             = "http://collector.example.internal:4318"
        SMOOTHER_TRACE_SAMPLE_RATIO        = "0.25"
        SMOOTHER_SETTINGS                  = "usd_per_day = 25\n"
      } : contains(jsondecode(module.worker.container_definitions)[0].environment, { name = name, value = value })
    ])
    error_message = "the worker's environment is ${jsonencode(jsondecode(module.worker.container_definitions)[0].environment)}"
  }

  assert {
    condition     = jsondecode(module.worker.container_definitions)[0].secrets == [{ name = "SMOOTHER_ALERT_WEBHOOK_URL", valueFrom = var.alert_webhook_secret_arn }]
    error_message = "the worker is not given the webhook's secret"
  }

  assert {
    condition     = output.worker_service_name == "night-worker" && output.cluster_name == "night" && endswith(output.dashboard_url, "region=eu-central-1#dashboards/dashboard/night-calls")
    error_message = "the prefix or the Region is not in the names"
  }
}

run "existing_network" {
  command = plan

  variables {
    vpc_id           = "vpc-0123456789abcdef0"
    subnet_ids       = ["subnet-0123456789abcdef0"]
    assign_public_ip = false
  }

  assert {
    condition     = length(module.network) == 0
    error_message = "a network is made though one is given"
  }
}

run "gateway_with_certificate" {
  variables {
    gateway_enabled = true
    gateway_cidrs   = ["203.0.113.0/24"]
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
  }

  assert {
    condition     = output.gateway_url == "https://lb.example.com" && output.gateway_service_name == "smoother-gateway" && output.gateway_admin_secret_arn == module.secrets[0].admin_key_arn
    error_message = "the gateway's outputs are ${output.gateway_url}, ${output.gateway_service_name}, ${output.gateway_admin_secret_arn}"
  }

  assert {
    condition     = contains([for pair in jsondecode(module.gateway[0].container_definitions)[0].secrets : "${pair.name}=${pair.valueFrom}"], "SMOOTHER_ADMIN_KEY=${output.gateway_admin_secret_arn}")
    error_message = "the gateway is not given the admin key's secret"
  }

  assert {
    condition     = !contains([for pair in jsondecode(module.gateway[0].container_definitions)[0].environment : pair.name], "SMOOTHER_HEALTH_LISTEN")
    error_message = "the worker's health port is the gateway's own"
  }
}

run "gateway_without_certificate_is_warned_about" {
  command = plan

  variables {
    gateway_enabled = true
    gateway_cidrs   = ["203.0.113.0/24"]
  }

  expect_failures = [check.gateway_has_certificate]
}

run "gateway_for_everybody_is_warned_about" {
  command = plan

  variables {
    gateway_enabled = true
    gateway_cidrs   = ["0.0.0.0/0"]
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
  }

  expect_failures = [check.gateway_is_not_open_to_everybody]
}

run "every_model_is_warned_about" {
  command = plan

  variables {
    allowed_models = ["*"]
  }

  expect_failures = [check.models_are_limited]
}

run "what_is_not_used_is_warned_about" {
  command = plan

  variables {
    discovery_role_arns = ["arn:aws:iam::210987654321:role/models"]
  }

  expect_failures = [check.everything_given_is_used]
}

run "discovery" {
  variables {
    discovery_schedule = "cron(0 6 * * ? *)"
  }

  assert {
    condition     = output.discovery_task_definition_arn == "arn:aws:ecs:us-east-1:123456789012:task-definition/a-task:1"
    error_message = "discovery_task_definition_arn is ${output.discovery_task_definition_arn}"
  }
}

run "without_analysts" {
  variables {
    export_schedule   = ""
    analytics_enabled = false
  }

  assert {
    condition     = join("", [output.export_task_definition_arn, output.analyst_policy_arn, output.athena_workgroup_name, output.athena_table]) == "" && length(module.export) == 0 && length(module.analytics) == 0
    error_message = "something of exports or of Athena is there though both are off"
  }
}
