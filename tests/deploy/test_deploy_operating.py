"""The operating guide names files, targets, settings, alerts and numbers that are there."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from compose_project import CLIENTS, FOLDER, SETTINGS, variables

from argo.settings import TelemetrySettings
from deploy.images import TARGETS
from deploy.plan import ROOT
from services.engine.byte_size import parse_bytes
from services.engine.profile import load_profile
from services.engine.shape import load_shape
from services.engine.size import Demand, size_of

_GUIDE = (ROOT / "docs" / "operating.md").read_text()
_BLOCKS = re.findall(r"^```\n(.*?)^```$", _GUIDE, re.MULTILINE | re.DOTALL)


def test_every_file_of_the_deployment_that_the_guide_names_exists() -> None:
    named = set(re.findall(r"\bdeploy/[\w./-]*\w", _GUIDE))
    assert {"deploy/compose.yaml", "deploy/.env", "deploy/kubernetes/overlays/cpu"} <= named
    # Settings files and certificates are the reader's own.
    own = ("deploy/settings", "deploy/certificates")
    missing = {name for name in named if not (ROOT / name).exists() and not name.startswith(own)}
    assert missing == set()


def test_every_setting_that_the_guide_names_exists() -> None:
    known = {
        f"{settings.model_config['env_prefix']}{name}".upper()
        for settings in (*SETTINGS.values(), *CLIENTS.values(), TelemetrySettings)
        for name in settings.model_fields
    }
    known |= set(variables(FOLDER / ".env"))
    assert set(re.findall(r"\bARGO_[A-Z_]*[A-Z]\b", _GUIDE)) <= known


def test_every_alert_is_in_the_guide_and_has_its_section() -> None:
    rules = yaml.safe_load((FOLDER / "observability" / "rules.yaml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    linked = re.findall(r"\[(Argo\w+)\]\(observability\.md#(\w+)\)", _GUIDE)
    assert {name for name, _ in linked} == alerts
    sections = re.findall(r"^### (\w+)$", (ROOT / "docs" / "observability.md").read_text(), re.MULTILINE)
    assert {anchor for _, anchor in linked} <= {section.lower() for section in sections}


def _most(env: dict[str, str], role: str, memory: str, gpus: int) -> int:
    profile = load_profile(env[f"ARGO_PROFILE_{role}"])
    demand = Demand(
        shape=load_shape(env[f"ARGO_MODEL_{role}"]),
        gpu_memory=parse_bytes(memory),
        share=float(env[f"ARGO_GPU_SHARE_{role}"]),
        tensor_parallel=gpus,
        max_num_seqs=profile.engine["max_num_seqs"],
        max_num_batched_tokens=profile.engine["max_num_batched_tokens"],
    )
    return size_of(demand).largest_concurrency


@pytest.mark.parametrize("path", sorted((FOLDER / "gpu").glob("*.env")), ids=lambda path: path.stem)
def test_the_table_of_layouts_says_what_the_sizing_command_does(path: Path) -> None:
    env = variables(FOLDER / ".env") | variables(path)
    memory = re.findall(r"x(\d+)", path.stem)[0] + "GiB"
    cells = []
    for role in ("DECOMPOSER", "SYNTHESIZER"):
        split = 2 if role == "SYNTHESIZER" and path.stem.endswith("-split") else 1
        model = env[f"ARGO_MODEL_{role}"].removeprefix("Qwen/").removesuffix("-Instruct")
        cells.append(f"{model}, {_most(env, role, memory, split)}")
    row = next(line for line in _GUIDE.splitlines() if line.startswith(f"| `{path.stem}` "))
    assert [cell in row for cell in cells] == [True, True], cells


def test_the_table_of_images_says_what_the_record_does() -> None:
    record = json.loads((ROOT / "docs" / "results" / "images.json").read_text())
    assert {each["target"] for each in record} == set(TARGETS)
    for each in record:
        extras = ", ".join(each["extras"])
        assert f"| `{each['target']}` | {extras} | {each['distributions']} | {each['megabytes']:,} |" in _GUIDE


def test_the_backup_of_the_guide_is_whole_while_the_database_is_written(tmp_path: Path) -> None:
    database = tmp_path / "sessions.db"
    writer = sqlite3.connect(database)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE session (id TEXT)")
    writer.execute("INSERT INTO session VALUES ('committed')")
    writer.commit()
    writer.execute("INSERT INTO session VALUES ('not committed')")
    _run(_code("source.backup(target)"), tmp_path)
    # A plain copy would be without what is in the file beside it.
    assert _rows(tmp_path / "backup.db") == ["committed"]
    writer.close()
    database.write_bytes(b"damaged")
    (tmp_path / "sessions-backup.db").write_bytes((tmp_path / "backup.db").read_bytes())
    _run(_code("old.unlink()").replace("/from/", f"{tmp_path}/"), tmp_path)
    assert _rows(database) == ["committed"]


def _code(part: str) -> str:
    block = next(block for block in _BLOCKS if part in block)
    return re.findall(r"-c '\n(.*?)^'", block, re.MULTILINE | re.DOTALL)[0]


def _run(code: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-c", code.replace("/var/lib/argo", str(folder))], check=True)


def _rows(database: Path) -> list[str]:
    connection = sqlite3.connect(database)
    try:
        return [row[0] for row in connection.execute("SELECT id FROM session")]
    finally:
        connection.close()
