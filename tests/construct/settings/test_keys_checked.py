"""Keys and prefixes that are surely none, and roles that Step Functions can't assume, fail at synthesis."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam

from cdk_distributed_map import Capture, FileFormat, ItemSource

if TYPE_CHECKING:
    from tests.construct.lab import Lab

MANIFEST = "inv/2026-09-01T01-00Z/manifest.json"

PLACES: dict[str, tuple[str, Callable[[Lab, str], Any]]] = {
    "prefix": ("prefix", lambda lab, text: ItemSource.s3_objects(lab.bucket(), prefix=text)),
    "json": ("key", lambda lab, text: ItemSource.json(lab.bucket(), text)),
    "json-lines": ("key", lambda lab, text: ItemSource.json_lines(lab.bucket(), text)),
    "csv": ("key", lambda lab, text: ItemSource.csv(lab.bucket(), text)),
    "parquet": ("key", lambda lab, text: ItemSource.parquet(lab.bucket(), text)),
    "inventory": ("manifest_key", lambda lab, text: ItemSource.inventory(lab.bucket(), f"{text}/manifest.json")),
    "inventory-data": (
        "data_prefix", lambda lab, text: ItemSource.inventory(lab.bucket(), MANIFEST, data_prefix=text),
    ),
    "athena": (
        "manifest_key",
        lambda lab, text: ItemSource.athena_manifest(
            lab.bucket(), text, format=FileFormat.parquet(), data_prefix="d/"
        ),
    ),
    "athena-data": (
        "data_prefix",
        lambda lab, text: ItemSource.athena_manifest(
            lab.bucket(), "m.csv", format=FileFormat.parquet(), data_prefix=text
        ),
    ),
    "input": (
        "key_prefix",
        lambda lab, text: ItemSource.from_execution_input(
            buckets=[lab.bucket()], format=FileFormat.json(), key_prefix=text
        ),
    ),
    "listing": ("prefixes", lambda lab, text: Capture.s3_listing(lab.bucket(), prefixes=["fine/", text])),
    "payload": ("payload_prefix", lambda lab, text: lab.pipeline(payload_prefix=f"{text}/")),
}  # fmt: skip

WRONG = {
    "s3://lake/in/a": "give 'in/a",
    "S3://lake/in/a": "give 'in/a",
    "s3a://lake/in/a": "give 'in/a",
    "https://lake.s3.amazonaws.com/in/a": "give 'in/a",
    "arn:aws:s3:::lake/in/a": "give 'in/a",
    "arn:aws-cn:s3:::lake/in/a": "give 'in/a",
    "/in/a": "slash",
    "in/*.csv": "such as 'in/'",
    "in/part-?": "such as 'in/part-'",
    "in/${aws:username}": "must not hold '${'",
}


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("place", PLACES)
def test_fails_when_a_key_is_surely_none(lab: Lab, place: str, text: str) -> None:
    name, make = PLACES[place]
    with pytest.raises(ValueError, match=rf"^{name} must .*{re.escape(text)}") as error:
        make(lab, text)

    assert WRONG[text] in str(error.value)
    assert not str(error.value).endswith(".")


@pytest.mark.parametrize(
    "text", ["in/", "a b/ü", "s3/in", "arn/x", "2026-09-01T00:00:00Z", "$x", "a$b{c}", "in/[1]", "x//y", "a~b#c%20+"]
)
def test_any_other_key_passes(lab: Lab, text: str) -> None:
    ItemSource.s3_objects(lab.bucket(), prefix=text)
    ItemSource.json(lab.bucket(), text)
    Capture.s3_listing(lab.bucket(), prefixes=[text])


def test_a_key_that_really_begins_with_a_slash_can_be_given(lab: Lab) -> None:
    lab.pipeline(items=ItemSource.json(lab.bucket(), cdk.Fn.join("", ["/", "in.json"])))

    assert "/in.json" in str(lab.template())


# -- roles

TRUSTS: dict[str, Callable[[Lab], iam.IPrincipal]] = {
    "lambda": lambda _: iam.ServicePrincipal("lambda.amazonaws.com"),
    "events": lambda _: iam.ServicePrincipal("events.amazonaws.com"),
    "account": lambda _: iam.AccountRootPrincipal(),
    "two-others": lambda _: iam.CompositePrincipal(
        iam.ServicePrincipal("lambda.amazonaws.com"), iam.ServicePrincipal("ec2.amazonaws.com")
    ),
}


@pytest.mark.parametrize("trust", TRUSTS)
def test_fails_when_step_functions_cannot_assume_the_role(lab: Lab, trust: str) -> None:
    role = iam.Role(lab.stack, "Given", assumed_by=TRUSTS[trust](lab))
    with pytest.raises(ValueError, match=r"role 'Stack/Given' trusts .*Step Functions can't assume it: .*states\.am"):
        lab.pipeline(role=role)


@pytest.mark.parametrize(
    "make",
    [
        lambda lab: iam.Role(lab.stack, "Given", assumed_by=iam.ServicePrincipal("states.amazonaws.com")),
        lambda lab: iam.Role(
            lab.stack, "Given", assumed_by=iam.CompositePrincipal(
                iam.ServicePrincipal("lambda.amazonaws.com"), iam.ServicePrincipal("states.amazonaws.com")
            ),
        ),
        lambda lab: iam.Role(lab.stack, "Given", assumed_by=iam.AnyPrincipal()),
        lambda lab: iam.Role(
            lab.stack, "Given", assumed_by=iam.ServicePrincipal(lab.text_parameter("Service").value_as_string)
        ),
        lambda lab: iam.Role.from_role_arn(lab.stack, "Given", "arn:aws:iam::111122223333:role/r"),
    ],
    ids=["states", "both", "anybody", "token", "imported"],
)  # fmt: skip
def test_a_role_that_may_be_assumed_passes(lab: Lab, make: Callable[[Lab], iam.IRole]) -> None:
    lab.pipeline(role=make(lab))

    assert lab.template()
