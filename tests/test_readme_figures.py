"""Every measured figure of README.md and sample/README.md is that of its file of results."""

import re

import pytest

from detector.base.errors import ExpectedError
from docs.make.figures import NUMBER, figures, rewritten
from tests.helpers import ROOT

UNIT = re.compile(
    r"\s(%|times|points|s|seconds|minutes|hours|images/s|images a second|MiB|GB|MB|GFLOP/s|"
    r"parameters|images|epochs|steps|levels)(?!\w)"
)
# Numbers with a unit or a decimal point that follow from no file of results: what is required, set
# or published, rules, and what was measured by hand with the command that stands beside it.
PROSE = {
    "README.md": (
        "Python 3.11 or newer", "some 2 GB", "CIFAKE (104.5 MB)",
        "5 epochs of 300 steps of 64 images",
        "with 95 % intervals", "an average over 100 steps", "in 600 steps",
        "has a 95 % interval", "Of fewer than 50 images",
        "(0.5 | balanced | fpr_0.01)", "given at 0.5", "at most 1 % and 2 %",
        "at 26 levels", "(95 % interval)",
        "| 1 | 100.0 % | 99.5 % | .12 | 75.5 % | 84.2 % | +8.8 (8.0 to 9.5) |",
        "| 2 | 100.0 % | 100.0 % | 1 | 72.7 % | 92.9 % | +20.2 (19.8 to 20.7) |",
        "| 3 | 100.0 % | 100.0 % | 1 | 76.4 % | 89.4 % | +13.0 (12.5 to 13.5) |",
        "n = 800 test images, 50 epochs of 2,560 images",
        "lost 1.25 points (95.6 % against 94.3 %", "for 13.2 over corruptions", "the 80,000 images",
        "The layers cost 1.008 times", "and 1.024 times that of a network of 288,481 parameters",
        "all three together make 22,177 images a second", "has after 20 to 90 s",
        "size (120,000 images", "| on 10,000 JPEG files", "from 15,000 to 120,000 images",
        "| 1,000,000 images", "`steps_per_execution` 8", "the 98.95 % accuracy", "keras-hub 0.32.0",
        "2.2.4 (0.1.35 or newer)", "brings 229 MB of new packages (202 MB", "80:20 stratified",
    ),
    "data/sample/README.md": (
        "0.001 makes it plain", "chance is 50 %", "C from 1e-6 to 1 | 50.5 % to 56.1 %",
        "scikit-image 0.26.0", "scikit-learn 1.9.1", "CC0 1.0", "[CC BY 2.0]",
    ),
}  # fmt: skip


def blanked(text, place):
    """Put _ for everything but line breaks."""
    start, end = place
    return text[:start] + re.sub(r"[^\n]", "_", text[start:end]) + text[end:]


@pytest.mark.parametrize("name", figures())
def test_the_document_has_the_figures_of_the_files(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert rewritten(text, figures()[name], name)[0] == text, "run 'python -m docs.make.figures'"


@pytest.mark.parametrize("name", figures())
def test_no_figure_is_left_out(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    places = rewritten(text, figures()[name], name)[1]
    for phrase in PROSE[name]:
        found = [m.span() for m in re.finditer(r"\s+".join(map(re.escape, phrase.split())), text)]
        assert found, f"'{phrase}' is no longer in {name}"
        places += found
    places += [
        m.span() for m in re.finditer(r"(?s)```.*?```|`[^`\n]*`|\]\([^)]*\)|<[^>\n]*>", text)
    ]
    for place in places:
        text = blanked(text, place)
    left = [
        f"{name}:{text.count(chr(10), 0, m.start()) + 1}: {line}"
        for m in NUMBER.finditer(text)
        for line in [text[text.rfind("\n", 0, m.start()) + 1 :].split("\n")[0]]
        if not re.search(r"\w$|[\w-]-$", text[: m.start()])  # cnn32, ResNet-50
        and (line.startswith("|") or "." in m[0] or UNIT.match(text, m.end()))
    ]
    assert left == [], "of which file of results are these? See docs/make/figure_texts.py"


def test_numbers_are_replaced_and_nothing_else():
    text = "On it\n3.11.7 has 97.25 % (n = 1,000), .5 s, p = 6e-08.\n"
    new, places = rewritten(text, ["it 3.12 has 1 % (n = 20), 0.25 s, p = 1."], "it")
    assert new == "On it\n3.12 has 1 % (n = 20), 0.25 s, p = 1.\n"
    assert [new[slice(*place)] for place in places] == ["it\n3.12 has 1 % (n = 20), 0.25 s, p = 1."]


@pytest.mark.parametrize("text", ["none", "it is 2 % here. it is 4 % there."])
def test_a_sentence_that_is_not_there_once_is_named(text):
    with pytest.raises(ExpectedError, match=r"a\.md: 'it is 3 % \.\.\.' stands there [02] times"):
        rewritten(text, ["it is 3 %"], "a.md")
