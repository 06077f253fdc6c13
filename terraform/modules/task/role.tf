# What the code in the task may do.

resource "aws_iam_role" "this" {
  name               = local.name
  description        = "The code of ${local.name} runs with it"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "this" {
  name   = aws_iam_role.this.name
  role   = aws_iam_role.this.id
  policy = var.policy
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    # No other account's task can be given this role.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.deployment.account]
    }
  }
}
