"""No key, token or password is in a file that Git has or had, and CI has no right to spare."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings

from detector.archives.settings import DataParams
from tests.helpers import ROOT

# Values that look like secrets and are none, each with the reason. No line or file is excepted.
EXPLAINED = {
    (ROOT / "data/sample/sample.zip.sha256").read_text().split()[0],
    # of the content of the sample and of CIFAKE: in conf/, and from there in params and the report
    *(
        DataParams(**yaml.safe_load((ROOT / f"conf/data/{name}.yaml").read_text())).pinned
        for name in ("sample", "cifake")
    ),
    # of the weights of published runs
    *(
        timed["weights_sha256"]
        for path in ROOT.glob("results/*/*/cost.json")
        for backbone in json.loads(path.read_text())["backbones"].values()
        for timed in backbone.values()
    ),
    "test-access-key",  # of the S3 server on loopback in tests/s3_server.py
    "test-secret-key",
}

# detect-secrets does not know Kaggle's own, outside quotes.
KAGGLE = re.compile(r"KGAT_[0-9a-f]{32}|KAGGLE_(?:KEY|API_TOKEN)\W{1,4}\w{20,}")

# Of detect-secrets: those that except a line by a comment, and a file by its name.
FILTERS = [
    "detect_secrets.filters.allowlist.is_line_allowlisted",
    "detect_secrets.filters.heuristic.is_lock_file",
    "detect_secrets.filters.heuristic.is_non_text_file",
    "detect_secrets.filters.heuristic.is_swagger_file",
]


def git(*command, content=None):
    return subprocess.run(
        ["git", *command], cwd=ROOT, input=content, capture_output=True, check=True
    ).stdout


def findings(folder, names):
    """Give (file, kind) of what looks like a secret to any detector of detect-secrets, or to us.

    Only what stands for a value, such as a variable's name, is let pass. Nothing is sent anywhere
    to see whether it is valid.
    """
    with default_settings() as settings:
        settings.disable_filters(*FILTERS)
        for name in names:
            for secret in scan_file(str(folder / name)):
                if secret.secret_value not in EXPLAINED:
                    yield name, secret.type
            if KAGGLE.search((folder / name).read_text("utf-8", errors="ignore")):
                yield name, "Kaggle"


def current():
    """Give the files of the working tree that Git has or would take."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").decode()
    return sorted({name for name in filter(None, listed.split("\0")) if (ROOT / name).is_file()})


def test_no_secret_in_any_file():
    names = current()
    assert len(names) > 200
    assert list(findings(ROOT, names)) == []


def test_what_is_not_text_is_of_known_kinds():
    """Such files are passed over."""
    passed_over = set()
    for name in current():
        try:
            (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            passed_over.add(Path(name).suffix)
    assert passed_over <= {".npy", ".npz", ".png", ".zip"}


def earlier(known):
    """Give (name, content) of every file of any commit that is not among the `known` hashes."""
    lines = git("rev-list", "--objects", "HEAD").decode("utf-8", "surrogateescape").splitlines()
    names = dict(line.split(" ", 1) for line in lines if " " in line)
    wanted = [key for key in names if key not in known]
    stream = git("cat-file", "--batch", content="\n".join(wanted).encode() + b"\n")
    place = 0
    for key in wanted:
        end = stream.index(b"\n", place)
        _, kind, size = stream[place:end].split()
        place = end + 1 + int(size) + 1
        if kind == b"blob":
            yield names[key], stream[end + 1 : place - 1]


@pytest.mark.soak
def test_no_secret_in_any_file_of_the_history(tmp_path):
    """As far back as the clone reaches: in CI, and from a full clone, to the first commit."""
    known = {line.split()[2] for line in git("ls-tree", "-r", "HEAD").decode().splitlines()}
    found, seen = [], 0
    for seen, (name, content) in enumerate(earlier(known), 1):
        path = tmp_path / str(seen) / Path(name).name
        path.parent.mkdir()
        path.write_bytes(content)
        found += [(name, kind) for _, kind in findings(path.parent, [path.name])]
    assert found == [], f"in one of {seen} earlier files"


HEX = hashlib.sha256(b"planted").hexdigest()[:32]
LONG = "Zq8" + HEX[:16] + "Wx" + HEX[16:31]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("kaggle.json", f'{{"username": "someone", "key": "{HEX}"}}'),
        ("run.sh", f"export KAGGLE_KEY={HEX}"),
        ("notes.md", f"with the token KGAT_{HEX}"),
        ("cifake.yaml", f"kaggle_key: {HEX}"),
        ("page.css", f"/* password: '{LONG}' */"),
        ("download.py", f'password = "{LONG}"'),
        ("config", "url = https://someone:" + HEX[:9] + "@example.com/data"),
        ("config.ini", "access_key_id = AKIA" + HEX[:16].upper()),
        ("key.txt", "-----BEGIN RSA PRIVATE" + " KEY-----"),
        ("ci.yml", "token: ghp_" + HEX + "aB3d"),
        ("allowed.py", f'password = "{LONG}"  # pragma: allowlist secret'),
    ],
)
def test_a_planted_secret_is_found(tmp_path, name, line):
    (tmp_path / name).write_text(f"\n{line}\n\n")
    assert {found for found, _ in findings(tmp_path, [name])} == {name}


def test_what_only_names_a_secret_is_let_pass(tmp_path):
    (tmp_path / "a.py").write_text('password = os.environ["PASSWORD"]\nkey = "name"\n')
    (tmp_path / "a.sh").write_text("export KAGGLE_API_TOKEN=$TOKEN\n")
    assert list(findings(tmp_path, ["a.py", "a.sh"])) == []


def test_ci_runs_pinned_actions_with_the_rights_to_read():
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert len(used) > 5
    for action, comment in used:
        assert re.search(r"@[0-9a-f]{40}$", action), f"{action}: a tag can be moved"
        assert re.match(r"  # v\d+\.\d+\.\d+$", comment), f"{action}: which version is it?"
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    may_write = {
        name for name, job in workflow["jobs"].items() if "write" in str(job.get("permissions"))
    }
    assert may_write == {"report"}  # which comments on pull requests
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")


def test_every_make_target_of_ci_exists():
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"run: make ([\w-]+)", text)
    assert "repro" in targets
    assert [name for name in targets if not re.search(rf"(?m)^{name}:", makefile)] == []
