"""Saved views of the MLflow UI: a table or a page of charts, opened by a plain link.

A view is the experiment tag `mlflow.sharedViewState.KEY`: a JSON envelope whose `state` is the
page's state as JSON, deflated and base64-coded. MLflow does not document the format (read off
its 3.17.2): a test in a real browser guards it. Pure: same arguments, same text.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

TAG = "mlflow.sharedViewState."
RUN_NAME, CREATED, DURATION = "attributes.`Run Name`", "runDateAndNestInfo", "duration"


@dataclass(frozen=True, kw_only=True)
class Card:
    """One card of the chart page; its title is the names of its keys and cannot be set.

    kind: `line`, `bar` or `images`. keys: metric or image names. step: of the pictures shown.
    """

    kind: str
    keys: tuple[str, ...]
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Section:
    """Cards under one heading, `columns` of them in a row, each `height` pixels high."""

    name: str
    cards: tuple[Card, ...]
    columns: int = 2
    height: int = 360


def table_view(name: str, search: str, order_by: str, columns: Sequence[str]) -> str:
    """A table, smallest `order_by` first, that shows the metrics `columns` in this order, uncut."""
    state = _state(search, order_by, ascending=True)
    ids = [_metric(column) for column in columns]
    widths = {RUN_NAME: 190, CREATED: 142, DURATION: 90}
    for heading, column in zip(columns, ids, strict=True):
        widths[column] = max(70, 54 + 7 * len(heading))  # the heading and the sign of the order
    state |= {
        "selectedColumns": ids,
        "columnOrder": [RUN_NAME, CREATED, *ids, DURATION],
        "columnWidths": widths,
    }
    return encode(name, state)


def charts_view(
    name: str,
    search: str,
    order_by: str,
    sections: Sequence[Section],
    metrics: Iterable[str],
    images: Iterable[str],
) -> str:
    """Exactly the cards of `sections`, for the runs that `search` finds.

    metrics, images: every name that those runs carry. The UI adds a card of its own for each
    name that has none, so the others are listed as deleted.
    """
    state = _state(search, order_by, ascending=True)
    cards = [_card(card, section.name) for section in sections for card in section.cards]
    last = sections[-1].name
    shown = {card.get("metricKey") for card in cards}
    cards += [_card(Card(kind="bar", keys=(m,)), last, False) for m in sorted({*metrics} - shown)]
    shown = {tuple(card.get("imageKeys", ())) for card in cards}
    cards += [
        _card(Card(kind="images", keys=(i,)), last, False)
        for i in sorted({*images})
        if (i,) not in shown
    ]
    state |= {
        "isAccordionReordered": True,  # keep this order of sections
        "compareRunCharts": cards,
        "compareRunSections": [_section(section) for section in sections],
    }
    return encode(name, state)


def encode(name: str, state: Mapping[str, Any]) -> str:
    """The value of the tag."""
    packed = base64.b64encode(zlib.compress(_json(state).encode(), 9)).decode()
    envelope = {"name": name, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"}
    return _json(envelope)


def decode(value: str) -> tuple[str, dict[str, Any]]:
    """The name and the state in a tag's value."""
    envelope = json.loads(value)
    packed = base64.b64decode(envelope["state"].removeprefix("deflate;"))
    return envelope["name"], json.loads(zlib.decompress(packed))


def address(server: str, experiment_id: str, key: str, charts: bool = False) -> str:
    """The link that opens a view. With a filter or an order in it MLflow would ignore the view."""
    link = (
        f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs"
        f"?viewStateShareKey={quote(key, safe='')}&workflowType=machine_learning"
    )
    return f"{link}&compareRunsMode=CHART" if charts else link


def compare_address(server: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """The link that sets runs side by side."""
    runs, experiments = quote(_json(list(run_ids))), quote(_json([experiment_id]))
    return f"{server.rstrip('/')}/#/compare-runs?runs={runs}&experiments={experiments}"


def artifact_address(server: str, experiment_id: str, run_id: str, artifact: str) -> str:
    """The link to an artifact of a run, shown."""
    return (
        f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}/artifacts/"
        f"{quote(artifact)}?workflowType=machine_learning"
    )


def model_address(server: str, model: str, version: str) -> str:
    """The link to a version of a registered model."""
    return (
        f"{server.rstrip('/')}/#/models/{quote(model, safe='')}/versions/{version}"
        f"?workflowType=machine_learning"
    )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _metric(name: str) -> str:
    """The UI's name of a metric's column."""
    return f"metrics.`{name}`"


def _uid(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def _state(search: str, order_by: str, ascending: bool) -> dict[str, Any]:
    """What both pages have in common."""
    return {
        "searchFilter": search,
        "orderByKey": _metric(order_by),
        "orderByAsc": ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOW_ALL",  # else the charts show the first ten
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _section(section: Section) -> dict[str, Any]:
    return {
        "uuid": _uid("section", section.name),
        "name": section.name,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": section.columns,
        "cardHeight": section.height,
    }


def _card(card: Card, section: str, shown: bool = True) -> dict[str, Any]:
    common = {
        "uuid": _uid("card", str(shown), section, card.kind, *card.keys),
        "metricSectionId": _uid("section", section),
        "deleted": not shown,
        "isGenerated": not shown,
        "runsCountToCompare": 10,
    }
    if card.kind == "images":
        pictures = {"imageKeys": list(card.keys), "step": card.step, "showRunParams": False}
        return common | {"type": "IMAGE"} | pictures
    common |= {"metricKey": card.keys[0], "displayName": card.keys[0]}
    if card.kind == "bar":
        return common | {"type": "BAR"}
    return common | {
        "type": "LINE",
        "selectedMetricKeys": list(card.keys),
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
