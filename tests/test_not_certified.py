"""The page of what is refused says what the reader refuses, for the same reasons."""

import re
from pathlib import Path

import pytest

from lipkit.certifier.reader import registry
from lipkit.certifier.reader.onnx import walk

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "not-certified.md"


@pytest.mark.parametrize(("head", "reasons"), [("layers", registry), ("operators", walk)])
def test_the_page_lists_what_is_refused_with_reason_and_way_out(head, reasons):
    rows = re.split(rf"^\| {head} \| .*\n\|-.*\n", PAGE.read_text(), flags=re.MULTILINE)[1]
    listed = {}
    for row in re.match(r"(\|.*\n)*", rows)[0].splitlines():
        names, reason, way_out = (cell.strip() for cell in row.strip("|").split("|"))
        assert way_out
        listed.update(dict.fromkeys(re.findall("`(.*?)`", names), reason))
    assert listed == reasons.REASONS
