variable "deployment" {
  description = "What every name and ARN here is made of: the prefix, the Region, the account, and AWS's partition (aws)."
  type = object({
    name      = string
    region    = string
    account   = string
    partition = string
  })
}

variable "cidr" {
  description = "IPv4 range of the VPC."
  type        = string
}

variable "availability_zones" {
  description = "Names of the zones; the first two are used."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) >= 2
    error_message = "availability_zones is ${jsonencode(var.availability_zones)}: the Region offers fewer than two zones to this account. Use another Region, or an existing network by vpc_id and subnet_ids."
  }
}
