"""Files as people have them: each is read right, or refused in a line that names the way out."""

import datetime
import decimal
import gzip
import struct
import zlib

import numpy as np
import openpyxl
import pandas
import pytest
from PIL import Image

from lipkit.data import Format, files

pytestmark = pytest.mark.once

X, Y = [[1.5, 2], [-3, 4e-7]], ["u", "v"]
PLAIN = "a,b,y\n1.5,2,u\n-3,4e-7,v\n"
GERMAN = "a;b;y\n1,5;2;u\n-3;4e-7;v\n"
COMMA = {"format": Format(decimal=",")}


def missing(*texts, **options):
    return {"format": Format(missing=texts), **options}


def check(data, x, labels):
    np.testing.assert_array_equal(data.x, x)
    assert [data.classes[number] for number in data.y] == list(labels)


ONE = "a,y\n{},u\n{},v\n"  # one column of numbers

READ_TEXTS = {
    "plain": (PLAIN, {}, X, Y),
    "semicolons": (PLAIN.replace(",", ";"), {}, X, Y),
    "tabs": (PLAIN.replace(",", "\t"), {}, X, Y),
    "bars": (PLAIN.replace(",", "|"), {}, X, Y),
    "decimal commas": (GERMAN, COMMA, X, Y),
    "decimal commas in quotes": ('a,b,y\n"1,5",2,u\n-3,"4e-7",v\n', COMMA, X, Y),
    "a line for Excel": ("sep=;\n" + GERMAN, COMMA, X, Y),
    "a line for Excel, of tabs": ("sep=\t\r\n" + PLAIN.replace(",", "\t"), {}, X, Y),
    "a mark of UTF-8": (PLAIN.encode("utf-8-sig"), {}, X, Y),
    "UTF-16": (PLAIN.encode("utf-16"), {}, X, Y),
    "UTF-16, the other bytes first": (b"\xfe\xff" + PLAIN.encode("utf-16-be"), {}, X, Y),
    "UTF-16 for Excel": (b"\xff\xfe" + ("sep=;\n" + GERMAN).encode("utf-16-le"), COMMA, X, Y),
    "Latin-1": (
        ONE.replace("u", "grün").format(1, 2).encode("latin-1"),
        {"format": Format(encoding="latin-1")},
        [[1], [2]],
        ["grün", "v"],
    ),
    "lines of Windows": (PLAIN.replace("\n", "\r\n"), {}, X, Y),
    "no end of the last line": (PLAIN.rstrip("\n"), {}, X, Y),
    "empty lines": ("\n" + PLAIN.replace("\n", "\n\n"), {}, X, Y),
    "blanks after separators": (PLAIN.replace(",", ", "), {}, X, Y),
    "blanks after names": (PLAIN.replace("a,b", "a ,b "), {}, X, Y),
    "separators at the ends of lines": (PLAIN.replace("\n", ",\n"), {}, X, Y),
    "quotes around all": ('"a","b","y"\n"1.5","2","u"\n"-3","4e-7","v"\n', {}, X, Y),
    "lines and separators in quotes": (
        'a,y\n1,"u, and\nmore"\n2,v\n',
        *({}, [[1], [2]], ["u, and\nmore", "v"]),
    ),
    "question marks": (
        *(ONE.format("?", 2), missing("?", impute=True)),
        *([[np.nan], [2]], Y),
    ),
    "two texts for missing": (
        "a,y\n-,u\nunknown,v\n3,v\n",
        *(missing("-", "unknown", impute=True), [[np.nan], [np.nan], [3]], [*Y, "v"]),
    ),
    "a number for missing": (
        *(ONE.format(-999, 2.5), missing("-999", impute=True)),
        *([[np.nan], [2.5]], Y),
    ),
    "NA, null, None and nothing": (
        "a,b,c,d,y\nNA,null,None,,u\n1,2,3,4,v\n",
        *({"impute": True}, [[np.nan] * 4, [1, 2, 3, 4]], Y),
    ),
    "the index of a table": (
        "," + PLAIN.replace("\n1.5", "\n0,1.5").replace("\n-3", "\n1,-3"),
        *({"drop": ["Unnamed: 0"]}, X, Y),
    ),
    "names of rows": (
        "id,a,y\n007,1,u\n008,2,v\n",
        *({"id": "id"}, [[1], [2]], Y),
    ),
    "a constant column": ("a,b,y\n1,5,u\n2,5,v\n", {}, [[1, 5], [2, 5]], Y),
    "yes and no": (ONE.format("yes", "no"), {}, [[0, 1], [1, 0]], Y),
    "True and False": (ONE.format("True", "False"), {}, [[1], [0]], Y),
    "TRUE and false": (ONE.format("TRUE", "false"), {}, [[1], [0]], Y),
    "0 and 1": (ONE.format(0, 1), {}, [[0], [1]], Y),
    "a negative zero": (ONE.format("-0.0", 1), {}, [[0], [1]], Y),
    "numbers as 1e5 and .5": (ONE.format("1E+5", ".5"), {}, [[1e5], [0.5]], Y),
    "labels that are numbers": ("a,y\n1,3\n2,1\n", {}, [[1], [2]], ["3", "1"]),
    "unicode names": ("größe,y\n1,日本\n2,語\n", {}, [[1], [2]], ["日本", "語"]),
    "emoji labels": ("a,y\n1,🙂\n2,🙃\n", {}, [[1], [2]], ["🙂", "🙃"]),
    "dates": (
        ONE.format("1970-01-02", "1969-12-31 12:00"),
        *({"dates": ["a"]}, [[1], [-0.5]], Y),
    ),
    "dates of Germany": (ONE.format("2.1.1970", "31.1.1970"), {"dates": ["a"]}, [[1], [30]], Y),
    "dates of America": (ONE.format("1/2/1970", "1/31/1970"), {"dates": ["a"]}, [[1], [30]], Y),
    "dates with time zones": (
        ONE.format("1970-01-02T00:00:00Z", "1970-01-02T12:00:00+06:00"),
        *({"dates": ["a"]}, [[1], [1.25]], Y),
    ),
    "a missing date": (
        ONE.format("1970-01-02", ""),
        *({"dates": ["a"], "impute": True}, [[1], [np.nan]], Y),
    ),
    "codes as categories": (
        ONE.format("007", "7"),
        *({"categorical": ["a"]}, [[1, 0], [0, 1]], Y),
    ),
}


