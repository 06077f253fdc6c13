# Warnings: what can be meant so, and often is not.

check "gateway_has_certificate" {
  assert {
    condition     = !var.gateway_enabled || var.certificate_arn != ""
    error_message = "gateway_enabled without certificate_arn: prompts, answers and API keys cross the network as plain HTTP. Give the ARN of an ACM certificate unless every path to the load balancer is private."
  }
}

check "gateway_is_not_open_to_everybody" {
  assert {
    condition     = !var.gateway_enabled || !contains(var.gateway_cidrs, "0.0.0.0/0")
    error_message = "gateway_cidrs has 0.0.0.0/0: everybody can reach the gateway, and only API keys keep them out. List the networks of its users instead."
  }
}

check "models_are_limited" {
  assert {
    condition     = !contains(var.allowed_models, "*")
    error_message = "allowed_models has *: the tasks may call every model, whatever it costs. List the models or families that are meant."
  }
}

check "everything_given_is_used" {
  assert {
    condition     = var.gateway_enabled || (length(var.gateway_cidrs) == 0 && var.certificate_arn == "")
    error_message = "gateway_cidrs or certificate_arn is set and gateway_enabled is false: there is no gateway. Set gateway_enabled = true, or leave them out."
  }

  assert {
    condition     = var.discovery_schedule != "" || length(var.discovery_role_arns) == 0
    error_message = "discovery_role_arns is set and discovery_schedule is \"\": nothing uses the roles. Set discovery_schedule, or leave them out."
  }
}
