from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from services.retriever.calibrate import main
from services.retriever.logistic import brier_score, cross_validate, fit_logistic
from services.retriever.relevance import FEATURES, features, load_calibration
from services.retriever.retriever import Retriever

ROOT = Path(__file__).resolve().parents[3]


def test_logistic_finds_the_log_odds_of_a_two_by_two_table() -> None:
    # 30 of 40 positive where x = 1, 10 of 50 where x = 0: log odds ln(3) and ln(1/4), by hand.
    rows = np.array([[1.0]] * 40 + [[0.0]] * 50)
    labels = np.array([1.0] * 30 + [0.0] * 10 + [1.0] * 10 + [0.0] * 40)
    coefficients, bias = fit_logistic(rows, labels, np.ones(90), ridge=0.0)
    assert bias == pytest.approx(np.log(0.25), abs=1e-6)
    assert coefficients[0] == pytest.approx(np.log(3) - np.log(0.25), abs=1e-6)


def test_brier_score_is_the_mean_squared_error() -> None:
    score = brier_score(np.array([1.0, 0.5, 0.2]), np.array([1.0, 0.0, 0.0]), np.ones(3))
    assert score == pytest.approx((0 + 0.25 + 0.04) / 3)


def test_cross_validation_never_judges_a_question_it_was_fitted_on() -> None:
    # Each question's label is written in a column of its own, which only a fit that has seen it can use.
    rows = np.eye(20)
    labels = np.tile([0.0, 1.0], 10)
    chances = cross_validate(rows, labels, np.ones(20), np.arange(20) // 2, 1.0, folds=5)
    assert np.all(np.abs(chances - 0.5) < 0.2)


@pytest.mark.parametrize(
    "embedder", ["hashing", "sentence-transformers:/models/all-MiniLM-L6-v2", "onnx-minilm", "openai:x"]
)
def test_every_embedder_has_coefficients_with_their_provenance(embedder: str) -> None:
    calibration = load_calibration(embedder)
    assert calibration.weights.shape == (len(FEATURES),)
    assert "questions" in calibration.provenance
    # More agreement with the text never makes a passage less relevant, in the smallest collection and the largest.
    weight = dict(zip(FEATURES, calibration.weights.tolist(), strict=True))
    assert all(weight[name] >= 0 for name in ("cosine", "window_coverage", "head_coverage", "name_coverage"))
    assert all(weight["bm25_share"] + weight["bm25_share_by_size"] * np.log(size) > 0 for size in (100, 6_000))


def _named(retriever: Retriever, text: str, row: int) -> dict[str, float]:
    """Features of one passage for a text, with a cosine of 0.5."""
    index = retriever.snapshot.lexical
    bm25 = index.scores(index.query(text))[None, [row]]
    values = features(index, [text], bm25, np.array([[0.5]], np.float32), [row])
    return dict(zip(FEATURES, values[0, 0].tolist(), strict=True))


def _row(retriever: Retriever, source: str) -> int:
    return next(n for n, entry in enumerate(retriever.snapshot.stored) if entry.passage.source == source)


def test_features_of_a_passage_that_holds_every_term_in_one_sentence(retriever: Retriever) -> None:
    named = _named(retriever, "system clock of the network card", _row(retriever, "sync/ptp.md"))
    assert named["cosine"] == 0.5
    assert named["window_coverage"] == pytest.approx(1.0)
    assert named["bm25_share"] == pytest.approx(1.0)  # it is the only passage with these terms
    assert named["bm25_share_by_size"] == pytest.approx(named["log_passages"])
    assert named["head_coverage"] == 0.0
    assert named["log_words"] == pytest.approx(np.log(5))  # system, clock, network, card
    assert named["log_passages"] == pytest.approx(np.log(100))  # the smallest collection that was fitted


def test_a_name_that_no_passage_has_lowers_name_coverage_and_plain_words_do_not(retriever: Retriever) -> None:
    row = _row(retriever, "sync/ptp.md")

    def name_coverage(text: str) -> float:
        return _named(retriever, text, row)["name_coverage"]

    assert name_coverage("what disciplines the quaternion") == 1.0
    assert name_coverage("Which clock does NSSF2 read?") == 0.0


def test_features_of_no_passages_have_no_rows(retriever: Retriever) -> None:
    nothing = np.zeros((1, 0), np.float32)
    assert features(retriever.snapshot.lexical, ["clock"], nothing, nothing, []).shape == (1, 0, len(FEATURES))


def test_features_of_several_texts_are_those_of_each_alone(retriever: Retriever) -> None:
    index, rows = retriever.snapshot.lexical, list(range(len(retriever.snapshot.stored)))
    texts = ["system clock of the network card", "Which clock does NSSF2 read?", "the", "quaternion"]
    bm25 = np.stack([index.scores(index.query(text)) for text in texts])
    cosines = np.random.default_rng(0).random(bm25.shape, np.float32)
    together = features(index, texts, bm25, cosines, rows)
    for place, text in enumerate(texts):
        alone = features(index, [text], bm25[[place]], cosines[[place]], rows)
        np.testing.assert_allclose(together[place], alone[0], rtol=1e-6)


def test_an_unknown_term_lowers_coverage(retriever: Retriever) -> None:
    row = _row(retriever, "sync/ptp.md")
    less = _named(retriever, "system clock quaternion", row)["window_coverage"]
    assert _named(retriever, "system clock", row)["window_coverage"] > less > 0


def test_calibrate_reports_a_fit_on_the_primer(capsys: pytest.CaptureFixture[str]) -> None:
    examples = ROOT / "examples"
    arguments = ["--docs", "oran", "--questions", "questions.jsonl", "--unanswerable", "unanswerable.jsonl"]
    code = main([str(examples / value) if not value.startswith("--") else value for value in arguments])
    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert set(report["weights"]) == set(FEATURES)
    assert report["brier"] < report["brier_of_base_rate"]
