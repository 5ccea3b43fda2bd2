"""The state machine that starts runs which must not overlap.

It looks for the run before, and gives the next one a name that is made of that one's. Step Functions gives a name once:
of any number of starters that have seen the same run end, one starts the next, and the others are told that it is
there. Nothing has to be locked, and so nothing stays locked after a run that failed, was stopped or is redriven: a run
that is redriven goes on again, and is seen as any other.

Executions are listed with a delay of seconds at most. A list that lacks the newest run leads to a name that is taken;
one that still lacks a redrive of these seconds is the one gap.

https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
"""

from __future__ import annotations

from typing import Any

from aws_cdk import Names
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from cdk_distributed_map.resources import grants
from cdk_distributed_map.settings import retry
from cdk_distributed_map.settings.expressions import wrap
from cdk_distributed_map.settings.overlap import Overlap
from distmap import limits

MOST_LOOKS = 1_400
"""A Standard execution has 25,000 events, and a look has up to 17."""
_FIRST_WAIT = 15
_LONGEST_WAIT = 900
_LANGUAGE = sfn.QueryLanguage.JSONATA
_TAKEN = "Sfn.ExecutionAlreadyExistsException"
_NAME = '"after-" & $substring($hash($before, "SHA-256"), 0, 32)'


def starter(scope: Construct, machine: sfn.StateMachine, overlap: Overlap, key: kms.IKey | None) -> sfn.StateMachine:
    """Return the state machine that starts runs of another one, the same one for the same ``overlap``."""
    own_id = "SkippingStarter" if overlap is Overlap.SKIP else "WaitingStarter"
    existing = scope.node.try_find_child(own_id)
    if isinstance(existing, sfn.StateMachine):
        return existing
    place = Construct(scope, f"{own_id}States")
    name, encryption = None, None
    if key is not None:
        # The key's conditions name the state machine.
        name = Names.unique_resource_name(place, max_length=limits.MAX_NAME_LENGTH, separator="-")
        encryption = sfn.CustomerManagedEncryptionConfiguration(key)
    return sfn.StateMachine(
        scope,
        own_id,
        definition_body=sfn.DefinitionBody.from_chainable(_states(place, machine, overlap)),
        query_language=_LANGUAGE,
        role=grants.role_of(scope, f"{own_id}Role", "states.amazonaws.com"),
        state_machine_name=name,
        encryption_configuration=encryption,
        comment=f"distmap: starts runs of {scope.node.path} that don't overlap",
    )


def _states(scope: Construct, machine: sfn.StateMachine, overlap: Overlap) -> sfn.IChainable:
    """Return the states: what the run before is, whether any goes on, and the start."""
    arn = machine.state_machine_arn
    listing = iam.PolicyStatement(actions=["states:ListExecutions"], resources=[arn])
    begin = sfn.Pass(
        scope,
        "Begin",
        state_name="begin",
        query_language=_LANGUAGE,
        assign={"input": wrap("$states.input"), "looks": 0},
    )
    # In this order: a run that begins between the two has the name that this one would have.
    newest = _Call(
        scope,
        "Newest",
        state_name="newest run",
        action="listExecutions",
        parameters={"StateMachineArn": arn, "MaxResults": 1},
        statement=listing,
        assign={
            "before": wrap('$exists($states.result.Executions[0]) ? $states.result.Executions[0].ExecutionArn : ""'),
            "goesOn": wrap('$exists($states.result.Executions[0][Status in ["RUNNING", "PENDING_REDRIVE"]])'),
            "looks": wrap("$looks + 1"),
        },
    )
    running = _Call(
        scope,
        "Running",
        state_name="runs that go on",
        action="listExecutions",
        parameters={"StateMachineArn": arn, "StatusFilter": "RUNNING", "MaxResults": 1},
        statement=listing,
        output={"free": wrap("$not($goesOn) and $not($exists($states.result.Executions[0]))")},
    )
    start = _Call(
        scope,
        "Start",
        state_name="start",
        action="startExecution",
        parameters={"StateMachineArn": arn, "Name": wrap(_NAME), "Input": wrap("$string($input)")},
        statement=iam.PolicyStatement(actions=["states:StartExecution"], resources=[arn]),
        output={"started": wrap("$states.result.ExecutionArn")},
    )
    free = sfn.Choice(scope, "Free", state_name="free?", query_language=_LANGUAGE)
    busy = _skip(scope) if overlap is Overlap.SKIP else _wait(scope, newest)
    start.add_catch(busy, errors=[_TAKEN])
    free.when(sfn.Condition.jsonata(wrap("$states.input.free")), start).otherwise(busy)
    return begin.next(newest).next(running).next(free)


def _skip(scope: Construct) -> sfn.State:
    return sfn.Succeed(
        scope,
        "Skipped",
        state_name="skipped",
        query_language=_LANGUAGE,
        outputs={"skipped": "another run goes on"},
    )


def _wait(scope: Construct, then: sfn.State) -> sfn.State:
    patience = sfn.Choice(scope, "Patience", state_name="goes on waiting?", query_language=_LANGUAGE)
    # Longer each time, and not all at once: the limit of ListExecutions is the account's.
    longest = f"$min([{_LONGEST_WAIT}, {_FIRST_WAIT} * $power(2, $min([$looks - 1, 10]))])"
    wait = sfn.Wait(
        scope,
        "Wait",
        state_name="wait for the other run",
        query_language=_LANGUAGE,
        time=sfn.WaitTime.seconds(wrap(f"$ceil({longest} * (0.5 + $random() / 2))")),
    )
    wait.next(then)
    over = sfn.Fail(
        scope,
        "StillRunning",
        state_name="other run still goes on",
        query_language=_LANGUAGE,
        error="Distmap.StillRunning",
        cause=wrap(
            f'"another run went on each of the {MOST_LOOKS} times that this start looked for the end of it: start this '
            'one yourself with the input of this execution, or use Overlap.ALLOW"'
        ),
    )
    return patience.when(sfn.Condition.jsonata(wrap(f"$looks < {MOST_LOOKS}")), wait).otherwise(over)


class _Call(tasks.CallAwsService):
    """A call of Step Functions with exact rights."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        state_name: str,
        action: str,
        parameters: dict[str, Any],
        statement: iam.PolicyStatement,
        assign: dict[str, Any] | None = None,
        output: Any = None,
    ) -> None:
        super().__init__(
            scope,
            id,
            state_name=state_name,
            query_language=_LANGUAGE,
            service="sfn",
            action=action,
            parameters=parameters,
            iam_resources=["*"],
            assign=assign,
            outputs=output,
        )
        self._exact = [statement]
        retry.add_service_retry(self, errors=retry.STATES_ERRORS)

    @property
    def _task_policies(self) -> list[iam.PolicyStatement]:
        """Statements the state machine's role gets for this task."""
        return self._exact
