"""The queues of the data path, and where their poison ends."""

from aws_cdk import Aws, Duration, aws_sqs as sqs
from constructs import Construct

from .notes import acknowledge
from .policies import tls_only
from .settings import Settings

VISIBILITY_SECONDS = 60
RETENTION_SECONDS = 1_209_600
INPUT_MAX_RECEIVES = 5
HOLD_MAX_RECEIVES = 3


class Queues(Construct):
    def __init__(self, scope: Construct, id: str, settings: Settings) -> None:
        super().__init__(scope, id)
        self._settings = settings
        self.input_dlq = self._queue("InputDlq", "input-dlq", source="input")
        self.input = self._queue("Input", "input", dead_letters=(self.input_dlq, INPUT_MAX_RECEIVES))
        self.results = self._queue("Results", "bedrock-results")
        acknowledge(
            self.results, {"SQS3": "Only its consumers receive there: when they give a message up is theirs to say."}
        )
        self.hold_dlq = self._queue("HoldDlq", "hold-next-batch-dlq", source="hold-next-batch")
        self.hold = self._queue("Hold", "hold-next-batch", dead_letters=(self.hold_dlq, HOLD_MAX_RECEIVES))

    def _queue(
        self, id: str, name: str, dead_letters: tuple[sqs.Queue, int] | None = None, source: str | None = None
    ) -> sqs.Queue:
        """`source` names the one queue whose dead letters this one takes: by name, as the two refer to each other."""
        settings = self._settings
        redrive_from = None
        if source:
            arn = f"arn:{settings.partition}:sqs:{settings.aws_region}:{Aws.ACCOUNT_ID}:{settings.name}-{source}"
            source_queue = sqs.Queue.from_queue_arn(self, f"{id}Source", arn)
            redrive_from = sqs.RedriveAllowPolicy(
                redrive_permission=sqs.RedrivePermission.BY_QUEUE, source_queues=[source_queue]
            )
        queue = sqs.Queue(
            self,
            id,
            queue_name=f"{settings.name}-{name}",
            visibility_timeout=Duration.seconds(VISIBILITY_SECONDS),
            retention_period=Duration.seconds(RETENTION_SECONDS),
            max_message_size_bytes=262_144,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters[0], max_receive_count=dead_letters[1])
            if dead_letters
            else None,
            redrive_allow_policy=redrive_from,
        )
        queue.add_to_resource_policy(tls_only("sqs:*", queue.queue_arn))
        return queue
