"""The project's own Python files, parsed; shared by the house tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("argo", "orchestrator", "services", "deploy", "bench")


@dataclass(frozen=True)
class Source:
    """One file."""

    path: str
    module: str
    tree: ast.Module

    def imported(self) -> Iterator[str]:
        """Full names of what it imports, wherever in the file; `from a import b` gives a.b."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}:{node.lineno}: relative import"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Call) and _name(node.func).endswith(("import_module", "__import__")):
                yield from (
                    one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)
                )

    def lines_of(self, name: str) -> Iterator[str]:
        """Where a dotted name is used, as path:line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute | ast.Name) and _name(node) == name:
                yield f"{self.path}:{node.lineno}"


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return ""


@cache
def sources(*, generated: bool = False) -> tuple[Source, ...]:
    """Every file of the packages; the generated stubs only where asked for."""
    found = []
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            path = file.relative_to(ROOT)
            if not generated and path.is_relative_to("argo/v1"):
                continue
            parts = path.with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Source(str(path), module, ast.parse(file.read_text(encoding="utf-8"), str(path))))
    assert len(found) > 50, "the packages are not where this test looks"
    return tuple(found)
