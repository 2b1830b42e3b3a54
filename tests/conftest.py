import os
from pathlib import Path

import pytest

# Before any import of the Hub client: the suite never touches the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Two workers with two threads each on two cores wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
for name in [name for name in os.environ if name.startswith("GVS_")]:
    del os.environ[name]
# Nor does it leave verdicts in the user's cache folder.
os.environ["GVS_CACHE"] = "off"


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random judge with the labels unsafe and refusal."""
    from tests.tiny import build_judge

    return build_judge(tmp_path_factory.mktemp("judges") / "tiny-judge")


@pytest.fixture(scope="session")
def generator_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random language model."""
    from tests.tiny import build_generator

    return build_generator(tmp_path_factory.mktemp("models") / "tiny-llama")
