from typing import TypeAlias

_Fields: TypeAlias = tuple[tuple[str, str, bool], ...]

SAMPLES_FIELDS: _Fields
FLOWS_FIELDS: _Fields
REJECTS_FIELDS: _Fields
WINDOWS_FIELDS: _Fields
FRAMES_FIELDS: _Fields
