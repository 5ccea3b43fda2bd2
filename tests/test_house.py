"""The rules of the house: who may know whom, what starts without Node, and what is public."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cdk_distributed_map
import distmap

PACKAGE = Path(cdk_distributed_map.__file__).parent
RUNTIME = Path(distmap.__file__).parent
TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
TEST_FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.rglob("*.py"))

CDK = ("aws_cdk", "constructs", "jsii")
CONSTRUCT = ("pipeline", "definition", "resources", "settings", "permissions", "_node")
"""What is made of and with the CDK."""

# Whom each room may know, from the ground up: a folder is a room, and so is a file that lies beside folders. Whatever
# is not named here a room must not know, at whatever place it imports it; the standard library's and other packages
# are a matter of KNOWS_NO_CDK.
SETTINGS = {"names", "permissions", "settings"}
ASL = {"arns", "graphs", "local.errors", "local.asl"}
EXECUTION = {*ASL, "local.faults", "local.outcomes", "local.execution"}
TASKS = {*EXECUTION, "local.iam", "local.tasks"}
STATES = {*TASKS, "local.states"}
SERVING = {"local.embedded", "local.endpoints", "local.engine", "local.events", "local.functions"}
CLIENT = {"arns", "runs.errors", "runs.text", "runs.notices", "runs.aws"}
READING = {"runs.find", "runs.files", "runs.ledger", "runs.results"}
MAY_KNOW: dict[str, set[str]] = {
    "": {"_node", "pipeline", "resources", "settings"},
    "_node": set(),
    "amounts": set(),
    "arns": set(),
    "graphs": set(),
    "names": {"graphs"},
    "caches": set(),
    "endpoints": set(),
    "prices": set(),
    "permissions": set(),
    "plan": {"amounts", "graphs", "prices"},
    # The construct: what is declared, what is made for it, what is rendered of it.
    "settings": {"names", "permissions"},
    "bundling": {"caches"},
    "resources": {*SETTINGS, "bundling", "caches"},
    "definition": {*SETTINGS, "graphs", "plan", "resources"},
    "pipeline": {"definition", "permissions", "plan", "resources", "settings"},
    "testing": {"graphs", "plan", "local.cloud", "local.deployed", "local.execution_path", "local.outcomes"},
    # The client.
    "runs.errors": set(),
    "runs.text": set(),
    "runs.notices": set(),
    "runs.aws": {"arns", "endpoints", "runs.errors"},
    "runs.find": {"arns", "graphs", "names", "runs.aws", "runs.errors"},
    "runs.files": {*CLIENT, "runs.find"},
    "runs.start": {*CLIENT, "runs.find", "runs.files"},
    "runs.ledger": {*CLIENT, "runs.find", "runs.files", "runs.start"},
    "runs.results": {*CLIENT, "runs.find", "runs.files", "runs.ledger"},
    "runs.watch": {*CLIENT, "runs.find"},
    "runs.run": {*CLIENT, *READING, "plan", "runs.foresight", "runs.start", "runs.watch"},
    "runs.client": {*CLIENT, "runs.find", "runs.run"},
    "runs.foresight": {*CLIENT, "graphs", "names", "plan", "runs.files", "runs.find"},
    "runs.report": {*CLIENT, "amounts", "plan", "prices", "runs.find", "runs.files", "runs.foresight", "runs.ledger"},
    "runs": {*CLIENT, "runs.client", "runs.ledger", "runs.results", "runs.run", "runs.watch"},
    # The engine and the AWS around it.
    "local.errors": set(),
    "local.faults": set(),
    "local.mock_file": set(),
    "local.outcomes": {"names", "local.mock_file"},
    "local.execution_path": {"arns"},
    "local.simulation": {*EXECUTION, "local.engine", "local.functions"},
    "local.deployed": {*EXECUTION, "local.embedded", "local.execution_path"},
    "local.guardian": set(),
    "local.guardian_main": set(),
    "local.asl": {"graphs", "local.errors"},
    "local.execution": {*ASL, "local.faults", "local.outcomes"},
    "local.iam": EXECUTION,
    "local.embedded": {*EXECUTION, "endpoints", "names", "local.guardian"},
    "local.functions": {*EXECUTION, "bundling", "caches", "local.embedded", "local.guardian"},
    "local.events": {*EXECUTION, "local.functions", "local.iam"},
    "local.tasks": {*EXECUTION, "endpoints", "local.iam"},
    "local.states": TASKS,
    "local.distributed": STATES,
    "local.program": {*STATES, "local.distributed"},
    "local.api": {*STATES, "local.distributed", "local.program"},
    "local.engine": {*STATES, "local.api", "local.distributed", "local.embedded"},
    "local": {*EXECUTION, "local.embedded", "local.engine", "local.endpoints"},
    "local.endpoints": {*EXECUTION, "local.embedded", "local.engine", "local.events", "local.functions", "local.iam"},
    "local.server": {*EXECUTION, *SERVING, "endpoints", "local.deployed", "local", "local.iam", "local.guardian"},
    "local.control": {"local.embedded", "local.endpoints", "local.faults", "local.functions", "local.server"},
    "local.cloud": {"local.deployed"},
    "local.pytest_plugin": {"local.cloud", "local.deployed", "local.embedded", "local.faults", "local.server"},
    "local.__main__": {"local.control", "local.embedded", "local.guardian"},
    # The command, on top.
    "cli": {
        *CLIENT,
        "amounts",
        "runs",
        "runs.files",
        "plan",
        "prices",
        "runs.find",
        "runs.foresight",
        "runs.report",
        "runs.results",
        "local.control",
        "local.embedded",
    },
}
LONGEST_FILE = 400
"""Lines of a file of the package or the runtime: what is longer holds two things, or says here why it doesn't."""
LONGER_FILES = {
    "constructs/cdk_distributed_map/runs/run.py": "half of it is the words on what users call of a pipeline and a run",
    "constructs/cdk_distributed_map/pipeline.py": "a fifth of it is the words on the arguments of the one construct",
    "constructs/cdk_distributed_map/settings/workers.py": "a factory for each kind of worker, with the words on it",
    "lambdas/distmap/wire.py": "every wire shape, declared once, with its words",
}
KNOWS_NO_CDK = (
    "amounts",
    "arns",
    "bundling",
    "caches",
    "cli",
    "endpoints",
    "graphs",
    "local",
    "names",
    "plan",
    "prices",
    "runs",
)
MODULE_OF = cdk_distributed_map._MODULES  # noqa: SLF001 - it is tested here
RUNTIME_OF_THE_CONSTRUCT = {"distmap.limits", "distmap.pages", "distmap.wire"}

