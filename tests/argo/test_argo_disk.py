"""How full a disk is."""

from __future__ import annotations

import shutil
from pathlib import Path

from argo.disk import free_bytes, shown_size


def test_what_is_free_is_what_the_system_says(tmp_path: Path) -> None:
    # Other processes write meanwhile.
    assert abs(free_bytes(tmp_path) - shutil.disk_usage(tmp_path).free) < 2**30


def test_what_is_not_there_is_on_the_disk_of_the_nearest_folder_that_is(tmp_path: Path) -> None:
    assert abs(free_bytes(tmp_path / "a" / "b") - shutil.disk_usage(tmp_path).free) < 2**30


def test_a_size_is_shown_in_a_unit_that_fits() -> None:
    assert [shown_size(size) for size in (0, 1023, 12 * 1024, 10 * 2**20, 340 * 2**20 + 1)] == [
        "0 KiB",
        "0 KiB",
        "12 KiB",
        "10 MiB",
        "340 MiB",
    ]
