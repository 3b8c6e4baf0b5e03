"""What the documents name is there, and Hydra understands what they write after -S."""

import os
import re
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.helpers import ROOT


def named_tests(text):
    """Give (file, test) of each `file::test`; a bare `::test` is of the file named before it."""
    file = None
    for found, name in re.findall(r"`(test_\w+\.py)?::(test_\w+)`", text):
        file = found or file
        yield file, name


@pytest.mark.parametrize("document", ["reliability", "upgrading"])
def test_every_test_that_a_document_names_exists(document):
    named = list(named_tests((ROOT / f"docs/{document}.md").read_text(encoding="utf-8")))
    assert len(named) > 30
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"def {name}(" not in (ROOT / "tests" / file).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_every_relative_link_leads_to_a_file():
    for document in [*ROOT.glob("*.md"), *ROOT.glob("*/*.md")]:
        if ".venv" in document.parts or document.parts[-2] == ".work":
            continue
        text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.S)
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in link and not link.startswith("data:"):
                assert (document.parent / link).exists(), f"{document}: {link}"


def settings(text):
    """Give what stands after each -S, as a shell hands it on: a word, with its quotes if any."""
    for words in re.findall(r"""-S ((?:"[^"\n]*"|'[^'\n]*'|[^\s"'`])+)""", text):
        if "=" in words and words.split("=", 1)[1].strip(").;,"):
            yield shlex.split(os.path.expandvars(words))[0]


DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("conf/**/*.yaml")]


def test_hydra_understands_every_setting_that_is_shown():
    parser = OverridesParser.create()
    found = [each for path in DOCUMENTS for each in settings(path.read_text(encoding="utf-8"))]
    assert len(found) > 40
    values = {each: parser.parse_overrides([each])[0].value() for each in found}
    assert values["data.path='archive (1).zip'"] == "archive (1).zip"
    assert values[f"data.path={os.environ['HOME']}/my.zip"] == f"{os.environ['HOME']}/my.zip"
