from framecodec.sflow_samples import SflowSamples

__all__ = ["SflowFlows"]

class SflowFlows(SflowSamples): ...
