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

variable "input_queue_arn" {
  description = "ARN of the queue that producers send to."
  type        = string
}

variable "admin_secret_arn" {
  description = "ARN of the secret of the admin key."
  type        = string
}

variable "replicas" {
  description = "How many tasks run."
  type        = number
}

variable "cidrs" {
  description = "IPv4 ranges that may reach the load balancer."
  type        = list(string)
}

variable "certificate_arn" {
  description = "ACM certificate for HTTPS; \"\" for plain HTTP."
  type        = string
}

variable "deletion_protection" {
  description = "Refuses to delete the load balancer."
  type        = bool
}
