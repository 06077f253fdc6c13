# Every rule of the variables, by a value that breaks it. A run fails when its value is taken, or when another rule refuses it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  notification_email = "oncall@example.com"
  image              = "123456789012.dkr.ecr.us-east-1.amazonaws.com/smoother:1.0.0"
}

run "aws_region_place" {
  command = plan

  variables {
    aws_region = "virginia"
  }

  expect_failures = [var.aws_region]
}

run "name_capital" {
  command = plan

  variables {
    name = "Smoother"
  }

  expect_failures = [var.name]
}

run "name_digit_first" {
  command = plan

  variables {
    name = "9lives"
  }

  expect_failures = [var.name]
}

run "name_underscore" {
  command = plan

  variables {
    name = "a_b"
  }

  expect_failures = [var.name]
}

run "name_too_long" {
  command = plan

  variables {
    name = "a12345678901234567890123456789012"
  }

  expect_failures = [var.name]
}

run "name_empty" {
  command = plan

  variables {
    name = ""
  }

  expect_failures = [var.name]
}

run "notification_email_no_at" {
  command = plan

  variables {
    notification_email = "oncall"
  }

  expect_failures = [var.notification_email]
}

run "notification_email_no_domain" {
  command = plan

  variables {
    notification_email = "oncall@localhost"
  }

  expect_failures = [var.notification_email]
}

run "notification_email_two" {
  command = plan

  variables {
    notification_email = "a@example.com,b@example.com"
  }

  expect_failures = [var.notification_email]
}

run "notification_email_empty" {
  command = plan

  variables {
    notification_email = ""
  }

  expect_failures = [var.notification_email]
}

run "image_no_tag" {
  command = plan

  variables {
    image = "registry.example.com/smoother"
  }

  expect_failures = [var.image]
}

run "image_port_is_no_tag" {
  command = plan

  variables {
    image = "registry.example.com:5000/smoother"
  }

  expect_failures = [var.image]
}

run "image_latest" {
  command = plan

  variables {
    image = "registry.example.com/smoother:latest"
  }

  expect_failures = [var.image]
}

run "image_short_digest" {
  command = plan

  variables {
    image = "registry.example.com/smoother@sha256:abc"
  }

  expect_failures = [var.image]
}

run "image_empty" {
  command = plan

  variables {
    image = ""
  }

  expect_failures = [var.image]
}

run "tags_reserved" {
  command = plan

  variables {
    tags = { "aws:thing" = "x" }
  }

  expect_failures = [var.tags]
}

run "tags_empty_key" {
  command = plan

  variables {
    tags = { "" = "x" }
  }

  expect_failures = [var.tags]
}

run "average_request_duration_zero" {
  command = plan

  variables {
    average_request_duration = 0
  }

  expect_failures = [var.average_request_duration]
}

run "average_request_duration_over_an_hour" {
  command = plan

  variables {
    average_request_duration = 3601
  }

  expect_failures = [var.average_request_duration]
}

run "minutes_to_process_zero" {
  command = plan

  variables {
    minutes_to_process = 0
  }

  expect_failures = [var.minutes_to_process]
}

run "minutes_to_process_fraction" {
  command = plan

  variables {
    minutes_to_process = 1.5
  }

  expect_failures = [var.minutes_to_process]
}

run "minutes_to_process_over_a_day" {
  command = plan

  variables {
    minutes_to_process = 1441
  }

  expect_failures = [var.minutes_to_process]
}

run "max_concurrent_executions_zero" {
  command = plan

  variables {
    max_concurrent_executions = 0
  }

  expect_failures = [var.max_concurrent_executions]
}

run "max_concurrent_executions_fraction" {
  command = plan

  variables {
    max_concurrent_executions = 1.5
  }

  expect_failures = [var.max_concurrent_executions]
}

run "max_concurrent_executions_too_many" {
  command = plan

  variables {
    max_concurrent_executions = 100001
  }

  expect_failures = [var.max_concurrent_executions]
}

run "queue_depth_threshold_zero" {
  command = plan

  variables {
    queue_depth_threshold = 0
  }

  expect_failures = [var.queue_depth_threshold]
}

run "queue_depth_threshold_fraction" {
  command = plan

  variables {
    queue_depth_threshold = 1.5
  }

  expect_failures = [var.queue_depth_threshold]
}

run "queue_depth_threshold_too_many" {
  command = plan

  variables {
    queue_depth_threshold = 100001
  }

  expect_failures = [var.queue_depth_threshold]
}

