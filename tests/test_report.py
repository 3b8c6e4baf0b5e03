"""The report as a reader gets it: its figures recomputed, its HTML parsed, its words escaped."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats
from sklearn import metrics as sk

from detector import timings
from detector.base.errors import ExpectedError
from detector.evaluation.decision import read_decision
from detector.evaluation.predictions import read_predictions
from detector.params import validate
from detector.report.backbones import BACKBONE_FIGURES
from detector.report.document import FIGURES
from detector.report.model_card import architecture, changes
from detector.report.tables import percent
from stages import report
from tests.helpers import composed_params
from tests.html_page import Page
from tests.report_project import AUDIT, NASTY, SHA, make_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("report"))


@pytest.fixture
def made(project, monkeypatch):
    monkeypatch.chdir(project)
    report.main()
    return project / "docs/report"


@pytest.fixture
def copy(project, tmp_path, monkeypatch):
    shutil.copytree(project, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def numbers(cell):
    return [float(n.replace(",", "")) for n in re.findall(r"-?[\d.,]*\d(?:e-\d+)?", cell)]


def equal_mass_error(labels, probabilities, bins=15):
    order = np.argsort(probabilities, kind="stable")
    place = np.arange(len(order)) * bins // len(order)
    parts = [order[place == i] for i in range(bins)]
    gaps = [abs(probabilities[p].mean(dtype=float) - labels[p].mean()) * len(p) for p in parts]
    return sum(gaps) / len(order)


def results_of(project, name):
    folder = project / "data/results" / name / "test"
    table = read_predictions(folder / "predictions.csv")["test"]
    decision = read_decision(folder / "decision.json")
    raw = table["probability"].to_numpy()
    logits = np.log(raw.astype(float) / (1 - raw.astype(float)))
    calibrated = 1 / (1 + np.exp(-logits / decision.temperature))
    right = (calibrated >= decision.threshold) == (table["label"] == 1)
    return table["label"].to_numpy(), raw, calibrated, right.to_numpy()


def test_printed_figures_agree_with_scikit_learn_and_scipy(made, project):
    page = Page((made / "index.html").read_text())
    for i, name in enumerate(("resnet50", "inceptionv3")):
        labels, raw, calibrated, right = results_of(project, name)
        hits = int(((raw >= 0.5) == labels).sum())
        low, high = stats.binomtest(hits, 300).proportion_ci(method="wilson")
        printed = numbers(page.cells("accuracy, %")[2 * i])
        assert printed == pytest.approx([hits / 3, 100 * low, 100 * high, 300], abs=0.0051)
        area = numbers(page.cells("area under the ROC curve")[2 * i])[0]
        assert area == pytest.approx(sk.roc_auc_score(labels, raw), abs=5.1e-5)
        fake = numbers(page.cells("precision of FAKE")[2 * i])
        value = sk.precision_score(labels, raw >= 0.5, pos_label=0)
        assert fake[0] == pytest.approx(100 * value, abs=0.0051)
        assert fake[3] == (raw < 0.5).sum()
        frozen = numbers(page.cells("accuracy, %", 1)[i])
        assert frozen[0] == pytest.approx(100 * right.mean(), abs=0.0051)
        errors = numbers(" ".join(page.cells("expected calibration error", i)))
        assert errors[0] == pytest.approx(equal_mass_error(labels, raw), abs=5.1e-5)
        assert errors[1] == pytest.approx(equal_mass_error(labels, calibrated), abs=5.1e-5)
        brier = numbers(page.cells("Brier", i)[0])[0]
        assert brier == pytest.approx(sk.brier_score_loss(labels, raw), abs=5.1e-5)
    assert page.cells("accuracy, %")[1::2] == ["50.90", "94.59"], "the paper's"
    text = (made / "index.md").read_text()
    assert all(row in text for row in (page.cells("accuracy, %")[0], page.cells("Brier")[0]))


def test_printed_mcnemar_agrees_with_scipy(made, project):
    page = Page((made / "index.html").read_text())
    a, b = (results_of(project, name)[3] for name in ("resnet50", "inceptionv3"))
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    assert only_a and only_b
    p = stats.binomtest(only_a, only_a + only_b).pvalue
    cells = page.cells("resnet50 minus inceptionv3")
    counts = [int((a & b).sum()), only_a, only_b, int((~a & ~b).sum())]
    assert [int(cell) for cell in cells[:4]] == counts
    assert cells[4] == f"{p:.2g}"
    # as compare.json has it, digits and all, and not to six decimals
    path = project / "plots/compare/compare.json"
    found = json.loads(path.read_text())
    assert found["resnet50 minus inceptionv3"]["mcnemar"]["p_value"] == float(f"{p:.6g}")
    assert f"McNemar's exact p = {p:.2g}" in page.text
    assert f"differs by {100 * (a.mean() - b.mean()):+.2f} points" in page.text


def test_a_network_that_judges_otherwise_than_it_learnt_can_be_seen(made):
    cells = ["51.25", "84.38", "9 of 53", "12.35", "–"]  # noqa: RUF001
    rows = [
        re.split(r" *\| *", line)[1:-1] for line in (made / "index.md").read_text().splitlines()
    ]
    assert ["inceptionv3", *cells] in rows


def test_a_share_of_the_history_reads_as_that_of_the_metrics():
    assert percent(float(np.float32(0.99375))) == percent(0.99375) == "99.38"


def test_page_stands_alone(made):
    text = (made / "index.html").read_text()
    page = Page(text)
    assert page.of("html") == [{"lang": "en"}]
    assert not page.of("script") and not page.of("link") and not page.of("iframe")
    assert not re.search(r"url\(|@import|src=\"(?!data:)", text)
    images = page.of("img")
    assert len(images) == len(FIGURES) + 2 * len(BACKBONE_FIGURES)
    assert all(image["alt"] and image["src"].startswith("data:image/png;") for image in images)
    ids = [element["id"] for _, element in page.elements if "id" in element]
    assert len(ids) == len(set(ids))
    inner = [a["href"][1:] for a in page.of("a") if a["href"].startswith("#")]
    assert inner and set(inner) <= set(ids)
    captions = text.count("<figcaption>")
    assert captions == len(page.of("table")) + len(images), "each says how it is read"


def test_names_of_users_are_escaped(made):
    text = (made / "index.html").read_text()
    assert "<script" not in text and f"beware of {NASTY}" in Page(text).text
    assert f"Set {NASTY}" in Page(text).text
    for path in (made / "index.md", made / "cards.md"):
        text = path.read_text()
        assert r"beware of a\|b\<script\>alert(1)\</script\>\`\*\_\[x\](y)\&amp;" in text
        for table in re.findall(r"(?m)(?:^\|.*\|\n)+", text):
            pipes = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
            assert len(pipes) == 1, table
    assert NASTY in Page((made / "index.html").read_text()).text
    row = next(r for r in (made / "index.md").read_text().splitlines() if r.startswith(r"| a\|b"))
    assert row.count("300 (100.00 %)") == 1


def test_content_order_warnings_and_banner(made):
    page = Page((made / "index.html").read_text())
    assert page.text.index("not CIFAKE") < page.text.index("beware of")
    assert page.text.index("only FAKE images") < page.text.index("validation accuracy, %")
    assert "could not be used and were left out: 1" in page.text
    assert page.cells("sha256")[0] == SHA and "Python" in page.text
    assert page.cells("area under the ROC curve", 2) == ["–", "–"]  # noqa: RUF001
    assert page.cells("recall of FAKE, %") == ["80.00 (60.87 to 91.14), n = 25"] * 2
    text = (made / "index.md").read_text()
    linked = re.findall(r"\]\(\.\./\.\./(plots/\S+\.png)\)", text)
    assert len(linked) == len(FIGURES) + 2 * len(BACKBONE_FIGURES)


def test_few_images_of_a_class_are_warned_of_once_and_n_is_of_each_class(copy):
    sentence = "only 4 FAKE images in test, fewer than 50: trust the intervals, not the figures"
    for name in ("resnet50", "inceptionv3"):
        path = copy / f"data/results/{name}/test/evaluation.json"
        found = json.loads(path.read_text())
        assert found["warnings"] == []
        balanced = found["test_at_threshold"]["intervals"]["balanced_accuracy"]
        balanced |= {"value": 1.0, "low": 0.755, "high": 1.0, "n_fake": 4, "n_real": 200, "n": 204}
        path.write_text(json.dumps(found | {"warnings": [sentence]}))
    report.main()
    for page in ("docs/report/index.md", "docs/report/cards.md"):
        text = (copy / page).read_text()
        cards = text.count("# Model card: ")
        assert text.count(sentence) == max(cards, 1)
        assert "100.00 (75.50 to 100.00), n = 4 FAKE, 200 REAL" in text


def test_two_renders_have_the_same_bytes_whatever_was_timed(made, capsys):
    files = [path for path in made.rglob("*") if path.is_file()]
    names = {"index.html", "index.md", "cards.md"}
    assert {path.relative_to(made).as_posix() for path in files} == names
    before = {path: path.read_bytes() for path in files}
    Path("models").mkdir()
    Path("models/resnet50.weights.h5").write_bytes(b"these")
    rate = {"inference_images_per_second": 859.0, "batch_size": 256}
    timings.keep("resnet50", "prediction", rate)
    report.main()
    assert before == {path: path.read_bytes() for path in files}
    said = capsys.readouterr().out
    assert "resnet50: prediction 859 images/s in batches of 256\n" in said
    assert "inceptionv3: prediction not timed in this workspace\n" in said


def test_card_says_what_a_card_must(made):
    cards = re.split("^(?=# )", (made / "cards.md").read_text(), flags=re.M)[1:]
    titles = [card.splitlines()[0] for card in cards]
    assert titles == ["# Model card: resnet50", "# Model card: inceptionv3"]
    assert "](cards.md#model-card-inceptionv3)" in (made / "index.md").read_text()
    text = cards[0]
    for title in (
        "Model details", "Intended use", "Out of scope", "Training data", "Evaluation data",
        "Metrics", "Calibration", "Robustness", "Other sets of images", "Ethical considerations",
        "Caveats and recommendations", "How to load it",
    ):  # fmt: skip
        assert f"\n## {title}\n" in text
    assert SHA in text and "inceptionv3" not in text and "25,686,913" in text
    assert "\n\n\n" not in text
    compile(re.search(r"```python\n(.*?)```", text, re.S)[1], "card", "exec")


def test_one_backbone_without_external_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(make_project(tmp_path, names=("resnet50",), sets=()))
    report.main()
    text = Page((tmp_path / "docs/report/index.html").read_text()).text
    assert "a paired test needs two backbones" in text and "no external set" in text
    cards = (tmp_path / "docs/report/cards.md").read_text()
    assert "None was configured" in cards and re.findall("^# .*", cards, re.M) == [
        "# Model card: resnet50"
    ]


def test_cifake_has_no_banner(copy):
    audit = copy / "data/audit.json"
    for said, shown in ((True, False), (False, True)):  # whatever the name
        audit.write_text(json.dumps(AUDIT | {"archive": AUDIT["archive"] | {"cifake": said}}))
        report.main()
        assert ("not CIFAKE" in (copy / "docs/report/index.html").read_text()) == shown


def test_a_network_that_looks_at_fewer_pixels_than_the_images_have_is_warned_of(copy):
    composed_params(copy, "model=paper", "data.image_size=64")
    path = copy / "data/results/inceptionv3/test/evaluation.json"
    path.write_text(path.read_text().replace('"input_pixels": 32', '"input_pixels": 75'))
    report.main()
    warning = "resnet50 looks at 32x32 pixels, 25 % of the 64x64 of the images"
    text = Page((copy / "docs/report/index.html").read_text()).text
    assert warning in text and text.count(" pixels, 25 % of the ") == 1
    assert warning in (copy / "docs/report/cards.md").read_text()


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("data/audit.json", None, r"^data/audit\.json: cannot be read as JSON"),
        ("data/audit.json", b"{}", r"^data/audit\.json: archive: field required"),
        (
            "plots/compare/compare.json",
            b"[]",
            r"^plots/compare/compare\.json: the file: input should be",
        ),
        ("data/sets/audit.json", b"\xff", r"^data/sets/audit\.json: cannot be read as JSON"),
        ("plots/data/spectra.png", None, r"^plots/data/spectra\.png: cannot be read"),
        ("plots/compare/paper.png", b"\x89PNG", r"^plots/compare/paper\.png: not a whole PNG"),
        ("data/results/resnet50/test/evaluation.json", b'{"val": 1}', r"evaluation\.json: val"),
        ("data/results/resnet50/test/history.csv", b"epoch\n", r"history\.csv: not the table"),
        ("data/results/resnet50/robustness/table.csv", None, r"table\.csv: not the table"),
        ("data/results/resnet50/external/external.json", None, r"external\.json: cannot be read"),
    ],
)
def test_what_is_missing_or_garbled_is_named(copy, path, content, message):
    (copy / path).unlink()
    if content is not None:
        (copy / path).write_bytes(content)
    with pytest.raises(ExpectedError, match=message) as raised:
        report.main()
    assert "run 'dvc repro'" in str(raised.value) and "\n" not in str(raised.value)
    assert not (copy / "docs/report/.partial.index.html").exists()


def test_the_card_knows_networks_with_and_without_a_hidden_layer(tmp_path):
    composed_params(tmp_path, "model=all", "train=quick_robust")
    params = validate(yaml.safe_load((tmp_path / "params.yaml").read_text()))
    words = {name: architecture(settings) for name, settings in params.model.items()}
    assert words["resnet50"] == (
        "ResNet50 of keras.applications, without its top, global average pooling, "
        "a dense layer of 1024 (ReLU), dropout 0.3, one sigmoid unit"
    )
    assert words["cnn32"] == (
        "cnn32 of detector/networks/small.py, global average pooling, one sigmoid unit"
    )
    assert "flattening, a dense layer of 64" in words["bird_lotfi"]
    assert changes(params.train.augmentation) == (
        "horizontal flip, blur of 50% (sigma in pixels 0 to 1), "
        "noise of 50% (standard deviation 0 to 0.1), JPEG of 50% (quality 30 to 100)"
    )
