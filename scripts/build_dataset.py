"""Write the dataset as the Hub repository gets it: Parquet per config, card and eval.yaml.

python scripts/build_dataset.py OUT
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's content, not that of an installed package

from gvs_tasks.dataset import CONFIGS, load  # noqa: E402
from gvs_tasks.errors import GVSError  # noqa: E402

CARD = ROOT / "dataset_card"


def build(out: Path) -> None:
    """Write the folder in one step: a run that is cut off leaves what was there before.

    Args:
        out: The folder; it may exist when it is empty or holds an earlier build.

    Raises:
        GVSError: When the folder holds something else or cannot be written.
    """
    if out.exists() and any(out.iterdir()) and not (out / "eval.yaml").is_file():
        raise GVSError(f"{out} holds something other than a built dataset. Choose another folder.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
            fresh = Path(scratch) / "dataset"
            shutil.copytree(CARD, fresh)
            for config in CONFIGS:
                (fresh / config).mkdir()
                load(config).to_parquet(fresh / config / "test.parquet")
            if out.exists():
                out.rename(Path(scratch) / "previous")
            fresh.rename(out)
    except OSError as error:
        raise GVSError(f"{out} cannot be written: {error}") from error


def main() -> None:
    """Build the dataset into the folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write")
    out = parser.parse_args().out
    try:
        build(out.resolve())
    except GVSError as error:
        sys.exit(f"build_dataset: {error}")
    print(f"{len(CONFIGS)} configs written to {out}")


if __name__ == "__main__":
    main()
