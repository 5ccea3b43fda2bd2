"""Following a run: a live display on a terminal, occasional lines elsewhere, JSON Lines for machines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.cli import _exit, _options, _show
from cdk_distributed_map.runs import AwsError, RunsError
from cdk_distributed_map.runs.text import NO_ITEMS, counted, one_line, visible
from distmap import pages

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cdk_distributed_map.runs import Counts, Ledger, Progress, Run
    from distmap.wire import OutputLedger

_LINE_SECONDS: Final = 10.0
_BAR_COLUMNS: Final = 30


def follow(run: Run, *, as_json: bool, check: bool = True) -> int:
    """Follow a run to its end, and return the exit code.

    Args:
        run: The run.
        as_json: Whether to write JSON lines.
        check: Whether to check the ledger of a run that succeeded: AWS doesn't count items that failed inside batches
            that succeeded.
    """
    try:
        last = _follow(run, as_json=as_json)
    except AwsError:
        _show.say(f"{run.name} may still be running. To follow it again: {_options.command('watch', run)}", err=True)
        raise
    except KeyboardInterrupt:
        _show.say(
            f"\n{run.name} is still running.\nto follow it again: {_options.command('watch', run)}\nto stop it: "
            f"{_options.command('stop', run)}",
            err=True,
        )
        return _exit.INTERRUPTED
    if last is None or not last.final:
        return _exit.ERROR
    code = outcome(last)
    if code == _exit.RUN_FAILED:
        _say_of_failed(run, last, as_json=as_json)
    if (described := pages.address_of_run_error(last.error)) is not None and not as_json:
        _show.say(f"what it means: {described}", err=True)
    if code != _exit.RUN_FAILED and check:
        return _by_ledger(run, last, as_json=as_json)
    if code == _exit.SUCCESS and last.maps and not last.items.total and not as_json:
        _show.say(NO_ITEMS)
    return code


def _say_of_failed(run: Run, progress: Progress, *, as_json: bool) -> None:
    """Write what became of the items of a run that failed, where its account has that already, or why it read none."""
    try:
        account = run.own_ledger()
    except RunsError:
        account = None  # its files may not be for this user to see
    if account is not None and account.captured_from != "unknown":
        if as_json:
            _say_verdict(run, account)
        else:
            _show.say(_show.items_text(account))
    elif not as_json and (why := run.why_unread()) is not None:
        _show.say(why.partition(f": {progress.error}")[0], err=True)  # whose cause was shown before
    if not as_json and (progress.items_failed if account is None else account.has_failures):
        _show.say(f"which items: {_options.command('failures', run)}")


def _say_verdict(run: Run, account: Ledger) -> None:
    verdict = {**_show.items_json(account), "unsuccessful": account.unsuccessful}
    nested = {"nestedUnsuccessful": account.nested_unsuccessful} if account.nested else {}
    _show.json_line({"run": run.name, "ledger": {**verdict, **nested, "complete": account.is_complete}})


def _by_ledger(run: Run, progress: Progress, *, as_json: bool) -> int:
    """Return the exit code of a run that succeeded by what became of its items."""
    try:
        account = run.ledger()
    except RunsError as error:
        _show.say(f"the run succeeded, but it isn't known whether every item did: {error}", err=True)
        _show.say(f"try again later: {_options.command('ledger', run)}", err=True)
        return _exit.UNACCOUNTED
    if as_json:
        _say_verdict(run, account)
    code = _exit.of_ledger(account, ended=True)
    if account.run_error is not None:
        _show.say(account.run_error, err=True)
        return code
    if account.captured == 0 and not as_json:
        _show.say(_show.nothing_captured(account))
    if code != _exit.SUCCESS and not as_json:
        aws_counts_no_failure = account.is_complete and not account.nested and not progress.items.unsuccessful
        inside = ", inside batches that did" if aws_counts_no_failure else ""
        _show.say(f"{_show.without_success(account)}{inside}: {_options.command('ledger', run)}")
    return code


def outcome(progress: Progress) -> int:
    """Return the exit code of a run that has ended."""
    if not progress.succeeded:
        return _exit.RUN_FAILED
    return _exit.ITEMS_FAILED if progress.items_failed else _exit.SUCCESS


def _follow(run: Run, *, as_json: bool) -> Progress | None:
    if as_json:
        return _lines(run, lambda progress: _show.json_line(to_json(progress)), every=0)
    console = _show.console()
    # A terminal that can't go back over what it wrote (TERM=dumb) gets lines.
    if console.is_terminal and not console.is_dumb_terminal:
        return _live(run)
    return _lines(run, lambda progress: _show.say(line(progress)), every=_LINE_SECONDS)


def _notice(text: str) -> None:
    _show.say(text, err=True)


def _lines(run: Run, write: Any, *, every: float) -> Progress | None:
    last, written, text = None, float("-inf"), None
    for last in run.watch(notice=_notice):
        now = time.monotonic()
        # A run that has ended gets one line, with its last counts.
        if last.final or (not last.ended and now - written >= every and line(last) != text):
            write(last)
            written, text = now, line(last)
    return last


def _live(run: Run) -> Progress | None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.live import Live  # noqa: PLC0415 - likewise

    last = None
    # Not the shared console, which leaves lines as long as they are: a display wraps them to be redrawn.
    with Live(console=Console(highlight=False), auto_refresh=False, transient=False) as live:
        for last in run.watch(notice=lambda text: live.console.print(visible(text), markup=False)):
            live.update(display(last), refresh=True)
    return last


def left_out(progress: Progress) -> str:
    """Return that there may be more nested maps than could be counted."""
    children = "1 child" if progress.nested_left_out == 1 else f"{progress.nested_left_out:,} children"
    return f"not counted: nested maps of up to {children}"


def children_text(children: Counts, *, ended: bool = False) -> str:
    """Return what became of children, which is what AWS counts: a batch succeeds whatever failed in it."""
    return f"children: {_outcomes(children, ended=ended)}"


def _outcomes(counts: Counts, *, ended: bool) -> str:
    bad = [("failed", counts.failed), ("timed out", counts.timed_out), ("aborted", counts.aborted)]
    open_ = [("running", counts.running), ("pending", counts.pending)]
    parts = [f"{counts.succeeded:,} succeeded", *(f"{number:,} {word}" for word, number in bad if number)]
    parts += [f"{number:,} {word}" for word, number in open_ if number or not ended]
    return ", ".join(parts)


def _account(ledger: OutputLedger) -> str:
    """Return what became of items, by the account of the run."""
    names = ("failed", "unprocessed", "pending", "missing")
    bad = [f"{ledger.get(name, 0):,} {name}" for name in names if ledger.get(name)]
    return ", ".join([f"items: {ledger['succeeded']:,} succeeded", *bad])


def _rounds(progress: Progress) -> list[str]:
    """Return how far the latest round is, or what all rounds came to where the run says so."""
    latest, ledger = progress.latest_round, progress.ledger
    if ledger is not None and ledger["rounds"]:
        return [f"{counted(ledger['rounds'], 'round')}, {ledger['recovered']:,} recovered"]
    if latest is None:
        return []
    return [f"round {progress.rounds[latest.arn]}: {latest.items.done:,}/{latest.items.total:,}"]


def line(progress: Progress) -> str:
    """Return how far a run is as one line."""
    items = progress.items
    share = f" ({items.done * 100 // items.total}%)" if items.total else ""
    parts = [f"{progress.name} {progress.status}"]
    if progress.maps:
        parts.append(f"{items.done:,}/{items.total:,}{share}")
        parts.append(
            children_text(progress.children, ended=progress.ended)
            if progress.ledger is None
            else _account(progress.ledger)
        )
    first = progress.first_maps
    if len(first) > 1:
        parts.append(", ".join(f"{map_run.label} {map_run.items.done:,}/{map_run.items.total:,}" for map_run in first))
    parts += _rounds(progress)
    parts += [
        f"{label}: {counts.done:,}/{counts.total:,} in {counted(progress.nested_runs[label], 'map run')}"
        for label, counts in progress.nested.items()
    ]
    parts += [left_out(progress)] if progress.nested_left_out else []
    if progress.rate and not progress.ended:
        parts.append(f"{progress.rate:,.1f}/s, {_show.duration(progress.eta_seconds)} to go")
    parts.append(_show.duration(progress.seconds))
    if progress.final and progress.error:
        parts.append(one_line(f"{progress.error}: {progress.cause or ''}", 300))
    return " | ".join(parts)


def display(progress: Progress) -> RenderableType:
    """Return how far a run is as a block with a bar for each map."""
    from rich.console import Group  # noqa: PLC0415 - only a terminal needs it
    from rich.markup import escape  # noqa: PLC0415 - likewise
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - likewise
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    head = f"[bold]{escape(progress.name)}[/]  {_show.status(progress.status)}  {_show.duration(progress.seconds)}"
    if progress.rate and not progress.ended:
        head += f"  {progress.rate:,.1f} items/s  {_show.duration(progress.eta_seconds)} to go"
    grid = Table.grid(padding=(0, 2))
    rows = [(map_run.label, map_run.items, map_run.children) for map_run in progress.first_maps]
    latest = progress.latest_round
    rows += [] if latest is None else [(f"round {progress.rounds[latest.arn]}", latest.items, latest.children)]
    rows += [
        (f"{label} ({counted(progress.nested_runs[label], 'map run')})", counts, progress.nested_children[label])
        for label, counts in progress.nested.items()
    ]
    numbers: list[Any] = []
    indent = "  " if len(rows) > 1 else ""
    for label, items, children in rows:
        bar = ProgressBar(total=max(items.total, 1), completed=items.done, width=_BAR_COLUMNS)
        share = f"{items.done * 100 // items.total}%" if items.total else "-"
        counts = f"{items.done:,} of {counted(items.total, 'item')}"
        # Below the bar: a line of 80 columns hasn't room for both.
        numbers.append(Text(f"{label}  {counts}" if len(rows) > 1 else counts))
        numbers.append(
            Text(
                f"{indent}{children_text(children, ended=progress.ended)}", style="red" if children.unsuccessful else ""
            )
        )
        grid.add_row(escape(label), bar, share)
    if progress.ledger is not None:
        numbers.append(Text(_account(progress.ledger)))
    parts: list[Any] = [Text.from_markup(head), *([grid] if rows else []), *numbers]
    if progress.nested_left_out:
        parts.append(Text(left_out(progress)))
    if progress.final and progress.error:
        parts.append(Text(visible(f"{progress.error}: {progress.cause or ''}"), style="red"))
    return Group(*parts)


def to_json(progress: Progress) -> dict[str, Any]:
    """Return how far a run is as JSON."""
    return {
        "run": progress.name,
        "status": progress.status,
        "seconds": round(progress.seconds, 3),
        "rate": progress.rate,
        "etaSeconds": progress.eta_seconds,
        "final": progress.final,
        "error": progress.error,
        "cause": progress.cause,
        "maps": [
            {
                "arn": map_run.arn,
                "label": map_run.label,
                **({"round": progress.rounds[map_run.arn]} if map_run.arn in progress.rounds else {}),
                "status": map_run.status,
                "items": _show.counts_json(map_run.items),
                "children": _show.counts_json(map_run.children),
            }
            for map_run in progress.maps
        ],
        "ledger": progress.ledger,
        "nested": {
            label: {"mapRuns": progress.nested_runs[label], **_show.counts_json(counts)}
            for label, counts in progress.nested.items()
        },
        "nestedLeftOut": progress.nested_left_out,
    }
