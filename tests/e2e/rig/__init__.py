"""What the end-to-end tests stand on: processes, places to work in, a simulated Bedrock, messages."""
