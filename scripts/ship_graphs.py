"""Make the graphs of bundled recurrent models again, in float and in int8.

    python scripts/ship_graphs.py mia-vsr-xs mia-vsr-s-real

The weights stay as they are; scores are not measured again. Float is compared with
torch; int8 is compared with float on the model's validation clips, those that decided
about its weights, and does not ship where it loses 0.05 dB of PSNR-Y or more.
``scripts/ship_weights.py`` makes the same graphs for new weights.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

from shipping import FIDELITY, OLD_RESTORATION, RESTORATION, entry, put

from upframe.engine.models import Model
from upframe.evaluation.evaluate import evaluate
from upframe.export.onnx import export_recurrent
from upframe.systems.mia_vsr_lite.model import MIAVSRLite
from upframe.weights.card import ModelCard
from upframe.weights.index import find_card, weight_files
from upframe.weights.loading import load

LIMIT = 0.05
"""Loss from which int8 does not ship, in dB."""


def with_int8(
    card: ModelCard,
    network: MIAVSRLite,
    paths: Mapping[str, Path],
    folder: Path,
    data: Path,
) -> tuple[ModelCard, dict[str, Path]]:
    """Make graphs in int8 and measure them.

    Args:
        card: of the model, in float.
        network: the model.
        paths: its files in float.
        folder: where the graphs are written.
        data: folder with the validation clips, ``val_video``.

    Returns:
        The card with the graphs and their loss, and the graphs; where that is too
        much, the card in float and none.
    """
    made = export_recurrent(network, folder / f"{card.name}.int8.onnx", int8=True).files
    model = Model(card, {**paths, **made}, "")
    decided = {RESTORATION.test_set, OLD_RESTORATION} & set(card.scores)
    scores = {}
    for precision in ("fp32", "int8"):
        report = evaluate(
            model=model,
            data=data / FIDELITY.test_set,
            protocol="web" if decided else "vid4",
            metrics=["psnr"],
            runtime="onnx",
            device="cpu",
            precision=precision,
        )
        scores[precision] = report.mean["psnr"]
        print(card.name, precision, report.mean, f"{report.ms_per_frame:.1f} ms")
    loss = round(scores["fp32"] - scores["int8"], 4)
    if loss >= LIMIT:
        print(f"{card.name}: int8 loses {loss} dB and does not ship")
        return card, {}
    files = {**card.files, **{kind: entry(path) for kind, path in made.items()}}
    return card.model_copy(update={"files": files, "int8_loss": loss}), dict(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="names of bundled models")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    for name in args.models:
        card = find_card(name)
        tensors = {"safetensors": weight_files(card)["safetensors"]}
        network = load(name)
        assert isinstance(network, MIAVSRLite)
        with tempfile.TemporaryDirectory() as draft:
            folder = Path(draft)
            exact = export_recurrent(network, folder / f"{card.name}.onnx")
            files = {kind: entry(path) for kind, path in exact.files.items()}
            files["safetensors"] = card.files["safetensors"]
            card = card.model_copy(update={"files": files, "int8_loss": None})
            card, made = with_int8(
                card, network, {**exact.files, **tensors}, folder, args.data
            )
            put(card, {**exact.files, **made})


if __name__ == "__main__":
    main()
