"""Torch to ONNX, with the interface that the core's runtime expects.

Image models: input ``frames``, float32 (N, H, W, 3) in [0, 1], H and W multiples of the
card's ``multiple``; output ``upscaled``, float32 (N, s*H, s*W, 3), clipped to [0, 1].
All of N, H and W are free. Transposition and clipping are part of the graph. Recurrent
models: see ``upframe.export.recurrent``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor

from upframe.errors import MissingExtraError, OutputError, UsageError
from upframe.systems.ditn.model import DITN
from upframe.systems.mia_vsr_lite.model import MIAVSRLite
from upframe.systems.registry import find_spec
from upframe.weights.index import find_card
from upframe.weights.loading import describe_file, load

Upscale = Callable[[Tensor], Tensor]

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference to torch that an export may have, of a range of 1."""
AGREEMENT = 40.0
"""Lowest PSNR, in dB, of an int8 export to torch on noise, where a different rounding
grows from frame to frame."""
FIDELITY = 40.0
"""Lowest PSNR, in dB, of int8 to fp32 on synthetic clips."""


@dataclass(frozen=True)
class OnnxExport:
    """What was written."""

    files: Mapping[str, Path]
    """By the name that cards give them: ``onnx``; for recurrent models that graph does
    whole steps, and ``onnx-masked`` those that skip windows. In int8 ``onnx-int8`` and
    ``onnx-int8-masked``."""
    opset: int
    difference: float | None = None
    """In float, the largest difference to torch over the sizes that were tried, of a
    range of 1."""
    fidelity: float | None = None
    """In int8, the PSNR to fp32 on synthetic clips, in dB."""

    @property
    def path(self) -> Path:
        """The first graph."""
        return next(iter(self.files.values()))


class _Frames(torch.nn.Module):
    """A network between channels-last frames."""

    def __init__(self, network: torch.nn.Module, upscale: Upscale) -> None:
        super().__init__()
        self.network = network
        self.upscale = upscale

    def forward(self, frames: Tensor) -> Tensor:
        out = self.upscale(frames.permute(0, 3, 1, 2))
        return out.clamp(0, 1).permute(0, 2, 3, 1)


