"""Share of the code lines in `src` that lie in a window of 8 lines which occurs more than once.

Blank lines, comments and docstrings are not counted. Run: python benchmarks/duplication.py
"""

import ast
import tokenize
from collections import defaultdict
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"
WINDOW = 8


def docstrings(tree):
    """Numbers of the lines of all docstrings."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    owners = [n for n in ast.walk(tree) if isinstance(n, kinds) and ast.get_docstring(n)]
    return {i for n in owners for i in range(n.body[0].lineno, n.body[0].end_lineno + 1)}


def code_lines(path):
    """The lines that have code, as (number, text without indentation and comments)."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    left_out = docstrings(ast.parse(path.read_text()))
    lines = defaultdict(list)
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type not in skipped and token.string and token.start[0] not in left_out:
                for i, text in enumerate(token.string.splitlines()):
                    lines[token.start[0] + i].append(text)
    return [(number, " ".join(lines[number])) for number in sorted(lines)]


def duplication(folder=SRC, window=WINDOW):
    """Share of the code lines in repeated windows, and the places: [[(path, line), ...], ...]."""
    places, total = defaultdict(list), 0
    for path in sorted(folder.rglob("*.py")):
        lines = code_lines(path)
        total += len(lines)
        for i in range(len(lines) - window + 1):
            numbers, texts = zip(*lines[i : i + window], strict=True)
            places[texts].append((path.relative_to(folder), numbers))
    repeated = [found for found in places.values() if len(found) > 1]
    covered = {(path, n) for found in repeated for path, numbers in found for n in numbers}
    starts = [[(path, numbers[0]) for path, numbers in found] for found in repeated]
    return len(covered) / total, starts


if __name__ == "__main__":
    share, starts = duplication()
    for found in starts:
        print("  ".join(f"{path}:{line}" for path, line in found))
    print(f"{share:.1%} of the code lines lie in repeated windows of {WINDOW} lines")
