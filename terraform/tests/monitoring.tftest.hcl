# Alarms, topic and dashboard under a mocked AWS.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  deployment               = { name = "smoother", region = "us-east-1", account = "123456789012", partition = "aws" }
  notification_email       = "oncall@example.com"
  key_arn                  = "arn:aws:kms:us-east-1:123456789012:key/k"
  queue_names              = { input = "q-input", input_dlq = "q-input-dlq", hold = "q-hold", hold_dlq = "q-hold-dlq", results = "q-results" }
  minutes_to_process       = 7
  alarm_threshold          = 6
  alarm_evaluation_periods = 2
  dashboard_name           = "bedrock-errors"
  metrics_namespace        = "Smoother/test"
}

run "alarms" {
  module {
    source = "./modules/monitoring"
  }

  assert {
    condition = {
      for alarm in aws_cloudwatch_metric_alarm.this :
      alarm.alarm_name => "${alarm.namespace} ${alarm.metric_name} ${jsonencode(alarm.dimensions)} ${alarm.statistic} ${alarm.period} s ${alarm.comparison_operator} ${alarm.threshold} ${alarm.datapoints_to_alarm}/${alarm.evaluation_periods} ${alarm.treat_missing_data}"
      } == {
      smoother-dead-letters       = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"q-hold-dlq\"} Maximum 60 s GreaterThanThreshold 0 1/1 notBreaching"
      smoother-input-dead-letters = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"q-input-dlq\"} Maximum 60 s GreaterThanThreshold 0 1/1 notBreaching"
      smoother-input-age          = "AWS/SQS ApproximateAgeOfOldestMessage {\"QueueName\":\"q-input\"} Maximum 60 s GreaterThanThreshold 420 3/3 notBreaching"
      smoother-no-worker          = "Smoother/test WorkersAlive {} Sum 60 s LessThanThreshold 1 3/3 breaching"
      smoother-missed-deadlines   = "Smoother/test MissedDeadlines {} Sum 300 s GreaterThanThreshold 0 1/1 notBreaching"
      smoother-budget-reached     = "Smoother/test BudgetsUsedUp {} Maximum 60 s GreaterThanThreshold 0 1/1 notBreaching"
      smoother-delivery-faults    = "Smoother/test PortErrors {} Sum 300 s GreaterThanOrEqualToThreshold 25 1/1 notBreaching"
    }
    error_message = "alarms are otherwise"
  }

  assert {
    condition = {
      for alarm in aws_cloudwatch_metric_alarm.bedrock :
      alarm.alarm_name => "${one(alarm.metric_query).expression} ${one(alarm.metric_query).period} s ${alarm.comparison_operator} ${alarm.threshold} ${alarm.datapoints_to_alarm}/${alarm.evaluation_periods} ${alarm.treat_missing_data}"
      } == {
      smoother-bedrock-client-errors = "SELECT SUM(InvocationClientErrors) FROM SCHEMA(\"AWS/Bedrock\", ModelId) 60 s GreaterThanOrEqualToThreshold 6 2/2 notBreaching"
      smoother-bedrock-server-errors = "SELECT SUM(InvocationServerErrors) FROM SCHEMA(\"AWS/Bedrock\", ModelId) 60 s GreaterThanOrEqualToThreshold 6 2/2 notBreaching"
      smoother-bedrock-throttles     = "SELECT SUM(InvocationThrottles) FROM SCHEMA(\"AWS/Bedrock\", ModelId) 60 s GreaterThanOrEqualToThreshold 6 2/2 notBreaching"
    }
    error_message = "alarms on Bedrock's errors are otherwise"
  }

  assert {
    condition = toset([
      for query in aws_cloudwatch_metric_alarm.backlog_not_draining.metric_query :
      length(query.metric) == 0 ? "${query.id} = ${query.expression}" : "${query.id} = ${query.metric[0].stat} of ${query.metric[0].namespace} ${query.metric[0].metric_name} ${query.metric[0].period} s"
      ]) == toset([
      "stuck = IF(FILL(backlog, 0) > 0 AND FILL(finished, 0) == 0, 1, 0)",
      "backlog = Minimum of Smoother/test Backlog 300 s",
      "finished = Sum of Smoother/test RequestsFinished 300 s",
    ])
    error_message = "backlog-not-draining goes by something else"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.backlog_not_draining.alarm_name == "smoother-backlog-not-draining" && aws_cloudwatch_metric_alarm.backlog_not_draining.evaluation_periods == 3 && aws_cloudwatch_metric_alarm.backlog_not_draining.datapoints_to_alarm == 3 && aws_cloudwatch_metric_alarm.backlog_not_draining.threshold == 1 && aws_cloudwatch_metric_alarm.backlog_not_draining.comparison_operator == "GreaterThanOrEqualToThreshold" && aws_cloudwatch_metric_alarm.backlog_not_draining.treat_missing_data == "notBreaching"
    error_message = "backlog-not-draining has another threshold"
  }

  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.this), values(aws_cloudwatch_metric_alarm.bedrock), [aws_cloudwatch_metric_alarm.backlog_not_draining]) :
      alarm.alarm_actions == toset([aws_sns_topic.alarms.arn]) && alarm.ok_actions == toset([aws_sns_topic.alarms.arn]) && strcontains(alarm.alarm_description, "Look ")
    ])
    error_message = "an alarm tells nobody, or not when it is over, or not what to look at"
  }
}

