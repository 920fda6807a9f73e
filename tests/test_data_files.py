"""Data sets from files, against what pandas, NumPy and Pillow read, and against bad files."""

import json

import numpy as np
import pandas
import pytest
from PIL import Image

from lipkit.data import files, imputation, labels, splits, tables

pytestmark = pytest.mark.once  # pandas, NumPy and Pillow read the files


def write(path, text):
    path.write_text(text)
    return path


@pytest.fixture
def people(tmp_path):
    text = "age,sex,smokes,sick\n30,f,True,yes\n41.5,m,False,no\n22,f,False,no\n55,x,True,yes\n"
    return write(tmp_path / "people.csv", text)


def test_columns_become_numbers(people):
    data = files.read(people, "sick")
    assert data.kind == "table" and data.classes == ("no", "yes")
    assert data.features == ("age", "sex=f", "sex=m", "sex=x", "smokes")
    assert data.x.dtype == np.float64 and data.y.dtype == np.int64
    truth = [[30, 1, 0, 0, 1], [41.5, 0, 1, 0, 0], [22, 1, 0, 0, 0], [55, 0, 0, 1, 1]]
    np.testing.assert_array_equal(data.x, truth)
    np.testing.assert_array_equal(data.y, [1, 0, 0, 1])


@pytest.mark.parametrize("suffix", ["parquet", "tsv", "semicolon.csv", "bom.csv"])
def test_formats_of_tables_agree(people, suffix):
    frame, path = pandas.read_csv(people), people.with_suffix(f".{suffix}")
    if suffix == "parquet":
        frame.to_parquet(path)
    else:
        separator = {"tsv": "\t", "semicolon.csv": ";"}.get(suffix, ",")
        frame.to_csv(path, sep=separator, index=False, encoding="utf-8-sig")
    ours, theirs = files.read(path, "sick"), files.read(people, "sick")
    assert ours.features == theirs.features and ours.classes == theirs.classes
    np.testing.assert_array_equal(ours.x, theirs.x)
    np.testing.assert_array_equal(ours.y, theirs.y)


def test_another_file_is_encoded_in_the_same_way(people, tmp_path):
    first = files.read(people, "sick")
    encoding = json.loads(json.dumps(first.encoding))
    rows = (
        "smokes,note,sex,age\nTrue,a,m,33\nFalse,b,m,34\n"  # other order, one category, no target
    )
    other = write(tmp_path / "other.csv", rows)
    data = files.read(other, "sick", encoding=encoding, classes=first.classes)
    np.testing.assert_array_equal(data.x, [[33, 0, 1, 0, 1], [34, 0, 1, 0, 0]])
    assert data.y is None and data.features == first.features
    rows = "age,sex,smokes,sick\n1,f,1,yes\n2,f,0,yes\n"  # one class: still class number 1
    other = write(tmp_path / "other.csv", rows)
    data = files.read(other, "sick", encoding=encoding, classes=first.classes)
    np.testing.assert_array_equal(data.y, [1, 1])
    np.testing.assert_array_equal(data.x[:, -1], [1, 0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sex,smokes\nf,True\n", "no column 'age'"),
        (
            "age,sex,smokes\n1,f,True\n2,q,True\n",
            "row 2: .* 'sex' has 'q', .*not trained on.*'f'",
        ),
        (
            "age,sex,smokes\n1,f,True\nold,f,True\n",
            "row 2: column 'age' must.*has 'old'.*--drop",
        ),
        (
            "age,sex,smokes\nold,f,True\nolder,f,True\n",
            "row 1: column 'age' must.*has 'old'",
        ),
        ("age,sex,smokes\n1,f,2\n", "row 1: column 'smokes' must hold true or false, and has 2"),
        ("age,sex,smokes\n,f,True\n", "missing values in age \\(1, first in row 1\\)"),
        ("age,sex,smokes\n1,,True\n", "missing values in sex \\(1, first in row 1\\)"),
        ("age,sex,smokes,sick\n1,f,True,maybe\n", "'sick' has the class 'maybe'.*'no', 'yes'"),
    ],
)
def test_what_does_not_fit_the_encoding_is_named(people, tmp_path, text, message):
    first = files.read(people, "sick")
    other = write(tmp_path / "other.csv", text)
    with pytest.raises(ValueError, match=message):
        files.read(other, "sick", encoding=first.encoding, classes=first.classes)


