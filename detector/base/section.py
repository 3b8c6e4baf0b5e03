"""Sections of params.yaml: how each is checked, and one sentence for what is wrong with it."""

import os
import re
import reprlib
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from detector.base.errors import ExpectedError

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Threads = Annotated[int, Field(strict=True, ge=1, le=1024)]


def _rises(pair: list[float]) -> list[float]:
    if len(pair) != 2 or pair[0] > pair[1]:
        raise ValueError(f"must be [lowest, highest], not {pair}")
    return pair


Rising = AfterValidator(_rises)


def _is_not_home(path: str) -> str:
    if path.startswith("~"):  # DVC, which looks for the file as well, does not expand it either
        home = os.path.expanduser(path)  # as it is, for a user who is not known
        raise ValueError(f"~ is not expanded; write {home if home != path else f'./{path}'}")
    return path


FilePath = Annotated[str, AfterValidator(_is_not_home)]


class Section(BaseModel):
    """Keys that are known, of the type that is said, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClassCounts(Section):
    """Number of images of each class."""

    REAL: int = Field(ge=1)
    FAKE: int = Field(ge=1)


def check(schema: Any, tree: Any) -> Any:
    """Return the content of params.yaml, or a part of it, as an instance of `schema`.

    schema: a Section. tree: what a YAML parser made of the file. Raises ExpectedError with one
    sentence that names every wrong key, what is wrong with its value, and where values are set.
    """
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        problems: dict[str, list[Any]] = {}
        for problem in error.errors():
            problems.setdefault(_key(problem["loc"]), []).append(problem)
        wrong = "; ".join(f"{key}: {_reason(found)}" for key, found in problems.items())
        raise ExpectedError(
            f"params.yaml: {wrong}. Values are set in conf/ or with "
            "'dvc exp run -S KEY=VALUE'; 'git checkout params.yaml' undoes an edit"
        ) from error


# What pydantic appends to the location of a value of a union: the branch that did not match.
_BRANCH = re.compile(r"int|float|str|constrained-\w+|literal\[.*\]|\[key\]")


def _key(location: tuple[int | str, ...]) -> str:
    # What is not printable is escaped: the sentence is one line.
    parts = [str(part) if str(part).isprintable() else ascii(part) for part in location]
    if parts and _BRANCH.fullmatch(parts[-1]):
        parts.pop()
    return ".".join(parts) or "the file"


def _reason(problems: list[Any]) -> str:
    """Say what is wrong with one key: one problem, or one for each branch of a union."""
    first = problems[0]
    match first["type"]:
        case "extra_forbidden":
            return "is not a key that exists"
        case "missing":
            return "is missing"
        case "value_error":
            return first["msg"].removeprefix("Value error, ")
        case "invalid_key":
            wanted = "must be text"
        case "model_type" | "dict_type":
            wanted = "must hold keys and values"
        case "string_pattern_mismatch":
            wanted = f"must match {first['ctx']['pattern']}"
        case "too_short":
            wanted = "must not be empty"
        case "string_too_long":
            wanted = f"must have at most {first['ctx']['max_length']} characters"
        case _:
            ways = [problem["msg"].removeprefix("Input should be ") for problem in problems]
            wanted = f"must be {' or '.join(ways)}"
    return f"{wanted}, not {_shown(first['input'])}"


def _shown(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # a number of thousands of digits, which Python does not write
        return "a number that is too long to show"
