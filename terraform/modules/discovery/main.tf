# Looks for new models on a schedule.

module "scheduled" {
  source = "../scheduled"

  deployment        = var.deployment
  name              = "discovery"
  description       = "Looks for new models"
  command           = ["discover"]
  policy            = data.aws_iam_policy_document.discovery.json
  task              = var.task
  network           = var.network
  cluster           = var.cluster
  security_group_id = var.security_group_id
  schedule          = var.schedule
}
