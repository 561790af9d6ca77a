"""A study for a parent process, such as the app: ``python -m flexlora.study.served``.

It reads one JSON object a line: first ``{"study": text, "out": folder, "jobs": n, "allow_unequal": bool}``, later
``{"command": "stop"}``. It writes ``{"what": ..., "done": ..., "total": ..., "steps": ...}`` about twice a second and
last ``{"summary": ...}``, ``{"error": one line}`` or ``{"stopped": true}``. The end of its input stops it, so that it
never outlives its parent by more than a step.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from flexlora.child import Answers, listen
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError
from flexlora.study.files import SPEC
from flexlora.study.plan import plan_study
from flexlora.study.progress import Count
from flexlora.study.runner import StudyStopped, run_study
from flexlora.study.spec import read_study_text


def main() -> int:
    """Make the study that the first line asks for; what is done is kept and not repeated."""
    answer = Answers()
    stopping = threading.Event()
    asked = json.loads(sys.stdin.readline() or "{}")

    def heard(message: dict[str, Any] | None) -> None:
        if message is None or message.get("command") == "stop":
            stopping.set()

    listen(heard)
    answer(_make(asked, answer, stopping))
    return 0


def _make(asked: dict[str, Any], answer: Answers, stopping: threading.Event) -> dict[str, Any]:
    def told(count: Count) -> None:
        answer(count._asdict())

    try:
        out, text = Path(asked["out"]), str(asked["study"])
        plan = plan_study(read_study_text(text, SPEC, out.name))
        more = {"jobs": asked.get("jobs"), "allow_unequal": bool(asked.get("allow_unequal"))}
        return {"summary": run_study(plan, out, text, resume=True, stopping=stopping, told=told, **more)}
    except StudyStopped:
        return {"stopped": True}
    except (FlexLoRAError, RunLogError) as error:
        return {"error": " ".join(str(error).split())}


if __name__ == "__main__":
    sys.exit(main())
