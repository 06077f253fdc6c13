data "aws_iam_policy_document" "worker" {
  source_policy_documents = [var.access.records, var.access.key, var.access.metrics, var.access.usage_feed, var.access.quotas]

  statement {
    sid       = "Input"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
    resources = [var.queue_arns.input]
  }

  statement {
    sid       = "Hold"
    actions   = ["sqs:ReceiveMessage", "sqs:SendMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
    resources = [var.queue_arns.hold]
  }

  # SQS moves most messages there by itself; a request that was lost in an earlier pass is buried by the worker.
  statement {
    sid       = "DeadLetters"
    actions   = ["sqs:ReceiveMessage", "sqs:SendMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
    resources = [var.queue_arns.hold_dlq]
  }

  statement {
    sid       = "Results"
    actions   = ["sqs:SendMessage"]
    resources = [var.queue_arns.results]
  }

  dynamic "statement" {
    for_each = length(var.allowed_source_buckets) == 0 ? [] : [1]

    content {
      sid       = "Sources"
      actions   = ["s3:GetObject"]
      resources = [for bucket in var.allowed_source_buckets : "arn:${var.deployment.partition}:s3:::${bucket}/*"]
    }
  }

  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [var.topic_arn]
  }

  statement {
    sid       = "Models"
    actions   = ["bedrock:InvokeModel"]
    resources = var.access.model_arns
  }
}
