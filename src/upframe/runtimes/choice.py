"""Which runtime, device and precision a model runs in, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Setting = Literal["runtime", "device", "precision"]


@dataclass(frozen=True)
class Fallback:
    """Something that could not be used, and what was used instead."""

    what: Setting
    before: str
    after: str
    why: str
    """One sentence."""
    frame: int = 0
    """First frame that it holds for."""

    def __str__(self) -> str:
        """As a warning in reports."""
        start = f"From frame {self.frame} on" if self.frame else "The whole video"
        return (
            f"{start} ran with {self.what} {self.after}, not {self.before}: {self.why}"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values, for stores and reports."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fallback:
        """What `to_json` gave."""
        return cls(**values)


@dataclass(frozen=True)
class Choice:
    """Runtime, device and precision of a model: decided once, kept in the plan."""

    runtime: str
    """A name in the registry."""
    device: str
    """``cpu``, ``cuda:0``, ..."""
    precision: str
    """``fp32``, ``fp16``, ``bf16`` or ``int8``."""
    reason: str = ""
    """Why, one sentence."""
    asked: tuple[Setting, ...] = ()
    """What the user named; it never falls back, but fails."""

    def after(self, fallbacks: Iterable[Fallback]) -> Choice:
        """The choice that a run ended with, to start a resumed one."""
        changes: dict[str, Any] = {one.what: one.after for one in fallbacks}
        return replace(self, **changes) if changes else self
