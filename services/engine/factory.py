"""From settings to an engine; adapters and their libraries are loaded only where they are asked for."""

from __future__ import annotations

from argo.errors import InvalidArgumentError
from argo.telemetry import Telemetry
from services.engine.canary import WatchedModel
from services.engine.engine_queue import EngineQueue
from services.engine.port import LanguageModel
from services.engine.profile import load_profile
from services.engine.prompt_canary import PromptCanary
from services.engine.settings import EngineSettings
from services.engine.span import TracedModel

__all__ = ["make_model"]


def make_model(
    settings: EngineSettings, telemetry: Telemetry | None = None, queue: EngineQueue | None = None
) -> WatchedModel:
    """The language model that the settings name, with its queue, its spans and its watch.

    Args:
        settings: Which engine, and how.
        telemetry: Where spans go; None for nowhere.
        queue: In front of the engine; None for none, so that an engine is measured by itself.

    Raises:
        ArgoError: The profile or the script is wrong. What the engine itself refuses, it refuses at its start.
        InvalidArgumentError: The builtin engine has no model.
    """
    if settings.engine == "builtin":
        raise InvalidArgumentError("engine must be one with a language model, got 'builtin'")
    return WatchedModel(TracedModel(_engine(settings), telemetry or Telemetry(None), queue), _canary(settings))


def _canary(settings: EngineSettings) -> PromptCanary | None:
    if settings.prompt_canary is not None:
        return PromptCanary(settings.prompt_canary.get_secret_value())
    # What is scripted is drawn from the prompt's hash, and is to be the same at each start.
    return None if settings.engine == "scripted" else PromptCanary()


def _engine(settings: EngineSettings) -> LanguageModel:
    if settings.engine == "vllm":
        from services.engine.vllm_engine import VllmModel

        profile = load_profile(settings.profile)
        return VllmModel(settings, profile.engine, profile.model)
    if settings.engine == "openai":
        from services.engine.openai_engine import OpenAiModel

        return OpenAiModel(settings)
    from services.engine.scripted import ScriptedModel

    return ScriptedModel(settings)
