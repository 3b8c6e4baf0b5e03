"""The launch files of docs/launch do what they say, as far as shows without a cluster."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.helpers import ROOT

LAUNCH = ROOT / "docs/launch"
RECORD = """#!/bin/bash
printf '%s\\t%s\\t%s\\n' "$(basename "$0")" "$*" "$TF_CONFIG" >> "$LOG"
"""
SCONTROL = "#!/bin/bash\necho node9\necho node10\n"
# Two tasks of a step, one on each node.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for SLURM_NODEID in 0 1; do SLURM_NODEID=$SLURM_NODEID "$@"; done
"""


@pytest.fixture
def bin_folder(tmp_path):
    """Commands that write down what they were called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {
        "dvc": RECORD, "python": RECORD, "scontrol": SCONTROL, "srun": SRUN,
    }.items():  # fmt: skip
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def calls(command: list[str], bin_folder: Path, **variables: str) -> list[list[str]]:
    """Run a command; give name, arguments and TF_CONFIG of each call that it made."""
    log = bin_folder.parent / "log"
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        command, check=True, cwd=bin_folder.parent,
        env={**os.environ, "PATH": path, "LOG": str(log), **variables},
    )  # fmt: skip
    return [line.split("\t") for line in log.read_text().splitlines()]


def check(found: list[list[str]], workers: list[str]) -> None:
    assert [call[:2] for call in found] == [
        ["dvc", "repro train@cnn32"],
        ["python", "-m stages.train --model cnn32"],
    ]
    for index, (_, _, config) in enumerate(found):
        assert json.loads(config) == {
            "cluster": {"worker": workers},
            "task": {"type": "worker", "index": index},
        }


def test_slurm(bin_folder):
    command = ["bash", str(LAUNCH / "slurm.sh"), "cnn32"]
    found = calls(command, bin_folder, SLURM_JOB_NODELIST="node[9-10]", PORT="29400")
    check(found, ["node9:29400", "node10:29400"])


def test_slurm_without_a_backbone(bin_folder):
    done = subprocess.run(
        ["bash", str(LAUNCH / "slurm.sh")], capture_output=True, text=True, cwd=bin_folder
    )
    assert done.returncode == 1 and "the name of a backbone" in done.stderr


def test_kubernetes(bin_folder):
    service, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert spec["completions"] == spec["parallelism"] == int(variables["WORKERS"]) == 2
    # The names that pods of an indexed job have in a headless service.
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"] == "detector"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    command = [*container["command"], *container["args"]]
    variables["BACKBONE"] = "cnn32"
    for index in ("0", "1"):
        found = calls(command, bin_folder, **variables, JOB_COMPLETION_INDEX=index)
    check(found, ["detector-0.detector:29400", "detector-1.detector:29400"])
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
