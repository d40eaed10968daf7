"""The bundled models fit their cards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import upframe
from upframe.errors import UsageError, WeightsError
from upframe.systems.registry import find_spec
from upframe.weights import index
from upframe.weights.card import ModelCard, WeightFile

CARDS = upframe.list_models()


def test_names_and_presets() -> None:
    names = [card.name for card in CARDS]
    assert names == sorted(names)
    assert {"bicubic", "ditn-s", "lanczos"} <= set(names)
    for preset in ("fast", "balanced", "best", "restore"):
        assert index.find_card(preset).name in names
    with pytest.raises(UsageError, match="ditn-s"):
        index.find_card("ditn")


@pytest.mark.parametrize("card", [c for c in CARDS if c.files], ids=lambda c: c.name)
def test_bundled_files_match_their_cards(card: ModelCard) -> None:
    paths = index.weight_files(card)
    graphs = {"onnx", "onnx-masked"} if card.masked else {"onnx"}
    if find_spec(card.system).export is None:
        graphs = set()  # torch alone runs them
    in_int8 = {"onnx-int8", "onnx-int8-masked"}
    assert set(paths) - in_int8 == graphs | {"safetensors"}
    assert (card.int8_loss is not None) == (set(paths) >= in_int8)
    assert card.int8_loss is None or abs(card.int8_loss) < 0.05
    # 4 bytes a parameter and format, and half a megabyte for the structure of graphs
    each = 4 * card.parameters + 2**19
    assert all(file.bytes < each for file in card.files.values())
    root = Path(__file__).parents[2]
    assert (root / card.recipe).is_file()
    assert card.licence
    assert card.data
    assert card.steps > 0


def test_bundled_files_stay_small() -> None:
    size = {card.name: sum(f.bytes for f in card.files.values()) for card in CARDS}
    assert size.pop("ultravsr-nano") + size.pop("oasis-nano") < 9_000_000
    assert size.pop("liftvsr-nano") + size.pop("patchscaler-nano") < 6_000_000
    # each with graphs of its whole and its masked step, in float and in int8
    assert sum(size.values()) < 20_000_000


def test_damaged_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "FILES", tmp_path)
    (tmp_path / "w.onnx").write_bytes(b"other")
    file = WeightFile(name="w.onnx", sha256="0" * 64, bytes=5)
    card = ModelCard(
        name="w", system="ditn", scale=4, summary="", licence="", files={"onnx": file}
    )
    with pytest.raises(WeightsError, match="does not match"):
        index.weight_files(card)
    gone = file.model_copy(update={"name": "gone.onnx"})
    with pytest.raises(WeightsError, match="missing"):
        index.weight_files(card.model_copy(update={"files": {"onnx": gone}}))


def test_needs_no_torch() -> None:
    code = (
        "import sys, upframe; upframe.list_models(); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
