COMPARISONS: tuple[str, ...]
MATH: tuple[str, ...]
