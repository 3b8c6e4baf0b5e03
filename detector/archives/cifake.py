"""In what an archive is not CIFAKE: which of its 120,000 files is missing, added or another.

Kept are no hashes of the files but of the rows and columns of a table of them all: a file that is
not as published is where its row and its column cross.
"""

import hashlib
from importlib import resources

_SIDE = 347  # the smallest square that 120,000 files go into
_DIGITS = 8  # of a sha256 in hex, kept of each row and column
_KEPT = "cifake_checks.txt"


def names() -> list[str]:
    """Return the name of each file of CIFAKE, sorted."""
    kinds = ["", *(f" ({k})" for k in range(2, 11))]
    starts = {
        "train/REAL": [f"{i:04}" for i in range(5000)],
        "train/FAKE": [f"{i}" for i in range(1000, 6000)],
        "test/REAL": [f"{i:04}" for i in range(1000)],
        "test/FAKE": [f"{i}" for i in range(1000)],
    }
    return sorted(
        f"{place}/{start}{kind}.jpg"
        for place, each in starts.items()
        for start in each
        for kind in kinds
    )


def checks(digests: list[str]) -> list[str]:
    """Return the checks of all rows, then of all columns, of the table of `digests`.

    digests: the sha256 of each file, in the order of `names`.
    """
    rows = [digests[i : i + _SIDE] for i in range(0, len(digests), _SIDE)]
    columns = [digests[i::_SIDE] for i in range(_SIDE)]
    return [hashlib.sha256("".join(part).encode()).hexdigest()[:_DIGITS] for part in rows + columns]


def difference(digests: list[tuple[str, str]]) -> str:
    """Return in words which files are not those of CIFAKE; empty where all are.

    digests: of zips.member_digests.
    """
    published, found = names(), [name for name, _ in digests]
    missing, added = set(published) - set(found), set(found) - set(published)
    parts = [
        f"{what} {_some(sorted(which))}"
        for what, which in (("it lacks", missing), ("it has besides", added))
        if which
    ]
    if len(found) > len(set(found)):
        parts.append("it has some files twice")
    return " and ".join(parts) or _changed(published, [digest for _, digest in digests])


def _changed(published: list[str], digests: list[str]) -> str:
    kept = resources.files("detector.archives").joinpath(_KEPT).read_text("ascii").split()
    wrong = [i for i, (a, b) in enumerate(zip(kept, checks(digests), strict=True)) if a != b]
    rows = len(kept) - _SIDE
    across, down = ([i for i in wrong if i < rows], [i - rows for i in wrong if i >= rows])
    crossing = [published[i * _SIDE + j] for i in across for j in down if i * _SIDE + j < 120_000]
    if not crossing:
        return ""
    fewest = max(len(across), len(down))
    among = "" if fewest == len(crossing) else f"at least {fewest} of "
    return f"another content has {among}{_some(crossing)}"


def _some(which: list[str]) -> str:
    more = f" and {len(which) - 3:,} more" if len(which) > 3 else ""
    return ", ".join(which[:3]) + more
