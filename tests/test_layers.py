"""Imports run one way, and each outside system has one door. The rules are those of docs/architecture.md."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import REPOSITORY

# A module may import from its own layer and from those before it.
LAYERS = [
    ["errors", "clock", "model", "ipc", "addresses", "resources", "folders", "repeats", "timecodes"],
    ["settings", "config_types", "config_links", "config_mistakes", "config", "yamlfile", "toml", "telemetry"],
    ["definitions", "elements", "decode", "rules", "slo", "reference", "checkpoint", "captures", "rows", "web"],
    ["pipeline", "offline", "outputs"],
    ["kafka", "clickhouse", "collectors", "webhooks", "gateway", "replay", "simulate", "inspect", "inspect_frames"],
    ["database", "partition", "shell"],
    ["worker", "store", "alert", "serve", "embedded"],
    ["cli"],
]

# outside package -> the only parts that may import it
DOORS = {
    "faust": {"shell", "worker", "store", "alert"},
    "mode": {"shell"},
    "aiokafka": {"kafka", "partition", "worker", "store", "alert", "collectors", "shell"},
    "clickhouse_connect": {"clickhouse"},
    "chdb": {"gateway", "embedded"},
    "pydantic": {"config", "config_links", "config_mistakes", "config_types", "cli", "gateway"},
}


def part_of(module: str) -> str:
    """`streams.clickhouse.sink` -> `clickhouse`."""
    return f"{module}..".split(".")[1]


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((REPOSITORY / "streams").rglob("*.py")):
        name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path
    return found


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING`: what exists for the type checker alone ties nothing together."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
            yield from walk(node)


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer_of(part: str) -> int:
    for number, parts in enumerate(LAYERS):
        if part in parts:
            return number
    raise AssertionError(f"streams.{part} is in no layer of tests/test_layers.py")


@pytest.mark.parametrize("module", [name for name in modules() if name != "streams"])
def test_imports_run_one_way(module: str) -> None:
    own = layer_of(part_of(module))
    for name in imports(modules()[module]):
        if name.startswith("streams.") and part_of(name) in {part for parts in LAYERS for part in parts}:
            assert layer_of(part_of(name)) <= own, f"{module} imports {name}"


@pytest.mark.parametrize("module", [name for name in modules() if name != "streams"])
def test_each_outside_system_has_one_door(module: str) -> None:
    for name in imports(modules()[module]):
        allowed = DOORS.get(name.split(".")[0])
        assert allowed is None or part_of(module) in allowed, f"{module} imports {name}"


def test_domain_asks_no_clock_and_no_environment() -> None:
    for module, path in modules().items():
        if part_of(module) in {"model", "definitions", "decode", "rules", "slo", "checkpoint", "pipeline"}:
            forbidden = {"time.time", "time.time_ns", "os.environ", "socket", "asyncio"} & imports(path)
            assert not forbidden, f"{module} imports {forbidden}"


def test_pyproject_lists_every_package_and_extension() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = {module["name"] for module in project["ext-modules"]}
    assert listed == {f"framecodec.{path.stem}" for path in (REPOSITORY / "ext" / "framecodec").glob("*.pyx")}
    packages = {".".join(path.parent.relative_to(REPOSITORY).parts) for path in (REPOSITORY / "streams").rglob("__init__.py")}
    assert set(project["packages"]) == packages | {"framecodec", "streams.schemas"}


def test_the_cores_map_names_every_module() -> None:
    core = REPOSITORY / "ext" / "framecodec"
    words = set(re.findall(r"\w+", (core / "__init__.py").read_text(encoding="utf-8")))
    modules = {path.stem for path in core.iterdir() if path.suffix in {".pyx", ".pxd", ".py"}}
    assert modules - {"__init__"} <= words
