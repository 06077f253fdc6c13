data "aws_iam_policy_document" "gateway" {
  source_policy_documents = [var.access.records, var.access.key, var.access.metrics, var.access.usage_feed, var.access.quotas]

  statement {
    sid       = "Input"
    actions   = ["sqs:SendMessage"]
    resources = [var.input_queue_arn]
  }

  statement {
    sid       = "Models"
    actions   = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]
    resources = var.access.model_arns
  }
}
