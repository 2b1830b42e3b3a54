import os
import subprocess
import sys
import time

import pytest

from gvs_tasks import __version__, tasks_path
from gvs_tasks.gates import GATES, coverage
from gvs_tasks.schema import load_items
from gvs_tasks.taxonomy import CONTENT

HEAVY = {"torch", "transformers", "datasets", "lm_eval", "numpy", "pydantic", "rich"}


def gvs(*arguments: str, code: int = 0, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gvs_tasks", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environ,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert "gvs_tasks" in modules
    return modules


@pytest.mark.parametrize(
    "code",
    [
        "import gvs_tasks; gvs_tasks.tasks_path()",
        "import gvs_tasks.cli",
        "from typer.testing import CliRunner; from gvs_tasks.cli import app\n"
        "CliRunner().invoke(app, ['--help'])",
    ],
)
def test_light_imports(code):
    assert not HEAVY & loaded_by(code)


def test_the_help_is_quick():
    """The best of five: other work on the machine makes single runs slow."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        gvs("--help")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.3, times


def test_version_and_path():
    assert gvs("--version").strip() == f"gvs-bench {__version__}"
    assert gvs("path").strip() == str(tasks_path())
    assert (tasks_path() / "gvs/_gvs.yaml").is_file()


def test_help_lists_every_command():
    listed = gvs("--help")
    assert all(
        f"  {name} " in listed for name in ("run", "path", "link", "judge", "judges", "check")
    )


def test_run_shows_the_flags_of_lm_eval():
    assert "--apply_chat_template" in gvs("run", "--help")


def test_judges():
    assert "gvs-small" in gvs("judges")


def test_check_prints_what_is_there():
    output = gvs("check")
    assert "12 categories" in output and "task files: up to date" in output
    assert all(f"{gate}: ok" in output for gate in GATES)
    (row,) = [line for line in output.splitlines() if line.startswith("  bias ")]
    (part,) = [part for part in coverage(load_items()) if part.category.slug == "bias"]
    assert row.split()[1:4] == [str(part.items), str(part.situations), str(len(part.risks))]


@pytest.fixture
def copied(tmp_path):
    """A copy of the package to spoil, run as a user would."""
    import shutil

    shutil.copytree(CONTENT.parent, tmp_path / "gvs_tasks")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "old", "new", "message"),
    [
        ("content/items/bias.yaml", "severity: 1", "severity: 7", "BIA-001: severity"),
        ("content/taxonomy.yaml", "layer: baseline", "layer: base", "no layer 'base'"),
        ("tasks/gvs/_gvs.yaml", "gvs_zh", "gvs_fr", "Run scripts/generate_tasks.py"),
        ("content/judge_pool/bias.yaml", "kind: benign_helpful", "kind: benign", "answers.0.kind"),
        ("content/incidents/bias.yaml", "status: confirmed", "status: sure", "status"),
        ("content/items/bias.yaml", "id: BIA-002", "id: BIA-099", "BIA-002: missing"),
        ("content/items/life_safety.yaml", "incidents: []", "mirror_set: alone", "no other member"),
    ],
)
def test_check_names_what_is_wrong(copied, path, old, new, message):
    file = copied / "gvs_tasks" / path
    file.write_text(file.read_text().replace(old, new, 1))
    done = subprocess.run(
        [sys.executable, "-m", "gvs_tasks", "check"], capture_output=True, text=True, cwd=copied
    )
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_a_traceback_when_asked_for(copied):
    (copied / "gvs_tasks/tasks/gvs/_gvs.yaml").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "gvs_tasks", "check"],
        capture_output=True,
        text=True,
        cwd=copied,
        env=os.environ | {"GVS_TRACEBACK": "1"},
    )
    assert "Traceback" in done.stderr
