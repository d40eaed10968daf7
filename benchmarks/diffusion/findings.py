"""What the measurement of a claim found, as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isnan, nan
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """A sentence that the numbers bear out or not."""

    text: str
    """With the numbers."""
    holds: bool


@dataclass(frozen=True)
class Finding:
    """A claim, how it was measured, and what came out."""

    title: str
    protocol: str
    """Everything that decides the numbers besides the settings of the whole run."""
    rows: Mapping[str, Mapping[str, float]]
    """What was measured to column to value; all have the same columns."""
    verdicts: Sequence[Verdict] = ()
    measured: str = ""
    """Machine, day and load."""

    def to_markdown(self) -> str:
        """Heading, table, verdicts, protocol, when it was measured."""
        columns = list(next(iter(self.rows.values())))
        lines = [
            f"**{self.title}**",
            "",
            f"| | {' | '.join(columns)} |",
            f"| --- |{' ---: |' * len(columns)}",
        ]
        for name, values in self.rows.items():
            cells = " | ".join(_digits(values[column]) for column in columns)
            lines.append(f"| {name} | {cells} |")
        lines.append("")
        lines += [
            f"- {'holds' if verdict.holds else 'DOES NOT HOLD'}: {verdict.text}"
            for verdict in self.verdicts
        ]
        lines.append(f"- {self.protocol}")
        if self.measured:
            lines.append(f"- measured: {self.measured}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Finding:
        """One as `Report.to_json` writes it."""
        rows = {
            name: {key: nan if x is None else x for key, x in row.items()}
            for name, row in value["rows"].items()
        }
        verdicts = [Verdict(**verdict) for verdict in value["verdicts"]]
        rest = {key: value[key] for key in ("title", "protocol", "measured")}
        return cls(**rest, rows=rows, verdicts=verdicts)


@dataclass(frozen=True)
class Report:
    """A whole run."""

    settings: Mapping[str, object]
    """What decides the numbers of all claims."""
    findings: Mapping[str, Finding]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Claim to why it was not measured."""

    def with_earlier(self, file: Path, order: Sequence[str]) -> Report:
        """This report and, where it has none, the findings of an earlier one.

        Args:
            file: JSON of the earlier report; there may be none.
            order: of the claims.
        """
        earlier: dict[str, Finding] = {}
        if file.is_file():
            found = json.loads(file.read_text(encoding="utf-8"))["findings"]
            earlier = {name: Finding.from_json(each) for name, each in found.items()}
        known = earlier | dict(self.findings)
        return Report(
            self.settings,
            {name: known[name] for name in order if name in known},
            {name: why for name, why in self.missing.items() if name not in known},
        )

    def to_json(self) -> str:
        """All of it; a number that is not defined is null."""
        return json.dumps(_plain(asdict(self)), indent=1, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """One finding below the other."""
        parts = [finding.to_markdown() for finding in self.findings.values()]
        notes = [f"- {name}: {value}" for name, value in self.settings.items()]
        notes += [
            f"- not measured: {name}: {why}" for name, why in self.missing.items()
        ]
        return "\n".join([*parts, "\n".join(notes) + "\n"])


def at_most(what: str, value: float, most: float, unit: str = "") -> Verdict:
    """Whether a number keeps within a limit."""
    text = f"{what}: {_digits(value)}{unit}, at most {most:g}{unit} wanted"
    return Verdict(text, value <= most)


def at_least(what: str, value: float, least: float, unit: str = "") -> Verdict:
    """Whether a number reaches a goal."""
    text = f"{what}: {_digits(value)}{unit}, at least {least:g}{unit} wanted"
    return Verdict(text, value >= least)


def below(what: str, value: float, other: str, reference: float) -> Verdict:
    """Whether a number is smaller than another one that was measured beside it."""
    text = f"{what}: {_digits(value)} against {_digits(reference)} {other}"
    return Verdict(text, value < reference)


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