LONG = "\n".join(["id,y", *(f"n{i}x,{i % 2}" for i in range(101))])
BAD_TABLES = [
    ("", "is empty"),
    ("a,y\n", "no rows"),
    ("a,a,y\n1,2,0\n3,4,1\n", "more than one column named 'a'"),
    ("1,2,0\n3,4,1\n", "numbers in its first line"),
    ("a,y\n1,0,7\n2,1,8\n", "more cells than its first line"),
    ("a,y\n1,0\n2,1,8\n", "not a readable table.*line 3"),
    (",a,y\n0,1,0\n1,2,1\n", "Column 0 has no name.*--drop"),
    ("a,b\n1,0\n2,1\n", "no column 'y'. It has: 'a', 'b'"),
    ("y\n0\n1\n", "no column besides 'y'"),
    (
        "a,b,y\n1,2,0\n,3,1\n,,1\n",
        r"in a \(2, first in row 2\), b \(1, first in row 3\).*--impute.*--drop",
    ),
    ("a,y\n1,0\n2,\n", "Target 'y' has 1 missing"),
    ("a,y\n1,0.5\n2,1.25\n", "Target 'y' is continuous .such as 0.5"),
    ("a,y\n" + "".join(f"1,{i}\n" for i in range(60)), "60 different values in 60 rows"),
    ("a,y\n1,0\ntwo,1\n", "'a' has numbers.*'two' in row 2.*--categorical"),
    ('a,y\n"1,5",0\n"2,5",1\n', "'a' has numbers.*'1,5' in row 1"),
    ("a,y\n$1,0\n$2,1\n", "'a' has numbers.*'\\$1' in row 1"),
    ("a,y\n1,0\ninf,1\n", "row 2: column 'a' must hold finite float32 numbers, and has inf"),
    ("a,y\n1,0\n1e39,1\n", "row 2: column 'a' .* has 1e\\+39"),
    (
        "a,y\n1700000001,0\n1700000002,1\n",
        "'a' does not fit float32: its values differ by 1, and are rounded",
    ),
    ("a,b,y\n1,,0\n2,,1\n", "Column 'b' has no values: --drop 'b'"),
    (LONG, "'id' has 101 different texts.*--drop 'id'.*--categorical 'id'"),
]


@pytest.mark.parametrize(("text", "message"), BAD_TABLES)
def test_bad_tables_are_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        files.read(write(tmp_path / "bad.csv", text), "y")


def test_all_columns_that_cannot_be_used_are_named_at_once(tmp_path):
    path = write(tmp_path / "bad.csv", "a,b,y\n1,,0\ntwo,,1\n")
    with pytest.raises(ValueError, match="Column 'a'.*Column 'b'"):
        files.read(path, "y")


def test_dates_and_lists_are_refused(tmp_path):
    dates = pandas.to_datetime(["2024-01-01", "2024-01-02"])
    for column, message in ((dates, "has dates: .*--dates 'a'"), ([[1], [2]], "has the type")):
        pandas.DataFrame({"a": column, "y": [0, 1]}).to_parquet(tmp_path / "bad.parquet")
        with pytest.raises(ValueError, match=f"Column 'a' {message}.*--drop 'a'"):
            files.read(tmp_path / "bad.parquet", "y")


def test_columns_left_out_and_taken_as_categories(tmp_path):
    path = write(tmp_path / "zip.csv", "zip,id,y\n01,9,0\n1,8,1\n01,7,1\n")
    data = files.read(path, "y", categorical=["zip"], drop=["id"])
    assert data.features == ("zip=01", "zip=1")  # not parsed: they are two
    np.testing.assert_array_equal(data.x, [[1, 0], [0, 1], [1, 0]])
    again = files.read(path, "y", encoding=data.encoding, classes=data.classes)
    np.testing.assert_array_equal(again.x, data.x)
    with pytest.raises(ValueError, match="no column 'size'"):
        files.read(path, "y", drop=["size"])


@pytest.mark.parametrize("method", ["median", "mean"])
def test_missing_cells_are_filled_from_the_rows_to_train_on(tmp_path, method):
    text = "a,b,c,y\n1,u,True,0\n2,u,,1\n9,v,True,0\n,,False,1\n100,v,False,0\n"
    raw = files.read(write(tmp_path / "gaps.csv", text), "y", impute=True)
    data = files.impute(raw, method, np.array([0, 1, 2, 3]))
    assert data.x[3, 0] == {"median": 2, "mean": 4}[method]  # of 1, 2, 9; not of 100
    assert data.x[3, 1:3].tolist() == [1, 0] and data.x[1, 3] == 1
    assert np.isnan(raw.x[3, 0])  # unchanged
    files.check_complete(data, "x")
    other = write(tmp_path / "new.csv", "a,b,c\n,,\n")
    new = files.read(other, encoding=json.loads(json.dumps(data.encoding)))
    np.testing.assert_array_equal(new.x[0], [data.x[3, 0], 1, 0, 1])


