"""The compose files as a compose implementation reads them: merged, and with the variables of .env filled in."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from argo.settings import ClientSettings, ServerSettings
from deploy.plan import ROOT
from deploy.settings import DeploySettings
from orchestrator.settings import OrchestratorSettings
from services.decomposer.settings import DecomposerSettings
from services.retriever.settings import RetrieverSettings
from services.synthesizer.settings import SynthesizerSettings

FOLDER = ROOT / "deploy"
BIN = Path(sys.executable).parent
SETTINGS: dict[str, type[ServerSettings]] = {
    "orchestrator": OrchestratorSettings,
    "services.decomposer": DecomposerSettings,
    "services.retriever": RetrieverSettings,
    "services.synthesizer": SynthesizerSettings,
}
"""Settings of each module that a container runs as a service."""
CLIENTS: dict[str, type[ClientSettings | DeploySettings]] = {"argo": ClientSettings, "deploy": DeploySettings}

# podman-compose merges and fills in by itself; all that it asks of podman for `config` is that it be there.
_PODMAN = "#!/bin/sh\necho podman version 5.6.0\n"


@dataclass(frozen=True)
class Container:
    """One service of a merged project."""

    name: str
    spec: dict[str, Any] = field(hash=False)

    @property
    def is_ours(self) -> bool:
        return str(self.spec["image"]).startswith("argo-oran/")

    @property
    def target(self) -> str:
        """The image's target in the Dockerfile."""
        return str(self.spec["image"]).rpartition("/")[2].partition(":")[0]

    @property
    def module(self) -> str:
        """The module that runs, or `argo` for the command line."""
        entry = self.spec.get("entrypoint") or ["python", "-m"]
        return str(entry[0] if entry[-1] != "-m" else self.spec["command"][0])

    @property
    def environment(self) -> dict[str, str]:
        return {name: str(value) for name, value in (self.spec.get("environment") or {}).items()}

    @property
    def is_service(self) -> bool:
        return self.is_ours and self.module in SETTINGS

    @property
    def port(self) -> int:
        """The port that the environment has it listen on."""
        prefix = str(SETTINGS[self.module].model_config["env_prefix"])
        return int(self.environment[f"{prefix}PORT"])

    @property
    def mounts(self) -> list[tuple[str, str]]:
        """Source and place of each volume."""
        return [(str(one).split(":")[0], str(one).split(":")[1]) for one in self.spec.get("volumes") or []]


@cache
def merged(files: tuple[str, ...], env_files: tuple[str, ...] = ()) -> dict[str, Any]:
    """The project that `docker compose` would run, by podman-compose's reading of the same files."""
    command = [str(BIN / "podman-compose"), "--podman-path", str(_podman())]
    for env_file in (".env", *env_files) if env_files else ():
        command += ["--env-file", env_file]
    for file in files:
        command += ["-f", file]
    # Profiles of every kind are in: what they hold is to be right as well.
    command += [part for profile in profiles(files) for part in ("--profile", profile)]
    # No variable of the user's shell: it would go before the files.
    environ = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run([*command, "config"], cwd=FOLDER, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    project: dict[str, Any] = yaml.safe_load(done.stdout)
    return project


def containers(project: dict[str, Any]) -> list[Container]:
    return [Container(name, spec) for name, spec in project["services"].items()]


def raw(file: str) -> dict[str, Any]:
    """A file as it is written, without merging or filling in."""
    loaded: dict[str, Any] = yaml.load((FOLDER / file).read_text(), _Loader)
    return loaded


def profiles(files: tuple[str, ...]) -> list[str]:
    return sorted(
        {one for file in files for spec in raw(file)["services"].values() for one in spec.get("profiles", [])}
    )


def variables(path: Path) -> dict[str, str]:
    """What an environment file sets."""
    return dict(_lines(path))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name, value


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="argo-podman-")


@cache
def _podman() -> Path:
    path = Path(_folder().name) / "podman"
    path.write_text(_PODMAN)
    path.chmod(0o755)
    return path


class _Loader(yaml.SafeLoader):
    """Knows compose's own tags, which say how a list is merged."""


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


for _tag in ("!override", "!reset"):
    _Loader.add_constructor(_tag, _plain)
