"""The largest slope of a function that an attack finds: a lower bound of its constant."""

import numpy as np

from fuzzing.function import margins


def jacobian(function, points, step):
    """Central differences at points (p, n): (p, outputs, n); exact where linear within `step`."""
    p, n = points.shape
    moves = step * np.eye(n, dtype=points.dtype)
    near = np.concatenate([points[:, None] + moves, points[:, None] - moves], axis=1)
    values = function(near.reshape(-1, n)).reshape(p, 2 * n, -1)
    with np.errstate(all="ignore"):
        return np.swapaxes((values[:, :n] - values[:, n:]) / (2 * step), 1, 2)


def ratios(function, x, y):
    """Slopes between pairs of points (p, n)."""
    with np.errstate(all="ignore"):
        found = np.linalg.norm(function(x) - function(y), axis=1) / np.linalg.norm(x - y, axis=1)
    return np.nan_to_num(found, nan=0.0, posinf=0.0)


def exact(function, x, y):
    """The slope between two points in extended precision, less what that rounds."""
    pair = np.stack([x, y]).astype("longdouble")
    values = function.values(pair)
    change, distance = (
        np.sqrt(np.sum((z[0] - z[1]) ** 2)) for z in (function.joined(values), pair)
    )
    noise = 1e-17 * max(float(np.abs(v).max(initial=0.0)) for v in values)
    return float(max(change - noise, 0) / distance)


def steepest(function, rng, rounds=3):
    """Two points, with the largest slope found between them.

    Singular vectors of the Jacobian at points of several sizes and signs; the best of them move
    along what they found, and at random, to where other pieces of the function are active.
    """
    n = sum(function.sizes)
    count = 12 if n <= 64 else 3 if n <= 300 else 1
    sizes = np.resize([1e-3, 0.1, 1.0, 1.0, 8.0, 60.0], count)[:, None]
    points = rng.standard_normal((count, n)) * sizes
    points[1::3], points[2::3] = np.abs(points[1::3]), -np.abs(points[2::3])
    best = (0.0, points[0], points[0] + 1.0)
    for _ in range(rounds if n <= 64 else 1):
        step = 1e-5 * (1e-2 + np.abs(points).max(axis=1).mean())
        slope = np.nan_to_num(jacobian(function, points, step), posinf=0.0, neginf=0.0)
        largest = max(float(np.abs(slope).max(initial=0.0)), 1e-300)  # SVD fails near overflow
        _, sigma, vt = np.linalg.svd(slope / largest, full_matrices=False)
        v, sigma = vt[:, 0], sigma[:, 0]
        x, y = points + step * v, points - step * v
        far = np.abs(points).max(axis=1, keepdims=True) + 1.0
        x, y = np.concatenate([x, points + far * v]), np.concatenate([y, points - far * v])
        found = ratios(function, x, y)
        top = int(np.argmax(found))
        if found[top] > best[0]:
            best = (float(found[top]), x[top], y[top])
        order = np.argsort(-sigma)[: max(count // 3, 1)]
        ahead = [points[order] + t * far[order] * v[order] for t in (-1.0, 1.0)]
        jitter = points[order] + rng.standard_normal((len(order), n)) * far[order]
        points = np.concatenate([*ahead, jitter])
    return best[1:]


def towards(function, x, label, radius, rng):
    """Points within the radius of x, first where the margin of its label falls fastest."""

    def margin(z):
        return margins(function(z), np.full(len(z), label))[:, None]

    down = -jacobian(margin, x[None], 1e-6 * (1 + np.abs(x).max()))[0, 0]
    for direction in (down, np.sign(down), rng.standard_normal(len(x))):
        length = np.linalg.norm(direction)
        if 0 < length < np.inf:
            yield x + direction / length * radius * (1 - 1e-7)
