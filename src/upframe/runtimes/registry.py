"""The runtimes that exist, and the one decision which of them runs a model, and how.

``choose`` is asked once, before a plan is made; the plan keeps its answer, and
``open_runtime`` carries it out. A runtime is added as a module with a `RuntimeSpec` and
its line in `RUNTIMES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from upframe.errors import MissingExtraError, UsageError, WeightsError
from upframe.runtimes import onnx_spec, resampling, torch_spec
from upframe.runtimes.base import Runtime
from upframe.runtimes.choice import Choice, Fallback, Setting
from upframe.runtimes.devices import cuda_index
from upframe.runtimes.spec import (
    DeviceUnavailableError,
    Files,
    RunOptions,
    RuntimeSpec,
)
from upframe.weights.card import ModelCard

RUNTIMES: Mapping[str, RuntimeSpec] = {
    spec.name: spec for spec in (resampling.SPEC, onnx_spec.SPEC, torch_spec.SPEC)
}
"""By name, in the order of preference."""
RUNTIME_NAMES = (
    "auto",
    *(name for name, spec in RUNTIMES.items() if spec.named),
)
"""What ``--runtime`` takes."""
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
"""What ``--precision`` takes."""


def choose(
    card: ModelCard,
    files: Files,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    *,
    runtimes: Mapping[str, RuntimeSpec] = RUNTIMES,
) -> Choice:
    """Decide how a model runs; nothing is loaded but to look for GPUs.

    ``auto`` means: ONNX Runtime where there is an ONNX file, except where there is a
    GPU that only torch can use; the first GPU that the runtime finds, else the CPU;
    the best precision of the model there. That is int8 on the CPU in ONNX Runtime for
    models that have such graphs, which lose less than 0.05 dB; on CUDA in torch fp16
    for image models, and bf16 or fp16, as suits them, for full-size diffusion systems;
    else fp32. Resampling cards are computed directly, whatever runtime is named.

    Args:
        card: the card of the model.
        files: its weight files.
        runtime: one of `RUNTIME_NAMES`.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<i>``.
        precision: one of `PRECISIONS`.
        runtimes: the registry.

    Raises:
        UsageError: a name that does not exist, or a precision that the model does not
            have with this runtime on this device.
        DeviceUnavailableError: the named device cannot be used; a UsageError, too.
        WeightsError: there is no file for the runtime.
        MissingExtraError: the runtime's package is not installed.
    """
    check_names(runtime, device, precision)
    able = _able(card, files, runtime, runtimes)
    spec, devices = _placed(able, device)
    for place in devices:
        offered = spec.precisions(card, files, place)
        if precision == "auto" or precision in offered:
            wishes: dict[Setting, str] = {
                "runtime": runtime,
                "device": device,
                "precision": precision,
            }
            return Choice(
                spec.name,
                place,
                offered[0] if precision == "auto" else precision,
                _reason(spec, place, offered, len(able), wishes),
                tuple(name for name, wish in wishes.items() if wish != "auto"),
            )
    raise _no_precision(card, files, precision)


def open_runtime(
    card: ModelCard,
    files: Files,
    choice: Choice | None = None,
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    keep_ratio: float | None = None,
    seed: int | None = None,
    runtimes: Mapping[str, RuntimeSpec] = RUNTIMES,
) -> Runtime:
    """Load a model.

    Where the choice fell on a GPU that turns out to be unusable, and the user named no
    device, the model is opened on the CPU, as if there were no GPU, and the runtime's
    ``fallbacks`` report it.

    Args:
        card: the card of the model.
        files: its weight files.
        choice: how; None to decide from the next three, as `choose` does.
        runtime: see `choose`.
        device: see `choose`.
        precision: see `choose`.
        threads: CPU threads; None for one per physical core.
        keep_ratio: how much of a frame masked models compute at most, 0 to 1; None
            what they were trained for.
        seed: of the noise of models that use some, 0 to 2**64 - 1; None for 0.
        runtimes: the registry.

    Raises:
        UsageError: see `choose`; or a keep ratio or seed that is out of range or that
            the model cannot take.
        DeviceUnavailableError: the device that the user named cannot be used.
        WeightsError: no file for the runtime, or a damaged one.
        MissingExtraError: packages are needed and not installed.
    """
    check_keep_ratio(card, keep_ratio)
    check_seed(card, seed)
    if choice is None:
        choice = choose(card, files, runtime, device, precision, runtimes=runtimes)
    options = RunOptions(threads, keep_ratio, seed)
    try:
        return _spec(choice.runtime, runtimes).open(card, files, choice, options)
    except DeviceUnavailableError as error:
        if choice.device == "cpu" or "device" in choice.asked:
            raise
        other = _without_gpu(card, files, choice, runtimes)
        opened = _spec(other.runtime, runtimes).open(card, files, other, options)
        opened.fallbacks += _changes(choice, other, error)
        return opened


def check_names(
    runtime: str = "auto", device: str = "auto", precision: str = "auto"
) -> None:
    """Refuse names that do not exist, before a model is known.

    Raises:
        UsageError: there is no such runtime, device or precision.
    """
    if runtime not in RUNTIME_NAMES:
        raise UsageError(
            f"There is no runtime '{runtime}' in this version.",
            f"Use one of: {', '.join(RUNTIME_NAMES)}.",
        )
    if device != "auto":
        cuda_index(device)
    if precision not in PRECISIONS:
        raise UsageError(
            f"There is no precision '{precision}'.", f"Use {', '.join(PRECISIONS)}."
        )


def check_keep_ratio(card: ModelCard, keep_ratio: float | None) -> None:
    """Refuse a keep ratio that is out of range or that a model cannot take.

    Raises:
        UsageError: it is so.
    """
    if keep_ratio is None:
        return
    if not 0 <= keep_ratio <= 1:
        raise UsageError(
            f"A keep ratio of {keep_ratio:g} is out of range.",
            "It is a share: 0 copies all it may, 1 computes everything.",
        )
    if not card.masked:
        raise UsageError(
            f"{card.name} computes every frame as a whole and takes no keep ratio.",
            "Leave --keep-ratio out, or use a model with masks, such as MIA-VSR.",
        )


def check_seed(card: ModelCard, seed: int | None) -> None:
    """Refuse a seed that is out of range or that a model has no use for.

    Raises:
        UsageError: it is so.
    """
    if seed is None:
        return
    if not 0 <= seed < 2**64:
        raise UsageError(f"A seed of {seed} is out of range.", "Use 0 to 2**64 - 1.")
    if not card.seeded:
        raise UsageError(
            f"{card.name} uses no noise and takes no seed.",
            "Leave --seed out, or use a diffusion model, such as UltraVSR.",
        )


def _spec(name: str, runtimes: Mapping[str, RuntimeSpec]) -> RuntimeSpec:
    if name not in runtimes:
        raise UsageError(
            f"There is no runtime '{name}' in this version.",
            "Continue this run with the version of upframe that started it, or start "
            "over with --fresh.",
        )
    return runtimes[name]


def _able(
    card: ModelCard,
    files: Files,
    runtime: str,
    runtimes: Mapping[str, RuntimeSpec],
) -> list[RuntimeSpec]:
    """Installed runtimes that have files of the model, best first; at least one."""
    able = [
        spec
        for spec in runtimes.values()
        if spec.runs(card, files) and (not spec.named or runtime in ("auto", spec.name))
    ]
    if not able:
        formats = ", ".join(sorted(files)) or "none"
        wanted = "any runtime" if runtime == "auto" else f"the runtime {runtime}"
        raise WeightsError(
            f"{card.name} has no file for {wanted}; it has: {formats}.",
            "Use --runtime auto, or export the model first.",
        )
    installed = [spec for spec in able if spec.installed]
    if not installed:
        spec = able[0]
        what = card.name if runtime == "auto" else f"{card.name} in {spec.title}"
        raise MissingExtraError(what, spec.extra(card))
    return installed


def _placed(
    able: Sequence[RuntimeSpec], device: str
) -> tuple[RuntimeSpec, tuple[str, ...]]:
    """The first runtime that can use the device, or a GPU where one is found."""
    if device == "auto":
        for spec in able:
            found = spec.found()
            if found != ("cpu",):
                return spec, found
        return able[0], ("cpu",)
    gpu = cuda_index(device)
    place = "cpu" if gpu is None else f"cuda:{gpu}"
    for spec in able[:-1]:
        try:
            spec.require(place)
        except DeviceUnavailableError:
            continue
        return spec, (place,)
    able[-1].require(place)
    return able[-1], (place,)


def _reason(
    spec: RuntimeSpec,
    place: str,
    offered: Sequence[str],
    able: int,
    wishes: Mapping[Setting, str],
) -> str:
    """One sentence, for the plan."""
    because = {
        "runtime": "the model's only one here" if able == 1 else "preferred for it",
        "device": "no GPU found" if place == "cpu" else "the first GPU found",
        "precision": "the best of " + ", ".join(offered),
    }
    parts = {
        name: "named" if wish != "auto" else because[name]
        for name, wish in wishes.items()
    }
    return (
        f"{spec.title} ({parts['runtime']}) on {place} ({parts['device']}); "
        f"precision: {parts['precision']}."
    )


def _no_precision(card: ModelCard, files: Files, precision: str) -> UsageError:
    if precision in ("fp16", "bf16"):
        why = "half precision is for torch on CUDA"
        why += ", for image models and, as suits them, full-size diffusion systems."
    elif "onnx-int8" in files:
        why = "int8 is for ONNX Runtime on the CPU."
    else:
        why = "it has no graphs in int8."
    return UsageError(
        f"{card.name} cannot run in {precision} here: {why}",
        "Leave --precision out to take what suits the model and the device.",
    )


def _without_gpu(
    card: ModelCard,
    files: Files,
    choice: Choice,
    runtimes: Mapping[str, RuntimeSpec],
) -> Choice:
    """What would have been chosen without a GPU."""

    def wish(name: Setting, value: str) -> str:
        return value if name in choice.asked else "auto"

    other = choose(
        card,
        files,
        wish("runtime", choice.runtime),
        "cpu",
        wish("precision", choice.precision),
        runtimes=runtimes,
    )
    return Choice(
        other.runtime, other.device, other.precision, other.reason, choice.asked
    )


def _changes(before: Choice, after: Choice, error: UsageError) -> list[Fallback]:
    names: tuple[Setting, ...] = ("runtime", "device", "precision")
    return [
        Fallback(name, getattr(before, name), getattr(after, name), error.message)
        for name in names
        if getattr(before, name) != getattr(after, name)
    ]
