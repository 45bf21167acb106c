"""Every n-th usable row of ORAN-Bench-13K, question and options only, for a machine without the benchmark."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.oran_bench import read_oran_bench

if __name__ == "__main__":
    folder, count, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    questions = read_oran_bench(folder).questions
    step = len(questions) // count
    rows = [{"question": one.question, "options": one.options} for one in questions[::step][:count]]
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
