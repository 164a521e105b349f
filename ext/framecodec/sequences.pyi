from typing import final

@final
class Sequences: ...
