"""Handlers, read but never run: what surely can't work is reported at synthesis.

Only what the source of the handler's own file shows beyond doubt is refused. A name that is imported, made by a call,
decorated by something else or set from afar may be anything, and passes.
"""

from __future__ import annotations

import ast
import enum
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_LIBRARIES = sys.stdlib_module_names | {"boto3", "botocore"}
_NAMES_FROM_AFAR = frozenset({"__getattr__", "exec", "globals", "setattr", "vars"})

# Grammar that came after 3.11: https://docs.python.org/3/whatsnew/3.12.html and those after it.
_NEWER_ANYWHERE = re.compile(
    r"^\s*type\s+\w+|^\s*(async\s+)?(def|class)\s+\w+\s*\[|^\s*except\s+\w[\w.]*\s*,", re.MULTILINE
)
_NEWER_STRING = re.compile(r"\b([rR]?[fFtT]|[fFtT][rR])['\"]")


class Role(enum.Enum):
    """What a handler is for: the decorator of the runtime that makes it one, and words of the protocol without it."""

    WORKER = "process_items"
    CAPTURE = "capture_items"
    COMBINE = "combine_results"

    @property
    def protocol(self) -> frozenset[str]:
        """Strings of which a file has one where it speaks the protocol itself; see :mod:`distmap.wire`."""
        return {
            Role.WORKER: frozenset({"BatchInput", "Items", "batchItemFailures", "batchItemResults", "index", "value"}),
            Role.CAPTURE: frozenset({"bucket", "key", "run"}),
            Role.COMBINE: frozenset({"items", "mapRunArn", "results", "run"}),
        }[self]


def check(folder: str, handler: str, *, role: Role, python: tuple[int, int] | None) -> Path:
    """Check that a handler is there and can do its work.

    Args:
        folder: Folder of the function's code.
        handler: ``<module>.<function>``.
        role: What it is for.
        python: Version of Python that will run it, where it is known.

    Returns:
        The file that it is in.

    Raises:
        ValueError: Folder, file or function isn't there, the file is no Python, or the function surely can't work.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ValueError(f"folder {folder!r} is not a folder: give the path of the function's code")
    module, _, name = handler.rpartition(".")
    if module == "" or name == "":
        raise ValueError(f"handler must be '<module>.<function>', got {handler!r}")
    base = path.joinpath(*module.replace("/", ".").split("."))
    files = [file for file in (base / "__init__.py", base.with_name(f"{base.name}.py")) if file.is_file()]
    if not files:
        raise ValueError(
            f"handler {handler!r} needs the file {module.replace('.', '/')}.py in {folder!r}, which isn't there: "
            "write it as '<module>.<function>'"
        )
    tree = _parsed(files[0], handler, python)
    if tree is not None:
        _check_function(tree, handler, name, file=files[0].name, role=role)
    return files[0]


def is_decorated(file: Path, handler: str, *, role: Role) -> bool:
    """Tell whether a file shows that a handler is made by the decorator of its role.

    Args:
        file: The file that it is in, as :func:`check` returned it.
        handler: ``<module>.<function>``.
        role: What it is for.
    """
    try:
        tree = ast.parse(file.read_bytes(), file.name)
    except (SyntaxError, ValueError):
        # Of a newer Python than this one.
        return False
    decorators, modules = _decorators(tree, role)
    bound = [node for name, node in _bindings(tree.body) if name in {handler.rpartition(".")[2], "*"}]
    definition = bound[-1] if bound else None
    if isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        return any(_is_call_of(decorator, role, decorators, modules) for decorator in definition.decorator_list)
    call = definition.value if isinstance(definition, ast.Assign) else None
    return isinstance(call, ast.Call) and _is_call_of(call.func, role, decorators, modules)


def _decorators(tree: ast.Module, role: Role) -> tuple[set[str], set[str]]:
    """Return the names under which a file has a role's decorator, and those under which it has the runtime."""
    decorators = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "distmap"
        for alias in node.names
        if alias.name == role.value
    }
    modules = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "distmap"
    }
    return decorators, modules


