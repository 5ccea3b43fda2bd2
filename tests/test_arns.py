"""ARNs are taken apart by one module, and put together as they were."""

from __future__ import annotations

import pytest

from cdk_distributed_map.arns import Arn, is_arn, parse, split, split_states

STATES = "arn:aws-cn:states:cn-north-1:111122223333"


@pytest.mark.parametrize(
    ("text", "service", "resource"),
    [
        ("arn:aws:s3:::bucket/a:b/c", "s3", "bucket/a:b/c"),
        ("arn:aws:iam::111122223333:role/path/name", "iam", "role/path/name"),
        ("arn:aws:lambda:us-east-1:111122223333:function:F:3", "lambda", "function:F:3"),
    ],
)
def test_an_arn_of_any_service_is_taken_apart(text: str, service: str, resource: str) -> None:
    arn = parse(text)

    assert (arn.service, arn.resource) == (service, resource)
    assert arn.text() == text


@pytest.mark.parametrize("text", ["", "F", "arn:aws:s3", "arn", "s3:aws:states:r:a:execution:M:run"])
def test_other_text_is_no_arn(text: str) -> None:
    assert split(text) is None
    assert split_states(text) is None


def test_fails_when_a_text_that_must_be_an_arn_is_none() -> None:
    with pytest.raises(ValueError, match="an ARN must be arn:<partition>"):
        parse("bucket")


def test_a_name_that_is_meant_to_be_an_arn_is_known() -> None:
    assert is_arn("arn:aws:s3")
    assert not is_arn("Squares")


@pytest.mark.parametrize("qualifier", ["", ":3", ":live"])
def test_a_version_or_alias_is_taken_off(qualifier: str) -> None:
    arn = parse(f"{STATES}:stateMachine:M{qualifier}")

    assert arn.unqualified() == f"{STATES}:stateMachine:M"
    assert Arn("aws", "sqs", "r", "a", "queue").unqualified() == "arn:aws:sqs:r:a:queue"


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("stateMachine:M", ("stateMachine", "M", "", "")),
        ("stateMachine:M:3", ("stateMachine", "M", "", "3")),
        ("stateMachine:M/Label", ("stateMachine", "M", "Label", "")),
        ("execution:M:run", ("execution", "M", "", "run")),
        ("mapRun:M/Label:id", ("mapRun", "M", "Label", "id")),
        ("execution:M/Label:child", ("execution", "M", "Label", "child")),
        ("express:M/Label:child:id", ("express", "M", "Label", "child:id")),
    ],
    ids=str,
)
def test_an_arn_of_step_functions_says_of_what_it_is(resource: str, expected: tuple[str, str, str, str]) -> None:
    arn = split_states(f"{STATES}:{resource}")

    assert arn is not None
    assert (arn.kind, arn.machine, arn.label, arn.name) == expected
    assert arn.text() == f"{STATES}:{resource}"
    assert arn.machine_arn() == f"{STATES}:stateMachine:M"
    assert arn.execution_arn("x") == f"{STATES}:execution:M:x"
    assert arn.express_arn("x:id") == f"{STATES}:express:M:x:id"


@pytest.mark.parametrize("text", ["arn:aws:s3:::bucket", "arn:aws:states:r:a:nothing", "arn:aws:states:r:a"])
def test_others_are_none_of_step_functions(text: str) -> None:
    assert split_states(text) is None
