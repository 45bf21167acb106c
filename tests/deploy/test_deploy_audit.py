from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import audit
from deploy.audit import EXCEPTIONS, Package

_MIT = Package("one", "1.0", "MIT", True)
_PINS = {"one": "1.0"}


def _said(package: Package, pins: dict[str, str] = _PINS, document: str | None = None) -> list[str]:
    return audit.problems([package], pins, audit.table([package]) if document is None else document)


def test_what_is_pinned_listed_and_of_an_allowed_licence_is_right() -> None:
    assert _said(_MIT) == []


@pytest.mark.parametrize(
    "licence", ["GPL-3.0-only", "MIT AND AGPL-3.0", "MIT OR GPL-2.0", "LicenseRef-Proprietary", "MITX", ""]
)
def test_a_licence_off_the_list_fails_by_name(licence: str) -> None:
    (line,) = _said(replace(_MIT, licence=licence))
    assert line.startswith(f"one 1.0: licence {licence or 'not stated'} is not on the list")


@pytest.mark.parametrize("licence", ["Apache-2.0", "MIT AND (Apache-2.0 OR BSD-3-Clause)", "BSD"])
def test_allowed_licences_may_be_combined(licence: str) -> None:
    assert _said(replace(_MIT, licence=licence)) == []


def test_what_is_not_the_pinned_version_fails() -> None:
    assert _said(_MIT, {"one": "1.1"}) == ["one: installed is 1.0, constraints.txt has 1.1"]
    assert "one: installed is 1.0, constraints.txt has no line for it" in _said(_MIT, {})


def test_a_licence_list_of_another_version_or_with_a_package_that_left_is_stale() -> None:
    before = audit.table([replace(_MIT, version="0.9")])
    assert _said(_MIT, document=before)[0].startswith("docs/licences.md is stale on one;")
    both = audit.table([_MIT, replace(_MIT, name="two")])
    assert _said(_MIT, document=both)[0].startswith("docs/licences.md is stale on two;")
    assert _said(_MIT, {**_PINS, "two": "1.0"}, both) == []  # of another version of Python


def test_each_exception_is_of_a_package_that_is_pinned_and_would_fail_without_it() -> None:
    packages = {package.name: package for package in audit.installed()}
    assert EXCEPTIONS.keys() <= audit.read_pins().keys()
    assert [name for name in EXCEPTIONS if name in packages and replace(packages[name], name="other").is_allowed] == []


def _pip_audit(folder: Path, script: str) -> str:
    program = folder / "pip-audit"
    program.write_text(f"#!{sys.executable}\nimport sys\nout = sys.argv[sys.argv.index('-o') + 1]\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_a_known_weakness_fails_the_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = {"id": "CVE-2026-1", "fix_versions": ["1.1"]}
    report = {
        "dependencies": [{"name": "one", "version": "1.0", "vulns": [known]}, {"name": "two", "skip_reason": "x"}]
    }
    program = _pip_audit(tmp_path, f"open(out, 'w').write({json.dumps(json.dumps(report))}); sys.exit(1)")
    assert audit.main(["--pip-audit", program]) == 1
    assert "WRONG one 1.0: CVE-2026-1, mended in 1.1" in capsys.readouterr().out


def test_a_database_out_of_reach_is_said_and_fails_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = _pip_audit(tmp_path, "sys.exit('ConnectionError: no route to api.osv.dev')")
    audit.main(["--pip-audit", program])
    said = capsys.readouterr().out
    assert "weaknesses: NOT CHECKED, the database could not be asked: ConnectionError: no route to api.osv.dev" in said
    assert "CVE" not in said
