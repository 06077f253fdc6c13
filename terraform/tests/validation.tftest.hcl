# Every rule of the variables, by values that break it: a run fails when one of its values is taken. Many at once, because each
# run starts the provider.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  notification_email = "oncall@example.com"
  image              = "123456789012.dkr.ecr.us-east-1.amazonaws.com/smoother:1.0.0"
}

run "first_bad_values" {
  command = plan

  variables {
    aws_region                = "virginia"                      # place
    name                      = "Smoother"                      # capital
    notification_email        = "oncall"                        # no at
    image                     = "registry.example.com/smoother" # no tag
    tags                      = { "aws:thing" = "x" }           # reserved
    average_request_duration  = 0                               # zero
    minutes_to_process        = 0                               # zero
    max_concurrent_executions = 0                               # zero
    queue_depth_threshold     = 0                               # zero
    allowed_models            = []                              # none
    allowed_source_buckets    = ["arn:aws:s3:::their-bucket"]   # arn
    settings_file             = "no-such-file.toml"             # missing
    otlp_endpoint             = "collector:4318"                # no scheme
    trace_sample_ratio        = 1.1                             # more than all
    retention_days            = 0                               # zero
    cpu_architecture          = "arm64"                         # alias
    memory                    = 512                             # too little
    min_replicas              = 0                               # zero
    backlog_per_replica       = 0                               # zero
    vpc_id                    = "default"                       # name
    vpc_cidr                  = "10.83.0.1/16"                  # host bits
    gateway_replicas          = 0                               # zero
    gateway_cidrs             = ["203.0.113.7"]                 # address
    discovery_schedule        = "every day"                     # words
    export_schedule           = "every day"                     # words
    report_retention_days     = 0
    discovery_role_arns       = ["arn:aws:iam::123456789012:user/someone"] # user
    alarm_threshold           = 0                                          # zero
    alarm_evaluation_periods  = 0                                          # zero
    alert_cooldown            = 0                                          # zero
    alert_webhook_secret_arn  = "https://hooks.example.com/x"              # URL
    dashboard_name            = "bedrock.errors"                           # dot
    metrics_namespace         = "AWS/SQS"                                  # AWS's own
    log_retention_days        = 100                                        # between
  }

  expect_failures = [
    var.aws_region,
    var.name,
    var.notification_email,
    var.image,
    var.tags,
    var.average_request_duration,
    var.minutes_to_process,
    var.max_concurrent_executions,
    var.queue_depth_threshold,
    var.allowed_models,
    var.allowed_source_buckets,
    var.settings_file,
    var.otlp_endpoint,
    var.trace_sample_ratio,
    var.retention_days,
    var.cpu_architecture,
    var.memory,
    var.min_replicas,
    var.backlog_per_replica,
    var.vpc_id,
    var.vpc_cidr,
    var.gateway_replicas,
    var.gateway_cidrs,
    var.discovery_schedule,
    var.export_schedule,
    var.report_retention_days,
    var.discovery_role_arns,
    var.alarm_threshold,
    var.alarm_evaluation_periods,
    var.alert_cooldown,
    var.alert_webhook_secret_arn,
    var.dashboard_name,
    var.metrics_namespace,
    var.log_retention_days,
  ]
}

