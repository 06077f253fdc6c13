# Alarms of the pipeline. Each says what it means and what to look at first; the dashboard has the same names.

locals {
  alarms = {
    dead-letters = {
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = var.queue_names.hold_dlq }
      statistic   = "Maximum"
      period      = 60
      periods     = 1
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
      description = "Requests took workers down again and again, ended as FAILED and are in ${var.queue_names.hold_dlq}, for 14 days. Look with smoother dlq list first; smoother dlq redrive puts them back into line when the cause is gone, smoother dlq purge ends this alarm."
    }

    input-dead-letters = {
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = var.queue_names.input_dlq }
      statistic   = "Maximum"
      period      = 60
      periods     = 1
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
      description = "Input messages could not be taken in five times and are in ${var.queue_names.input_dlq}. They are kept for 14 days. Look at the worker's log for faults of tables and bucket first; redrive them to the input queue when the cause is gone."
    }

    input-age = {
      namespace   = "AWS/SQS"
      metric      = "ApproximateAgeOfOldestMessage"
      dimensions  = { QueueName = var.queue_names.input }
      statistic   = "Maximum"
      period      = 60
      periods     = 3
      comparison  = "GreaterThanThreshold"
      threshold   = var.minutes_to_process * 60
      missing     = "notBreaching"
      description = "Messages wait in ${var.queue_names.input} for more than ${var.minutes_to_process} minutes without being taken in, which does not depend on Bedrock. Look at whether workers are alive first, then at faults of tables and bucket in their log."
    }

    no-worker = {
      namespace   = var.metrics_namespace
      metric      = "WorkersAlive"
      dimensions  = {}
      statistic   = "Sum"
      period      = 60
      periods     = 3
      comparison  = "LessThanThreshold"
      threshold   = 1
      missing     = "breaching"
      description = "No worker has said for three minutes that it is alive; nothing is worked on, and nothing is lost. Look at the events and stopped tasks of the ECS service ${var.deployment.name}-worker first."
    }

    missed-deadlines = {
      namespace   = var.metrics_namespace
      metric      = "MissedDeadlines"
      dimensions  = {}
      statistic   = "Sum"
      period      = 300
      periods     = 1
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
      description = "Requests ended after their deadline, or expired before they were called. Look at quota use and backlog by priority on the dashboard first: with quota in full use there is more work than quota."
    }

    budget-reached = {
      namespace   = var.metrics_namespace
      metric      = "BudgetsUsedUp"
      dimensions  = {}
      statistic   = "Maximum"
      period      = 60
      periods     = 1
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
      description = "A budget in dollars has no room left; what it covers waits, is rejected or is downgraded, as its policy says. Look with smoother status first, which budget it is; then raise it or let the work wait for the next day or month."
    }

    delivery-faults = {
      namespace   = var.metrics_namespace
      metric      = "PortErrors"
      dimensions  = {}
      statistic   = "Sum"
      period      = 300
      periods     = 1
      comparison  = "GreaterThanOrEqualToThreshold"
      threshold   = 25
      missing     = "notBreaching"
      description = "Queues, tables, the bucket or the topic refused 25 calls or more in five minutes; they are repeated and nothing is lost. Look at the worker's log for which one and why first."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.deployment.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.periods
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# A backlog is no fault: it is what the system is for. One that nothing is taken from is.
resource "aws_cloudwatch_metric_alarm" "backlog_not_draining" {
  alarm_name          = "${var.deployment.name}-backlog-not-draining"
  alarm_description   = "Requests have waited for 15 minutes and not one has finished. Look at Bedrock's errors and throttles and at the budgets on the dashboard first, then at the worker's log for pauses."
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  evaluation_periods  = 3
  datapoints_to_alarm = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "stuck"
    label       = "Backlog and nothing finished"
    expression  = "IF(FILL(backlog, 0) > 0 AND FILL(finished, 0) == 0, 1, 0)"
    return_data = true
  }

  metric_query {
    id          = "backlog"
    return_data = false

    metric {
      namespace   = var.metrics_namespace
      metric_name = "Backlog"
      stat        = "Minimum"
      period      = 300
    }
  }

  metric_query {
    id          = "finished"
    return_data = false

    metric {
      namespace   = var.metrics_namespace
      metric_name = "RequestsFinished"
      stat        = "Sum"
      period      = 300
    }
  }
}
