"""Write ``docs/models/<name>.md`` from a model's card, and its training curve as CSV.

    python scripts/model_page.py ditn-s --log runs/ditn-s/log.jsonl

Without ``--log`` the curve in ``recipes/logs`` stays as it is and only the page is
written again.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from frame_curve import DISTINCT, curve_file

from upframe.weights.card import ModelCard
from upframe.weights.index import find_card

ROOT = Path(__file__).resolve().parents[1]
_TABLE_HEAD = 2
"""Lines of a table without rows."""
COLUMNS = ("step", "loss", "lr", "psnr_y", "psnr_y_bicubic")
PERCEIVED = ("lpips", "lpips_bicubic")
"""Further columns, where a recipe has LPIPS."""
TITLES = {
    "psnr_y": ("PSNR-Y, dB", ".2f"),
    "ssim_y": ("SSIM-Y", ".4f"),
    "lpips": ("LPIPS, lower is better", ".4f"),
    "dists": ("DISTS, lower is better", ".4f"),
    "checkerboard": ("checkerboard, dB, lower is better", ".1f"),
    "false_texture": ("false texture, dB, at most 0", ".1f"),
    "ewarp": ("warping error, lower is better", ".2f"),
}
"""Scores of cards, and how they are printed."""
INDEPENDENT = ("oasis",)
"""Systems that look at several frames and carry nothing from one chunk to the next."""
FRAME_NUMBERS = (1, 2, 3, 5, 8, 12, 20, 29, 53, 77, 101)
"""That the table by frame number shows."""


def write_curve(log: Path, curve: Path) -> None:
    """One row per logged step; of a step that was done twice the last one counts."""
    rows: dict[int, dict[str, object]] = {}
    for line in log.read_text().splitlines():
        event = json.loads(line)
        row = rows.setdefault(event["step"], {})
        row.update({k: event[k] for k in (*COLUMNS, *PERCEIVED) if k in event})
    known = any(PERCEIVED[0] in row for row in rows.values())
    columns = (*COLUMNS, *PERCEIVED) if known else COLUMNS
    curve.parent.mkdir(parents=True, exist_ok=True)
    with curve.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[step] for step in sorted(rows))


def score_table(card: ModelCard) -> list[str]:
    """One row for each test set and metric, with bicubic's score beside."""
    lines = [
        "| set | frames | score | this model | bicubic |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, s in card.scores.items():
        for key in (k for k in s if f"{k}_bicubic" in s):
            title, form = TITLES[key]
            lines.append(
                f"| {name} | {s['frames']} | {title} | **{s[key]:{form}}** | "
                f"{s[f'{key}_bicubic']:{form}} |"
            )
    lines.append("")
    for name, s in card.scores.items():
        lines.append(f"- {name}: {s['settings']}.")
    return lines


def curve_table(curve: Path) -> list[str]:
    with curve.open() as file:
        rows = [row for row in csv.DictReader(file) if row["psnr_y"]]
    perceived = bool(rows) and bool(rows[0].get("lpips"))
    lines = [
        "| step | validation PSNR-Y | over bicubic |"
        + (" LPIPS | over bicubic |" if perceived else ""),
        "| --- | --- | --- |" + (" --- | --- |" if perceived else ""),
    ]
    for row in rows:
        gain = float(row["psnr_y"]) - float(row["psnr_y_bicubic"])
        line = f"| {row['step']} | {float(row['psnr_y']):.3f} | {gain:+.3f} |"
        if perceived:
            gain = float(row["lpips"]) - float(row["lpips_bicubic"])
            line += f" {float(row['lpips']):.4f} | {gain:+.4f} |"
        lines.append(line)
    return lines


FRAMES = {
    "ultravsr": "Frames see those around them through modules along time.",
    "oasis": "A few frames at a time see each other; neighbouring chunks overlap.",
    "liftvsr": "Segments of frames are restored together, and each one hands a memory "
    "to the next, up to a cut.",
    "patchscaler": "Every frame is treated for itself; where it is hard takes more "
    "steps, and that is held steady in time. `--keep-ratio` bounds the steps.",
}
"""How diffusion systems look at time."""


def restores(card: ModelCard) -> bool:
    """Whether it is trained on damage of every kind."""
    return card.name.endswith("-real") or card.system in FRAMES


def expectation(card: ModelCard) -> list[str]:
    if restores(card):
        damage = (
            "It takes blur, noise, JPEG and video compression away and draws what is "
            "likely to have been there. Where nothing is wrong with the frames, the "
            "models without `-real` stay closer to it."
        )
    else:
        damage = (
            "It restores what bicubic shrinking took away and knows no other damage: "
            "noise, blur and compression stay, and may be sharpened with the rest."
        )
    if card.system in FRAMES:
        frames = FRAMES[card.system]
    elif card.lookahead is None:
        frames = "Every frame is treated for itself."
    else:
        frames = (
            "It looks at the frame before, the frame after, and what it remembers of "
            "all before. Where nothing moves it computes nothing."
        )
    return [
        f"{damage} {frames}",
        "",
        "The training was short; see `recipes/QUEUE.md` for what comes next.",
    ]


def curve_section(card: ModelCard, curve: Path) -> list[str]:
    """The scores during training, where there were any."""
    where = f"all steps are in `{curve.relative_to(ROOT)}`."
    table = curve_table(curve)
    if len(table) == _TABLE_HEAD:
        return [f"The last stage ran without validation; {where}"]
    degraded = "degraded" if card.system in FRAMES else "shrunk by bicubic"
    return [
        f"A few frames of each validation clip, {degraded}, averaged weights; {where}",
        "",
        *table,
    ]


def frames_section(card: ModelCard, curve: Path) -> list[str]:
    """Scores by frame number, for models that carry state from frame to frame."""
    if card.system in INDEPENDENT or (card.lookahead is None and card.segment == 1):
        return []
    heading = ["## Score by frame number", ""]
    if not curve.is_file():
        return [
            *heading,
            f"Not measured yet: `python scripts/frame_curve.py {card.name}`.",
            "",
        ]
    note, *lines = curve.read_text(encoding="utf-8").splitlines()
    rows = {int(row["frame"]): row for row in csv.DictReader(lines)}
    names = [name for name in rows[1] if name != "frame"]
    numbers = [number for number in FRAME_NUMBERS if number in rows]
    table = [
        f"| frame | {' | '.join(_title(name) for name in names)} |",
        f"| ---: |{' ---: |' * len(names)}",
    ]
    for number in numbers:
        cells = " | ".join(_cell(name, rows[number][name]) for name in names)
        table.append(f"| {number} | {cells} |")
    return [
        *heading,
        f"{note.lstrip('# ')}. The same frame comes again after {2 * (DISTINCT - 1)}: "
        "frames 29, 53, 77 and 101 show what frame 5 shows. All frames are in "
        f"`{curve.relative_to(ROOT)}`.",
        "",
        *table,
        "",
    ]


def _title(metric: str) -> str:
    key = f"{metric}_y" if metric in ("psnr", "ssim") else metric
    return TITLES[key][0].partition(", ")[0]


def _cell(metric: str, value: str) -> str:
    key = f"{metric}_y" if metric in ("psnr", "ssim") else metric
    return f"{float(value):{TITLES[key][1]}}" if value else "–"


def page(card: ModelCard, curve: Path) -> str:
    plain = not any(isinstance(v, dict) for v in card.config.values())
    config = ", ".join(f"{k} {v}" for k, v in card.config.items()) if plain else ""
    runtime = "ONNX Runtime" if "onnx" in card.files else "torch"
    size = sum(file.bytes for file in card.files.values())
    lines = [
        f"# {card.name}",
        "",
        "<!-- made by scripts/model_page.py from the card and the training log -->",
        "",
        f"{card.summary[0].upper()}{card.summary[1:]}.",
        "",
        "| | |",
        "| --- | --- |",
        f"| system | {card.system}{f' ({config})' if config else ''} |",
        f"| scale | {card.scale} |",
        f"| parameters | {card.parameters:,} |",
        f"| work | {card.gflops_per_megapixel:g} GFLOPs per million input pixels |",
        f"| memory | {card.bytes_per_pixel} bytes per input pixel ({runtime}) |",
        f"| files | {', '.join(sorted(card.files))}; {size / 1e3:.0f} kB together |",
        f"| licence | {card.licence} |",
        "| credits | [works it learned from, and what follows](../credits.md) |",
        f"| trained on | {card.data} |",
        f"| recipe | `{card.recipe}`, {card.steps:,} steps |",
        "",
        "## Scores",
        "",
        *score_table(card),
        "",
        "The validation clips are four of DAVIS; neither they nor the test sets were "
        "trained on.",
        "",
        *frames_section(card, curve_file(card.name)),
        "## What to expect",
        "",
        *expectation(card),
        "",
        "## Training curve",
        "",
        *curve_section(card, curve),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    card = find_card(args.model)
    curve = ROOT / "recipes" / "logs" / f"{card.name}.csv"
    if args.log is not None:
        write_curve(args.log, curve)
    place = ROOT / "docs" / "models" / f"{card.name}.md"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(page(card, curve), encoding="utf-8")
    print(place)


if __name__ == "__main__":
    main()