run "second_bad_values" {
  command = plan

  variables {
    name                      = "9lives"                               # digit first
    notification_email        = "oncall@localhost"                     # no domain
    image                     = "registry.example.com:5000/smoother"   # port is no tag
    tags                      = { "" = "x" }                           # empty key
    average_request_duration  = 3601                                   # over an hour
    minutes_to_process        = 1.5                                    # fraction
    max_concurrent_executions = 1.5                                    # fraction
    queue_depth_threshold     = 1.5                                    # fraction
    allowed_models            = ["amazon nova"]                        # space
    allowed_source_buckets    = ["Their-Bucket"]                       # capital
    settings_file             = "tests"                                # folder
    otlp_endpoint             = "http://a:b@collector:4318"            # with a password
    trace_sample_ratio        = -0.1                                   # less than none
    retention_days            = 0.5                                    # fraction
    memory                    = 5120                                   # too much
    min_replicas              = 1.5                                    # fraction
    backlog_per_replica       = 1.5                                    # fraction
    vpc_cidr                  = "10.83.0.0/24"                         # too small
    gateway_replicas          = 1.5                                    # fraction
    gateway_cidrs             = ["203.0.113.7/24"]                     # host bits
    discovery_schedule        = "cron(0 6 * * *)"                      # unix cron
    discovery_role_arns       = ["models"]                             # name
    alarm_threshold           = 1.5                                    # fraction
    alarm_evaluation_periods  = 1.5                                    # fraction
    alert_cooldown            = 1.5                                    # fraction
    alert_webhook_secret_arn  = "arn:aws:sns:us-east-1:123456789012:t" # topic
    dashboard_name            = ""                                     # empty
    metrics_namespace         = "two words"                            # blank
    log_retention_days        = 0                                      # for ever
    export_schedule           = "cron(0 6 * * *)"                      # unix cron
    report_retention_days     = 3651
  }

  expect_failures = [
    var.name,
    var.notification_email,
    var.image,
    var.tags,
    var.average_request_duration,
    var.minutes_to_process,
    var.max_concurrent_executions,
    var.queue_depth_threshold,
    var.allowed_models,
    var.allowed_source_buckets,
    var.settings_file,
    var.otlp_endpoint,
    var.trace_sample_ratio,
    var.retention_days,
    var.memory,
    var.min_replicas,
    var.backlog_per_replica,
    var.vpc_cidr,
    var.gateway_replicas,
    var.gateway_cidrs,
    var.discovery_schedule,
    var.export_schedule,
    var.report_retention_days,
    var.discovery_role_arns,
    var.alarm_threshold,
    var.alarm_evaluation_periods,
    var.alert_cooldown,
    var.alert_webhook_secret_arn,
    var.dashboard_name,
    var.metrics_namespace,
    var.log_retention_days,
  ]
}

run "third_bad_values" {
  command = plan

  variables {
    name                      = "a_b"                                  # underscore
    notification_email        = "a@example.com,b@example.com"          # two
    image                     = "registry.example.com/smoother:latest" # latest
    minutes_to_process        = 1441                                   # over a day
    max_concurrent_executions = 100001                                 # too many
    queue_depth_threshold     = 100001                                 # too many
    allowed_models            = ["amazon.*,anthropic.*"]               # comma
    allowed_source_buckets    = ["ab"]                                 # short
    settings_file             = "../Cargo.lock"                        # too large
    retention_days            = 3651                                   # over ten years
    memory                    = 1500                                   # between
    vpc_cidr                  = "10.0.0.0/8"                           # too large
    gateway_cidrs             = ["2001:db8::/32"]                      # ipv6
    discovery_schedule        = "rate(0 days)"                         # zero
    alarm_evaluation_periods  = 101                                    # too many
    alert_cooldown            = 604801                                 # too long
    export_schedule           = "rate(0 days)"                         # zero
    report_retention_days     = 1.5
  }

  expect_failures = [
    var.name,
    var.notification_email,
    var.image,
    var.minutes_to_process,
    var.max_concurrent_executions,
    var.queue_depth_threshold,
    var.allowed_models,
    var.allowed_source_buckets,
    var.settings_file,
    var.retention_days,
    var.memory,
    var.vpc_cidr,
    var.gateway_cidrs,
    var.discovery_schedule,
    var.export_schedule,
    var.report_retention_days,
    var.alarm_evaluation_periods,
    var.alert_cooldown,
  ]
}

run "fourth_bad_values" {
  command = plan

  variables {
    name               = "a12345678901234567890123456789012"        # too long
    notification_email = ""                                         # empty
    image              = "registry.example.com/smoother@sha256:abc" # short digest
    allowed_models     = ["arn:aws:s3:::bucket"]                    # other service
    vpc_cidr           = "10.83.0.0"                                # no mask
    gateway_cidrs      = ["203.0.113.0/24", "203.0.113.0/24"]       # twice
  }

  expect_failures = [
    var.name,
    var.notification_email,
    var.image,
    var.allowed_models,
    var.vpc_cidr,
    var.gateway_cidrs,
  ]
}

