"""orbitrack: frames in, SLA answers out. docs/architecture.md follows one frame through these modules."""
