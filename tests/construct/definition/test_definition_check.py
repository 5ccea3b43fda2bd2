"""The result writer is there whatever a feature flag says, and a definition that lost it doesn't synthesize."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import aws_cdk as cdk
import pytest
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk.assertions import Template

from cdk_distributed_map import Accounting, Capture, DistributedMapPipeline, ItemSource, Results, Worker
from cdk_distributed_map.graphs import parse, walk

if TYPE_CHECKING:
    from tests.construct.lab import Lab

FLAG = "@aws-cdk/aws-stepfunctions:useDistributedMapResultWriterV2"


# -- the feature flag


@pytest.mark.parametrize("results", [False, True], ids=["default-results", "own-results"])
@pytest.mark.parametrize("place", ["app", "stack", "stage"])
@pytest.mark.parametrize("flag", [True, False, None], ids=["on", "off", "unset"])
def test_the_writer_is_there_whatever_the_flag(
    new_lab: Callable[..., Lab], place: str, *, flag: bool | None, results: bool
) -> None:
    lab = new_lab(context={FLAG: flag} if place == "app" and flag is not None else {})
    scope = cdk.Stage(lab.app, "Stage") if place == "stage" else lab.app
    if place == "stage" and flag is not None:
        scope.node.set_context(FLAG, flag)
    stack = cdk.Stack(scope, "Flagged")
    if place == "stack" and flag is not None:
        stack.node.set_context(FLAG, flag)
    lab.stack = stack
    # The account function may list parts too.
    pipeline = lab.pipeline(
        results=Results(bucket=lab.bucket("Results")) if results else None, accounting=Accounting.none()
    )

    maps = [state for _, state in walk(lab.definition(pipeline)) if state["Type"] == "Map"]
    assert [each["ResultWriter"]["WriterConfig"]["Transformation"] for each in maps] == ["NONE", "NONE"]
    assert all(each["ResultWriter"]["Arguments"]["Prefix"] for each in maps)
    policies = json.dumps(lab.resources("AWS::IAM::Policy"))
    assert policies.count("s3:ListMultipartUploadParts") == 1


# -- the check


def synth_fails(lab: Lab, *words: str) -> None:
    with pytest.raises(RuntimeError, match="Validation failed") as error:
        Template.from_stack(lab.stack)
    message = str(error.value)
    assert not [word for word in words if word not in message], message


def put_definition(lab: Lab, pipeline: DistributedMapPipeline, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the definition by the escape hatch of the L1."""
    machine = cast("sfn.CfnStateMachine", pipeline.state_machine.node.default_child)
    definition = parse(lab.stack.resolve(machine.definition_string))
    change(definition)
    machine.definition_string = json.dumps(definition)


def test_a_definition_changed_by_hand_passes_where_nothing_is_lost(lab: Lab) -> None:
    put_definition(lab, lab.pipeline(), lambda definition: definition.update(Comment="by hand"))

    assert Template.from_stack(lab.stack)


@pytest.mark.parametrize(
    "without",
    [
        ["ResultWriter"],
        ["ResultWriter", "Resource"],
        ["ResultWriter", "Arguments"],
        ["ResultWriter", "Arguments", "Prefix"],
    ],
    ids=".".join,
)
def test_fails_when_the_writer_is_taken_out(lab: Lab, without: list[str]) -> None:
    def take_out(definition: dict[str, Any]) -> None:
        place = definition["States"]["P map"]
        for key in without[:-1]:
            place = place[key]
        del place[without[-1]]

    put_definition(lab, lab.pipeline(), take_out)

    synth_fails(lab, "map 'P map' has lost its ResultWriter", "results would vanish", "take out the override")


def test_fails_when_a_retry_is_put_on_the_map(lab: Lab) -> None:
    def retry(definition: dict[str, Any]) -> None:
        definition["States"]["P map"]["Retry"] = [{"ErrorEquals": ["States.ALL"]}]

    put_definition(lab, lab.pipeline(), retry)

    synth_fails(lab, "map 'P map' has a Retry", "run all items again", "retry inside the worker")


def test_fails_when_the_writer_of_a_nested_map_is_taken_out(lab: Lab, workers: dict[str, Any]) -> None:
    def take_out(definition: dict[str, Any]) -> None:
        del definition["States"]["P map"]["ItemProcessor"]["States"]["P-Nested map"]["ResultWriter"]

    put_definition(lab, lab.pipeline(worker=workers["smallest"]["nested"](lab)), take_out)

    synth_fails(lab, "map 'P-Nested map' has lost its ResultWriter")


