"""What `dvc plots show` draws, in a browser without a network."""

import hashlib
import re
import shutil
import subprocess
from contextlib import chdir
from html.parser import HTMLParser

import pandas as pd
import pytest
import yaml
from dvc.cli import main as dvc
from dvc_render.vega import VegaRenderer

from detector.base.errors import ExpectedError
from docs.make.plots_page import PAGE, SHELL, element, libraries, page
from stages import compare
from tests.demo_browser import DESKTOP, chromium
from tests.helpers import ROOT, coded, random_pixels
from tests.report_project import make_project

CHARTS = [  # in the order of the page
    "comparison", "training accuracy", "training loss", "ROC", "precision-recall", "reliability",
    "robustness", "confusion",
]  # fmt: skip
NAMES = ("resnet50", "inceptionv3", "cnn32")
PHONE = {"width": 390, "height": 844}
HISTORY = "epoch,accuracy,loss,val_accuracy,val_loss\n0,.6,.6,.7,.5\n1,.7,.5,.8,.4\n2,.8,.4,.8,.4\n"
PACKAGES = ROOT / ".work/npm"


def git(folder, command):
    subprocess.run(["git", *command.split()], cwd=folder, check=True)


def plots(folder, command, name):
    with chdir(folder):
        assert dvc(["plots", command, "--quiet", "--out", f"out-{name}"]) == 0


def compared(folder, names):
    """Put backbones that nothing was trained for into `folder`, and let the stage compare them."""
    for result in ("data", "plots"):
        shutil.rmtree(folder / result, ignore_errors=True)
    make_project(folder, names, (), model="default")
    for name in names:
        (folder / f"data/results/{name}/test/history.csv").write_text(HISTORY)
        for kind in ("confusion_matrix", "gradcam", "probabilities", "reliability"):
            path = folder / f"plots/{name}/{kind}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(coded(random_pixels(1), "PNG"))
    with chdir(folder):
        compare.main()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of three backbones, of one, and of both as two revisions."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / ".gitignore").write_text("/data/\n/out-*\n")
    compared(folder, NAMES)
    git(folder, "init --quiet")
    git(folder, "add .")
    git(folder, "-c user.name=t -c user.email=t@example.com commit --quiet -m three")
    plots(folder, "show", "three")
    compared(folder, NAMES[-1:])
    plots(folder, "show", "one")
    plots(folder, "diff", "both")
    return folder


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def opened(browser, path, size=DESKTOP):
    """Give a page without a network, which is all drawn: no trouble, nothing asked elsewhere."""
    context = browser.new_context(viewport=size, offline=True)
    shown, troubles = context.new_page(), []
    shown.on("console", lambda said: said.type == "error" and troubles.append(said.text))
    shown.on("pageerror", lambda error: troubles.append(str(error)))
    shown.on("request", lambda asked: local(asked.url) or troubles.append(asked.url))
    shown.goto(path.as_uri())
    count = f"document.querySelectorAll('main svg.marks').length === {len(CHARTS)}"
    try:
        shown.wait_for_function(count, timeout=30_000)
    finally:
        assert troubles == []
    return shown


def local(url):
    return url.startswith(("file:", "data:"))


def identifier(name):
    return name.replace(" ", "_")


def texts(shown, chart):
    return shown.locator(f"#{identifier(chart)} svg.marks text").all_text_contents()


