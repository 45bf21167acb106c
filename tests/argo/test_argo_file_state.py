from __future__ import annotations

from pathlib import Path

import pytest

from argo.file_state import replace_file


def test_what_cannot_be_put_in_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    # A folder is no file that another could take the place of; root, too, is told so.
    taken = tmp_path / "tokens.jsonl"
    taken.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(taken, b"{}\n", 0o600)
    assert list(tmp_path.iterdir()) == [taken]
