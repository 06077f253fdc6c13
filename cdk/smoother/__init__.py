"""The AWS deployment of smoother as one CDK stack, the twin of the Terraform deployment."""
