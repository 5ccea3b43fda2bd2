"""What a call of an AWS service is allowed by: its IAM action and resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cdk_distributed_map.local._services import ConditionKeys, ConditionValue, Services

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


# Resources that calls name by a parameter, beside ARNs: the parameter, and what comes before the name in the ARN.
_NAMED: Final = {
    "firehose": ("DeliveryStreamName", "deliverystream/"),
    "kinesis": ("StreamName", "stream/"),
    "kms": ("KeyId", "key/"),
    "logs": ("logGroupName", "log-group:"),
    "ssm": ("Name", "parameter/"),
}
# Condition keys of requests, by the parameter that each has its value from.
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
_CONDITION_KEYS: Final[dict[str, dict[str, str]]] = {
    "s3": {
        "ACL": "s3:x-amz-acl",
        "CopySource": "s3:x-amz-copy-source",
        "Delimiter": "s3:delimiter",
        "GrantFullControl": "s3:x-amz-grant-full-control",
        "GrantRead": "s3:x-amz-grant-read",
        "GrantReadACP": "s3:x-amz-grant-read-acp",
        "GrantWrite": "s3:x-amz-grant-write",
        "GrantWriteACP": "s3:x-amz-grant-write-acp",
        "IfMatch": "s3:if-match",
        "IfNoneMatch": "s3:if-none-match",
        "MaxKeys": "s3:max-keys",
        "MetadataDirective": "s3:x-amz-metadata-directive",
        "ObjectLockLegalHoldStatus": "s3:object-lock-legal-hold",
        "ObjectLockMode": "s3:object-lock-mode",
        "Prefix": "s3:prefix",
        "SSECustomerAlgorithm": "s3:x-amz-server-side-encryption-customer-algorithm",
        "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
        "ServerSideEncryption": "s3:x-amz-server-side-encryption",
        "StorageClass": "s3:x-amz-storage-class",
        "VersionId": "s3:versionid",
        "WebsiteRedirectLocation": "s3:x-amz-website-redirect-location",
    },
    "dynamodb": {
        "ReturnConsumedCapacity": "dynamodb:returnconsumedcapacity",
        "ReturnValues": "dynamodb:returnvalues",
        "Select": "dynamodb:select",
    },
    "secretsmanager": {
        "SecretId": "secretsmanager:secretid",
        "VersionId": "secretsmanager:versionid",
        "VersionStage": "secretsmanager:versionstage",
    },
    "sns": {"Endpoint": "sns:endpoint", "Protocol": "sns:protocol"},
}


def condition_keys(service: str, parameters: Mapping[str, Any]) -> ConditionKeys:
    """Return the condition keys of a request, None for those that it is known not to have.

    Args:
        service: Service as boto3 names it.
        parameters: Parameters of the call, as boto3 takes them.
    """
    found: dict[str, ConditionValue] = {
        key: None if parameters.get(name) is None else str(parameters[name])
        for name, key in _CONDITION_KEYS.get(service, {}).items()
    }
    if service == "events":
        entries = parameters.get("Entries")
        for name, key in (("Source", "events:source"), ("DetailType", "events:detail-type")):
            values = [str(each[name]) for each in entries or () if isinstance(each, Mapping) and name in each]
            found[key] = None if not values else values[0] if len(values) == 1 else tuple(values)
        found["events:eventbusinvocation"] = "false"
        found["events:creatoraccount"] = None
    return found


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
    elif service in _NAMED and _NAMED[service][0] in parameters:
        parameter, pattern = _NAMED[service]
        name = str(parameters[parameter])
        found = name if name.startswith("arn:") else services.arn(service, pattern + name.removeprefix("/"))
    else:
        arns = [value for key, value in parameters.items() if key.lower().endswith("arn") and isinstance(value, str)]
        found = arns[0] if arns else found
    return found
