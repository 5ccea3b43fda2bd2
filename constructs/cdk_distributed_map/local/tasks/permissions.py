"""What a call of an AWS service is allowed by: its IAM action and resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from cdk_distributed_map import arns
from cdk_distributed_map.local.execution.services import ConditionKeys, ConditionValue, Services

Asked = tuple[str, str]
"""An IAM action, and the ARN of what it is done to."""

# Where the IAM action isn't the API action.
_ACTIONS: Final = {
    ("s3", "HeadObject"): "GetObject",
    ("s3", "SelectObjectContent"): "GetObject",
    ("s3", "CopyObject"): "PutObject",
    ("s3", "DeleteObjects"): "DeleteObject",
    ("s3", "CreateMultipartUpload"): "PutObject",
    ("s3", "UploadPart"): "PutObject",
    ("s3", "UploadPartCopy"): "PutObject",
    ("s3", "CompleteMultipartUpload"): "PutObject",
    ("s3", "ListParts"): "ListMultipartUploadParts",
    ("s3", "ListMultipartUploads"): "ListBucketMultipartUploads",
    ("s3", "ListObjects"): "ListBucket",
    ("s3", "ListObjectsV2"): "ListBucket",
    ("s3", "ListObjectVersions"): "ListBucketVersions",
    ("s3", "HeadBucket"): "ListBucket",
    ("s3", "ListBuckets"): "ListAllMyBuckets",
    ("s3", "GetBucketEncryption"): "GetEncryptionConfiguration",
    ("s3", "PutBucketEncryption"): "PutEncryptionConfiguration",
    ("s3", "GetBucketLifecycleConfiguration"): "GetLifecycleConfiguration",
    ("s3", "PutBucketLifecycleConfiguration"): "PutLifecycleConfiguration",
    ("s3", "GetBucketNotificationConfiguration"): "GetBucketNotification",
    ("s3", "PutBucketNotificationConfiguration"): "PutBucketNotification",
    ("lambda", "Invoke"): "InvokeFunction",
    ("sns", "PublishBatch"): "Publish",
    ("sqs", "SendMessageBatch"): "SendMessage",
    ("sqs", "DeleteMessageBatch"): "DeleteMessage",
    ("sqs", "ChangeMessageVisibilityBatch"): "ChangeMessageVisibility",
}
_OF_VERSIONS: Final = frozenset({"GetObject", "DeleteObject", "GetObjectTagging", "PutObjectTagging"})
# What the parts of a transaction are asked for.
_IN_TRANSACTIONS: Final = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}
# Resources that calls name by a parameter, beside ARNs: the parameter, and what comes before the name in the ARN.
_NAMED: Final = {
    "firehose": (("DeliveryStreamName", "deliverystream/"),),
    "kinesis": (("StreamName", "stream/"),),
    "kms": (("KeyId", "key/"),),
    "lambda": (("FunctionName", "function:"),),
    "secretsmanager": (("SecretId", "secret:"), ("Name", "secret:")),
    "sns": (("Name", ""),),
    "sqs": (("QueueName", ""),),
    "ssm": (("Name", "parameter/"), ("Path", "parameter/")),
}


def permissions(
    service: str, prefix: str, operation: str, parameters: Mapping[str, Any], services: Services
) -> list[Asked]:
    """Return what IAM is asked for a call: most ask once, those of several items for each.

    Args:
        service: Service as boto3 names it.
        prefix: Prefix of its IAM actions.
        operation: API action.
        parameters: Parameters of the call, as boto3 takes them.
        services: Where ARNs are made.
    """
    plain = _ACTIONS.get((service, operation), operation)
    if service == "s3" and parameters.get("VersionId") is not None and plain in _OF_VERSIONS:
        plain = plain.replace("Object", "ObjectVersion")
    action = f"{prefix}:{plain}"
    if service == "dynamodb":
        found = _of_tables(action, parameters, services)
    elif service == "s3":
        found = [(action, arn) for arn in _objects(operation, parameters, services)]
        if isinstance(parameters.get("CopySource"), str):
            source = unquote(parameters["CopySource"].split("?", 1)[0]).removeprefix("/")
            found.append(("s3:GetObject", source if arns.is_arn(source) else services.s3_arn(source)))
    elif service == "events" and "Entries" in parameters:
        buses = [str(each.get("EventBusName", "default")) for each in _objects_in(parameters["Entries"])]
        found = [(action, _arn(services, "events", f"event-bus/{bus}", bus)) for bus in dict.fromkeys(buses)]
    elif service == "ssm" and isinstance(parameters.get("Names"), list):
        names = [str(each) for each in parameters["Names"]]
        found = [(action, _arn(services, "ssm", f"parameter/{name.removeprefix('/')}", name)) for name in names]
    elif service == "stepfunctions" and "taskToken" in parameters:
        # Whom a token was given to is asked about, as grants of task responses name it.
        found = [(action, services.token_owners.get(str(parameters["taskToken"]), "*"))]
    else:
        found = [(action, _resource(service, parameters, services))]
    return found or [(action, "*")]


def _arn(services: Services, service: str, resource: str, name: str) -> str:
    """Return the ARN of what a call names, which may be one already."""
    return name if arns.is_arn(name) else services.arn(service, resource)


def _objects_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Return the objects of a list; what else there is, or that it's no list, is for the service to refuse."""
    yield from (each for each in (value if isinstance(value, list) else ()) if isinstance(each, Mapping))


