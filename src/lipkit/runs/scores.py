"""Test scores of runs that differ in their seed alone: a file beside those of the first of them."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from lipkit._files.atomic import replacing
from lipkit._files.opened import read_json
from lipkit.runs.schema import SEEDS, require


@dataclass(frozen=True)
class Scores:
    """The test scores of runs of several seeds: by how much chance alone changes a score.

    Attributes:
        runs: {seed: {"run": name of its folder, "sha256": of its manifest, "score": a float}}.
        asked: what else the runs depend on, {name: JSON-ready value}.

    Example:
        >>> runs = {seed: {"score": seed / 10} for seed in (1, 2, 3)}
        >>> str(lipkit.runs.Scores(runs))
        '0.2000 ± 0.1000 over 3 seeds, from 0.1000 to 0.3000'
    """

    runs: dict[int, dict]
    asked: dict = field(default_factory=dict)

    @property
    def values(self) -> list[float]:
        """The scores, in the order of the seeds."""
        return [self.runs[seed]["score"] for seed in sorted(self.runs)]

    @property
    def mean(self) -> float:
        """The mean of the scores."""
        return float(np.mean(self.values))

    @property
    def spread(self) -> float:
        """Their standard deviation, estimated without bias; 0 of a single score."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0

    def __str__(self):
        ends = f"from {min(self.values):.4f} to {max(self.values):.4f}"
        return f"{self.mean:.4f} ± {self.spread:.4f} over {len(self.values)} seeds, {ends}"

    def save(self, directory) -> None:
        """Write the file in the folder of the first run."""
        with replacing(Path(directory) / SEEDS) as new:
            new.write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, directory) -> "Scores | None":
        """Read what `save` wrote; None where there is no such file.

        Args:
            directory: path of the run folder.

        Returns:
            The scores.

        Raises:
            ValueError: the file is damaged.
        """
        path = Path(directory) / SEEDS
        if not path.exists():
            return None
        try:
            document = read_json(path)
            found = {int(seed): dict(run) for seed, run in document["runs"].items()}
            good = [math.isfinite(run["score"]) and str(run["run"]) for run in found.values()]
            require(good and all(good), "has no finite score for each seed")
            return cls(found, dict(document["asked"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error}): remove it, or train again.") from None
