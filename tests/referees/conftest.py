"""What the referees look at: templates, the same with every intrinsic resolved, definitions and policies."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ACCEPTED = HERE / "accepted.toml"
ACCOUNT = "123456789012"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackId": f"arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/stack/1b2c3d4e-0000-11ef-8000-0a1b2c3d4e5f",
    "AWS::StackName": "stack",
    "AWS::URLSuffix": "amazonaws.com",
}
ARNS = {
    "AWS::CloudWatch::Dashboard": "arn:aws:cloudwatch::{account}:dashboard/{name}",
    "AWS::EC2::SecurityGroup": "arn:aws:ec2:us-east-1:{account}:security-group/{name}",
    "AWS::ECS::Cluster": "arn:aws:ecs:us-east-1:{account}:cluster/{name}",
    "AWS::ECS::TaskDefinition": "arn:aws:ecs:us-east-1:{account}:task-definition/{name}:1",
    "AWS::Events::EventBus": "arn:aws:events:us-east-1:{account}:event-bus/{name}",
    "AWS::Events::Rule": "arn:aws:events:us-east-1:{account}:rule/{name}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::KMS::Key": "arn:aws:kms:us-east-1:{account}:key/{name}",
    "AWS::Lambda::Function": "arn:aws:lambda:us-east-1:{account}:function:{name}",
    "AWS::Lambda::LayerVersion": "arn:aws:lambda:us-east-1:{account}:layer:{name}:1",
    "AWS::Logs::LogGroup": "arn:aws:logs:us-east-1:{account}:log-group:{name}:*",
    "AWS::SQS::Queue": "arn:aws:sqs:us-east-1:{account}:{name}",
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::StepFunctions::StateMachine": "arn:aws:states:us-east-1:{account}:stateMachine:{name}",
}
REF_IS_ARN = {"AWS::Lambda::LayerVersion", "AWS::StepFunctions::StateMachine"}


@dataclass(frozen=True)
class Finding:
    """What a referee says about a place."""

    rule: str
    where: str
    message: str


class Resolver:
    """Puts values in the place of a template's intrinsic functions, as a deployment would.

    The tools that can do it (emulators, macros) do it while they deploy. A function or attribute that is not known here
    is an error, so that nothing is judged with a hole in it.
    """

    def __init__(self, template: dict[str, Any]) -> None:
        self._resources = template["Resources"]
        self._parameters = template.get("Parameters", {})

    def resolve(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.resolve(each) for each in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (key, value), *_ = node.items()
            if key in {"Ref", "Fn::GetAtt", "Fn::Join", "Fn::Select", "Fn::Split", "Fn::Sub"}:
                return getattr(self, "_" + key.removeprefix("Fn::").lower())(value)
            assert not key.startswith("Fn::"), f"the resolver doesn't know {key}: teach it"
        return {key: self.resolve(value) for key, value in node.items()}

    def _ref(self, name: str) -> str:
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self._parameters:
            return str(self._parameters[name]["Default"])
        return self._arn(name) if self._resources[name]["Type"] in REF_IS_ARN else self._name(name)

    def _getatt(self, value: list[str]) -> str:
        name, attribute = value
        if attribute == "Name":
            return self._name(name)
        assert attribute in {"Arn", "GroupId", "LayerVersionArn"}, f"the resolver doesn't know {name}.{attribute}"
        return self._name(name) if attribute == "GroupId" else self._arn(name)

    def _join(self, value: tuple[str, list[Any]]) -> str:
        separator, parts = value
        return separator.join(str(self.resolve(part)) for part in self.resolve(parts))

    def _select(self, value: tuple[int, Any]) -> Any:
        return self.resolve(value[1])[int(value[0])]

    def _split(self, value: tuple[str, Any]) -> list[str]:
        return str(self.resolve(value[1])).split(value[0])

    def _sub(self, value: str) -> str:
        return re.sub(r"\$\{([^}.]+)\}", lambda found: self._ref(found[1]), value)

    def _name(self, logical_id: str) -> str:
        kind = self._resources[logical_id]["Type"]
        return logical_id.lower() if kind in {"AWS::S3::Bucket", "AWS::KMS::Key"} else logical_id

    def _arn(self, logical_id: str) -> str:
        return ARNS[self._resources[logical_id]["Type"]].format(account=ACCOUNT, name=self._name(logical_id))


@pytest.fixture(scope="session")
def everything_assembly(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The cloud assembly of everything.py, with the feature flags of cdk.json."""
    return make_once("everything", _synthesize_everything) / "cdk.out"


