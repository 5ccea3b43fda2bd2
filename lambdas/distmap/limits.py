"""The limits of AWS that this product is built around, each with the page it comes from.

Every number lives here once; validation, documentation, planner and engine read it from here. Sizes are in
bytes, times in seconds. SFN stands for https://docs.aws.amazon.com/step-functions/latest/dg/.
"""

from __future__ import annotations

from typing import Final

# SFN service-quotas.html, "Quotas related to state machine executions"
MAX_PAYLOAD_BYTES: Final = 262_144
"""Input or output of a state, a task or an execution, as UTF-8 JSON text."""
# SFN workflow-variables.html, "Limits of variables"
MAX_ASSIGN_BYTES: Final = 262_144
"""All variables that one Assign sets."""
MAX_VARIABLES_BYTES: Final = 10 * 1024**2
"""All variables of an execution."""
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_TaskFailedEventDetails.html, "Causes"
MAX_CAUSE_CHARACTERS: Final = 32_768
"""The cause of a failed task."""

# https://www.rfc-editor.org/rfc/rfc8259#section-6, "Numbers": beyond it, not every integer is one of those of JSON
MAX_EXACT_INTEGER: Final = 2**53 - 1
"""Step Functions' numbers are doubles: beyond this, two of them would become one."""

# SFN service-quotas.html, "Executions and definitions"
MAX_EXECUTION_SECONDS: Final = 31_536_000
MAX_EXPRESS_SECONDS: Final = 300
MAX_HISTORY_EVENTS: Final = 25_000
MAX_NAME_LENGTH: Final = 80
MAX_DEFINITION_BYTES: Final = 1_048_576

# SFN service-quotas.html, "Quotas related to Distributed Map"
MAX_CONCURRENT_CHILDREN: Final = 10_000
"""Parallel children of one Map Run; what MaxConcurrency 0 or absent means."""
MAX_ITEMS: Final = 100_000_000
MAX_ITEM_FILE_BYTES: Final = 10 * 1024**3
MAX_RESULT_FILE_BYTES: Final = 5 * 1024**3
MAX_OPEN_MAP_RUNS: Final = 1_000
MAX_REDRIVES: Final = 1_000
STANDARD_DISPATCH_PER_SECOND: Final = 100
EXPRESS_DISPATCH_PER_SECOND: Final = 1_000
MAX_INLINE_CONCURRENCY: Final = 40

# SFN state-map-distributed.html and input-output-itemreader.html, "ItemReader", "ItemBatcher", "Label"
MAX_ITEM_BYTES: Final = 8 * 1024**2
"""One item of a file, where ItemSelector makes it smaller than the payload limit."""
MAX_BATCH_BYTES: Final = 262_144
MAX_LABEL_LENGTH: Final = 40
MAX_ITEMS_POINTER_LENGTH: Final = 2_000
MAX_CSV_HEADER_BYTES: Final = 10_240
MAX_PARQUET_ROW_GROUP_BYTES: Final = 256 * 1024**2
MAX_PARQUET_FOOTER_BYTES: Final = 5 * 1024**2

# SFN redrive-executions.html, "Redrives"
REDRIVE_DAYS: Final = 14

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, "Lambda quotas"
MAX_FUNCTION_SECONDS: Final = 900
MAX_FUNCTION_MEMORY_MB: Final = 10_240
MIN_FUNCTION_MEMORY_MB: Final = 128
MAX_INVOCATION_PAYLOAD_BYTES: Final = 6 * 1024**2
MAX_ASYNC_PAYLOAD_BYTES: Final = 1024**2
"""An event of an asynchronous invocation."""
MAX_FUNCTION_THREADS: Final = 1_024
"""Threads and processes of one invocation together."""
MAX_LAYERS: Final = 5
MAX_CODE_BYTES: Final = 262_144_000
"""The code of a function and all its layers, unzipped: 250 MB, as Lambda counts it."""
MAX_ENVIRONMENT_BYTES: Final = 4_096
"""All environment variables of a function together."""
ACCOUNT_CONCURRENCY: Final = 1_000
"""Concurrent executions of an account in a Region by default; new accounts start with less."""
UNRESERVABLE_CONCURRENCY: Final = 100
"""What Lambda keeps unreserved for the functions that reserve nothing."""
SCALING_STEP: Final = 1_000
"""Concurrent executions a function can add in each :data:`SCALING_STEP_SECONDS`."""
SCALING_STEP_SECONDS: Final = 10
REQUESTS_OF_AN_ENVIRONMENT: Final = 10
"""Requests a second that a function may take for each execution environment it may have."""

