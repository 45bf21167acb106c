"""Panels and dashboards as Grafana's JSON, from what differs between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["DATASOURCE", "Dashboard", "Panel", "Query", "heatmap", "lines", "share", "stat"]

DATASOURCE: Final = {"type": "prometheus", "uid": "argo-prometheus"}
"""As grafana/provisioning/datasources names it."""
_COLUMNS: Final = 24
_SCHEMA: Final = 38
"""Of Grafana 10.1; later ones bring it up to theirs as they load it."""


@dataclass(frozen=True)
class Query:
    """One PromQL expression with the name of its series."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel without its place."""

    kind: str
    title: str
    queries: tuple[Query, ...]
    unit: str
    description: str = ""
    width: int = 8
    height: int = 8
    thresholds: tuple[float, ...] = ()
    """Where the colour turns to yellow, then to red; where they fall, to yellow and red below them."""
    stacked: bool = False
    least: float | None = 0
    most: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """The panel at a place."""
        defaults: dict[str, Any] = {"unit": self.unit}
        if self.least is not None:
            defaults["min"] = self.least
        if self.most is not None:
            defaults["max"] = self.most
        if self.thresholds:
            defaults["thresholds"] = {"mode": "absolute", "steps": _steps(self.thresholds)}
        if self.kind == "timeseries":
            defaults["custom"] = {"fillOpacity": 40 if self.stacked else 8, "lineWidth": 1, "showPoints": "never"}
            if self.stacked:
                defaults["custom"]["stacking"] = {"mode": "normal", "group": "A"}
            if self.thresholds:
                defaults["custom"]["thresholdsStyle"] = {"mode": "dashed"}
        made: dict[str, Any] = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": _OPTIONS[self.kind],
            "targets": [
                {
                    "refId": chr(ord("A") + place),
                    "datasource": DATASOURCE,
                    "expr": query.expression,
                    "legendFormat": query.legend or "__auto",
                    **({"format": "heatmap"} if self.kind == "heatmap" else {}),
                    **({"instant": True, "range": False} if self.kind == "stat" else {}),
                }
                for place, query in enumerate(self.queries)
            ],
        }
        if self.description:
            made["description"] = self.description
        return made


_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        "graphMode": "none",
        "colorMode": "value",
        "justifyMode": "auto",
        "textMode": "auto",
        "orientation": "auto",
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "steps": 64,
            "exponent": 0.5,
            "reverse": False,
            "fill": "orange",
        },
        "yAxis": {"axisPlacement": "left"},
        "legend": {"show": False},
        "tooltip": {"show": True, "yHistogram": False},
    },
}


def _steps(thresholds: Sequence[float]) -> list[dict[str, Any]]:
    if len(thresholds) == 2 and thresholds[0] > thresholds[1]:
        high, low = thresholds
        return [{"color": "red", "value": None}, {"color": "yellow", "value": low}, {"color": "green", "value": high}]
    colours = ("yellow", "red") if len(thresholds) == 2 else ("red",)
    return [
        {"color": "green", "value": None},
        *({"color": colour, "value": value} for colour, value in zip(colours, thresholds, strict=True)),
    ]


def lines(title: str, unit: str, *queries: Query, **more: Any) -> Panel:
    """Figures over time."""
    return Panel("timeseries", title, queries, unit, **more)


def share(title: str, *queries: Query, **more: Any) -> Panel:
    """Shares over time, drawn on one another up to all."""
    return Panel("timeseries", title, queries, "percentunit", stacked=True, most=1, **more)


def stat(title: str, unit: str, query: str, **more: Any) -> Panel:
    """One figure of now."""
    return Panel("stat", title, (Query(query),), unit, width=4, height=4, **more)


def heatmap(title: str, unit: str, buckets: str, **more: Any) -> Panel:
    """How often each bucket of a histogram was hit over time."""
    query = Query(f"sum by (le) (increase({buckets}[$__rate_interval]))", "{{le}}")
    return Panel("heatmap", title, (query,), unit, least=None, **more)


@dataclass(frozen=True)
class Dashboard:
    """Panels one after another, from left to right, under their rows."""

    uid: str
    title: str
    description: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]
    """Title of each row with its panels; an empty title is shown as none."""
    variables: tuple[tuple[str, str, str], ...] = ()
    """Name, label and query of each choice at the top."""

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Every panel."""
        return tuple(panel for _, panels in self.rows for panel in panels)

    def json(self) -> dict[str, Any]:
        """The dashboard as Grafana reads it."""
        placed: list[dict[str, Any]] = []
        y = 0
        for title, panels in self.rows:
            if title:
                row = {"id": len(placed) + 1, "type": "row", "title": title, "collapsed": False, "panels": []}
                placed.append(row | {"gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": y}})
                y += 1
            x = height = 0
            for panel in panels:
                if x + panel.width > _COLUMNS:
                    x, y, height = 0, y + height, 0
                placed.append(panel.json(len(placed) + 1, x, y))
                x, height = x + panel.width, max(height, panel.height)
            y += height
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["argo"],
            "schemaVersion": _SCHEMA,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "links": [
                {
                    "title": "ARGO",
                    "type": "dashboards",
                    "tags": ["argo"],
                    "asDropdown": True,
                    "includeVars": False,
                    "keepTime": True,
                    "targetBlank": False,
                    "icon": "external link",
                    "tooltip": "",
                    "url": "",
                }
            ],
            "templating": {"list": [_variable(*each) for each in self.variables]},
            "annotations": {"list": []},
            "panels": placed,
        }


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "sort": 1,
        "hide": 0,
        "skipUrlSync": False,
    }
