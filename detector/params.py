"""params.yaml as a whole: what it must hold, and one sentence for what is wrong with it."""

import re
import reprlib
from typing import Any

from pydantic import Field, ValidationError, field_validator

from detector.errors import ExpectedError
from detector.settings import (
    DataParams,
    EvaluateParams,
    ModelEntry,
    NamedWeights,
    PreprocessParams,
    Section,
    TrainParams,
)


class Params(Section):
    """All of params.yaml."""

    seed: int = Field(ge=0, lt=2**31)
    threads: int = Field(ge=1, le=1024)
    data: DataParams
    preprocess: PreprocessParams
    model: dict[str, ModelEntry] = Field(min_length=1)
    named_weights: NamedWeights
    train: TrainParams
    evaluate: EvaluateParams

    @field_validator("model")
    @classmethod
    def _names_are_plain(cls, models: dict[str, ModelEntry]) -> dict[str, ModelEntry]:
        for name in models:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is not made of letters, digits and _")
            if name in ("compare", "data"):
                raise ValueError(f"{name!r} is taken: plots/{name} is another stage's")
        return models


def validate(tree: Any) -> Params:
    """Check the content of params.yaml.

    tree: what a YAML parser made of the file. Raises ExpectedError with one sentence that names
    every wrong key, what is wrong with its value, and where values are set.
    """
    try:
        return Params.model_validate(tree)
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
