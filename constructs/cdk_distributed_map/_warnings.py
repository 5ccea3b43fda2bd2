"""Settings that are legal and risky: warnings that can be acknowledged by their id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Annotations, Token
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk_distributed_map import _checks
from distmap import limits

if TYPE_CHECKING:
    from cdk_distributed_map._workers import MapSettings

DISPATCH_RATE: Final = "distmap:DispatchRate"
ONE_ITEM_PER_CHILD: Final = "distmap:OneItemPerChild"
ALL_FAILURES_TOLERATED: Final = "distmap:AllFailuresTolerated"
LARGE_RESERVATION: Final = "distmap:LargeReservation"
OPEN_MAP_RUNS: Final = "distmap:OpenMapRuns"
ROLE_LACKS_PERMISSIONS: Final = "distmap:RoleLacksPermissions"
KEY_LACKS_PERMISSIONS: Final = "distmap:KeyLacksPermissions"
SHARED_PREFIX: Final = "distmap:SharedPrefix"

_LARGE_SOURCE = 10_000
_PLACE = "distmap:place"


def warn(scope: Construct, id: str, message: str) -> None:
    """Add a warning that ``Annotations.of(...).acknowledge_warning(id)`` silences."""
    Annotations.of(scope).add_warning_v2(id, message)


def add(scope: Construct, settings: MapSettings, *, worker_seconds: float | None) -> None:
    """Add the warnings about one map."""
    _dispatch_rate(scope, settings, worker_seconds)
    count = settings.items.known_count()
    large = not settings.items.few and (count is None or count > _LARGE_SOURCE)
    # The items of a map that nests others can't be batched, and are few.
    if settings.batching is None and not settings.express and not settings.nests and large:
        known = "an unknown number of" if count is None else f"{count:,}"
        warn(
            scope,
            ONE_ITEM_PER_CHILD,
            f"each of {known} items starts a Standard execution of its own: 1 million of them cost about 50 USD and "
            f"take {1_000_000 / limits.STANDARD_DISPATCH_PER_SECOND / 3600:.1f} h to start at "
            f"{limits.STANDARD_DISPATCH_PER_SECOND} a second; give batching=Batching(max_items=100)",
        )
    if _checks.is_known(settings.tolerated_failure_percentage) and settings.tolerated_failure_percentage == 100:
        warn(
            scope,
            ALL_FAILURES_TOLERATED,
            "tolerated_failure_percentage is 100, so a run in which every item fails succeeds",
        )


def open_map_runs(scope: Construct, concurrency: float | str) -> None:
    """Warn of more maps inside a map than an account may have open at once, the outer one included."""
    if isinstance(concurrency, str) or not _checks.is_known(concurrency):
        return
    if concurrency + 1 > limits.MAX_OPEN_MAP_RUNS:
        warn(
            scope,
            OPEN_MAP_RUNS,
            f"{concurrency:,} nested maps at once can't be reached: an account has at most "
            f"{limits.MAX_OPEN_MAP_RUNS:,} open Map Runs, the outer one included, and the rest wait; lower the outer "
            "max_concurrency",
        )


def shared_prefix(scope: Construct, bucket: s3.IBucket, prefix: str) -> None:
    """Warn of two pipelines that keep their runs in the same place: runs of one name would overwrite each other."""
    # A bucket can be imported more than once; only its name tells that it is the same one.
    name = bucket.node.path if Token.is_unresolved(bucket.bucket_name) else bucket.bucket_name
    place = f"{name}/{prefix}"
    root = scope.node.root.node
    if any(entry.type == _PLACE and entry.data == place for entry in root.metadata):
        warn(
            scope,
            SHARED_PREFIX,
            "another pipeline keeps its runs in the same place of payload_bucket, so two runs of the same name would "
            "overwrite each other's items: give each pipeline a payload_prefix of its own",
        )
        return
    root.add_metadata(_PLACE, place)


def _dispatch_rate(scope: Construct, settings: MapSettings, worker_seconds: float | None) -> None:
    if worker_seconds is None or not _checks.is_known(settings.max_concurrency):
        return
    rate = limits.EXPRESS_DISPATCH_PER_SECOND if settings.express else limits.STANDARD_DISPATCH_PER_SECOND
    reachable = rate * worker_seconds
    if isinstance(settings.max_concurrency, int | float) and settings.max_concurrency > reachable:
        kind = "Express" if settings.express else "Standard"
        warn(
            scope,
            DISPATCH_RATE,
            f"max_concurrency {settings.max_concurrency:,} can't be reached: {kind} children start at up to "
            f"{rate:,} a second, and even with every one of them running into the worker's timeout of "
            f"{worker_seconds:g} s at most {reachable:,.0f} run at once; lower it, or give each child more items",
        )


def large_reservation(scope: Construct, reserved: float | None) -> None:
    """Warn of a reservation that an account's default quota doesn't allow."""
    most = limits.ACCOUNT_CONCURRENCY - limits.UNRESERVABLE_CONCURRENCY
    if reserved is not None and _checks.is_known(reserved) and reserved > most:
        warn(
            scope,
            LARGE_RESERVATION,
            f"the worker reserves a concurrency of {reserved:,.0f}, but an account has "
            f"{limits.ACCOUNT_CONCURRENCY:,} by default, of which {limits.UNRESERVABLE_CONCURRENCY} can't be reserved: "
            "raise the quota first, or the deployment fails",
        )
