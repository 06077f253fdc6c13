# dashboard.json is the body for the CDK stack, too: its only placeholders are these names.

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.dashboard_name

  dashboard_body = templatefile("${path.module}/dashboard.json", {
    name          = var.deployment.name
    region        = var.deployment.region
    input_queue   = var.queue_names.input
    input_dlq     = var.queue_names.input_dlq
    hold_queue    = var.queue_names.hold
    hold_dlq      = var.queue_names.hold_dlq
    results_queue = var.queue_names.results
    namespace     = var.metrics_namespace
  })
}