run "fifth_bad_values" {
  command = plan

  variables {
    name           = ""          # empty
    image          = ""          # empty
    allowed_models = [""]        # empty
    vpc_cidr       = "fd00::/16" # ipv6
  }

  expect_failures = [
    var.name,
    var.image,
    var.allowed_models,
    var.vpc_cidr,
  ]
}

# Rules between two variables: Terraform leaves them out when one of the two is wrong already, so each has its own run.

run "rules_of_two_first_bad_values" {
  command = plan

  variables {
    max_replicas     = 0                                      # zero
    assign_public_ip = false                                  # own network
    certificate_arn  = "12345678-1234-1234-1234-123456789012" # id
  }

  expect_failures = [
    var.max_replicas,
    var.assign_public_ip,
    var.certificate_arn,
  ]
}

run "rules_of_two_second_bad_values" {
  command = plan

  variables {
    max_replicas    = 2.5                                                                                   # fraction
    certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012" # other region
  }

  expect_failures = [
    var.max_replicas,
    var.certificate_arn,
  ]
}

run "cpu_that_fargate_lacks" {
  command = plan

  variables {
    cpu = 300
  }

  expect_failures = [var.cpu]
}

run "name_too_long_for_a_load_balancer" {
  command = plan

  variables {
    gateway_enabled = true
    gateway_cidrs   = ["203.0.113.0/24"]
    name            = "a123456789012345678901234"
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
  }

  expect_failures = [var.name]
}

run "max_replicas_below_min" {
  command = plan

  variables {
    min_replicas = 3
    max_replicas = 2
  }

  expect_failures = [var.max_replicas]
}

run "vpc_id_without_subnets" {
  command = plan

  variables {
    vpc_id = "vpc-0123456789abcdef0"
  }

  expect_failures = [var.vpc_id]
}

run "vpc_id_subnets_without_vpc" {
  command = plan

  variables {
    subnet_ids = ["subnet-0123456789abcdef0"]
  }

  expect_failures = [var.vpc_id]
}

run "subnet_ids_no_ids" {
  command = plan

  variables {
    vpc_id     = "vpc-0123456789abcdef0"
    subnet_ids = ["a", "b"]
  }

  expect_failures = [var.subnet_ids]
}

run "subnet_ids_twice" {
  command = plan

  variables {
    vpc_id     = "vpc-0123456789abcdef0"
    subnet_ids = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef0"]
  }

  expect_failures = [var.subnet_ids]
}

run "subnet_ids_one_for_a_load_balancer" {
  command = plan

  variables {
    gateway_enabled = true
    gateway_cidrs   = ["203.0.113.0/24"]
    vpc_id          = "vpc-0123456789abcdef0"
    subnet_ids      = ["subnet-0123456789abcdef0"]
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
  }

  expect_failures = [var.subnet_ids]
}

run "gateway_cidrs_none_for_a_gateway" {
  command = plan

  variables {
    gateway_enabled = true
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
  }

  expect_failures = [var.gateway_cidrs]
}

# At the edge, and right.
run "unusual_values_are_taken" {
  command = plan

  variables {
    name                      = "a1234567890123456789012345678901"
    aws_region                = "us-gov-west-1"
    notification_email        = "on-call+bedrock@mail.example.co.uk"
    image                     = "localhost:5000/team/smoother:1.0.0-rc.1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    average_request_duration  = 0.001
    minutes_to_process        = 1440
    max_concurrent_executions = 100000
    queue_depth_threshold     = 1
    allowed_models            = ["amazon.nova-lite-v1:0", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", "arn:aws:bedrock:*::foundation-model/amazon.*"]
    retention_days            = 3650
    cpu_architecture          = "X86_64"
    cpu                       = 16384
    memory                    = 122880
    min_replicas              = 4
    max_replicas              = 4
    vpc_cidr                  = "192.168.0.0/23"
    discovery_schedule        = "at(2030-01-31T06:00:00)"
    alarm_evaluation_periods  = 100
    alert_cooldown            = 604800
    log_retention_days        = 3653
  }

  assert {
    condition     = var.memory == 122880
    error_message = "what was given does not count"
  }
}
