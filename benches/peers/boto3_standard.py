"""boto3, standard retries: exponential backoff with full jitter of up to 20 s, and a retry quota per client."""

import boto3_threads

boto3_threads.run("standard", max_attempts=3)