run "topic" {
  module {
    source = "./modules/monitoring"
  }

  assert {
    condition     = aws_sns_topic.alarms.name == "smoother-alarms" && aws_sns_topic.alarms.kms_master_key_id == var.key_arn
    error_message = "the topic has another name or key"
  }

  assert {
    condition     = aws_sns_topic_subscription.email.protocol == "email" && aws_sns_topic_subscription.email.endpoint == "oncall@example.com"
    error_message = "nobody is told by e-mail"
  }

  assert {
    condition = [
      for s in data.aws_iam_policy_document.topic.statement :
      "${s.effect == null ? "Allow" : s.effect} ${join(" ", flatten([for p in s.principals : p.identifiers]))} ${join(" ", s.actions)} if ${one(s.condition).variable} ${join(" ", one(s.condition).values)}"
      ] == [
      "Deny * sns:Publish if aws:SecureTransport false",
      "Allow cloudwatch.amazonaws.com sns:Publish if aws:SourceAccount 123456789012",
    ]
    error_message = "others may publish alarms, or without TLS"
  }
}

run "dashboard" {
  module {
    source = "./modules/monitoring"
  }

  assert {
    condition     = aws_cloudwatch_dashboard.this.dashboard_name == "bedrock-errors" && !strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "$")
    error_message = "the dashboard has another name, or placeholders were left"
  }

  # No widget sticks out of the 24 columns.
  assert {
    condition     = alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.x >= 0 && widget.x + widget.width <= 24])
    error_message = "a widget sticks out"
  }

  # Every row of the grid is filled once: rows of widgets of one height, side by side from 0 to 24.
  assert {
    condition = alltrue([
      for y in distinct([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.y]) :
      sum([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.width if widget.y == y]) == 24 &&
      length(distinct([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget.height if widget.y == y])) == 1
    ])
    error_message = "widgets overlap or leave holes"
  }

  assert {
    condition = alltrue([
      for metric in ["InvocationClientErrors", "InvocationServerErrors", "InvocationThrottles", "TokenQuotaUse", "RequestQuotaUse", "Backlog", "OldestWait", "Wait", "CostUsd", "RequestsFinished", "WorkersAlive", "PortErrors", "MissedDeadlines", "BudgetsUsedUp", "q-hold-dlq", "q-input-dlq", "q-results"] :
      strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "\"${metric}\"") || strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "MetricName=\\\"${metric}\\\"")
    ])
    error_message = "something is not on the dashboard"
  }
}
