# Workers by backlog: not by CPU, which waiting for Bedrock does not use, and not by the queues, which are kept short.

resource "aws_appautoscaling_target" "this" {
  count = var.autoscaling ? 1 : 0

  service_namespace  = "ecs"
  resource_id        = "service/${var.cluster.name}/${aws_ecs_service.this.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.replicas.min
  max_capacity       = var.replicas.max
}

resource "aws_appautoscaling_policy" "backlog" {
  count = var.autoscaling ? 1 : 0

  name               = "${var.deployment.name}-backlog-per-replica"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  resource_id        = aws_appautoscaling_target.this[0].resource_id
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value = var.backlog_per_replica

    # Out quickly, because people wait; in slowly, because a stopping worker drains first.
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    customized_metric_specification {
      metrics {
        id          = "backlog"
        label       = "Requests waiting"
        return_data = false

        metric_stat {
          stat = "Maximum"

          metric {
            namespace   = var.metrics_namespace
            metric_name = "Backlog"
          }
        }
      }

      # Each worker counts itself once a minute, the period of these queries.
      metrics {
        id          = "replicas"
        label       = "Workers alive"
        return_data = false

        metric_stat {
          stat = "Sum"

          metric {
            namespace   = var.metrics_namespace
            metric_name = "WorkersAlive"
          }
        }
      }

      # CloudWatch refuses MAX over a series and a number together; FILL alone keeps the divisor at 1 or more, because a
      # minute without workers has no data.
      metrics {
        id          = "per_replica"
        label       = "Requests waiting per worker"
        expression  = "FILL(backlog, 0) / FILL(replicas, 1)"
        return_data = true
      }
    }
  }
}
