"""Results of the claims: tables, verdicts with their spread, text and JSON.

A verdict needs a margin and a spread. A difference is taken on each of several subsets
of the clips (or in each of several rounds, for time); it holds only where its mean is
beyond two standard deviations over the subsets. A claim holds only if all its verdicts
do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isnan, nan
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

LEAST = 3
"""Subsets or rounds that a verdict needs."""
DEVIATIONS = 2
"""Standard deviations that a mean difference must be beyond."""
RULES = "2026-11-28"
"""Of the verdicts and the test clips. Results that carry no rules are older: their
verdicts had no spread, and their clips were degraded by the pipeline of the training.
"""

_NAMES = {"standing": "comparison"}
"""Names of claims before `RULES`, to those now."""

Samples = Mapping[str, float]
"""Clip or round to a value."""


@dataclass(frozen=True)
class Verdict:
    """A sentence that the numbers support or not."""

    text: str
    """With the numbers."""
    holds: bool


@dataclass(frozen=True)
class Result:
    """A claim, how it was measured, and the numbers."""

    title: str
    protocol: str
    """Everything that decides the numbers besides the settings of the whole run."""
    rows: Mapping[str, Mapping[str, float]]
    """What was measured to column to value; all have the same columns."""
    verdicts: Sequence[Verdict] = ()
    measured: str = ""
    """Machine, day and load."""
    rules: str = RULES
    """Under which rules; empty for those before `RULES`."""

    @property
    def holds(self) -> bool:
        """Whether the claim does, by the present rules."""
        current = self.rules == RULES and bool(self.verdicts)
        return current and all(verdict.holds for verdict in self.verdicts)

    def to_markdown(self) -> str:
        """Heading, table, verdicts, protocol, when it was measured."""
        columns = list(next(iter(self.rows.values())))
        lines = [
            f"**{self.title}**: {self._claim()}",
            "",
            f"| | {' | '.join(columns)} |",
            f"| --- |{' ---: |' * len(columns)}",
        ]
        for name, values in self.rows.items():
            cells = " | ".join(_digits(values[column]) for column in columns)
            lines.append(f"| {name} | {cells} |")
        lines.append("")
        lines += [self._line(verdict) for verdict in self.verdicts]
        lines.append(f"- {self.protocol}")
        if self.measured:
            lines.append(f"- measured: {self.measured}")
        return "\n".join(lines) + "\n"

    def _claim(self) -> str:
        if self.rules != RULES:
            return (
                f"measured before the rules of {RULES} (clips degraded as in training, "
                "no spread), not a verdict"
            )
        if not self.verdicts:
            return "no verdict"
        return "holds" if self.holds else "DOES NOT HOLD"

    def _line(self, verdict: Verdict) -> str:
        if self.rules != RULES:
            return (
                f"- {'yes' if verdict.holds else 'no'}, without spread: {verdict.text}"
            )
        return f"- {'holds' if verdict.holds else 'DOES NOT HOLD'}: {verdict.text}"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Result:
        """One as `Report.to_json` writes it, now or before `RULES`."""
        rows = {
            name: {key: nan if x is None else x for key, x in row.items()}
            for name, row in value["rows"].items()
        }
        verdicts = [Verdict(**verdict) for verdict in value["verdicts"]]
        rest = {key: value[key] for key in ("title", "protocol", "measured")}
        rules = value.get("rules", "")
        return cls(**rest, rows=rows, verdicts=verdicts, rules=rules)


@dataclass(frozen=True)
class Report:
    """A whole run."""

    settings: Mapping[str, object]
    """What decides the numbers of all claims."""
    results: Mapping[str, Result]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Claim to why it was not measured."""

    def with_earlier(self, file: Path, order: Sequence[str]) -> Report:
        """This report and, where it has none, the results of an earlier one.

        Args:
            file: JSON of the earlier report; there may be none.
            order: of the claims.
        """
        earlier: dict[str, Result] = {}
        if file.is_file():
            content = json.loads(file.read_text(encoding="utf-8"))
            # called findings before RULES, and one of the claims otherwise
            stored = content.get("results", content.get("findings", {}))
            stored = {_NAMES.get(name, name): each for name, each in stored.items()}
            earlier = {name: Result.from_json(each) for name, each in stored.items()}
        known = earlier | dict(self.results)
        return Report(
            self.settings,
            {name: known[name] for name in order if name in known},
            {name: why for name, why in self.missing.items() if name not in known},
        )

    def to_json(self) -> str:
        """All of it; a number that is not defined is null."""
        return json.dumps(_plain(asdict(self)), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """One result below the other."""
        parts = [result.to_markdown() for result in self.results.values()]
        notes = [f"- {name}: {value}" for name, value in self.settings.items()]
        notes += [
            f"- not measured: {name}: {why}" for name, why in self.missing.items()
        ]
        return "\n".join([*parts, "\n".join(notes) + "\n"])


def lower(
    what: str, mine: Samples, other: Samples, reference: str, margin: float = 0.0
) -> Verdict:
    """Whether one way has lower scores than another.

    Args:
        what: the score.
        mine: by subset.
        other: by the same subsets.
        reference: name of the other way.
        margin: by how much at least, 0 or more.
    """
    gains = {key: other[key] - mine[key] for key in mine}
    text = f"{what} lower than {reference}: by {_spread(gains)}"
    if margin:
        text += f", at least {margin:g} wanted"
    return Verdict(text, beyond([gain - margin for gain in gains.values()]))


def no_worse(
    what: str, mine: Samples, other: Samples, reference: str, margin: float
) -> Verdict:
    """Whether one way loses at most a margin against another; lower scores are better.

    Args:
        what: the score.
        mine: by subset.
        other: by the same subsets.
        reference: name of the other way.
        margin: what may be lost, above 0.
    """
    losses = {key: mine[key] - other[key] for key in mine}
    text = f"{what} lost against {reference}: {_spread(losses)}, at most {margin:g}"
    return Verdict(text, beyond([margin - loss for loss in losses.values()]))


def ratio_at_least(
    what: str, above: Samples, below: Samples, least: float, unit: str = " times"
) -> Verdict:
    """Whether a ratio reaches a goal, beyond its spread over the rounds or clips."""
    ratios = {key: above[key] / below[key] for key in above}
    text = f"{what}: {_spread(ratios)}{unit}, at least {least:g} wanted"
    return Verdict(text, beyond([ratio - least for ratio in ratios.values()]))


def ratio_at_most(
    what: str, above: Samples, below: Samples, most: float, unit: str = " times"
) -> Verdict:
    """Whether a ratio keeps within a limit, beyond its spread."""
    ratios = {key: above[key] / below[key] for key in above}
    text = f"{what}: {_spread(ratios)}{unit}, at most {most:g} wanted"
    return Verdict(text, beyond([most - ratio for ratio in ratios.values()]))


def beyond(gains: Sequence[float]) -> bool:
    """Whether a gain is positive beyond two standard deviations over its samples;
    never with fewer than three of them, or where one is not defined."""
    if len(gains) < LEAST or any(map(isnan, gains)):
        return False
    return fmean(gains) > DEVIATIONS * stdev(gains)


def _spread(values: Samples) -> str:
    """Mean and standard deviation."""
    numbers = list(values.values())
    deviation = stdev(numbers) if len(numbers) > 1 else nan
    return f"{_digits(fmean(numbers))} ± {_digits(deviation)} over {len(numbers)}"


def _digits(value: float) -> str:
    """Four digits that count."""
    if isnan(value):
        return "–"
    if value == int(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.4g}"


def _plain(value: object) -> object:
    if isinstance(value, float):
        return None if isnan(value) else float(f"{value:.6g}")
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
