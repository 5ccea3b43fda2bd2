"""Pipelines inside bigger things: state machines of the user, stacks, stages, other pipelines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from aws_cdk.assertions import Template

from cdk_distributed_map import Accounting, Capture, Combiner, DistributedMapPipeline, ItemSource, Worker
from cdk_distributed_map.graphs import walk

if TYPE_CHECKING:
    from tests.construct.lab import Lab

LANGUAGES = {None: "default", sfn.QueryLanguage.JSON_PATH: "jsonpath", sfn.QueryLanguage.JSONATA: "jsonata"}
QUERY_LANGUAGES = pytest.mark.parametrize("language", LANGUAGES, ids=LANGUAGES.values())


def machine(
    lab: Lab, chain: sfn.IChainable, language: sfn.QueryLanguage | None = None, id: str = "Own"
) -> sfn.StateMachine:
    return sfn.StateMachine(
        lab.stack, id, definition_body=sfn.DefinitionBody.from_chainable(chain), query_language=language
    )


def ends(definition: dict[str, Any]) -> list[str]:
    return sorted(name for name, state in definition["States"].items() if state.get("End"))


# -- fragments


@QUERY_LANGUAGES
def test_a_fragment_is_chained_in_a_machine_of_any_language(lab: Lab, language: sfn.QueryLanguage | None) -> None:
    fragment = lab.pipeline(items=ItemSource.captured(Capture.ranges())).fragment
    chain = sfn.Pass(lab.stack, "Before").next(fragment).next(sfn.Pass(lab.stack, "After"))
    definition = lab.definition(machine(lab, chain, language))
    ours = {name: state for name, state in walk(definition) if name.startswith("P ")}

    assert definition["StartAt"] == "Before"
    assert definition["States"]["Before"]["Next"] == "P find items"
    assert definition["States"]["P map"]["Next"] == "P account"
    assert definition["States"]["P done"]["Next"] == "After"
    assert ends(definition) == ["After"]
    top = definition.get("QueryLanguage", "JSONPath")
    assert {state.get("QueryLanguage", top) for state in ours.values()} == {"JSONata"}


@QUERY_LANGUAGES
def test_a_fragment_is_the_pipelines_own_flow(lab: Lab, language: sfn.QueryLanguage | None) -> None:
    pipeline = lab.pipeline(
        items=ItemSource.captured(Capture.ranges()), combine=Combiner.function(lab.function("CombineFunction"))
    )
    own = machine(lab, pipeline.fragment, language)
    first, second = lab.definition(pipeline), lab.definition(own)
    for definition in (first, second):
        definition.pop("QueryLanguage", None)
        for _, state in walk(definition):
            state.pop("QueryLanguage", None)

    assert first == second


@QUERY_LANGUAGES
def test_a_fragment_as_a_single_state_can_be_caught(lab: Lab, language: sfn.QueryLanguage | None) -> None:
    single = lab.pipeline().fragment.to_single_state()
    single.add_catch(sfn.Pass(lab.stack, "Caught"))
    definition = lab.definition(machine(lab, single, language))

    assert definition["States"]["P"]["Type"] == "Parallel"
    assert definition["States"]["P"]["Catch"][0]["Next"] == "Caught"
    (branch,) = definition["States"]["P"]["Branches"]
    languages = {name: state.get("QueryLanguage") for name, state in walk(branch)}
    assert set(languages.values()) == {"JSONata"}, languages


def test_a_fragment_shares_functions_and_bucket_with_its_pipeline(lab: Lab) -> None:
    pipeline = lab.pipeline(items=ItemSource.captured(Capture.ranges()), worker=lab.python_worker())
    machine(lab, pipeline.fragment)

    assert len(lab.resources("AWS::Lambda::Function")) == 3
    assert len(lab.resources("AWS::S3::Bucket")) == 1
    assert pipeline.fragment is pipeline.fragment


def test_fragments_of_several_pipelines_share_a_machine(lab: Lab) -> None:
    first, second = lab.pipeline("First"), lab.pipeline("Second")
    definition = lab.definition(machine(lab, sfn.Chain.start(first.fragment).next(second.fragment)))

    assert definition["States"]["First done"]["Next"] == "Second find items"
    assert ends(definition) == ["Second done"]


def test_single_states_of_several_pipelines_share_a_machine(lab: Lab) -> None:
    both = sfn.Parallel(lab.stack, "Both")
    for name in ("First", "Second"):
        both.branch(lab.pipeline(name).fragment.to_single_state())

    names = [name for name, _ in walk(lab.definition(machine(lab, both)))]
    assert {"First", "Second"} < set(names)


@pytest.mark.parametrize("kind", ["python", "function", "states", "nested"])
def test_each_kind_of_worker_is_used_by_pipeline_and_fragment(lab: Lab, workers: dict[str, Any], kind: str) -> None:
    pipeline = lab.pipeline(worker=workers["full"][kind](lab))
    own = machine(lab, pipeline.fragment)

    assert lab.definition(pipeline) == lab.definition(own)


# -- failures


def test_without_on_failure_nothing_is_caught(lab: Lab) -> None:
    pipeline = lab.pipeline(items=ItemSource.captured(Capture.ranges()))

    assert not [name for name, state in walk(lab.definition(pipeline)) if "Catch" in state]


def test_on_failure_catches_every_step_of_the_run_but_not_of_the_children(lab: Lab) -> None:
    pipeline = lab.pipeline(
        items=ItemSource.captured(Capture.ranges()),
        combine=Combiner.function(lab.function("CombineFunction")),
        on_failure=sfn.Pass(lab.stack, "Tell").next(sfn.Fail(lab.stack, "Failed")),
    )
    states = lab.definition(pipeline)["States"]
    caught = {name: state["Catch"] for name, state in walk(lab.definition(pipeline)) if "Catch" in state}

    assert set(caught) == {"P capture", "P map", "P account", "P combine"}
    for (rule,) in caught.values():
        assert rule["ErrorEquals"] == ["States.ALL"]
        assert rule["Next"] == "Tell"
        assert rule["Output"]["error"] == "{% $states.errorOutput %}"
    assert states["Tell"]["Next"] == "Failed"


def test_on_failure_is_no_part_of_the_fragment(lab: Lab) -> None:
    pipeline = lab.pipeline(on_failure=sfn.Fail(lab.stack, "Failed"))
    own = machine(lab, pipeline.fragment)

    assert "Failed" in lab.definition(pipeline)["States"]
    assert "Failed" not in lab.definition(own)["States"]


# -- stacks, stages, environments


def test_several_pipelines_share_a_stack_and_one_runtime(lab: Lab) -> None:
    for name in ("First", "Second", "Third"):
        lab.pipeline(name, items=ItemSource.captured(Capture.ranges()), worker=lab.python_worker())

    assert len(lab.resources("AWS::StepFunctions::StateMachine")) == 3
    assert len(lab.resources("AWS::Lambda::LayerVersion")) == 1
    assert len(lab.resources("AWS::Lambda::Function")) == 9


def test_pipelines_share_a_bucket_under_their_prefixes(lab: Lab) -> None:
    shared = s3.Bucket(lab.stack, "Shared")
    pipelines = [lab.pipeline(name, payload_bucket=shared, payload_prefix=f"{name}/") for name in ("a", "b")]

    assert len(lab.resources("AWS::S3::Bucket")) == 1
    assert [each.payload_bucket for each in pipelines] == [shared, shared]


def test_pipelines_live_in_stages(lab: Lab) -> None:
    templates = []
    for name in ("Test", "Production"):
        stage = cdk.Stage(lab.app, name)
        lab.stack = lab.new_stack("Stack", scope=stage)
        lab.pipeline(items=ItemSource.captured(Capture.ranges()), worker=lab.python_worker())
        templates.append(lab.template())

    assert templates[0] == templates[1]


def test_pipelines_live_in_nested_stacks(lab: Lab) -> None:
    nested = cdk.NestedStack(lab.stack, "Nested")
    DistributedMapPipeline(
        nested, "P", items=ItemSource.state_array(), worker=Worker.states(lambda scope: sfn.Pass(scope, "Work"))
    )

    Template.from_stack(nested).resource_count_is("AWS::StepFunctions::StateMachine", 1)


def function_of(stack: cdk.Stack, id: str) -> lambda_.Function:
    return lambda_.Function(
        stack,
        id,
        runtime=lambda_.Runtime.PYTHON_3_13,
        handler="index.handler",
        code=lambda_.Code.from_inline("def handler(event, context): ..."),
    )


def policies_of(template: dict[str, Any], action: str) -> list[str]:
    """Return the policies of a template that allow an action."""
    return [
        name
        for name, each in template["Resources"].items()
        if each["Type"] == "AWS::IAM::Policy" and f'"{action}' in json.dumps(each["Properties"]["PolicyDocument"])
    ]


@pytest.mark.parametrize("nested", [False, True], ids=["outer", "nested"])
def test_buckets_and_functions_come_from_another_stack(lab: Lab, *, nested: bool) -> None:
    other = lab.new_stack("Other")
    data = s3.Bucket(other, "Data")
    capture, worker, combine = (function_of(other, name) for name in ("Capture", "Worker", "Combine"))
    own: dict[str, Any] = {
        "items": ItemSource.captured(Capture.function(capture)),
        "worker": Worker.function(worker),
        "combine": Combiner.function(combine),
    }
    if nested:
        own = {"items": ItemSource.json(data, "k"), "worker": Worker.nested(**own)}
    lab.pipeline(**own)

    template = lab.template()
    assert "Other:ExportsOutput" in json.dumps(template)
    # What they need is given in this stack, to roles of the other: the other knows nothing of this one.
    assert len(policies_of(template, "s3:PutObject")) == 5
    assert policies_of(lab.template(other), "s3:") == []


def test_the_role_comes_from_another_stack(lab: Lab) -> None:
    other = lab.new_stack("Other")
    trust = {"ArnLike": {"aws:SourceArn": "arn:aws:states:*:*:stateMachine:*"}}
    role = iam.Role(other, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com", conditions=trust))
    pipeline = lab.pipeline(role=role, child_type=sfn.StateMachineType.EXPRESS)

    template = lab.template()
    assert pipeline.role is role
    assert len(policies_of(template, "lambda:InvokeFunction")) == len(policies_of(template, "states:Start")) == 1
    assert policies_of(lab.template(other), "") == []
    assert lab.warnings("distmap:RoleLacksPermissions") == []
    assert len(lab.warnings("distmap:ExpressRoleTrust")) == 1


def test_fails_when_the_role_of_another_stack_has_a_path(lab: Lab) -> None:
    trusted = iam.ServicePrincipal("states.amazonaws.com")
    role = iam.Role(cdk.Stack(lab.app, "Roles"), "Given", assumed_by=trusted, path="/service/")

    with pytest.raises(ValueError, match=r"'Roles/Given' is in another stack and has the path '/service/'.*leave its"):
        lab.pipeline(role=role)


def test_fails_nowhere_when_a_function_of_another_stack_is_granted_something(lab: Lab) -> None:
    other = lab.new_stack("Other")
    worker = function_of(other, "Worker")
    called = function_of(other, "Called")
    pipeline = lab.pipeline(
        worker=Worker.states(
            lambda scope: sfn.Chain.start(
                tasks.LambdaInvoke(scope, "Call", lambda_function=called, payload_response_only=True)
            )
        ),
        combine=Combiner.function(worker),
    )
    for function in (worker, called):
        pipeline.grant_operate(function)
        pipeline.grant_read_results(function)

    assert len(policies_of(lab.template(), "states:DescribeMapRun")) == 3
    assert policies_of(lab.template(other), "states:") == []


def circles(template: dict[str, Any]) -> list[str]:
    """Return resources that wait for themselves, as CloudFormation sees it."""
    names = set(template["Resources"])

    def needs(value: Any) -> set[str]:
        if isinstance(value, list):
            return {name for each in value for name in needs(each)}
        if not isinstance(value, dict):
            return set()
        found = {value["Ref"]} if isinstance(value.get("Ref"), str) else set()
        if "Fn::GetAtt" in value:
            found.add(value["Fn::GetAtt"][0])
        return found.union(*(needs(each) for each in value.values()))

    waits = {
        name: (needs(each) | set(each.get("DependsOn", []))) & names for name, each in template["Resources"].items()
    }
    while True:
        free = [name for name, others in waits.items() if not others & waits.keys()]
        if not free:
            return sorted(waits)
        for name in free:
            del waits[name]


GRANTS = ("grant_start_execution", "grant_put_items", "grant_read_results", "grant_operate")


@pytest.mark.parametrize("given", [False, True], ids=["made-here", "given"])
def test_functions_of_a_pipeline_are_granted_what_it_offers(lab: Lab, *, given: bool) -> None:
    made: dict[str, Any] = {
        "items": ItemSource.captured(Capture.python(str(lab.code), handler="handler.handler")),
        "worker": lab.python_worker(),
        "combine": Combiner.python(str(lab.code), handler="handler.handler"),
    }
    taken: dict[str, Any] = {
        "items": ItemSource.captured(Capture.function(lab.function("CaptureFunction"))),
        "worker": Worker.function(lab.function("WorkerFunction").add_alias("live")),
        "combine": Combiner.function(lab.function("CombineFunction")),
    }
    pipeline = lab.pipeline(**(taken if given else made))
    assert pipeline.capture is not None
    assert pipeline.combine is not None
    assert pipeline.account is not None
    for function in (pipeline.worker, pipeline.capture, pipeline.combine, pipeline.account):
        for grant in GRANTS:
            assert getattr(pipeline, grant)(function).success
    assert pipeline.worker.role is not None
    pipeline.grant_start_execution(pipeline.worker.role)

    assert circles(lab.template()) == []
    policies = ["PAccountPolicy", "PCapturePolicy", "PCombinePolicy", "PWorkerPolicy"]
    found = [name[:-8] for name in policies_of(lab.template(), "states:DescribeMapRun")]
    assert sorted(found) == policies


@pytest.mark.parametrize("by", ["state_machine", "role"])
def test_a_state_machine_is_granted_what_its_pipeline_offers(lab: Lab, by: str) -> None:
    pipeline = lab.pipeline()
    for grant in GRANTS:
        assert getattr(pipeline, grant)(getattr(pipeline, by)).success

    assert circles(lab.template()) == []
    account, own = sorted(policies_of(lab.template(), "states:DescribeMapRun"))
    assert account.startswith("PAccountPolicy")
    assert own.startswith("POwnPolicy")


@pytest.mark.parametrize("by", ["state_machine", "role"])
def test_a_state_machine_with_a_role_of_another_stack_is_granted_what_its_pipeline_offers(lab: Lab, by: str) -> None:
    trusted = iam.ServicePrincipal("states.amazonaws.com")
    pipeline = lab.pipeline(role=iam.Role(cdk.Stack(lab.app, "Roles"), "Given", assumed_by=trusted))
    for grant in GRANTS:
        assert getattr(pipeline, grant)(getattr(pipeline, by)).success

    assert circles(lab.template()) == []
    account, own = sorted(policies_of(lab.template(), "states:DescribeMapRun"))
    assert account.startswith("PAccountPolicy")
    assert own.startswith("POwnPolicy")


def test_functions_that_states_of_the_user_call_are_granted_what_it_offers(lab: Lab) -> None:
    called, told = lab.function("Called"), lab.function("Told")
    pipeline = lab.pipeline(
        worker=Worker.states(lambda scope: tasks.LambdaInvoke(scope, "Call", lambda_function=called)),
        on_failure=sfn.Pass(lab.stack, "Handle").next(tasks.LambdaInvoke(lab.stack, "Tell", lambda_function=told)),
    )
    for grant in GRANTS:
        for function in (called, told):
            assert getattr(pipeline, grant)(function).success

    assert circles(lab.template()) == []


def test_the_search_for_circles_finds_one() -> None:
    first = {"Type": "A", "Properties": {"x": {"Fn::Join": ["", [{"Fn::GetAtt": ["Second", "Arn"]}]]}}}
    template = {"Resources": {"First": first, "Second": {"Type": "B", "DependsOn": ["First"]}, "Third": {"Type": "C"}}}

    assert circles(template) == ["First", "Second"]


@pytest.mark.parametrize(
    "env",
    [None, cdk.Environment(region="eu-west-1"), cdk.Environment(account="111122223333", region="us-gov-west-1")],
    ids=["agnostic", "region", "account-and-region"],
)
def test_a_stack_is_of_any_environment(new_lab: Callable[..., Lab], env: cdk.Environment | None) -> None:
    lab = new_lab(env=env)
    lab.pipeline(items=ItemSource.captured(Capture.s3_listing(lab.bucket())), worker=lab.python_worker())

    assert "arn:aws:" not in json.dumps(lab.template())


# -- nested maps


def test_maps_are_nested_two_levels_deep(lab: Lab) -> None:
    innermost = Worker.nested(
        items=ItemSource.state_array("$.value"), worker=lab.python_worker(), max_concurrency=2, label="Innermost"
    )
    inner = Worker.nested(items=ItemSource.s3_objects(lab.bucket()), worker=innermost, max_concurrency=3, label="Inner")
    pipeline = lab.pipeline(worker=inner, max_concurrency=5, accounting=Accounting.none())
    definition = lab.definition(pipeline)
    labels = {state["Label"]: state for _, state in walk(definition) if state["Type"] == "Map"}

    assert set(labels) == {f"{label}{end}" for label in ("P", "Inner", "Innermost") for end in ("", "-ItemFile")}
    assert set(pipeline.labels) == set(labels)
    assert labels["P"]["MaxConcurrency"] == labels["P-ItemFile"]["MaxConcurrency"] == 5
    assert labels["Innermost"]["MaxConcurrency"] == 2
    # All that may run at once: five times three times two.
    (function,) = lab.resources("AWS::Lambda::Function").values()
    assert function["Properties"]["ReservedConcurrentExecutions"] == 30
    assert pipeline.worker.node.path.endswith("P/Nested/Nested/Worker")


def test_nested_maps_in_fragments(lab: Lab, workers: dict[str, Any]) -> None:
    pipeline = lab.pipeline(worker=workers["full"]["nested"](lab))
    definition = lab.definition(machine(lab, pipeline.fragment, sfn.QueryLanguage.JSONATA))
    maps = [state for _, state in walk(definition) if state["Type"] == "Map"]

    assert len(maps) == 4
    assert {state.get("QueryLanguage", "JSONata") for _, state in walk(definition)} == {"JSONata"}


# -- ids


def test_ids_are_as_documented(lab: Lab) -> None:
    pipeline = lab.pipeline(
        items=ItemSource.captured(Capture.ranges()),
        worker=lab.python_worker(),
        combine=Combiner.python(str(lab.code), handler="handler.handler"),
        dashboard=True,
    )
    assert pipeline.fragment
    children = {child.node.id for child in pipeline.node.children}

    documented = {"PayloadBucket", "Role", "LogGroup", "StateMachine", "Flow", "Fragment", "Dashboard"} | {
        "AccountForFailedRuns"
    }
    ends = ("", "Role", "Logs", "Policy")
    functions = {f"{name}{end}" for name in ("Worker", "Capture", "Combine", "Account") for end in ends}
    assert children == documented | functions
    for name in documented | functions:
        assert name.removesuffix("Role").removesuffix("Logs").removesuffix("Policy") in str(
            DistributedMapPipeline.__doc__
        )


def test_logical_ids_are_stable(lab: Lab) -> None:
    pipeline = lab.pipeline(items=ItemSource.captured(Capture.ranges()), worker=lab.python_worker())
    made = [
        pipeline.payload_bucket, pipeline.role, pipeline.log_group, pipeline.state_machine, pipeline.worker,
        pipeline.capture,
    ]  # fmt: skip

    ids = [lab.stack.get_logical_id(each.node.default_child) for each in made]  # type: ignore[union-attr, arg-type]  # L2s
    assert ids == [
        "PPayloadBucket1048A6C5",
        "PRole07BDC907",
        "PLogGroupCABFEA96",
        "PStateMachineD7DE3D71",
        "PWorker8F385B96",
        "PCaptureC9693838",
    ]
