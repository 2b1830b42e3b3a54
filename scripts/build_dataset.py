"""Write the dataset as the Hub repository gets it: Parquet per config, card and metadata.

python scripts/build_dataset.py OUT
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's content, not that of an installed package

from gvs_tasks.croissant import describe  # noqa: E402
from gvs_tasks.dataset import CONFIGS, HUB_ID, load  # noqa: E402
from gvs_tasks.errors import GVSError  # noqa: E402

CARD = ROOT / "dataset_card"
CROISSANT = "croissant.json"
ENTRIES = {*CONFIGS, CROISSANT, "LICENSE", *(path.name for path in CARD.iterdir())}


def build(out: Path, hub_id: str = HUB_ID) -> None:
    """Write the folder in one step: a run that is cut off leaves what was there before.

    Args:
        out: The folder; it may exist when it holds nothing but an earlier build.
        hub_id: The Hub repository that its metadata names.

    Raises:
        GVSError: When the folder holds something else or cannot be written.
    """
    if out.exists():
        foreign = {p.name for p in out.iterdir()} - ENTRIES if out.is_dir() else {out.name}
        if foreign:
            raise GVSError(
                f"{out} is more than a built dataset ({min(foreign)}). Choose another folder."
            )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
            fresh = Path(scratch) / "dataset"
            shutil.copytree(CARD, fresh)
            shutil.copy(ROOT / "LICENSE-DATA", fresh / "LICENSE")
            for config in CONFIGS:
                (fresh / config).mkdir()
                load(config).to_parquet(fresh / config / "test.parquet")
            metadata = json.dumps(describe(fresh, hub_id), ensure_ascii=False, indent=1)
            (fresh / CROISSANT).write_text(metadata + "\n", encoding="utf-8")
            _replace(out, fresh, Path(scratch) / "previous")
    except OSError as error:
        raise GVSError(f"{out} cannot be written: {error}") from error


def _replace(out: Path, fresh: Path, previous: Path) -> None:
    """Put the new folder in the old one's place; whatever goes wrong, one of them is there."""
    if out.exists():
        out.rename(previous)
    try:
        fresh.rename(out)
    except BaseException:
        if previous.exists():
            previous.rename(out)
        raise


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
