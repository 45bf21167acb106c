"""Rows of ORAN-Bench-13K through the whole stack as it ships: rows a second, and the time for all 13,952 at that rate.

Weights are random, so what is chosen means nothing and is not looked at. No length is held: the services run their own
code, with their own profile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ladder import Bench, parser, run

_ALL_ROWS = 13_952


class ChoiceBench(Bench):
    """The bench with rows in the place of questions."""

    def write(self, record: Mapping[str, Any]) -> None:
        """Add what the rate means for the whole benchmark."""
        if record["bench"] == "stack" and record["questions"]:
            rate = record["questions_per_s"]
            record = {
                **record,
                "bench": "choice",
                "strategy": self._arguments.strategy,
                "budget_ms": self._arguments.budget_ms,
                "rows_per_s": rate,
                "all_rows_s": _ALL_ROWS / rate,
            }
        super().write(record)
        if record["bench"] == "choice":
            print(
                f"{record['rows_per_s']:.1f} rows/s: {_ALL_ROWS} rows in {record['all_rows_s'] / 60:.1f} min",
                flush=True,
            )


if __name__ == "__main__":
    made = parser()
    made.set_defaults(held=False, bare=False, levels="64:2000", most_s=180.0)
    arguments = made.parse_args()
    if arguments.rows is None:
        made.error("--rows is needed")
    asyncio.run(run(ChoiceBench(arguments)))
