"""Brings a model into a folder, as a step of its own: services then start from the folder, without a network."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from argo.errors import InvalidArgumentError, NotFoundError, NotReadyError, UnavailableError
from services.engine.checkpoint import MANIFEST, checkpoint_problems, hash_of, read_manifest

__all__ = ["PATTERNS", "SOURCES", "Found", "HuggingFace", "ModelScope", "Source", "fetch"]

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
_BEGUN: Final = ".cache/argo-fetch.json"
"""What a fetch that has not come to its end is of."""
_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EIO})


@dataclass(frozen=True, slots=True)
class Found:
    """A model at its source, at one exact revision."""

    commit: str
    """Its exact revision, as far as the source tells; a branch may move while its files are brought."""
    hashes: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of files as the source lists them, by path; of which it lists none, its own client checks."""


class Source(Protocol):
    """Where models come from."""

    def find(self, model: str, revision: str | None, endpoint: str | None) -> Found:
        """Look a model up; nothing is brought.

        Raises:
            ArgoError: See :func:`fetch`.
        """
        ...

    def bring(self, model: str, found: Found, folder: Path, endpoint: str | None) -> None:
        """Bring the files that are not there yet; a broken download goes on where it stopped.

        Raises:
            ArgoError: See :func:`fetch`.
        """
        ...


def fetch(
    model: str,
    folder: Path,
    *,
    source: str = "huggingface",
    revision: str | None = None,
    endpoint: str | None = None,
    sources: Mapping[str, Source] | None = None,
) -> Path:
    """Bring a model into a folder, check that it is whole, and write down what it is.

    What is there already is not brought again; a broken download goes on where it stopped.

    Args:
        model: Name at the source, such as "Qwen/Qwen2.5-1.5B-Instruct".
        folder: Made if need be. May hold an earlier or broken fetch of the same model and revision, nothing else.
        source: One of SOURCES.
        revision: Branch, tag or commit; None takes the source's default.
        endpoint: Another address of the hub, such as a mirror's; None takes the source's own.
        sources: Sources by name; SOURCES if left out.

    Returns:
        The manifest's path.

    Raises:
        InvalidArgumentError: The source is unknown, or the folder holds something else.
        NotFoundError: There is no such model or revision, or it is not open to this account.
        NotReadyError: The source's client is not installed, or what came is no whole model, or not what is listed.
        UnavailableError: The source cannot be reached; run it again to go on.
        OSError: The folder cannot be written.
    """
    known = SOURCES if sources is None else sources
    if source not in known:
        raise InvalidArgumentError(f"source must be one of {', '.join(known)}, got {source!r}")
    before = _check_folder(folder, model)
    found = known[source].find(model, revision, endpoint)
    if before is not None and before.get("commit") != found.commit:
        # Files of both would lie beside each other, and a service may be reading the old ones.
        raise InvalidArgumentError(
            f"to must be a folder of its own for {found.commit}, got {folder}, which holds {before.get('commit')}; "
            "give that as the revision to go on with it"
        )
    origin = {"model": model, "source": source, "revision": revision, "commit": found.commit}
    begun = folder / _BEGUN
    begun.parent.mkdir(parents=True, exist_ok=True)
    begun.write_text(json.dumps(origin) + "\n", encoding="utf-8")
    known[source].bring(model, found, folder, endpoint)
    problems = checkpoint_problems(folder)
    if problems:
        raise NotReadyError(f"{model} came without all that a start needs: {'; '.join(problems)}")
    hashes = _hashes(folder)
    _check_hashes(folder, hashes, found.hashes)
    return _write_manifest(folder, origin, hashes)


