"""Fetching, against the hub's own client and a server that speaks the hub's protocol; no network."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_hub import COMMIT, FakeHub, serving

from argo.errors import InvalidArgumentError, NotFoundError, NotReadyError, UnavailableError
from services.engine.checkpoint import MANIFEST, checkpoint_problems, manifest_problems
from services.engine.fetch import Found, fetch

_MODEL = "argo/tiny"


def _safetensors(numbers: int) -> bytes:
    header = json.dumps({"weight": {"dtype": "U8", "shape": [numbers], "data_offsets": [0, numbers]}}).encode()
    return struct.pack("<Q", len(header)) + header + (bytes(range(251)) * (numbers // 251 + 1))[:numbers]


_FIRST, _SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
_FILES = {
    "config.json": b'{"architectures": ["Qwen2ForCausalLM"]}',
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}',
    "model.safetensors.index.json": json.dumps({"weight_map": {"a": _FIRST, "b": _SECOND}}).encode(),
    _FIRST: _safetensors(23_000_000),
    _SECOND: _safetensors(500),
    "pytorch_model.bin": b"a pickle",
    "model.gguf": b"another format",
}
_WANTED = set(_FILES) - {"pytorch_model.bin", "model.gguf"}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving(FakeHub(_MODEL, _FILES)) as served:
        yield served


def test_a_fetched_folder_holds_weights_config_and_tokenizer_and_nothing_else(hub: FakeHub, tmp_path: Path) -> None:
    fetch(_MODEL, tmp_path / "model", endpoint=hub.endpoint)
    assert {path.name for path in (tmp_path / "model").iterdir()} == _WANTED | {MANIFEST, ".cache"}
    assert all((tmp_path / "model" / name).read_bytes() == _FILES[name] for name in _WANTED)
    assert checkpoint_problems(tmp_path / "model") == []


def test_the_manifest_has_the_exact_commit_and_each_files_hash(hub: FakeHub, tmp_path: Path) -> None:
    manifest = json.loads(fetch(_MODEL, tmp_path, revision="main", endpoint=hub.endpoint).read_text())
    assert (manifest["model"], manifest["source"], manifest["revision"]) == (_MODEL, "huggingface", "main")
    assert manifest["commit"] == COMMIT
    assert manifest["files"] == {
        name: {"bytes": len(_FILES[name]), "sha256": hashlib.sha256(_FILES[name]).hexdigest()} for name in _WANTED
    }


def test_a_broken_download_goes_on_where_it_stopped(hub: FakeHub, tmp_path: Path) -> None:
    hub.break_after[_FIRST] = 21_000_000  # the client writes by pieces of 10 MB
    fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    starts = [start for name, start in hub.sent if name == _FIRST]
    assert starts[0] == 0 and 10_000_000 <= starts[-1] <= 21_000_000
    assert (tmp_path / _FIRST).read_bytes() == _FILES[_FIRST]


def test_a_second_fetch_of_the_same_commit_brings_nothing(hub: FakeHub, tmp_path: Path) -> None:
    fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    hub.sent.clear()
    fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    assert hub.sent == []


def test_a_folder_that_is_not_whole_gets_no_manifest_and_what_is_there_is_not_brought_again(
    hub: FakeHub, tmp_path: Path
) -> None:
    kept = hub.files.pop(_SECOND)
    hub.files[_SECOND] = kept[:-1]  # listed and sent one byte short, so that the folder is not whole
    with pytest.raises(NotReadyError, match=rf"{_SECOND} must have \d+ bytes, got \d+"):
        fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    assert not (tmp_path / MANIFEST).exists()
    hub.sent.clear()
    hub.files[_SECOND] = kept
    with pytest.raises(NotReadyError):
        # The commit is the same, and so by the hub's promise are its files: a broken hub is not papered over.
        fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    assert hub.sent == []


def test_a_model_without_safetensors_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    for name in (_FIRST, _SECOND, "model.safetensors.index.json"):
        del hub.files[name]
    with pytest.raises(NotReadyError, match=r"no weights: no \*\.safetensors is there"):
        fetch(_MODEL, tmp_path, endpoint=hub.endpoint)


def test_an_unknown_model_or_revision_is_named(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no model 'argo/other'"):
        fetch("argo/other", tmp_path, endpoint=hub.endpoint)
    with pytest.raises(NotFoundError, match="'argo/tiny' has no revision 'v9'"):
        fetch(_MODEL, tmp_path, revision="v9", endpoint=hub.endpoint)
    with pytest.raises(InvalidArgumentError, match=r"model must be a name at the hub, got '\.\./etc'"):
        fetch("../etc", tmp_path, endpoint=hub.endpoint)


def test_a_hub_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with serving(FakeHub(_MODEL, {})) as gone:
        endpoint = gone.endpoint
    with pytest.raises(UnavailableError, match="run this again to go on"):
        fetch(_MODEL, tmp_path, endpoint=endpoint)


def test_a_folder_of_another_model_is_left_alone(hub: FakeHub, tmp_path: Path) -> None:
    fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    with pytest.raises(InvalidArgumentError, match="which holds argo/tiny"):
        fetch("argo/other", tmp_path, endpoint=hub.endpoint)
    assert manifest_problems(tmp_path, hashes=True) == []


def test_an_unknown_source_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="source must be one of huggingface, modelscope, got 'ftp'"):
        fetch(_MODEL, tmp_path, source="ftp")
    assert list(tmp_path.iterdir()) == []


def test_modelscope_without_its_client_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match=r"install argo-oran\[modelscope\]"):
        fetch(_MODEL, tmp_path, source="modelscope")


def test_weights_that_came_otherwise_than_listed_are_removed_and_brought_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.large = {_SECOND}
    hub.listed = {_SECOND: _FILES[_SECOND]}
    # As long, and a safetensors file: its hash alone tells.
    hub.files[_SECOND] = _FILES[_SECOND][:-1] + b"?"
    with pytest.raises(NotReadyError, match=rf"{_SECOND} came otherwise than the source lists \(SHA-256\)"):
        fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    assert not (tmp_path / _SECOND).exists() and not (tmp_path / MANIFEST).exists()
    hub.files[_SECOND] = _FILES[_SECOND]
    fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    assert (tmp_path / _SECOND).read_bytes() == _FILES[_SECOND]


def test_a_branch_that_moved_gets_a_folder_of_its_own(hub: FakeHub, tmp_path: Path) -> None:
    # A service may be reading the folder, and files that the new commit lacks would stay beside its own.
    fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    hub.commit = "f" * 40
    with pytest.raises(InvalidArgumentError, match=rf"own for {'f' * 40}, got .*, which holds {COMMIT}"):
        fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    assert manifest_problems(tmp_path, hashes=True) == []


def test_a_folder_with_something_else_in_it_is_left_alone(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "thesis.md").touch()
    with pytest.raises(InvalidArgumentError, match="to must be an empty folder, or one of an earlier fetch"):
        fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.md"]


def test_a_folder_in_which_another_fetch_was_begun_is_left_alone(hub: FakeHub, tmp_path: Path) -> None:
    del hub.files["tokenizer.json"]
    with pytest.raises(NotReadyError, match=r"no tokenizer"):
        fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    hub.model = "argo/other"
    with pytest.raises(InvalidArgumentError, match=r"own for argo/other, got .*, which holds argo/tiny"):
        fetch("argo/other", tmp_path, endpoint=hub.endpoint)


def test_a_manifest_that_is_no_json_is_no_traceback(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(InvalidArgumentError, match="to must be an empty folder"):
        fetch(_MODEL, tmp_path, endpoint=hub.endpoint)


def test_no_folder_is_made_for_a_model_that_is_not_there(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        fetch("argo/other", tmp_path / "new", endpoint=hub.endpoint)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_no_unreachable_hub(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        fetch(_MODEL, tmp_path / "file" / "below", endpoint=hub.endpoint)


class _Disk:
    """A source that is neither hub."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def find(self, model: str, revision: str | None, endpoint: str | None) -> Found:
        self.asked.append((model, revision, endpoint))
        return Found("r7")

    def bring(self, model: str, found: Found, folder: Path, endpoint: str | None) -> None:
        for name in _WANTED:
            (folder / name).write_bytes(_FILES[name])


