from framecodec.arrow_out import Layout
from framecodec.trees import Tree

class Labels:
    def __init__(self, words: list[str]) -> None: ...

class TreeLayout(Layout):
    def __init__(self, tree: Tree) -> None: ...