def _objects(operation: str, parameters: Mapping[str, Any], services: Services) -> list[str]:
    if "Bucket" not in parameters:
        return ["*"]
    bucket = str(parameters["Bucket"])
    place = bucket if arns.is_arn(bucket) else services.s3_arn(bucket)
    if operation == "DeleteObjects":
        deleted = next(_objects_in([parameters.get("Delete")]), {})
        return [f"{place}/{each.get('Key')}" for each in _objects_in(deleted.get("Objects"))]
    return [f"{place}/{parameters['Key']}" if "Key" in parameters else place]


def _of_tables(action: str, parameters: Mapping[str, Any], services: Services) -> list[Asked]:
    def table(name: Any) -> str:
        return _arn(services, "dynamodb", f"table/{name}", str(name))

    if "TransactItems" in parameters:
        return [
            (f"dynamodb:{_IN_TRANSACTIONS.get(kind, kind)}", table(body.get("TableName")))
            for part in _objects_in(parameters["TransactItems"])
            for kind, body in part.items()
            if isinstance(body, Mapping)
        ]
    if isinstance(parameters.get("RequestItems"), Mapping):
        return [(action, table(name)) for name in parameters["RequestItems"]]
    if "TableName" in parameters:
        index = f"/index/{parameters['IndexName']}" if "IndexName" in parameters else ""
        return [(action, table(parameters["TableName"]) + index)]
    return []


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
            values = [str(entry[name]) for entry in entries or () if isinstance(entry, Mapping) and name in entry]
            found[key] = None if not values else values[0] if len(values) == 1 else tuple(values)
        found["events:eventbusinvocation"] = "false"
        found["events:creatoraccount"] = None
    return found


def _resource(service: str, parameters: Mapping[str, Any], services: Services) -> str:
    if service == "sqs" and "QueueUrl" in parameters:
        return services.arn("sqs", str(parameters["QueueUrl"]).rsplit("/", 1)[-1])
    if service == "logs" and "logGroupName" in parameters:
        # As its refusals have it, also where no stream is meant.
        group, stream = parameters["logGroupName"], parameters.get("logStreamName", "")
        return services.arn("logs", f"log-group:{group}:log-stream:{stream}")
    if service == "events" and ("Rule" in parameters or "Name" in parameters):
        bus = str(parameters.get("EventBusName", "default")).rsplit("/", 1)[-1]
        rule = f"{'' if bus == 'default' else f'{bus}/'}{parameters.get('Rule', parameters.get('Name'))}"
        return services.arn("events", f"rule/{rule}")
    for parameter, pattern in _NAMED.get(service, ()):
        if parameter in parameters:
            name = str(parameters[parameter])
            return _arn(services, service, pattern + name.removeprefix("/"), name)
    arns = [value for key, value in parameters.items() if key.lower().endswith("arn") and isinstance(value, str)]
    return arns[0] if arns else "*"
