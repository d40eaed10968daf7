"""PatchScaler as a runtime: frame by frame; groups of patches are held.

Needs the extra ``[diffusion]``; this module itself imports without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upframe.runtimes.base import Session, State
from upframe.runtimes.torch_diffusion import DiffusionRuntime, DiffusionSession

if TYPE_CHECKING:
    from torch import Tensor

    from upframe.systems.patchscaler.model import PatchScaler


class PatchScalerRuntime(DiffusionRuntime):
    """PatchScaler in torch; see `DiffusionRuntime`."""

    def session(self) -> Session:
        """Start a new run of consecutive frames."""
        return _Session(self)


class _Session(DiffusionSession):
    """Carries the groups of the last frame's patches."""

    def __init__(self, runtime: DiffusionRuntime) -> None:
        super().__init__(runtime)
        self._video: Any = None
        self._groups: Tensor | None = None

    def state(self) -> State:
        """``groups`` of the last frame."""
        if self._groups is None:
            return self._carried
        return {"groups": self._groups.cpu().numpy()}

    def _push(self, frame: Tensor) -> list[Tensor]:
        if self._video is None:
            self._video = self._open()
        restored = self._video.push(frame[0])
        self._groups = restored.groups
        return [restored.image]

    def _open(self) -> Any:
        import torch

        from upframe.systems.patchscaler.model import Options
        from upframe.systems.patchscaler.model import Session as Video

        model: PatchScaler = self._runtime.network
        options = Options(
            seed=self._runtime.seed,
            first_index=self._first,
            keep_ratio=self._runtime.keep_ratio,
        )
        video = Video(model, options)
        if self._carried:
            video.hold(torch.from_numpy(self._carried["groups"].copy()))
        return video
