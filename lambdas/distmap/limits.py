"""The limits of AWS that this product is built around, each with the page it comes from.

Every number lives here once; validation, documentation, planner and engine read it from here. Sizes are in
bytes, times in seconds. SFN stands for https://docs.aws.amazon.com/step-functions/latest/dg/.
"""

from __future__ import annotations

from typing import Final

# SFN service-quotas.html, "Quotas related to state machine executions" and "... task executions"
MAX_PAYLOAD_BYTES: Final = 262_144
"""Input or output of a state, a task or an execution, as UTF-8 JSON text."""
# SFN workflow-variables.html, "Limits"
MAX_ASSIGN_BYTES: Final = 262_144
"""All variables that one Assign sets."""
MAX_VARIABLES_BYTES: Final = 10 * 1024**2
"""All variables of an execution."""
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_TaskFailedEventDetails.html
MAX_CAUSE_CHARACTERS: Final = 32_768
"""The cause of a failed task."""

# https://www.rfc-editor.org/rfc/rfc8259#section-6: beyond it, not every integer is one of the numbers of JSON
MAX_EXACT_INTEGER: Final = 2**53 - 1
"""Step Functions' numbers are doubles: beyond this, two of them would become one."""

# SFN service-quotas.html, as above
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

# SFN state-map-distributed.html, "ItemReader", "ItemBatcher", "Label"
MAX_ITEM_BYTES: Final = 8 * 1024**2
"""One item of a file, where ItemSelector makes it smaller than the payload limit."""
MAX_BATCH_BYTES: Final = 262_144
MAX_LABEL_LENGTH: Final = 40
MAX_ITEMS_POINTER_LENGTH: Final = 2_000
MAX_CSV_HEADER_BYTES: Final = 10_240

# SFN redrive-executions.html
REDRIVE_DAYS: Final = 14

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_FUNCTION_SECONDS: Final = 900
MAX_FUNCTION_MEMORY_MB: Final = 10_240
MIN_FUNCTION_MEMORY_MB: Final = 128
MAX_INVOCATION_PAYLOAD_BYTES: Final = 6 * 1024**2
MAX_FUNCTION_THREADS: Final = 1_024
"""Threads and processes of one invocation together."""
MAX_LAYERS: Final = 5
MAX_CODE_BYTES: Final = 262_144_000
"""The code of a function and all its layers, unzipped: 250 MB, in Lambda's words."""
MAX_ENVIRONMENT_BYTES: Final = 4_096
"""All environment variables of a function together."""
ACCOUNT_CONCURRENCY: Final = 1_000
"""Concurrent executions of an account in a Region by default; new accounts start with less."""
UNRESERVABLE_CONCURRENCY: Final = 100
"""What Lambda keeps unreserved for the functions that reserve nothing."""
SCALING_STEP: Final = 1_000
"""Concurrent executions a function can add in each :data:`SCALING_STEP_SECONDS`."""
SCALING_STEP_SECONDS: Final = 10

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MAX_KEY_BYTES: Final = 1_024
"""A key of an object, as UTF-8."""
MIN_PART_BYTES: Final = 5 * 1024**2
MAX_PARTS: Final = 10_000

# Ours, derived from the above
SPILL_BYTES: Final = 240 * 1024
"""An answer above this goes to S3 by reference: aborts were seen just under the payload limit itself."""
FAILURE_MESSAGE_CHARACTERS: Final = 24_000
"""A batch's failure message above this, escaped, goes to S3: a cause holds it beside Lambda's stack trace."""
RAMP_SECONDS: Final = 600
"""A ramp of this length must be outlasted by the retries of a Standard child."""
MAX_AGE_SECONDS: Final = 1_000 * 366 * 86_400
"""Ages of objects that a capture asks for: a thousand years, before which the calendar ends."""
