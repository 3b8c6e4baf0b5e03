"""The page of `make demo` for everyone: by keyboard, on a phone, in the dark, without motion."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.demo_browser import (
    DESKTOP,
    FAKE,
    PASTE,
    PHONE,
    REAL,
    UNSURE,
    answer,
    chromium,
    opened,
    upload,
)
from tests.demo_server import Brightness, archive, grey, serving

# Every text with the colour behind it, and their contrast by WCAG 2.2.
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return Array.from(canvas.getImageData(0, 0, 1, 1).data);
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (rgba(colour)[3] === 255) return colour;
    }
    return "white";
  };
  const luminance = (colour) => {
    const [r, g, b] = rgba(colour).slice(0, 3).map((value) => {
      const x = value / 255;
      return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = Array.from(element.childNodes).some((n) => n.nodeType === 3 && n.data.trim());
    const unseen = ["NOSCRIPT", "OPTION"].includes(element.tagName);
    if (!own || unseen || !element.checkVisibility()) continue;
    const pair = [getComputedStyle(element).color, behind(element)].map(luminance);
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    found.push([element.textContent.trim().slice(0, 40), contrast]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    with serving(archive(tmp_path_factory.mktemp("models"))) as address:
        yield address


FOCUS = """() => {
  const { activeElement } = document;
  const files = activeElement.id === "files";
  const shown = files ? document.querySelector(".drop .button") : activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(shown);
  return `${activeElement.id || activeElement.tagName} ${outlineStyle} ${outlineWidth}`;
}"""


def test_all_of_it_by_keyboard_and_the_focus_is_seen(browser, address):
    with opened(browser, address) as page:
        for name in ("A", "files", *["BUTTON"] * 6, "model", "SUMMARY"):
            page.keyboard.press("Tab")
            assert page.evaluate(FOCUS) == f"{name} solid 3px"
        page.locator("[data-sample='1']").focus()
        page.keyboard.press("Enter")
        expect(answer(page, "Sample 1").locator(".verdict")).not_to_be_empty()
        page.keyboard.press("Tab")
        for name in ("BUTTON",) * 4 + ("model", "BUTTON"):
            page.keyboard.press("Tab")
            assert page.evaluate(FOCUS) == f"{name} solid 3px"
        page.keyboard.press("Enter")  # the last one removes the answer
        expect(page.locator(".answer")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_contrast_and_width(browser, address, scheme, viewport):
    with opened(browser, address, color_scheme=scheme, viewport=viewport) as page:
        name = "a_very_long_name_without_any_place_to_break_it_" * 4
        files = [(name, grey(3, 40)), ("b", REAL), ("c", UNSURE), ("d", b"")]
        upload(page, *files)
        expect(page.locator("#tally")).to_contain_text("1 without an answer")
        page.get_by_text("About the model").locator("visible=true").click()
        page.evaluate("window.held = new DataTransfer()")
        page.evaluate(PASTE)
        found = page.evaluate(CONTRASTS)
        assert len(found) > 50
        assert [pair for pair in found if pair[1] < 4.5] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        small = page.locator("button:visible, select:visible, .button").evaluate_all(
            "all => all.filter(one => Math.min(one.offsetWidth, one.offsetHeight) < 40)"
            ".map(one => one.outerHTML)"
        )
        assert small == []


def test_nothing_moves_where_that_is_not_wanted(browser, address, monkeypatch):
    monkeypatch.setattr(Brightness, "delay", 1.0)
    for wanted, moving in (("reduce", "none"), ("no-preference", "turn")):
        with opened(browser, address, reduced_motion=wanted) as page:
            upload(page, ("cat.png", FAKE))
            state = page.locator(".answer[data-state=asking] .state")
            expect(state).to_be_visible()
            name = state.evaluate("one => getComputedStyle(one, '::before').animationName")
            assert name == moving
            expect(page.locator(".verdict")).to_have_text("FAKE")
