variable "deployment" {
  description = "What every name and ARN here is made of: the prefix, the Region, the account, and AWS's partition (aws)."
  type = object({
    name      = string
    region    = string
    account   = string
    partition = string
  })
}

variable "notification_email" {
  description = "Who receives the alarms."
  type        = string
}

variable "key_arn" {
  description = "ARN of the KMS key of the topic."
  type        = string
}

variable "queue_names" {
  description = "Names of the queues by use."
  type = object({
    input     = string
    input_dlq = string
    hold      = string
    hold_dlq  = string
    results   = string
  })
}

variable "minutes_to_process" {
  description = "Age in minutes from which on input raises an alarm."
  type        = number
}

variable "alarm_threshold" {
  description = "How many Bedrock errors of one kind in a minute raise an alarm."
  type        = number
}

variable "alarm_evaluation_periods" {
  description = "For how many minutes in a row."
  type        = number
}

variable "dashboard_name" {
  description = "Name of the dashboard."
  type        = string
}

variable "metrics_namespace" {
  description = "CloudWatch namespace of the worker's metrics."
  type        = string
}
