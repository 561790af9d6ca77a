"""Of what an evaluation measured, the metric that is told first says how good the model is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from analysis.metrics import evaluation_series, last_result


@pytest.mark.parametrize(
    ("metrics", "last", "series"),
    [
        ({"loss": 4.4, "len": 0.0}, "loss", "loss"),
        ({"gen_len": 12.0, "rougeL": 0.3, "loss": 4.4}, "rougeL", "rougeL"),
        ({"samples": 64, "loss": 1.0, "accuracy": 0.5, "f1": 0.4}, "accuracy", "accuracy"),
        ({"f1": 0.4, "accuracy": 0.5}, "accuracy", "f1"),
        ({"length": 3.0}, "length", "length"),
    ],
)
def test_counts_come_last_and_the_loss_before_them(metrics, last, series):
    evals = [{"step": 5, "split": "validation", "metrics": metrics}]
    assert last_result(evals) == (f"validation {last}", metrics[last])
    found = evaluation_series(SimpleNamespace(evals=evals))
    assert found is not None and found[1] == series and found[3].tolist() == [metrics[series]]
