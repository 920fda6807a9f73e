"""Many graphs, drawn by their number and attacked; what came of them."""

from collections import Counter
from dataclasses import asdict, dataclass, field

import numpy as np

from fuzzing.checks import check
from fuzzing.subject import computing_in

CAUGHT = 0.97  # a bound scaled by this is refuted by a slope that is larger


@dataclass
class Tally:
    """Counts over graphs, which add up."""

    graphs: int = 0
    bounded: int = 0
    refused: int = 0
    certificates: int = 0
    largest_error: float = 0.0
    largest_slope: float = 0.0
    piecewise_linear: int = 0
    caught: int = 0
    attained: int = 0
    attained_caught: int = 0
    reasons: Counter = field(default_factory=Counter)
    violations: list[dict] = field(default_factory=list)

    def add(self, subject, outcome, number):
        """Count one graph."""
        self.graphs += 1
        self.refused += bool(outcome.reason) and not outcome.bounded
        self.bounded += outcome.bounded
        self.certificates += outcome.certificates
        self.largest_error = max(self.largest_error, outcome.error)
        if outcome.reason and not outcome.bounded:
            self.reasons[outcome.reason] += 1
        if outcome.share is not None:
            self.largest_slope = max(self.largest_slope, outcome.share)
            caught = outcome.share > CAUGHT
            self.piecewise_linear += outcome.linear
            self.caught += outcome.linear and caught
            self.attained += subject.attained
            self.attained_caught += subject.attained and caught
        if outcome.violations:
            self.violations.append(
                {"number": number, "dtype": subject.dtype, "steps": subject.steps}
                | {"violations": [text[:1000] for text in outcome.violations]}
            )

    def __add__(self, other):
        return Tally(
            **{
                name: max(a, b) if name.startswith("largest_") else a + b
                for name, a in vars(self).items()
                for b in [getattr(other, name)]
            }
        )

    def report(self):
        """As JSON, the reasons of refusals from the most frequent on."""
        return {**asdict(self), "reasons": dict(self.reasons.most_common())}

    @classmethod
    def load(cls, report):
        """Inverse of `report`."""
        names = cls.__dataclass_fields__
        given = {name: report[name] for name in names}
        return cls(**{**given, "reasons": Counter(report["reasons"])})


def run(draw, seed, numbers) -> Tally:
    """Draw the graphs of these numbers, by `draw(rng)`, and attack them."""
    tally = Tally()
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        subject = draw(rng)
        with computing_in(subject.dtype):
            tally.add(subject, check(subject, rng), number)
    return tally
