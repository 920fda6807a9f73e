"""Runs: whole or not at all, never in the place of something else, and tied together."""

import errno
import fcntl
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import pandas
import pytest
from test_cli import invoke, line_of, stand_in

import lipkit
from lipkit import recipes
from lipkit._files import atomic
from lipkit._files.places import new_file
from lipkit.runs import RunFolder
from lipkit.runs.schema import FILES

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import crash

pytestmark = pytest.mark.once  # its subject are files, not what is trained


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """A folder with data.csv and a run of it."""
    folder = tmp_path_factory.mktemp("some")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "train", stand_in)
        rng = np.random.default_rng(0)
        frame = pandas.DataFrame(rng.normal(size=(40, 3)), columns=list("abc"))
        frame.assign(y=np.where(frame.a > 0, "u", "v")).to_csv(folder / "data.csv", index=False)
        start = ["train", folder / "data.csv", "--target", "y", "--out", folder / "run"]
        assert invoke(*start).exit_code == 0
    return folder


@pytest.fixture
def own(some, tmp_path, monkeypatch):
    """A copy of that folder, where training takes no time; the arguments that train there."""
    monkeypatch.setattr(recipes, "train", stand_in)
    folder = shutil.copytree(some, tmp_path / "own")
    return folder, ["train", folder / "data.csv", "--target", "y", "--out", folder / "run"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def during(monkeypatch, act):
    """Do something while a model is trained."""

    def train(*args, **kwargs):
        act()
        return stand_in(*args, **kwargs)

    monkeypatch.setattr(recipes, "train", train)


def test_what_appears_while_a_model_is_trained_is_kept(own, monkeypatch):
    folder, start = own
    run = folder / "run"
    shutil.rmtree(run)

    def thesis():
        run.mkdir()
        (run / "thesis.txt").write_text("mine")

    during(monkeypatch, thesis)
    line = line_of(invoke(*start), 2)
    assert (run / "thesis.txt").read_text() == "mine" and names(run) == ["thesis.txt"]
    assert str(folder / "run-2") in line
    RunFolder.open(folder / "run-2")  # hours of training are not lost either
    during(monkeypatch, lambda: None)
    assert "thesis.txt" in line_of(invoke(*start, "--overwrite"), 2)


def test_overwrite_replaces_what_was_there_at_the_start_alone(own, monkeypatch):
    folder, start = own
    first = (folder / "run" / "manifest.json").read_bytes()
    other = shutil.copytree(folder / "run", folder / "other")

    def another():
        os.utime(other / "run.json", ns=(1, 1))
        shutil.rmtree(folder / "run")
        other.rename(folder / "run")

    during(monkeypatch, another)
    assert "Something else appeared" in line_of(invoke(*start, "--overwrite"), 2)
    assert (folder / "run" / "manifest.json").read_bytes() == first
    during(monkeypatch, lambda: None)
    assert invoke(*start, "--overwrite").exit_code == 0
    assert (folder / "run" / "manifest.json").read_bytes() != first
    assert names(folder) == ["data.csv", "run", "run-2"]


def test_of_two_trainings_into_one_folder_one_says_no(own, monkeypatch):
    folder, start = own
    lines = []
    during(monkeypatch, lambda: lines.append(line_of(invoke(*start, "--overwrite"), 2)))
    assert invoke(*start, "--overwrite").exit_code == 0
    assert "Another process is writing" in lines[0]
    assert names(folder) == ["data.csv", "run"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_ctrl_c_at_any_event_on_files_loses_nothing(overwrite, own, handler, monkeypatch):
    """Between the two renames it deleted the old run and the new one."""
    folder, start = own
    handler(signal.default_int_handler)
    start = [*start, "--overwrite"] if overwrite else start
    if not overwrite:
        shutil.rmtree(folder / "run")
    before = crash.content(folder / "run")
    for function in ("rename", "fsync", "unlink", "rmdir", "mkdir"):
        real = getattr(os, function)
        for late in (False, True):

            def interrupt(*arguments, real=real, late=late, **options):
                if late:
                    real(*arguments, **options)
                signal.raise_signal(signal.SIGINT)

            with monkeypatch.context() as patch:
                patch.setattr(atomic.os, function, interrupt)
                result = invoke(*start)
            assert result.exit_code in (0, 130), (function, result.output)
            atomic.sweep(folder)
            assert not list(folder.glob(".lipkit-*")), function
            for run in folder.glob("run*"):
                RunFolder.open(run)
                if before is None or run.name != "run":
                    shutil.rmtree(run)
            if before is not None:
                assert (folder / "run").exists(), function


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_systems_that_cannot_exchange(kind, there, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def write(path, text):
        if kind == "folder":
            path.mkdir()
            path = path / "file"
        path.write_text(text)

    if there:
        write(out, "old")
    monkeypatch.setattr(atomic, "_renamed", lambda *_, **__: False)
    with atomic.replacing(out, lambda path: True) as new:
        write(new, "new")
    assert crash.content(out) in (b"new", {"file": b"new"}) and names(tmp_path) == ["out"]
    moves = []

    def broken(first, second):
        moves.append(second)
        if len(moves) == 3:  # into the place of the old
            raise KeyboardInterrupt
        os.replace(first, second)

    if kind == "folder":
        monkeypatch.setattr(atomic.os, "rename", broken)
        with pytest.raises(KeyboardInterrupt), atomic.replacing(out, lambda path: True) as new:
            write(new, "newer")
        assert moves[2] == out and crash.content(out) == {"file": b"new"}


def test_file_systems_without_locks(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with atomic.replacing(tmp_path / "a") as new:
        new.write_text("a")
        with pytest.raises(ValueError, match="Another process"), atomic.replacing(tmp_path / "a"):
            pass
    assert names(tmp_path) == ["a"]
    (tmp_path / ".lipkit-a").mkdir()
    (tmp_path / ".lipkit-a" / "lock").touch()  # of a process that is, perhaps, alive
    with pytest.raises(ValueError, match="remove .*lipkit-a"), atomic.replacing(tmp_path / "a"):
        pass


def test_a_folder_of_a_saved_model_is_replaced_as_a_whole(tmp_path):
    out = tmp_path / "served"
    for text in ("old", "new"):
        with new_file(out, overwrite=text == "new") as new:
            new.mkdir()
            (new / "saved_model.pb").write_text(text)
            (new / text).touch()
    assert names(out) == ["new", "saved_model.pb"] and names(tmp_path) == ["served"]
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="other files"), new_file(tmp_path / "other", True):
        pass


def test_what_killed_processes_leave_is_removed_and_what_was_whole_is_kept(own):
    folder, _ = own
    half = folder / ".lipkit-run" / "new" / "run"
    half.mkdir(parents=True)
    (half / "run.json").write_text("{")
    (folder / ".lipkit-run" / "lock").touch()
    whole = folder / ".lipkit-other" / "ready"
    whole.mkdir(parents=True)
    shutil.copytree(folder / "run", whole / "other")
    (whole.parent / "lock").touch()
    page = folder / "run" / ".lipkit-report.html"
    (page / "new").mkdir(parents=True)
    (page / "lock").touch()
    result = invoke("bound", folder / "run")
    assert result.exit_code == 0 and str(folder / "other-2") in result.stderr
    assert names(folder) == ["data.csv", "other-2", "run"] and page.name not in names(
        folder / "run"
    )
    RunFolder.open(folder / "other-2")


@pytest.mark.parametrize("command", ["train", "report"])
def test_a_full_disk_leaves_all_or_nothing(command, own, monkeypatch):
    folder, start = own
    arguments = [*start, "--overwrite"] if command == "train" else ["report", folder / "run"]
    before, real, calls = crash.content(folder / "run"), os.fsync, []
    for last in range(1, 12):

        def full(descriptor, last=last):
            calls.append(descriptor)
            if len(calls) == last:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(descriptor)

        calls.clear()
        monkeypatch.setattr(atomic.os, "fsync", full)
        result = invoke(*arguments)
        if len(calls) < last:
            assert result.exit_code == 0 and last > 3
            break
        assert "No space left" in line_of(result, 2)
        assert not list(folder.glob("**/.lipkit-*"))
        if (now := crash.content(folder / "run")) != before:  # all but the folder's own entry
            RunFolder.open(folder / "run")
            assert command == "train" or now["report.html"].endswith(b"</html>\n")
            before = now


DAMAGES = [(name, kind) for name in (*FILES, "manifest.json") for kind in ("flip", "cut")]


@pytest.mark.parametrize(("name", "kind"), DAMAGES)
def test_a_damaged_file_of_a_run_is_named(name, kind, own, rng):
    folder, _ = own
    path = folder / "run" / name
    data = path.read_bytes()
    for place in rng.integers(len(data), size=3):
        changed = bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]
        path.write_bytes(data[:place] + (changed if kind == "flip" else b""))
        for arguments in (
            ["bound", folder / "run"],
            ["certify", folder / "run", folder / "data.csv"],
            ["report", folder / "run"],
            ["attack", folder / "run", folder / "data.csv"],
            ["export", folder / "run", "--to", "keras", "--out", folder / "m.keras"],
        ):
            line = line_of(invoke(*arguments), 2)
            assert str(folder / "run") in line and name in line and "restore the files" in line


def test_exchanged_class_names_are_found(own):
    folder, _ = own
    path = folder / "run" / "run.json"
    path.write_text(
        path.read_text().replace('"u"', '"w"').replace('"v"', '"u"').replace('"w"', '"v"')
    )
    for command in (["certify", folder / "run", folder / "data.csv"], ["report", folder / "run"]):
        assert "run.json is not the file that was written" in line_of(invoke(*command), 2)


def test_results_say_which_files_they_are_of(own, tmp_path):
    import hashlib

    folder, _ = own
    run = folder / "run"

    def digest(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    listed = json.loads((run / "manifest.json").read_text())["files"]
    assert listed == {name: digest(run / name) for name in FILES}
    info = json.loads((run / "run.json").read_text())
    assert info["data"]["sha256"] == digest(folder / "data.csv")
    for arguments in (
        ["bound", run],
        ["certify", run, folder / "data.csv"],
        ["attack", run, folder / "data.csv", "--steps", 1],
        ["report", run],
        ["export", run, "--to", "keras", "--out", tmp_path / "m.keras"],
    ):
        result = invoke(*arguments, "--json")
        assert json.loads(result.stdout)["sha256"] == digest(run / "manifest.json"), result.output
    assert digest(run / "manifest.json") in invoke("bound", run).stdout
    assert digest(run / "manifest.json") in (run / "report.html").read_text()
    assert digest(tmp_path / "m.keras") in invoke("bound", tmp_path / "m.keras").stdout
    lipkit.export_onnx(keras.models.load_model(tmp_path / "m.keras"), tmp_path / "m.onnx")
    assert digest(tmp_path / "m.onnx") in invoke("bound", tmp_path / "m.onnx").stdout


def test_the_hash_of_the_data_is_of_what_was_read(own, monkeypatch):
    import hashlib

    folder, start = own
    data = folder / "data.csv"
    was = hashlib.sha256(data.read_bytes()).hexdigest()
    during(monkeypatch, lambda: data.write_text(data.read_text() + "1,2,3,u\n"))
    assert invoke(*start, "--overwrite").exit_code == 0
    assert json.loads((folder / "run" / "run.json").read_text())["data"]["sha256"] == was


def test_a_file_that_changes_while_it_is_read_is_refused(own, monkeypatch):
    folder, start = own
    data = folder / "data.csv"
    real = pandas.read_csv

    def read(*args, **kwargs):
        frame = real(*args, **kwargs)
        data.write_text(data.read_text() + "1,2,3,u\n")
        return frame

    monkeypatch.setattr(pandas, "read_csv", read)
    assert "changed while it was read" in line_of(invoke(*start, "--overwrite"), 2)


def test_demo_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    from lipkit import _demo as demo
    from lipkit import plots

    small = lipkit.Sequential([keras.Input((2,)), lipkit.layers.FrobeniusDense(1)])
    monkeypatch.setattr(demo, "network", lambda *_: small)
    toy = demo.train(demo.Settings(epochs=1, steps=1, samples=20))
    monkeypatch.setattr(demo, "train", lambda *_: toy)
    monkeypatch.setattr(plots, "decision_function", lambda _, *points: plots.scatter(*points))
    start = ["demo", "--out", tmp_path / "demo"]

    def surface(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(plots, "decision_surface", surface)
        assert "No space left" in line_of(invoke(*start), 2)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(plots, "decision_surface", plots.decision_function)
    assert invoke(*start).exit_code == 0
    assert "--overwrite" in line_of(invoke(*start), 2)
    (tmp_path / "demo" / "mine.txt").write_text("mine")
    assert "mine.txt" in line_of(invoke(*start, "--overwrite"), 2)


def test_runs_of_older_versions_are_read_with_a_note(own):
    folder, _ = own
    (folder / "run" / "manifest.json").unlink()
    for arguments in (["bound", folder / "run"], ["report", folder / "run"]):
        result = invoke(*arguments, "--json")
        assert result.exit_code == 0 and result.stderr.count("\n") == 1
        assert "has no manifest.json" in result.stderr
        assert json.loads(result.stdout)["sha256"] is None