def test_fails_when_the_definition_cannot_be_read(lab: Lab) -> None:
    pipeline = lab.pipeline()
    machine = cast("sfn.CfnStateMachine", pipeline.state_machine.node.default_child)
    machine.definition_string = lab.text_parameter("Definition").value_as_string

    synth_fails(lab, "can't be read, so it can't be checked", "Definition")


def test_other_state_machines_are_left_alone(lab: Lab) -> None:
    lab.pipeline()
    for name, text in (("Parameter", lab.text_parameter("Text").value_as_string), ("Broken", "{"), ("List", "[]")):
        sfn.CfnStateMachine(lab.stack, name, role_arn="arn:role", definition_string=text)

    assert Template.from_stack(lab.stack)


def test_fails_when_a_nested_map_has_the_label_of_the_outer(lab: Lab) -> None:
    inner = Worker.nested(
        items=ItemSource.state_array("$.value"), worker=Worker.states(lambda scope: sfn.Pass(scope, "W")), label="Same"
    )
    with pytest.raises((RuntimeError, ValueError), match="Same"):
        lab.definition(lab.pipeline(worker=inner, label="Same"))


def test_fails_when_the_states_of_two_pipelines_with_one_label_share_a_machine(lab: Lab) -> None:
    first, second = (lab.pipeline(name, label="Same").fragment for name in ("First", "Second"))
    chain = sfn.Chain.start(first).next(second)
    with pytest.raises(RuntimeError, match=r"State with name 'Same .*' occurs in both"):
        sfn.StateMachine(lab.stack, "Own", definition_body=sfn.DefinitionBody.from_chainable(chain))


def test_fails_when_labels_repeat_in_one_machine_under_other_names(lab: Lab) -> None:
    def pipeline(name: str) -> DistributedMapPipeline:
        worker = Worker.states(lambda scope: sfn.Pass(scope, f"{name} work"))
        # A second map over an item file would clash by the names of its states first.
        items = ItemSource.captured(Capture.function(lab.function("CaptureFunction")))
        return lab.pipeline(name, label="Same", items=items, worker=worker)

    pipelines = [pipeline(name) for name in ("First", "Second")]
    parts = [each.fragment.to_single_state(state_id=each.node.id) for each in pipelines]
    sfn.StateMachine(lab.stack, "Own", definition_body=sfn.DefinitionBody.from_chainable(parts[0].next(parts[1])))

    synth_fails(lab, "label 'Same' is on more than one map", "give one of the maps another label")


def test_fails_when_one_fragment_is_to_run_in_an_express_machine(lab: Lab) -> None:
    sfn.StateMachine(
        lab.stack,
        "Own",
        definition_body=sfn.DefinitionBody.from_chainable(lab.pipeline().fragment),
        state_machine_type=sfn.StateMachineType.EXPRESS,
    )

    synth_fails(lab, "'Stack/Own/Resource' is EXPRESS", "make it STANDARD", "children can still be Express")


def test_fails_when_a_machine_of_another_stack_takes_the_writer_out_of_the_fragment(lab: Lab) -> None:
    pipeline = lab.pipeline()
    other = lab.new_stack("Other")
    machine = sfn.StateMachine(other, "Own", definition_body=sfn.DefinitionBody.from_chainable(pipeline.fragment))
    resource = cast("sfn.CfnStateMachine", machine.node.default_child)
    definition = parse(other.resolve(resource.definition_string))
    del definition["States"]["P map"]["ResultWriter"]
    resource.definition_string = json.dumps(definition)

    synth_fails(lab, "map 'P map' has lost its ResultWriter")


# -- query languages


def jsonata_machine(lab: Lab, worker: Worker) -> sfn.StateMachine:
    return sfn.StateMachine(
        lab.stack,
        "Own",
        query_language=sfn.QueryLanguage.JSONATA,
        definition_body=sfn.DefinitionBody.from_chainable(lab.pipeline(worker=worker).fragment),
    )


def test_fails_when_states_in_jsonpath_are_to_run_in_a_jsonata_machine(lab: Lab) -> None:
    worker = Worker.states(lambda scope: sfn.Pass(scope, "Prepare", parameters={"id.$": "$.value.id"}))
    jsonata_machine(lab, worker)

    synth_fails(lab, "state 'Prepare' is in JSONata but has Parameters", "query_language=QueryLanguage.JSONATA")


