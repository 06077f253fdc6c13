"""What the tests of the real binary stand on: processes, places to work in, a simulated Bedrock, messages, the wire."""
