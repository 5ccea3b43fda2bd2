"""A pipeline that another app deploys: by its attributes, or by a parameter that holds them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aws_cdk import ArnComponents, ArnFormat, Fn, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.resources.pipeline_base import PipelineBase
from cdk_distributed_map.settings import checks, kinds

_BETWEEN = "|"
"""Stands between the attributes in a parameter: none of them can hold it."""
_ATTRIBUTES = 6
_PARAMETER_NAME = re.compile(r"[\w.-]+|(?:/[\w.-]+)+", re.ASCII)


class ImportedPipeline(PipelineBase):
    """A pipeline that another app deploys: what :meth:`DistributedMapPipeline.from_attributes` returns.

    It makes no resources. Its state machine and its buckets are imported L2s; what only the pipeline itself knows, its
    role, its worker and the metrics of its children, isn't there.

    .. versionadded:: 0.1.0

    Attributes:
        state_machine: The state machine.
        payload_bucket: The bucket with the files of runs.
        results_bucket: The bucket that results are exported to.
    """

    @kinds.checked
    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        state_machine_arn: str,
        payload_bucket: s3.IBucket | str,
        payload_prefix: str | None = None,
        results_bucket: s3.IBucket | str | None = None,
        combine: lambda_.IFunction | None = None,
        metrics_name: str | None = None,
        encryption_key: kms.IKey | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._payload_prefix = "" if payload_prefix is None else payload_prefix
        checks.payload_prefix(self._payload_prefix)
        self._parts = _parts(self, state_machine_arn)
        self._key = encryption_key
        self.state_machine: sfn.IStateMachine = sfn.StateMachine.from_state_machine_arn(
            self, "StateMachine", state_machine_arn
        )
        self.payload_bucket = self._bucket("PayloadBucket", payload_bucket)
        self.results_bucket = (
            self.payload_bucket if results_bucket is None else self._bucket("ResultsBucket", results_bucket)
        )
        self.combine = combine
        self._metrics = metrics_name

    def _bucket(self, id: str, bucket: s3.IBucket | str) -> s3.IBucket:
        if not isinstance(bucket, str):
            return bucket
        return s3.Bucket.from_bucket_attributes(self, id, bucket_name=bucket, encryption_key=self._key)

    def _arn(self, resource: str, rest: str) -> str:
        # In the partition, Region and account of the state machine, whatever those of this stack are.
        return Stack.of(self).format_arn(
            partition=self._parts.partition,
            service=self._parts.service,
            region=self._parts.region,
            account=self._parts.account,
            resource=resource,
            resource_name=f"{self._parts.resource_name}{rest}",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )

    def _operated_labels(self) -> Sequence[str]:
        # A change of the pipeline may change its labels, which this app isn't told.
        return ["*"]

    def _combine_arn(self) -> str | None:
        return None if self.combine is None else self.combine.function_arn

    def _metrics_name(self) -> str:
        if self._metrics is None:
            raise ValueError(
                f"the imported pipeline {self.node.path!r} has no metrics of items here: give "
                "metrics_name='<stack>/<path>', the name of the stack that deploys it and its path in there"
            )
        return self._metrics


def _parts(scope: Construct, state_machine_arn: str) -> ArnComponents:
    """Return the parts of a state machine's ARN.

    Raises:
        ValueError: It is none.
    """
    if not checks.is_token(state_machine_arn):
        form = r"arn:[\w-]+:states:[\w-]+:\d{12}:stateMachine:[^:/]+"
        if re.fullmatch(form, state_machine_arn, re.ASCII) is None:
            raise ValueError(
                f"state_machine_arn must be that of a state machine, without a version or an alias, got "
                f"{state_machine_arn!r}: give it as arn:aws:states:<region>:<account>:stateMachine:<name>"
            )
    return Stack.of(scope).split_arn(state_machine_arn, ArnFormat.COLON_RESOURCE_NAME)


def checked_parameter_name(name: str) -> str:
    """Return the name of a parameter.

    Raises:
        ValueError: Systems Manager takes no such name, or it isn't known yet.
    """
    if checks.is_token(name):
        raise ValueError(
            f"parameter_name must be known when the app is synthesized, got {name!r}: write it out in both apps"
        )
    if _PARAMETER_NAME.fullmatch(name) is None:
        raise ValueError(
            f"parameter_name must be of letters, digits, '.', '-' and '_', and begin with a slash if it has any, got "
            f"{name!r}: give one such as '/pipelines/squares'"
        )
    return name


def exported(
    state_machine_arn: str,
    *,
    payload_bucket: s3.IBucket,
    payload_prefix: str,
    results_bucket: s3.IBucket,
    combine_arn: str | None,
    metrics_name: str,
) -> str:
    """Return the attributes of a pipeline as the text of a parameter."""
    # A grant must name a function whether there is one or not: the state machine, which nobody can invoke as one.
    combine = state_machine_arn if combine_arn is None else combine_arn
    names = [payload_bucket.bucket_name, payload_prefix, results_bucket.bucket_name]
    return _BETWEEN.join([state_machine_arn, *names, combine, metrics_name])


def from_parameter(
    scope: Construct, id: str, parameter_name: str, *, encryption_key: kms.IKey | None = None
) -> ImportedPipeline:
    """Return the pipeline whose attributes a parameter holds: see ``DistributedMapPipeline.from_parameter``."""
    # The value of a parameter of the template can be split at deployment, and that of a dynamic reference can't.
    text = ssm.StringParameter.value_for_string_parameter(scope, checked_parameter_name(parameter_name))
    parts = [Fn.select(at, Fn.split(_BETWEEN, text)) for at in range(_ATTRIBUTES)]
    machine, payload, prefix, results, combine, metrics = parts
    pipeline = ImportedPipeline(
        scope,
        id,
        state_machine_arn=machine,
        payload_bucket=payload,
        payload_prefix=prefix,
        results_bucket=results,
        metrics_name=metrics,
        encryption_key=encryption_key,
    )
    pipeline.combine = lambda_.Function.from_function_arn(pipeline, "Combine", combine)
    return pipeline
