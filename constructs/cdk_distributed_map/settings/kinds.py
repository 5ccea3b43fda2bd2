"""Kinds of arguments, checked against the annotations of what they are given to.

jsii checks the arguments of the CDK's own classes, but late, in its own words, and not what is kept for later. Here
each public function and class says what it got, what it wants and how to come by it, before anything is made.
"""

from __future__ import annotations

import collections.abc
import enum
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from distmap.pages import address

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Class = TypeVar("_Class", bound=type)

INTERFACES: dict[str, tuple[str, str, str]] = {
    # What only it has, what it is called, and how to come by one.
    "IAlarmAction": ("bind", "an alarm action", "wrap a topic as SnsAction(topic)"),
    "IBucket": ("bucket_arn", "a bucket", "import an existing one with Bucket.from_bucket_name(...)"),
    "IChainable": ("start_state", "a chain of states", "give a state, such as Pass(...), or several chained"),
    "ICluster": ("cluster_arn", "a cluster of ECS", "import it with Cluster.from_cluster_attributes(...)"),
    "IEventBus": ("event_bus_arn", "an event bus", "import an existing one with EventBus.from_event_bus_name(...)"),
    "IFunction": ("function_arn", "a function", "import an existing one with Function.from_function_attributes(...)"),
    "IGrantable": ("grant_principal", "a principal", "give a role, a user or a function"),
    "IJobDefinition": ("job_definition_arn", "a job definition", "import it with from_job_definition_arn(...)"),
    "IJobQueue": ("job_queue_arn", "a job queue", "import it with JobQueue.from_job_queue_arn(...)"),
    "IKey": ("key_arn", "a KMS key", "import an existing one with Key.from_key_arn(...)"),
    "ILayerVersion": ("layer_version_arn", "a layer", "import it with LayerVersion.from_layer_version_arn(...)"),
    "IStateMachine": (
        "state_machine_arn",
        "a state machine",
        "import it with StateMachine.from_state_machine_arn(...)",
    ),
    "ILogGroup": ("log_group_arn", "a log group", "import it with LogGroup.from_log_group_name(...)"),
    "IQueue": ("queue_arn", "a queue", "import an existing one with Queue.from_queue_arn(...)"),
    "IRole": ("role_arn", "a role", "import an existing one with Role.from_role_arn(...)"),
    "IRuleTarget": ("bind", "a target of a rule", "wrap a topic as SnsTopic(topic)"),
    "ISecurityGroup": ("security_group_id", "a security group", "import it with SecurityGroup.from_lookup_by_id(...)"),
    "IVpc": ("vpc_id", "a VPC", "import an existing one with Vpc.from_lookup(...)"),
}

_EXAMPLES: dict[str, str] = {
    "Accounting": "Accounting(rounds=5)",
    "Alarms": "Alarms(actions=[SnsAction(topic)])",
    "Architecture": "Architecture.ARM_64",
    "Batching": "Batching(max_items=100)",
    "Bundling": "Bundling.wheels()",
    "Capture": "Capture.ranges()",
    "Combiner": "Combiner.function(function)",
    "Construct": "a Stack",
    "DockerImage": "DockerImage.from_build(folder)",
    "Duration": "Duration.minutes(5)",
    "EventPattern": "EventPattern(source=['orders'])",
    "FileFormat": "FileFormat.json_lines()",
    "ItemBy": "ItemBy.FILE",
    "ItemSource": "ItemSource.json(bucket, key)",
    "Overlap": "Overlap.SKIP",
    "ReservedConcurrency": "ReservedConcurrency.fixed(5)",
    "Rerun": "Rerun(rounds=3)",
    "Results": "Results(bucket=bucket)",
    "RetryPolicy": "RetryPolicy(errors=['ConnectionError'])",
    "RuleTargetInput": "RuleTargetInput.from_object({...})",
    "Runtime": "Runtime.PYTHON_3_13",
    "ScheduleExpression": "ScheduleExpression.rate(Duration.hours(1))",
    "Size": "Size.gibibytes(1)",
    "TaskDefinition": "FargateTaskDefinition(self, 'Task')",
    "SubnetSelection": "SubnetSelection(subnet_type=SubnetType.PRIVATE_WITH_EGRESS)",
    "Worker": "Worker.function(function)",
}
_PLAIN: dict[Any, tuple[str, str]] = {
    bool: ("True or False", "leave it out for the default"),
    float: ("a number", "write it without quotes"),
    int: ("a number", "write it without quotes"),
    str: ("a string", "write it in quotes"),
}
_CONTAINERS: dict[Any, tuple[str, str]] = {
    collections.abc.Callable: ("a function that makes one", ""),
    collections.abc.Mapping: ("a mapping", "give a dict such as {'name': ...}"),
}
_PACKAGE = "cdk_distributed_map"
_DESCRIBED = frozenset({"definition", "permissions", "pipeline", "resources", "settings"})
"""Rooms whose errors are in the catalogue."""
_MOST_MEMBERS = 8
_MOST_CHARACTERS = 200


def checked(function: _Function) -> _Function:
    """Check the arguments of a function before it is called.

    Raises:
        TypeError: From the function, where an argument is of another kind than its annotation says.
    """

    @functools.wraps(function)
    def checking(*args: Any, **kwargs: Any) -> Any:
        signature, hints = _declared(function)
        bound = signature.bind(*args, **kwargs)
        try:
            for name, value in bound.arguments.items():
                if name in hints and signature.parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
                    require(name, value, hints[name])
            return function(*args, **kwargs)
        except (TypeError, ValueError) as error:
            _explain(error)
            raise

    return typing.cast("_Function", checking)


