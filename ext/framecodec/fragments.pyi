from typing import Self, final

@final
class Fragments:
    def __new__(cls) -> Self: ...
