"""Sheets of workbooks as text: a line for each row, cells between commas."""

import csv
import io
import zipfile
from datetime import date, datetime, time

from lipkit._files.limits import TooLarge, check_bytes
from lipkit.data.delimited import some


def text(path, format) -> io.StringIO:
    """The cells of one sheet as a CSV file, in which numbers have all their digits.

    Args:
        path: an .xlsx file.
        format: a `Format`: which sheet, and the mark of decimals to write.

    Raises:
        ValueError: it is not a workbook, has several sheets, or formulas that nobody computed.
    """
    try:
        import openpyxl
    except ImportError:
        raise ImportError("Workbooks need openpyxl: pip install 'lipkit[tables]'.") from None
    try:
        with zipfile.ZipFile(path) as archive:
            check_bytes(path, sum(part.file_size for part in archive.infolist()), "its parts")
        values, formulas = (
            openpyxl.load_workbook(path, read_only=True, data_only=only) for only in (True, False)
        )
    except TooLarge:
        raise
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(
            f"{path} is not a readable workbook: {error}. Save it as .xlsx, without a password."
        ) from None
    try:
        name = _name(path, values.sheetnames, format.sheet)
        sheets = values[name], formulas[name]
        for sheet in sheets:
            sheet.reset_dimensions()  # which some programs write wrong
        return _written(path, zip(*(sheet.iter_rows() for sheet in sheets), strict=True), format)
    finally:
        values.close()
        formulas.close()


def _name(path, names, chosen):
    if chosen is None and len(names) > 1:
        raise ValueError(f"{path} has the sheets {some(names)}: choose one (--sheet {names[0]!r}).")
    if chosen is not None and chosen not in names:
        raise ValueError(f"{path} has no sheet {chosen!r} (--sheet). It has: {some(names)}.")
    return chosen or names[0]


def _written(path, rows, format):
    file, count = io.StringIO(newline=""), 0
    writer = csv.writer(file)
    for cells, formulas in rows:
        count += len(cells)
        check_bytes(path, 8 * count, "its cells")
        for cell, formula in zip(cells, formulas, strict=True):
            if formula.data_type == "f" and cell.value is None:
                raise ValueError(
                    f"{path} has a formula without a value in {formula.coordinate}. Open it in a "
                    "spreadsheet program and save it there, or paste values over the formulas."
                )
        if any(cell.value is not None for cell in cells):
            writer.writerow([_cell(cell.value, format.decimal) for cell in cells])
    file.seek(0)
    return file


def _cell(value, decimal):
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()
    if isinstance(value, (date, time)):
        return value.isoformat()
    return repr(value).replace(".", decimal) if isinstance(value, float) else value
