"""pyproject.toml and constraints.txt agree, and hold nothing of one machine."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version

import pytest
from house_source import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_LINES = [
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.strip() and not line.startswith("#")
]
_PINS = dict(line.split("==") for line in _LINES)
# What neither `make ask` nor `make test` installs: gigabytes, and a client for one source of models.
_UNPINNED_EXTRAS = {"llm", "sentence-transformers", "modelscope"}


def _requirements() -> list[Requirement]:
    lines = list(_PROJECT["dependencies"])
    for extra, wanted in _PROJECT["optional-dependencies"].items():
        if extra not in _UNPINNED_EXTRAS:
            lines += wanted
    return [one for one in map(Requirement, lines) if one.name != _PROJECT["name"]]


def test_every_constraint_is_a_name_and_one_version() -> None:
    assert [line for line in _LINES if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    assert len({canonicalize_name(name) for name in _PINS}) == len(_LINES)


@pytest.mark.parametrize("requirement", _requirements(), ids=str)
def test_every_direct_dependency_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    pins = {canonicalize_name(name): pin for name, pin in _PINS.items()}
    pin = pins[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin, prereleases=True)


@pytest.mark.parametrize("requirement", _requirements(), ids=str)
def test_what_is_installed_is_what_is_pinned(requirement: Requirement) -> None:
    pins = {canonicalize_name(name): pin for name, pin in _PINS.items()}
    assert version(requirement.name) == pins[canonicalize_name(requirement.name)]


def test_no_pin_is_a_pre_release_but_where_only_betas_exist() -> None:
    early = {name for name, pin in _PINS.items() if Version(pin).is_prerelease}
    assert {name for name in early if not name.startswith("opentelemetry-")} == set()


def test_protobuf_is_one_that_both_the_generator_and_old_stubs_take() -> None:
    assert Version("6.33.5") <= Version(_PINS["protobuf"]) < Version("7")


def test_dev_installs_every_extra_that_the_tests_need() -> None:
    named = next(Requirement(line) for line in _PROJECT["optional-dependencies"]["dev"] if line.startswith("argo-oran"))
    assert named.extras == set(_PROJECT["optional-dependencies"]) - {"dev"} - _UNPINNED_EXTRAS
