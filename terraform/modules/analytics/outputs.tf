output "analyst_policy_arn" {
  description = "ARN of the policy for analysts."
  value       = aws_iam_policy.analyst.arn
}

output "workgroup" {
  description = "Name of the workgroup."
  value       = aws_athena_workgroup.this.name
}

output "table" {
  description = "The table as queries name it: database.table."
  value       = "${aws_glue_catalog_database.this.name}.${aws_glue_catalog_table.requests.name}"
}
