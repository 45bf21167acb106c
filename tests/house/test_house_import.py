"""Imports go one way, third-party giants stay in their adapters, and each package imports what its extra installs."""

from __future__ import annotations

import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

import pytest
from house_source import PACKAGES, ROOT, Source, sources
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_SHARED_SERVICES = ("services.lexicon", "services.engine")
_DECISION_PROCESS = (
    "orchestrator.action",
    "orchestrator.action_time",
    "orchestrator.mdp",
    "orchestrator.pace",
    "orchestrator.parameter",
    "orchestrator.policy",
    "orchestrator.policy_book",
    "orchestrator.policy_file",
    "orchestrator.progress",
    "orchestrator.quality",
    "orchestrator.solved",
    "orchestrator.solver",
    "orchestrator.state",
    "orchestrator.strategy",
    "orchestrator.threshold",
)

# Where a library that is large, or replaceable, may be imported. New adapters are added here on purpose.
_ADAPTERS: dict[str, tuple[str, ...]] = {
    "chromadb": ("services.retriever.chroma", "services.retriever.chroma_server"),
    "openai": ("services.engine.openai_engine", "services.engine.openai_error", "services.engine.openai_server"),
    "redis": ("orchestrator.session_server",),
    "sentence_transformers": ("services.retriever.embedder.sentence_transformer",),
    "torch": (),
    "vllm": ("services.engine.vllm_engine",),
    "pynvml": ("services.engine.gpu",),
}

# What a package may import besides the base dependencies.
_EXTRAS = {
    "argo": (),
    "deploy": ("tls",),
    "deploy.audit": ("dev",),  # looks at what a development environment holds, and runs in one
    "orchestrator": ("orchestrator", "redis"),
    "services.engine": ("llm", "openai", "fetch", "modelscope"),
    "services.lexicon": ("builtin",),
    "services.decomposer": ("builtin",),
    "services.synthesizer": ("builtin",),
    "services.retriever": ("retriever", "sentence-transformers"),
    "services": (),
    "bench": ("bench",),
}

# Libraries that a dependency of ours exists to bring.
_BROUGHT = {
    "cycler": "matplotlib",
    "pydantic": "pydantic-settings",
    "pynvml": "nvidia-ml-py",
    "opentelemetry-api": "opentelemetry-sdk",
}


def _within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _allowed(source: Source) -> tuple[str, ...]:
    module = source.module
    if _within(module, "argo.v1"):
        return ("argo.v1",)
    if _within(module, "argo"):
        return ("argo",)
    if _within(module, "services"):
        own = ".".join(module.split(".")[:2])
        return ("argo", own, *_SHARED_SERVICES)
    if _within(module, "bench"):
        return ("argo", "bench", *_DECISION_PROCESS)
    return ("argo", module.split(".")[0])


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    wrong = [
        f"{source.path} imports {name}"
        for source in sources(generated=True)
        if _within(source.module, package)
        for name in source.imported()
        if name.split(".")[0] in (*PACKAGES, "tests") and not _within(name, *_allowed(source))
    ]
    assert wrong == []


@pytest.mark.parametrize("library", sorted(_ADAPTERS))
def test_a_large_library_is_imported_in_its_adapters_alone(library: str) -> None:
    users = {source.module for source in sources() for name in source.imported() if _within(name, library)}
    assert users == set(_ADAPTERS[library])


@cache
def _declared(extra: str | None) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def _extras(module: str) -> tuple[str, ...]:
    package = max((name for name in _EXTRAS if _within(module, name)), key=len)
    return _EXTRAS[package]


def test_each_package_imports_only_what_its_extra_installs() -> None:
    distributions = packages_distributions()
    wrong = []
    for source in sources(generated=True):
        declared = _declared(None).union(*(_declared(extra) for extra in _extras(source.module)))
        for name in sorted(set(source.imported())):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in PACKAGES:
                continue
            owners = {canonicalize_name(owner) for owner in distributions.get(top, [top])}
            if not {_BROUGHT.get(owner, owner) for owner in owners} & declared:
                wrong.append(f"{source.path} imports {name} of {', '.join(sorted(owners))}")
    assert wrong == []
