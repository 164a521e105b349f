from typing_extensions import disjoint_base

from framecodec.netflow_options import NetflowOptions

__all__ = ["NetflowSets"]

@disjoint_base
class NetflowSets(NetflowOptions): ...
