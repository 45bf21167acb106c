"""Histograms of services: hand-worked buckets, and what prometheus_client itself writes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Written
from prometheus_client.exposition import generate_latest

from argo.errors import InvalidArgumentError, NotReadyError
from argo.metric import RPC_SERVER_DURATION
from bench.histogram import Histogram, parsed, read_histogram
from bench.refusal import REFUSED_CALLS

# Two values of at most 1, three more of at most 2, five more above.
_TEN = Histogram((1.0, 2.0, math.inf), (2.0, 5.0, 10.0))


@pytest.mark.parametrize(
    ("share", "value"),
    # On the line from 0 to 1, at a bound, on the line from 1 to 2, and above the last bound that is finite.
    [(0.1, 0.5), (0.2, 1.0), (0.35, 1.5), (0.5, 2.0), (0.9, 2.0)],
)
def test_a_quantile_lies_on_the_line_through_its_bucket(share: float, value: float) -> None:
    assert _TEN.quantile(share) == pytest.approx(value)


def test_a_share_within_a_bound_is_exact_and_of_any_other_bound_refused() -> None:
    assert _TEN.share_within(2.0) == 0.5
    for histogram, bound in ((_TEN, 1.5), (Histogram(), math.inf)):
        with pytest.raises(InvalidArgumentError, match="bound must be one of"):
            histogram.share_within(bound)
    with pytest.raises(InvalidArgumentError, match="at least 1 value"):
        Histogram().quantile(0.5)


def test_what_came_since_is_the_difference_and_all_where_there_was_nothing_before() -> None:
    assert _TEN.since(Histogram((1.0, 2.0, math.inf), (1.0, 1.0, 3.0))).counts == (1.0, 4.0, 7.0)
    assert _TEN.since(Histogram()) == _TEN


def test_one_series_is_read_out_of_what_prometheus_is_told() -> None:
    registry = CollectorRegistry()
    declared = RPC_SERVER_DURATION
    written = Written(declared.name, declared.help, declared.labels, buckets=declared.buckets, registry=registry)
    values = np.random.default_rng(5).gamma(2.0, 0.003, 1000)
    for value in values:
        written.labels(*REFUSED_CALLS.values()).observe(value)
    written.labels(REFUSED_CALLS["rpc_method"], "OK").observe(0.001)
    read = parsed(generate_latest(registry).decode(), declared.name, REFUSED_CALLS)
    assert read.total == 1000
    # The promise is a bound of the histogram, so that its share needs no line through a bucket.
    assert read.share_within(0.01) == np.mean(values <= 0.01)
    for share in (0.5, 0.95, 0.99):
        true = float(np.quantile(values, share))
        low = max(bound for bound in (0.0, *declared.buckets) if bound < true)
        high = min(bound for bound in declared.buckets if bound >= true)
        assert low <= read.quantile(share) <= high


def test_a_series_that_is_not_there_holds_nothing_and_an_address_where_nobody_listens_is_told() -> None:
    assert parsed("", RPC_SERVER_DURATION.name, REFUSED_CALLS).total == 0
    with pytest.raises(NotReadyError, match=r"metrics cannot be read at http://127\.0\.0\.1:9/metrics"):
        read_histogram("http://127.0.0.1:9/metrics", RPC_SERVER_DURATION.name, REFUSED_CALLS)
