"""The results and failures of maps inside the children of a run, item by item.

Each nested Map Run is named by its map and by the indexes of the items around it: ``3`` is inside the outermost item
3, ``3/0`` inside item 0 of that one's map. Of every path the latest run of a chain counts, as in the ledger.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.files import chain, scan
from cdk_distributed_map.runs.results import item_failures, item_results
from distmap._identity import ItemNumbers
from distmap._indexes import IndexSet
from distmap.wire import MANIFEST_FILE, NESTED_FOLDER, RESULTS_FOLDER, ResultsPlace

if TYPE_CHECKING:
    from cdk_distributed_map.runs.find.definition import NestedMap
    from cdk_distributed_map.runs.find.handles import RunHandle
    from cdk_distributed_map.runs.results.item_failures import Failure
    from cdk_distributed_map.runs.results.item_results import ItemResult

_KEY: Final = re.compile(rf"([0-9]+(?:/[0-9]+)*)/(?:({RESULTS_FOLDER}/[^/]+/{MANIFEST_FILE})|.+)")


@dataclass
class Site:
    """One nested Map Run."""

    map: str
    path: tuple[int, ...]
    """Indexes of the items around it, outermost first."""
    run: RunHandle
    """The run of the chain that has its files."""
    found: list[tuple[datetime, ResultsPlace]] = field(default_factory=list)
    """When each of its manifests was written, and where it is."""

    @property
    def places(self) -> list[ResultsPlace]:
        """Where its manifests are, that of the latest Map Run first: a round has one of its own."""
        return [place for _, place in sorted(self.found, key=lambda each: each[0], reverse=True)]

    @property
    def shown_path(self) -> str:
        """The path as it is shown."""
        return "/".join(map(str, self.path))


def sites(run: RunHandle) -> list[Site]:
    """Return the nested Map Runs of a run and its retries, by map and in the order of the items around them.

    Raises:
        AwsError: AWS refused a call.
    """
    root = chain.root_of(run)
    runs = [root, *(link.run for link in chain.links_of(root))]
    found: list[Site] = []
    for nested in _all_maps(root.pipeline.definition.item_file.nested_maps):
        latest: dict[tuple[int, ...], Site] = {}
        buckets = dict.fromkeys([nested.results_bucket, root.pipeline.definition.item_file.bucket])
        for each in runs:
            prefix = f"{each.prefix}{NESTED_FOLDER}/{nested.folder}/"
            for bucket in buckets:
                for key, modified in _keys(each, bucket, prefix):
                    match = _KEY.fullmatch(key, len(prefix))
                    if match is None:
                        continue
                    path = tuple(map(int, match[1].split("/")))
                    site = latest.get(path)
                    if site is None or site.run is not each:
                        site = latest[path] = Site(nested.folder, path, each)
                    if match[2] is not None and bucket == nested.results_bucket:
                        site.found.append((modified, {"bucket": bucket, "key": key}))
        found += [site for _, site in sorted(latest.items())]
    return found


def _all_maps(maps: tuple[NestedMap, ...]) -> Iterator[NestedMap]:
    for each in maps:
        yield each
        yield from _all_maps(each.nested)


def _keys(run: RunHandle, bucket: str, prefix: str) -> Iterator[tuple[str, datetime]]:
    with errors(f"listing s3://{bucket}/{prefix}"):
        for page in run.aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from ((each["Key"], each["LastModified"]) for each in page.get("Contents", []))


def results(run: RunHandle, *, ordered: bool = False, unsuccessful: bool = False) -> Iterator[ItemResult]:
    """Yield the results of the items of nested maps: see :meth:`Run.nested_results`."""
    for site in sites(run):
        with errors(f"reading the results of {site.map} {site.shown_path}"):
            found = _once(site, unsuccessful=unsuccessful)
            for result in item_results.in_order(found) if ordered else found:
                yield replace(result, map=site.map, path=site.shown_path)


def _once(site: Site, *, unsuccessful: bool) -> Iterator[ItemResult]:
    seen = IndexSet()
    files = item_results.files_of(site.run, site.places)
    yield from item_results.successes_in(files, seen)
    if unsuccessful:
        yield from item_results.unsuccessful_in(files, seen)


def failures(run: RunHandle) -> Iterator[Failure]:
    """Yield the items of nested maps that failed or were left unprocessed."""
    for site in sites(run):
        seen, numbers = IndexSet(), ItemNumbers()
        for result in _once(site, unsuccessful=False):
            if result.index is not None:
                seen.add(numbers.number(result.index, result.source))
        wanted = functools.partial(scan.add_index, seen)
        for failure in item_failures.failures_of(site.run, site.places, wanted, numbers):
            yield replace(failure, map=site.map, path=site.shown_path)
