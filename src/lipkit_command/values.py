"""What `lipkit certify` says of the answers of a regression: values, and their intervals."""

import numpy as np


def summary(result, eps):
    """What is said of all rows together, for JSON, and the lines of it."""
    error, lines, r2 = np.empty(0), [], None
    if result.y is not None:
        error = np.abs(result.error[np.isfinite(result.error)])
        if len(error):
            lines = [f"error {np.median(error):.4g} in the median of {len(error)} rows"]
        if len(np.unique(result.y[np.isfinite(result.error)])) > 1:
            r2 = result.r2()
            lines = [f"R2 {r2:.4f}, {lines[0]}"]
    lines.append("an interval is what the prediction can become within eps, not where the truth is")
    sure = result.reach[result.certified]
    document = {
        "radius": result.radius,
        "constant": result.constant,
        "median_reach": float(np.median(sure)) if len(sure) else None,
        "r2": r2,
        "median_error": float(np.median(error)) if len(error) else None,
    }
    return document, lines


def columns(result, classes):
    """The answers, for a table with a line for each row."""
    truth = np.full(len(result), np.nan) if result.y is None else result.y
    arrays = {"value": result.value, "truth": truth, "lower": result.lower, "upper": result.upper}
    return {
        name: [repr(v) if np.isfinite(v) else "" for v in array.tolist()]
        for name, array in arrays.items()
    }
