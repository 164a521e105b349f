from typing_extensions import disjoint_base

from framecodec.rack import RackDecoder

__all__ = ["SflowSamples"]

@disjoint_base
class SflowSamples(RackDecoder): ...
