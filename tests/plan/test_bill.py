"""Bills against sums that were worked out by hand, line by line, from the price pages."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cdk_distributed_map.plan import Bill, Platform, Setting, Times, Work, make_bill
from cdk_distributed_map.prices import Prices, parts

MILLION = 1_000_000
PLATFORM = Platform().changed({"child_seconds": 0, "cold_seconds": 0.4})
PLAIN: dict[str, Any] = {"times": Times.of(0.05), "log_bytes": 0, "source": "state", "result_bytes": 0}


def bill(work: dict[str, Any], setting: dict[str, Any], *, region: str = "us-east-1") -> Bill:
    return make_bill(Work(**{**PLAIN, **work}), Setting(**setting), platform=PLATFORM, price=Prices.of(region))


# Each sum is written as it was worked out: children or requests times a price, or GB-seconds times one.
@pytest.mark.parametrize(
    ("work", "setting", "dollars"),
    [
        # 10,000 children x 2 transitions = 0.50; 10,000 requests = 0.002; (10,000 x 5 s + 100 x 0.4 s) x 1 GB
        # = 50,040 GB-s arm64 = 0.667203; 2 PUT = 0.00001
        ({"items": MILLION}, {"batch": 100, "concurrency": 100}, 1.17),
        # 10,000 starts 0.25 + requests 0.01 + 10,000 x 5 s x 0.0625 GB = 3,125 GB-s x 16.67e-6 = 0.052094;
        # Lambda as above 0.669203
        ({"items": MILLION}, {"batch": 100, "concurrency": 100, "express": True}, 0.98),
        # 1 M x 2 = 50.00; 0.20; (50,000 + 400) GB-s x 0.125 x 13.3334e-6 = 0.084
        ({"items": MILLION}, {"concurrency": 1000, "memory_mb": 128}, 50.28),
        # the same in x86_64: 6,300 GB-s x 16.6667e-6 = 0.105
        ({"items": MILLION}, {"concurrency": 1000, "memory_mb": 128, "architecture": "x86_64"}, 50.31),
        # no function: 5,580 starts 0.1395 + requests 0.00558 + 5,580 x 0.3 s (100 copies, 40 at once, 0.1 s each:
        # 0.25 s) x 0.0625 = 104.6 GB-s 0.00174 + 558,000 PUT 2.79 + 558 manifests x 2 PUT 0.00558
        (
            {"items": 558_000, "calls_function": False, "items_at_once": 40, "times": Times.of(0.1), "item_puts": 1}
            | {"map_runs": 558},
            {"batch": 100, "express": True},
            2.94,
        ),
        # three states and one child in ten tried twice: 1,000 x 4.1 = 0.1025; 1,100 requests 0.00022;
        # (1,100 x 5 + 100 x 0.4) x 2 GB = 11,080 GB-s 0.147734
        (
            {"items": 100_000, "states": 3, "retried": 0.1},
            {"batch": 100, "concurrency": 100, "memory_mb": 2048},
            0.25,
        ),
        # a listing of 1 M: 1,000 LIST 0.005, GET of each 0.40, PUT of each 5.00; 1.169203 for the rest; KMS for
        # 2,001,002 requests 6.003
        (
            {"items": MILLION, "source": "listing", "item_gets": 1, "item_puts": 1, "kms": True},
            {"batch": 100, "concurrency": 100},
            12.58,
        ),
        # logs: 10,000 x 10 KB + 1 M x 1 KB = 1.1 GB 0.55; Step Functions 10,000 x 20 KB = 0.2 GB 0.10; traces 0.05
        (
            {"items": MILLION, "log_bytes": 10_000, "item_log_bytes": 1_000, "sfn_log_bytes": 20_000, "traced": True},
            {"batch": 100, "concurrency": 100},
            1.87,
        ),
        # two rounds of a tenth, a tenth of that again: 1.11 times the children; 11,100 x 2 = 0.555 + 8 states 0.0002;
        # 0.00222; (55,500 + 40) 0.740537
        ({"items": MILLION, "run_again": 0.1, "rounds": 2}, {"batch": 100, "concurrency": 100}, 1.30),
        # 100 M x 1 s Express, unbatched: 2,500 starts + 100 requests; 6.25 M GB-s: 3.6 M x 16.67e-6 = 60.012 and
        # 2.65 M x 8.33e-6 = 22.0745; Lambda 20 + (100 M + 400) x 0.125 x 13.3334e-6 = 166.668
        (
            {"items": 100 * MILLION, "times": Times.of(1)},
            {"express": True, "concurrency": 1000, "memory_mb": 128},
            2868.75,
        ),
    ],
    ids=["standard", "express", "unbatched", "x86", "copies", "states", "requests", "logs", "rounds", "tiers"],
)
def test_a_bill_is_what_it_is_by_hand(work: dict[str, Any], setting: dict[str, Any], dollars: float) -> None:
    assert round(bill(work, setting).total, 2) == dollars


def test_a_bill_has_the_dearest_service_first_and_adds_up() -> None:
    made = bill({"items": MILLION, "source": "listing"}, {"batch": 100})
    services = made.by_service()

    assert list(services.values()) == sorted(services.values(), reverse=True)
    assert math.isclose(sum(services.values()), made.total)
    assert made.charges[0].service == next(iter(services))
    assert all(math.isclose(each.dollars, each.quantity * each.unit_price) for each in made.charges)


def test_regions_have_prices_of_their_own() -> None:
    same, dearer = (bill({"items": MILLION}, {"batch": 100}, region=region) for region in ("eu-west-1", "sa-east-1"))

    assert same.total == bill({"items": MILLION}, {"batch": 100}).total
    assert dearer.by_service()["Step Functions"] == pytest.approx(0.75)


def test_tiers_share_a_quantity_out() -> None:
    tiers = Prices().express_gb_second

    assert [quantity for quantity, _ in parts(20e6, tiers)] == [3.6e6, 14.4e6, 2e6]
    assert parts(0, tiers) == []
    # As the price list's own examples have it, by the hour: 1,000 GB-hours are 60.012 USD.
    assert sum(quantity * price for quantity, price in parts(3.6e6, tiers)) == pytest.approx(60.012)
    # 60 TB of a function's logs are 12,500 USD.
    assert sum(quantity * price for quantity, price in parts(60_000, Prices().logs_gb)) == pytest.approx(12_500)


def test_prices_can_be_given() -> None:
    given = Prices().changed({"transition": 1e-6, "logs_gb": [[10, 1.0], [None, 0.5]], "as_of": "2027-01-01"})

    assert given.transition == 1e-6
    assert given.logs_gb == ((10.0, 1.0), (math.inf, 0.5))
    assert given.as_of == "2027-01-01"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"transitions": 1}, "prices have no 'transitions'"),
        ({"transition": -1}, "transition must be a number of at least 0, got -1"),
        ({"transition": True}, "transition must be a number of at least 0, got True"),
        ({"transition": "1"}, "transition must be a number of at least 0, got '1'"),
        ({"logs_gb": [[10, 1]]}, "the tiers of logs_gb must end one after the other"),
        ({"logs_gb": [[10, 1], [5, 1], [None, 1]]}, "the tiers of logs_gb must end one after the other"),
        ({"logs_gb": []}, "the tiers of logs_gb must end one after the other"),
        ({"logs_gb": [3]}, "pairs of a tier's end and its price, got 3"),
        ({"as_of": 3}, "as_of must be a text, got 3"),
    ],
    ids=["name", "negative", "bool", "text", "endless", "order", "none", "no-pair", "date"],
)
def test_fails_when_a_given_price_is_none(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prices().changed(given)


def test_fails_when_a_region_bills_in_another_currency() -> None:
    with pytest.raises(ValueError, match="cn-north-1 are in CNY"):
        Prices.of("cn-north-1")
