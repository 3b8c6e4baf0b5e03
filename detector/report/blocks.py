"""What a report consists of, and how that becomes HTML or Markdown.

A report is a list of sections, a section a list of blocks. The templates
render blocks and know nothing of what is said; text from outside is escaped there and nowhere else.
"""

import base64
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from tabulate import tabulate

TEMPLATES = Path(__file__).parent / "templates"
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Code:
    """A command, path or key within a sentence."""

    text: str


@dataclass(frozen=True)
class Link:
    """A reference to a page; nothing is loaded from there."""

    text: str
    url: str


Words = str | tuple[str | Code | Link, ...]


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"
    words: Words


@dataclass(frozen=True)
class Notice:
    """Something that must not be overlooked. label: what it is, in bold before it."""

    kind: ClassVar[str] = "notice"
    words: Words
    label: str = "Warning"


@dataclass(frozen=True)
class Items:
    """A list."""

    kind: ClassVar[str] = "items"
    items: list[Words]


@dataclass(frozen=True)
class Table:
    """Cells of text, the first column naming the rows. reading: how to read it, a sentence."""

    kind: ClassVar[str] = "table"
    columns: list[str]
    rows: list[list[str]]
    reading: str
    numbers: bool = True  # all columns but the first hold figures and are set to the right


@dataclass(frozen=True)
class Figure:
    """A PNG. path: from the repository's root. alt: what it shows. reading: how to read it."""

    kind: ClassVar[str] = "figure"
    path: str
    png: bytes
    alt: str
    reading: str

    @property
    def uri(self) -> str:
        """The picture itself as an address."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, of the PNG's first chunk."""
        return struct.unpack(">II", self.png[16:24])


@dataclass(frozen=True)
class Listing:
    """Lines to copy. language: for the highlighter of Markdown."""

    kind: ClassVar[str] = "listing"
    text: str
    language: str


Block = Paragraph | Notice | Items | Table | Figure | Listing


@dataclass(frozen=True)
class Section:
    """Blocks under a title. level: 2, or 3 for a part of the section before. anchor: of links."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    level: int = 2
    anchor: str = ""


def is_png(content: bytes) -> bool:
    """Say whether the bytes begin and end as a PNG does."""
    return content.startswith(PNG + b"\x00\x00\x00\rIHDR") and content[-8:-4] == b"IEND"


def anchored(sections: Iterable[Section]) -> list[Section]:
    """Give each section the anchor that GitHub gives its heading, so that both formats agree."""
    seen: dict[str, int] = {}
    result = []
    for section in sections:
        slug = re.sub(r"[^\w\- ]", "", section.title.lower()).replace(" ", "-") or "section"
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        anchor = f"{slug}-{count}" if count else slug
        result.append(Section(section.title, section.blocks, section.level, anchor))
    return result


def render(template: str, **content: Any) -> str:
    """Fill one of the templates. Same content, same text."""
    return _environment().get_template(template).render(**content).strip() + "\n"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "html": html_words,
        "markdown": markdown_words,
        "markdown_table": markdown_table,
        "fenced": fenced,
    }
    return environment


def html_words(words: Words) -> Markup:
    """Give words in HTML; text is escaped."""
    parts = []
    for part in (words,) if isinstance(words, str) else words:
        match part:
            case Code():
                parts.append(Markup("<code>{}</code>").format(part.text))
            case Link():
                parts.append(Markup('<a href="{}">{}</a>').format(part.url, part.text))
            case _:
                parts.append(escape(part))
    return Markup("").join(parts)


def markdown_words(words: Words) -> str:
    """Give words in Markdown, on one line; in text, what Markdown or HTML would read is escaped."""
    parts = []
    for part in (words,) if isinstance(words, str) else words:
        match part:
            case Code():
                parts.append(_code_span(part.text))
            case Link():
                parts.append(f"[{_markdown(part.text)}]({part.url})")
            case _:
                parts.append(_markdown(part))
    return "".join(parts)


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~$&#])", r"\\\1", re.sub(r"\s", " ", text))


def _code_span(text: str) -> str:
    ticks = "`" * _longest_run("`", text, at_least=1)
    padding = " " if "`" in text else ""
    return f"{ticks}{padding}{text}{padding}{ticks}"


def _longest_run(character: str, text: str, at_least: int) -> int:
    """Give a length that no run of `character` in `text` has, nor any longer one."""
    runs = [len(run) for run in re.findall(f"{re.escape(character)}+", text)]
    return max([at_least, *(run + 1 for run in runs)])


def markdown_table(table: Table) -> str:
    """Give a table with pipes."""
    side = "right" if table.numbers else "left"
    return tabulate(
        [[_markdown(cell) for cell in row] for row in table.rows],
        headers=[_markdown(column) for column in table.columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=("left", *[side] * (len(table.columns) - 1)) if table.rows else None,
    )


def fenced(listing: Listing) -> str:
    """Give a listing between fences that are longer than any within it."""
    fence = "`" * _longest_run("`", listing.text, at_least=3)
    return f"{fence}{listing.language}\n{listing.text.rstrip()}\n{fence}"
