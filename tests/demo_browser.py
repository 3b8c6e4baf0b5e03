"""Chromium on the page of `make demo`: what the tests in it share."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.demo_server import grey

NAMES = ("chromium", "chromium-browser", "google-chrome")
PHONE, DESKTOP = {"width": 360, "height": 780}, {"width": 1280, "height": 900}
FAKE, UNSURE, REAL = (grey(value) for value in (51, 140, 230))

# Hold a file, with zeros after its content, as the clipboard or the mouse does.
HOLD = """([name, coded, zeros]) => {
  window.held = new DataTransfer();
  const bytes = Uint8Array.from(atob(coded), (one) => one.charCodeAt(0));
  held.items.add(new File([bytes, new Uint8Array(zeros)], name, { type: "image/png" }));
}"""
PASTE = "document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: held}))"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser of this machine; skip the tests where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with sync_playwright() as playwright:
        # Chromium's own sandbox asks for more than a container may have.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """Give a page that asserts at its end: nothing on the console, stored, or asked elsewhere."""
    context = browser.new_context(**{"viewport": DESKTOP, **options})
    page = context.new_page()
    page.set_default_timeout(10_000)
    troubles = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.on("request", lambda request: local(request.url, address) or troubles.append(request.url))
    page.goto(address)
    yield page
    # The browser reports each refused file, too, whatever a page does.
    assert [
        text for text in troubles if "the server responded with a status of 4" not in text
    ] == []
    assert context.cookies() == []
    stored = "[localStorage.length, sessionStorage.length, caches.keys(), indexedDB.databases()]"
    counts = page.evaluate(f"Promise.all({stored}).then((all) => all.map((a) => a.length ?? a))")
    assert counts == [0, 0, 0, 0]
    context.close()


def local(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    page.set_input_files("#files", [file(*one) for one in files])


def file(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/png", "buffer": content}


def answer(page: Page, name: str) -> Locator:
    return page.locator(".answer").filter(has=page.get_by_role("heading", name=name, exact=True))
