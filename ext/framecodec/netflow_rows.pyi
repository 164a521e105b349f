from typing_extensions import disjoint_base

from framecodec.rack import RackDecoder

__all__ = ["NetflowRows"]

@disjoint_base
class NetflowRows(RackDecoder): ...
