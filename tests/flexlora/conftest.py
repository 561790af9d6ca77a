"""Property tests draw the same examples each time, and have no time limit on a busy machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=150)
settings.load_profile("repeatable")


@pytest.fixture(scope="module")
def few_examples() -> Iterator[None]:
    """Runs evaluate on 32 examples of each split: which they get right is not what is tested."""
    from flexlora import trained_model

    load = trained_model.load_task

    def few(*given):
        data = load(*given)
        return dataclasses.replace(data, **{name: _head(getattr(data, name), 32) for name in ("validation", "test")})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trained_model, "load_task", few)
        yield


def _head(split, count: int):
    inputs = {name: value[:count] for name, value in split.inputs.items()}
    return dataclasses.replace(split, inputs=inputs, labels=split.labels[:count])
