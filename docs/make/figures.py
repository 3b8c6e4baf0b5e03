"""Write the measured figures of README.md and sample/README.md anew, from the files of results.

    python -m docs.make.figures       # after new results in metrics/ or benchmarks/results/

Each sentence and table of docs/make/figure_texts.py stands in its document word by word; only the
numbers are replaced there. `tests/test_readme_figures.py` tells when one is not that of its file.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from detector.base.errors import ExpectedError
from detector.base.files import replacing
from detector.base.program import run
from docs.make import figure_texts

ROOT = Path(__file__).resolve().parents[2]
NUMBER = re.compile(r"(?:\d+(?:,\d{3})*(?:\.\d+)*|\.\d+)(?:e[+-]?\d+)?(?!\.?\d)")  # a version too
Spans = list[tuple[int, int]]


def main() -> None:
    """Rewrite both documents, and say what has changed."""
    for name, sentences in figures().items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        new, _ = rewritten(text, sentences, name)
        if new != text:
            with replacing(path) as partial:
                partial.write_text(new, encoding="utf-8")
        print(f"{name}: {'rewritten' if new != text else 'has the figures of the files'}")


def figures() -> dict[str, list[str]]:
    """Return the sentences and tables of each document. Raises ExpectedError for other results."""
    try:
        return {"README.md": figure_texts.readme(), "data/sample/README.md": figure_texts.sample()}
    except (OSError, ValueError, LookupError) as error:
        raise ExpectedError(
            f"metrics/ or benchmarks/results/ are not those of the default run ({error!r}); "
            "'git checkout metrics plots docs benchmarks/results' brings these back"
        ) from error


def rewritten(text: str, sentences: Iterable[str], name: str) -> tuple[str, Spans]:
    """Return the text of a document with the numbers of the sentences, and where these stand.

    Line breaks stay as they are. Raises ExpectedError for a sentence that is not in it once.
    """
    spans = []
    for sentence in sentences:
        parts = [r"\s+".join(map(re.escape, re.split(r"\s+", p))) for p in NUMBER.split(sentence)]
        places = list(re.finditer(f"({NUMBER.pattern})".join(parts), text))
        if len(places) != 1:
            raise ExpectedError(
                f"{name}: '{sentence[:70]} ...' stands there {len(places)} times, numbers aside; "
                "write the document and docs/make/figure_texts.py alike"
            )
        (place,) = places
        for group, number in reversed(list(enumerate(NUMBER.findall(sentence), start=1))):
            text = text[: place.start(group)] + number + text[place.end(group) :]
    for sentence in sentences:
        words = r"\s+".join(map(re.escape, re.split(r"\s+", sentence)))
        spans.append(re.search(words, text).span())
    return text, spans


if __name__ == "__main__":
    run(main)
