"""The mutants of the certifier's core that no test kills, with a word on each, as a page.

    make mutants && python benchmarks/survivors.py [FOLDER ...]

A FOLDER holds a `mutants/` that mutmut left (".": this one). A survivor that no word below covers
is listed as unexplained, and the exit status is 1.
"""

import collections
import difflib
import json
import re
import sys
from pathlib import Path

OUT = Path(__file__).parent / "results" / "mutants.md"
SAME = "same program: "
WORDS = [  # (in the function, or in the changed lines; why it is no gap)
    (r"strict=", SAME + "the lengths agree by construction"),
    (r"(reshape|_explicit)\(.*-2", SAME + "NumPy takes any negative number for the open size"),
    (r"initial=|\.max\(keepdims|scale\)\), \)\)", SAME + "never empty, or never below the default"),
    (r"errstate", SAME + "warnings only"),
    (
        r"dtype=(int|None|\"float64\")|asarray\(.*, \)|zeros\(size \+ low \+ high, \)",
        SAME + "values",
    ),
    (r"minlength=|view\(None\)|n = g.shape|\.\.\.II", SAME + "another spelling"),
    (r"lead\[: [12]|kernel\.shape\[[:+]|kernel\.shape\[:\+2", SAME + "kernels have two more axes"),
    (
        r"shape\[\+?-?[12]\] <|swapaxes\(a, |np\.max\(absolute|axis=\+1|shape\[\+1\], 1",
        SAME + "of three axes, or of a square, or of a bound that another one undercuts",
    ),
    (r"_candidates", "a guess, which is then checked: costs time, not truth"),
    (r"_density|_symbols|part = math|CHUNK|at_least=bound", "effort only: any grid gives a bound"),
    (
        r"inflate\(|deflate\(|ROUNDINGS",
        "a margin, larger than what it pays for: the change is far below it",
    ),
    (r"tiny|1e-?154|flushed", "the term for underflow, 1e-38 of anything else"),
    (r"reach\[|rounded|overflow", "a bound of a bound: the other term of the maximum is larger"),
    (r"XX|exact_float64", "the text of a message"),
    (r"outputs, inputs = pixels", "effort only: a quotient instead of an integer"),
    (r"> 0|>= 0|<= at_least|< at_least|start in range|\* 0\.0", SAME + "at the very edge"),
    (r"default|np\.where|isfinite\(logits\)|bad = None", "overwritten by the status of the input"),
    (r"// 3", SAME + "a power of two split in another way"),
    (r"2 \* a\.size /", "half a rounding more"),
    (r"find_head|linear|node\.inputs if", SAME + "a head without a Dense layer has no kernel"),
    (r"activation\.function|bias is None|squeeze", SAME + "broadcasting gives the same"),
    (r"_polyphase", SAME + "padding along an axis of one phase is empty"),
    (r"indices\[1\]", SAME + "all pieces have the same source"),
    (r"copies >|copies\)", "a margin: of the last place"),
    (r"same=None", SAME + "None is false"),
    (r"len\(samples\) >= n", "a larger bound, at a stride that need not be dropped"),
    (r"writes|reads", SAME + "a window writes and reads at least once"),
]


def bodies(lines, function):
    """The lines of a function's definition, stripped."""
    for i, line in enumerate(lines):
        if match := re.match(r"( *)def " + re.escape(function) + r"\(", line):
            indent, j = len(match[1]), i + 1
            while j < len(lines) and (
                not lines[j].strip()
                or len(lines[j]) - len(lines[j].lstrip()) > indent
                or lines[j].startswith(" " * indent + ")")
            ):
                j += 1
            return [part.strip() for part in lines[i:j]]
    return []


def mutants(folder):
    """(module, function, changed lines, survived) of each mutant."""
    for meta in sorted(Path(folder).glob("mutants/src/lipkit/certifier/*.meta")):
        lines = meta.with_suffix("").read_text().splitlines()
        for key, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            if code is None:
                continue
            name = key.rsplit(".", 1)[1]
            base = name.rsplit("__mutmut_", 1)[0]
            change = difflib.unified_diff(
                bodies(lines, f"{base}__mutmut_orig"), bodies(lines, name), lineterm="", n=0
            )
            changed = [
                line
                for line in change
                if not line.startswith(("---", "+++", "@@"))
                and "__mutmut_" not in line
                and line.strip("+- ")
            ]
            function = base.replace("xǁ", "").replace("ǁ", ".").removeprefix("x_")
            yield meta.name.removesuffix(".py.meta"), function, changed, code in (0, 33)


def word(function, changed):
    """Why a survivor is no gap; None if nobody knows."""
    text = "\n".join([function, *changed])
    return next((why for pattern, why in WORDS if re.search(pattern, text)), None)


def main():
    total, killed, rows, unknown = collections.Counter(), collections.Counter(), [], 0
    for folder in sys.argv[1:] or ["."]:
        for module, function, changed, survived in mutants(folder):
            total[module] += 1
            killed[module] += not survived
            if survived and changed:
                why = word(function, changed)
                unknown += why is None
                new = next((line for line in changed if line.startswith("+")), changed[-1])
                rows.append((module, function, new[1:].strip(), why or "**unexplained**"))
    with OUT.open("w") as page:
        print("# Mutants of the certifier's core that survive\n", file=page)
        print(
            f"`make mutants`: {sum(killed.values())} of {sum(total.values())} mutants are killed,",
            file=page,
        )
        print(f"{sum(killed.values()) / sum(total.values()):.1%}.\n", file=page)
        print("| module | mutants | killed | |\n|---|---|---|---|", file=page)
        for module in sorted(total):
            share = killed[module] / total[module]
            print(f"| {module} | {total[module]} | {killed[module]} | {share:.1%} |", file=page)
        print("\n| function | the changed line | why no test sees it |\n|---|---|---|", file=page)
        for module, function, new, why in rows:
            new = new.replace("|", "\\|")
            print(f"| {module}.{function} | `{new}` | {why} |", file=page)
    print(OUT.read_text())
    return int(unknown > 0)


if __name__ == "__main__":
    sys.exit(main())
