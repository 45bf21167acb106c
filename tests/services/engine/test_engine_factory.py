"""Settings become the engine that they name, and nothing of another is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from argo.errors import InvalidArgumentError
from deploy.plan import ROOT
from services.engine.factory import make_model
from services.engine.settings import EngineSettings


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        (EngineSettings(engine="vllm", model="some/model", profile="cpu"), "some/model"),
        (EngineSettings(engine="vllm", profile="cpu"), "Qwen/Qwen2.5-0.5B-Instruct"),
        (EngineSettings(engine="openai", model="served", base_url="http://127.0.0.1:9/v1"), "served"),
        (EngineSettings(engine="scripted"), None),
    ],
)
def test_an_engine_is_made_by_its_name(settings: EngineSettings, model: str | None) -> None:
    made = make_model(settings)
    assert made.name == settings.engine
    assert model is None or made.model == model
    assert made.describe().name == settings.engine


def test_builtin_has_no_model() -> None:
    with pytest.raises(InvalidArgumentError, match="engine must be one with a language model, got 'builtin'"):
        make_model(EngineSettings())


def test_an_unknown_profile_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidArgumentError, match=r"profile must be one of .*default.*, got 'fastest'"):
        make_model(EngineSettings(engine="vllm", profile="fastest"))


def test_no_engines_library_is_loaded_before_it_is_started() -> None:
    program = (
        "import sys\n"
        "from services.engine.factory import make_model\n"
        "from services.engine.settings import EngineSettings\n"
        "make_model(EngineSettings(engine='vllm', profile='cpu'))\n"
        "print(sorted({'vllm', 'torch', 'openai', 'pynvml'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
