"""Runs of several seeds: each is kept as it ends, and their scores say what chance does."""

import json
import shutil
import statistics

import numpy as np
import pandas
import pytest
from report_runs import Reader
from test_cli import done, invoke, line_of, stand_in

from lipkit import recipes
from lipkit.report import write_report
from lipkit.runs import RunFolder, Scores, read, train_seeds

pytestmark = pytest.mark.once  # its subject are files, not what is trained


@pytest.fixture
def start(tmp_path, monkeypatch):
    """The arguments that train there, which takes no time."""
    monkeypatch.setattr(recipes, "train", stand_in)
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.normal(size=(300, 3)), columns=list("abc"))
    frame.assign(y=np.where(frame.a > 0, "u", "v")).to_csv(tmp_path / "data.csv", index=False)
    start = ["train", tmp_path / "data.csv", "--target", "y", "--out", tmp_path / "run"]
    return [*start, "--seeds", 3, "--seed", 4]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def failing_at(monkeypatch, count):
    """Let training fail from the count-th on; gives the list of the seeds that are trained."""
    seeds = []

    def train(*args, seed, **kwargs):
        seeds.append(seed)
        if len(seeds) >= count:
            raise MemoryError("all of it")
        return stand_in(*args, **kwargs)

    monkeypatch.setattr(recipes, "train", train)
    return seeds


def test_scores_of_all_seeds_are_in_the_first_run(start, tmp_path):
    printed = done(*start)
    folders = ["run", "run-seed-5", "run-seed-6"]
    assert names(tmp_path) == ["data.csv", *folders]
    infos = [RunFolder.open(tmp_path / name).info for name in folders]
    accuracies = [info.accuracy for info in infos]
    scores = read(tmp_path / "run").scores
    assert scores.values == accuracies and [*scores.runs] == [4, 5, 6]
    assert [run["run"] for run in scores.runs.values()] == folders
    assert printed["mean"] == pytest.approx(statistics.mean(accuracies))
    assert printed["spread"] == pytest.approx(statistics.stdev(accuracies))
    assert printed["accuracy"] == accuracies[0] and len(printed["seeds"]) == 3
    assert read(tmp_path / "run-seed-5").scores is None
    page = Reader(write_report(tmp_path / "run").read_text(encoding="utf-8"))
    assert str(scores) in page.text and "over 3 seeds" in str(scores)
    assert "over 3 seeds" in invoke(*start, "--overwrite").stdout


def test_what_has_ended_is_kept_and_not_trained_again(start, tmp_path, monkeypatch):
    failing_at(monkeypatch, 3)
    assert "out of memory" in line_of(invoke(*start), 2)
    assert [*Scores.load(tmp_path / "run").runs] == [4, 5]
    kept = RunFolder.open(tmp_path / "run-seed-5").sha256
    assert "run exists" in line_of(invoke(*start), 2)
    trained = failing_at(monkeypatch, 9)
    printed = done(*start, "--resume")
    assert trained == [6] and [*printed["seeds"]] == ["4", "5", "6"]
    assert RunFolder.open(tmp_path / "run-seed-5").sha256 == kept
    assert printed["sha256"] == RunFolder.open(tmp_path / "run").sha256
    assert done(*start, "--resume")["mean"] == printed["mean"] and trained == [6]
    shutil.rmtree(tmp_path / "run-seed-5")
    done(*start, "--resume")
    assert trained == [6, 5]


def test_other_arguments_and_damaged_scores_are_refused(start, tmp_path):
    done(*start)
    line = line_of(invoke(*start, "--resume", "--test-size", 0.3), 2)
    assert "is of another training: test_size changed" in line
    path = tmp_path / "run" / "seeds.json"
    for text in ("[]", '{"runs": {}, "asked": {}}', '{"runs": {"0": {"score": "a"}}, "asked": {}}'):
        path.write_text(text)
        assert "seeds.json is damaged" in line_of(invoke(*start, "--resume"), 2)
    path.write_text(json.dumps({"runs": {}}))
    assert "seeds.json is damaged" in line_of(invoke("report", tmp_path / "run"), 2)


def test_arguments(tmp_path):
    with pytest.raises(ValueError, match="`seeds` must be"):
        train_seeds(tmp_path / "d.npz", tmp_path / "run", seeds=0)
    one = Scores({3: {"run": "run", "score": 0.5}})
    assert (one.mean, one.spread) == (0.5, 0.0)
