"""What KMS is asked for on behalf of a state machine: by S3 for encrypted objects, by Step Functions for its own data.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
https://docs.aws.amazon.com/step-functions/latest/dg/encryption-at-rest.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from cdk_distributed_map import arns
from cdk_distributed_map.local.execution.machine import Machine
from cdk_distributed_map.local.execution.services import Services

READ: Final = ("kms:Decrypt",)
WRITE: Final = ("kms:GenerateDataKey",)
WRITE_PARTS: Final = ("kms:GenerateDataKey", "kms:Decrypt")
"""Of an upload in parts, S3 must also be able to read the parts."""


def of_s3(services: Services, machine: Machine, key: str | None, actions: tuple[str, ...]) -> str | None:
    """Return None where a state machine's role may use a key for objects of S3, else the message of AWS's AccessDenied.

    Args:
        services: Where the authorizer is.
        machine: The state machine.
        key: Id, alias or ARN of the key; None for none.
        actions: What it is used for.
    """
    return _refused(services, machine, key, actions, {"kms:ViaService": f"s3.{services.region}.amazonaws.com"})


def of_executions(services: Services, machine: Machine) -> str | None:
    """Return None where a state machine's role may use the key of its executions' data, else the message."""
    context = {"kms:EncryptionContext:aws:states:stateMachineArn": machine.unlabelled}
    return _refused(services, machine, machine.key, WRITE_PARTS, context)


def _refused(
    services: Services, machine: Machine, key: str | None, actions: tuple[str, ...], context: Mapping[str, str]
) -> str | None:
    if key is None:
        return None
    if not (arns.is_arn(key) and ":key/" in key):
        try:
            key = str(services.clients.client("kms").describe_key(KeyId=key)["KeyMetadata"]["Arn"])
        except ClientError as error:
            return str(error)
    messages = (services.denied(machine, action, key, context) for action in actions)
    return next((message for message in messages if message is not None), None)


def of_bucket(client: Any, bucket: str) -> str | None:
    """Return the KMS key with which a bucket encrypts what is put there, None for none."""
    try:
        rules = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    except ClientError:
        # The call that follows says what is wrong with the bucket.
        return None
    for rule in rules:
        default = rule.get("ApplyServerSideEncryptionByDefault", {})
        if str(default.get("SSEAlgorithm", "")).startswith("aws:kms"):
            key = default.get("KMSMasterKeyID")
            return None if key is None else str(key)
    return None
