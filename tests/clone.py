"""A clone of the working tree with a small archive and short training, and its commands."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT, make_archive
from tests.strict import strict


class Clone:
    """A clone of this repository's working tree, with its commands."""

    def __init__(self, folder):
        self.folder = folder
        # The interpreter's folder first: `python` in dvc.yaml and `dvc` are of this environment.
        self.environment = {
            **{k: v for k, v in strict().items() if not k.startswith(("KAGGLE_", "DVC_"))},
            "HOME": str(folder.parent),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def __call__(self, command, *, fails=False):
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.environment, text=True,
            capture_output=True, timeout=500,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def path(self, name):
        return self.folder / name

    def json(self, name):
        return json.loads(self.path(name).read_text())

    def commit(self):
        self("git add -A && git commit --quiet --allow-empty -m work")


def shorten(path, **values):
    """Set values of a file in conf/ as an editor would, comments and all; nested ones vanish."""
    text = path.read_text()
    for key, value in values.items():
        text, found = re.subn(
            rf"(?m)^( *){key}:.*\n(?:\1 +.*\n)*", rf"\g<1>{key}: {value}  # short\n", text
        )
        assert found == 1, key
    path.write_text(text)


def small_clone(folder, *overrides):
    """Make one that no command has run in yet. overrides: of conf/, as for -S."""
    folder.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        # Results belong to the committed configuration; this clone makes its own.
        made = name.split("/")[0] in ("metrics", "plots", "results", "dvc.lock")
        if made or not (ROOT / name).exists():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    make_archive(folder / "data/sample/sample.zip", each=20)
    shorten(folder / "conf/data/sample.yaml", sha256="null")
    shorten(folder / "conf/train/quick.yaml", epochs=2, steps_per_epoch=2, batch_size=8)
    # By name ResNet-50, since the commands name it. Its real self takes minutes to start ten times:
    # tests/test_model.py, test_backbones.py and test_gradcam.py have it.
    (folder / "conf/model/resnet50.yaml").write_text(
        "defaults:\n  - _scratch@resnet50\nresnet50:\n  builder: bird_lotfi\n"
        "  learning_rate: 0.001\n"
    )
    default = folder / "conf/model/default.yaml"
    default.write_text(default.read_text().replace("  - inceptionv3\n", ""))
    text = (folder / "conf/config.yaml").read_text()
    (folder / "conf/config.yaml").write_text(text.replace("max_images: 400", "max_images: 12"))
    run = Clone(folder)
    run("git init --quiet && git config user.name t && git config user.email t@example.com")
    run(" ".join(["python -m conf.compose", *overrides]))
    run.commit()
    return run