@pytest.mark.parametrize("case", READ_TEXTS)
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_texts_that_are_read(case, suffix, tmp_path):
    content, options, x, labels = READ_TEXTS[case]
    content = content if isinstance(content, bytes) else content.encode()
    path = tmp_path / f"d.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == "csv.gz" else content)
    check(files.read(path, "y", **options), x, labels)


NUMBERS = "Column 'a' has numbers written as text or mixed with text"
# what pandas 2 reads as texts
BEYOND = "numbers that float64 does not hold: .* in row 2.*--drop 'a'"
REFUSED_TEXTS = {
    "nothing": ("", {}, "is empty: it needs a line of names"),
    "blank lines": ("\n\n", {}, "is empty: it needs a line of names"),
    "names alone": ("a,y\n", {}, "no rows below its column names"),
    "no names": ("1,2\n3,4\n", {}, "numbers in its first line.*Add a line of names"),
    "no names, texts": ("1,2,u\n3,4,v\n", {}, "no column 'y'.*Its first line must name"),
    "a title above": ("Table 1\na,y\n1,u\n", {}, "Delete lines above the names"),
    "a title with separators": (f"Table 1,,\n{PLAIN}", {}, "no column 'y'.*first line must name"),
    "comments above": (f"# made by hand\n{PLAIN}", {}, "Delete lines above the names"),
    "names twice": ("a,a,y\n1,2,u\n", {}, "more than one column named 'a'. Rename them"),
    "long rows": ("a,y\n1,u,5\n2,v,6\n", {}, "more cells than .* name all columns"),
    "long rows after a blank line": ("a,y\n\n1,u,5\n2,v,6\n", {}, "name all columns"),
    "one long row": ("a,y\n1,u\n2,v,w\n", {}, "line 3.*put quotes around texts"),
    "one short row": ("a,b,y\n1,2,u\n3\n", {}, "Target 'y' has 1 missing.*row 2. Fill"),
    "a column without a name": (",a,y\n0,1,u\n1,2,v\n", {}, "--drop 'Unnamed: 0'"),
    "a column without values": ("a,b,y\n1,,u\n2,,v\n", {}, "'b' has no values: --drop 'b'"),
    "names of rows as a column": (
        "a,y\n" + "".join(f"n{i}x,{i % 2}\n" for i in range(101)),
        *({}, "101 different texts.*--drop 'a'.*--categorical 'a'.*--id 'a'"),
    ),
    "Latin-1": ("a,y\n1,grün\n".encode("latin-1"), {}, "not text in utf-8.*--encoding latin-1"),
    "UTF-16 that is cut": (b"\xff\xfea", {}, "not text in utf-16.*--encoding latin-1"),
    "decimal commas": (GERMAN, {}, f"{NUMBERS}: '1,5' in row 1.*--decimal ,"),
    "decimal commas, exponents and a question mark": (
        "a;y\n4,5e-06;u\n?;v\n",
        *({}, f"{NUMBERS}: '4,5e-06'.*--decimal ,.*If '\\?' stands.*--missing '\\?'"),
    ),
    "decimal points": (PLAIN.replace(",", ";"), COMMA, f"{NUMBERS}: '1.5'.*--decimal \\."),
    "thousands": ('a,y\n"1,234",u\n5,v\n', {}, f"{NUMBERS}: '1,234'.*thousands, take it out"),
    "thousands and decimals": (
        *('a,y\n"1,234.5",u\n5,v\n', {}, f"{NUMBERS}: '1,234.5'.*without .*thousands"),
    ),
    "German thousands": ("a;y\n1.234,5;u\n5;v\n", COMMA, f"{NUMBERS}: '1.234,5'.*thousands"),
    "blanks in thousands": ("a,y\n1 234,u\n5,v\n", {}, f"{NUMBERS}: '1 234'.*thousands"),
    "currency": ("a,y\n$5,u\n$6,v\n", {}, f"{NUMBERS}: '\\$5'.*without .*currency"),
    "euros": ("a,y\n5 €,u\n6,v\n", {}, f"{NUMBERS}: '5 €'.*without .*currency"),
    "per cent": ("a,y\n5%,u\n6%,v\n", {}, f"{NUMBERS}: '5%'.*without .*percent"),
    "a question mark": (ONE.format("?", 2), {}, f"{NUMBERS}: .*--missing '\\?'"),
    "a dash": (ONE.format("-", 2), {}, f"{NUMBERS}: .*--missing '-'"),
    "a word": (ONE.format(1, "unknown"), {}, "in row 2.*--missing 'unknown'.*--categorical 'a'"),
    "missing cells": (ONE.format(1, ""), {}, "a .1, first in row 2.*--impute median.*--drop"),
    "blank cells": (ONE.format(1, "  "), {}, "a .1, first in row 2.*--impute median"),
    "an infinite number": (ONE.format(1, "inf"), {}, "row 2: column 'a'.*has inf.*--drop"),
    "a number beyond all formats": (ONE.format(1, "1e400"), {}, f"row 2: .*has inf|{BEYOND}"),
    "a number beyond float32": (ONE.format(1, "1e39"), {}, r"row 2: .*has 1e\+39"),
    "huge integers": (ONE.format(1, 2**60), {}, "integers above 2.*Subtract.*--drop"),
    "integers beyond all formats": (
        *(ONE.format(1, 10**30), {}, f"integers above 2.*--drop|{BEYOND}"),
    ),
    "times in seconds": (
        *(ONE.format(1700000001, 1700000002), {}, "does not fit float32.*Subtract.*--drop 'a'"),
    ),
    "dates": (ONE.format("2024-01-01", "2024-01-02"), {}, "has dates .*--dates 'a'.*--drop 'a'"),
    "dates of Germany": (ONE.format("1.2.2024", "2.2.2024"), {}, "has dates .*--dates 'a'"),
    "dates without an order": (
        *(ONE.format("1/2/2024", "2/2/2024"), {"dates": ["a"]}, "day and month.*YYYY-MM-DD"),
    ),
    "a date that is none": (
        *(ONE.format("2024-01-01", "soon"), {"dates": ["a"]}, "'soon', which is not.*YYYY-MM-DD"),
    ),
    "a date that does not exist": (
        *(ONE.format("2024-02-30", "2024-01-01"), {"dates": ["a"]}, "'2024-02-30', which is not"),
    ),
    "a long text": (ONE.format("x" * 2000, 2), {"categorical": ["a"]}, "2000 characters.*Shorten"),
    "a target with missing values": ("a,y\n1,u\n2,\n", {}, "first in row 2. Fill them in"),
    "a continuous target": ("a,y\n1,0.5\n2,1.5\n", {}, "continuous.*Turn it into classes"),
    "a target of names": (
        "a,y\n" + "".join(f"1,n{i}\n" for i in range(60)),
        *({}, "60 different values.*each with several rows"),
    ),
    "another name of the target": ("a,b\n1,u\n", {}, "no column 'y'. It has: 'a', 'b'"),
    "nothing but a target": ("y\nu\nv\n", {}, "no column besides 'y'.*Add columns"),
    "one column for two things": (
        *(PLAIN, {"id": "y"}, "'y' cannot be both --id and --target: choose one"),
    ),
    "a separator of its own": ("a~y\n1~u\n", {}, "no column 'y'. It has: 'a~y'"),
}


