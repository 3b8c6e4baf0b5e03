"""What DVC knows of the experiments of the current commit."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any


def shown() -> list[dict[str, Any]]:
    """Give the output of `dvc exp show --json`; end the program with one sentence if it fails."""
    done = subprocess.run(["dvc", "exp", "show", "--json"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("error: 'dvc exp show --json' failed; run this at the top of the repository")
    return json.loads(done.stdout)


def runs(shown: list[dict[str, Any]]) -> Iterator[tuple[str, dict, dict[str, dict]]]:
    """Yield revision, params and metrics of each run in the output of `dvc exp show --json`, once.

    Metrics are by path, such as metrics/resnet50.json. Runs that failed or are still queued have
    none and are left out; so is the workspace, which repeats another one.
    """
    for commit in shown:
        if commit.get("rev") == "workspace":
            continue
        revisions = [commit] + [e["revs"][0] for e in commit.get("experiments") or [] if e["revs"]]
        for revision in revisions:
            data = revision.get("data") or {}
            params = (data.get("params") or {}).get("params.yaml", {}).get("data")
            metrics = {
                path: content["data"]
                for path, content in (data.get("metrics") or {}).items()
                if content.get("data")
            }
            if params and metrics:
                yield revision["rev"], params, metrics
