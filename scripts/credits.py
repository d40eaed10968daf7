"""Write ``src/upframe/weights/CREDITS.md`` from the manifests of the training packs.

    python scripts/credits.py data/train_pack/manifest.csv data/*_2/manifest.csv

The file ships with the weights. It names every work with author, licence and source, as
CC BY and CC BY-SA ask for. Works are grouped by source, licence and author.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

PAGE = Path(__file__).resolve().parents[1] / "src/upframe/weights/CREDITS.md"

HEAD = """# Credits of the training data

The bundled weights learned from these {works} photographs and clips, or from a part of them. We thank their authors. The files were reduced, cropped and encoded again before training.

<!-- Made by scripts/credits.py from the manifests of the training packs. -->

## What follows for the weights

| weights | licence | why |
| --- | --- | --- |
| all but the next row | Apache-2.0 | They hold no copy of a work. Whether learned weights are an adaptation of what they learned from is not settled by law; this page gives the attribution that the licences ask of copies and adaptations. |
| `memory.values` of `patchscaler-nano` | CC BY-SA 4.0 | It holds 94 patches of 64x64 pixels of these photographs as latents: excerpts. The rest of the file is Apache-2.0. |

Where share-alike works are no option for you, train on others: `upframe train RECIPE --data DIR`, see docs/datasets.md. Is a work of yours here and should not be, or is a name wrong? Open an issue.

## Works

"As credited at the source" stands where file names and manifest give no name.
"""

AUTHORS = (
    # beginning of the source or part of the licence, and whom to credit
    ("imazen/codec-corpus", "CC BY-SA", "Cloudinary, image data set CID22"),
    ("", "DAVIS", "F. Perazzi, J. Pont-Tuset and others, DAVIS"),
    ("", "Big Buck Bunny", "Blender Foundation, Big Buck Bunny"),
    ("AOMediaCodec/av1-avif", "", "Xiph.Org, as credited at the source"),
    ("gianni-rosato/gb82-image-set", "", "Gianni Rosato"),
    ("cirosantilli/media", "", "Ciro Santilli"),
)
NAMES = (
    r".*_by_(?P<name>[A-Za-z_]+)\.\w+$",
    r"^(?P<name>[a-z]+(?:-[a-z]+)+)-[\w-]{11}-unsplash\.\w+$",
    r"^(?P<name>[a-z]+(?:-[a-z]+)+)-\d+\.\w+$",
    r"^(?P<name>[A-Z][a-z]+(?: [A-Z][a-z]+)+)\.\w+$",
    r"^Butterfly-(?P<name>Kenneth-Wimer)\.\w+$",
)


def author(source: str, licence: str, work: str) -> str:
    """Whom to credit for a work."""
    for beginning, part, name in AUTHORS:
        if source.startswith(beginning) and part in licence:
            return name
    for pattern in NAMES:
        found = re.match(pattern, work)
        if found:
            return re.sub(r"[_-]", " ", found["name"]).title()
    return "as credited at the source"


def page(manifests: list[Path]) -> str:
    """The page as it is in the file."""
    groups: dict[tuple[str, str], dict[str, set[str]]]
    groups = defaultdict(lambda: defaultdict(set))
    works = 0
    for manifest in manifests:
        for row in csv.DictReader(manifest.read_text(encoding="utf-8").splitlines()):
            works += 1
            where, _, inside = row["source"].partition(":")
            if where.startswith("deb "):
                where = "Debian package " + where.removeprefix("deb ")
            inside = re.sub(r"\[.*\]$", "", inside.removesuffix(" (lossless PNG)"))
            name = PurePosixPath(inside.rstrip("/")).name
            inside = re.sub(r"^.*deb_x/", "", inside).rstrip("/")
            credit = author(row["source"], row["licence"], name)
            groups[where, row["licence"]][credit].add(inside)
    lines = [HEAD.format(works=works)]
    for (where, licence), credits in sorted(groups.items()):
        lines += ["", f"### {where}", "", f"Licence: {licence}.", ""]
        if not where.startswith("Debian"):
            repository, _, commit = where.partition("@")
            lines.insert(-2, f"Source: <https://github.com/{repository}>, {commit}.")
            lines.insert(-2, "")
        for credit, files in sorted(credits.items()):
            shown = ", ".join(f"`{file}`" for file in sorted(files))
            lines.append(f"- {credit}: {shown}")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifests", type=Path, nargs="+")
    args = parser.parse_args()
    PAGE.write_text(page(args.manifests), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
