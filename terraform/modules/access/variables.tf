variable "deployment" {
  description = "What every name and ARN here is made of: the prefix, the Region, the account, and AWS's partition (aws)."
  type = object({
    name      = string
    region    = string
    account   = string
    partition = string
  })
}

variable "requests_table" {
  description = "ARNs of the table of requests and of its index of the backlog."
  type        = object({ arn = string, index_arn = string })
}

variable "reporting_table" {
  description = "ARN of the table that analysts query."
  type        = object({ arn = string })
}

variable "bucket" {
  description = "ARN of the bucket of bodies."
  type        = object({ arn = string })
}

variable "key_arn" {
  description = "ARN of the KMS key of the bucket and the topic."
  type        = string
}

variable "allowed_models" {
  description = "Models that may be called: ids, patterns with *, or ARNs."
  type        = list(string)
}

variable "usage_feed" {
  description = "Whether what others use of the quotas is read from CloudWatch."
  type        = bool
}

variable "metrics_namespace" {
  description = "CloudWatch namespace of the worker's metrics."
  type        = string
}
