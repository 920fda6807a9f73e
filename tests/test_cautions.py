"""What a run warns of."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from lipkit.runs import cautions

pytestmark = pytest.mark.once


class Certified:
    """What the module reads of certificates."""

    def __init__(self, label, accuracy=0.9):
        self.label, self._accuracy = np.asarray(label), accuracy

    def __len__(self):
        return len(self.label)

    def certified_accuracy(self, eps):
        return self._accuracy


def warned(x=None, y=None, held=None, source="spread", training=0.9, **settings):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3)) if x is None else x
    y = np.arange(len(x)) % 2 if y is None else np.asarray(y)
    names = tuple("ab"[: y.max() + 1]) if y.max() < 2 else tuple("abc")
    features = tuple(f"f{i}" for i in range(x.shape[1]))
    dataset = SimpleNamespace(x=x, y=y, classes=names, features=features)
    held = Certified(np.arange(100) % len(names)) if held is None else held
    settings |= {"feature_weights_source": source}
    rows = np.arange(len(x))
    return cautions.about(dataset, rows, settings, Certified(y, training), held)


def test_nothing_is_said_of_what_is_well():
    assert warned() == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"held": Certified([0, 1] * 10)}, "Only 20 rows were held out: one row is 5.0 points"),
        ({"training": 1.0, "held": Certified([0, 1] * 50, 0.8)}, "decided 20 points better"),
        ({"held": Certified([0] * 100)}, "decided for 'b'"),
        ({"y": [0] * 190 + [1] * 10}, "Class 'b' has 5.0 % of the rows.*--class-weight balanced"),
    ],
)
def test_warnings(options, text):
    (found,) = warned(**options)
    assert re.search(text, found), found


def test_columns_in_raw_units_that_are_thousands_apart():
    x = np.random.default_rng(0).standard_normal((200, 3)) * [1, 1e5, 1e-2]
    (found,) = warned(x, source="none")
    assert "'f1' varies 1e+07 times as much as 'f2'" in found
    assert warned(x) == []


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.arange(200) + 1000, "like an id: --id"),
        (20240101 + np.arange(200) % 28, "looks like dates"),
        (np.arange(200) // 2, None),
        (np.random.default_rng(0).integers(0, 10**6, 200), None),
    ],
)
def test_columns_that_name_rows(values, text):
    x = np.random.default_rng(0).standard_normal((200, 2))
    x[:, 1] = values
    found = warned(x)
    assert (len(found) == 1 and text in found[0] and "'f1'" in found[0]) if text else not found


def test_balanced_classes_are_not_called_rare():
    assert warned(y=[0] * 190 + [1] * 10, class_weight="balanced") == []
