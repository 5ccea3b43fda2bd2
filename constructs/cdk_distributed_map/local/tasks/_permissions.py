"""What a call of an AWS service is allowed by: its IAM action and resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cdk_distributed_map.local._services import Services

# Where the IAM action isn't the API action.
_ACTIONS: Final = {
    ("s3", "HeadObject"): "GetObject",
    ("s3", "CopyObject"): "PutObject",
    ("s3", "DeleteObjects"): "DeleteObject",
    ("s3", "CreateMultipartUpload"): "PutObject",
    ("s3", "UploadPart"): "PutObject",
    ("s3", "CompleteMultipartUpload"): "PutObject",
    ("s3", "ListObjects"): "ListBucket",
    ("s3", "ListObjectsV2"): "ListBucket",
    ("s3", "HeadBucket"): "ListBucket",
    ("s3", "ListBuckets"): "ListAllMyBuckets",
    ("lambda", "Invoke"): "InvokeFunction",
}


def permission(
    service: str, prefix: str, operation: str, parameters: Mapping[str, Any], services: Services
) -> tuple[str, str]:
    """Return the action and the resource that IAM is asked about.

    Args:
        service: Service as boto3 names it.
        prefix: Prefix of its IAM actions.
        operation: API action.
        parameters: Parameters of the call, as boto3 takes them.
        services: Where ARNs are made.
    """
    action = f"{prefix}:{_ACTIONS.get((service, operation), operation)}"
    return action, _resource(service, parameters, services)


def _resource(service: str, parameters: Mapping[str, Any], services: Services) -> str:
    found = "*"
    if service == "s3" and "Bucket" in parameters:
        key = f"/{parameters['Key']}" if "Key" in parameters else ""
        found = f"arn:{services.partition}:s3:::{parameters['Bucket']}{key}"
    elif service == "sqs" and "QueueUrl" in parameters:
        found = services.arn("sqs", str(parameters["QueueUrl"]).rsplit("/", 1)[-1])
    elif service == "dynamodb" and "TableName" in parameters:
        name = str(parameters["TableName"])
        found = name if name.startswith("arn:") else services.arn("dynamodb", f"table/{name}")
    elif service == "events" and "Entries" in parameters:
        bus = str(parameters["Entries"][0].get("EventBusName", "default"))
        found = bus if bus.startswith("arn:") else services.arn("events", f"event-bus/{bus}")
    elif service == "lambda" and "FunctionName" in parameters:
        name = str(parameters["FunctionName"])
        found = name if name.startswith("arn:") else services.arn("lambda", f"function:{name}")
    else:
        arns = [value for key, value in parameters.items() if key.lower().endswith("arn") and isinstance(value, str)]
        found = arns[0] if arns else found
    return found
