variable "deployment" {
  description = "What every name and ARN here is made of: the prefix, the Region, the account, and AWS's partition (aws)."
  type = object({
    name      = string
    region    = string
    account   = string
    partition = string
  })
}

variable "reporting_table" {
  description = "ARN of the table that analysts query."
  type        = object({ arn = string })
}

variable "bucket" {
  description = "Name and ARN of the bucket; exports lie under exports/, results of queries under athena/."
  type        = object({ name = string, arn = string })
}

variable "key_arn" {
  description = "ARN of the KMS key of the bucket."
  type        = string
}
