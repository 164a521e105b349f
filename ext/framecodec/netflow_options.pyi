from typing_extensions import disjoint_base

from framecodec.netflow_records import NetflowRecords

__all__ = ["NetflowOptions"]

@disjoint_base
class NetflowOptions(NetflowRecords): ...