def _check_folder(folder: Path, model: str) -> Mapping[str, Any] | None:
    """What an earlier fetch wrote down, None where there was none; refuses a folder that holds anything else."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    before = read_manifest(folder) or _read(folder / _BEGUN)
    if before is None:
        raise InvalidArgumentError(f"to must be an empty folder, or one of an earlier fetch, got {folder}")
    if before.get("model") != model:
        raise InvalidArgumentError(
            f"to must be a folder of its own for {model}, got {folder}, which holds {before.get('model')}"
        )
    return before


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hash_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST and path.relative_to(folder).parts[0] not in _CLIENT_STATE
    }


def _check_hashes(folder: Path, hashes: Mapping[str, str], listed: Mapping[str, str]) -> None:
    """Take away what is not as the source lists it, so that the next fetch brings it again."""
    wrong = sorted(name for name, digest in hashes.items() if listed.get(name, digest) != digest)
    for name in wrong:
        (folder / name).unlink()
    if wrong:
        raise NotReadyError(
            f"{', '.join(wrong)} came otherwise than the source lists (SHA-256) and was removed: run this again"
        )


def _write_manifest(folder: Path, origin: Mapping[str, Any], hashes: Mapping[str, str]) -> Path:
    manifest = {
        **origin,
        "fetched_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "files": {name: {"bytes": (folder / name).stat().st_size, "sha256": digest} for name, digest in hashes.items()},
    }
    path = folder / MANIFEST
    # Whole or not at all: a service that starts meanwhile reads it.
    draft = folder / f"{_BEGUN}.manifest"
    draft.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
    (folder / _BEGUN).unlink()
    return path


class HuggingFace:
    """The Hugging Face Hub, or a server that speaks its protocol."""

    def find(self, model: str, revision: str | None, endpoint: str | None) -> Found:
        """Look the model up; see :class:`Source`."""
        with self._mapped(model, revision):
            from huggingface_hub import HfApi

            info = HfApi(endpoint=endpoint).model_info(model, revision=revision, files_metadata=True)
        # Of small files the hub lists git's hash alone.
        hashes = {one.rfilename: one.lfs.sha256 for one in info.siblings or () if one.lfs is not None}
        return Found(str(info.sha), hashes)

    def bring(self, model: str, found: Found, folder: Path, endpoint: str | None) -> None:
        """Bring its files; see :class:`Source`."""
        with self._mapped(model, found.commit):
            from huggingface_hub import snapshot_download

            snapshot_download(
                model,
                revision=found.commit,
                local_dir=folder,
                allow_patterns=list(PATTERNS),
                endpoint=endpoint,
                max_workers=4,
            )

    @contextlib.contextmanager
    def _mapped(self, model: str, revision: str | None) -> Iterator[None]:
        try:
            from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
        except ImportError:
            raise NotReadyError(
                "source huggingface needs the package huggingface-hub: install argo-oran[fetch]"
            ) from None
        try:
            yield
        except GatedRepoError:
            raise NotFoundError(
                f"model {model!r} asks for its terms to be accepted: do so, then `hf auth login`"
            ) from None
        except RevisionNotFoundError:
            raise NotFoundError(f"model {model!r} has no revision {revision!r}") from None
        except RepositoryNotFoundError:
            raise NotFoundError(f"there is no model {model!r}, or it is not open to this account") from None
        except ValueError as error:
            raise InvalidArgumentError(
                f"model must be a name at the hub, got {model!r}: {_first_line(error)}"
            ) from None
        except Exception as error:
            if _is_of_disk(error):
                raise
            # Which HTTP library's errors come through differs between releases of the client.
            raise UnavailableError(
                f"the hub cannot be reached, run this again to go on: {_first_line(error)}"
            ) from error


class ModelScope:
    """ModelScope, through its own client, which checks the hashes of what it brings."""

    def find(self, model: str, revision: str | None, endpoint: str | None) -> Found:
        """Take the revision as it was given: the client tells no commit, and the manifest's hashes say what came."""
        if endpoint is not None:
            raise InvalidArgumentError(
                "endpoint is for source huggingface; ModelScope's client reads MODELSCOPE_DOMAIN"
            )
        try:
            import modelscope  # noqa: F401  # looked for before a folder is made
        except ImportError:
            raise NotReadyError(
                "source modelscope needs the package modelscope: install argo-oran[modelscope]"
            ) from None
        return Found(revision or "master")

    def bring(self, model: str, found: Found, folder: Path, endpoint: str | None) -> None:
        """Bring its files; see :class:`Source`."""
        from modelscope import snapshot_download
        from modelscope.hub.errors import NotExistError

        try:
            snapshot_download(model, revision=found.commit, local_dir=str(folder), allow_patterns=list(PATTERNS))
        except NotExistError:
            raise NotFoundError(
                f"there is no model {model!r} of revision {found.commit!r}, or it is not open to this account"
            ) from None
        except ValueError as error:
            raise InvalidArgumentError(
                f"model must be a name at ModelScope, got {model!r}: {_first_line(error)}"
            ) from None
        except Exception as error:
            if _is_of_disk(error):
                raise
            raise UnavailableError(f"ModelScope cannot be reached, run this again: {_first_line(error)}") from error


SOURCES: Final[Mapping[str, Source]] = {"huggingface": HuggingFace(), "modelscope": ModelScope()}
"""Where models come from, by name."""


def _is_of_disk(error: Exception) -> bool:
    """Whether the folder is at fault, and not the network, whose errors the clients derive from the same class."""
    return isinstance(error, OSError) and error.errno in _DISK


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
