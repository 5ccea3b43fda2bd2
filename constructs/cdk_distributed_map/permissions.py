"""IAM statements with exact resources, shared by sources, workers and grants.

The L2's own ``grant_*`` methods of a bucket give more than a run needs (``GetObject*``, ``List*``,
``PutObjectLegalHold`` ...), so the statements are written out. What each feature needs is listed under
https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from constructs import Construct, IConstruct

from distmap import wire


def read_objects(bucket: s3.IBucket, *patterns: str, version: bool = False) -> list[iam.PolicyStatement]:
    """Statements to read objects by key or pattern, and to decrypt them where the bucket has a key."""
    actions = ["s3:GetObject", "s3:GetObjectVersion"] if version else ["s3:GetObject"]
    statements = [iam.PolicyStatement(actions=actions, resources=[bucket.arn_for_objects(key) for key in patterns])]
    if bucket.encryption_key is not None:
        statements.append(iam.PolicyStatement(actions=["kms:Decrypt"], resources=[bucket.encryption_key.key_arn]))
    return statements


def decrypt(key: kms.IKey, *, conditions: Mapping[str, Any]) -> iam.PolicyStatement:
    """Statement to decrypt with a key under conditions."""
    return iam.PolicyStatement(actions=["kms:Decrypt"], resources=[key.key_arn], conditions=dict(conditions))


def list_objects(bucket: s3.IBucket, prefixes: Sequence[str] | None) -> list[iam.PolicyStatement]:
    """Statement to list a bucket under the given prefixes, or (``None``) all of it."""
    conditions = None if prefixes is None else {"StringLike": {"s3:prefix": [f"{prefix}*" for prefix in prefixes]}}
    return [iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn], conditions=conditions)]


def write_objects(
    bucket: s3.IBucket, *patterns: str, also: Sequence[str] = ("s3:AbortMultipartUpload",)
) -> list[iam.PolicyStatement]:
    """Statements to write objects, in parts too, and to encrypt them where the bucket has a key."""
    resources = [bucket.arn_for_objects(key) for key in patterns]
    statements = [iam.PolicyStatement(actions=["s3:PutObject", *also], resources=resources)]
    if bucket.encryption_key is not None:
        # A multipart upload decrypts its own parts when it is completed.
        actions = ["kms:GenerateDataKey", "kms:Decrypt"]
        statements.append(iam.PolicyStatement(actions=actions, resources=[bucket.encryption_key.key_arn]))
    return statements


def write_results(bucket: s3.IBucket, *patterns: str) -> list[iam.PolicyStatement]:
    """Statements of ResultWriter: it also reads what it wrote (the test manifest, and parts to resume)."""
    return write_objects(
        bucket, *patterns, also=["s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"]
    )


def invoke(function_arn: str) -> iam.PolicyStatement:
    """Statement to invoke exactly the function, version or alias named, not ``<function>:*`` beside it."""
    return iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[function_arn])


def runs(payload_prefix: str, *rest: str) -> str:
    """Pattern of a kind of file of every run: ``runs/*/<rest>``."""
    return "/".join([wire.run_prefix("*", payload_prefix), *rest])


def add(grantee: iam.IGrantable, statements: Sequence[iam.PolicyStatement]) -> iam.Grant:
    """Give statements to a principal as a grant.

    Returns:
        The grant; ``assert_success`` tells whether the principal could take them.
    """
    grants = [
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=statement.actions,
            resource_arns=statement.resources,
            conditions=statement.conditions or None,
        )
        for statement in statements
    ]
    merged = grants[0]
    for grant in grants[1:]:
        merged = merged.combine(grant)
    return merged


def policy_for(scope: Construct, id: str, function: lambda_.IFunction) -> iam.IGrantable:
    """Return what takes the rights of a function that a pipeline calls: a policy in the pipeline's own scope.

    The default policy of the function's role won't do. It belongs to the function's stack, which then depended on the
    pipeline's, which depends on the function. And the function itself waits for it, so that a right to the state
    machine, which waits for the right to call the function, would close a circle in one stack too.

    Returns:
        The function itself where its role isn't known; the CDK then says what can't be granted.
    """
    role = function.role
    return function if role is None else policy_of_role(scope, id, role)


def policy_of_role(scope: Construct, id: str, role: iam.IRole) -> iam.Policy:
    """Return the policy ``<id>Policy`` under ``scope``, which belongs to a role: the same one for the same id."""
    policy = scope.node.try_find_child(f"{id}Policy")
    if isinstance(policy, iam.Policy):
        return policy
    policy = iam.Policy(scope, f"{id}Policy")
    policy.attach_to_role(role)
    return policy


def states_arn(scope: IConstruct, resource: str, name: str) -> str:
    """ARN of a Step Functions resource, in the partition, Region and account of the stack."""
    return Stack.of(scope).format_arn(
        service="states", resource=resource, resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
    )
