"""Processor time that counting a question takes in the orchestrator: one step, six calls, one answer.

PYTHONPATH=. python docs/results/metric-cost/measure.py >> docs/results/metric-cost/data.jsonl
"""

from __future__ import annotations

import json
import platform
import time

from argo.metric import Metrics
from argo.server_metric import CallTimes
from argo.v1 import orchestrator_pb2, types_pb2
from orchestrator.metric import QuestionMetrics
from orchestrator.question import Question
from orchestrator.strategy import strategy

COUNT, WARM_UP, ROUNDS = 20_000, 2_000, 5
CALLS = 6


def main() -> None:
    """Write one JSON line."""
    metrics = Metrics("orchestrator")
    questions = QuestionMetrics(metrics, lambda: 0)
    made, served = CallTimes.made(metrics), CallTimes.served(metrics)
    question = Question(
        session_id="s",
        text="What is the A1 interface for?",
        options=(),
        strategy=strategy("mdp"),
        budget_s=1.0,
        max_steps=6,
        fan_out=8,
        top_k=10,
        max_answer_tokens=200,
        arrived_at=0.0,
        deadline_at=2.0,
        margin_s=0.0,
    )
    answer = orchestrator_pb2.Answer(
        end_reason=orchestrator_pb2.END_REASON_POLICY,
        progress=1.0,
        steps=1,
        searches=3,
        within_budget=True,
        timing=orchestrator_pb2.QuestionTiming(total_s=0.3, time_to_first_delta_s=0.2),
    )
    step = orchestrator_pb2.StepFinished(action=types_pb2.ACTION_RETRIEVE)

    def count() -> None:
        with questions.counting(question):
            for _ in range(CALLS):
                made.note("argo.v1.RetrieverService/Search", "OK", 0.01)
            served.note("argo.v1.OrchestratorService/Ask", "OK", 0.3)
            questions.stepped(question, step)
            questions.answered(question, answer)

    for _ in range(WARM_UP):
        count()
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(COUNT):
            count()
        rounds.append((time.process_time() - began) / COUNT * 1e6)
    print(
        json.dumps(
            {
                "bench": "metric-cost",
                "us_per_question": rounds,
                "calls": CALLS,
                "questions_per_round": COUNT,
                "python": platform.python_version(),
                "machine": platform.processor() or platform.machine(),
            }
        )
    )


if __name__ == "__main__":
    main()
