"""The scripts in deel-lip's style, shortened: they train, and what they export is certified."""

import importlib.util
from pathlib import Path

import pytest

import lipkit

FOLDER = Path(__file__).parents[1] / "examples" / "deel_lip"
ROUNDING = 1 + 1e-5


def main(name, epochs):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(epochs)


def test_the_import_is_the_only_line_of_lipkit():
    scripts = list(FOLDER.glob("*.py"))
    assert len(scripts) == 4
    for script in scripts:
        program, _, rest = script.read_text().partition('if __name__ == "__main__":')
        lines = [line for line in program.splitlines() if line.startswith(("import", "from"))]
        assert [line for line in lines if "lipkit" in line] == [
            "import lipkit.compat.deel_lip as lip"
        ]
        assert "from lipkit import" in rest


def test_wasserstein_distance():
    model, estimate, exact = main("wasserstein_distance", 5)
    assert lipkit.lipschitz_bound(model) < ROUNDING
    assert 0.9 * exact < estimate < 1.01 * exact  # a lower bound, but for the sample


@pytest.mark.parametrize(("name", "epochs"), [("hkr_moons", 5), ("hkr_two_digits", 5)])
def test_two_classes(name, epochs):
    model, (x, y), values = main(name, epochs)
    accuracy = values["accuracy"] if isinstance(values, dict) else values
    assert accuracy > 0.85
    assert lipkit.lipschitz_bound(model) < ROUNDING
    certificates = lipkit.certify(model, x, y)
    assert certificates.certified_accuracy(0.0) == pytest.approx(accuracy, abs=2e-3)
    if isinstance(values, dict):  # the metric divides by the nominal constant, 1
        assert values["robust"] == pytest.approx(certificates.certified_accuracy(0.25), abs=2e-2)


def test_ten_classes():  # slow: below 7 epochs the accuracy says nothing
    model, (x, y), values = main("hkr_ten_digits", 7)
    assert values["accuracy"] > 0.7
    certificates = lipkit.certify(model, x, y)
    assert certificates.lipschitz.max() < 2 * ROUNDING  # of a difference of two logits
    assert lipkit.certify(model, x[:2], task="multilabel").lipschitz.max() < ROUNDING  # of each
    assert lipkit.lipschitz_bound(model) < 10**0.5 * ROUNDING  # of all ten, `disjoint_neurons`
    assert certificates.certified_accuracy(0.0) == pytest.approx(values["accuracy"], abs=2e-3)
    assert values["robust"] <= certificates.certified_accuracy(0.1)  # it counts the full 2
