"""How full a disk is, in words."""

from __future__ import annotations

import os
from pathlib import Path

from argo.disk import disk_state, is_full


def test_a_disk_has_room_for_what_is_free_and_not_for_more(tmp_path: Path) -> None:
    room = os.statvfs(tmp_path)
    free_bytes = room.f_bavail * room.f_frsize
    assert not is_full(tmp_path, 1)
    assert is_full(tmp_path, 2 * free_bytes)


def test_a_folder_that_is_not_there_is_on_the_disk_of_the_nearest_that_is(tmp_path: Path) -> None:
    assert is_full(tmp_path / "a" / "b", 2 * os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize)
    assert not is_full(tmp_path / "a" / "b", 1)


def test_the_state_names_what_is_free(tmp_path: Path) -> None:
    room = os.statvfs(tmp_path)
    mib = room.f_bavail * room.f_frsize // 2**20
    words = disk_state(tmp_path)
    assert words.startswith("its disk is full, with ")
    assert words.endswith((" MiB free", " KiB free"))
    if mib >= 100:
        # Other processes write meanwhile.
        assert abs(int(words.split()[-3]) - mib) < mib / 2
