# Names, times and receives are those of src/aws/schema.rs, which `smoother schema` prints.

locals {
  queues = {
    input     = { name = "${var.deployment.name}-input", dead_letters = "input_dlq", max_receives = 5 }
    input_dlq = { name = "${var.deployment.name}-input-dlq", dead_letters = null, max_receives = null }
    results   = { name = "${var.deployment.name}-bedrock-results", dead_letters = null, max_receives = null }
    hold      = { name = "${var.deployment.name}-hold-next-batch", dead_letters = "hold_dlq", max_receives = 3 }
    hold_dlq  = { name = "${var.deployment.name}-hold-next-batch-dlq", dead_letters = null, max_receives = null }
  }

  with_dead_letters = { for key, queue in local.queues : key => queue if queue.dead_letters != null }
}

resource "aws_sqs_queue" "this" {
  for_each = local.queues

  name                       = each.value.name
  visibility_timeout_seconds = 60
  message_retention_seconds  = 14 * 24 * 3600
  max_message_size           = 256 * 1024

  # Not with the key of the deployment: producers would each need a permission on it.
  sqs_managed_sse_enabled = true
}

resource "aws_sqs_queue_redrive_policy" "this" {
  for_each = local.with_dead_letters

  queue_url = aws_sqs_queue.this[each.key].id

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.this[each.value.dead_letters].arn
    maxReceiveCount     = each.value.max_receives
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "this" {
  for_each = local.with_dead_letters

  queue_url = aws_sqs_queue.this[each.value.dead_letters].id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this[each.key].arn]
  })
}

resource "aws_sqs_queue_policy" "this" {
  for_each = local.queues

  queue_url = aws_sqs_queue.this[each.key].id
  policy    = data.aws_iam_policy_document.tls_only[each.key].json
}

data "aws_iam_policy_document" "tls_only" {
  for_each = local.queues

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.this[each.key].arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}
