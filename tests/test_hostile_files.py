"""Files that would hang, take all memory, or act on terminals and spreadsheets."""

import csv
import gzip
import io
import json
import os
import re
import socket
import tracemalloc
import zipfile

import h5py
import keras
import numpy as np
import openpyxl
import pytest
from PIL import Image
from test_cli import invoke, line_of

import lipkit
from lipkit._files import limits
from lipkit._table import printable
from lipkit.certifier import Certificates
from lipkit.compat.deel_lip import load_model
from lipkit.data import cells, files


@pytest.fixture
def folder(tmp_path):
    """A folder with a model m.keras and data d.npz for it."""
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "m.keras")
    np.savez(tmp_path / "d.npz", x=np.eye(4, 3), y=[0, 1, 0, 1])
    return tmp_path


def pipe(path):
    os.mkfifo(path)


def local(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # absolute ones may be too long


def device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, local, device])
@pytest.mark.parametrize(
    "name",
    ["m.keras", "m.h5", "m.onnx", "d.npz", "d.csv", "d.parquet", "d.csv.gz", "d.xlsx"],
)
def test_what_is_no_file_is_refused(name, make, folder, monkeypatch):
    """Reading a pipe never ended."""
    monkeypatch.chdir(folder)
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    arguments = ["bound", name] if name[0] == "m" else ["certify", "m.keras", name]
    kind = {pipe: "a pipe", local: "a socket", device: "a device"}[make]
    assert f"{name} is {kind}, not a file" in line_of(invoke(*arguments), 2)


def test_options_that_name_no_file_are_refused(folder):
    os.mkfifo(folder / "p.json")
    arguments = ["train", folder / "d.npz", "--out", folder / "run"]
    line = line_of(invoke(*arguments, "--feature-weights", folder / "p.json"), 2)
    assert "p.json" in line
    for read in (Certificates.load, load_model):
        with pytest.raises(ValueError, match="a pipe"):
            read(folder / "p.json")
    os.mkfifo(folder / "r.csv")
    arguments = ["certify", folder / "m.keras", folder / "d.npz", "--out", folder / "r.csv"]
    assert "is not a file" in line_of(invoke(*arguments, "--overwrite"), 2)


