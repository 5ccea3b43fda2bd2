"""What a run costs and takes, and what bounds it: pure functions over limits and prices, and a simulation.

It knows prices, amounts and how definitions are walked; it asks nobody and reads no file. `_definition` and `_template`
describe a machine; `_inputs` joins that with what is known of the items (a `Fact` says where from); `_work` and `_cost`
do the sums of one setting, `_events` simulates it child by child; `_forecast` repeats that over what isn't known,
`_bill` lists the charges, and `_alternatives` tries other settings.
"""

from cdk_distributed_map.amounts import dollars_text, seconds_text
from cdk_distributed_map.plan._alternatives import (
    OBJECTIVES,
    Alternative,
    Objective,
    alternatives,
    best,
    changes,
    evaluate,
    fewer,
    pareto,
)
from cdk_distributed_map.plan._batches import batch_size
from cdk_distributed_map.plan._bill import Bill, Charge, make_bill
from cdk_distributed_map.plan._cost import Cost, express_children, invocations, standard_children
from cdk_distributed_map.plan._definition import Reads, functions, read_path
from cdk_distributed_map.plan._events import Trace, simulate
from cdk_distributed_map.plan._forecast import PHASES, Forecast, Limit, forecast, seconds_of
from cdk_distributed_map.plan._inputs import Described, Fact, FunctionFacts, Input, Inputs, inputs_of
from cdk_distributed_map.plan._plan import plan
from cdk_distributed_map.plan._platform import Platform, Range
from cdk_distributed_map.plan._template import described
from cdk_distributed_map.plan._times import Times
from cdk_distributed_map.plan._work import Setting, Step, Work, cpu_share_of, problems

__all__ = [
    "OBJECTIVES",
    "PHASES",
    "Alternative",
    "Bill",
    "Charge",
    "Cost",
    "Described",
    "Fact",
    "Forecast",
    "FunctionFacts",
    "Input",
    "Inputs",
    "Limit",
    "Objective",
    "Platform",
    "Range",
    "Reads",
    "Setting",
    "Step",
    "Times",
    "Trace",
    "Work",
    "alternatives",
    "batch_size",
    "best",
    "changes",
    "cpu_share_of",
    "described",
    "dollars_text",
    "evaluate",
    "express_children",
    "fewer",
    "forecast",
    "functions",
    "inputs_of",
    "invocations",
    "make_bill",
    "pareto",
    "plan",
    "problems",
    "read_path",
    "seconds_of",
    "seconds_text",
    "simulate",
    "standard_children",
]