# SFN concepts-error-handling.html, https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html and
# https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html, "Errors that are no fault of an item"
NO_FAULT_ERRORS: Final = frozenset(
    {
        "States.Timeout",
        "States.HeartbeatTimeout",
        # AWS gives no error for a child that was aborted, so its status stands for one.
        "ABORTED",
        "Lambda.AWSLambdaException",
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.SdkClientException",
        "Lambda.ServiceException",
        "Lambda.TooManyRequestsException",
        "Lambda.Unknown",
        # A function that nobody has called for weeks is made ready anew.
        "Lambda.CodeArtifactUserDeletedException",
        "Lambda.CodeArtifactUserPendingException",
        "Lambda.EC2ThrottledException",
        "Lambda.EC2UnexpectedException",
        "Lambda.ENINotReadyException",
        "Lambda.ResourceConflictException",
        "Lambda.ResourceNotReadyException",
        "Lambda.SnapStartNotReadyException",
        "Lambda.SnapStartRegenerationFailureException",
        # ECS and AWS Batch throttled, or ECS without capacity, for longer than their tasks are tried again.
        "AmazonECS.Unknown",
        "Batch.AWSBatchException",
        "Batch.ServerException",
        "Batch.TooManyRequestsException",
        "ECS.AmazonECSException",
        "ECS.ServerException",
        # The function's timeout, its end, and its memory: smaller batches take less of each.
        "Sandbox.Timedout",
        "Runtime.ExitError",
        "Runtime.OutOfMemory",
        "MemoryError",
        # Ours: no item could be tried before the deadline.
        "DeadlineError",
    }
)
"""Errors of a whole child that tell of the platform, or of the batch, rather than of an item: it may succeed when it is
tried again. Those that repeat by nature aren't here, such as ``Runtime.ImportModuleError`` (the code can't start) or
``Function.ResponseSizeTooLarge``."""

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html, "Objects in S3"
MAX_KEY_BYTES: Final = 1_024
"""A key of an object, as UTF-8."""
MIN_PART_BYTES: Final = 5 * 1024**2
MAX_PARTS: Final = 10_000

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html and
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html, "Messages and events"
MAX_SEND_ENTRIES: Final = 10
"""Messages of one SendMessageBatch, events of one PutEvents."""
MAX_SEND_BYTES: Final = 262_144
"""All of them together, and so each. AWS takes four times as much of late; queues that were made before, and other
services behind a rule, still don't."""

# Ours, derived from the above
PUSH_BYTES: Final = 200 * 1024
"""A failed item's message above this has its item by reference: EventBridge puts an envelope around an event."""
PUSH_CAUSE_CHARACTERS: Final = 20_000
"""Such a message has so much of the cause; escaped, each may have six bytes."""
SPILL_BYTES: Final = 240 * 1024
"""An answer above this goes to S3 by reference: aborts were seen just under the payload limit itself."""
FAILURE_MESSAGE_CHARACTERS: Final = 24_000
"""A batch's failure message above this, escaped, goes to S3: a cause holds it beside Lambda's stack trace."""
DEFAULT_CONCURRENT_ITEMS: Final = 10
"""Items of an ``async def`` worker that wait at a time inside one invocation, where nothing else is said."""
MAX_CONCURRENT_ITEMS: Final = 1_000
"""The most of them: each may hold a connection, and a function has 1,024 file descriptors."""
USUAL_BATCH_ITEMS: Final = 200
"""Most items of an automatic batch where their number, or the time that one takes, isn't known: a million of them are
5,000 children, which start within a minute, Standard ones too, and cost 0.25 USD."""
USUAL_ITEM_SECONDS: Final = 0.25
"""What an item is assumed to need at most, unless something is declared."""
BATCHES_AT_ONCE: Final = 2
"""Children for each that may run at once: of one each, the slowest keeps all others waiting; more of them cost more."""
BATCH_DISPATCH_SECONDS: Final = 60
"""How long the start of all children may take, where even so there is one for each that may run at once."""
WORKER_RESERVE_SHARE: Final = 0.1
"""Share of its time that a worker keeps for its answer, where nothing else is said."""
WORKER_RESERVE_MOST_SECONDS: Final = 5.0
"""The most that it keeps."""
EARLY_STOP_SLACK_POINTS: Final = 25
"""Points of a percentage beyond the declared tolerance, at which a map whose number of items is known ends early."""
EARLY_STOP_MIN_ITEMS: Final = 100
"""No run ends early, and none goes without its rounds, for fewer items than these."""
EARLY_STOP_MIN_BATCHES: Final = 10
"""Nor for the items of fewer batches than these."""
EARLY_STOP_SLACK_ITEMS: Final = 250_000
"""Items beyond the declared tolerance, at which a map ends early whose number of items isn't known: half a percent of
fifty million. Fewer are cheap, and may be lost for no fault of their own."""
MOSTLY_LOST_POINTS: Final = 50
"""Percentage of a map's items without which it has lost too many: no round is run for them, and items without an
identity, for which there are no rounds, end their map there."""
RAMP_SECONDS: Final = 600
"""A ramp of this length must be outlasted by the retries of a Standard child."""
MAX_AGE_SECONDS: Final = 1_000 * 366 * 86_400
"""Ages of objects that a capture asks for: a thousand years, before which the calendar ends."""