def _synthesize_everything(folder: Path) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "handler.py").write_text("from elsewhere import handler\n")
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    environment = {"CDK_OUTDIR": str(folder / "cdk.out"), "CDK_CONTEXT_JSON": json.dumps(context)}
    done = subprocess.run(
        [sys.executable, str(HERE / "everything.py"), str(folder / "code")],
        env={**os.environ, **environment, "CDK_VALIDATION": "true"},  # a finding ends the synthesis, by a flag
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def templates(example_templates: dict[str, dict[str, Any]], everything_assembly: Path) -> dict[str, dict[str, Any]]:
    """Every template that is judged, by stack."""
    suffix = ".template.json"
    more = {
        file.name.removesuffix(suffix): json.loads(file.read_text()) for file in everything_assembly.glob(f"*{suffix}")
    }
    return {**example_templates, **more}


@pytest.fixture(scope="session")
def resolved(templates: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The resources of every template by stack, without intrinsic functions."""
    return {stack: Resolver(template).resolve(template["Resources"]) for stack, template in templates.items()}


@pytest.fixture(scope="session")
def definitions(resolved: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every definition of a state machine, by ``<stack>/<logical id>``."""
    found = {
        f"{stack}/{logical_id}": json.loads(resource["Properties"]["DefinitionString"])
        for stack, resources in resolved.items()
        for logical_id, resource in resources.items()
        if resource["Type"] == "AWS::StepFunctions::StateMachine"
    }
    assert len(found) > len(resolved)
    return found


@pytest.fixture(scope="session")
def policies(resolved: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every identity policy, by ``<stack>/<logical id>``."""
    found: dict[str, dict[str, Any]] = {}
    for stack, resources in resolved.items():
        for logical_id, resource in resources.items():
            properties = resource.get("Properties", {})
            if resource["Type"] in {"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}:
                found[f"{stack}/{logical_id}"] = properties["PolicyDocument"]
            for policy in properties.get("Policies", []) if resource["Type"] == "AWS::IAM::Role" else []:
                found[f"{stack}/{logical_id}/{policy['PolicyName']}"] = policy["PolicyDocument"]
    assert len(found) > len(resolved)
    return found


@pytest.fixture(scope="session")
def validate_states() -> Callable[[dict[str, Any]], list[dict[str, str]]]:
    """Runs both validators of definitions."""
    node = shutil.which("node")
    assert node is not None

    def run(definitions: dict[str, Any]) -> list[dict[str, str]]:
        done = subprocess.run(
            [node, str(HERE / "validate_states.cjs")],
            input=json.dumps(definitions),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result: list[dict[str, str]] = json.loads(done.stdout)
        return result

    return run


@pytest.fixture(scope="session")
def judge() -> Callable[[str, Iterable[Finding]], None]:
    """Fails for every finding of a referee that accepted.toml doesn't explain, and for every explanation not needed."""
    accepted = tomllib.loads(ACCEPTED.read_text(encoding="utf-8"))

    def compare(referee: str, findings: Iterable[Finding]) -> None:
        entries = accepted.get(referee, [])
        for entry in entries:
            assert entry.keys() <= {"rule", "where", "reason", "source"}, entry
            assert entry["reason"], f"an entry for {referee} needs a reason: {entry}"
        hit: set[int] = set()
        unexplained = []
        for finding in findings:
            matching = [at for at, entry in enumerate(entries) if _matches(entry, finding)]
            hit.update(matching)
            if not matching:
                unexplained.append(finding)
        if unexplained:
            lines = [f"  {each.rule}\n    at {each.where}\n    {each.message}" for each in unexplained]
            pytest.fail(f"{referee} finds, and {ACCEPTED.name} doesn't explain:\n" + "\n".join(lines), pytrace=False)
        idle = [entry for at, entry in enumerate(entries) if at not in hit]
        assert idle == [], f"{ACCEPTED.name} explains what {referee} no longer finds: take it out\n{idle}"

    return compare


def _matches(entry: dict[str, str], finding: Finding) -> bool:
    return (
        re.fullmatch(entry["rule"], finding.rule) is not None
        and re.fullmatch(entry.get("where", ".*"), finding.where) is not None
    )


@pytest.fixture(scope="session")
def new_finding() -> type[Finding]:
    """The class of findings: modules of tests can't import from each other."""
    return Finding
