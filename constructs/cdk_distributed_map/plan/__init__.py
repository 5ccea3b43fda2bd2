"""What a run costs: pure functions over limits and prices."""

from cdk_distributed_map.plan._cost import Cost, express_children, invocations, standard_children

__all__ = ["Cost", "express_children", "invocations", "standard_children"]
