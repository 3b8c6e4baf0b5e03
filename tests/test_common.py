"""What the stage scripts share: errors in one line, declared params only."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from dvc.repo import Repo

from detector.base import program
from detector.base.errors import ExpectedError
from detector.base.params import _declared, read_params, read_tree
from detector.base.section import Section, Seed
from detector.params import Params, validate
from detector.training.settings import TrainParams
from tests.helpers import ROOT, composed_params

IMPORTS = """
from detector.base.errors import ExpectedError
from detector.base.files import replacing
from detector.base.program import run
"""


def run_in_python(code):
    return subprocess.run(
        [sys.executable, "-c", IMPORTS + code],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_an_expected_error_is_one_line_and_exit_code_1():
    done = run_in_python("def main(): raise ExpectedError('a.zip: no')\nrun(main)")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: a.zip: no\n")


def test_a_defect_keeps_its_traceback():
    done = run_in_python("run(lambda: 1 / 0)")
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_a_keyboard_interrupt_is_quiet():
    with pytest.raises(SystemExit) as caught:
        program.run(lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert caught.value.code == 130


def test_a_terminated_stage_leaves_nothing_half_written(tmp_path):
    code = (
        "import os, signal\n"
        "def main():\n"
        f"    with replacing({str(tmp_path / 'out')!r}) as path:\n"
        "        path.write_text('half')\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        path.write_text('whole')\n"
        "run(main)"
    )
    done = run_in_python(code)
    assert done.returncode == 143 and done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_no_memory_left_is_one_sentence():
    done = run_in_python("run(lambda: bytearray(1 << 60))")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: the memory of this machine is used up; ")


def test_a_stage_that_works():
    assert program.run(lambda: None) is None


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_read_params_by_hand_gives_all(in_folder):
    tree = composed_params(in_folder, "train.epochs=7")
    seen = read_params(train=TrainParams, seed=Seed)
    assert seen.train == validate(tree).train and seen.train.epochs == 7
    assert set(dict(seen)) == {"train", "seed"}
    assert validate(read_tree()).train.epochs == 7


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"a: [1", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"a: b: c", "cannot be read"),
        (b"", "must hold keys and values"),
        (b"seed: !!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_a_params_file_that_cannot_be_read(in_folder, content, words):
    if content is not None:
        (in_folder / "params.yaml").write_bytes(content)
    with pytest.raises(ExpectedError) as caught:
        read_params(seed=Seed)
    assert str(caught.value).startswith("params.yaml: ") and words in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.fixture
def params(tmp_path):
    return validate(composed_params(tmp_path))


def leaves(section, name=""):
    """Give the names of all values below a section: train.augmentation.zoom."""
    if not isinstance(section, dict | Section | SimpleNamespace):
        return {name}
    fields = section if isinstance(section, dict) else vars(section)
    return {leaf for key in fields for leaf in leaves(fields[key], f"{name}.{key}".lstrip("."))}


STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
for shown in ("compare", "report"):  # of the whole file
    STAGES.pop(shown)


@pytest.mark.parametrize("stage", STAGES)
def test_under_dvc_a_stage_sees_what_it_declares_and_no_more(stage, in_folder, monkeypatch):
    tree = composed_params(in_folder, "model=paper")
    shutil.copy(ROOT / "dvc.yaml", in_folder)
    Repo.init(no_scm=True).close()
    monkeypatch.setenv("DVC_STAGE", f"{stage}@resnet50" if "foreach" in STAGES[stage] else stage)
    declared = STAGES[stage].get("do", STAGES[stage])["params"]
    keys = tuple(key.replace("${key}", "resnet50") + "." for key in declared)
    wanted = {leaf for leaf in leaves(tree) if f"{leaf}.".startswith(keys)}
    schemas = {name: field.annotation for name, field in Params.model_fields.items()}
    assert leaves(read_params(**schemas)) == wanted
    assert wanted < leaves(tree)


def test_a_stage_that_reads_what_it_does_not_declare_fails(in_folder):
    composed_params(in_folder)
    Repo.init(no_scm=True).close()
    code = (
        "from detector.base.params import read_params; from detector.base.section import Seed; "
        "from detector.training.settings import TrainParams; "
        "p = read_params(seed=Seed, train=TrainParams); p.seed; p.train.epochs"
    )
    stage = {"cmd": f"{sys.executable} -c '{code}'", "params": ["seed", "train.batch_size"]}
    (in_folder / "dvc.yaml").write_text(json.dumps({"stages": {"reads": stage}}))
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0 and "failed to reproduce 'reads'" in done.stderr
    assert "has no attribute 'epochs'" in done.stderr


def test_what_is_not_declared_cannot_be_read(params):
    tree = {"seed": 1, "data": {"name": "sample"}, "preprocess": {**dict(params.preprocess)}}
    seen = _declared(params, tree)
    assert seen.seed == params.seed and seen.data.name == params.data.name
    assert seen.preprocess is params.preprocess  # declared in full
    for read in (lambda: seen.data.path, lambda: seen.train, lambda: seen.model):
        with pytest.raises(AttributeError):
            read()


def test_one_declared_model_is_the_only_one(params):
    tree = params.model_dump()
    seen = _declared(params, {"model": {"resnet50": tree["model"]["resnet50"]}})
    assert seen.model == {"resnet50": params.model["resnet50"]}
    assert not seen.model["resnet50"].own  # still a pydantic model
    assert _declared(params, {"model": tree["model"]}).model == params.model


def test_a_section_declared_in_part_deep_inside_hides_the_rest(params):
    tree = params.model_dump()
    tree["train"]["augmentation"] = {"zoom": 0.0}
    seen = _declared(params, tree)
    assert isinstance(seen.train, SimpleNamespace) and seen.train.epochs == params.train.epochs
    with pytest.raises(AttributeError):
        _ = seen.train.augmentation.horizontal_flip
    assert _declared(params, params.model_dump()) is params


def test_the_values_are_the_checked_ones(params):
    """Not those that another parser of the file made."""
    seen = _declared(params, {"seed": "other", "data": {"image_size": 99}})
    assert seen.seed == params.seed and seen.data.image_size == 32
