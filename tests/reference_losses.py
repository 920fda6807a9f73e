"""NumPy float64 twins of the losses of exclusive classes, sample by sample.

`c` is the class of each sample (B,), `f` the predictions (B, C); values are the loss of the batch.
"""

import numpy as np
import reference
from scipy.special import logsumexp, softmax


def one_hot(c, classes, low=0.0):
    return np.where(np.eye(classes)[c] > 0, 1.0, low)


def _samples(c, f, w):
    """(true prediction, others, weight) of each sample, in float64."""
    f = np.asarray(f, "float64")
    w = np.ones(len(f)) if w is None else w
    return [(row[i], np.delete(row, i), v) for i, row, v in zip(c, f, w, strict=True)]


def _mean(values, samples):
    return np.mean([v * w for v, (_, _, w) in zip(values, samples, strict=True)])


def relu(x):
    return np.maximum(x, 0)


def kr(c, f, w=None):
    columns = one_hot(c, f.shape[-1]).T
    return np.mean([reference.kr(y, g, w) for y, g in zip(columns, np.asarray(f).T, strict=True)])


def hinge(c, f, m, w=None):
    s = _samples(c, f, w)
    values = [len(o) * relu(m - t) + relu(m + o).sum() for t, o, _ in s]
    return _mean(values, s) / f.shape[-1]


def hkr(c, f, alpha, m, w=None):
    return hinge(c, f, m, w) if np.isinf(alpha) else alpha * hinge(c, f, m, w) - kr(c, f, w)


def soft_hkr(c, f, alpha, m, temperature=1.0, mean=None, w=None):
    s = _samples(c, f, w)
    sizes = np.abs(np.asarray(f, "float64")).mean(-1)
    mean = np.average(sizes, weights=w) if mean is None else mean
    sharp = np.clip(temperature * m / max(mean, m), 0.005, 250)

    def value(t, o):
        p = softmax(sharp * o)
        return (p @ o - t) / alpha + relu(m - t) + p @ relu(m + o)

    return _mean([value(t, o) for t, o, _ in s], s)


def lse_hkr(c, f, alpha, m, temperature=1.0, penalty=1.0, w=None):
    s = _samples(c, temperature * np.asarray(f, "float64"), w)

    def value(t, o):
        k = np.log(len(o)) / (penalty * m)
        smooth = o[0] if len(o) == 1 else logsumexp(k * o) / k
        hinged = relu(m - t) + relu(m + smooth)
        return hinged if np.isinf(alpha) else smooth - t + alpha * hinged

    return _mean([value(t, o) for t, o, _ in s], s)


def multi_margin(c, f, m, w=None):
    s = _samples(c, f, w)
    return _mean([relu(m - t + o).sum() / (len(o) + 1) for t, o, _ in s], s)


def categorical_hinge(c, f, m, w=None):
    s = _samples(c, f, w)
    return _mean([relu(m - t + o.max()) for t, o, _ in s], s)


def crossentropy(c, f, tau, w=None):
    s = _samples(c, f, w)
    return _mean([logsumexp(tau * np.append(o, t)) / tau - t for t, o, _ in s], s)


def binary_crossentropy(y, f, tau, w=None):
    sign = np.where(np.asarray(y) > 0, 1, -1)
    w = np.ones(len(f)) if w is None else w
    return np.mean(w[:, None] * np.logaddexp(0, -tau * sign * np.asarray(f, "float64")) / tau)
