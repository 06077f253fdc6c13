variable "deployment" {
  description = "What every name and ARN here is made of: the prefix, the Region, the account, and AWS's partition (aws)."
  type = object({
    name      = string
    region    = string
    account   = string
    partition = string
  })
}

variable "task" {
  description = "How the task is run: image, processors, CPU units, memory in MiB, environment, the role that starts it, the key and the days of its logs."
  type = object({
    image              = string
    cpu_architecture   = string
    cpu                = number
    memory             = number
    environment        = map(string)
    execution_role_arn = string
    key_arn            = string
    log_retention_days = number
  })
}

variable "access" {
  description = "Policy documents and model ARNs of the module access."
  type = object({
    records    = string
    key        = string
    metrics    = string
    usage_feed = string
    quotas     = string
    model_arns = list(string)
  })
}

variable "network" {
  description = "Where tasks run: the VPC, its subnets, and whether tasks have public addresses."
  type = object({
    vpc_id           = string
    subnet_ids       = list(string)
    assign_public_ip = bool
  })
}

variable "cluster" {
  description = "Name and ARN of the ECS cluster."
  type = object({
    name = string
    arn  = string
  })
}

variable "queue_arns" {
  description = "ARNs of the queues by use."
  type = object({
    input    = string
    hold     = string
    hold_dlq = string
    results  = string
  })
}

variable "topic_arn" {
  description = "ARN of the topic of the alarms."
  type        = string
}

variable "webhook_secret_arn" {
  description = "ARN of the secret of the alerts' webhook; empty without one."
  type        = string
}

variable "allowed_source_buckets" {
  description = "Names of the buckets that messages may point into."
  type        = list(string)
}

variable "replicas" {
  description = "The fewest and the most workers."
  type        = object({ min = number, max = number })
}

variable "autoscaling" {
  description = "Whether workers are started and stopped by backlog."
  type        = bool
}

variable "backlog_per_replica" {
  description = "How many waiting requests a worker is to have before another is started."
  type        = number
}

variable "metrics_namespace" {
  description = "CloudWatch namespace of the worker's metrics."
  type        = string
}

variable "otlp_endpoint" {
  description = "URL of the collector that traces go to; empty for none."
  type        = string
}
