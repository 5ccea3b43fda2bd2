"""The state machine of a pipeline: its name, its logs, its key, and what a role of the user's lacks for it."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, Names
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.resources import grants
from distmap import limits


def create_state_machine(
    scope: Construct,
    definition: sfn.IChainable,
    *,
    statements: Sequence[iam.PolicyStatement],
    labels: Sequence[str],
    role: iam.IRole,
    name: str | None,
    comment: str | None,
    timeout: Duration | None,
    log_group: logs.ILogGroup | None,
    log_level: sfn.LogLevel,
    log_execution_data: bool,
    tracing: bool,
    encryption_key: kms.IKey | None,
) -> sfn.StateMachine:
    """Create the state machine under a role, and check what a role of the user's lacks for it.

    Args:
        scope: The pipeline.
        definition: The states.
        statements: What these may do.
        labels: Labels of all their maps.
        role: Role of the state machine.
        name: Its name. Default: CloudFormation's, or one of ours with a key, whose conditions name the state machine.
        comment: Its comment.
        timeout: Maximum duration of a run.
        log_group: Where it logs, None for nowhere.
        log_level: What it logs.
        log_execution_data: Whether logs contain inputs and outputs.
        tracing: Whether X-Ray traces runs.
        encryption_key: Customer-managed key.
    """
    log_options, encryption = None, None
    encryption_statements: list[iam.PolicyStatement] = []
    if log_group is not None:
        log_options = sfn.LogOptions(destination=log_group, level=log_level, include_execution_data=log_execution_data)
    if encryption_key is not None:
        if name is None:
            name = Names.unique_resource_name(scope, max_length=limits.MAX_NAME_LENGTH, separator="-")
        encryption = sfn.CustomerManagedEncryptionConfiguration(encryption_key)
        encryption_statements = grants.encryption_statements(
            scope, encryption_key, machine_name=name, logging=log_group is not None
        )
    machine = sfn.StateMachine(
        scope,
        "StateMachine",
        definition_body=sfn.DefinitionBody.from_chainable(definition),
        state_machine_name=name,
        comment=comment,
        role=grants.usable_role(scope, role),
        timeout=timeout,
        logs=log_options,
        tracing_enabled=tracing,
        encryption_configuration=encryption,
    )
    grants.check_role(
        scope,
        statements=statements,
        labels=labels,
        machine=machine,
        encryption=encryption_statements,
        logging=log_group is not None,
        tracing=tracing,
    )
    return machine