def test_a_column_without_values_to_learn_from():
    columns = [tables.Column("a", "number")]
    with pytest.raises(ValueError, match="'a' has no values in the rows"):
        imputation.learn(np.full((2, 1), np.nan, "float32"), columns, "mean")


def test_a_million_rows(tmp_path):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.normal(size=(10**6, 3)).astype("float32"), columns=list("abc"))
    frame["d"] = np.where(frame["a"] > 0, "p", "q")
    frame["y"] = (frame["b"] > 0).astype(int)
    frame.to_parquet(tmp_path / "big.parquet")
    data = files.read(tmp_path / "big.parquet", "y")
    assert data.x.shape == (10**6, 5) and data.x.dtype == np.float64
    np.testing.assert_array_equal(data.x[:, 3], frame["a"] > 0)
    train, held = splits.stratified(data.y, 0.2, seed=0, most=1000)
    assert len(train) + len(held) == 10**6 and 990 < len(held) <= 1000


def test_labels():
    for values in ([3, 7, 7], [3.0, 7.0, 7.0], ["3", "7", "7"]):
        y, names = labels.encode(values, "y")
        assert names == ("3", "7") and y.tolist() == [0, 1, 1]
    assert labels.encode([True, False], "y")[1] == ("False", "True")
    assert labels.encode([10, 9, 10], "y")[1] == ("9", "10")  # as numbers, not as texts
    assert labels.encode([1, 0], "y", ("a", "b"), ("b", "a"))[0].tolist() == [0, 1]
    with pytest.raises(ValueError, match="y must number the 2 classes from 0"):
        labels.encode([0, 2], "y", None, ("b", "a"))
    with pytest.raises(ValueError, match="y has 1 missing or infinite"):
        labels.encode([0, np.nan], "y")
    with pytest.raises(ValueError, match=r"one class for each row.*\(2, 2\)"):
        labels.encode([[0, 1], [1, 0]], "y")


def test_split_keeps_the_shares_of_the_classes():
    y = np.repeat([0, 1, 2], [100, 10, 2])
    train, held = splits.stratified(y, 0.2, seed=1)
    assert sorted([*train, *held]) == list(range(112))
    assert np.bincount(y[held]).tolist() == [20, 2, 1]
    again = splits.stratified(y, 0.2, seed=1)
    np.testing.assert_array_equal(held, again[1])
    np.testing.assert_array_equal(train, again[0])
    assert set(held) != set(splits.stratified(y, 0.2, seed=2)[1])
    assert len(splits.stratified(y, 0.9, seed=1, most=28)[1]) == 28
    with pytest.raises(ValueError, match="Class 'rare' has one row"):
        splits.stratified(np.array([0, 0, 1]), 0.5, names=("often", "rare"))


@pytest.fixture
def photos(tmp_path, rng):
    folder = tmp_path / "photos"
    pixels = rng.integers(0, 256, (4, 6, 5, 3)).astype("uint8")
    for i, values in enumerate(pixels):
        path = folder / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    return folder, pixels


def test_images(photos, rng):
    folder, pixels = photos
    data = files.read(folder)
    assert data.kind == "images" and data.classes == ("cat", "dog")
    np.testing.assert_array_equal(data.y, [0, 0, 1, 1])
    np.testing.assert_array_equal(data.x, pixels[[0, 2, 1, 3]] / 255)
    assert files.read(folder / "dog").y is None
    Image.fromarray(pixels[0, :, :, 0]).save(folder / "cat" / "grey.png")
    grey = files.read(folder).x[2]
    np.testing.assert_array_equal(grey, np.repeat(pixels[0, :, :, :1] / 255, 3, -1))
    resized = files.read(folder, image_size=(3, 4))
    assert resized.x.shape == (5, 3, 4, 3)
    again = files.read(folder / "dog", encoding=json.loads(json.dumps(resized.encoding)))
    np.testing.assert_array_equal(again.x, resized.x[3:])


def test_grey_images_have_one_channel(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("L", (5, 4), 51).save(tmp_path / "a" / "1.png")
    data = files.read(tmp_path)
    assert data.x.shape == (1, 4, 5, 1) and np.all(data.x == 0.2)
    Image.new("RGB", (5, 4)).save(tmp_path / "a" / "2.png")
    with pytest.raises(ValueError, match="2.png is in colour"):
        files.read(tmp_path, encoding=data.encoding)


def other_size(folder):
    Image.new("RGB", (7, 8)).save(folder / "dog" / "9.png")


def damaged(folder):
    path = folder / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:60])


