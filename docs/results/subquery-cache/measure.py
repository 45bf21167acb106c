"""How often the decomposer's subquery cache hits, and how often it should not have.

    PYTHONPATH=. OPENBLAS_NUM_THREADS=1 python docs/results/subquery-cache/measure.py --questions dev.jsonl \
        --benchmark fin_E.json fin_M.json fin_H.json > docs/results/subquery-cache/record.jsonl

The cache is filled with every focus of every question of dev.jsonl, as a model in `mode=model` would, and then asked by
what paraphrase.jsonl holds for each question, all written by hand: `light` changes a few words, `heavy`
all it can, `other` a few words so that the answer is another one. `form` is the question in lower case behind "please
tell me". A hit is false where the question that it comes from has other gold evidence, and for `other` always; it is of
another focus where the two questions have equally many foci and the hit is for another of them.

The benchmark's questions, each text once and without its options, are asked one after another of a cache of 16,384,
which keeps what it missed. A hit on a question with another gold answer is counted apart: an upper bound of the false
ones, since many ask the same thing and differ in their options. Last, times of one look-up that finds nothing, in a
full cache: where every entry has names of its own, and where all have the same.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from services.decomposer import subquery_cache
from services.decomposer.engine import Subquery, SubqueryRequest
from services.decomposer.plan import plan_foci
from services.decomposer.subquery_cache import SubqueryCache
from services.lexicon.glossary import load_glossary

_PARAPHRASES = Path(__file__).with_name("paraphrase.jsonl")
_THRESHOLDS = (0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
_SAMPLE = 40
_DISTINCTIONS = subquery_cache.distinctions


def _requests(question: str) -> list[SubqueryRequest]:
    foci = plan_foci(question)
    return [SubqueryRequest(question, focus, foci=foci) for focus in foci]


def _read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _asked(question: str, texts: dict[str, object]) -> Iterable[tuple[str, str]]:
    yield "same", question
    yield "form", f"please tell me {question[0].lower()}{question[1:].rstrip('?.')}"
    for kind in ("light", "heavy", "other"):
        yield kind, str(texts[kind])


def _paraphrases(path: Path, threshold: float) -> Iterable[dict[str, object]]:
    rows = _read(path)
    evidence = {str(row["id"]): {one["path"] + one["section"] for one in row["evidence"]} for row in rows}  # type: ignore[attr-defined, index]
    cache = SubqueryCache(16_384, threshold, load_glossary())
    n_foci = {}
    for row in rows:
        requests = _requests(str(row["question"]))
        n_foci[str(row["id"])] = len(requests)
        for request in requests:
            cache.keep(request, Subquery(f"{row['id']} {request.focus.id}"))
    others = {str(row["id"]): row for row in _read(_PARAPHRASES)}
    counts: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        name = str(row["id"])
        for kind, text in _asked(str(row["question"]), others[name]):
            requests = _requests(text)
            for request in requests:
                count = counts.setdefault((kind, "several" if len(requests) > 1 else "one"), Counter())
                count["asked"] += 1
                if (found := cache.find(request)) is None:
                    continue
                count["hits"] += 1
                source, focus = found.text.split()
                count["false"] += kind == "other" or evidence[source] != evidence[name]
                count["other_focus"] += len(requests) == n_foci[source] and focus != request.focus.id
    for (kind, foci), count in counts.items():
        yield {
            "record": "paraphrase",
            "kind": kind,
            "foci": foci,
            **{key: count[key] for key in ("asked", "hits", "false", "other_focus")},
        }


def _benchmark(paths: list[Path], threshold: float, sample: Path | None) -> dict[str, object]:
    answers: dict[str, str] = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            question, options, key = json.loads(line)
            if question.strip() and key.isdigit() and 0 < int(key) <= len(options):
                option = options[int(key) - 1].partition(".")[2].strip().rstrip(".").lower()
                answers.setdefault(" ".join(question.split()), option)
    cache = SubqueryCache(16_384, threshold, load_glossary())
    count: Counter[str] = Counter()
    differing = []
    for question, answer in answers.items():
        for request in _requests(question[:2_000]):
            count["asked"] += 1
            found = cache.find(request)
            if found is None:
                cache.keep(request, Subquery(question))
                continue
            count["hits"] += 1
            if answers[found.text] != answer:
                differing.append((found.text, answers[found.text], question, answer))
    count["other_answer"] = len(differing)
    if sample is not None:
        drawn = np.random.default_rng(0).choice(len(differing), min(_SAMPLE, len(differing)), replace=False)
        sample.write_text("".join(json.dumps(differing[at]) + "\n" for at in sorted(drawn)), encoding="utf-8")
    return {"record": "benchmark", **{key: count[key] for key in ("asked", "hits", "other_answer")}}


def _times(entries: int, *, alike: bool) -> dict[str, object]:
    """Of one look-up in a full cache: embedding, and search."""
    cache = SubqueryCache(entries, 0.999, load_glossary())
    words = [f"x{chr(97 + number % 26)}{chr(97 + number // 26 % 26)}q" for number in range(676)]
    random = np.random.default_rng(0)
    for number in range(entries):
        name = "" if alike else f" O-DU{number}"
        text = f"What does the unit{name} do with {' '.join(random.choice(words, 8))}"
        cache.keep(_requests(text)[0], Subquery("x"))
    request = _requests("What does the unit do with xabq xbcq xcdq xdeq xefq xfgq xghq xhiq")[0]
    samples = []
    for _ in range(220):
        began = time.perf_counter()
        cache.find(request)
        samples.append(time.perf_counter() - began)
    low, middle, high = np.percentile(samples[20:], [5, 50, 95]) * 1e3
    entry = {"record": "time", "entries": entries, "alike": alike, "p5_ms": low, "p50_ms": middle, "p95_ms": high}
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in entry.items()}


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.machine()


def main() -> None:
    """Write one record a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--benchmark", type=Path, nargs="*", default=[])
    parser.add_argument("--thresholds", type=float, nargs="*", default=_THRESHOLDS)
    parser.add_argument("--sample", type=Path, help="where to write hits on another answer at 0.95, to be read by eye")
    arguments = parser.parse_args()
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True)
    machine = {"record": "machine", "commit": commit.stdout.strip(), "python": platform.python_version()}
    print(json.dumps({**machine, "numpy": np.__version__, "processor": _processor()}))
    for distinct in (True, False):
        subquery_cache.distinctions = _DISTINCTIONS if distinct else lambda text, glossary: ()
        for threshold in arguments.thresholds:
            tags = {"distinctions": distinct, "similarity": threshold}
            for record in _paraphrases(arguments.questions, threshold):
                print(json.dumps({**record, **tags}), flush=True)
            # Without distinctions every entry is compared with every question, which takes long.
            if arguments.benchmark and distinct and threshold in (0.9, 0.95):
                sample = arguments.sample if threshold == 0.95 else None
                print(json.dumps({**_benchmark(arguments.benchmark, threshold, sample), **tags}), flush=True)
    subquery_cache.distinctions = _DISTINCTIONS
    for entries, alike in ((4_096, False), (16_384, False), (4_096, True)):
        print(json.dumps(_times(entries, alike=alike)), flush=True)


if __name__ == "__main__":
    main()
