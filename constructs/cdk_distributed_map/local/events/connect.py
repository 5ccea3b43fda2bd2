"""Puts buses, targets and destinations between an engine and its functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cdk_distributed_map.local.events.bus import Bus, Put
from cdk_distributed_map.local.events.deliveries import Deliveries
from cdk_distributed_map.local.events.destinations import Destinations
from cdk_distributed_map.local.events.targets import Targets
from cdk_distributed_map.local.execution.services import Services
from cdk_distributed_map.local.functions import Functions

if TYPE_CHECKING:
    from cdk_distributed_map.local.iam.roles import RolePolicies


def connect(
    services: Services,
    functions: Functions,
    roles: RolePolicies | None,
    *,
    put_events: Put,
    warn: Callable[[str], None],
) -> Deliveries:
    """Have events of executions sent, and return what delivers what rules match.

    Args:
        services: Where executions run.
        functions: Runs functions.
        roles: Decides who may; None where everybody may.
        put_events: Puts events on the buses of the embedded AWS.
        warn: Called with what can't be sent.
    """
    bus = Bus(services, put_events, warn=warn)
    services.status_changed = bus.changed
    targets = Targets(services, functions, roles, bus)
    functions.asynchronous.ended = Destinations(services, targets, warn=warn).ended
    return Deliveries(services, targets, warn=warn)
