"""A histogram of a running service, read from the address at which Prometheus would read it."""

from __future__ import annotations

import math
import urllib.error
import urllib.request
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from argo.errors import InvalidArgumentError, NotReadyError

__all__ = ["Histogram", "parsed", "read_histogram"]

_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values were at most each bound.

    Args:
        bounds: Rising, the last of them infinite.
        counts: Values of at most each; never falling.
    """

    bounds: tuple[float, ...] = (math.inf,)
    counts: tuple[float, ...] = (0.0,)

    @property
    def total(self) -> int:
        """All values."""
        return int(self.counts[-1])

    def since(self, before: Histogram) -> Histogram:
        """What came in since an earlier reading of the same histogram; one that was not there yet held nothing."""
        if not before.total:
            return self
        return Histogram(self.bounds, tuple(now - then for now, then in zip(self.counts, before.counts, strict=True)))

    def share_within(self, bound: float) -> float:
        """Share of the values that were at most a bound, which must be one of the histogram's, so that it is exact.

        Raises:
            InvalidArgumentError: It is none, or there are no values.
        """
        if bound not in self.bounds or not self.total:
            raise InvalidArgumentError(
                f"bound must be one of {self.bounds[:-1]} of a histogram with values, got {bound:g}"
            )
        return self.counts[self.bounds.index(bound)] / self.total

    def quantile(self, share: float) -> float:
        """A value that this share of the values was at most, as Prometheus reads one: on a line through its bucket.

        Where it is above the last finite bound, that bound.

        Args:
            share: In 0..1.

        Raises:
            InvalidArgumentError: There are no values.

        Source: Prometheus, promql/quantile.go, bucketQuantile.
        """
        if not self.total:
            raise InvalidArgumentError("a quantile needs at least 1 value, got 0")
        rank = share * self.total
        place = bisect_left(self.counts, rank)
        if place == len(self.bounds) - 1:
            return self.bounds[-2] if place else math.inf
        low, below = (self.bounds[place - 1], self.counts[place - 1]) if place else (0.0, 0.0)
        inside = self.counts[place] - below
        return low + (self.bounds[place] - low) * ((rank - below) / inside if inside else 1.0)


def parsed(text: str, name: str, labels: Mapping[str, str]) -> Histogram:
    """A histogram of what a service says to Prometheus; without values where it is not there.

    Args:
        text: All of it.
        name: Such as "rpc_server_call_duration_seconds".
        labels: Those of the one series that is meant.
    """
    buckets = sorted(
        (float(sample.labels["le"]), sample.value)
        for family in text_string_to_metric_families(text)
        if family.name == name
        for sample in family.samples
        if sample.name == f"{name}_bucket" and {**sample.labels, "le": ""} == {**labels, "le": ""}
    )
    if not buckets:
        return Histogram()
    bounds, counts = zip(*buckets, strict=True)
    return Histogram(bounds, counts)


def read_histogram(url: str, name: str, labels: Mapping[str, str]) -> Histogram:
    """A histogram as a service shows it now; see :func:`parsed`.

    Args:
        url: Where Prometheus reads the service's metrics, such as "http://127.0.0.1:50061/metrics".
        name: Of the histogram.
        labels: Of the one series that is meant.

    Raises:
        NotReadyError: Nothing can be read there.
    """
    try:
        # The address is the launcher's or the user's own.
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply:
            text = reply.read().decode()
    except (OSError, ValueError, HTTPException, urllib.error.URLError) as error:
        raise NotReadyError(f"metrics cannot be read at {url}: {error}") from None
    return parsed(text, name, labels)
