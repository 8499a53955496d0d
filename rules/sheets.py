"""A table as the bytes of a CSV or XLSX file, and back. No file is opened here: bytes in, bytes out.

CSV is UTF-8, with a byte order mark or without, apart by commas, semicolons or tabs (whichever the first line has). XLSX is
one sheet without formulas; its size is looked at before anything of it is unpacked."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import Any, NoReturn
from warnings import catch_warnings, simplefilter

from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.utils.exceptions import IllegalCharacterError

from .conditions import Fault
from .language import RulesetError
from .tables import MAX_CELL, MAX_COLUMNS, MAX_ROWS, Cell, Table, column_name

MAX_BYTES = 1024 * 1024
_MAX_UNPACKED = 4 * 1024 * 1024
_MAX_PARTS = 100
_MAX_TAGS = 60_000
_EXACT = 10**15


def read_table(raw: bytes) -> list[list[Cell]]:
    """The table in an XLSX or CSV file. Raises RulesetError with a cell, or a line, and a reason."""
    if len(raw) > MAX_BYTES:
        _refuse("", f"larger than {MAX_BYTES} bytes")
    return _read_xlsx(raw) if raw[:2] == b"PK" else _read_csv(raw)


# --- CSV ------------------------------------------------------------------------------------------------------------


def _read_csv(raw: bytes) -> list[list[Cell]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse("", f"not UTF-8 at byte {error.start}: save the file as CSV UTF-8")
    if "\x00" in text:
        _refuse("", "a NUL character: save the file as CSV UTF-8")
    first = text.partition("\n")[0]
    apart = max(",;\t", key=first.count)
    rows: list[list[Cell]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=apart, strict=True)
    try:
        for row in reader:
            rows.append([_bounded(cell, len(rows), place) for place, cell in enumerate(row)])
            if len(rows) > MAX_ROWS:
                _refuse(f"A{len(rows)}", f"more than {MAX_ROWS - 1} rows")
    except csv.Error as error:
        _refuse(f"line {reader.line_num}", f"not CSV: {error}")
    return rows


def _bounded(cell: str, row: int, place: int) -> str:
    if place >= MAX_COLUMNS or len(cell) > MAX_CELL:
        limit = f"more than {MAX_COLUMNS} columns" if place >= MAX_COLUMNS else f"more than {MAX_CELL} characters"
        _refuse(f"{column_name(place)}{row + 1}", limit)
    return cell


def write_csv(table: Table) -> bytes:
    """The table as UTF-8 CSV with a byte order mark, so that spreadsheets read it as what it is."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["" if cell is None else cell for cell in row] for row in table])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


# --- XLSX -----------------------------------------------------------------------------------------------------------


def _read_xlsx(raw: bytes) -> list[list[Cell]]:
    _check_archive(raw)
    try:
        with catch_warnings():
            simplefilter("ignore")  # openpyxl warns about styles and extensions that do not concern us
            book = load_workbook(io.BytesIO(raw), read_only=True, keep_links=False)
            if len(book.worksheets) != 1:
                _refuse("", f"a workbook of one sheet, not of {len(book.worksheets)}")
            return _read_sheet(book.worksheets[0])
    except RulesetError:
        raise
    except Exception as error:  # noqa: BLE001 - openpyxl raises whatever a damaged part makes it stumble over
        _refuse("", f"not a workbook that can be read: {type(error).__name__}")


def _check_archive(raw: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            parts = archive.infolist()
            if len(parts) > _MAX_PARTS or sum(part.file_size for part in parts) > _MAX_UNPACKED:
                _refuse("", f"a workbook of more than {_MAX_PARTS} parts or {_MAX_UNPACKED} bytes unpacked")
            tags = sum(archive.read(part).count(b"<") for part in parts)
    except RulesetError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged archive fails in more ways than zipfile names
        _refuse("", f"not a workbook: {str(error)[:100]}")
    if tags > _MAX_TAGS:  # what takes long is not bytes but cells
        _refuse("", "a workbook of more cells than a table of rules has")


def _read_sheet(sheet: Any) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    sheet.reset_dimensions()  # what a sheet says of its own size is not believed
    for number, row in enumerate(sheet.iter_rows(max_row=MAX_ROWS + 1), 1):
        # Rows beyond the last one asked for come as empty ones: they are refused, or something would be lost.
        if number > MAX_ROWS:
            _refuse(f"A{number}", f"more than {MAX_ROWS - 1} rows: delete those below, also when they are empty")
        if len(row) > MAX_COLUMNS:
            _refuse(f"{column_name(MAX_COLUMNS)}{number}", f"more than {MAX_COLUMNS} columns, empty ones included")
        cells = [_read_cell(cell, f"{column_name(place)}{number}") for place, cell in enumerate(row)]
        while cells and cells[-1] is None:
            cells.pop()
        rows.append(cells)
    while rows and not rows[-1]:
        rows.pop()
    return rows


def _read_cell(cell: Any, at: str) -> Cell:
    value, kind = cell.value, cell.data_type
    if value is None:
        return None
    if kind == "f":
        _refuse(at, "a formula: put in its value")
    if kind == "e":
        _refuse(at, f"an error: {str(value)[:20]}")
    if isinstance(value, bool | int | str):
        return value
    if not (isinstance(value, float) and value.is_integer() and abs(value) < _EXACT):
        _refuse(at, "a date or a number with decimals: write it as text")
    return int(value)


def write_xlsx(table: Table) -> bytes:
    """The table as a workbook of one sheet. Every text is a text, whatever it begins with. Raises RulesetError with the
    cell for characters no workbook can hold."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet("rules")
    for number, row in enumerate(table, 1):
        sheet.append([_write_cell(sheet, cell, f"{column_name(place)}{number}") for place, cell in enumerate(row)])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _write_cell(sheet: Any, value: Cell, at: str) -> Any:
    exact = str(value) if type(value) is int and abs(value) >= _EXACT else value  # Excel keeps 15 digits of a number
    if isinstance(exact, str) and any(letter in exact for letter in "\ufffe\uffff"):
        _refuse(at, "a character that no workbook can hold")
    try:
        cell: Any = WriteOnlyCell(sheet, value=exact)
    except IllegalCharacterError:
        _refuse(at, "a character that no workbook can hold")
    if isinstance(exact, str):
        cell.data_type = "s"
    return cell


def _refuse(at: str, reason: str) -> NoReturn:
    raise RulesetError([Fault(at, reason)])
