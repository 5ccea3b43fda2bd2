"""Settings that are legal and risky: warnings that can be acknowledged by their id."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Final

from aws_cdk import Annotations, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from cdk_distributed_map.settings import checks
from distmap import limits, pages

DISPATCH_RATE: Final = "distmap:DispatchRate"
ONE_ITEM_PER_CHILD: Final = "distmap:OneItemPerChild"
ALL_FAILURES_TOLERATED: Final = "distmap:AllFailuresTolerated"
LARGE_RESERVATION: Final = "distmap:LargeReservation"
OPEN_MAP_RUNS: Final = "distmap:OpenMapRuns"
RESULTS_WITHOUT_ITEMS: Final = "distmap:ResultsWithoutItems"
ROLE_LACKS_PERMISSIONS: Final = "distmap:RoleLacksPermissions"
KEY_LACKS_PERMISSIONS: Final = "distmap:KeyLacksPermissions"
EMPTY_OBJECTS: Final = "distmap:EmptyObjects"
LISTS_RUNS: Final = "distmap:ListsRuns"
UNLIKELY_KEY: Final = "distmap:UnlikelyKey"
SHARED_PREFIX: Final = "distmap:SharedPrefix"
LOG_GROUP_NAME: Final = "distmap:LogGroupName"
EXPRESS_ROLE_TRUST: Final = "distmap:ExpressRoleTrust"
STATE_MACHINE_REPLACED: Final = "distmap:StateMachineReplaced"
TOLERANCE_OF_CHILDREN: Final = "distmap:ToleranceOfChildren"
TOLERANCE_OF_ZERO: Final = "distmap:ToleranceOfZero"
RUNS_EXPIRE_EARLY: Final = "distmap:RunsExpireEarly"
BUCKET_SENDS_NO_EVENTS: Final = "distmap:BucketSendsNoEvents"
NO_ACCOUNT: Final = "distmap:NoAccount"
INEXACT_REQUIREMENTS: Final = "distmap:InexactRequirements"

_PLACE = "distmap:place"


def warn(scope: Construct, id: str, message: str) -> None:
    """Add a warning that ``Annotations.of(...).acknowledge_warning(id)`` silences, with where it is described."""
    Annotations.of(scope).add_warning_v2(id, f"{message} ({pages.address(id)})")


def inexact_requirements(scope: Construct, file: str, requirements: Sequence[str]) -> None:
    """Warn of packages whose version is decided when they are fetched, so that another machine may deploy others."""
    if requirements:
        more = f" and {len(requirements) - 1} more" if len(requirements) > 1 else ""
        warn(
            scope,
            INEXACT_REQUIREMENTS,
            f"{file} doesn't say which version of {requirements[0]!r}{more}: another machine may deploy another one; "
            "write 'name==version' for all that is needed, as 'uv pip compile' does, or use a lock file",
        )


def open_map_runs(scope: Construct, concurrency: float | str) -> None:
    """Warn of more maps inside a map than an account may have open at once, the outer one included."""
    if isinstance(concurrency, str) or not checks.is_known(concurrency):
        return
    if concurrency + 1 > limits.MAX_OPEN_MAP_RUNS:
        warn(
            scope,
            OPEN_MAP_RUNS,
            f"{concurrency:,} nested maps at once can't be reached: an account has at most "
            f"{limits.MAX_OPEN_MAP_RUNS:,} open Map Runs, the outer one included, and the rest wait; lower the outer "
            "max_concurrency",
        )


def shared_prefix(scope: Construct, bucket: s3.IBucket, prefix: str) -> bool:
    """Warn of two pipelines that keep their runs in the same place: runs of one name would overwrite each other.

    Returns:
        Whether they do.
    """
    place = f"{_place(bucket)}/{prefix}"
    root = scope.node.root.node
    if any(entry.type == _PLACE and entry.data == place for entry in root.metadata):
        warn(
            scope,
            SHARED_PREFIX,
            "another pipeline keeps its runs in the same place of payload_bucket, so two runs of the same name would "
            "overwrite each other's items: give each pipeline a payload_prefix of its own",
        )
        return True
    root.add_metadata(_PLACE, place)
    return False


def express_role_trust(scope: Construct, role: iam.IRole, *, machine: str) -> None:
    """Warn of a role under which tasks of Express children were seen to fail on AWS."""
    cfn_role = role.node.default_child
    if not isinstance(cfn_role, iam.CfnRole):
        return
    trust = json.dumps(Stack.of(role).resolve(cfn_role.assume_role_policy_document))
    if "aws:sourcearn" not in trust.lower():
        return
    warn(
        scope,
        EXPRESS_ROLE_TRUST,
        f"the role {role.node.path!r} of the state machine {machine!r} is trusted on a condition of aws:SourceArn, and "
        "tasks of Express children were seen to fail under such roles with 'not authorized to assume the provided "
        "role'; the CDK makes one where a state machine is given none: give it a role of your own whose trust has "
        "aws:SourceAccount alone, or use Standard children",
    )


def state_machine_replaced(scope: Construct, before: object, now: object) -> None:
    """Warn of a name that makes CloudFormation replace the state machine."""
    former, new = ("one made by CloudFormation" if name is None else repr(name) for name in (before, now))
    warn(
        scope,
        STATE_MACHINE_REPLACED,
        f"the name of the state machine was {former} when this stack was synthesized last, and is {new} now: "
        "CloudFormation replaces a state machine for it, whose runs end at once and can't be redriven; deploy while "
        "none is running, or keep the former name (encryption_key gives one, where state_machine_name doesn't)",
    )


def tolerance_of_zero(scope: Construct, count: float | str | None, percentage: float | str | None) -> None:
    """Warn of a tolerance of 0 beside one that comes from the input."""
    both = {"tolerated_failure_count": count, "tolerated_failure_percentage": percentage}
    for zero, other in (tuple(both), tuple(reversed(both))):
        if checks.is_known(both[zero]) and both[zero] == 0 and isinstance(both[other], str):
            warn(
                scope,
                TOLERANCE_OF_ZERO,
                f"{zero} is 0, so no failure is tolerated, whatever {other} ({both[other]!r}) says: take out one of "
                "them",
            )


def tolerance_of_children(scope: Construct, label: str, *, batched: bool) -> None:
    """Warn of a tolerance of a nested map that comes from its input, which the account of the run hasn't."""
    batches = ", to which a batch succeeds or fails as a whole" if batched else ""
    warn(
        scope,
        TOLERANCE_OF_CHILDREN,
        f"the tolerance of the nested map {label} comes from its input, so Step Functions alone keeps it, for children"
        f"{batches}: items that fail inside children that succeed are in the account, and fail no run; give the "
        "tolerance as a number to have each item of it counted",
    )


