variable "deployment" {
  description = "What every name and ARN here is made of: the prefix, the Region, the account, and AWS's partition (aws)."
  type = object({
    name      = string
    region    = string
    account   = string
    partition = string
  })
}

variable "key_arn" {
  description = "ARN of the KMS key of the bodies."
  type        = string
}

variable "retention_days" {
  description = "How many days bodies are kept."
  type        = number
}
