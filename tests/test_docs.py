"""What the documents name is there."""

import re

import pytest

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