def rewritten(path, **members):
    """Put other contents into a .keras file, compressed."""
    with zipfile.ZipFile(path) as old:
        kept = {name: old.read(name) for name in old.namelist()}
    kept |= {name.replace("__", "."): data for name, data in members.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in kept.items():
            new.writestr(name, data)


def config_of(path):
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json")


def huge_layer(path):
    rewritten(path, config__json=config_of(path).replace(b'"units": 2', b'"units": 2147483647'))
    return "layer 'dense.*' asks for more numbers than the file holds: .3, 2147483647."


def nested(path):
    rewritten(path, config__json=b'{"config": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")
    return "nested too deeply"


def empty_weights(path):
    """HDF5 does not store chunks of zeros."""
    with h5py.File(path.with_suffix(".w"), "w") as file:
        file.create_dataset("v", shape=(2**31, 8), dtype="f4", chunks=(1024, 8))
    rewritten(path, **{"model__weights__h5": path.with_suffix(".w").read_bytes()})
    return "its weights would take 64 GiB"


def weights_elsewhere(path):
    with h5py.File(path.with_suffix(".w"), "w") as file:
        file.create_dataset("v", shape=(4,), dtype="f4", external=[("secret", 0, 16)])
    rewritten(path, **{"model__weights__h5": path.with_suffix(".w").read_bytes()})
    return "array 'v' is in another file"


def bomb(path):
    rewritten(path, assets=bytes(2**26))
    return "its parts would take"


@pytest.mark.parametrize("make", [huge_layer, nested, empty_weights, weights_elsewhere, bomb])
def test_models_that_ask_for_all_memory_are_refused(make, folder, monkeypatch):
    message = make(folder / "m.keras")
    if make is bomb:
        monkeypatch.setenv(limits.VARIABLE, str(2**25))
    result = invoke("bound", folder / "m.keras")
    assert re.search(message, line_of(result, 2)), result.stderr


def lying_header(path):
    """An array that says it is of 32 GiB, and is not there."""
    header = io.BytesIO()
    facts = {"descr": "<f8", "fortran_order": False, "shape": (2**32, 1)}
    np.lib.format.write_array_header_1_0(header, facts)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    return "x.npy holds objects, or is cut off"


def compressed_zeros(path):
    np.savez_compressed(path, x=np.zeros((2**20, 8), "int8"))
    return "the arrays would take 0.0625 GiB, more than the 0.0312 GiB.*set LIPKIT_MAX_BYTES="


def one_long_cell(path):
    path.write_text("a,y\n1,u\n2,v\n3," + "u" * 10**6 + "\n")
    return "Target 'y' has a text of 1000000 characters"


def one_long_category(path):
    path.write_text("a,y\nb,u\nc,v\n" + "d" * 10**6 + ",u\n")
    return "Column 'a' has a text of 1000000 characters.*--drop"


def many_categories(path):
    names = ",".join(f"c{i}" for i in range(60))
    rows = "\n".join(",".join([f"t{row % 100}"] * 60) + f",{row % 2}" for row in range(1000))
    path.write_text(f"{names},y\n{rows}\n")
    return "its 1000 rows of 6000 numbers would take"


def compressed_text(path):
    with gzip.open(path, "wb") as file:
        for _ in range(40):
            file.write(b"1,2\n" * 2**18)
    return "its text would take"


def compressed_sheet(path):
    workbook = openpyxl.Workbook()
    workbook.active.append(["a", "y"])
    workbook.save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("xl/more.xml", b" " * 2**26)
    return "its parts would take"


def cells_far_apart(path):
    """A row that has a cell in the last column has 16,384."""
    workbook = openpyxl.Workbook()
    for row in range(1, 400):
        workbook.active.cell(row, 16384, 1)
    workbook.save(path)
    return "its cells would take"


TABLES = [
    (compressed_text, "d.csv.gz"),
    (compressed_sheet, "d.xlsx"),
    (cells_far_apart, "d.xlsx"),
    (lying_header, "d.npz"),
    (compressed_zeros, "d.npz"),
    (one_long_cell, "d.csv"),
    (one_long_category, "d.csv"),
    (many_categories, "d.csv"),
]


@pytest.mark.parametrize(("make", "name"), TABLES)
def test_data_that_ask_for_all_memory_are_refused(make, name, tmp_path, monkeypatch):
    message = make(tmp_path / name)
    monkeypatch.setenv(limits.VARIABLE, str(2**25))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            files.read(tmp_path / name, None if name == "d.npz" else "y")
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


def test_images_that_ask_for_all_memory_are_refused(tmp_path, monkeypatch):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    Image.new("L", (400, 300)).save(tmp_path / "photos" / "a" / "1.png")
    monkeypatch.setenv(limits.VARIABLE, "100000")
    with pytest.raises(ValueError, match="1 images of .300, 400, 1. would take"):
        files.read(tmp_path / "photos")
    with pytest.raises(ValueError, match="would take"):
        files.read(tmp_path / "photos", image_size=(10**5, 10**5))
    monkeypatch.setattr("lipkit.data.images.PIXELS", 1000)
    with pytest.raises(ValueError, match="1.png is not a readable image: it has 400 x 300 pixels"):
        files.read(tmp_path / "photos")


def test_the_limit_must_be_a_number(tmp_path, monkeypatch):
    np.savez(tmp_path / "d.npz", x=np.eye(2))
    monkeypatch.setenv(limits.VARIABLE, "much")
    with pytest.raises(ValueError, match="LIPKIT_MAX_BYTES must be a number of bytes.*'much'"):
        files.read(tmp_path / "d.npz")


def test_a_cut_model_is_not_called_missing(folder):
    path = folder / "m.keras"
    path.write_bytes(path.read_bytes()[:1000])
    line = line_of(invoke("bound", path), 2)
    assert "is cut off" in line and "not found" not in line


FORMULAS = ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\tx", "\rx", "'=x", "''+x", "\uff1dx"]
PLAIN = ["u", "-1", "+1.5", "-1e-9", "'tis", "a=b", "", "1"]


def test_texts_that_spreadsheets_run_are_marked_and_read_back():
    for text in FORMULAS:
        marked = cells.escaped(text)
        assert marked == f"'{text}" and cells.unescaped(marked) == text
    for text in PLAIN:
        assert cells.escaped(text) == text and cells.unescaped(text) == text
    assert cells.unescaped(1.5) == 1.5


def test_class_names_in_the_table_of_radii(tmp_path, rng):
    names = ["=HYPERLINK(1)", "@x"]
    x = rng.normal(size=(20, 2))
    rows = [f"{a!r},{b!r},{names[int(a > 0)]}" for a, b in x.tolist()]
    (tmp_path / "d.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    start = ["train", tmp_path / "d.csv", "--target", "y", "--recipe", "linear", "--epochs", 1]
    start += ["--feature-weights", "none"]
    assert invoke(*start, "--out", tmp_path / "run").exit_code == 0
    arguments = ["certify", tmp_path / "run", tmp_path / "d.csv", "--out", tmp_path / "r.csv"]
    assert invoke(*arguments).exit_code == 0
    with (tmp_path / "r.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert {row["label"] for row in table} <= {f"'{name}" for name in names}
    assert all(float(row["radius"]) >= 0 and int(row["row"]) for row in table)
    again = files.read(tmp_path / "r.csv", "label", drop=["status"])
    assert set(again.classes) <= set(names)


def test_names_of_files_cannot_act_on_the_terminal(folder):
    name = folder / "\x1b[2J\u202em\x07.keras"
    (folder / "m.keras").rename(name)
    result = invoke("bound", name)
    assert result.exit_code == 0 and "\\x1b[2J\\u202em\\x07.keras" in result.stdout
    for arguments in (["bound", f"{name}x"], ["bound", f"--\x1b[2J{name}"]):
        assert "\\x1b[2J" in line_of(invoke(*arguments), 2)
    assert not {"\x1b", "\u202e", "\x07"} & set(result.output)
    layers = [keras.Input((3,)), keras.layers.Dense(1, name="\x1b[31mred")]
    keras.Sequential(layers).save(folder / "l.keras")
    shown = invoke("bound", folder / "l.keras").stdout
    assert "\\x1b[31mred" in shown and "\x1b" not in shown
    assert printable("é ü\udcff\n") == "é ü\\udcff\\n"


def radii_of(path):
    with path.open() as file:
        return np.array([float(row["radius"]) for row in csv.DictReader(file)])


def test_radii_are_those_of_the_numbers_in_the_file(tmp_path):
    """Rounded to float32, 269 of 569 rows had a radius above their own."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    data.data.assign(y=data.target).to_csv(tmp_path / "d.csv", index=False)
    start = ["train", tmp_path / "d.csv", "--target", "y", "--recipe", "linear", "--epochs", 1]
    start += ["--feature-weights", "none"]
    assert invoke(*start, "--out", tmp_path / "run").exit_code == 0
    arguments = ["certify", tmp_path / "run", tmp_path / "d.csv", "--out", tmp_path / "r.csv"]
    assert invoke(*arguments).exit_code == 0
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    x = np.ascontiguousarray(data.data)  # NumPy adds in another order down columns in memory
    own = lipkit.certify(model, x).radius
    np.testing.assert_array_equal(radii_of(tmp_path / "r.csv"), own)
    # an independent truth: |f(x)| / |f'| of the affine model in exact rational numbers
    scaler, dense = model.get_layer("scaler"), model.layers[-1]
    scale, offset = np.asarray(scaler.scale), np.asarray(scaler.offset)
    kernel, bias = (np.asarray(w, "float64") for w in dense.get_weights())
    f = x.astype("longdouble") @ (scale[:, None] * kernel) + offset @ kernel + bias
    distance = np.abs(f[:, 0]) / np.linalg.norm(scale * kernel[:, 0])
    assert (radii_of(tmp_path / "r.csv") <= distance * (1 + 1e-12)).all()
    with np.load(tmp_path / "run" / "test.npz") as test:
        assert np.isin(test["x"], x).all()
        held = lipkit.certify(model, test["x"]).radius
    assert np.array_equal(Certificates.load(tmp_path / "run" / "certificates.json").radius, held)


def test_numbers_that_float64_rounds_are_refused(tmp_path):
    (tmp_path / "d.csv").write_text("a,y\n0.1,0\n9007199254740993,1\n")
    files.read(tmp_path / "d.csv", "y")  # decimals are what float64 makes of them
    (tmp_path / "d.csv").write_text("a,y\n1,0\n9007199254740993,1\n")
    with pytest.raises(ValueError, match="Column 'a' has integers above 2..53"):
        files.read(tmp_path / "d.csv", "y")
    np.savez(tmp_path / "d.npz", x=np.array([[2**53 + 1]]))
    with pytest.raises(ValueError, match="x has integers above 2..53"):
        files.read(tmp_path / "d.npz")
    text = "2.2250738585072011e-308,0.30000000000000004,123456789.12345678"
    (tmp_path / "d.csv").write_text(f"a,b,c\n{text}\n{text}\n")
    frame = files.frames.read(tmp_path / "d.csv")
    assert frame.iloc[0].tolist() == [float(number) for number in text.split(",")]


def test_json_documents_that_cannot_be_read_are_one_line(folder):
    (folder / "w.json").write_text("[" * 100_000)
    arguments = ["train", folder / "d.npz", "--out", folder / "run"]
    assert "must hold weights" in line_of(
        invoke(*arguments, "--feature-weights", folder / "w.json"), 2
    )
    assert json.loads("{}") == {}
