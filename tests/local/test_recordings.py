"""How AWS answered, case by case: recordings of real executions, replayed on the engine."""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib.util
import json
import sys
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cdk_distributed_map.local.server import LocalAws

if TYPE_CHECKING:
    from tests.local.bench import Bench

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
CASES = RECORDINGS / "cases"
NAME = attrgetter("stem")
HTTP_DATE = (
    "the HTTP header Date holds an HTTP date, as HTTP has it; of AWS's the recording has only the word date, for which "
    "the comparator takes ISO 8601 alone"
)
# Cases that don't match, and why. Matching ones must not be here.
UNMATCHED = dict.fromkeys(
    [
        "context_object.test_context_object__test_result_selector",
        "local_mocking.test_base_scenarios__test_lambda_service_invoke",
        "local_mocking.test_base_scenarios__test_lambda_service_invoke_sync_execution",
        "services.test_lambda_task_service__test_invoke_bytes_payload",
        "services.test_lambda_task_service__test_invoke_json_values[0.0]",
        "services.test_lambda_task_service__test_invoke_json_values[json_value5]",
        "services.test_lambda_task_service__test_invoke_json_values[json_value6]",
    ],
    HTTP_DATE,
) | {
    "scenarios.test_base_scenarios__test_map_item_reader_json_no_json_list_object": (
        "superseded: in September 2023 AWS refused a JSON file that is an object; by its documentation a map takes the "
        "entries of one now"
    ),
    "test_sfn_api_map_run__test_list_map_runs_and_describe_map_run": (
        "superseded: in September 2023, before there were redrives, DescribeMapRun told nothing of them; in September "
        "2026 redriveCount, failuresNotRedrivable and pendingRedrive were always there"
    ),
}

pytestmark = [
    pytest.mark.checkout,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS.name} beside the checkout"),
]


@pytest.fixture(scope="module")
def replay() -> Any:
    spec = importlib.util.spec_from_file_location("replay", RECORDINGS / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    spec.loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


# One of so many cases is replayed, and on which engine: `make test-all` replays all of them, on both.
EVERY = {"some": 4, "threads": 1, "processes": 1}


@pytest.fixture(
    scope="module", params=[pytest.param(each, marks=pytest.mark.slow if EVERY[each] == 1 else ()) for each in EVERY]
)
def way(request: pytest.FixtureRequest) -> str:
    """With handlers in threads of this process, and as the engine is used: with processes of their own."""
    return str(request.param)


@pytest.fixture(scope="module")
def endpoint(way: str, bench: Bench) -> Iterator[str]:
    """The engine."""
    if way != "processes":
        yield bench.url
        return
    with LocalAws(iam=False) as aws, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", aws.keys.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", aws.keys.secret_key)
        yield aws.endpoint_url


@pytest.fixture(scope="module")
def records(replay: Any, endpoint: str, way: str) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    arguments: argparse.Namespace = replay.parse(
        [
            *("--cases", str(RECORDINGS / "cases"), "--match", str(RECORDINGS / "match.py")),
            *("--endpoint-url", endpoint, "--timeout", "60", "--account", "000000000000"),
        ]
    )
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    harness = replay.Bench(arguments, replay.load_match(arguments.match))
    sys.dont_write_bytecode = before
    cases, skipped = [], []
    for case in list(replay.choose(arguments))[:: EVERY[way]]:
        reason = harness.obstacle(case)
        if reason is None:
            cases.append(case)
        else:
            skipped.append({"name": case["name"], "reason": reason})
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda case: replay.run_case(harness, case), cases))
    harness.close()
    return found, skipped


def test_recordings_match(
    records: tuple[list[dict[str, Any]], list[dict[str, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    found, skipped = records
    with capsys.disabled():
        levels = {level: sum(each[level] for each in found) for level in ("L1", "L2", "L1m", "L2m")}
        print(f"\nrecordings: {len(found)} replayed, {json.dumps(levels)}")  # noqa: T201 - the count is to be seen
        for each in skipped:
            print(f"  not replayed: {each['name']}: {each['reason']}")  # noqa: T201 - the count is to be seen
        for each in found:
            if not each["L2"]:
                print(f"  {each['name']}: {UNMATCHED.get(each['name'], each['reason'])}")  # noqa: T201 - the count is to be seen
    unmatched = {each["name"] for each in found if not each["L2"]}
    assert unmatched == {each["name"] for each in found} & set(UNMATCHED)


def test_only_http_headers_and_what_is_superseded_keep_recordings_from_matching(
    records: tuple[list[dict[str, Any]], list[dict[str, str]]],
) -> None:
    replayed = {each["name"] for each in records[0]}
    superseded = [name for name, why in UNMATCHED.items() if why != HTTP_DATE and name in replayed]
    assert [each["name"] for each in records[0] if not each["L2m"]] == superseded


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(CASES.glob("*.json")) if '"incomplete_history": true' in path.read_text()],
    ids=NAME,
)
def test_incomplete_recordings_are_how_ours_begin(replay: Any, bench: Bench, path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    assert not case["requires"]
    for execution in case["executions"]:
        found = bench.run(case["definition"], execution["input"])
        expected = execution["expected"]["events"]
        shown = json.loads(json.dumps(bench.events(found["executionArn"])[: len(expected)], default=str))
        matcher = replay.load_match(str(RECORDINGS / "match.py")).Matcher(case, {})
        assert matcher.diff(expected, shown) == []