@contextmanager
def _in_blocks(network: DITN) -> Iterator[None]:
    """A convolution that changes nothing, before the layers of each part.

    ONNX Runtime keeps maps between convolutions in blocks of channels and goes back to
    planes where a sum has one side that comes from elsewhere. With this the residual
    path comes from a convolution, too, all sums stay in blocks, and the small DITN
    takes a twelfth less time.
    """
    channels = network.sft.out_channels
    kernel = torch.ones(channels, 1, 1, 1)

    def pass_on(part: torch.nn.Module, inputs: tuple[Tensor]) -> Tensor:
        del part
        return F.conv2d(inputs[0], kernel, groups=channels)

    parts = [part for unit in network.UFONE for part in unit.children()]
    handles = [part.register_forward_pre_hook(pass_on) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def export_onnx(network: DITN, path: Path, *, int8: bool = False) -> OnnxExport:
    """Write a DITN as ONNX; see `export_image_model`."""
    with _in_blocks(network):
        return export_image_model(
            network, path, int8=int8, multiple=network.patch, upscale=network.upscale
        )


def export_image_model(
    network: torch.nn.Module,
    path: Path,
    *,
    int8: bool = False,
    multiple: int = 8,
    upscale: Upscale | None = None,
) -> OnnxExport:
    """Write an image model as ONNX and compare it with torch in ONNX Runtime.

    Args:
        network: maps (B, 3, h, w) to (B, 3, s*h, s*w); in eval mode, float32, on the
            CPU.
        path: the file to write.
        int8: is refused; image models have no export in int8.
        multiple: sides of the graph's inputs are multiples of this.
        upscale: what is called instead of the network itself, for such sides.

    Returns:
        The file and how far its results are from torch's, on three sizes and two
        batch sizes of random images.

    Raises:
        UsageError: int8 was asked for.
        MissingExtraError: if onnx is not installed.
        OutputError: if the results differ by more than 1e-4.
    """
    if int8:
        raise UsageError(
            f"{type(network).__name__} has no export in int8.",
            "Leave --int8 out, or take MIA-VSR lite.",
        )
    try:
        import onnx

        from upframe.export.fusion import simplify
    except ImportError as error:
        raise MissingExtraError("Export to ONNX", "export") from error
    frames = _Frames(network, upscale or network).eval()
    _trace(frames, path, multiple)
    model = onnx.load(str(path))
    simplify(model)
    for node in model.graph.node:
        node.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return _approved({"onnx": path}, _difference(frames, path, multiple))


def _trace(frames: _Frames, path: Path, p: int) -> None:
    """Write a graph whose sides are free multiples of ``p``."""
    with warnings.catch_warnings():
        # The exporter by tracing is deprecated in favour of one that, as of torch
        # 2.13, cannot leave the batch free for this network.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            frames,
            (torch.rand(1, 6 * p, 8 * p, 3),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["frames"],
            output_names=["upscaled"],
            dynamic_axes={
                "frames": {0: "N", 1: "H", 2: "W"},
                "upscaled": {0: "N", 1: "sH", 2: "sW"},
            },
        )


def _difference(frames: _Frames, path: Path, p: int) -> float:
    """Largest difference of a graph to torch, on sizes that are multiples of ``p``."""
    session = onnxruntime.InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    difference = 0.0
    for shape in ((1, 2 * p, 3 * p, 3), (2, 5 * p, 4 * p, 3), (1, 9 * p, 11 * p, 3)):
        x = rng.random(shape, dtype=np.float32)
        (got,) = session.run(None, {"frames": x})
        with torch.inference_mode():
            want = frames(torch.from_numpy(x)).numpy()
        difference = max(difference, float(np.abs(got - want).max()))
    return difference


def export_recurrent(
    network: MIAVSRLite, path: Path, *, int8: bool = False
) -> OnnxExport:
    """Write both steps of a recurrent model and compare them with torch.

    Args:
        network: in eval mode, float32, on the CPU.
        path: file of the whole step; the masked one lies beside it.
        int8: convolutions in int8 instead of float32.

    Raises:
        MissingExtraError: if onnx is not installed.
        OutputError: if the results differ by more than 1e-4; in int8, from what torch
            computes of the same bytes, or from float, by less than 40 dB.
    """
    from upframe.export.recurrent import export_int8, export_steps, masked_path

    try:
        import onnx  # noqa: F401 - the writer of the files needs it
    except ImportError as error:
        raise MissingExtraError("Export to ONNX", "export") from error
    if not int8:
        files = {"onnx": path, "onnx-masked": masked_path(path)}
        return _approved(files, export_steps(network, path, OPSET))
    files = {"onnx-int8": path, "onnx-int8-masked": masked_path(path)}
    agreement, fidelity = export_int8(network, path, OPSET)
    if not agreement >= AGREEMENT:
        raise _refused(
            files,
            f"The exported network agrees with torch to {agreement:.1f} dB only.",
            "Report this with the versions of torch and onnxruntime.",
        )
    if not fidelity >= FIDELITY:
        raise _refused(
            files,
            f"In int8 this network has {fidelity:.1f} dB PSNR to itself in fp32.",
            "Export it without --int8.",
        )
    return OnnxExport(files, OPSET, fidelity=fidelity)


def _approved(files: Mapping[str, Path], difference: float) -> OnnxExport:
    if not difference <= TOLERANCE:
        raise _refused(
            files,
            f"The exported network differs from torch by {difference:.1e}.",
            "Report this with the versions of torch and onnxruntime.",
        )
    return OnnxExport(files, OPSET, difference=difference)


def _refused(files: Mapping[str, Path], what: str, advice: str) -> OutputError:
    for path in files.values():
        path.unlink()
    return OutputError(what, advice)


def export_model(name_or_path: str, folder: Path, *, int8: bool = False) -> OnnxExport:
    """Export a bundled model or a weight file as ``<folder>/<name>.onnx``, or
    ``<name>.int8.onnx``.

    Args:
        name_or_path: as for :func:`upframe.load`.
        folder: where the file goes; made if it is not there.
        int8: convolutions in int8 instead of float32.

    Raises:
        UsageError: there is no such model, or it is of a system without such an
            export.
        WeightsError: its file is damaged or unknown.
        OutputError: the folder cannot be written, or the results differ.
        MissingExtraError: if onnx is not installed.
    """
    network = load(name_or_path)
    path = Path(name_or_path)
    card = describe_file(path) if path.is_file() else find_card(name_or_path)
    spec = find_spec(card.system)
    if spec.export is None:
        raise UsageError(
            f"Networks of the system {spec.title} cannot be exported yet.",
            "Run them with --runtime torch.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        suffix = ".int8.onnx" if int8 else ".onnx"
        written: OnnxExport = spec.export(
            network, folder / f"{card.name}{suffix}", int8=int8
        )
        return written
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror}.", "Choose another with -o."
        ) from error
