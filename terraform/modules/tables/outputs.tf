output "requests" {
  description = "Name and ARN of the table of requests, and the ARN of the index of the backlog."
  value = {
    name      = aws_dynamodb_table.requests.name
    arn       = aws_dynamodb_table.requests.arn
    index_arn = "${aws_dynamodb_table.requests.arn}/index/work-index"
  }
}

output "reporting" {
  description = "Name and ARN of the table that analysts query."
  value = {
    name = aws_dynamodb_table.reporting.name
    arn  = aws_dynamodb_table.reporting.arn
  }
}
