variable "deployment" {
  description = "What every name and ARN here is made of: the prefix, the Region, the account, and AWS's partition (aws)."
  type = object({
    name      = string
    region    = string
    account   = string
    partition = string
  })
}

variable "deletion_protection" {
  description = "Refuses to delete the tables."
  type        = bool
}
