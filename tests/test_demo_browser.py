"""The page of `make demo` in a real browser, Chromium, as people use it."""

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from detector.demo import limits
from detector.demo.limits import Limiter
from tests.demo_browser import FAKE, HOLD, PASTE, REAL, UNSURE, answer, chromium, opened, upload
from tests.demo_server import archive, grey, serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("models")
    second = archive(folder, "second", threshold=0.1, abstain=0.0)
    with serving(archive(folder), second) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with opened(browser, address) as page:
        yield page


@pytest.mark.parametrize(
    ("content", "verdict", "probability", "of_100"),
    [
        (FAKE, "FAKE", 0.2, "80 were fake (n = 50)"),
        (UNSURE, "UNSURE", 140 / 255, "12 were fake (n = 8, too few to rely on)"),
        (REAL, "REAL", 230 / 255, "1 were fake (n = 91)"),
    ],
    ids=["FAKE", "UNSURE", "REAL"],
)
def test_an_image_gets_its_verdict_its_bar_and_its_overlay(
    page, content, verdict, probability, of_100
):
    upload(page, ("cat.png", content))
    card = answer(page, "cat.png")
    expect(card.locator(".verdict")).to_have_text(verdict)
    expect(card.locator(".probability")).to_have_text(
        f"Probability of REAL: {100 * probability:.1f} %."
    )
    expect(card.locator(".of-100")).to_contain_text(of_100)
    expect(card.locator(".warnings")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text(f"cat.png: {verdict}; Probability")
    for name in ("seen", "heat"):
        picture = card.locator(f"img.{name}")
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 32
    assert card.locator("img.heat").get_attribute("alt").startswith("Bright: what spoke for")

    bar = card.get_by_role("img", name="Probability of REAL")
    percent = f"{100 * probability:.1f} %"
    expect(bar).to_have_accessible_name(
        f"Probability of REAL: {percent}. REAL from 55.0 %, UNSURE 39.0 % to 70.1 %."
    )
    whole, needle, cut = (
        one.bounding_box() for one in (bar, bar.locator(".needle"), bar.locator(".threshold"))
    )
    assert middle(needle) == pytest.approx(whole["x"] + probability * whole["width"], abs=2)
    assert cut["x"] == pytest.approx(whole["x"] + 0.55 * whole["width"], abs=2)
    zones = [bar.locator(f".{name}-zone").bounding_box() for name in ("fake", "unsure", "real")]
    edges = [zone["x"] for zone in zones] + [zones[-1]["x"] + zones[-1]["width"]]
    for edge, place in zip(edges, (0, 0.3895, 0.7007, 1), strict=True):
        assert edge == pytest.approx(whole["x"] + place * whole["width"], abs=2)


def middle(box):
    return box["x"] + box["width"] / 2


def test_a_wrong_file_gets_a_sentence_and_the_next_one_its_verdict(page):
    upload(page, ("notes.txt", b"no image"))
    card = answer(page, "notes.txt")
    expect(card).to_contain_text("This file cannot be used: not a JPEG, PNG, WEBP, BMP, TIFF file.")
    expect(card.locator(".verdict")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("notes.txt: This file cannot be used")
    page.evaluate(HOLD, ["large.png", "", limits.MAXIMUM_BYTES + 1])
    page.evaluate(PASTE)
    expect(answer(page, "Pasted image")).to_contain_text("larger than 20 MB")
    upload(page, ("cat.png", FAKE))
    expect(answer(page, "cat.png").locator(".verdict")).to_have_text("FAKE")


def test_an_unlike_image_is_answered_with_caution(page):
    upload(page, ("night.png", grey(3, 64)))
    card = answer(page, "night.png")
    expect(card.locator(".warnings")).to_contain_text("with caution")
    expect(card.locator(".warnings li").first).to_contain_text("64x64 pixels, reduced to 32x32")
    expect(card.locator(".warnings li").last).to_have_text(
        "Darker than 99.9 % of the training images."
    )
    expect(card.locator(".verdict")).to_have_text("FAKE?")
    expect(page.locator("#status")).to_contain_text("night.png: FAKE?; Probability")
    expect(page.locator("#status")).to_contain_text("With caution")


def test_a_name_is_never_markup(page):
    name = "<img src=x onerror=alert(1)>.png"
    upload(page, (name, FAKE))
    expect(page.locator(".answer .name")).to_have_text(name)
    assert page.locator(".answer .name img").count() == 0


def test_several_files_are_a_list_in_their_order(page):
    files = [
        ("a.png", FAKE),
        ("b.png", REAL),
        ("c.txt", b"text"),
        ("d.png", UNSURE),
        ("e.png", REAL),
    ]
    upload(page, *files)
    tally = page.locator("#tally")
    expect(tally).to_have_text("5 images: 2 REAL, 1 FAKE, 1 UNSURE, 1 without an answer")
    expect(page.locator("#status")).to_have_text(tally.inner_text())
    expect(page.locator(".answer .name")).to_have_text([name for name, _ in files])
    upload(page, ("f.png", REAL))
    expect(page.locator(".answer .name").first).to_have_text("f.png")
    page.get_by_role("button", name="Remove f.png").click()
    expect(page.get_by_role("button", name="Remove a.png")).to_be_focused()
    expect(page.locator(".answer")).to_have_count(5)
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator("#answers")).to_be_hidden()
    expect(page.locator("#files")).to_be_focused()


def test_more_images_than_the_page_holds(page):
    upload(page, *[(f"{i}.png", REAL) for i in range(limits.MAXIMUM_IMAGES + 3)])
    expect(page.locator("#note")).to_contain_text("3 of these 103 were left out")
    expect(page.locator("#tally")).to_have_text("100 images: 100 REAL", timeout=60_000)


def test_an_image_can_be_pasted_and_dropped(page):
    page.evaluate(HOLD, ["image.png", base64.b64encode(REAL).decode(), 0])
    page.evaluate(PASTE)
    expect(answer(page, "Pasted image").locator(".verdict")).to_have_text("REAL")
    page.evaluate(HOLD, ["dropped.png", base64.b64encode(FAKE).decode(), 0])
    drag = """document.body.dispatchEvent(
        new DragEvent("{}", {{ dataTransfer: held, bubbles: true, cancelable: true }}))"""
    page.evaluate(drag.format("dragenter"))
    expect(page.locator("#drop")).to_contain_class("over")
    # False: the browser does not go on to open the file itself.
    assert page.evaluate(drag.format("dragover")) is False
    assert page.evaluate(drag.format("drop")) is False
    expect(page.locator("#drop")).not_to_contain_class("over")
    expect(answer(page, "dropped.png").locator(".verdict")).to_have_text("FAKE")
    page.evaluate("held = new DataTransfer(); held.setData('text/uri-list', 'http://x/')")
    page.evaluate(drag.format("drop"))
    expect(page.locator("#note")).to_contain_text("loads nothing from elsewhere")


def test_a_sample_is_judged_and_its_truth_told(page):
    page.get_by_role("button", name="Sample 2").click()
    expect(answer(page, "Sample 2")).to_contain_text("In truth this sample is FAKE.")
    expect(answer(page, "Sample 2").locator(".verdict")).not_to_be_empty()


def test_another_model_judges_what_is_listed(page):
    upload(page, ("cat.png", FAKE), ("text.png", b"text"))
    card = answer(page, "cat.png")
    expect(card.locator(".verdict")).to_have_text("FAKE")
    page.get_by_label("Model").select_option("second")
    expect(card.locator(".verdict")).to_have_text("REAL")
    expect(card.locator(".key-threshold")).to_have_text("REAL from 10.0 %")
    expect(card.locator(".key-unsure")).to_be_hidden()
    expect(card.locator(".done")).to_contain_text("Model second")
    expect(page.locator("#limits")).to_contain_text("at least 10 %")
    expect(page.locator("#limits")).not_to_contain_text("at least 55 %", use_inner_text=True)


def test_the_page_waits_where_it_asks_too_often(browser, tmp_path):
    limiter = Limiter(burst=1, per_second=1.5)
    with serving(archive(tmp_path), limiter=limiter) as address, opened(browser, address) as page:
        upload(page, *[(f"{i}.png", REAL) for i in range(3)])
        expect(page.locator("#tally")).to_have_text("3 images: 3 REAL", timeout=20_000)


def test_a_program_that_has_ended(browser, tmp_path):
    with serving(archive(tmp_path)) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
    upload(page, ("cat.png", FAKE))
    expect(answer(page, "cat.png")).to_contain_text("The program does not answer.")
    context.close()
