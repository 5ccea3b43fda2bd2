"""What S3 tells a state machine of an object that isn't there.

Only who may list the bucket is told so; everybody else is denied. S3 asks with the key as prefix, so that who may list
what begins like it is told too.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from cdk_distributed_map.local.execution.machine import Machine
from cdk_distributed_map.local.execution.services import Services

_NOT_FOUND: Final = 404
_FORBIDDEN: Final = 403
_MISSING: Final = frozenset({"NoSuchKey", "404"})


def as_caller_sees(error: ClientError, services: Services, machine: Machine, place: Mapping[str, Any]) -> ClientError:
    """Return an error of S3 as a state machine's role is told it.

    Args:
        error: The error, as who may do everything is told it.
        services: Where the authorizer is.
        machine: The state machine.
        place: Parameters of the call: ``Bucket`` and ``Key``, or ``CopySource``.

    Raises:
        StateError: ``States.Runtime``: a policy says something about it that can't be evaluated here.
    """
    details: Mapping[str, Any] = error.response.get("Error", {})
    meta: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    if meta.get("HTTPStatusCode") != _NOT_FOUND or details.get("Code") not in _MISSING:
        return error
    bucket, key = _object(place)
    arn = services.s3_arn(bucket)
    message = services.denied(machine, "s3:ListBucket", arn, {"s3:prefix": key})
    if message is None:
        return error
    # An answer to HEAD has no body to say why. The SDK has no class of its own for either.
    message = "Forbidden" if details["Code"] == "404" else message
    denied: Any = {
        "Error": {"Code": str(_FORBIDDEN), "Message": message},
        "ResponseMetadata": {**meta, "HTTPStatusCode": _FORBIDDEN},
    }
    return ClientError(denied, error.operation_name)


def _object(place: Mapping[str, Any]) -> tuple[str, str]:
    source = place.get("CopySource")
    if isinstance(source, Mapping):
        return str(source["Bucket"]), str(source["Key"])
    if source is not None:
        bucket, _, key = str(source).partition("?")[0].lstrip("/").partition("/")
        return bucket, key
    return str(place["Bucket"]), str(place.get("Key", ""))
