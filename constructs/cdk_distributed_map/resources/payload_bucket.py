"""The bucket of the runs' files, and when they expire."""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk_distributed_map.settings import checks, synthesis_warnings
from distmap import wire

_MADE_HERE: Final = "distmap:payload"
_EXPIRY_DAYS: Final = 30


def payload_bucket(
    scope: Construct,
    *,
    existing: s3.IBucket | None,
    prefix: str,
    expiry: Duration | None,
    timeout: Duration | None,
    removal_policy: RemovalPolicy,
    encryption_key: kms.IKey | None,
) -> s3.IBucket:
    """Return the bucket of the runs' files with a rule for their expiry: the given one, or one made under ``scope``.

    A given bucket gets the rule where the files are to expire, or where another pipeline has made it.

    Raises:
        ValueError: The files of an imported bucket are to expire, or it is known to be in another Region or account.
    """
    if existing is not None:
        checks.same_region(scope, existing, name="payload_bucket")
        checks.same_account(scope, existing, name="payload_bucket")
    bucket = _new_bucket(scope, encryption_key, removal_policy) if existing is None else existing
    shared = synthesis_warnings.shared_prefix(scope, bucket, prefix)
    if not isinstance(bucket, s3.Bucket):
        if expiry is not None:
            raise ValueError(
                "expire_runs_after is for buckets made in this app: set a lifecycle rule on the given payload_bucket "
                "instead, which is imported"
            )
        return bucket
    made_here = any(entry.type == _MADE_HERE for entry in bucket.node.metadata)
    if expiry is None and not made_here:
        return bucket
    after = Duration.days(_EXPIRY_DAYS) if expiry is None else expiry
    synthesis_warnings.early_expiry(scope, after, timeout)
    if not shared:
        bucket.add_lifecycle_rule(
            id="expire-runs" if existing is None else f"expire-runs-of-{prefix or '/'}",
            prefix=f"{prefix}{wire.RUNS_FOLDER}/",
            expiration=after,
            # Step Functions writes a run's results in parts for as long as the run takes.
            abort_incomplete_multipart_upload_after=after,
        )
    return bucket


def _new_bucket(scope: Construct, key: kms.IKey | None, removal_policy: RemovalPolicy) -> s3.Bucket:
    bucket = s3.Bucket(
        scope,
        "PayloadBucket",
        encryption=s3.BucketEncryption.S3_MANAGED if key is None else s3.BucketEncryption.KMS,
        encryption_key=key,
        bucket_key_enabled=None if key is None else True,
        enforce_ssl=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        versioned=False,
        removal_policy=removal_policy,
    )
    bucket.node.add_metadata(_MADE_HERE, scope.node.path)
    return bucket