def _is_call_of(node: ast.expr, role: Role, decorators: set[str], modules: set[str]) -> bool:
    """Tell whether an expression is a role's decorator, with its settings or without."""
    node = node.func if isinstance(node, ast.Call) else node
    if isinstance(node, ast.Attribute):
        return node.attr == role.value and isinstance(node.value, ast.Name) and node.value.id in modules
    return isinstance(node, ast.Name) and node.id in decorators


def _parsed(file: Path, handler: str, python: tuple[int, int] | None) -> ast.Module | None:
    """Return the syntax of a file, or nothing where a newer Python may understand what this one doesn't."""
    source = file.read_bytes()
    here = sys.version_info[:2]
    try:
        return ast.parse(source, file.name, feature_version=python if python is not None and python < here else None)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 0
        if (python is None or python > here) and _may_be_newer(source.decode(errors="replace"), line):
            return None
        what = getattr(error, "msg", str(error))
        raise ValueError(
            f"handler {handler!r} is in {file.name}, which is not valid Python at line {line}: {what}; mend the file"
        ) from error


def _may_be_newer(source: str, line: int) -> bool:
    text = "".join(source.splitlines(keepends=True)[max(line - 1, 0) : line])
    return bool(_NEWER_ANYWHERE.search(source) or _NEWER_STRING.search(text))


def _check_function(tree: ast.Module, handler: str, name: str, *, file: str, role: Role) -> None:
    bound = [node for bound_name, node in _bindings(tree.body) if bound_name in {name, "*"}]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    afar = not _NAMES_FROM_AFAR.isdisjoint(used | {bound_name for bound_name, _ in _bindings(tree.body)})
    afar = afar or any(isinstance(node, ast.Global) and name in node.names for node in ast.walk(tree))
    if not bound and not afar:
        functions = [key for key, node in _bindings(tree.body) if isinstance(node, ast.FunctionDef) and key[0] != "_"]
        instead = f", which has {', '.join(functions)}" if functions else ""
        remedy = "leave out the '.py'" if name == "py" else "name one that is there"
        raise ValueError(f"handler {handler!r} needs {name!r} in {file}{instead}: {remedy}, as in 'handler.handler'")
    if len(bound) != 1 or afar or not isinstance(bound[0], ast.FunctionDef | ast.AsyncFunctionDef):
        return
    refused = _why_refused(bound[0], tree, role)
    if refused is not None:
        raise ValueError(f"handler {handler!r} {refused}")
    why = _why_not(bound[0], tree, role)
    if why is not None:
        raise ValueError(
            f"handler {handler!r} {why}: decorate it with {role.value}, as in "
            f"'from distmap import {role.value}' and '@{role.value}' above it"
        )


def _bindings(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """Yield every name that statements of a module bind, at any depth of ``if``, ``try``, ``with`` and loops."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name.split(".")[0], node) for alias in node.names)
            continue
        nested = [
            child for field in ("body", "orelse", "finalbody") for child in getattr(node, field, []) if field != "test"
        ]
        nested += [child for each in getattr(node, "handlers", []) for child in each.body]
        nested += [child for each in getattr(node, "cases", []) for child in each.body]
        inside = {id(each) for child in nested for each in ast.walk(child)}
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store) and id(each) not in inside:
                yield each.id, node
        yield from _bindings(nested)


def _why_not(node: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module, role: Role) -> str | None:
    """Return why a function surely can't be the handler, or nothing."""
    if node.decorator_list:
        others = {other.value for other in Role if other is not role}
        only = node.decorator_list[0]
        only = only.func if isinstance(only, ast.Call) else only
        name = only.attr if isinstance(only, ast.Attribute) else getattr(only, "id", "")
        wrong = len(node.decorator_list) == 1 and name in others and name in _from_distmap(tree)
        return f"is decorated with {name}, which does something else" if wrong else None
    if isinstance(node, ast.AsyncFunctionDef):
        return "is an async function, which Lambda doesn't wait for"
    if any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in _own_nodes(node)):
        return "is a generator, which Lambda can't answer with"
    takes = node.args
    positional = [*takes.posonlyargs, *takes.args]
    needed = len(positional) - len(takes.defaults)
    fits = needed <= 2 and (len(positional) >= 2 or takes.vararg is not None)
    if not fits or any(default is None for default in takes.kw_defaults):
        return f"takes {len(positional)} argument{'' if len(positional) == 1 else 's'}, and Lambda gives it two"
    return None if _may_speak(node, tree, role) else "isn't decorated, so nothing gives it its items and answers for it"


