"""Run, for some seconds, the tests of what changed since a commit, nearest first: `make check`.

The nearest are changed tests, then those that use a changed module (most often first) or name a
changed file, then those that use what uses it, and so on.
"""

import ast
import subprocess
import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 22


def changed(since):
    """Paths that differ from where this branch left `since`, uncommitted and new ones included."""

    def git(*arguments):
        return subprocess.check_output(("git", *arguments), cwd=ROOT, text=True).split("\n")

    base = git("merge-base", since, "HEAD")[0]
    paths = git("diff", "--name-only", base) + git("ls-files", "--others", "--exclude-standard")
    return {path for path in paths if path}


def modules():
    """The path of each module of the package and of the tests, by its name."""
    found = {}
    for root in ("src", "tests"):
        for path in (ROOT / root).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT / root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


@cache
def tree(module):
    """The syntax tree of a module."""
    return ast.parse(MODULES[module].read_text())


@cache
def home(module, name):
    """The module that defines what another one offers as `name`; None outside of the project."""
    if f"{module}.{name}" in MODULES:
        return f"{module}.{name}"
    if module not in MODULES:
        return None
    for node in tree(module).body:
        if isinstance(node, ast.ImportFrom) and MODULES[module].name == "__init__.py":
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return home(node.module, alias.name)
    return module


def used(module):
    """The modules whose names a module imports, or reads as `package.name`."""
    aliases = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if found := home(node.module, alias.name):
                    aliases[alias.asname or alias.name] = found
    # a package that is imported counts by what is read of it
    yield from (a for a in aliases.values() if a in MODULES and MODULES[a].name != "__init__.py")
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute):
            *path, name = ast.unparse(node).split(".")
            known = aliases.get(path[0]) if len(path) < 3 else None
            for inner in path[1:]:
                known = known and home(known, inner)
            if known and (found := home(known, name)):
                yield found


def nearest(paths):
    """Test files by their distance from changed paths."""
    uses = {module: Counter(used(module)) for module in MODULES}
    rank = {m: (0, 0) for m, path in MODULES.items() if str(path.relative_to(ROOT)) in paths}
    others = {Path(path).name for path in paths if not path.startswith(("src/", "tests/"))}
    for module, path in MODULES.items():
        if path.parent.name == "tests" and any(f'{o}"' in path.read_text() for o in others):
            rank.setdefault(module, (1, 0))
    steps = 0
    while last := [m for m, (distance, _) in rank.items() if distance == steps]:
        steps += 1
        for module in MODULES.keys() - rank.keys():
            if count := sum(uses[module][m] for m in last):
                rank[module] = (steps, -count)
    tests = [m for m in rank if m.startswith("test_")]
    return [str(MODULES[m]) for m in sorted(tests, key=lambda m: (rank[m], m))]


class Limit:
    """A pytest plugin: tests that have not begun after some seconds are skipped."""

    def pytest_collection_finish(self):
        """Start the clock."""
        self.end = time.monotonic() + SECONDS

    def pytest_runtest_setup(self):
        """Skip the test if time is up."""
        if time.monotonic() > self.end:
            pytest.skip(f"after {SECONDS} s: run `make test`")


if __name__ == "__main__":
    tests = nearest(changed(sys.argv[1]))
    print(len(tests), "test files use what changed:", *(Path(test).name for test in tests[:8]))
    if tests:
        sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[Limit()]))