@pytest.mark.parametrize("case", REFUSED_TEXTS)
def test_texts_that_are_refused(case, tmp_path):
    content, options, message = REFUSED_TEXTS[case]
    (tmp_path / "d.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        files.read(tmp_path / "d.csv", "y", **options)


def workbook(path, *sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return book


ROWS = [["a", "b", "y"], [1.5, 2, "u"], [-3, 4e-7, "v"]]
DATES = [["when", "y"], [datetime.datetime(1970, 1, 2), "u"], [datetime.date(1970, 2, 1), "v"]]
PRECISE = [["a", "y"], [0.1234567890123456, "u"], [123456789.1234568, "v"]]
READ_SHEETS = {
    "plain": ([("S", ROWS)], {}, X, Y),
    "with decimal commas": ([("S", ROWS)], COMMA, X, Y),
    "one of several": ([("About", [["made by me"]]), ("S", ROWS)], {"format": Format(sheet="S")}),
    "empty rows": ([("S", [*ROWS[:2], [], ROWS[2], [None, None]])], {}),
    "empty columns": ([("S", [[*row, None, None] for row in ROWS])], {}),
    "numbers as texts": ([("S", [ROWS[0], ["1.5", "2", "u"], ["-3", "4e-7", "v"]])], {}),
    "dates": ([("S", DATES)], {"dates": ["when"]}, [[1], [31]], Y),
    "all digits": ([("S", PRECISE)], {}, [[0.1234567890123456], [123456789.1234568]], Y),
    "booleans": ([("S", [["a", "y"], [True, "u"], [False, "v"]])], {}, [[1], [0]], Y),
    "missing": (
        [("S", [["a", "y"], ["?", "u"], [1, "v"]])],
        missing("?", impute=True),
        [[np.nan], [1]],
        Y,
    ),
}


@pytest.mark.parametrize("case", READ_SHEETS)
def test_workbooks_that_are_read(case, tmp_path):
    sheets, options, x, labels = (*READ_SHEETS[case], X, Y)[:4]
    workbook(tmp_path / "d.xlsx", *sheets)
    check(files.read(tmp_path / "d.xlsx", "y", **options), x, labels)


def merged(path):
    book = workbook(path, ("S", [["size", None, "y"], [1, 2, "u"], [3, 4, "v"]]))
    book["S"].merge_cells("A1:B1")
    book.save(path)


REFUSED_SHEETS = {
    "formulas that nobody computed": (
        lambda path: workbook(path, ("S", [["a", "y"], [1, "u"], ["=A2+1", "v"]])),
        "formula without a value in A3.*save it there, or paste values",
    ),
    "several sheets": (
        lambda path: workbook(path, ("S", ROWS), ("T", ROWS)),
        "has the sheets 'S', 'T': choose one .--sheet 'S'",
    ),
    "dates": (lambda path: workbook(path, ("S", DATES)), "'when' has dates .*--dates 'when'"),
    "merged names": (merged, "Column 1 has no name.*name it in the file"),
    "errors": (
        lambda path: workbook(path, ("S", [["a", "y"], ["#DIV/0!", "u"], [1, "v"]])),
        f"{NUMBERS}: '#DIV/0!' in row 1",
    ),
    "an empty sheet": (lambda path: workbook(path, ("S", [])), "is empty: it needs a line"),
    "no workbook": (lambda path: path.write_bytes(b"\xd0\xcf\x11\xe0"), "Save it as .xlsx"),
}


@pytest.mark.parametrize("case", REFUSED_SHEETS)
def test_workbooks_that_are_refused(case, tmp_path):
    make, message = REFUSED_SHEETS[case]
    make(tmp_path / "d.xlsx")
    with pytest.raises(ValueError, match=message):
        files.read(tmp_path / "d.xlsx", "y")


def test_a_sheet_that_is_not_there(tmp_path):
    workbook(tmp_path / "d.xlsx", ("S", ROWS))
    with pytest.raises(ValueError, match="no sheet 'T' .--sheet.. It has: 'S'"):
        files.read(tmp_path / "d.xlsx", "y", format=Format(sheet="T"))


DAYS = pandas.to_datetime(["1970-01-02", "1970-02-01"])
READ_PARQUET = {
    "decimals": ([decimal.Decimal("1.5"), decimal.Decimal("0.1")], {}, [[1.5], [0.1]]),
    "integers or nothing": (
        *(pandas.array([1, None], "Int64"), {"impute": True}, [[1], [np.nan]]),
    ),
    "categories": (pandas.Categorical(["q", "p"]), {}, [[0, 1], [1, 0]]),
    "dates": (DAYS, {"dates": ["a"]}, [[1], [31]]),
    "days": ([day.date() for day in DAYS], {"dates": ["a"]}, [[1], [31]]),
    "dates with time zones": (
        *(DAYS.tz_localize("UTC").tz_convert("Europe/Paris"), {"dates": ["a"]}, [[1], [31]]),
    ),
    "dates as texts": (["2.1.1970", "31.1.1970"], {"dates": ["a"]}, [[1], [30]]),
    "booleans": ([True, False], {}, [[1], [0]]),
    "a number for missing": ([-999, 2], missing("-999", impute=True), [[np.nan], [2]]),
    "small floats": (np.array([0.5, 2], "float16"), {}, [[0.5], [2]]),
}
REFUSED_PARQUET = {
    "lists": ([[1], [2]], "type mixed, .*--drop 'a'"),
    "dates": (DAYS, "has dates: .*--dates 'a'.*--drop 'a'"),
    "durations": (pandas.to_timedelta([1, 2], "D"), "type timedelta64.*--drop 'a'"),
    "numbers as texts": (["1", "2"], f"{NUMBERS}.*--categorical 'a'"),
}


def parquet(folder, column):
    pandas.DataFrame({"a": column, "y": Y}).to_parquet(folder / "d.parquet")
    return folder / "d.parquet"


@pytest.mark.parametrize("case", READ_PARQUET)
def test_parquet_files_that_are_read(case, tmp_path):
    column, options, x = READ_PARQUET[case]
    check(files.read(parquet(tmp_path, column), "y", **options), x, Y)


@pytest.mark.parametrize("case", REFUSED_PARQUET)
def test_parquet_files_that_are_refused(case, tmp_path):
    column, message = REFUSED_PARQUET[case]
    with pytest.raises(ValueError, match=message):
        files.read(parquet(tmp_path, column), "y")


PIXELS = np.arange(8, dtype="uint8").reshape(2, 2, 2)
READ_ARRAYS = {
    "half precision": ({"x": np.array([[0.5], [2]], "float16"), "y": Y}, [[0.5], [2]]),
    "texts as classes": ({"x": [[1], [2]], "y": Y}, [[1], [2]]),
    "named classes": ({"x": [[1], [2]], "y": [1, 0], "classes": ["v", "u"]}, [[1], [2]]),
    "grey images": ({"x": PIXELS, "y": Y}, PIXELS[..., None]),
    "images of one channel": ({"x": PIXELS[..., None], "y": Y}, PIXELS[..., None]),
}
REFUSED_ARRAYS = {
    "objects": ({"x": np.array([[{}], [1]], dtype=object)}, "holds objects"),
    "one axis": ({"x": np.ones(3)}, "must hold numbers of shape .n, ...."),
    "five axes": ({"x": np.ones((1,) * 5)}, "with 2 to 4 axes"),
    "another name": ({"data": np.ones((2, 2))}, "needs an array 'x'. It has: data"),
    "one-hot classes": ({"x": np.ones((2, 1)), "y": np.eye(2)}, r"it is y.argmax\(axis=1\)"),
    "too few classes": ({"x": np.ones((2, 1)), "y": [1]}, "give each row of x a class"),
    "a missing number": ({"x": [[1.0], [np.nan]]}, "first in row 2. Leave these rows out"),
    "texts": ({"x": [["a"], ["b"]]}, "x must hold numbers"),
}


@pytest.mark.parametrize("case", READ_ARRAYS)
def test_arrays_that_are_read(case, tmp_path):
    arrays, x = READ_ARRAYS[case]
    np.savez(tmp_path / "d.npz", **arrays)
    check(files.read(tmp_path / "d.npz"), x, Y)


@pytest.mark.parametrize("case", REFUSED_ARRAYS)
def test_arrays_that_are_refused(case, tmp_path):
    arrays, message = REFUSED_ARRAYS[case]
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        files.read(tmp_path / "d.npz")


DEEP = np.array([[0, 1], [257, 65535]], "uint16")
COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], "uint8")


