"""Any tree in the place of params.yaml: valid params, or one sentence that names the key."""

import contextlib
import copy
import tempfile
from pathlib import Path

import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from detector.base.errors import ExpectedError
from detector.base.params import read_tree
from detector.params import Params, validate
from tests.helpers import ROOT

FUZZ = settings(max_examples=300, derandomize=True, database=None, deadline=None)
TREE = yaml.safe_load((ROOT / "params.yaml").read_text())
TEXT_OF_TREE = yaml.safe_dump(TREE).encode()

TEXT = st.text(st.characters(blacklist_categories=()), max_size=20)  # lone surrogates among it
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=5)
    | st.dates() | st.sampled_from([2**63, 10**400, 0.5, "all", "minimum"])
    | st.just(5000).map(lambda digits: 16**digits)  # mapped, since hypothesis cannot write it
)  # fmt: skip
KEYS = TEXT | st.integers()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def places(tree, prefix=()):
    """Give the path to every key."""
    for key, value in tree.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from places(value, (*prefix, key))


PLACES = list(places(TREE))


def check(tree) -> str | None:
    """Give the sentence that refuses the tree, if one does."""
    try:
        assert isinstance(validate(tree), Params)
    except ExpectedError as error:
        sentence = str(error)
        assert sentence.startswith("params.yaml: ") and "'git checkout params.yaml'" in sentence
        assert sentence.isprintable()
        return sentence
    return None


@FUZZ
@given(VALUES)
def test_any_tree(tree):
    assert check(tree) is not None


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_any_value_in_the_place_of_another(changes):
    tree = copy.deepcopy(TREE)
    for path, value in changes:
        section = tree
        for key in path[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section[path[-1]] = value
    sentence = check(tree)
    if sentence is not None:
        assert any(path[0] in sentence for path, _ in changes)


@FUZZ
@given(st.sampled_from(PLACES), TEXT | st.integers() | st.none() | st.booleans(), VALUES)
def test_any_key_more(path, key, value):
    tree = copy.deepcopy(TREE)
    section = tree
    for part in path[:-1]:
        section = section[part]
    assume(key not in section)
    section[key] = value
    assert check(tree) is not None


@FUZZ
@given(st.sampled_from(PLACES), st.binary(max_size=12) | st.text(max_size=12).map(str.encode))
def test_any_bytes_in_the_place_of_a_value(path, new):
    key = path[-1].encode() + b": "
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("params.yaml").write_bytes(TEXT_OF_TREE.replace(key, key + new + b" ", 1))
        try:
            assert isinstance(validate(read_tree()), Params)
        except ExpectedError as error:
            assert str(error).startswith("params.yaml: ") and len(str(error).splitlines()) == 1
