"""HTML whose texts are escaped by construction."""

import re
from html import escape

VOID = {"meta", "img", "br", "wbr"}
# control characters, halves of pairs, and what turns the direction of the text behind it
UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
DECIMAL = re.compile(r"[−+≤ ]*[\d,]+(\.\d*)?")


class Html(str):
    """Markup. Any other text is escaped when it becomes part of an element."""


def join(children) -> Html:
    """Children one after the other: markup as it is, text escaped, lists flattened, None left out.

    Example:
    >>> join([tag("b", "a < b"), None, " & c"])
    '<b>a &lt; b</b> &amp; c'
    """
    parts = []
    for child in children:
        if isinstance(child, (list, tuple)):
            child = join(child)
        if child is not None:
            parts.append(child if isinstance(child, Html) else escape(_printable(str(child))))
    return Html("".join(parts))


def _text(value):
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _printable(text):
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def tag(name, /, *children, **attributes) -> Html:
    """An element.

    Attributes: `class_` means `class`, `aria_label` means `aria-label`; None is left out; floats
    are coordinates of pictures and get one decimal.
    """
    text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_printable(_text(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{text}>" + ("" if name in VOID else f"{join(children)}</{name}>"))


def facts(rows, caption) -> Html:
    """A table of names and values; those without a value are left out."""
    rows = [(name, value) for name, value in rows if value not in (None, "")]
    return tag("div", table(None, rows, caption), class_="facts")


def table(header, rows, caption, align=None) -> Html:
    """A table that scrolls on its own where it is wider than the page.

    Args:
        header: texts of the columns, or None for a table of names and values; the first column
            heads the rows.
        rows: sequences of cells: text, or elements `td` with attributes of their own.
        caption: what the table says, in a line.
        align: one letter a column, `l` or `r`: numbers are set right, point under point.
    """
    align = align or "l" * len(header or rows[0])
    columns = [
        aligned(cells) if side == "r" else cells
        for cells, side in zip(zip(*rows, strict=True), align, strict=False)
    ]
    sides = [{"class_": "number"} if side == "r" else {} for side in align]

    def row(cells):
        for i, (cell, side) in enumerate(zip(cells, sides, strict=True)):
            if isinstance(cell, Html) and cell.startswith("<td"):
                yield cell
            elif i == 0:
                yield tag("th", cell, scope="row", **side)
            else:
                yield tag("td", cell, **side)

    head = header and tag(
        "thead",
        tag(
            "tr",
            [
                tag("th", text, scope="col", **side)
                for text, side in zip(header, sides, strict=True)
            ],
        ),
    )
    body = [tag("tr", *row(cells)) for cells in zip(*columns, strict=True)]
    return tag(
        "div",
        tag("table", tag("caption", caption), head, tag("tbody", body)),
        class_="scroll",
        tabindex="0",
        role="group",
        aria_label=caption,
    )


def aligned(cells):
    """Plain decimal numbers, filled up with blanks of a digit's width to one number of decimals."""
    decimals = [
        len(str(cell).partition(".")[2]) + ("." in str(cell))
        if not isinstance(cell, Html) and DECIMAL.fullmatch(str(cell))
        else None
        for cell in cells
    ]
    most = max((n for n in decimals if n is not None), default=0)
    blanks = "\N{PUNCTUATION SPACE}" + "\N{FIGURE SPACE}" * most
    return [
        cell if n is None else f"{cell}{blanks[min(n, 1) : most + min(n, 1) - n]}"
        for cell, n in zip(cells, decimals, strict=True)
    ]


def breakable(name) -> Html:
    """A name that may be broken behind its underscores."""
    first, *rest = name.split("_")
    return join([first, *([Html("_"), tag("wbr"), part] for part in rest)])


def short(text, most) -> str:
    """A text cut to so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
