"""Policy: actions, progress and thresholds."""

from __future__ import annotations

from typing import Final

from deploy.observability.panel import Dashboard, Query, heatmap, lines
from deploy.observability.promql import ANSWERED, mean, quantiles, rate

__all__ = ["BOARD"]

BOARD: Final = Dashboard(
    "argo-policy",
    "ARGO policy",
    "What the decision process does, how far questions get, and the thresholds in force.",
    (
        (
            "Actions",
            (
                lines("Actions", "ops", Query(rate("argo_actions_total", "action"), "{{action}}"), stacked=True),
                lines(
                    "Actions a question",
                    "short",
                    Query(
                        f"{rate('argo_actions_total', 'action')} / on () group_left () {rate(ANSWERED)}",
                        "{{action}}",
                    ),
                ),
                lines(
                    "What ended questions",
                    "reqps",
                    Query(rate("argo_questions_total", "ended_by"), "{{ended_by}}"),
                    stacked=True,
                ),
                lines(
                    "Steps a question",
                    "short",
                    Query(mean("argo_question_steps"), "mean"),
                    *quantiles("argo_question_steps")[1:2],
                ),
                lines(
                    "Searches a question",
                    "short",
                    Query(mean("argo_question_searches"), "mean"),
                    *quantiles("argo_question_searches")[1:2],
                ),
                lines(
                    "Questions by strategy",
                    "reqps",
                    Query(rate("argo_questions_total", "strategy"), "{{strategy}}"),
                    stacked=True,
                ),
            ),
        ),
        (
            "Progress",
            (
                heatmap("Progress at the end", "percentunit", "argo_progress_at_end_bucket", width=12),
                lines(
                    "Mean progress at the end",
                    "percentunit",
                    Query(mean("argo_progress_at_end"), "mean U"),
                    most=1,
                    width=12,
                ),
            ),
        ),
        (
            "Thresholds at the default budget",
            (
                lines(
                    "theta_cont by number of foci: no more retrieval from here",
                    "percentunit",
                    Query('max by (foci) (argo_policy_theta_cont{mode=~"$mode"})', "{{foci}} foci"),
                    most=1,
                ),
                lines(
                    "theta_star by number of foci: always terminate from here",
                    "percentunit",
                    Query('max by (foci) (argo_policy_theta_star{mode=~"$mode"})', "{{foci}} foci"),
                    most=1,
                ),
                lines(
                    "Two thresholds describe the policy",
                    "bool_yes_no",
                    Query('min by (foci) (argo_policy_two_threshold{mode=~"$mode"})', "{{foci}} foci"),
                    description="Where this is no, the actions interleave, and the two curves beside say little.",
                    most=1,
                ),
            ),
        ),
    ),
    (("mode", "Answer mode", "label_values(argo_policy_theta_star, mode)"),),
)
