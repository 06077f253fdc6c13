# Errors that Bedrock counts, over all models of the account, by Metrics Insights: the metrics have the dimension ModelId only,
# and which models will be called is not known here.

locals {
  bedrock_alarms = {
    bedrock-client-errors = {
      metric      = "InvocationClientErrors"
      description = "Bedrock refused calls as wrong: access to a model, a model id, a malformed request. Look at the errors by model on the dashboard first, then at the worker's log for the reason."
    }

    bedrock-server-errors = {
      metric      = "InvocationServerErrors"
      description = "Bedrock failed calls on its side; they are repeated. Look at the errors by model on the dashboard and at the AWS Health Dashboard first."
    }

    bedrock-throttles = {
      metric      = "InvocationThrottles"
      description = "Bedrock throttled calls on this account; throttled requests are repeated and not lost. Look at the quota use by lane and at the use by others on the account first."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "bedrock" {
  for_each = local.bedrock_alarms

  alarm_name          = "${var.deployment.name}-${each.key}"
  alarm_description   = each.value.description
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.alarm_threshold
  evaluation_periods  = var.alarm_evaluation_periods
  datapoints_to_alarm = var.alarm_evaluation_periods
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "errors"
    label       = each.value.metric
    expression  = "SELECT SUM(${each.value.metric}) FROM SCHEMA(\"AWS/Bedrock\", ModelId)"
    period      = 60
    return_data = true
  }
}