def pictures(folder, u, v, suffix="png"):
    """A folder with an image of each class."""
    for label, image in zip(Y, (u, v), strict=True):
        (folder / label).mkdir(exist_ok=True)
        image.save(folder / label / f"1.{suffix}")
    return folder


GREY, RED = Image.new("L", (2, 2), 51), Image.fromarray(COLOURS)
FOLDERS = {
    "16 bits": (Image.fromarray(DEEP), DEEP[..., None] / 65535),
    "16 bits in TIFF": (Image.fromarray(DEEP), DEEP[..., None] / 65535, "tiff"),
    "colours": (RED, COLOURS / 255),
    "no transparency": (RED.convert("RGBA"), COLOURS / 255),
    "a palette": (RED.quantize(4), COLOURS / 255),
    "black and white": (Image.new("1", (2, 2), 1), np.ones((2, 2, 1))),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_images_that_are_read(case, tmp_path):
    image, x, suffix = (*FOLDERS[case], "png")[:3]
    pictures(tmp_path, image, GREY, suffix)
    for name in (".DS_Store", "Thumbs.db", ".hidden.png"):
        (tmp_path / "u" / name).write_bytes(b"\0")
    check(files.read(tmp_path), [x, np.full(x.shape, 0.2)], Y)


def test_bitmaps_with_16_bits_for_all_colours_are_read(tmp_path):
    """5, 6 and 5 bits: white and red, which 8 bits have."""
    head = struct.pack("<2sIHHI", b"BM", 70, 0, 0, 66)
    about = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    (tmp_path / "1.bmp").write_bytes(head + about + masks + struct.pack("<HH", 0xFFFF, 0xF800))
    np.testing.assert_array_equal(files.read(tmp_path).x, [[[[1, 1, 1], [1, 0, 0]]]])


def test_16_bits_are_resized_and_mixed_with_colours(tmp_path):
    deep = Image.fromarray(np.full((4, 4), 13107, "uint16"))  # a fifth of 65535
    data = files.read(pictures(tmp_path, deep, RED), image_size=(2, 2))
    np.testing.assert_allclose(data.x[0], np.full((2, 2, 3), 0.2))


def other_size(folder):
    Image.new("L", (3, 2)).save(folder / "u" / "2.png")


def transparent(folder):
    Image.new("RGBA", (2, 2)).save(folder / "u" / "2.png")


def animated(folder):
    GREY.save(folder / "u" / "2.gif", save_all=True, append_images=[Image.new("L", (2, 2))])


def corrupt(folder):
    (folder / "u" / "2.png").write_bytes(b"\x89PNG")


def deep_colours(folder):
    """A PNG of two pixels with 16 bits for each colour, which Pillow does not write."""
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress(b"\0" + np.arange(6, dtype=">u2").tobytes()),
        b"IEND": b"",
    }
    with (folder / "u" / "2.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in parts.items():
            check = zlib.crc32(name + data)
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", check))


def beside(folder):
    GREY.save(folder / "1.png")


def nested(folder):
    (folder / "train").mkdir()
    for label in Y:
        (folder / label).rename(folder / "train" / label)


def emptied(folder):
    for path in folder.glob("*/*"):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_size, "2 x 3 pixels, expected 2 x 2.*--image-size HEIGHT,WIDTH"),
        (transparent, "transparent in places: save it without transparency"),
        (animated, "2.gif has 2 frames: save each as an image of its own"),
        (deep_colours, "2.png has pixels of mode RGB that do not have 8 bits.*save it with 8"),
        (corrupt, "2.png is not a readable image"),
        (beside, "1.png: put each into the sub-folder of its class"),
        (nested, "one folder too deep: choose .*train"),
        (emptied, "no images: expected one sub-folder for each class"),
    ],
)
def test_images_that_are_refused(change, message, tmp_path):
    change(pictures(tmp_path, GREY, GREY))
    with pytest.raises(ValueError, match=message):
        files.read(tmp_path)


