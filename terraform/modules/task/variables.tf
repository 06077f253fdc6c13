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
  description = "Name of the task: worker, gateway, discovery or export."
  type        = string
}

variable "image" {
  description = "Container image."
  type        = string
}

variable "command" {
  description = "Arguments of the image's entry point."
  type        = list(string)
}

variable "cpu_architecture" {
  description = "ARM64 or X86_64."
  type        = string
}

variable "cpu" {
  description = "CPU units; 1024 are one vCPU."
  type        = number
}

variable "memory" {
  description = "Memory in MiB."
  type        = number
}

variable "environment" {
  description = "Environment variables."
  type        = map(string)
}

variable "secrets" {
  description = "Environment variables whose values are in Secrets Manager: ARNs by name."
  type        = map(string)
  default     = {}
}

variable "port" {
  description = "TCP port that the container listens on for others; null for none."
  type        = number
  default     = null
}

variable "health_command" {
  description = "Command in the container that tells whether it is healthy; null when something else finds out."
  type        = list(string)
  default     = null
}

variable "execution_role_arn" {
  description = "ARN of the role by which ECS starts the task."
  type        = string
}

variable "policy" {
  description = "Policy document of what the code in the task may do."
  type        = string
}

variable "key_arn" {
  description = "ARN of the KMS key of the logs."
  type        = string
}

variable "log_retention_days" {
  description = "How many days logs are kept."
  type        = number
}