run "allowed_models_none" {
  command = plan

  variables {
    allowed_models = []
  }

  expect_failures = [var.allowed_models]
}

run "allowed_models_space" {
  command = plan

  variables {
    allowed_models = ["amazon nova"]
  }

  expect_failures = [var.allowed_models]
}

run "allowed_models_comma" {
  command = plan

  variables {
    allowed_models = ["amazon.*,anthropic.*"]
  }

  expect_failures = [var.allowed_models]
}

run "allowed_models_other_service" {
  command = plan

  variables {
    allowed_models = ["arn:aws:s3:::bucket"]
  }

  expect_failures = [var.allowed_models]
}

run "allowed_models_empty" {
  command = plan

  variables {
    allowed_models = [""]
  }

  expect_failures = [var.allowed_models]
}

run "allowed_source_buckets_arn" {
  command = plan

  variables {
    allowed_source_buckets = ["arn:aws:s3:::their-bucket"]
  }

  expect_failures = [var.allowed_source_buckets]
}

run "allowed_source_buckets_capital" {
  command = plan

  variables {
    allowed_source_buckets = ["Their-Bucket"]
  }

  expect_failures = [var.allowed_source_buckets]
}

run "allowed_source_buckets_short" {
  command = plan

  variables {
    allowed_source_buckets = ["ab"]
  }

  expect_failures = [var.allowed_source_buckets]
}

run "settings_file_missing" {
  command = plan

  variables {
    settings_file = "no-such-file.toml"
  }

  expect_failures = [var.settings_file]
}

run "settings_file_folder" {
  command = plan

  variables {
    settings_file = "tests"
  }

  expect_failures = [var.settings_file]
}

run "retention_days_zero" {
  command = plan

  variables {
    retention_days = 0
  }

  expect_failures = [var.retention_days]
}

run "retention_days_fraction" {
  command = plan

  variables {
    retention_days = 0.5
  }

  expect_failures = [var.retention_days]
}

run "retention_days_over_ten_years" {
  command = plan

  variables {
    retention_days = 3651
  }

  expect_failures = [var.retention_days]
}

run "cpu_architecture_alias" {
  command = plan

  variables {
    cpu_architecture = "arm64"
  }

  expect_failures = [var.cpu_architecture]
}

run "cpu_between" {
  command = plan

  variables {
    cpu = 300
  }

  expect_failures = [var.cpu]
}

run "memory_too_little" {
  command = plan

  variables {
    memory = 512
  }

  expect_failures = [var.memory]
}

run "memory_too_much" {
  command = plan

  variables {
    memory = 5120
  }

  expect_failures = [var.memory]
}

run "memory_between" {
  command = plan

  variables {
    memory = 1500
  }

  expect_failures = [var.memory]
}

run "min_replicas_zero" {
  command = plan

  variables {
    min_replicas = 0
  }

  expect_failures = [var.min_replicas]
}

run "min_replicas_fraction" {
  command = plan

  variables {
    min_replicas = 1.5
  }

  expect_failures = [var.min_replicas]
}

run "max_replicas_zero" {
  command = plan

  variables {
    max_replicas = 0
  }

  expect_failures = [var.max_replicas]
}

run "max_replicas_fraction" {
  command = plan

  variables {
    max_replicas = 2.5
  }

  expect_failures = [var.max_replicas]
}

run "backlog_per_replica_zero" {
  command = plan

  variables {
    backlog_per_replica = 0
  }

  expect_failures = [var.backlog_per_replica]
}

run "backlog_per_replica_fraction" {
  command = plan

  variables {
    backlog_per_replica = 1.5
  }

  expect_failures = [var.backlog_per_replica]
}

run "vpc_id_name" {
  command = plan

  variables {
    vpc_id = "default"
  }

  expect_failures = [var.vpc_id]
}

run "vpc_cidr_host_bits" {
  command = plan

  variables {
    vpc_cidr = "10.83.0.1/16"
  }

  expect_failures = [var.vpc_cidr]
}

run "vpc_cidr_too_small" {
  command = plan

  variables {
    vpc_cidr = "10.83.0.0/24"
  }

  expect_failures = [var.vpc_cidr]
}

run "vpc_cidr_too_large" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0/8"
  }

  expect_failures = [var.vpc_cidr]
}

run "vpc_cidr_no_mask" {
  command = plan

  variables {
    vpc_cidr = "10.83.0.0"
  }

  expect_failures = [var.vpc_cidr]
}

run "vpc_cidr_ipv6" {
  command = plan

  variables {
    vpc_cidr = "fd00::/16"
  }

  expect_failures = [var.vpc_cidr]
}