def transparent(folder):
    Image.new("RGBA", (5, 6)).save(folder / "dog" / "1.png")


def deep(folder):
    Image.new("F", (5, 6)).save(folder / "dog" / "9.tiff")


def loose(folder):
    Image.new("L", (5, 6)).save(folder / "1.png")


def no_image(folder):
    for path in folder.glob("*/*"):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_size, "9.png has 8 x 7 pixels, expected 6 x 5.*--image-size"),
        (damaged, "1.png is not a readable image"),
        (transparent, "1.png is transparent"),
        (deep, "9.tiff has pixels of mode F .* save it with 8"),
        (loose, "has images beside its sub-folders, such as 1.png"),
        (no_image, "has no images: expected one sub-folder"),
    ],
)
def test_bad_images_are_named(photos, change, message):
    change(photos[0])
    with pytest.raises(ValueError, match=message):
        files.read(photos[0])


def test_arrays(tmp_path):
    x, y = np.arange(12).reshape(4, 3), np.array([5, 6, 5, 6])
    np.savez(tmp_path / "d.npz", x=x, y=y)
    data = files.read(tmp_path / "d.npz")
    assert (data.kind, data.classes, data.features) == ("table", ("5", "6"), ("x0", "x1", "x2"))
    np.testing.assert_array_equal(data.x, x)
    np.testing.assert_array_equal(data.y, [0, 1, 0, 1])
    np.savez(tmp_path / "d.npz", x=np.ones((2, 8, 8), "uint8"))
    data = files.read(tmp_path / "d.npz")
    assert data.kind == "images" and data.y is None and data.x.dtype == np.float64
    assert data.x.shape == (2, 8, 8, 1)  # grey images, as in folders
    again = files.read(tmp_path / "d.npz", encoding=json.loads(json.dumps(data.encoding)))
    np.testing.assert_array_equal(again.x, data.x)
    assert files.read(tmp_path / "d.npz", encoding={}).x.shape == (2, 8, 8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.ones(3)}, "needs an array 'x'. It has: z"),
        ({"x": np.ones(3)}, r"x must hold numbers of shape.*\(3,\)"),
        ({"x": np.ones((0, 3))}, r"x must hold numbers of shape.*\(0, 3\)"),
        ({"x": np.full((2, 2), "a")}, "x must hold numbers"),
        ({"x": np.array([[1.0], [np.nan]])}, "1 rows, first in row 2"),
        ({"x": np.array([[1.0], [1e39]])}, "too large"),
        ({"x": np.ones((2, 1)), "y": np.ones(3, int)}, "x has 2 rows and y has 3"),
        ({"x": np.ones((2, 1)), "y": np.array([0.5, 1])}, "y is continuous"),
        ({"x": np.array([{}], dtype=object)}, "not a readable NPZ file"),
    ],
)
def test_bad_arrays_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        files.read(tmp_path / "bad.npz")


@pytest.mark.parametrize("name", ["a.npz", "a.parquet", "a.csv"])
@pytest.mark.parametrize("content", [b"\xff\xfe\x00nonsense", b"PK\x03\x04 cut off"])
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} "):
        files.read(tmp_path / name, "y" if name != "a.npz" else None)


def test_options_that_do_not_apply_are_refused(tmp_path, people):
    np.savez(tmp_path / "d.npz", x=np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"`impute` apply only to tables \(\.csv, .*d\.npz"):
        files.read(tmp_path / "d.npz", "y")
    with pytest.raises(ValueError, match="`image_size` is for folders of images"):
        files.read(people, "sick", image_size=(8, 8))
    for target in (None, "y"):
        with pytest.raises(ValueError, match="not of a known type"):
            files.read(write(tmp_path / "d.txt", "a"), target)
    for name in ("categorical", "drop"):
        with pytest.raises(ValueError, match=f"`{name}` must be a list.*Write {name}="):
            files.read(people, "sick", **{name: "sick"})
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*none\.csv"):
        files.read(tmp_path / "none.csv")


def test_hash_of_files_and_folders(photos, people):
    import hashlib

    assert files.sha256(people) == hashlib.sha256(people.read_bytes()).hexdigest()
    before = files.sha256(photos[0])
    assert before == files.sha256(photos[0])
    other_size(photos[0])
    assert files.sha256(photos[0]) != before
