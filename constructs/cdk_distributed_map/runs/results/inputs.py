"""Results with the items they are of: from the run's file of items, else from what children were given."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from itertools import groupby

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import ResultFilesError, UnavailableItemsError
from cdk_distributed_map.runs.files import chain, scan
from cdk_distributed_map.runs.find.handles import RunHandle
from cdk_distributed_map.runs.results.item_results import ItemResult, in_order
from distmap._identity import ItemNumbers
from distmap._records import UNREADABLE, error_message
from distmap._stream import lines, object_chunks

_ITEM = "ITEM"
"""Status of what is no result, but an item to go with one."""


def with_items(run: RunHandle, ordered: Iterable[ItemResult]) -> Iterator[ItemResult]:
    """Yield results with the items they are of, in bounded memory.

    Args:
        run: The run.
        ordered: Its results, in order.

    Raises:
        UnavailableItemsError: The item of a result is nowhere to be read.
        ResultFilesError: A file isn't what it should be.
    """
    found = heapq.merge(_items(chain.root_of(run)), ordered, key=_place)
    for _, same in groupby(found, key=_place):
        item, known = None, False
        for each in same:
            if each.status == _ITEM:
                item, known = each.item, True
                continue
            if each.index is not None and known:
                each.item = item
            elif each.item is None:
                which = "an item without an index" if each.index is None else f"item {each.index:,}"
                raise UnavailableItemsError(
                    f"the input of {which} is nowhere to be read: it is exported with Transformation.NONE, or in the "
                    "run's file of items; leave the input out"
                )
            yield each


def _place(result: ItemResult) -> tuple[str, float, bool]:
    return result.source or "", float("inf") if result.index is None else result.index, False


def _items(root: RunHandle) -> Iterator[ItemResult]:
    """Yield the items of a run, each with its index, in order."""
    described = root.describe_if_known()
    file = chain.item_file_of(root, described)
    if file is None or root.pipeline.definition.item_file.input_type != "JSONL":
        yield from in_order(_given(root))
        return
    with errors(f"reading s3://{file.bucket}/{file.key}"):
        for number, line in enumerate(lines(object_chunks(root.aws.s3(), file.bucket, file.key))):
            try:
                yield ItemResult(number, _ITEM, item=json.loads(line))
            except UNREADABLE as error:
                raise ResultFilesError(
                    f"line {number + 1:,} of s3://{file.bucket}/{file.key} is no item: {error_message(error)}"
                ) from error


def _given(root: RunHandle) -> Iterator[ItemResult]:
    """Yield the items that children were given: those of retries are among them."""
    numbers = ItemNumbers()
    for place in scan.places(root):
        reader = scan.reader(root, place, numbers=numbers)
        with errors(f"reading the results of {root.name!r}"):
            for file in scan.files(reader):
                for child in reader.children(file):
                    for number, item in child.items():
                        if number is not None:
                            index, source = numbers.identity(number)
                            yield ItemResult(index, _ITEM, item=item, source=source)
