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
  description = "ARN of the KMS key of the secrets."
  type        = string
}

variable "deletion_protection" {
  description = "Keeps a deleted secret for 30 days; without, it is gone at once and its name free."
  type        = bool
}
