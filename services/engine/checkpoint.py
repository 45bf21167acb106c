"""Whether a folder holds a whole model: what an engine reads when it starts without a network."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["MANIFEST", "checkpoint_problems", "hash_of", "manifest_problems", "read_manifest"]

MANIFEST: Final = "argo-model.json"
"""File in the folder that says where the others came from."""
_INDEX: Final = "model.safetensors.index.json"
_TOKENIZERS: Final = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
_LONGEST_HEADER: Final = 100_000_000
"""Bytes; the format's own bound."""


def checkpoint_problems(folder: Path) -> list[str]:
    """What is missing or broken; empty for a whole model.

    Looked at: config.json, tokenizer, chat template, and that each file of weights is there and as long as its own
    header says. Hashes are :func:`manifest_problems`'s.
    """
    if not folder.is_dir():
        return [f"{folder} is no folder"]
    return [*_config(folder), *_tokenizer(folder), *_weights(folder)]


def _config(folder: Path) -> Iterator[str]:
    config, problem = _object(folder / "config.json")
    if problem:
        yield problem
    elif not config.get("architectures"):
        yield "config.json names no architectures"


def _tokenizer(folder: Path) -> Iterator[str]:
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZERS):
        yield f"no tokenizer: {' or '.join(' with '.join(names) for names in _TOKENIZERS)} must be there"
    config, problem = _object(folder / "tokenizer_config.json")
    if problem:
        yield problem
    elif not config.get("chat_template") and not any(
        (folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")
    ):
        yield "no chat template: the model is no chat model, and prompts cannot be put to it"


def _weights(folder: Path) -> Iterator[str]:
    index = folder / _INDEX
    if index.is_file():
        listed, problem = _object(index)
        names = sorted(set(listed.get("weight_map", {}).values()))
        if problem or not names:
            yield problem or f"{_INDEX} lists no weights"
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
        if not names:
            yield "no weights: no *.safetensors is there"
    for name in names:
        problem = _safetensors(folder / name)
        if problem:
            yield problem


def _safetensors(path: Path) -> str:
    """What is wrong with a file of weights; its format is 8 bytes of length, a JSON header, the numbers."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LONGEST_HEADER:
                return f"{path.name} is no safetensors file"
            header = json.loads(file.read(length))
    except FileNotFoundError:
        return f"{path.name} is missing"
    except (OSError, ValueError, struct.error):
        return f"{path.name} is no safetensors file, or its beginning is cut off"
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    wanted, found = 8 + length + max(ends, default=0), path.stat().st_size
    return f"{path.name} must have {wanted} bytes, got {found}" if found != wanted else ""


def _object(path: Path) -> tuple[Mapping[str, Any], str]:
    """A JSON object, or what is wrong with it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, f"{path.name} is missing"
    except (OSError, ValueError) as error:
        return {}, f"{path.name} cannot be read: {error}"
    return (value, "") if isinstance(value, dict) else ({}, f"{path.name} is no JSON object")


def read_manifest(folder: Path) -> Mapping[str, Any] | None:
    """Where the files came from; None where they were not fetched by ARGO."""
    manifest, problem = _object(folder / MANIFEST)
    return None if problem else manifest


def manifest_problems(folder: Path, *, hashes: bool = False) -> list[str]:
    """Files that are not as they were fetched; empty where all are, or where there is no manifest.

    Args:
        folder: Of the model.
        hashes: Also read every byte; else sizes alone.
    """
    problems = []
    for name, entry in (read_manifest(folder) or {}).get("files", {}).items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif path.stat().st_size != entry["bytes"]:
            problems.append(f"{name} must have {entry['bytes']} bytes, got {path.stat().st_size}")
        elif hashes and hash_of(path) != entry["sha256"]:
            problems.append(f"{name} is not what was fetched: its SHA-256 differs")
    return problems


def hash_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
