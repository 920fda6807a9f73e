"""Code that stands more than once: its share in `src`, and that the share is measured."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "duplication.py"
SPEC = importlib.util.spec_from_file_location("duplication", SCRIPT)
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)


def test_little_code_stands_twice():
    share, starts = script.duplication()
    assert share <= 0.05, starts


def block(first, lines=8):
    return "".join(f"x{i} = {i}\n" for i in range(first, first + lines))


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ([block(0), block(0)], 1.0),
        ([block(0), block(10)], 0.0),
        ([block(0, 7) + block(20), block(0, 7) + block(30)], 0.0),
        ([block(0) + block(20, 2), block(30, 2) + block(0)], 0.8),
        ([block(0, 10), block(0, 10)], 1.0),
        ([block(0) + block(20) + block(0)], 2 / 3),
        # neither layout nor comments, blank lines or docstrings tell code apart
        (['"""Some text."""\n' + block(0), block(0).replace("\n", "  # why\n\n")], 1.0),
        (["class A:\n  def f():\n" + block(0).replace("x", "    x"), block(0)], 16 / 18),
        # nor do they count
        ([f'"""{block(0)}"""\ny = 1', f'"""{block(0)}"""\nz = 1', "# a\n" * 9], 0.0),
        # strings do
        ([f'y = """{block(0)}"""', f'z = """{block(0)}"""'], 8 / 9),
    ],
)
def test_the_share_counts_lines_in_repeated_windows(files, share, tmp_path):
    for i, text in enumerate(files):
        (tmp_path / f"{i}.py").write_text(text)
    found, starts = script.duplication(tmp_path)
    assert found == pytest.approx(share)
    assert bool(starts) == (share > 0)


def test_places_are_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text("import " + name + "\n\n" + block(0))
    assert script.duplication(tmp_path)[1] == [[(Path("a.py"), 3), (Path("b.py"), 3)]]