def _explain(error: Exception) -> None:
    """Note on an error of ours where it is described: under the module that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    ours, _, name = module.partition(".")
    if ours == _PACKAGE and name.partition(".")[0] in _DESCRIBED and not hasattr(error, "__notes__"):
        error.add_note(f"what it means: {address(name.replace('.', '-'))}")


def checked_class(cls: _Class) -> _Class:
    """Check the arguments that a class is made with."""
    cls.__init__ = checked(cls.__init__)  # type: ignore[misc]  # the one that a dataclass was given
    return cls


@functools.cache
def _declared(function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
    return inspect.signature(function), typing.get_type_hints(function)


def require(name: str, value: object, hint: Any) -> None:
    """Check the kind of one value, and of what is inside it.

    Args:
        name: What the value is for, named in the error.
        value: What was given.
        hint: The annotation.

    Raises:
        TypeError: The value is of another kind.
    """
    if _fits(value, hint):
        return
    for choice in _choices(hint):
        # The list or mapping itself is right: say which of its elements isn't.
        if isinstance(value, list | tuple) and _origin(choice) is collections.abc.Sequence:
            for at, item in enumerate(value):
                require(f"{name}[{at}]", item, typing.get_args(choice)[0])
        elif isinstance(value, Mapping) and _origin(choice) is collections.abc.Mapping:
            for key, item in value.items():
                require(f"a name in {name}", key, typing.get_args(choice)[0])
                require(f"{name}[{key!r}]", item, typing.get_args(choice)[1])
    words, remedy = _described(hint, value)
    raise TypeError(f"{name} must be {words}, got {_shown(value)}{remedy and f': {remedy}'}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def _choices(hint: Any) -> list[Any]:
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        return [choice for choice in typing.get_args(hint) if choice is not types.NoneType]
    return [hint]


def _origin(hint: Any) -> Any:
    return typing.get_origin(hint) or hint


def _fits(value: object, hint: Any) -> bool:
    if hint is Any or (value is None and types.NoneType in typing.get_args(hint)):
        return True
    return any(_fits_one(value, choice) for choice in _choices(hint))


def _fits_one(value: object, kind: Any) -> bool:
    origin, inner = _origin(kind), typing.get_args(kind)
    if kind in {int, float}:
        # A token of a number is a float, whatever number it stands for.
        return isinstance(value, int | float) and not isinstance(value, bool)
    if origin is collections.abc.Sequence:
        return isinstance(value, list | tuple) and all(_fits(item, inner[0]) for item in value)
    if origin is collections.abc.Mapping:
        pairs = value.items() if isinstance(value, Mapping) else None
        return pairs is not None and all(_fits(key, inner[0]) and _fits(item, inner[1]) for key, item in pairs)
    if origin is collections.abc.Callable:
        return callable(value) and not isinstance(value, type)
    interface = INTERFACES.get(origin.__name__)
    return isinstance(value, origin) if interface is None else _has(value, interface[0])


def _has(value: object, attribute: str) -> bool:
    """Tell whether an object's class has an attribute; asking the object would make a call to Node of it."""
    if isinstance(value, type):
        return False
    # What the CDK returns as an interface stands behind a proxy of jsii's.
    return any(hasattr(type(delegate), attribute) for delegate in getattr(value, "_delegates", [value]))


def _described(hint: Any, value: object) -> tuple[str, str]:
    """Return a description of what is wanted, and a remedy or nothing."""
    choices = _choices(hint)
    if set(choices) == {float, str}:
        return "a number, a JSONPath such as '$.limit' or JSONata as '{% ... %}'", ""
    described = [_words(choice, value) for choice in choices]
    remedies = [remedy for _, remedy in described if remedy]
    return " or ".join(words for words, _ in described), remedies[0] if remedies else ""


def _words(kind: Any, value: object) -> tuple[str, str]:
    origin = _origin(kind)
    if origin is collections.abc.Sequence:
        inner = typing.get_args(kind)[0]
        return "a list", "put it into a list" if _fits(value, inner) else f"each of it is {_described(inner, value)[0]}"
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin.__name__ in INTERFACES:
        _, words, remedy = INTERFACES[origin.__name__]
        return words, remedy
    if isinstance(origin, type) and issubclass(origin, enum.Enum):
        return _members(origin, value)
    if origin in _CONTAINERS:
        return _CONTAINERS[origin]
    example = _EXAMPLES.get(origin.__name__)
    return f"{_article(origin)} {origin.__name__}" + (f", such as {example}" if example else ""), ""


def _article(kind: type) -> str:
    return "an" if kind.__name__[0] in "AEIOU" else "a"


def _members(kind: type[enum.Enum], value: object) -> tuple[str, str]:
    members: Sequence[str] = [f"{kind.__name__}.{member.name}" for member in kind]
    which = f"one of {', '.join(members)}" if len(members) <= _MOST_MEMBERS else f"such as {members[0]}"
    meant = [member.name for member in kind if _means(member, value)]
    return f"{_article(kind)} {kind.__name__}, {which}", f"use {kind.__name__}.{meant[0]}" if meant else ""


def _means(member: enum.Enum, value: object) -> bool:
    written = {member.name.casefold(), str(member.value).casefold(), str(getattr(member, "character", "")).casefold()}
    return isinstance(value, str) and value.casefold() in written - {""}