def test_a_class_that_is_not_known_is_none(tmp_path, said):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n1,u\n2,U\n3,v\n")
    encoding = {"columns": [{"name": "a", "kind": "number", "categories": []}]}
    options = {"encoding": encoding, "classes": ("u", "v")}
    assert files.read(path, "y", partly=True, **options).y.tolist() == [0, -1, 1]
    assert "'U'; the model has 'u', 'v'. 1 rows count as if they had no class" in said[-1]
    with pytest.raises(ValueError, match="has the class 'U'.*Correct it"):
        files.read(path, "y", **options)
    with pytest.raises(ValueError, match="has the class '1'"):  # another column
        files.read(path, "a", partly=True, encoding={"columns": []}, classes=("u", "v"))


def test_one_bad_image_does_not_refuse_a_folder(tmp_path):
    folder = pictures(tmp_path, GREY, GREY)
    whole = files.read(folder)
    corrupt(folder)
    damaged = [path.name for path in sorted(folder.glob("*/*"))].index("2.png")
    for encoding in (None, whole.encoding):
        data = files.read(folder, encoding=encoding, partly=True)
        (row, problem), *others = data.problems.items()
        assert row == damaged and "2.png is not a readable image" in problem and not others
        assert np.isnan(data.x[row]).all()
        np.testing.assert_array_equal(np.delete(data.x, row, axis=0), whole.x)
    for path in folder.glob("*/*"):
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="is not a readable image"):
        files.read(folder, partly=True)