run "assign_public_ip_own_network" {
  command = plan

  variables {
    assign_public_ip = false
  }

  expect_failures = [var.assign_public_ip]
}

run "gateway_replicas_zero" {
  command = plan

  variables {
    gateway_replicas = 0
  }

  expect_failures = [var.gateway_replicas]
}

run "gateway_replicas_fraction" {
  command = plan

  variables {
    gateway_replicas = 1.5
  }

  expect_failures = [var.gateway_replicas]
}

run "gateway_cidrs_address" {
  command = plan

  variables {
    gateway_cidrs = ["203.0.113.7"]
  }

  expect_failures = [var.gateway_cidrs]
}

run "gateway_cidrs_host_bits" {
  command = plan

  variables {
    gateway_cidrs = ["203.0.113.7/24"]
  }

  expect_failures = [var.gateway_cidrs]
}

run "gateway_cidrs_ipv6" {
  command = plan

  variables {
    gateway_cidrs = ["2001:db8::/32"]
  }

  expect_failures = [var.gateway_cidrs]
}

run "gateway_cidrs_twice" {
  command = plan

  variables {
    gateway_cidrs = ["203.0.113.0/24", "203.0.113.0/24"]
  }

  expect_failures = [var.gateway_cidrs]
}

run "certificate_arn_id" {
  command = plan

  variables {
    certificate_arn = "12345678-1234-1234-1234-123456789012"
  }

  expect_failures = [var.certificate_arn]
}

run "certificate_arn_other_region" {
  command = plan

  variables {
    certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
  }

  expect_failures = [var.certificate_arn]
}

run "discovery_schedule_words" {
  command = plan

  variables {
    discovery_schedule = "every day"
  }

  expect_failures = [var.discovery_schedule]
}

run "discovery_schedule_unix_cron" {
  command = plan

  variables {
    discovery_schedule = "cron(0 6 * * *)"
  }

  expect_failures = [var.discovery_schedule]
}

run "discovery_schedule_zero" {
  command = plan

  variables {
    discovery_schedule = "rate(0 days)"
  }

  expect_failures = [var.discovery_schedule]
}

run "discovery_role_arns_user" {
  command = plan

  variables {
    discovery_role_arns = ["arn:aws:iam::123456789012:user/someone"]
  }

  expect_failures = [var.discovery_role_arns]
}

run "discovery_role_arns_name" {
  command = plan

  variables {
    discovery_role_arns = ["models"]
  }

  expect_failures = [var.discovery_role_arns]
}

run "alarm_threshold_zero" {
  command = plan

  variables {
    alarm_threshold = 0
  }

  expect_failures = [var.alarm_threshold]
}

run "alarm_threshold_fraction" {
  command = plan

  variables {
    alarm_threshold = 1.5
  }

  expect_failures = [var.alarm_threshold]
}

run "alarm_evaluation_periods_zero" {
  command = plan

  variables {
    alarm_evaluation_periods = 0
  }

  expect_failures = [var.alarm_evaluation_periods]
}

run "alarm_evaluation_periods_fraction" {
  command = plan

  variables {
    alarm_evaluation_periods = 1.5
  }

  expect_failures = [var.alarm_evaluation_periods]
}

run "alarm_evaluation_periods_too_many" {
  command = plan

  variables {
    alarm_evaluation_periods = 101
  }

  expect_failures = [var.alarm_evaluation_periods]
}

run "dashboard_name_dot" {
  command = plan

  variables {
    dashboard_name = "bedrock.errors"
  }

  expect_failures = [var.dashboard_name]
}

run "dashboard_name_empty" {
  command = plan

  variables {
    dashboard_name = ""
  }

  expect_failures = [var.dashboard_name]
}

run "log_retention_days_between" {
  command = plan

  variables {
    log_retention_days = 100
  }

  expect_failures = [var.log_retention_days]
}

run "log_retention_days_for_ever" {
  command = plan

  variables {
    log_retention_days = 0
  }

  expect_failures = [var.log_retention_days]
}

run "name_too_long_for_a_load_balancer" {
  command = plan

  variables {
    gateway_enabled = true
    gateway_cidrs   = ["203.0.113.0/24"]
    name            = "a123456789012345678901234"
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
  }

  expect_failures = [var.subnet_ids]
}

run "gateway_cidrs_none_for_a_gateway" {
  command = plan

  variables {
    gateway_enabled = true
  }

  expect_failures = [var.gateway_cidrs]
}