class Elements(HTMLParser):
    """Identifiers of what stands in main, and addresses that the page names in attributes."""

    def __init__(self):
        super().__init__()
        self.found, self.addresses = [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.addresses += [values[key] for key in ("src", "href") if key in values]
        if "id" in values:
            self.found.append(values["id"])


@pytest.mark.parametrize(("name", "backbones"), [("three", 3), ("one", 1), ("both", 3)])
def test_the_comparison_comes_first_and_the_pictures_last(pages, name, backbones):
    elements = Elements()
    elements.feed((pages / f"out-{name}/index.html").read_text(encoding="utf-8"))
    charts, pictures = elements.found[: len(CHARTS)], elements.found[len(CHARTS) :]
    assert charts == [identifier(chart) for chart in CHARTS] and len(charts) <= 12
    assert pictures == sorted(pictures) and all(one.endswith("_png") for one in pictures)
    assert len(pictures) == 3 + 4 * backbones
    assert all(address.startswith("static/") for address in elements.addresses)


@pytest.mark.parametrize(
    ("name", "size"), [("three", DESKTOP), ("three", PHONE), ("one", PHONE), ("both", DESKTOP)]
)
def test_every_chart_is_drawn_without_a_network(pages, browser, name, size):
    shown = opened(browser, pages / f"out-{name}/index.html", size)
    for chart in CHARTS:
        marks = shown.locator(f"#{identifier(chart)} svg.marks [aria-roledescription$=mark]")
        assert marks.count() > 0, chart
    assert shown.evaluate("document.documentElement.scrollWidth") == size["width"]
    assert shown.evaluate("[...document.images].every((one) => one.naturalWidth > 0)")
    first = shown.locator("#comparison svg.marks").bounding_box()
    assert first["y"] < 150, "the headline is on the first screen"
    shown.context.close()


def test_the_confusion_has_its_numbers(pages, browser):
    shown = opened(browser, pages / "out-one/index.html")
    table = pd.read_csv(pages / "plots/compare/confusion.csv")
    seen = texts(shown, "confusion")
    for row in table.itertuples():
        assert f"{row.share:.2%}{row.count:,}" in [text.replace("\n", "") for text in seen]
    assert f"cnn32: threshold {table['threshold'][0]:.3f}" in seen
    shown.context.close()


def test_axes_and_legends_say_what_is_shown(pages, browser):
    shown = opened(browser, pages / "out-three/index.html")
    seen = texts(shown, "training accuracy")
    assert [text for text in seen if text.isdigit()] == ["1", "2", "3"], "whole epochs"
    assert {*NAMES, "train (squares)", "validation (circles)", "epoch"} <= set(seen)
    samples = shown.locator("#training_accuracy .role-legend-symbol path[stroke-dasharray]")
    dashes = samples.evaluate_all("(all) => all.map((one) => one.getAttribute('stroke-dasharray'))")
    assert len(set(dashes)) == 2
    assert {
        "false positive rate (FAKE predicted REAL)", "true positive rate (REAL predicted REAL)"
    } <= set(texts(shown, "ROC"))  # fmt: skip
    assert {"predicted", "actual"} <= set(texts(shown, "confusion"))
    table = pd.read_csv(pages / "plots/compare/comparison.csv", dtype=str)  # of one backbone
    apart = ["sample, 300 test images", "paper, CIFAKE: other images"]
    assert {*table["percent"], *apart, "here", "paper"} <= set(texts(shown, "comparison"))
    shown.context.close()


def test_the_revisions_stand_beside_each_other(pages, browser):
    shown = opened(browser, pages / "out-both/index.html")
    assert {"workspace", "HEAD"} <= set(texts(shown, "ROC"))
    assert "sample, 300 test images, HEAD" in texts(shown, "comparison")
    shown.context.close()


def test_names_of_plots_do_not_break_the_script_of_the_page():
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    assert [name for plot in declared for name in plot] == CHARTS
    assert not [name for name in CHARTS if not re.fullmatch(r"[\w -]+", name)]


def test_the_page_is_its_source_with_the_libraries_that_are_named():
    before, after = (ROOT / SHELL).read_text(encoding="utf-8").split("{libraries}")
    committed = (ROOT / PAGE).read_bytes().decode()
    assert committed.startswith(f"{before}<script>") and committed.endswith(f"</script>{after}")
    inlined = committed[len(before) + len("<script>") : -len(f"</script>{after}")]
    pieces = inlined.split("</script>\n<script>")
    assert [hashlib.sha256(piece.encode()).hexdigest() for piece in pieces] == [
        library.sha256 for library in libraries()
    ]
    for library in libraries():
        assert f'npm/{library.name}@{library.version}"' in VegaRenderer.SCRIPTS, "of DVC's page"
        notice = (ROOT / ".dvc/plots/NOTICE").read_text(encoding="utf-8")
        assert f"{library.name} {library.version}" in notice


def test_the_page_is_made_again_byte_for_byte():
    if not PACKAGES.exists():
        pytest.skip(f"{PACKAGES.relative_to(ROOT)} is not there; docs/make/plots_page.py says how")
    made = page((ROOT / SHELL).read_text(encoding="utf-8"), PACKAGES)
    assert made.encode() == (ROOT / PAGE).read_bytes()


def test_another_package_is_refused(tmp_path):
    library = libraries()[0]
    with pytest.raises(ExpectedError, match=r"vega-5\.20\.2\.tgz: not found; bring it by npm pack"):
        element(library, tmp_path)
    (tmp_path / "vega-5.20.2.tgz").write_bytes(b"another")
    with pytest.raises(ExpectedError, match="not the package that"):
        element(library, tmp_path)