@pytest.fixture
def said(monkeypatch):
    """What the package warned of."""
    texts = []
    monkeypatch.setattr("lipkit.data.labels.LOG.warning", lambda text, *a: texts.append(text % a))
    return texts


def test_labels_that_are_nearly_others_are_said(tmp_path, said):
    rows = "a,sex,y\n1,F,benign\n2,f,Benign \n3,F ,bad\n"
    (tmp_path / "d.csv").write_text(rows)
    assert files.read(tmp_path / "d.csv", "y").classes == ("Benign ", "bad", "benign")
    assert any("Target 'y' has 'Benign ' and 'benign'" in text for text in said)
    assert sum("Column 'sex' has 'F' and" in text for text in said) == 2
    said.clear()
    (tmp_path / "d.csv").write_text("a,y\n1,sick \n2,well\n")
    files.read(tmp_path / "d.csv", "y")
    assert said == ["Target 'y' has 'sick ', with blanks around it"]


def test_files_that_are_not_images_are_said(tmp_path, said):
    pictures(tmp_path, GREY, GREY)
    for name in ("notes.txt", ".DS_Store", "Thumbs.db"):
        (tmp_path / "u" / name).write_text("")
    assert files.read(tmp_path).x.shape == (2, 2, 2, 1)
    assert [text.partition(": ")[2] for text in said] == ["left out as not images: 'notes.txt'"]


def test_there_are_at_least_60_messy_inputs():
    tables = (READ_TEXTS, REFUSED_TEXTS, READ_SHEETS, REFUSED_SHEETS)
    assert sum(map(len, tables)) > 100
