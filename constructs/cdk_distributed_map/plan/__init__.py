"""What a run costs and takes, and what bounds it: pure functions over limits and prices, and a simulation."""

from cdk_distributed_map.plan._batches import batch_size
from cdk_distributed_map.plan._bill import Bill, Charge, make_bill
from cdk_distributed_map.plan._cost import Cost, express_children, invocations, standard_children
from cdk_distributed_map.plan._events import Trace, simulate
from cdk_distributed_map.plan._forecast import PHASES, Forecast, Limit, forecast, seconds_of
from cdk_distributed_map.plan._platform import Platform, Range
from cdk_distributed_map.plan._times import Times
from cdk_distributed_map.plan._work import Setting, Work, problems

__all__ = [
    "PHASES",
    "Bill",
    "Charge",
    "Cost",
    "Forecast",
    "Limit",
    "Platform",
    "Range",
    "Setting",
    "Times",
    "Trace",
    "Work",
    "batch_size",
    "express_children",
    "forecast",
    "invocations",
    "make_bill",
    "problems",
    "seconds_of",
    "simulate",
    "standard_children",
]
