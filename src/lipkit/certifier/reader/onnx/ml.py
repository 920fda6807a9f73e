"""Rules of the operators of scikit-learn's pipelines, of the domain ai.onnx.ml."""

import numpy as np

from lipkit.certifier import graph as g
from lipkit.certifier.reader.layers import diagonal

DOMAIN = "ai.onnx.ml"


def _numbers(call, name):
    """An attribute of float32 numbers as float64 array, or None."""
    if call.dtype != "float32":
        raise call.refusal(f"it computes in float32, in a file whose inputs are {call.dtype}")
    values = call.attribute(name)
    if values is None:
        return None
    values = np.asarray(values, "float32").astype("float64")
    if not np.isfinite(values).all():
        raise call.refusal(f"its {name} have non-finite values")
    return values


def _vector(call):
    """The number of features of a batch of vectors."""
    if len(call.samples()) != 1:
        raise call.refusal(f"it needs vectors. Received: samples of shape {call.shapes[0]}")
    return call.shapes[0][0]


def _scaler(call):
    """(x - offset) * scale, with one of each for all features or for each."""
    size, ones = _vector(call), np.ones(_vector(call))
    offset, scale = _numbers(call, "offset"), _numbers(call, "scale")
    offset = 0 * ones if offset is None else offset
    scale = ones if scale is None else scale
    if {len(offset), len(scale)} - {1, size}:
        raise call.refusal(f"it scales {len(scale)} features by {len(offset)} offsets, of {size}")
    shift = -offset * scale * ones
    return [diagonal(scale * ones, shift)]


def _affine(call, outputs):
    """The map x @ coefficients + intercepts."""
    coefficients, intercepts = _numbers(call, "coefficients"), _numbers(call, "intercepts")
    features = _vector(call)
    if coefficients is None or coefficients.size != outputs * features:
        raise call.refusal(f"its coefficients do not fit {outputs} outputs of {features} features")
    if intercepts is not None and intercepts.size != outputs:
        raise call.refusal(f"it has {intercepts.size} intercepts for {outputs} outputs")
    return g.Dense(coefficients.reshape(outputs, features).T, intercepts)


def _linear_regressor(call):
    if call.attribute("post_transform", "NONE") != "NONE":
        raise call.refusal("its post_transform has no rule")
    return [_affine(call, call.attribute("targets", 1))]


_TRANSFORMS = {"NONE": [], "LOGISTIC": [g.Elementwise("sigmoid")], "SOFTMAX": [g.Softmax()]}


def _linear_classifier(call):
    """The label, which nothing may be computed from, and the scores or probabilities."""
    integers, strings = call.attribute("classlabels_ints"), call.attribute("classlabels_strings")
    classes = len(integers or strings or ())
    call.attribute("multi_class")
    name = call.attribute("post_transform", "NONE")
    if classes < 2 or name not in _TRANSFORMS:
        raise call.refusal(
            f"it has {classes} classes and the post_transform {name!r}: covered are at least 2 "
            f"classes, each with coefficients, and {', '.join(_TRANSFORMS)}"
        )
    return None, [_affine(call, classes), *_TRANSFORMS[name]]


def _normalizer(call):
    """Probabilities of a softmax, or of a sigmoid of z and -z, divided by their sum: by 1."""
    source = call.nodes[call.sources[0].node]
    if call.attribute("norm", "MAX") != "L1" or not _is_distribution(call.nodes, source):
        raise call.refusal(
            "it divides by a norm that may be near 0, so its slope has no bound. Normalise the "
            "data before, or scale features by constants"
        )
    size = _vector(call) + 4
    return [g.Rounded(size, size)]


def _is_distribution(nodes, node):
    if len(node.shape) != 1:
        return False
    if isinstance(node.op, g.Softmax):
        return True
    before = nodes[node.inputs[0]].op
    sigmoid = isinstance(node.op, g.Elementwise) and node.op.name == "sigmoid"
    if not sigmoid or not isinstance(before, g.Dense) or before.kernel.shape[1] != 2:
        return False
    bias = before.bias if before.bias is not None else np.zeros(2)
    return not before.kernel.sum(axis=1).any() and not bias.sum()


RULES = {
    "Scaler": _scaler,
    "LinearRegressor": _linear_regressor,
    "LinearClassifier": _linear_classifier,
    "Normalizer": _normalizer,
}
_KERNEL = "support vectors are not covered: fit LinearSVC or SGDClassifier, which are linear"
_JUMPS = "its output jumps, so no constant exists"
_LABEL = f"{_JUMPS}. Choose an output of scores or probabilities with `output`"
REASONS = {
    **dict.fromkeys(("SVMClassifier", "SVMRegressor"), _KERNEL),
    **dict.fromkeys(
        ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "Binarizer"), _JUMPS
    ),
    **dict.fromkeys(("ArgMax", "ArgMin", "LabelEncoder", "ArrayFeatureExtractor"), _LABEL),
    **dict.fromkeys(
        ("OneHotEncoder", "CategoryMapper", "DictVectorizer"),
        "its inputs are not vectors of real numbers",
    ),
    "Imputer": "what replaces a missing value jumps. Fill the data before",
}
