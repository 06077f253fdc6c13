data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:Subnets stay in the zones they were made in, whatever is added

  state = "available"

  # Without local zones, which lack most of what is used here.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  deployment = {
    name      = var.name
    region    = var.aws_region
    account   = data.aws_caller_identity.current.account_id
    partition = data.aws_partition.current.partition
  }

  gateway   = var.gateway_enabled ? 1 : 0
  discovery = var.discovery_schedule == "" ? 0 : 1
  export    = var.export_schedule == "" ? 0 : 1
  analytics = var.analytics_enabled ? 1 : 0
  new_vpc   = var.vpc_id == "" ? 1 : 0

  network = {
    vpc_id           = var.vpc_id == "" ? one(module.network[*].vpc_id) : var.vpc_id
    subnet_ids       = var.vpc_id == "" ? one(module.network[*].subnet_ids) : var.subnet_ids
    assign_public_ip = var.assign_public_ip
  }

  # What all tasks are run with.
  task = {
    image              = var.image
    cpu_architecture   = var.cpu_architecture
    cpu                = var.cpu
    memory             = var.memory
    environment        = local.environment
    execution_role_arn = module.cluster.execution_role_arn
    key_arn            = module.encryption.key_arn
    log_retention_days = var.log_retention_days
  }
}

module "encryption" {
  source = "./modules/encryption"

  deployment          = local.deployment
  deletion_protection = var.deletion_protection
}

module "queues" {
  source = "./modules/queues"

  deployment = local.deployment
}

module "tables" {
  source = "./modules/tables"

  deployment          = local.deployment
  deletion_protection = var.deletion_protection
}

module "payloads" {
  source = "./modules/payloads"

  deployment     = local.deployment
  key_arn        = module.encryption.key_arn
  retention_days = var.retention_days
}

module "network" {
  source = "./modules/network"
  count  = local.new_vpc

  deployment         = local.deployment
  cidr               = var.vpc_cidr
  availability_zones = data.aws_availability_zones.available.names
}

module "secrets" {
  source = "./modules/secrets"
  count  = local.gateway

  deployment          = local.deployment
  key_arn             = module.encryption.key_arn
  deletion_protection = var.deletion_protection
}

module "access" {
  source = "./modules/access"

  deployment      = local.deployment
  requests_table  = module.tables.requests
  reporting_table = module.tables.reporting
  bucket          = module.payloads.bucket
  key_arn         = module.encryption.key_arn
  allowed_models  = var.allowed_models
  usage_feed      = var.usage_feed

  metrics_namespace = var.metrics_namespace
}

module "cluster" {
  source = "./modules/cluster"

  deployment  = local.deployment
  key_arn     = module.encryption.key_arn
  tasks       = concat(["worker"], var.gateway_enabled ? ["gateway"] : [], var.discovery_schedule == "" ? [] : ["discovery"], var.export_schedule == "" ? [] : ["export"])
  secret_arns = concat(module.secrets[*].admin_key_arn, var.alert_webhook_secret_arn == "" ? [] : [var.alert_webhook_secret_arn])
}

module "worker" {
  source = "./modules/worker"

  deployment             = local.deployment
  task                   = local.task
  access                 = module.access
  network                = local.network
  cluster                = module.cluster
  queue_arns             = module.queues.arns
  topic_arn              = module.monitoring.topic_arn
  webhook_secret_arn     = var.alert_webhook_secret_arn
  allowed_source_buckets = var.allowed_source_buckets
  replicas               = { min = var.min_replicas, max = var.max_replicas }
  autoscaling            = var.autoscaling
  backlog_per_replica    = var.backlog_per_replica
  metrics_namespace      = var.metrics_namespace
  otlp_endpoint          = var.otlp_endpoint
}

module "gateway" {
  source = "./modules/gateway"
  count  = local.gateway

  deployment          = local.deployment
  task                = local.task
  access              = module.access
  network             = local.network
  cluster             = module.cluster
  input_queue_arn     = module.queues.arns.input
  admin_secret_arn    = one(module.secrets[*].admin_key_arn)
  replicas            = var.gateway_replicas
  cidrs               = var.gateway_cidrs
  certificate_arn     = var.certificate_arn
  deletion_protection = var.deletion_protection
}

module "discovery" {
  source = "./modules/discovery"
  count  = local.discovery

  deployment        = local.deployment
  task              = local.task
  access            = module.access
  network           = local.network
  cluster           = module.cluster
  security_group_id = module.worker.security_group_id
  schedule          = var.discovery_schedule
  role_arns         = var.discovery_role_arns
  bucket_arn        = module.payloads.bucket.arn
}

module "export" {
  source = "./modules/export"
  count  = local.export

  deployment        = local.deployment
  task              = local.task
  access            = module.access
  network           = local.network
  cluster           = module.cluster
  security_group_id = module.worker.security_group_id
  schedule          = var.export_schedule
  reporting_table   = module.tables.reporting
  bucket            = module.payloads.bucket
}

module "analytics" {
  source = "./modules/analytics"
  count  = local.analytics

  deployment      = local.deployment
  reporting_table = module.tables.reporting
  bucket          = module.payloads.bucket
  key_arn         = module.encryption.key_arn
}

module "monitoring" {
  source = "./modules/monitoring"

  deployment               = local.deployment
  notification_email       = var.notification_email
  key_arn                  = module.encryption.key_arn
  queue_names              = module.queues.names
  minutes_to_process       = var.minutes_to_process
  alarm_threshold          = var.alarm_threshold
  alarm_evaluation_periods = var.alarm_evaluation_periods
  dashboard_name           = var.dashboard_name
  metrics_namespace        = var.metrics_namespace
}