def _why_refused(node: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module, role: Role) -> str | None:
    """Return why its role's decorator surely refuses a function where it is imported, with the remedy, or nothing."""
    if len(node.decorator_list) != 1 or not _is_call_of(node.decorator_list[0], role, *_decorators(tree, role)):
        return None
    is_async = isinstance(node, ast.AsyncFunctionDef)
    if role is not Role.WORKER:
        plain = "let it be a plain function, which may run coroutines by asyncio.run(...)"
        return f"is an async function, which {role.value} doesn't take: {plain}" if is_async else None
    if any(isinstance(entry, ast.Yield | ast.YieldFrom) for entry in _own_nodes(node)):
        return "yields, which process_items doesn't take: return the result of the item"
    call = node.decorator_list[0]
    arguments = {entry.arg: entry.value for entry in call.keywords} if isinstance(call, ast.Call) else {}
    threads, concurrency = arguments.get("threads"), arguments.get("concurrency")
    if is_async and isinstance(threads, ast.Constant) and threads.value != 1:
        return f"is an async function with threads={threads.value!r}, which is for plain ones: say concurrency instead"
    if not is_async and isinstance(concurrency, ast.Constant) and concurrency.value is not None:
        return (
            f"is a plain function with concurrency={concurrency.value!r}, which is for async ones: say threads instead"
        )
    return None


def _from_distmap(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "distmap":
            names |= {alias.name for alias in node.names if alias.asname is None}
        if isinstance(node, ast.Import) and any(alias.name == "distmap" for alias in node.names):
            names |= {role.value for role in Role}
    return names


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own_nodes(child)


def _may_speak(node: ast.FunctionDef | ast.AsyncFunctionDef, tree: ast.Module, role: Role) -> bool:
    """Tell whether an undecorated function may speak the protocol itself, or leave it to somebody who does."""
    if role is Role.COMBINE:
        # Whatever it returns is an answer, so long as it doesn't take the event for the results themselves.
        return not _takes_for_results(node)
    imported: set[str] = set()
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Constant) and inner.value in role.protocol:
            return True
        if isinstance(inner, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in inner.names}
        if isinstance(inner, ast.ImportFrom):
            imported.add("." if inner.level else str(inner.module).split(".")[0])
    if imported <= _LIBRARIES or not node.args.args:
        return False
    event = node.args.args[0].arg
    looked_into = {id(inner.value) for inner in ast.walk(node) if isinstance(inner, ast.Subscript | ast.Attribute)}
    # It gives the whole event away, maybe to code that knows what to do with it.
    return any(
        isinstance(inner, ast.Name) and inner.id == event and id(inner) not in looked_into for inner in ast.walk(node)
    )


def _takes_for_results(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a function goes through its event, whose keys are texts, and wants of them what results have."""
    event = node.args.args[0].arg if node.args.args else None
    loops = [each for each in ast.walk(node) if isinstance(each, ast.For | ast.comprehension)]
    over = [loop for loop in loops if isinstance(loop.iter, ast.Name) and loop.iter.id == event]
    names = {each.target.id for each in over if isinstance(each.target, ast.Name)}
    return any(
        isinstance(each, ast.Attribute)
        and isinstance(each.value, ast.Name)
        and each.value.id in names
        and not hasattr(str, each.attr)
        for each in ast.walk(node)
    )
