"""``distmap plan --measure``: a short run of the first items of the source, at one size of memory or at several."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from cdk_distributed_map import arns
from cdk_distributed_map.cli import _options, _show
from cdk_distributed_map.runs.errors import InputError
from distmap.limits import MAX_FUNCTION_MEMORY_MB, MIN_FUNCTION_MEMORY_MB

if TYPE_CHECKING:
    from cdk_distributed_map.plan import Fact
    from cdk_distributed_map.runs import Client, Pipeline
    from cdk_distributed_map.runs.foresight.measured import Measured


def memories(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Return the sizes of ``512,1024,2048``."""
    del context, parameter
    if value is None:
        return ()
    least, most = MIN_FUNCTION_MEMORY_MB, MAX_FUNCTION_MEMORY_MB
    sizes = value.split(",")
    if len(set(sizes)) < 2 or not all(each.isdecimal() and least <= int(each) <= most for each in sizes):
        message = (
            f"sizes of memory are two or more numbers from {least:,} to {most:,} MB, as 512,1024,2048; got {value!r}"
        )
        raise click.BadParameter(message)
    return tuple(map(int, sizes))


def measured(client: Client, name: str, items: Sequence[bytes], *, input: Any, sizes: Sequence[int]) -> dict[str, Fact]:
    """Run items, and return what a plan takes of that.

    Args:
        client: The client.
        name: The deployed pipeline.
        items: The items, as JSON texts.
        input: The run's input.
        sizes: Sizes of memory, in MB, at each of which they are run. Default: as deployed.

    Raises:
        InputError: There are no items, or the memory can't be changed.
        RunsError: The results of the run say nothing of its items.
    """
    from cdk_distributed_map.plan import Fact, cpu_share_of  # noqa: PLC0415 - a --help doesn't need it

    if not items:
        raise InputError("the source has no items: there is nothing to measure")
    target = client.pipeline(name)
    if not sizes:
        return _facts(_run(target, items, input))
    function = _function(target)
    by_size: dict[int, Measured] = {}
    for size in sizes:
        with _memory(target, function, size):
            by_size[size] = _run(target, items, input, at=f" at {size:,} MB")
    share = cpu_share_of({size: each.times.mean for size, each in by_size.items()})
    _show.say(f"{share:.0%} of an item's time computes, by these", err=True)
    return {
        **_facts(by_size[sizes[-1]]),
        "times_memory_mb": Fact(sizes[-1], "measured"),
        "cpu_share": Fact(share, "measured"),
    }


def _facts(run: Measured) -> dict[str, Fact]:
    """Return what a run of some items tells of all: neither how many there are, nor how large."""
    return {name: fact for name, fact in run.facts().items() if name not in {"items", "item_bytes"}}


def _run(target: Pipeline, items: Sequence[bytes], input: Any, *, at: str = "") -> Measured:
    from cdk_distributed_map.runs.foresight.measured import measure  # noqa: PLC0415 - see measured
    from cdk_distributed_map.runs.notices import ProgressNotice  # noqa: PLC0415 - likewise

    # A state array's items are in the input too, where those of the file are to be.
    rest = {key: value for key, value in input.items() if key != "items"} if isinstance(input, dict) else {}
    run = target.start(rest, items=io.BytesIO(b"\n".join(items)), items_format="jsonl")
    _show.say(f"measuring {len(items):,} items{at} in the run {run.name}", err=True)
    notices = ProgressNotice(target.aws.notice, lambda done: f"{done:,} of {len(items):,} items have ended")
    ended = 0
    for progress in run.watch(notice=target.aws.notice):
        notices(progress.items.done - ended)
        ended = progress.items.done
    ledger = run.ledger()
    if ledger.has_failures:
        failed = f"{ledger.unsuccessful:,} of them did not succeed: {_options.command('failures', run)}"
        _show.say(failed, err=True)
    of_run = measure(run)
    _show.say(f"an item took {of_run.times.quantile(0.5):.4g} s in the median{at}", err=True)
    return of_run


def _function(target: Pipeline) -> str:
    functions = target.definition.item_file.functions
    if len(functions) != 1:
        raise InputError(
            f"the children of {target.called!r} call {len(functions)} functions, and the memory of one is measured: "
            "leave --measure-memory out"
        )
    parsed = arns.split(functions[0])
    if parsed is not None and parsed.resource.count(":") > 1:
        raise InputError(
            f"the worker is called as {functions[0]}, a version whose memory never changes: leave --measure-memory out"
        )
    return functions[0]


@contextmanager
def _memory(target: Pipeline, function: str, size: int) -> Iterator[None]:
    """Give a function a memory, and then what it had."""
    from cdk_distributed_map.runs.aws.sessions import errors  # noqa: PLC0415 - see measured

    client = target.aws.functions()

    def give(memory: int) -> None:
        with errors(f"changing the memory of {function}"):
            client.update_function_configuration(FunctionName=function, MemorySize=memory)
            client.get_waiter("function_updated_v2").wait(FunctionName=function)

    with errors(f"reading the memory of {function}"):
        before = client.get_function_configuration(FunctionName=function)["MemorySize"]
    try:
        if before != size:
            give(size)
        yield
    finally:
        if before != size:
            give(before)
