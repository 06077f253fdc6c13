variable "deployment" {
  description = "What every name and ARN here is made of: the prefix, the Region, the account, and AWS's partition (aws)."
  type = object({
    name      = string
    region    = string
    account   = string
    partition = string
  })
}

variable "tasks" {
  description = "Names of the tasks that run here; each writes to the log group /PREFIX/NAME."
  type        = list(string)
}

variable "secret_arns" {
  description = "ARNs of the secrets that tasks are started with."
  type        = list(string)
}

variable "key_arn" {
  description = "ARN of the KMS key of the secrets."
  type        = string
}
