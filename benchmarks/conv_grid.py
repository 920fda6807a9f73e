"""True norms of convolutions over a grid of geometries, kernels, constants and states.

    KERAS_BACKEND=torch python benchmarks/conv_grid.py [n: each n-th case only]

The operator of each layer, written out from one-hot inputs as the layer computes it, has its
largest singular value in float64 compared with `k_coef_lip`: for kernels that break rules, among
them ones optimised against the rule, and as constructed, trained, loaded and exported.
"""

import itertools
import json
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import ops
from provenance import provenance

import lipkit
from lipkit import layers, padding
from lipkit._backend import value_and_input_gradient

OUT = Path(__file__).parent / "results" / "conv_grid.json"
CONSTANTS = (0.1, 1.0, 10.0)
LIMIT = 1 + 1e-5
STEPS = 3  # of each kind, against the rule
SIZES = {1: [(11,), (4,), (1,)], 2: [(7, 5), (4, 6), (3, 1)], 3: [(3, 2, 5)]}
MOVES = {  # strides and dilations: no layer takes both above 1
    1: [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)],
    2: [(1, 1), (2, 1), (3, 1), ((2, 1), 1), (1, 2), (1, (1, 3))],
    3: [(1, 1), (2, 1), ((1, 2, 1), 1), (1, 2)],
}
KERNELS = {1: [1, 2, 3, 5], 2: [2, 3, (3, 2), 5], 3: [2, (3, 1, 2)]}
CHANNELS = [(1, 4, 1), (2, 4, 2), (4, 2, 1), (4, 4, 4)]  # inputs, filters, groups
OTHERS = ("bjorck", "spectral", "frobenius")  # rules, for one geometry in four


class Case(NamedTuple):
    """A layer's class by its name, input channels, arguments and the rule."""

    name: str
    inputs: int
    arguments: dict
    rule: str | None

    @property
    def rank(self):
        """Number of spatial axes."""
        return int(re.search(r"(\d)D", self.name)[1])

    def layer(self, k, **more):
        """The layer, built for inputs of any size."""
        rule = {"parametrization": self.rule} if self.rule else {}
        layer = getattr(layers, self.name)(**self.arguments, **rule, **more, k_coef_lip=k)
        layer.build((None, *[None] * self.rank, self.inputs))
        return layer


def grid():
    """All cases: classes, geometries and channels, with "aol", "polar" and, in turns, others."""
    modes = ("valid", "same", *padding.MODES)
    others = itertools.cycle((rule,) if i == 0 else () for rule in OTHERS for i in range(4))
    for rank, few in ((1, 2), (2, 4), (3, 2)):
        kinds = [
            (f"SpectralConv{rank}D", modes + ("causal",) * (rank == 1), CHANNELS[:few]),
            (f"SpectralConv{rank}DTranspose", ("valid", "same"), CHANNELS[:3:2]),
            (f"SpectralDepthwiseConv{rank}D", modes, [(2, 4, None)]),
            (f"FrobeniusConv{rank}D", modes, CHANNELS[:1]),
        ]
        for name, paddings, channels in kinds:
            if not hasattr(layers, name):
                continue
            axes = KERNELS[rank], MOVES[rank], paddings, channels
            for size, (strides, dilation), mode, (inputs, outputs, groups) in itertools.product(
                *axes
            ):
                arguments = {"kernel_size": size, "strides": strides, "padding": mode}
                arguments["dilation_rate"] = dilation
                if groups is None:
                    arguments["depth_multiplier"] = outputs // inputs
                else:
                    arguments.update(filters=outputs, **({"groups": groups} if groups > 1 else {}))
                rules = ("aol", "polar", *next(others)) if name[0] == "S" else (None,)
                for rule in rules:
                    yield Case(name, inputs, arguments, rule)


