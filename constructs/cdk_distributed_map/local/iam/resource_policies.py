"""The policies of resources themselves, as they are deployed: buckets, keys, functions, queues and topics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import ClientError, ParamValidationError

from cdk_distributed_map import arns

_FRESH_SECONDS: Final = 1.0
_MOST: Final = 1_000
# A key's policy must allow, whatever identities may:
# https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
REQUIRED: Final = frozenset({"kms"})


class ResourcePolicies:
    """Reads the policies of resources from the embedded AWS, each at most once a second.

    Other services' resources have policies too (event buses, tables); theirs aren't asked.

    Args:
        client: Gives the client of a service of the embedded AWS.
    """

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, str | None]] = {}
        self._readers: dict[str, Callable[[str], str | None]] = {
            "s3": self._bucket,
            "kms": self._key,
            "lambda": self._function,
            "sqs": self._queue,
            "sns": self._topic,
        }

    def invalidate(self) -> None:
        """Read policies anew when they are asked for next."""
        with self._lock:
            self._known.clear()

    def policy(self, arn: str) -> str | None:
        """Return the JSON text of the policy of a resource, None where it has none."""
        service = service_of(arn)
        if service not in self._readers:
            return None
        owner = arn.split("/", 1)[0] if service == "s3" else arn
        now = time.monotonic()
        with self._lock:
            at, found = self._known.get(owner, (float("-inf"), None))
        if now - at <= _FRESH_SECONDS:
            return found
        try:
            found = self._readers[service](owner)
        except (ClientError, ParamValidationError):
            # Most have none, and what doesn't exist says so when it is used.
            found = None
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[owner] = (now, found)
        return found

    def _bucket(self, arn: str) -> str:
        return str(self._client("s3").get_bucket_policy(Bucket=arns.parse(arn).resource)["Policy"])

    def _key(self, arn: str) -> str:
        return str(self._client("kms").get_key_policy(KeyId=arn, PolicyName="default")["Policy"])

    def _function(self, arn: str) -> str:
        name, _, qualifier = arns.parse(arn).resource.removeprefix("function:").partition(":")
        more = {"Qualifier": qualifier} if qualifier and qualifier != "$LATEST" else {}
        return str(self._client("lambda").get_policy(FunctionName=name, **more)["Policy"])

    def _queue(self, arn: str) -> str | None:
        sqs = self._client("sqs")
        url = sqs.get_queue_url(QueueName=arns.parse(arn).resource)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {})
        return str(attributes["Policy"]) if "Policy" in attributes else None

    def _topic(self, arn: str) -> str | None:
        found = self._client("sns").get_topic_attributes(TopicArn=arn)["Attributes"].get("Policy")
        return None if found is None else str(found)


def service_of(arn: str) -> str:
    """Return the service of an ARN, empty for what is none."""
    parsed = arns.split(arn)
    return "" if parsed is None else parsed.service
