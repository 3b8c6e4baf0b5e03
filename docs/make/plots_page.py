"""Make the page that `dvc plots show` fills, .dvc/plots/page.html, from docs/make/plots_page.html.

    mkdir -p .work/npm
    npm pack --pack-destination .work/npm vega@5.20.2 vega-lite@5.2.0 vega-embed@6.18.2
    python -m docs.make.plots_page .work/npm

DVC's own page loads its drawing library from a CDN; this one has the library within, so that it
works without a network. The versions are those that DVC's page names: see SCRIPTS in
dvc_render/vega.py. A new version has a new row below, and its licence in .dvc/plots/NOTICE.
"""

import argparse
import base64
import hashlib
import tarfile
from pathlib import Path
from typing import NamedTuple

from detector.base.errors import ExpectedError
from detector.base.files import replacing
from detector.base.program import run

SHELL, PAGE = Path("docs/make/plots_page.html"), Path(".dvc/plots/page.html")
# Package, version, SHA-256 of its build/<package>.min.js; its integrity as npm has it, SHA-512.
PINNED = """
vega 5.20.2 4794d0169cb1f3ebad8117fe98ba5bd652dd725905ec0384e832391dbccb03be
  qmH7aD9GGPpssVdxL1xgcdxTbQzyRUeRR16Os385ymvQhiwCYQNA6+eXUPAZDTVLfk0RXu6Jzj6kUE5jQ80EVw==
vega-lite 5.2.0 d73157451b3978015ab31dacd55ff90d986ab8663fc0abed50f97b3cd90002cb
  Yxcg8MvYfxHcG6BbkaKT0oVCIMIcE19UvqIsEwBmyd/7h2nzW7oRnID81T8UrY7hpDrIr6wa2JADOT2dhGNErw==
vega-embed 6.18.2 1ba9826431ddc9805e815ad92acc811c819f2bfd32bda2a128b8c4b5070fab5e
  wcDyQPE4J5aiCDc3/suH5RQDvrKkjuLkhzUcbOLwEkNF8/+pp17tS0JghzEvAPNRg+5aG1/N2ydixq8Lk3dOlg==
"""


class Library(NamedTuple):
    """One of PINNED."""

    name: str
    version: str
    sha256: str
    integrity: str


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("packages", type=Path, help="folder of what `npm pack` brought")
    content = page(SHELL.read_text(encoding="utf-8"), parser.parse_args().packages)
    with replacing(PAGE) as path:
        path.write_bytes(content.encode())


def libraries() -> list[Library]:
    """Return PINNED, in the order in which a browser needs them."""
    words = PINNED.split()
    return [Library(*words[i : i + 4]) for i in range(0, len(words), 4)]


def page(shell: str, packages: Path) -> str:
    """Return the shell with the libraries in the place of {libraries}."""
    return shell.replace("{libraries}", "\n".join(element(one, packages) for one in libraries()))


def element(library: Library, packages: Path) -> str:
    """Return the library as an element of a page.

    Raises ExpectedError for a package that is missing or another one, and for code that ends the
    element early or has a word that DVC fills.
    """
    path = packages / f"{library.name}-{library.version}.tgz"
    if not path.is_file():
        raise ExpectedError(f"{path}: not found; bring it by npm pack, see docs/make/plots_page.py")
    if hashlib.sha512(path.read_bytes()).digest() != base64.b64decode(library.integrity):
        raise ExpectedError(
            f"{path}: not the package that docs/make/plots_page.py names by its hash"
        )
    with tarfile.open(path) as package:
        code = package.extractfile(f"package/build/{library.name}.min.js").read().decode()
    for word in ("</script", "<!--", "{scripts}", "{plot_divs}", "{refresh_tag}", "{libraries}"):
        if word in code:
            raise ExpectedError(f"{path}: its code has {word}, which would break the page")
    return f"<script>{code}</script>"


if __name__ == "__main__":
    run(main)
