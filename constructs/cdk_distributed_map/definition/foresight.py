"""A plan at synthesis: what the constructs render, as a plan reads it of a template."""

from __future__ import annotations

from typing import Any

from aws_cdk import Annotations, CfnParameter, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.plan import Described, Forecast, described
from cdk_distributed_map.settings import checks

_PLAN = "distmap:Plan"


def describe(state_machine: sfn.StateMachine, *, name: str) -> Described:
    """Return what a plan needs of a state machine, as it is declared by now."""
    stack = Stack.of(state_machine)
    machine = state_machine.node.default_child
    if not isinstance(machine, sfn.CfnStateMachine):
        raise ValueError(
            f"the state machine {state_machine.node.path!r} was replaced by something that can't be planned"
        )
    logging: Any = stack.resolve(machine.logging_configuration) or {}
    tracing: Any = stack.resolve(machine.tracing_configuration) or {}
    logical = stack.get_logical_id(machine)
    resources = {
        logical: {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "DefinitionString": stack.resolve(machine.definition_string),
                "LoggingConfiguration": {"Level": logging.get("level")},
                "TracingConfiguration": {"Enabled": tracing.get("enabled")},
            },
        }
    }
    parameters = {}
    for construct in stack.node.find_all():
        if isinstance(construct, lambda_.CfnFunction):
            resources[stack.get_logical_id(construct)] = {
                "Type": "AWS::Lambda::Function",
                "Properties": _function(stack, construct),
            }
        elif isinstance(construct, lambda_.CfnAlias | lambda_.CfnVersion):
            properties = {"FunctionName": stack.resolve(construct.function_name)}
            resources[stack.get_logical_id(construct)] = {"Type": construct.cfn_resource_type, "Properties": properties}
        elif isinstance(construct, CfnParameter):
            parameters[stack.get_logical_id(construct)] = {"Type": construct.type, "Default": construct.default}
    template = {"Resources": resources, "Parameters": parameters}
    region = None if checks.is_token(stack.region) else stack.region
    return described(template, logical, name=name, region=region)


def tell(scope: Construct, forecast: Forecast) -> None:
    """Let ``cdk synth`` print a plan."""
    Annotations.of(scope).add_info_v2(_PLAN, forecast.summary())


def _function(stack: Stack, function: lambda_.CfnFunction) -> dict[str, Any]:
    tracing: Any = stack.resolve(function.tracing_config) or {}
    properties = {
        "MemorySize": stack.resolve(function.memory_size),
        "Timeout": stack.resolve(function.timeout),
        "ReservedConcurrentExecutions": stack.resolve(function.reserved_concurrent_executions),
        "Architectures": stack.resolve(function.architectures),
        "TracingConfig": {"Mode": tracing.get("mode")},
    }
    return {name: value for name, value in properties.items() if value is not None}
