# The settings of the tasks, as docs/configuration.md names them. They count more than settings_file.

locals {
  environment = merge(
    {
      SMOOTHER_AWS_REGION                = var.aws_region
      SMOOTHER_AVERAGE_REQUEST_DURATION  = "${var.average_request_duration}s"
      SMOOTHER_MINUTES_TO_PROCESS        = tostring(var.minutes_to_process)
      SMOOTHER_MAX_CONCURRENT_EXECUTIONS = tostring(var.max_concurrent_executions)
      SMOOTHER_ALARM_THRESHOLD           = tostring(var.alarm_threshold)
      SMOOTHER_ALARM_EVALUATION_PERIODS  = tostring(var.alarm_evaluation_periods)
      SMOOTHER_ALERT_COOLDOWN            = "${var.alert_cooldown}s"
      SMOOTHER_DASHBOARD_NAME            = var.dashboard_name
      SMOOTHER_METRICS_NAMESPACE         = var.metrics_namespace
      SMOOTHER_QUEUE_DEPTH_THRESHOLD     = tostring(var.queue_depth_threshold)
      SMOOTHER_INPUT_QUEUE_URL           = module.queues.urls.input
      SMOOTHER_RESULTS_QUEUE_URL         = module.queues.urls.results
      SMOOTHER_HOLD_QUEUE_URL            = module.queues.urls.hold
      SMOOTHER_DLQ_URL                   = module.queues.urls.hold_dlq
      SMOOTHER_REQUESTS_TABLE            = module.tables.requests.name
      SMOOTHER_REPORTING_TABLE           = module.tables.reporting.name
      SMOOTHER_BUCKET                    = module.payloads.bucket.name
      SMOOTHER_ALARM_TOPIC_ARN           = module.monitoring.topic_arn
      SMOOTHER_ALLOWED_MODELS            = join(",", var.allowed_models)
      SMOOTHER_USAGE_FEED                = tostring(var.usage_feed)
      SMOOTHER_RETENTION_DAYS            = tostring(var.retention_days)
      SMOOTHER_TRACE_SAMPLE_RATIO        = tostring(var.trace_sample_ratio)
      SMOOTHER_REPORT_RETENTION_DAYS     = tostring(var.report_retention_days)
    },
    # ECS does not take empty values for what is not set.
    length(var.allowed_source_buckets) == 0 ? {} : { SMOOTHER_ALLOWED_SOURCE_BUCKETS = join(",", var.allowed_source_buckets) },
    var.otlp_endpoint == "" ? {} : { SMOOTHER_OTLP_ENDPOINT = var.otlp_endpoint },
    var.settings_file == "" ? {} : { SMOOTHER_SETTINGS = file(var.settings_file) },
  )
}
