from typing import TypeAlias

Fields: TypeAlias = tuple[tuple[str, str, bool], ...]

SAMPLES_FIELDS: Fields
FLOWS_FIELDS: Fields
REJECTS_FIELDS: Fields
WINDOWS_FIELDS: Fields
FRAMES_FIELDS: Fields