def test_any_source_can_stand_behind_the_port(tmp_path: Path) -> None:
    disk = _Disk()
    manifest = fetch(_MODEL, tmp_path, source="disk", revision="v1", sources={"disk": disk})
    assert disk.asked == [(_MODEL, "v1", None)]
    assert json.loads(manifest.read_text())["commit"] == "r7"


# --- what a whole folder is ------------------------------------------------------------------------------------------


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    for name in _WANTED:
        (tmp_path / name).write_bytes(_FILES[name])
    return tmp_path


@pytest.mark.parametrize("name", sorted(_WANTED - {"model.safetensors.index.json"}))
def test_each_missing_file_is_named(whole: Path, name: str) -> None:
    assert checkpoint_problems(whole) == []
    (whole / name).unlink()
    problems = checkpoint_problems(whole)
    assert len(problems) == 1 and (name in problems[0])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (_SECOND, _FILES[_SECOND][:-10], "must have"),
        (_SECOND, b"\x00" * 4, "is no safetensors file"),
        (_SECOND, b"<html>not found</html>" * 9, "is no safetensors file"),
        ("config.json", b"{", "config.json cannot be read"),
        ("config.json", b"{}", "names no architectures"),
        ("tokenizer_config.json", b"{}", "no chat template"),
        ("model.safetensors.index.json", b"{}", "lists no weights"),
    ],
)
def test_what_is_broken_is_said(whole: Path, name: str, content: bytes, said: str) -> None:
    (whole / name).write_bytes(content)
    problems = checkpoint_problems(whole)
    assert len(problems) == 1 and said in problems[0]


def test_a_chat_template_may_be_a_file_of_its_own(whole: Path) -> None:
    (whole / "tokenizer_config.json").write_text("{}")
    (whole / "chat_template.jinja").write_text("{{ messages }}")
    assert checkpoint_problems(whole) == []


def test_a_file_changed_after_fetching_is_found_by_its_hash_alone(hub: FakeHub, tmp_path: Path) -> None:
    fetch(_MODEL, tmp_path, endpoint=hub.endpoint)
    data = bytearray((tmp_path / _SECOND).read_bytes())
    data[-1] ^= 1
    (tmp_path / _SECOND).write_bytes(data)
    assert manifest_problems(tmp_path) == []
    assert manifest_problems(tmp_path, hashes=True) == [f"{_SECOND} is not what was fetched: its SHA-256 differs"]
