from typing_extensions import disjoint_base

from framecodec.sflow_flows import SflowFlows

__all__ = ["SflowCounters"]

@disjoint_base
class SflowCounters(SflowFlows): ...
