"""Metrics: the name of each, and those of one process. :mod:`argo.metric_endpoint` serves them to Prometheus.

OpenTelemetry's names come first (`rpc.*`, `gen_ai.*`, spelled as Prometheus spells them); what is ARGO's own begins
with `argo_`. All are declared here and nowhere else. No label holds text, an id or an address, so the number of series
is bounded by what the code can do, whatever is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from argo import __version__

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge, Histogram
    from prometheus_client.core import Metric

__all__ = [
    "ACTIONS",
    "BREAKER_OPENED",
    "BREAKER_STATE",
    "BUDGETED_QUESTIONS",
    "BUDGET_MISSES",
    "BUDGET_USED",
    "BUILD",
    "CACHED_TOKENS",
    "CANARY_AGE",
    "CANARY_FAILURES",
    "COLLECTION_DOCUMENTS",
    "COLLECTION_PASSAGES",
    "COMPLETION_TOKENS",
    "DECLARED",
    "DEGRADATIONS",
    "DEGRADED_QUESTIONS",
    "ENGINE_RUNNING",
    "ENGINE_SERVING",
    "ENGINE_WAITING",
    "EVENT_LOOP_TASKS",
    "FIRST_DELTA",
    "GENERATIONS",
    "GENERATION_DURATION",
    "GENERATION_QUEUE",
    "GPU_MEMORY",
    "GPU_MEMORY_USED",
    "GPU_UTILISATION",
    "HEDGED_SEARCHES",
    "INGESTED_DOCUMENTS",
    "KV_CACHE_USED",
    "OOM_KILLS",
    "OUT_OF_MEMORY",
    "PREFIX_HIT",
    "PROGRESS",
    "PROMPT_TOKENS",
    "QUESTIONS",
    "QUESTIONS_QUEUED",
    "QUESTIONS_RUNNING",
    "QUESTION_DURATION",
    "QUESTION_QUEUE",
    "QUESTION_SEARCHES",
    "QUESTION_STEPS",
    "REFUSED_GENERATIONS",
    "REFUSED_QUESTIONS",
    "RPC_CLIENT_DURATION",
    "RPC_SERVER_DURATION",
    "SEARCHED_TEXTS",
    "SEARCH_DURATION",
    "SEARCH_PASSAGES",
    "SPANS_OPEN",
    "THETA_CONT",
    "THETA_STAR",
    "TIME_PER_OUTPUT_TOKEN",
    "TIME_TO_FIRST_TOKEN",
    "TWO_THRESHOLDS",
    "Declared",
    "Metrics",
]


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric: its name, and what every process that has it must agree on."""

    name: str
    """As Prometheus shows it; a counter's ends with `_total`, and a unit is part of it."""
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram; empty for a counter or a gauge."""


_QUESTION_S: Final = (
    # Close around the default budget of 1 s, and at the 4 s of the alert: a share inside a bound is then exact.
    *(0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5),
    *(2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 20.0, 40.0, 60.0),
)
_CALL_S: Final = (
    # Close around the 10 ms in which a question over capacity must be refused.
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    *(0.8, 0.9, 1.0, 1.5, 2.0, 4.0, 10.0, 30.0),
)
_FIRST_TOKEN_S: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)
_TOKEN_S: Final = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25)
_SEARCH_S: Final = (0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0)
_COUNT: Final = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0)
_SHARE: Final = tuple(n / 10 for n in range(11))

BUILD: Final = Declared("argo_build_info", "Always 1; the labels say what runs.", ("service", "version"))

RPC_SERVER_DURATION: Final = Declared(
    "rpc_server_call_duration_seconds",
    "Time of a served call, by method and status.",
    ("rpc_method", "rpc_response_status_code"),
    _CALL_S,
)
RPC_CLIENT_DURATION: Final = Declared(
    "rpc_client_call_duration_seconds",
    "Time of a call to another service as the caller saw it, by method and status.",
    ("rpc_method", "rpc_response_status_code"),
    _CALL_S,
)

QUESTIONS: Final = Declared(
    "argo_questions_total",
    "Questions that ended, by strategy, outcome (answered, abstained, failed, interrupted) and what ended them.",
    ("strategy", "outcome", "ended_by"),
)
QUESTIONS_RUNNING: Final = Declared("argo_questions_running", "Questions that are being answered.")
QUESTIONS_QUEUED: Final = Declared("argo_questions_queued", "Questions that wait for their turn.")
QUESTION_QUEUE: Final = Declared(
    "argo_question_queue_seconds", "Time that a question waited for its turn before it was begun.", (), _CALL_S
)
REFUSED_QUESTIONS: Final = Declared(
    "argo_questions_refused_total",
    "Questions not begun: full (nobody more may wait), late (no answer fits by its turn), tenant (over its share).",
    ("reason",),
)
BREAKER_STATE: Final = Declared(
    "argo_breaker_state", "Breaker towards a service: 0 closed, 1 half open, 2 open.", ("service",)
)
BREAKER_OPENED: Final = Declared(
    "argo_breaker_opened_total", "Times that a breaker opened, because its service failed in a row.", ("service",)
)
HEDGED_SEARCHES: Final = Declared(
    "argo_hedged_searches_total",
    "Searches that were late and made once more, by whose reply came first: first, second, failed (neither).",
    ("outcome",),
)
QUESTION_DURATION: Final = Declared(
    "argo_question_duration_seconds",
    "Time from a question's arrival to its answer, by strategy and mode (free, choice).",
    ("strategy", "mode"),
    _QUESTION_S,
)
FIRST_DELTA: Final = Declared(
    "argo_question_first_delta_seconds", "Time from a question's arrival to its answer's first words.", (), _QUESTION_S
)
BUDGETED_QUESTIONS: Final = Declared(
    "argo_budgeted_questions_total", "Questions answered that had a budget.", ("strategy",)
)
BUDGET_MISSES: Final = Declared(
    "argo_budget_misses_total", "Questions answered after their budget had passed.", ("strategy",)
)
BUDGET_USED: Final = Declared(
    "argo_budget_used_ratio",
    "Share of its budget that a question took; above 1 it was missed.",
    (),
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 5.0),
)
DEGRADED_QUESTIONS: Final = Declared("argo_degraded_questions_total", "Questions answered, with less than all of it.")
DEGRADATIONS: Final = Declared("argo_degradations_total", "What answers had to do without, by kind.", ("kind",))
ACTIONS: Final = Declared(
    "argo_actions_total", "Actions taken by the policy, TERMINATE included.", ("strategy", "action")
)
PROGRESS: Final = Declared(
    "argo_progress_at_end", "Information progress U of a question when it was answered.", (), _SHARE
)
QUESTION_STEPS: Final = Declared("argo_question_steps", "Steps of a question before TERMINATE.", (), _COUNT)
QUESTION_SEARCHES: Final = Declared("argo_question_searches", "Searches of a question.", (), _COUNT)
THETA_CONT: Final = Declared(
    "argo_policy_theta_cont",
    "Least progress at which the policy in force retrieves no more, at the default budget.",
    ("foci", "mode"),
)
THETA_STAR: Final = Declared(
    "argo_policy_theta_star",
    "Least progress from which the policy in force always terminates, at the default budget.",
    ("foci", "mode"),
)
TWO_THRESHOLDS: Final = Declared(
    "argo_policy_two_threshold",
    "1 where the two thresholds describe the policy in force; 0 where its actions interleave, and they do not.",
    ("foci", "mode"),
)

TIME_TO_FIRST_TOKEN: Final = Declared(
    "gen_ai_server_time_to_first_token_seconds",
    "From the engine's receiving a prompt to its first token, by what was generated.",
    ("kind",),
    _FIRST_TOKEN_S,
)
TIME_PER_OUTPUT_TOKEN: Final = Declared(
    "gen_ai_server_time_per_output_token_seconds",
    "Time of each token after the first, mean of a generation.",
    ("kind",),
    _TOKEN_S,
)
GENERATION_DURATION: Final = Declared(
    "gen_ai_server_request_duration_seconds", "Time of a finished generation.", ("kind",), _CALL_S
)
GENERATION_QUEUE: Final = Declared(
    "argo_engine_queue_seconds",
    "From a prompt's arrival in front of the engine to its being taken up.",
    ("kind",),
    _FIRST_TOKEN_S,
)
GENERATIONS: Final = Declared(
    "argo_engine_generations_total",
    "Generations, by kind and end: stop, length, time, cancelled, refused or failed.",
    ("kind", "ended_by"),
)
REFUSED_GENERATIONS: Final = Declared(
    "argo_engine_refused_total",
    "Generations that were not begun: full (no more may wait), late (what they are for would not be written in time).",
    ("kind", "reason"),
)
PROMPT_TOKENS: Final = Declared("argo_engine_prompt_tokens_total", "Tokens of prompts.", ("kind",))
COMPLETION_TOKENS: Final = Declared("argo_engine_completion_tokens_total", "Tokens generated.", ("kind",))
CACHED_TOKENS: Final = Declared(
    "argo_engine_cached_tokens_total", "Tokens of prompts that the prefix cache saved.", ("kind",)
)
ENGINE_RUNNING: Final = Declared("argo_engine_running", "Generations that the engine computes now.")
ENGINE_WAITING: Final = Declared("argo_engine_waiting", "Generations that wait for the engine.")
KV_CACHE_USED: Final = Declared("argo_engine_kv_cache_used_ratio", "Share of the KV cache in use, where it is told.")
PREFIX_HIT: Final = Declared(
    "argo_engine_prefix_hit_ratio", "Share of prompt tokens that the prefix cache saved since the start."
)
ENGINE_SERVING: Final = Declared("argo_engine_serving", "1 while the engine answers, 0 while it does not.")
CANARY_AGE: Final = Declared("argo_engine_canary_age_seconds", "Time since the engine last gave any sign of life.")
CANARY_FAILURES: Final = Declared("argo_engine_canary_failures_total", "Canaries that got no token in time.")
OUT_OF_MEMORY: Final = Declared(
    "argo_engine_out_of_memory_total", "Failures of the engine that name a lack of memory, on a GPU or the host."
)
GPU_UTILISATION: Final = Declared(
    "argo_gpu_utilisation_ratio", "Share of the last moments in which the engine's GPU ran anything.", ("gpu",)
)
GPU_MEMORY: Final = Declared("argo_gpu_memory_bytes", "Memory of the engine's GPU.", ("gpu",))
GPU_MEMORY_USED: Final = Declared("argo_gpu_memory_used_bytes", "Memory of the engine's GPU in use by all.", ("gpu",))

SEARCH_DURATION: Final = Declared(
    "argo_search_duration_seconds", "Time of a search call inside the retriever, all of its texts.", (), _SEARCH_S
)
SEARCHED_TEXTS: Final = Declared("argo_searched_texts_total", "Texts that were searched.")
SEARCH_PASSAGES: Final = Declared("argo_search_passages", "Passages found for a text.", (), _COUNT)
COLLECTION_PASSAGES: Final = Declared("argo_collection_passages", "Passages of the collection.")
COLLECTION_DOCUMENTS: Final = Declared("argo_collection_documents", "Documents of the collection.")
INGESTED_DOCUMENTS: Final = Declared(
    "argo_ingested_documents_total", "Documents sent to be indexed, by what became of them.", ("outcome",)
)

EVENT_LOOP_TASKS: Final = Declared(
    "argo_event_loop_tasks", "Tasks of the service's event loop that have not ended; what only ever rises is a leak."
)
SPANS_OPEN: Final = Declared(
    "argo_spans_open",
    "Spans that were started and have not ended; what stays open while nothing runs is never exported.",
)
OOM_KILLS: Final = Declared(
    "argo_cgroup_oom_kills_total",
    "Processes of this container that the kernel killed for want of memory; unset outside a control group.",
)

DECLARED: Final = tuple(value for value in list(vars().values()) if isinstance(value, Declared))
"""All of them, in the order of this page."""


class Metrics:
    """The metrics of one process: makes each when it is first asked for, and gives the same one afterwards.

    Args:
        service: Short name, such as "orchestrator".
    """

    def __init__(self, service: str) -> None:
        # Here and not above: the command line never counts, and would load a tenth of a second longer.
        import prometheus_client

        self._library = prometheus_client
        self.registry = prometheus_client.CollectorRegistry(auto_describe=False)
        self._made: dict[str, Any] = {}
        self._making = threading.Lock()
        self.gauge(BUILD).labels(service, __version__).set(1)

    def counter(self, declared: Declared) -> Counter:
        """The counter that is declared so."""
        made: Counter = self._get(declared, self._library.Counter)
        return made

    def gauge(self, declared: Declared) -> Gauge:
        """The gauge that is declared so."""
        made: Gauge = self._get(declared, self._library.Gauge)
        return made

    def histogram(self, declared: Declared) -> Histogram:
        """The histogram that is declared so."""
        made: Histogram = self._get(declared, self._library.Histogram, buckets=declared.buckets)
        return made

    def _get(self, declared: Declared, make: Callable[..., Any], **more: Any) -> Any:
        with self._making:
            made = self._made.get(declared.name)
            if made is None:
                made = make(declared.name, declared.help, declared.labels, registry=self.registry, **more)
                self._made[declared.name] = made
        return made

    def collect(self, read: Callable[[], Iterable[Metric]]) -> None:
        """Ask for some metrics at each scrape, instead of keeping them.

        Args:
            read: Called in the thread of a scrape.
        """
        self.registry.register(_Collector(read))


class _Collector:
    """A function as prometheus_client takes collectors."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()
