"""The rules of the house: who may know whom, what starts without Node, and what is public."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cdk_distributed_map
import distmap

PACKAGE = Path(cdk_distributed_map.__file__).parent
RUNTIME = Path(distmap.__file__).parent
ROOT = Path(__file__).resolve().parents[1]

CDK = ("aws_cdk", "constructs", "jsii")
ROOMS = ("cli", "local", "plan", "runs", "testing")
CONSTRUCT = tuple(
    f"cdk_distributed_map.{path.stem}"
    for path in sorted(PACKAGE.glob("_*.py"))
    if path.stem not in {"__init__", "_node"}
)

# What each room may not know. A room that doesn't exist yet has no files to be found in.
FORBIDDEN = {
    "runs": (*CDK, *CONSTRUCT, "cdk_distributed_map.local", "cdk_distributed_map.cli", "cdk_distributed_map.testing"),
    "cli": (*CDK, *CONSTRUCT, "cdk_distributed_map.testing"),
    "local": (*CDK, *CONSTRUCT, "cdk_distributed_map.cli", "cdk_distributed_map.runs", "cdk_distributed_map.testing"),
    "plan": (*CDK, *CONSTRUCT, *(f"cdk_distributed_map.{room}" for room in ROOMS if room != "plan")),
}
RUNTIME_OF_THE_CONSTRUCT = {"distmap.limits", "distmap.wire"}


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a module imports at any place, as dotted names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "modules are imported by their whole names"
            # `from package import module` names a module as `import package.module` does.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_at_start(tree: ast.Module) -> Iterator[str]:
    """What is imported as soon as the module is: not in functions, not for type checkers alone."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        pending += [child for child in ast.walk(node) if isinstance(child, ast.stmt) and child in _body(node)]


def _body(node: ast.stmt) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    for field in ("body", "orelse", "finalbody"):
        found += getattr(node, field, [])
    for handler in getattr(node, "handlers", []):
        found += handler.body
    return found


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_one_of(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def files_of(room: str) -> list[Path]:
    return sorted([*PACKAGE.glob(f"{room}/**/*.py"), *PACKAGE.glob(f"{room}.py")])


# -- the source root


@pytest.mark.checkout
def test_the_source_root_is_no_package() -> None:
    # It would shadow the package `constructs` that the CDK imports.
    assert not (ROOT / "constructs" / "__init__.py").exists()
    assert not (ROOT / "constructs.py").exists()


def test_constructs_is_the_one_of_the_cdk() -> None:
    constructs = importlib.import_module("constructs")

    assert constructs.__file__ is not None
    assert "site-packages" in constructs.__file__


@pytest.mark.checkout
def test_tests_are_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


# -- who may know whom


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_knows_only_whom_it_may(room: str) -> None:
    known = {f"{path.name}: {module}" for path in files_of(room) for module in imports(parsed(path))
             if is_one_of(module, FORBIDDEN[room])}  # fmt: skip

    assert known == set()


def test_the_rules_would_find_a_room_that_knows_too_much() -> None:
    tree = ast.parse("def lazily():\n    from cdk_distributed_map import _pipeline\n    import aws_cdk.aws_s3\n")
    found = list(imports(tree))

    assert is_one_of(found[0], FORBIDDEN["runs"])
    assert is_one_of(found[1], FORBIDDEN["local"])


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("_*.py")), ids=lambda path: str(path.stem))
def test_a_module_of_the_construct_knows_limits_and_shapes_alone(path: Path) -> None:
    runtime = {module for module in imports(parsed(path)) if is_one_of(module, ("distmap",))}
    rooms = {
        module
        for module in imports(parsed(path))
        if is_one_of(module, tuple(f"cdk_distributed_map.{room}" for room in ROOMS))
    }
    # The folder of the runtime is put into a layer.
    allowed = RUNTIME_OF_THE_CONSTRUCT | ({"distmap"} if path.stem == "_functions" else set())

    assert {module for module in runtime if not is_one_of(module, tuple(allowed - {"distmap"}))} <= allowed
    assert rooms == set()
    assert not [module for module in imports(parsed(path)) if is_one_of(module, ("boto3", "botocore"))]


