"""Take the README's pictures: the terminal, the page, of models/*.zip as they are, and DVC's plots.

    python -m docs.make.pictures

Run it after the pipeline. Needs Chromium and what the tests need.
"""

import os
import pty
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from detector.base.errors import ExpectedError
from detector.base.program import run
from detector.demo.samples import MEMBERS

FOLDER = Path("docs/pictures")
SAMPLE, SHEET = Path("data/sample/sample.zip"), Path("plots/data/samples.png")
COMMAND = "python -m detector predict images"
COLUMNS = 100
WIDE = {"width": 1000, "height": 900}
DESKTOP, PHONE = {"width": 820, "height": 900}, {"width": 390, "height": 844}
SCREEN = {"width": 1280, "height": 800}
TERMINAL = """<style>body {{ margin: 0 }} pre {{ font: 15px/1.35 monospace; background: #1b1d1e;
color: #ddd; margin: 0; padding: 18px; display: inline-block }} {stylesheet}</style>
<meta charset="utf-8"><pre><code>{code}</code></pre>"""


def main() -> None:
    """Write docs/pictures/*.png."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, chromium() as browser:
        folder = Path(place)
        images = write_images(folder / "images")
        shown = folder / "terminal.html"
        shown.write_text(as_html(f"$ {COMMAND}\n{in_terminal(folder)}"), encoding="utf-8")
        with opened(browser, shown.as_uri(), WIDE) as page:
            page.locator("pre").screenshot(path=FOLDER / "predict.png")
        first_screen_of_plots(browser, folder)
        with served() as address:
            for name, size in {"page.png": DESKTOP, "page-phone.png": PHONE}.items():
                with opened(browser, address, size) as page:
                    ask(page, [image for image in images if image.name != "eye.jpg"])
                    end = "document.querySelector('#answers').getBoundingClientRect().bottom"
                    height = page.evaluate(f"Math.ceil({end} + window.scrollY)") + 16
                    whole = {"x": 0, "y": 0, "width": size["width"], "height": height}
                    page.screenshot(path=FOLDER / name, full_page=True, clip=whole)


def first_screen_of_plots(browser: Browser, folder: Path) -> None:
    """Take what `dvc plots show` shows first, of plots/ as they are; works without a network."""
    command = [sys.executable, "-m", "dvc", "plots", "show", "--quiet", "--out", str(folder)]
    subprocess.run(command, check=True)
    with opened(browser, (folder / "index.html").as_uri(), SCREEN) as page:
        page.locator("#confusion svg.marks").wait_for()
        page.screenshot(path=FOLDER / "plots.png")


def write_images(folder: Path) -> list[Path]:
    """Write two test images of the sample, and a picture that is like none of them."""
    folder.mkdir()
    with zipfile.ZipFile(SAMPLE) as archive:
        for name, member in {"eye.jpg": MEMBERS[0], "flower.jpg": MEMBERS[2]}.items():
            (folder / name).write_bytes(archive.read(member))
    shutil.copy(SHEET, folder / "page_of_images.png")
    return sorted(folder.iterdir())


def in_terminal(folder: Path) -> str:
    """Run the command in `folder` as people do, and give what it showed, with its colours."""
    (folder / "models").symlink_to(Path("models").absolute())
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "COLUMNS": str(COLUMNS)}
    environment.pop("NO_COLOR", None)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *COMMAND.split()[1:]],
        cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = bytearray()
    with suppress(OSError):  # Linux's way to say that the other side is closed
        while content := os.read(ours, 65536):
            shown += content
    os.close(ours)
    if process.wait():
        raise ExpectedError(f"{COMMAND}: {shown.decode(errors='replace').strip()}")
    # A progress bar draws its line again and again and wipes it out at the end.
    lines = shown.decode().replace("\r\n", "\n").split("\n")
    return "\n".join(line.rsplit("\r", 1)[-1] for line in lines)


def as_html(shown: str) -> str:
    """Give a page that looks like the terminal."""
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=COLUMNS + 10, file=nowhere, color_system="standard")
        console.print(Text.from_ansi(shown))
        return console.export_html(theme=MONOKAI, code_format=TERMINAL)


@contextmanager
def served() -> Iterator[str]:
    """Give the address of the page that `make demo` serves."""
    command = [sys.executable, "-m", "detector", "demo", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if "http" not in line:
            raise ExpectedError("the page was not served, see above")
        yield next(word for word in line.split() if word.startswith("http"))
    finally:
        process.terminate()
        process.wait()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser of this machine."""
    path = shutil.which("chromium")
    if path is None:
        raise ExpectedError("chromium: not found; install it, on Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, address: str, size: dict[str, int]) -> Iterator[Page]:
    """Give a page in a window of that size."""
    context = browser.new_context(viewport=size, device_scale_factor=1.25)
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


def ask(page: Page, images: list[Path]) -> None:
    """Let the page answer for the images."""
    page.set_input_files("#files", images)
    for image in images:
        card = page.locator(".answer").filter(has_text=image.name)
        card.locator(".verdict").wait_for(timeout=60_000)


if __name__ == "__main__":
    run(main)
