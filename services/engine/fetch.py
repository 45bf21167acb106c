"""Brings a model into a folder, as a step of its own: services then start from the folder, without a network."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from argo.errors import InvalidArgumentError, NotFoundError, NotReadyError, UnavailableError
from services.engine.checkpoint import MANIFEST, checkpoint_problems, hash_of

__all__ = ["PATTERNS", "SOURCES", "fetch", "hugging_face", "model_scope"]

PATTERNS: Final = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.*",
    "quantize_config.json",
    "LICENSE*",
    "README.md",
)
"""Files that are fetched: weights, config, tokenizer. Pickled weights are not, since loading them runs code."""
_CLIENT_STATE: Final = (".cache", "._____temp", ".msc", ".mv")
"""Where the hubs' clients keep what they need to go on with a broken download; no part of the model."""

Download = Callable[[str, Path, str | None, str | None], str]
"""Brings the files of (model, folder, revision, endpoint) and returns the exact revision that they are of."""


def fetch(
    model: str,
    folder: Path,
    *,
    source: str = "huggingface",
    revision: str | None = None,
    endpoint: str | None = None,
    sources: Mapping[str, Download] | None = None,
) -> Path:
    """Bring a model into a folder, check that it is whole, and write down what it is.

    What is there already is not brought again; a broken download goes on where it stopped.

    Args:
        model: Name at the source, such as "Qwen/Qwen2.5-1.5B-Instruct".
        folder: Made if need be. May hold an earlier or broken download of the same model, nothing else's.
        source: One of SOURCES.
        revision: Branch, tag or commit; None takes the source's default.
        endpoint: Another address of the hub, such as a mirror's; None takes the source's own.
        sources: Ways to download by name; SOURCES if left out.

    Returns:
        The manifest's path.

    Raises:
        InvalidArgumentError: The source is unknown, or the folder holds another model.
        NotFoundError: There is no such model or revision, or it is not open to this account.
        NotReadyError: The source's client is not installed, or what came is no whole model.
        UnavailableError: The source cannot be reached; run it again to go on.
    """
    known = SOURCES if sources is None else sources
    if source not in known:
        raise InvalidArgumentError(f"source must be one of {', '.join(known)}, got {source!r}")
    _check_folder(folder, model)
    folder.mkdir(parents=True, exist_ok=True)
    commit = known[source](model, folder, revision, endpoint)
    problems = checkpoint_problems(folder)
    if problems:
        raise NotReadyError(f"{model} came without all that a start needs: {'; '.join(problems)}")
    return _write_manifest(folder, model, source, revision, commit)


def _check_folder(folder: Path, model: str) -> None:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return
    before = json.loads(manifest.read_text(encoding="utf-8")).get("model")
    if before != model:
        raise InvalidArgumentError(f"to must be a folder of its own for {model}, got {folder}, which holds {before}")


def _write_manifest(folder: Path, model: str, source: str, revision: str | None, commit: str) -> Path:
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": hash_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST and path.relative_to(folder).parts[0] not in _CLIENT_STATE
    }
    manifest = {
        "model": model,
        "source": source,
        "revision": revision,
        "commit": commit,
        "fetched_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "files": files,
    }
    path = folder / MANIFEST
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return path


def hugging_face(model: str, folder: Path, revision: str | None, endpoint: str | None) -> str:
    """Download from the Hugging Face Hub, or from a server that speaks its protocol."""
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError:
        raise NotReadyError("source huggingface needs the package huggingface-hub: install argo-oran[fetch]") from None
    try:
        # The exact commit first: a branch may move while its files are brought.
        commit = HfApi(endpoint=endpoint).model_info(model, revision=revision).sha
        snapshot_download(
            model, revision=commit, local_dir=folder, allow_patterns=list(PATTERNS), endpoint=endpoint, max_workers=4
        )
    except GatedRepoError:
        raise NotFoundError(f"model {model!r} asks for its terms to be accepted: do so, then `hf auth login`") from None
    except RevisionNotFoundError:
        raise NotFoundError(f"model {model!r} has no revision {revision!r}") from None
    except RepositoryNotFoundError:
        raise NotFoundError(f"there is no model {model!r}, or it is not open to this account") from None
    except ValueError as error:
        raise InvalidArgumentError(f"model must be a name at the hub, got {model!r}: {_first_line(error)}") from None
    except Exception as error:
        # Which HTTP library's errors come through differs between releases of the client.
        raise UnavailableError(f"the hub cannot be reached, run this again to go on: {_first_line(error)}") from error
    return str(commit)


def model_scope(model: str, folder: Path, revision: str | None, endpoint: str | None) -> str:
    """Download from ModelScope through its own client."""
    if endpoint is not None:
        raise InvalidArgumentError("endpoint is for source huggingface; ModelScope's client reads MODELSCOPE_DOMAIN")
    try:
        from modelscope import snapshot_download
    except ImportError:
        raise NotReadyError("source modelscope needs the package modelscope: install argo-oran[modelscope]") from None
    try:
        snapshot_download(model, revision=revision, local_dir=str(folder), allow_patterns=list(PATTERNS))
    except OSError as error:
        raise UnavailableError(f"ModelScope cannot be reached, run this again: {_first_line(error)}") from error
    # Its client tells no commit; the hashes in the manifest say what came.
    return revision or "master"


SOURCES: Final[Mapping[str, Download]] = {"huggingface": hugging_face, "modelscope": model_scope}
"""Ways to download, by name."""


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
