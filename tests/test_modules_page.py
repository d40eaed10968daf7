"""docs/modules.md names every module and says what its docstring says."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import module_list  # noqa: E402


def test_the_page_is_current():
    assert module_list.PAGE.read_text(encoding="utf-8") == module_list.page(), (
        "run scripts/module_list.py"
    )


def test_every_module_has_a_docstring():
    source = ROOT / "src" / "upframe"
    bare = [p for p in source.rglob("*.py") if not module_list.first_sentence(p)]
    # empty package markers need none
    assert [p for p in bare if p.stat().st_size] == []
