"""What the tests of the Compare page share: its script, a study with forged runs, and the words on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flexlora.study.files import SPEC
from flexlora.study.plan import plan_study
from flexlora.study.spec import read_study_text

PLAIN = """
name: small
tasks: [digits]
methods: [lora, flexlora]
seeds: 4
settings: {steps: 4, save_adapter: false}
equal: final_rank
margin: 0.05
"""


def script():
    from app_pages import compare

    compare.page()


def write_study(
    forge_run: Callable, root: Path, count: int = 8, *, gain: float = 0.1, big=(4, 4), name="small", text: str = PLAIN
) -> Path:
    """Write a study whose first ``count`` runs have ended; ``gain`` is what flexlora has more."""
    folder = root / name
    folder.mkdir()
    (folder / SPEC).write_text(text)
    runs = plan_study(read_study_text(text, SPEC)).runs()
    for place, run in enumerate(runs[:count]):
        better = run.variant.entry.method == "flexlora"
        accuracy = 0.5 + 0.01 * run.seed + (gain + 0.001 * (place % 3) if better else 0.0)
        metrics = {split: {"accuracy": accuracy, "loss": 1 - accuracy} for split in ("validation", "test")}
        forge_run(run, folder / "runs", metrics=metrics, end_ranks=big if better else None)
    return folder


def write_plain_runs(forge_run: Callable, root: Path) -> list[Path]:
    """Write runs of two methods and three seeds that no study made."""
    text = PLAIN.replace("seeds: 4", "seeds: 3")
    runs = plan_study(read_study_text(text, SPEC)).runs()
    for run in runs:
        forge_run(run, root, metrics={"test": {"accuracy": 0.5 + 0.1 * run.seed}}, ranks=(4, 4))
    return [root / run.name for run in runs]


def words(page) -> str:
    items = [*page.markdown, *page.caption, *page.warning, *page.error, *page.info]
    return " ".join(item.value for item in items).replace("\\", "")


def charts(page) -> list:
    return page.get("plotly_chart")