def early_expiry(scope: Construct, expiry: Duration, timeout: Duration | None) -> None:
    """Warn of files that expire while their run can still be redriven."""
    if expiry.is_unresolved():
        return
    running = 0.0 if timeout is None or timeout.is_unresolved() else timeout.to_days(integral=False)
    needed = limits.REDRIVE_DAYS + math.ceil(running)
    if expiry.to_days(integral=False) < needed:
        longest = f", and a run may take {running:g} days" if running else ""
        warn(
            scope,
            RUNS_EXPIRE_EARLY,
            f"the files of a run expire after {expiry.to_days(integral=False):g} days, but it can be redriven until "
            f"{limits.REDRIVE_DAYS} days after its end{longest}: what is redriven, read or retried later lacks its "
            f"items and results; give expire_runs_after=Duration.days({needed}) or more",
        )


def large_reservation(scope: Construct, reserved: float | None) -> None:
    """Warn of a reservation that an account's default quota doesn't allow."""
    most = limits.ACCOUNT_CONCURRENCY - limits.UNRESERVABLE_CONCURRENCY
    if reserved is not None and checks.is_known(reserved) and reserved > most:
        warn(
            scope,
            LARGE_RESERVATION,
            f"the worker reserves a concurrency of {reserved:,.0f}, but an account has "
            f"{limits.ACCOUNT_CONCURRENCY:,} by default, of which {limits.UNRESERVABLE_CONCURRENCY} can't be reserved: "
            "raise the quota first, or the deployment fails",
        )


def lists_runs(
    scope: Construct, listed: Sequence[tuple[s3.IBucket, str]], written: Sequence[tuple[s3.IBucket, str]]
) -> None:
    """Warn of a source that lists what the runs write: the second run would take the first one's files for items."""
    for bucket, prefix in listed:
        for other, folder in written:
            known = not checks.is_token(folder) or prefix == ""
            if known and _place(bucket) == _place(other) and (folder.startswith(prefix) or prefix.startswith(folder)):
                warn(
                    scope,
                    LISTS_RUNS,
                    f"the source lists the prefix {prefix!r} of the bucket whose {folder!r} the runs write to, so a "
                    "run takes the files of earlier ones for items: list another prefix, or give the runs a bucket of "
                    "their own",
                )
                return


def empty_objects(scope: Construct, input_type: str, prefix: str | None) -> None:
    """Warn of a loaded folder of JSON or Parquet, in which one empty object fails the run."""
    if input_type in {"JSON", "PARQUET"} and (prefix is None or prefix.endswith("/")):
        warn(
            scope,
            EMPTY_OBJECTS,
            f"one empty object under {prefix or 'the bucket'!r}, such as _SUCCESS or the marker of a folder, fails the "
            f"whole run, since it is no {input_type}: give a prefix that only the data files share, such as "
            f"'{prefix or ''}part-', or list them with Capture.s3_listing, which skips empty objects, and read each by "
            "a nested map",
        )


def unlikely_key(scope: Construct, name: str, key: str, *, bucket: s3.IBucket, is_file: bool) -> None:
    """Warn of a key or prefix that S3 takes and hardly anybody means: a run over nothing would succeed."""
    if checks.is_token(key):
        return
    own = None if checks.is_token(bucket.bucket_name) else f"{bucket.bucket_name}/"
    odd = {
        "begins with the bucket's own name": own is not None and key.startswith(own),
        "begins or ends with a space": key != key.strip(),
        "has two slashes in a row": "//" in key,
        "has a backslash": "\\" in key,
        "has a place to be filled in": re.search(r"\{\w*\}|%[YmdHM]\b|<\w+>", key) is not None,
        "is written as in a URL": re.search(r"%[0-9A-Fa-f]{2}", key) is not None,
        "is relative to a folder": key.startswith(("./", "../", "~/")),
        "names a folder, not a file": is_file and key.endswith("/"),
    }
    reasons = [why for why, is_so in odd.items() if is_so]
    if reasons:
        warn(
            scope,
            UNLIKELY_KEY,
            f"{name} {key!r} {reasons[0]}; if no key of the bucket does, a run has no items and succeeds, or finds no "
            "file: give it as the keys really are",
        )


def _place(bucket: s3.IBucket) -> str:
    # A bucket can be imported more than once; only its name tells that it is the same one.
    return bucket.node.path if checks.is_token(bucket.bucket_name) else bucket.bucket_name
