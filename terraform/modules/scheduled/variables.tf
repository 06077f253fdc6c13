variable "deployment" {
  description = "What every name and ARN here is made of: the prefix, the Region, the account, and AWS's partition (aws)."
  type = object({
    name      = string
    region    = string
    account   = string
    partition = string
  })
}

variable "name" {
  description = "Name of the task: discovery or export."
  type        = string
}

variable "description" {
  description = "What it does, in a few words."
  type        = string
}

variable "command" {
  description = "Arguments of the image's entry point."
  type        = list(string)
}

variable "policy" {
  description = "Policy document of what the code in the task may do."
  type        = string
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

variable "security_group_id" {
  description = "Security group of the task: no ingress, HTTPS out."
  type        = string
}

variable "schedule" {
  description = "When to run, as an EventBridge Scheduler expression."
  type        = string
}
