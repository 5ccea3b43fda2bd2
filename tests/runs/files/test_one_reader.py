"""One reader serves ledger, results, failures, retries, report and combine: what doesn't fit is told by all of them.

Files of redrives have the shape that AWS gives them: https://docs.aws.amazon.com/step-functions/latest/dg/redrive-map-run.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cdk_distributed_map.runs import NotReadyError, Pipeline, ResultFilesError, Run
from cdk_distributed_map.runs.report import page
from distmap import DistmapError, Results, combine_results

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ITEMS = [(index, {"n": index}) for index in range(30)]


def naming(*identifiers: int, bad: tuple[int, ...] = ()) -> dict[str, Any]:
    return {
        "batchItemResults": [{"itemIdentifier": str(each), "result": each} for each in identifiers],
        "batchItemFailures": [{"itemIdentifier": str(each), "error": "ValueError", "cause": "bad"} for each in bad],
        "batchItemsUnprocessed": [],
    }


class Place:
    """The files of one finished run, to do damage to."""

    def __init__(self, s3: S3Client, writer: Any) -> None:
        self.s3, self.writer, self.bucket = s3, writer, writer.run["bucket"]
        self.suffix = writer.output_type.lower()

    def key(self, name: str) -> str:
        return f"{self.writer.folder}/{name}.{self.suffix}"

    def read(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def change(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Change a file, and nothing else: its size may differ from the manifest's then."""
        self.put(self.key(name), change(self.read(self.key(name))))

    def forge(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Change a file and its size in the manifest."""
        self.change(name, change)
        size = len(self.read(self.key(name)))

        def resize(manifest: dict[str, Any]) -> None:
            for files in manifest["ResultFiles"].values():
                for file in files:
                    file["Size"] = size if file["Key"] == self.key(name) else file["Size"]

        self.manifest(resize)

    def manifest(self, change: Callable[[dict[str, Any]], Any]) -> None:
        key = f"{self.writer.folder}/manifest.json"
        manifest = json.loads(self.read(key))
        change(manifest)
        self.put(key, json.dumps(manifest).encode())


@pytest.fixture
def finish(squares: Pipeline, states: Any, files: Callable[..., Any], s3: S3Client) -> Callable[..., tuple[Run, Place]]:
    """Makes a finished run of 30 items: three batches in two files of successes, one of which AWS gives as failed."""

    def make(name: str = "one", *, written: bool = True, **options: Any) -> tuple[Run, Place]:
        run = states.add_run(squares.arn, name, label="Squares", items=30, seconds=0)
        run.ended = ("FAILED", 1.0)
        writer = files(squares, name, part_records=1, **options)
        run.output = {"items": {"bucket": writer.run["bucket"], "key": f"runs/{name}/items.jsonl", "count": 30}}
        run.input = json.dumps(run.output)
        writer.child(ITEMS[:10], output=naming(*range(10)))
        writer.child(ITEMS[10:20], output=naming(*range(10, 20)))
        writer.child(ITEMS[20:], "FAILED", error="Lambda.Unknown")
        if written:
            writer.write()
        return squares.run(name), Place(s3, writer)

    return make


def combine(place: Place) -> Any:
    """Combine a run's results as its combine function does."""
    count = combine_results(lambda results: sum(1 for _ in results))
    manifest = {"bucket": place.bucket, "key": f"{place.writer.folder}/manifest.json"}
    items = {"bucket": place.bucket, "key": "runs/one/items.jsonl", "count": 30}
    return count({"run": place.writer.run, "items": items, "results": manifest, "mapRunArn": place.writer.map_run_arn})


def lines(body: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    records = [json.loads(line) for line in body.splitlines()]
    changed = [change(record) or record for record in records]
    return "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in changed).encode()


def without(place: Place, kind: str, at: int) -> None:
    place.manifest(lambda manifest: manifest["ResultFiles"][kind].pop(at))


def in_input(record: dict[str, Any], old: str, new: str) -> None:
    record["Input"] = record["Input"].replace(old, new)


def two_lines(place: Place) -> None:
    """Put both records of successes into one file, so that it can be cut at a line's end."""
    both = place.read(place.key("SUCCEEDED_0")) + place.read(place.key("SUCCEEDED_1"))
    place.forge("SUCCEEDED_0", lambda _: both)
    place.s3.delete_object(Bucket=place.bucket, Key=place.key("SUCCEEDED_1"))
    without(place, "SUCCEEDED", 1)
    place.change("SUCCEEDED_0", lambda body: body[: body.index(b"\n") + 1])


def all_unnamed(place: Place) -> None:
    for _ in range(2):
        without(place, "SUCCEEDED", 0)


def foreign(record: dict[str, Any]) -> None:
    in_input(record, '"runs/one"', '"runs/other"')


PLANTS: dict[str, tuple[Callable[[Place], Any], str]] = {
    "cut at the end of a line": (two_lines, "bytes, the manifest says"),
    "cut inside a line": (lambda place: place.change("SUCCEEDED_0", lambda body: body[:-50]), "the manifest says"),
    "emptied": (lambda place: place.change("SUCCEEDED_0", lambda _: b""), "has 0 bytes, the manifest says"),
    "longer": (lambda place: place.change("FAILED_0", lambda body: body + body), "bytes, the manifest says"),
    "gone": (lambda place: place.s3.delete_object(Bucket=place.bucket, Key=place.key("FAILED_0")), "is missing"),
    "in no manifest": (lambda place: without(place, "SUCCEEDED", 0), "and no manifest names it"),
    "all in no manifest": (all_unnamed, "and no manifest names it"),
    "failures in no manifest": (lambda place: without(place, "FAILED", 0), "FAILED_0.* no manifest names it"),
    "of another run": (lambda place: place.forge("SUCCEEDED_0", lambda body: lines(body, foreign)), "of another run"),
    "failures of another run": (
        lambda place: place.forge("FAILED_0", lambda body: lines(body, foreign)),
        "of another run",
    ),
    "of another map run of the run": (
        lambda place: place.forge(
            "SUCCEEDED_0", lambda body: lines(body, lambda record: in_input(record, '"path":""', '"path":"/3"'))
        ),
        "of another run",
    ),
    "index altered in the answer": (
        lambda place: place.change("SUCCEEDED_0", lambda body: body.replace(b'tifier\\":\\"5', b'tifier\\":\\"6')),
        "left out by the answer|items that their child did not get",
    ),
    "index altered to one of another child": (
        lambda place: place.forge("SUCCEEDED_0", lambda body: body.replace(b'ier\\":\\"5', b'ier\\":\\"15')),
        "items that their child did not get",
    ),
    "index altered to one that no item has": (
        lambda place: place.forge(
            "SUCCEEDED_0",
            lambda body: body.replace(b'ier\\":\\"5', b'ier\\":\\"77').replace(b'index\\":5', b'index\\":77'),
        ),
        "index.* 77",
    ),
    "null for a record": (lambda place: place.forge("SUCCEEDED_0", lambda _: b"null\n"), "without a child"),
    "null for the last record": (lambda place: place.forge("SUCCEEDED_1", lambda _: b"null\n"), "without a child"),
    "null for a failure": (
        lambda place: place.forge("FAILED_0", lambda _: b"null\n"),
        "expected a record, got None",
    ),
    "null beside a record": (
        lambda place: place.forge("SUCCEEDED_0", lambda body: body + b"null\n"),
        "without a child",
    ),
    "no JSON": (lambda place: place.forge("SUCCEEDED_0", lambda _: b"nonsense\n"), "can't be read"),
    "not UTF-8": (lambda place: place.forge("SUCCEEDED_0", lambda _: b"\xff\xfe\n"), "can't be read"),
    "result left out and hidden in another": (
        lambda place: place.forge(
            "SUCCEEDED_0",
            lambda body: body.replace(b',\\"result\\":5}', b"}").replace(
                b'\\"result\\":6}', b'\\"result\\":{\\"result\\":6}}'
            ),
        ),
        "'result'",
    ),
    "ARN that is no text": (
        lambda place: place.forge("FAILED_0", lambda body: lines(body, lambda record: record.update(ExecutionArn=5))),
        "the ARN of a child is 5, which is no text",
    ),
    "failure among successes": (
        lambda place: place.forge(
            "SUCCEEDED_0", lambda body: lines(body, lambda record: record.update(Status="FAILED"))
        ),
        "of another kind than their file",
    ),
    "success among failures": (
        lambda place: place.forge(
            "FAILED_0", lambda body: lines(body, lambda record: record.update(Status="SUCCEEDED"))
        ),
        "of another kind than their file",
    ),
    "list of files that is null": (
        lambda place: place.manifest(lambda m: m["ResultFiles"].update(FAILED=None)),
        "is no manifest",
    ),
    "manifest of another map run": (
        lambda place: place.manifest(lambda m: m.update(MapRunArn=m["MapRunArn"][:-4] + "0000")),
        "it was copied here from another one",
    ),
    "files of another bucket": (
        lambda place: place.manifest(lambda m: m.update(DestinationBucket="elsewhere")),
        "tells of files in the bucket 'elsewhere'",
    ),
    "files of another folder": (
        lambda place: place.manifest(lambda m: m["ResultFiles"]["FAILED"][0].update(Key="runs/other/FAILED_0.jsonl")),
        "is not of this run",
    ),
    "manifest that is no JSON": (
        lambda place: place.put(f"{place.writer.folder}/manifest.json", b"<html>"),
        "is no manifest of a map run",
    ),
    "manifest that is not UTF-8": (
        lambda place: place.put(f"{place.writer.folder}/manifest.json", b"\xff"),
        "is no manifest of a map run",
    ),
}


@pytest.mark.parametrize("case", PLANTS)
def test_fails_when_result_files_do_not_fit(case: str, finish: Callable[..., tuple[Run, Place]]) -> None:
    plant, problem = PLANTS[case]
    run, place = finish()
    plant(place)
    with pytest.raises(DistmapError, match=problem):
        combine(place)
    with pytest.raises(ResultFilesError, match=problem):
        list(run.results(wait_seconds=0))
    try:
        ledger = run.ledger(wait_seconds=0)
    except ResultFilesError as error:
        assert "manifest" in str(error)  # noqa: PT017 - a manifest that is none leaves nothing to account for
    else:
        assert not ledger.is_complete
        assert ledger.succeeded <= 20


def test_the_run_without_damage_is_whole(finish: Callable[..., tuple[Run, Place]]) -> None:
    run, place = finish()
    assert combine(place) == 30
    assert [each.index for each in run.results(ordered=True)] == list(range(20))
    assert run.ledger().is_complete


def test_fails_when_results_are_fewer_than_the_items_of_a_run_that_succeeded(
    finish: Callable[..., tuple[Run, Place]], states: Any
) -> None:
    run, place = finish()
    without(place, "SUCCEEDED", 0)
    place.s3.delete_object(Bucket=place.bucket, Key=place.key("SUCCEEDED_0"))
    states.executions[run.arn].ended = ("SUCCEEDED", 1.0)
    with pytest.raises(ResultFilesError, match="'one' had 30 items, and there are 20 in its result files"):
        list(run.results(wait_seconds=0))
    with pytest.raises(DistmapError, match="the map had 30 items, and there are results of 20"):
        combine(place)
    assert run.ledger(wait_seconds=0).missing == 10


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize("content", ["JSON", "JSONL"])
def test_names_of_files_do_not_tell_what_is_in_them(
    content: str, suffix: str, finish: Callable[..., tuple[Run, Place]]
) -> None:
    run, place = finish(written=False, output_type=content, suffix=suffix)
    place.writer.write()
    assert combine(place) == 30
    assert len(list(run.results())) == 20
    ledger = run.ledger()
    assert (ledger.succeeded, ledger.failed, ledger.is_complete) == (20, 10, True)
    assert len(list(run.failures(ledger))) == 10


def spilled(bucket: str, key: str) -> dict[str, Any]:
    return {"distmapSpilled": {"bucket": bucket, "key": key, "bytes": 3, "sha256": "0" * 64}}


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED"])
@pytest.mark.parametrize(
    ("elsewhere", "key"),
    [
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/theirs", "runs/one/spill/0.json"),
        ("theirs", "runs/one/spill/0.json"),
        (None, "runs/other/spill/0.json"),
        (None, "runs/one/spillage/0.json"),
        (None, "runs/one/items.jsonl"),
    ],
    ids=["access point", "another bucket", "another run", "another folder", "the run's items"],
)
def test_fails_when_a_spilled_answer_is_not_in_the_runs_own_folder(
    status: str, elsewhere: str | None, key: str, finish: Callable[..., tuple[Run, Place]], s3: S3Client
) -> None:
    run, place = finish(written=False)
    reference = spilled(elsewhere or place.bucket, key)
    if status == "SUCCEEDED":
        place.writer.child(ITEMS[:1], output=reference)
    else:
        cause = json.dumps({"errorMessage": json.dumps({"message": "", "batch": reference})})
        place.writer.child(ITEMS[:1], "FAILED", error="BatchFailedError", cause=cause)
    place.writer.write()
    asked: list[str] = []
    for client in (s3, run.aws.s3()):
        events: Any = client.meta.events  # whose types don't know all events
        events.register("before-parameter-build.s3.GetObject", lambda params, **_: asked.append(params["Bucket"]))
    with pytest.raises(DistmapError, match="only the run's own folder is read"):
        list(Results(s3, {"bucket": place.bucket, "key": f"{place.writer.folder}/manifest.json"}, run=place.writer.run))
    with pytest.raises(ResultFilesError, match="only the run's own folder is read"):
        list(run.results())
    assert "only the run's own folder is read" in str(run.ledger().problems)
    assert set(asked) == {place.bucket}


# -- redrives


@pytest.mark.parametrize("redriven", [True, False], ids=["redriven", "in one export"])
def test_an_item_that_succeeded_in_a_batch_that_failed_has_succeeded(
    finish: Callable[..., tuple[Run, Place]],
    *,
    redriven: bool,
) -> None:
    """Of a batch with ``fail_at_percentage=50``: items 0 and 1 did well at first, and 1 to 3 the second time."""
    run, place = finish("one", written=False)
    writer = place.writer
    writer.records["SUCCEEDED"].pop(0)
    batch = ITEMS[:4]
    told = json.dumps({"message": "2 of 4", "batch": naming(0, 1, bad=(2, 3))})
    writer.child(batch, "FAILED", error="BatchFailedError", cause=json.dumps({"errorMessage": told}))
    writer.child(ITEMS[4:10], output=naming(*range(4, 10)))
    if redriven:
        writer.write()
    writer.child(batch, output=naming(1, 2, 3, bad=(0,)))
    writer.write(redrive=1 if redriven else 0)
    ledger = run.ledger()
    assert (ledger.succeeded, ledger.failed, ledger.is_complete) == (20, 10, True)
    assert ledger.duplicates == (0 if redriven else 4)
    assert [each.index for each in run.results(ordered=True)] == list(range(20))
    assert {each.index for each in run.failures(ledger)} == set(range(20, 30))
    results = Results(place.s3, {"bucket": place.bucket, "key": f"{writer.folder}/manifest.json"})
    assert {each.index for each in results if each.succeeded} == set(range(20))


@pytest.fixture
def bare_run(bare: Pipeline, states: Any, files: Callable[..., Any]) -> tuple[Run, Any]:
    """A finished run of six items without an index: three did well, one failed, two are pending."""
    run = states.add_run(bare.arn, "bare", label="Bare", items=6, seconds=0)
    run.ended = ("FAILED", 1.0)
    writer = files(bare, "bare", part_records=2)
    run.output = {"items": {"bucket": writer.run["bucket"], "key": "runs/bare/items.jsonl", "count": 6}}
    writer.items([f"item {number}" for number in range(6)])
    for number, status in enumerate(["SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "FAILED", "PENDING", "PENDING"]):
        writer.child_of(json.dumps(f"item {number}"), status, output=number, error="States.TaskFailed")
    writer.write()
    return bare.run("bare"), writer


def numbers(run: Run) -> tuple[int, int, int, int, bool]:
    ledger = run.ledger()
    return ledger.succeeded, ledger.failed, ledger.pending, ledger.missing, ledger.is_complete


def again(run: Run, s3: S3Client) -> list[str]:
    """Items that a retry runs again."""
    retry = run.retry()
    if retry is None:
        return []
    items = retry.describe().input["items"]
    return s3.get_object(Bucket=items["bucket"], Key=items["key"])["Body"].read().decode().split("\n")[:-1]


def statuses(run: Run) -> dict[str, int]:
    found = [each.status for each in run.results(unsuccessful=True)]
    return {status: found.count(status) for status in set(found)}


def test_a_redrive_that_is_refused_exports_the_same_again(bare_run: tuple[Run, Any], s3: S3Client) -> None:
    run, writer = bare_run
    before = numbers(run), statuses(run), page.gather(run).children
    assert before == ((3, 1, 2, 0, True), {"SUCCEEDED": 3, "FAILED": 1, "UNPROCESSED": 2}, 4)
    writer.write(redrive=1)
    # What AWS writes beside: a file of successes without any.
    key, empty = f"{writer.folder}/Redrive-1/SUCCEEDED_0.json", b"[]"
    s3.put_object(Bucket=writer.run["bucket"], Key=key, Body=empty)
    manifest = json.loads(
        s3.get_object(Bucket=writer.run["bucket"], Key=f"{writer.folder}/Redrive-1/manifest.json")["Body"].read()
    )
    manifest["ResultFiles"]["SUCCEEDED"].append({"Key": key, "Size": len(empty)})
    s3.put_object(
        Bucket=writer.run["bucket"], Key=f"{writer.folder}/Redrive-1/manifest.json", Body=json.dumps(manifest).encode()
    )
    assert (numbers(run), statuses(run), page.gather(run).children) == before
    assert len(list(run.failures())) == 1
    assert again(run, s3) == ['"item 3"', '"item 4"', '"item 5"']


def test_what_a_redrive_has_finished_is_not_run_again(bare_run: tuple[Run, Any], s3: S3Client) -> None:
    run, writer = bare_run
    writer.child_of('"item 3"', output=3)
    writer.child_of('"item 4"', output=4)
    writer.child_of('"item 5"', "ABORTED")
    writer.write(redrive=2)  # the first one failed before it could write anything
    assert numbers(run) == (5, 1, 0, 0, True)
    assert statuses(run) == {"SUCCEEDED": 5, "FAILED": 1}
    (failure,) = run.failures()
    assert (failure.item, failure.error) == ("item 5", "ABORTED")
    assert "which was managing this resource was aborted" in failure.cause
    assert page.gather(run).children == 6
    assert again(run, s3) == ['"item 5"']


def test_a_redrive_that_finished_everything_leaves_nothing(bare_run: tuple[Run, Any], s3: S3Client) -> None:
    run, writer = bare_run
    for number in (3, 4, 5):
        writer.child_of(f'"item {number}"', output=number)
    writer.write(redrive=1)
    assert numbers(run) == (6, 0, 0, 0, True)
    assert list(run.failures()) == []
    assert again(run, s3) == []


def test_records_of_express_children_are_read(finish: Callable[..., tuple[Run, Place]]) -> None:
    run, place = finish(written=False, express=True)
    place.writer.records["FAILED"].clear()
    place.writer.child(ITEMS[20:29], "FAILED", error="Lambda.Unknown")
    place.writer.child(ITEMS[29:], "TIMED_OUT", error="States.Timeout")
    place.writer.write()
    assert b"Redrive" not in place.read(place.key("FAILED_0")).replace(b"RedriveCount", b"")
    found = {each.index: each for each in run.failures()}
    assert (found[25].status, found[25].error) == ("FAILED", "Lambda.Unknown")
    assert (found[29].status, found[29].error) == ("TIMED_OUT", "States.Timeout")
    assert ":express:" in str(found[25].child)
    assert len(list(run.results(unsuccessful=False))) == 20


def test_fails_when_results_of_a_redrive_are_still_exported(finish: Callable[..., tuple[Run, Place]]) -> None:
    run, place = finish()
    place.put(f"{place.writer.folder}/Redrive-1/SUCCEEDED_0.jsonl", b"")
    with pytest.raises(NotReadyError, match="still be exporting"):
        list(run.results(wait_seconds=0))


def test_files_of_a_run_that_goes_on_need_no_manifest_yet(
    finish: Callable[..., tuple[Run, Place]], states: Any
) -> None:
    """Those of a redrive are there before the manifest that names them takes the place of the first one."""
    run, place = finish()
    states.executions[run.arn].ended = None
    states.executions[run.arn].map.seconds = 1000
    place.put(f"{place.writer.folder}/SUCCEEDED_9.jsonl", b"")
    assert run.ledger().problems == ()
