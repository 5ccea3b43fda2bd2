"""Numeric fields of states: a number, a path beside it, or JSONata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.flow import JSONATA
from cdk_distributed_map.local.asl.json_text import Json, dumps, number
from cdk_distributed_map.local.asl.jsonata import is_expression, unexpected_type
from cdk_distributed_map.local.asl.paths import NotFoundError, compile_path
from cdk_distributed_map.local.asl.rules import MAX_SECONDS
from cdk_distributed_map.local.asl.templates import Template, jsonata_template
from cdk_distributed_map.local.errors import UnsupportedError, evaluation_error, runtime

_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")


class NumberField:
    """A numeric field with its ``Path`` form.

    Args:
        state: Name of the state.
        fields: Fields that it may be in.
        name: Its name.
        language: Query language of the state.
        whole: Whether it must be an integer. Default: it must.
        seconds: Whether it is a time limit, which isn't zero and has a most.
        default: Value where the field is absent.
    """

    def __init__(
        self,
        state: str,
        fields: Mapping[str, Any],
        name: str,
        language: str,
        *,
        whole: bool = True,
        seconds: bool = False,
        default: float | None = None,
    ) -> None:
        self.name = name
        self._whole = whole
        self._seconds = seconds
        self._value: Json = default
        self._path: str | None = None
        self._template: Template | None = None
        if f"{name}Path" in fields:
            if name in fields:
                raise UnsupportedError(f"state {state!r} has {name} and {name}Path: give one of them")
            if language == JSONATA:
                raise UnsupportedError(f"state {state!r} has {name}Path, which JSONata hasn't: put it into {name}")
            self._path = fields[f"{name}Path"]
            compile_path(str(self._path))
        elif name in fields and is_expression(fields[name]) and language == JSONATA:
            self._value = fields[name]
            self._template = jsonata_template(fields[name], name)
        elif name in fields:
            self._value = fields[name]
            if not number(self._value) or (whole and int(self._value) != self._value):
                raise UnsupportedError(
                    f"state {state!r} has {name} {self._value!r}: give {'an integer' if whole else 'a number'}"
                )

    def get(self, evaluation: EvaluationContext) -> Any:
        """Return the number, the default without the field.

        Raises:
            StateError: It isn't a number.
        """
        if self._path is not None:
            return self._checked_path(evaluation)
        if self._template is not None:
            value = self._template(evaluation)
            if not number(value) or (self._whole and int(value) != value):
                expected = "integer" if number(value) else "number"
                raise unexpected_type(self._value, self.name, expected, value)
            return self._in_range(int(value) if self._whole else value)
        return self._value

    def _in_range(self, value: Any) -> Any:
        if self._seconds and not 0 < value <= MAX_SECONDS:
            cause = f"The {self.name} field must be an integer from 1 to {MAX_SECONDS} but was: {dumps(value)}"
            raise runtime(cause) if self._template is None else evaluation_error(cause, self.name)
        return value

    def _checked_path(self, evaluation: EvaluationContext) -> Any:
        path = str(self._path)
        compiled = compile_path(path)
        try:
            value = compiled.get(evaluation)
        except NotFoundError as error:
            raise runtime(f"Invalid path '{path}' : {error}") from error
        digits = _DIGITS if self._whole else _DECIMAL
        if compiled.kind.startswith("$") and isinstance(value, str) and digits.fullmatch(value):
            # Recorded: of a variable, a text of digits will do.
            value = int(value) if self._whole else float(value)
        if not number(value) or (self._whole and int(value) != value):
            kind = "integer" if self._whole else "float"
            shown = value if isinstance(value, str) else dumps(value)
            raise runtime(f'The {self.name}Path field refers to value "{shown}" which is not a valid {kind}: {path}')
        return self._in_range(int(value) if self._whole else value)
