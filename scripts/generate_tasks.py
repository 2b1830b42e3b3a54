"""Write lm_eval's leaves and groups from the taxonomy.

python scripts/generate_tasks.py          write them into the package
python scripts/generate_tasks.py --check  exit with 1 when they differ from what would be written
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # this checkout, not an installed package

from gvs_tasks.generate import differences, write


def main() -> None:
    """Write or check the task files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    if parser.parse_args().check:
        changed = differences()
        if changed:
            sys.exit("Out of date: " + ", ".join(changed) + ". Run scripts/generate_tasks.py.")
    else:
        print(f"{write()} files written")


if __name__ == "__main__":
    main()
