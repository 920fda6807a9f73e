"""The long description: the README as a package index can show it, without files beside it."""

import re
from pathlib import Path

from setuptools import setup

text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
text = re.sub(r"(?m)^!\[[^]]*\]\((?!https?:).*\)\n\n\*.*\*\n\n", "", text)  # figure and caption
text = re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", text)
setup(long_description=text, long_description_content_type="text/markdown")
