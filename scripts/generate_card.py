"""Write the counts in the dataset card from the data; `gvs check` compares them.

python scripts/generate_card.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # this checkout, not an installed package

from gvs_tasks.card import CARD, render

if __name__ == "__main__":
    CARD.write_text(render(), encoding="utf-8")
    print(f"{CARD} written")
