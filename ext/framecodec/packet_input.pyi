import pyarrow as pa

class PacketInput:
    def __new__(cls, packets: pa.RecordBatch) -> PacketInput: ...