# A module with an underscore is its room's own business, and that of the room's tests.
TESTS_OF_PRIVATE_MODULES = {"cli": "cdk_distributed_map.cli", "runtime": "distmap"}
PRIVATE_MODULES_IN_OTHER_TESTS = {
    ("runs/ledger/test_nested.py", "distmap._nested_reading"): "it lowers a limit, to reach it with a few items",
    ("runs/test_failed_runs.py", "distmap._stream"): "it counts what the client reads of an item file",
    ("runs/test_start.py", "distmap._stream"): "it lowers a limit, to reach it with a few bytes",
}
MOST_LINES_OF_A_CONFTEST = 300


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


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """What a file imports at any place."""
    return frozenset(imports(parsed(path)))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_one_of(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def files_of(room: str) -> list[Path]:
    return sorted([*PACKAGE.glob(f"{room}/**/*.py"), *PACKAGE.glob(f"{room}.py")])


def modules() -> dict[str, Path]:
    """Every module of the package by its name below it, that of a room without ``__init__``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        # What runs in processes of functions knows nothing of ours; a wheel holds the capture function's code as well.
        if not {"child", "lambdas"} & set(parts):
            found[".".join(parts).removesuffix("__init__").rstrip(".")] = path
    return found


def module_of(name: str, known: dict[str, Path]) -> str:
    """The module that a dotted name of the package is, or is something in."""
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in known:
        parts.pop()
    return ".".join(parts)


def room_of(module: str) -> str:
    """The room that a module is in: a folder, or a file beside folders."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] in {"local", "runs"} else 1])


@functools.cache
def graph(*, of_rooms: bool) -> dict[str, set[str]]:
    """Who knows whom, at whatever place of a file: lazily and for type checkers too."""
    known = modules()
    found: dict[str, set[str]] = {}
    for module, path in known.items():
        names = [name for name in imported(path) if is_one_of(name, ("cdk_distributed_map",))]
        targets = {module_of(name, known) for name in names}
        who = room_of(module) if of_rooms else module
        found.setdefault(who, set()).update({room_of(each) for each in targets} if of_rooms else targets)
    return {who: targets - {who} for who, targets in found.items()}


def circle(edges: dict[str, set[str]]) -> set[str]:
    """What is left when whoever knows nobody, or is known by nobody, has been taken away again and again."""
    left = {name: set(known) for name, known in edges.items()}
    while True:
        known_by_somebody = set().union(*left.values()) if left else set()
        stays = {name for name, known in left.items() if known & left.keys() and name in known_by_somebody}
        if stays == left.keys():
            return stays
        left = {name: left[name] & stays for name in stays}


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
    assert list(TESTS.rglob("__init__.py")) == []


def named_in(file: str) -> set[str]:
    """What a test names of our packages, as dotted names: imported, or in a text that is patched or run."""
    tree = parsed(TESTS / file)
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    ours = r"\b(?:cdk_distributed_map|distmap)(?:\.\w+)+"
    return {name for text in (*imports(tree), *texts) for name in re.findall(ours, text)}


def is_private_in(file: str, name: str) -> bool:
    """Say whether a dotted name has a private part, but for that of a module that the test may know."""
    modules = [re.escape(module) for of, module in PRIVATE_MODULES_IN_OTHER_TESTS if of == file]
    if (own := TESTS_OF_PRIVATE_MODULES.get(file.partition("/")[0])) is not None:
        modules.append(rf"{re.escape(own)}\._\w+")
    rest = re.sub(rf"^(?:{'|'.join(modules)})\b", "", name) if modules else name
    return any(part.startswith("_") and not part.startswith("__") for part in rest.split("."))


def test_tests_name_what_is_public_or_their_own_rooms() -> None:
    files = [file for file in TEST_FILES if file != "test_house.py"]  # it names what it rules
    found = {file: [name for name in named_in(file) if is_private_in(file, name)] for file in files}

    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize(("file", "module"), PRIVATE_MODULES_IN_OTHER_TESTS)
def test_an_exception_is_needed(file: str, module: str) -> None:
    assert [name for name in named_in(file) if is_one_of(name, (module,))]


def test_tests_share_modules_and_not_each_other() -> None:
    shared = {(file, name) for file in TEST_FILES for name in imported(TESTS / file) if is_one_of(name, ("tests",))}

    assert shared
    assert [(file, name) for file, name in shared if re.search(r"\.(conftest|test_\w+)\.", f"{name}.")] == []


def test_what_a_conftest_gives_is_made_in_modules() -> None:
    conftests = [file for file in TEST_FILES if file.endswith("conftest.py")]
    lengths = {file: len((TESTS / file).read_text(encoding="utf-8").splitlines()) for file in conftests}

    assert {file: lines for file, lines in lengths.items() if lines > MOST_LINES_OF_A_CONFTEST} == {}


@pytest.mark.parametrize(("tests", "rooms"), [("construct", ""), ("local", "local"), ("runs", "runs")], ids=str)
def test_folders_of_tests_are_rooms(tests: str, rooms: str) -> None:
    folders = {parts[1] for file in TEST_FILES if len(parts := file.split("/")) > 2 and parts[0] == tests}

    assert {name for name in folders if not (PACKAGE / rooms / name / "__init__.py").is_file()} == set()


# -- who may know whom


def test_every_room_is_known() -> None:
    assert set(graph(of_rooms=True)) == set(MAY_KNOW)


@pytest.mark.parametrize("room", MAY_KNOW)
def test_a_room_knows_only_whom_it_may(room: str) -> None:
    assert graph(of_rooms=True)[room] - MAY_KNOW[room] == set()


@pytest.mark.parametrize("of_rooms", [True, False], ids=["rooms", "modules"])
def test_nobody_knows_in_a_circle(of_rooms: bool) -> None:  # noqa: FBT001 - a parameter of the test
    # Not even lazily or for type checkers: who wants to know the other then has it handed over.
    assert circle(graph(of_rooms=of_rooms)) == set()


def test_a_circle_would_be_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == {"a", "b", "c"}


def is_file_of(folder: Path, name: str) -> bool:
    """Say whether a name is that of a file or folder of a room, or of one beside it."""
    way = name.replace(".", "/")
    return any((place / way).is_dir() or (place / f"{way}.py").is_file() for place in (folder, folder.parent, PACKAGE))


@pytest.mark.parametrize("room", sorted(MAY_KNOW))
def test_a_room_says_what_it_is(room: str) -> None:
    path = modules()[room]
    text = ast.get_docstring(parsed(path)) or ""

    assert text
    if path.name == "__init__.py" and room:
        assert len(text.splitlines()) > 3, "a room's docstring says what it is, whom it knows and what goes through it"
        assert re.search(r"\bknows?\b", text)
        named = set(re.findall(r"(?<!`)`([a-z_]+(?:\.[a-z_]+)*)`(?!`)", text))
        missing = {name for name in named if not is_file_of(path.parent, name)}
        assert missing == set(), "a room's docstring names its files"


@pytest.mark.parametrize("room", KNOWS_NO_CDK)
def test_a_room_that_starts_without_the_cdk_knows_nobody_who_needs_it(room: str) -> None:
    construct = tuple(f"cdk_distributed_map.{name}" for name in CONSTRUCT)
    names = [name for path in files_of(room) for name in imports(parsed(path))]

    assert [name for name in names if is_one_of(name, (*CDK, *construct))] == []


def construct_files() -> list[Path]:
    return [path for name in CONSTRUCT if name != "_node" for path in files_of(name)]


@pytest.mark.parametrize("path", construct_files(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_module_of_the_construct_knows_limits_and_shapes_alone(path: Path) -> None:
    runtime = {module for module in imported(path) if is_one_of(module, ("distmap",))}
    # The folder of the runtime is put into a layer.
    allowed = RUNTIME_OF_THE_CONSTRUCT | ({"distmap"} if path.stem == "functions" else set())

    assert {module for module in runtime if not is_one_of(module, tuple(allowed - {"distmap"}))} <= allowed
    assert not [module for module in imported(path) if is_one_of(module, ("boto3", "botocore"))]


@pytest.mark.parametrize("path", sorted(RUNTIME.rglob("*.py")), ids=lambda path: str(path.stem))
def test_the_runtime_starts_with_the_standard_library_alone(path: Path) -> None:
    at_start = {module.split(".")[0] for module in imports_at_start(parsed(path))}
    anywhere = {module.split(".")[0] for module in imported(path)}

    assert at_start <= sys.stdlib_module_names | {"distmap"}
    typing_only = {"mypy_boto3_s3", "mypy_boto3_lambda", "mypy_boto3_stepfunctions", "types_boto3_s3"}
    assert anywhere <= sys.stdlib_module_names | {"distmap", "boto3", "botocore"} | typing_only


@pytest.mark.parametrize("name", ["limits", "wire"])
def test_numbers_and_shapes_know_nobody(name: str) -> None:
    known = {module.split(".")[0] for module in imports(parsed(RUNTIME / f"{name}.py"))}

    assert known <= sys.stdlib_module_names


@pytest.mark.checkout
def test_no_file_is_long_without_a_reason() -> None:
    files = [*PACKAGE.rglob("*.py"), *RUNTIME.rglob("*.py")]
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in files}

    assert {name for name, number in lines.items() if number > LONGEST_FILE} == set(LONGER_FILES)


# -- the public surface


def test_public_names_are_sorted_and_each_has_its_module() -> None:
    assert list(cdk_distributed_map.__all__) == sorted(cdk_distributed_map.__all__)
    assert set(MODULE_OF) == set(cdk_distributed_map.__all__)
    assert list(MODULE_OF) == sorted(MODULE_OF)


@pytest.mark.parametrize("name", cdk_distributed_map.__all__)
def test_a_public_name_is_where_it_is_said_to_be_and_has_words(name: str) -> None:
    value = getattr(cdk_distributed_map, name)

    assert value.__module__.startswith("cdk_distributed_map.")
    assert value.__module__ == f"cdk_distributed_map.{MODULE_OF[name]}"
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


# -- the description of the house


@pytest.mark.checkout
@pytest.mark.parametrize(("page", "least"), [("ARCHITECTURE.md", 80), ("docs/extending.md", 15)], ids=str)
def test_the_architecture_names_files_that_are_there(page: str, least: int) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", text))
    folders = (ROOT, PACKAGE, RUNTIME, *(path for path in PACKAGE.rglob("*") if path.is_dir()))

    assert len(named) >= least
    assert {name for name in named if not any((folder / name).is_file() for folder in folders)} == set()


@pytest.mark.checkout
def test_the_architecture_says_where_to_begin_in_every_room() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {room.replace(".", "/") for room in MAY_KNOW if room and modules()[room].name == "__init__.py"}

    assert {room for room in rooms if f"`{room}/`" not in text} <= {"local"}
