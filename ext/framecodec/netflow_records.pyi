from typing_extensions import disjoint_base

from framecodec.netflow_rows import NetflowRows

__all__ = ["NetflowRecords"]

@disjoint_base
class NetflowRecords(NetflowRows): ...
