"""Choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.flow import JSONATA
from cdk_distributed_map.local.asl.json_text import dumps
from cdk_distributed_map.local.asl.jsonata import is_expression, unexpected_type
from cdk_distributed_map.local.asl.paths import NotFoundError, compile_path
from cdk_distributed_map.local.asl.templates import Template
from cdk_distributed_map.local.errors import NO_CHOICE, StateError, UnsupportedError, runtime
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.states.comparisons import COMPARISONS, TYPE_TESTS, wanted_of
from cdk_distributed_map.local.states.state import Outcome, State

Test = Callable[[EvaluationContext], bool]
_COMPOSITES = ("And", "Or", "Not")
_RULE_FIELDS = {"Next", "Assign", "Comment"}


class _Rule:
    def __init__(self, test: Test, next: str, assign: Template | None, output: Template | None) -> None:
        self.test = test
        self.next = next
        self.assign = assign
        self.output = output


class ChoiceState(State):
    """Goes where the first rule that matches says."""

    type = "Choice"
    fields = frozenset({"Choices", "Default", "Assign"})
    json_path_fields = frozenset({"InputPath", "OutputPath"})
    jsonata_fields = frozenset({"Output"})
    transitions = False

    def __init__(self, name: str, fields: Mapping[str, Any], language: str) -> None:
        super().__init__(name, fields, language)
        choices = fields.get("Choices")
        if not isinstance(choices, list) or not choices:
            raise UnsupportedError(f"state {name!r} has no Choices: give at least one rule")
        self._default: str | None = fields.get("Default")
        self._rules = [self._rule(rule, at) for at, rule in enumerate(choices)]

    def _rule(self, rule: Mapping[str, Any], at: int) -> _Rule:
        field = f"Choices[{at}]"
        if not isinstance(rule.get("Next"), str):
            raise UnsupportedError(f"state {self.name!r} has a rule without Next: {dumps(rule)}")
        assign = self.flow.template(rule["Assign"], f"{field}/Assign") if "Assign" in rule else None
        if self.language == JSONATA:
            unknown = set(rule) - _RULE_FIELDS - {"Condition", "Output"}
            if unknown or "Condition" not in rule:
                raise UnsupportedError(
                    f"state {self.name!r}: a rule in JSONata has Condition, Next, Assign and Output, got {sorted(rule)}"
                )
            output = self.flow.template(rule["Output"], f"{field}/Output") if "Output" in rule else None
            return _Rule(self._condition(rule["Condition"], f"{field}/Condition"), rule["Next"], assign, output)
        return _Rule(
            self._test({key: rule[key] for key in rule if key not in _RULE_FIELDS}), rule["Next"], assign, None
        )

    def _condition(self, condition: Any, field: str) -> Test:
        if not isinstance(condition, bool) and not is_expression(condition):
            raise UnsupportedError(
                f"state {self.name!r} has Condition {condition!r}: give an expression as '{{% ... %}}', true or false"
            )
        template = self.flow.template(condition, field)

        def test(evaluation: EvaluationContext) -> bool:
            value = template(evaluation)
            if not isinstance(value, bool):
                raise unexpected_type(condition, field, "boolean", value)
            return value

        return test

    def _test(self, rule: Mapping[str, Any]) -> Test:
        composite = [key for key in _COMPOSITES if key in rule]
        if composite:
            key = composite[0]
            if len(rule) != 1:
                raise UnsupportedError(f"state {self.name!r} has a rule with {key} beside {sorted(rule)}: nest it")
            if key == "Not":
                inner = self._test(_without_comment(rule[key]))
                return lambda evaluation: not inner(evaluation)
            if not isinstance(rule[key], list) or not rule[key]:
                raise UnsupportedError(f"state {self.name!r} has {key} {rule[key]!r}: give a list of at least one rule")
            parts = [self._test(_without_comment(part)) for part in rule[key]]
            combine = all if key == "And" else any
            return lambda evaluation: combine(part(evaluation) for part in parts)
        operators = sorted(set(rule) - {"Variable"})
        if len(operators) != 1 or "Variable" not in rule:
            raise UnsupportedError(f"state {self.name!r}: a rule has Variable and one comparison, got {sorted(rule)}")
        return self._comparison(str(rule["Variable"]), operators[0], rule[operators[0]])

    def _comparison(self, variable: str, name: str, wanted: Any) -> Test:
        path = compile_path(variable)
        fitting = wanted_of(name)
        if fitting is not None and not fitting.accepts(wanted):
            raise UnsupportedError(f"state {self.name!r} has {name} {wanted!r}: {fitting.remedy}")
        if name == "IsPresent":
            return lambda evaluation: _present(path.get, evaluation) == wanted
        if name in TYPE_TESTS:
            check = TYPE_TESTS[name]
            return lambda evaluation: check(_value(path.get, variable, evaluation)) == wanted
        plain = name.removesuffix("Path")
        if plain not in COMPARISONS or (plain == "StringMatches" and plain != name):
            raise UnsupportedError(
                f"state {self.name!r} has the comparison {name!r}: use one of {', '.join(sorted(COMPARISONS))}"
            )
        compare = COMPARISONS[plain]
        if plain == name:
            return lambda evaluation: compare(_value(path.get, variable, evaluation), wanted)
        other = compile_path(wanted)
        return lambda evaluation: compare(_value(path.get, variable, evaluation), _value(other.get, wanted, evaluation))

    async def execute(self, evaluation: EvaluationContext, frame: ExecutionFrame, entered: int) -> Outcome:
        """Choose.

        Raises:
            StateError: ``States.NoChoiceMatched`` where no rule matches and there is no Default.
        """
        del entered
        inner = self.flow.enter(evaluation)
        for rule in self._rules:
            if rule.test(inner):
                output = self.flow.passed(inner) if rule.output is None else rule.output(inner)
                assigned = {} if rule.assign is None else rule.assign(inner)
                return self.exit(frame, evaluation, output, assigned, rule.next)
        if self._default is None:
            cause = "Failed to transition out of the state. The state does not point to a next state."
            raise StateError(NO_CHOICE, cause, in_state=True)
        assigned = self.flow.assigned(inner, inner.root) if self.language != JSONATA else self._jsonata_assigned(inner)
        return self.exit(frame, evaluation, self.flow.passed(inner), assigned, self._default)

    def _jsonata_assigned(self, evaluation: EvaluationContext) -> Mapping[str, Any]:
        return {} if self.flow.assign is None else self.flow.assign(evaluation)


def _without_comment(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in rule.items() if key != "Comment"}


def _present(get: Callable[[Any], Any], evaluation: EvaluationContext) -> bool:
    try:
        get(evaluation)
    except NotFoundError:
        return False
    return True


def _value(get: Callable[[Any], Any], text: str, evaluation: EvaluationContext) -> Any:
    try:
        return get(evaluation)
    except NotFoundError as error:
        raise runtime(
            f"Invalid path '{text}': The choice state's condition path references an invalid value."
        ) from error
