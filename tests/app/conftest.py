"""The app's folder on the path, as `streamlit run` puts it there, and real run logs made on the spot."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
APP = REPOSITORY / "app"
if str(APP) not in sys.path:
    sys.path.insert(0, str(APP))
