"""boto3, adaptive retries: standard ones and a rate limiter in the client that learns from throttles. It counts
requests and knows nothing of tokens. A thread that the limiter holds back keeps its request, so urgent ones get threads
of their own."""

import boto3_threads

boto3_threads.run("adaptive", max_attempts=20, urgent_workers=10)