def sizes(layer, rank):
    """The input sizes that the padding is defined for."""
    mode = layer.get_config()["padding"]
    reach = [d * (k - 1) + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    least = [
        padding.smallest_size(mode, *padding.same_width(r)) if mode in padding.BORDERS else 1
        for r in reach
    ]
    if mode == "valid" and "Transpose" not in type(layer).__name__:
        least = reach
    return [s for s in SIZES[rank] if all(n >= m for n, m in zip(s, least, strict=True))]


def operator(layer, shape):
    """The matrix (inputs, outputs) of the linear part, in float64."""
    size = int(np.prod(shape))
    basis = np.eye(size, dtype="float32").reshape(size, *shape)
    outputs = ops.convert_to_numpy(layer(np.concatenate([basis, 0 * basis[:1]]), training=False))
    outputs = outputs.astype("float64").reshape(size + 1, -1)
    return outputs[:-1] - outputs[-1]


def norm(layer, shape):
    """The largest singular value of the operator; not finite if a value is not."""
    matrix = operator(layer, shape)
    if not np.isfinite(matrix).all():
        return np.inf
    return np.linalg.svd(matrix, compute_uv=False)[0]


def kernels(shape):
    """Kernels that break rules: name -> values."""
    rng, taps = np.random.default_rng(0), shape[:-2]
    normal = rng.standard_normal(shape)
    centre = 1e-3 * normal
    centre[tuple(n // 2 for n in taps)] += 1
    checkers = (-1.0) ** np.indices(shape).sum(axis=0)
    return {
        "ones": np.ones(shape),
        "identity": np.eye(int(np.prod(shape[:-1])), shape[-1]).reshape(shape),
        "centre": centre,
        "checkers": checkers,
        "normal": normal,
        "huge": 1e20 * normal,
        "tiny": 1e-20 * normal,
    }


def optimised(layer, plain, shape):
    """Kernels against the rule: in turns the top singular vectors, then the best kernel for them.

    First the kernel of the largest |u A v| of all, then ascent through the rule.
    """

    def through(kernel, x, y, constrain):
        kernel = kernel[0]
        if constrain:
            kernel = layer.parametrization.constrain(kernel, layer.view)
        given = layer.vanilla_inputs(x)
        values, _ = plain.stateless_call([kernel], [], given)
        return ops.reshape(ops.sum(values * y), (1,))

    ascents = [
        value_and_input_gradient(lambda kernel, x, y, c=c: through(kernel, x, y, c), [])
        for c in (False, True)
    ]
    kernel = np.random.default_rng(1).standard_normal(layer._kernel.shape)
    for step in range(2 * STEPS):
        layer._kernel.assign(kernel)
        u, _, vt = np.linalg.svd(operator(layer, shape), full_matrices=False)
        # a batch of two: PyTorch's transposed convolutions may have no gradient for one sample
        x = np.stack(2 * [u[:, 0].reshape(shape)]).astype("float32")
        y = np.stack(2 * [vt[0]]).reshape(layer.compute_output_shape(x.shape)).astype("float32")
        start = (kernel / np.linalg.norm(kernel))[None].astype("float32")
        late = step >= STEPS
        gradient = ascents[late](start, x, y)[1]
        kernel = (start + gradient / max(np.linalg.norm(gradient), 1e-30) if late else gradient)[0]
    return kernel


class Tally:
    """Counts of cases, and the largest norm over k, by state."""

    def __init__(self):
        self.cases, self.largest, self.violations = Counter(), {}, []
        self.undefined = 0

    def add(self, state, case, k, shape, value, kernel="initial"):
        """Count one norm."""
        share = float(value) / k
        self.cases[state] += 1
        self.largest[state] = max(self.largest.get(state, 0.0), share)
        if not share <= LIMIT:
            self.violations.append([state, *case, k, list(shape), kernel, share])

    def report(self):
        """JSON-ready."""
        return {
            "cases": {**self.cases, "total": self.cases.total()},
            "largest norm / k": self.largest,
            "limit": LIMIT,
            "sizes that a padding is not defined for": self.undefined,
            "violations": len(self.violations),
            "first violations": self.violations[:5],
        }


def check_kernels(case, tally, constants=CONSTANTS):
    """Every kernel at every size, with the constants in turns."""
    made = {k: case.layer(k) for k in constants}
    first = made[constants[0]]
    found = sizes(first, case.rank)
    tally.undefined += len(SIZES[case.rank]) - len(found)
    given = kernels(tuple(first._kernel.shape))
    if found:
        plain = first.vanilla_class.from_config({**first.vanilla_config(), "use_bias": False})
        plain.build(first.vanilla_input_shape((1, *found[0], case.inputs)))
        given["optimised"] = optimised(first, plain, (*found[0], case.inputs))
    for turn, (name, kernel) in enumerate(given.items()):
        for i, size in enumerate(found):
            k = constants[(turn + i) % len(constants)]
            made[k]._kernel.assign(kernel)
            tally.add("kernels", case, k, size, norm(made[k], (*size, case.inputs)), name)


def check_states(case, tally, k):
    """As constructed, trained, loaded, exported, and loaded from the export."""
    role = "depthwise" if "Depthwise" in case.name else "kernel"
    layer = case.layer(k, **{f"{role}_initializer": "he_normal"})
    found = sizes(layer, case.rank)[:1]
    for size in found:
        shape, rng = (*size, case.inputs), np.random.default_rng(2)
        model = keras.Sequential([keras.Input(shape), layer])
        tally.add("constructed", case, k, size, norm(layer, shape))
        model.compile(keras.optimizers.SGD(3.0), "mse")
        x = rng.standard_normal((4, *shape)).astype("float32")
        model.train_on_batch(x, k * rng.standard_normal(model.compute_output_shape(x.shape)))
        with tempfile.TemporaryDirectory() as folder:

            def again(model, file=Path(folder) / "m.keras"):
                model.save(file)
                return keras.models.load_model(file)

            plain = lipkit.vanillaModel(model)
            states = {
                "trained": model,
                "loaded": again(model),
                "exported": plain,
                "loaded export": again(plain),
            }
            for state, other in states.items():
                tally.add(state, case, k, size, norm(other, shape))


def run(cases, every=3):
    """The tally of cases, each with all kernels, and in all states one of `every`."""
    tally = Tally()
    for i, case in enumerate(cases):
        check_kernels(case, tally)
        if i % every == 0:
            check_states(case, tally, CONSTANTS[i // every % len(CONSTANTS)])
    return tally


def main(part=1):
    keras.utils.set_random_seed(0)
    start = time.perf_counter()
    cases = list(grid())
    chosen = cases[::part]
    result = {**provenance(), "layers": len(chosen), "layers of the grid": len(cases)}
    result.update(run(chosen).report(), seconds=round(time.perf_counter() - start))
    print(json.dumps(result, indent=1))
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