@pytest.mark.parametrize("path", sorted(RUNTIME.rglob("*.py")), ids=lambda path: str(path.stem))
def test_the_runtime_starts_with_the_standard_library_alone(path: Path) -> None:
    at_start = {module.split(".")[0] for module in imports_at_start(parsed(path))}
    anywhere = {module.split(".")[0] for module in imports(parsed(path))}

    assert at_start <= sys.stdlib_module_names | {"distmap"}
    typing_only = {"mypy_boto3_s3", "mypy_boto3_lambda", "types_boto3_s3"}
    assert anywhere <= sys.stdlib_module_names | {"distmap", "boto3", "botocore"} | typing_only


@pytest.mark.parametrize("name", ["limits", "wire"])
def test_numbers_and_shapes_know_nobody(name: str) -> None:
    known = {module.split(".")[0] for module in imports(parsed(RUNTIME / f"{name}.py"))}

    assert known <= sys.stdlib_module_names


# -- the public surface


def test_public_names_are_sorted_and_each_has_its_module() -> None:
    assert list(cdk_distributed_map.__all__) == sorted(cdk_distributed_map.__all__)
    assert set(cdk_distributed_map._MODULES) == set(cdk_distributed_map.__all__)
    assert list(cdk_distributed_map._MODULES) == sorted(cdk_distributed_map._MODULES)


@pytest.mark.parametrize("name", cdk_distributed_map.__all__)
def test_a_public_name_is_where_it_is_said_to_be_and_has_words(name: str) -> None:
    value = getattr(cdk_distributed_map, name)

    assert value.__module__.startswith("cdk_distributed_map.")
    assert value.__module__ == f"cdk_distributed_map.{cdk_distributed_map._MODULES[name]}"
    assert value.__doc__


def test_type_checkers_see_the_same_names() -> None:
    tree = parsed(PACKAGE / "__init__.py")
    typed = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    names = {alias.name for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert names == set(cdk_distributed_map.__all__)


def test_fails_when_a_name_is_misspelt() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'DistributedMapPipelines'"):
        _ = cdk_distributed_map.DistributedMapPipelines  # type: ignore[attr-defined]  # what is tested


def test_names_are_listed_for_completion() -> None:
    assert set(cdk_distributed_map.__all__) <= set(dir(cdk_distributed_map))


@pytest.mark.parametrize("name", ["cdk_distributed_map.testing", "distmap"])
def test_public_modules_say_what_is_public(name: str) -> None:
    module = importlib.import_module(name)

    assert list(module.__all__) == sorted(module.__all__)
    assert not [each for each in module.__all__ if not getattr(module, each).__doc__]


# -- what starts without Node

STARTS = """
import sys
{imports}
loaded = sorted({{name.split(".")[0] for name in sys.modules}} & {{{forbidden}}})
assert loaded == [], loaded
"""


def run_in_a_new_process(code: str) -> None:
    # Without a PATH there is no Node to be found by chance.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, env={"PATH": ""}
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("imported", "forbidden"),
    [
        ("import cdk_distributed_map", ("aws_cdk", "constructs", "jsii", "boto3", "botocore")),
        ("import distmap", ("aws_cdk", "constructs", "jsii", "boto3", "botocore", "cdk_distributed_map")),
        ("from distmap import limits, wire", ("aws_cdk", "constructs", "jsii", "boto3", "botocore")),
    ],
    ids=["package", "runtime", "limits"],
)
def test_importing_starts_neither_the_cdk_nor_node(imported: str, forbidden: tuple[str, ...]) -> None:
    run_in_a_new_process(STARTS.format(imports=imported, forbidden=", ".join(map(repr, forbidden))))


@pytest.mark.parametrize("room", ["cli", "runs", "local", "plan"])
def test_a_room_that_needs_no_cdk_starts_without_it(room: str) -> None:
    assert files_of(room)
    run_in_a_new_process(
        STARTS.format(imports=f"import cdk_distributed_map.{room}", forbidden=", ".join(map(repr, CDK)))
    )