def test_fails_when_a_jsonpath_state_is_wrapped_into_a_jsonata_machine(lab: Lab) -> None:
    worker = Worker.states(lambda scope: sfn.Pass(scope, "Prepare"))
    single = lab.pipeline(worker=worker).fragment.to_single_state()
    sfn.StateMachine(
        lab.stack,
        "Own",
        query_language=sfn.QueryLanguage.JSONATA,
        definition_body=sfn.DefinitionBody.from_chainable(single),
    )

    synth_fails(lab, "Prepare' is in JSONPath inside a state machine in JSONata", "QueryLanguage.JSONATA")


def test_states_in_jsonata_run_in_a_jsonata_machine(lab: Lab) -> None:
    def chain(scope: Any) -> sfn.IChainable:
        return sfn.Pass(scope, "Prepare", query_language=sfn.QueryLanguage.JSONATA, outputs="{% $states.input.value %}")

    machine = jsonata_machine(lab, Worker.states(chain))

    definition = lab.definition(machine)
    assert definition["QueryLanguage"] == "JSONata"
    languages = {state.get("QueryLanguage", "JSONata") for _, state in walk(definition)}
    assert languages == {"JSONata"}


def test_states_in_jsonpath_keep_their_language_in_a_jsonpath_machine(lab: Lab) -> None:
    def chain(scope: Any) -> sfn.IChainable:
        inner = sfn.Map(scope, "Each", items_path="$.value.rows").item_processor(
            sfn.Pass(scope, "Row", parameters={"row.$": "$"})
        )
        return sfn.Pass(scope, "Prepare", parameters={"value.$": "$.value"}).next(inner)

    states = dict(walk(lab.definition(lab.pipeline(worker=Worker.states(chain)))))

    for name in ("Prepare", "Each", "Row"):
        assert states[name]["QueryLanguage"] == "JSONPath", name
        assert states[f"{name} (item file)"]["QueryLanguage"] == "JSONPath", name
    ours = {name: state for name, state in states.items() if name.startswith("P ")}
    assert {state["QueryLanguage"] for state in ours.values()} == {"JSONata"}


# -- the copy of the children over an item file


def test_children_over_an_item_file_are_a_renamed_copy(lab: Lab, workers: dict[str, Any]) -> None:
    definition = lab.definition(lab.pipeline(worker=workers["full"]["states"](lab)))
    first = definition["States"]["P map"]["ItemProcessor"]
    second = definition["States"]["P map item file"]["ItemProcessor"]

    assert set(second["States"]) == {f"{name} (item file)" for name in first["States"]}
    assert json.dumps(second).replace(" (item file)", "") == json.dumps(first)


def test_no_state_name_occurs_twice_and_none_is_too_long(lab: Lab) -> None:
    names = ["N" * 80, "N" * 79 + "M", "N" * 68]

    def chain(scope: Any) -> sfn.IChainable:
        return (
            sfn.Chain.start(sfn.Pass(scope, names[0])).next(sfn.Pass(scope, names[1])).next(sfn.Pass(scope, names[2]))
        )

    every = [name for name, _ in walk(lab.definition(lab.pipeline(worker=Worker.states(chain))))]

    assert len(every) == len(set(every))
    assert max(map(len, every)) == 80


def test_labels_of_item_file_maps_differ_where_long_labels_begin_alike(lab: Lab) -> None:
    labels = [
        label
        for end in "ABC"
        for label in lab.pipeline(f"Pipeline{end}", label="L" * 39 + end).labels
    ]  # fmt: skip

    assert len(set(labels)) == 6
    assert max(map(len, labels)) == 40


# -- a fragment in a map of the user's own


def test_fails_when_the_fragment_is_in_an_inline_map(lab: Lab) -> None:
    each = sfn.Map(lab.stack, "EachDay", items_path="$.days")
    branches = sfn.Parallel(lab.stack, "Both").branch(
        lab.pipeline(items=ItemSource.captured(Capture.ranges())).fragment
    )
    each.item_processor(branches)
    sfn.StateMachine(lab.stack, "Mine", definition_body=sfn.DefinitionBody.from_chainable(each))

    synth_fails(lab, "'P map' is inside the inline map 'EachDay'", "DISTRIBUTED")


def test_the_fragment_may_be_in_a_distributed_map(lab: Lab) -> None:
    each = sfn.DistributedMap(lab.stack, "EachDay", items_path="$.days", label="EachDay")
    each.item_processor(lab.pipeline(items=ItemSource.captured(Capture.ranges())).fragment)
    machine = sfn.StateMachine(lab.stack, "Mine", definition_body=sfn.DefinitionBody.from_chainable(each))

    assert "EachDay" in lab.definition(machine)["States"]
