"""Write TREC's six coarse classes as the rows that task ``text`` reads. Its data has no licence and is not shipped.

    python benchmarks/trec.py data/TREC

The folder holds ``train_5500.label`` and ``TREC_10.label`` (Li & Roth 2002); ``train.jsonl`` and ``test.jsonl`` appear
beside them. Every tenth question is held out for validation by the task.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FILES = {"train_5500.label": "train.jsonl", "TREC_10.label": "test.jsonl"}


def main(folder: Path) -> None:
    """Convert both files."""
    for source, target in FILES.items():
        lines = (folder / source).read_text(encoding="latin-1").splitlines()
        pairs = [(text, label.split(":")[0]) for label, _, text in (line.partition(" ") for line in lines)]
        rows = [json.dumps({"text": text, "label": label}) for text, label in pairs]
        (folder / target).write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
