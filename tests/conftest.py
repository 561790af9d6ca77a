"""Small real models, made from configurations: nothing is downloaded."""

from __future__ import annotations

import copy
import dataclasses
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# What importing and collecting make stays to the end: to look through it again and again took a tenth of the time.
gc.disable()
# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None, max_examples=50)
settings.load_profile("untimed")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tests run side by side: more threads than cores make each of them slower, tiny models most of all.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LONGEST = (
    "test_contributing.py",
    "flexlora/test_trainer_kinds.py",
    "flexlora/test_methods.py",
    "flexlora/test_study_runs.py",
    "flexlora/test_killed_runs.py",
    "flexlora/test_peft_trainer.py",
    "flexlora/test_train_command.py",
    "test_packaging.py",
    "app/test_run_process.py",
    "flexlora/test_trainer.py",
    "app/test_study_jobs.py",
    "app/test_playground_engine.py",
    "app/test_train.py",
    "flexlora/test_peft_method.py",
    "app/test_playground_link.py",
    "app/test_adapters_page.py",
    "flexlora/test_sharding.py",
    "flexlora/test_run_log.py",
    "flexlora/test_farm.py",
    "app/test_player_tables.py",
    "flexlora/test_disk_faults.py",
    "flexlora/test_distributed.py",
    "analysis/test_what_if.py",
    "analysis/test_pack.py",
    "flexlora/test_skipped_layers.py",
    "app/test_compare_page.py",
    "flexlora/test_export.py",
    "app/test_runs_page.py",
)
OWN_BROWSER = {
    "test_train_browser.py": "browser, training",
    "test_live_browser.py": "browser, training",
    "test_compare_browser.py": "browser, training",
    "test_accessibility_browser.py": "browser, looking",
}


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """From here on garbage is collected, of what the tests make."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what takes longest: at the end it would leave the others idle."""
    first = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: -1 if _drives_browser(item.path.name) else first.get(item.path, len(first)))
    for item in items:
        if _drives_browser(item.path.name):
            item.add_marker("browser")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep together what shares fixtures: a file, and what drives a browser (each worker has one server and Chromium).

    The longest journeys, those that train and the look at every page, are groups of their own: all of them in one row
    would end last, with half a core idle. A worker takes one such group after another, in the order of the tests. Marks
    do not reach the process that hands them out, and the suffix by which ``--dist loadgroup`` passes groups on is lost
    in pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            if not _drives_browser(path):
                return path
            return OWN_BROWSER.get(path.rpartition("/")[2], "browser")

    config.option.loadscopereorder = False
    return Groups(config, log)


def _drives_browser(path: str) -> bool:
    return path.endswith("_browser.py")


@pytest.fixture(scope="session")
def make_bert():
    """A factory of two-layer BERT classifiers (12 linear layers of width 32 and 64, a pooler and a head)."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    def make(seed: int = 0, dropout: float = 0.0):
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=60,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=16,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            num_labels=2,
        )
        return BertForSequenceClassification(config).eval()

    return make


@pytest.fixture(scope="session")
def make_gpt2():
    """A factory of two-layer GPT-2 classifiers: its linear layers are ``Conv1D``, with transposed weights."""
    import torch
    from transformers import GPT2Config, GPT2ForSequenceClassification

    def make(seed: int = 0):
        torch.manual_seed(seed)
        config = GPT2Config(vocab_size=60, n_positions=16, n_embd=32, n_layer=2, n_head=2, num_labels=2, pad_token_id=0)
        return GPT2ForSequenceClassification(config).eval()

    return make


@pytest.fixture(scope="session")
def make_llama():
    """A factory of two-layer Llama language models (14 linear layers); the output embedding is tied to the input's."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    def make(seed: int = 0):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=60, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=16, tie_word_embeddings=True, pad_token_id=0,
            bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        return LlamaForCausalLM(config).eval()

    return make


@pytest.fixture(scope="session")
def make_vit():
    """A factory of two-layer vision transformers on 8 × 8 grey images."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    def make(seed: int = 0):
        torch.manual_seed(seed)
        config = ViTConfig(
            image_size=8, patch_size=4, num_channels=1, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=2,
        )  # fmt: skip
        return ViTForImageClassification(config).eval()

    return make


@pytest.fixture
def token_batch():
    """Token ids (4, 8) and labels (4,)."""
    import torch

    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(1, 60, (4, 8), generator=generator)
    return {"input_ids": ids, "labels": torch.tensor([0, 1, 1, 0])}


@pytest.fixture(scope="module")
def few_examples() -> Iterator[None]:
    """Runs evaluate on 32 examples of each split, and copy their frozen base instead of building it each time.

    Which examples they get right, and what a task is, is tested elsewhere.
    """
    from flexlora import trained_model

    load, known = trained_model.load_task, {}

    def few(name, seed, control, source):
        key = (name, seed, control)
        if key not in known:
            data = load(name, seed, control, source)
            short = {split: _head(getattr(data, split), 32) for split in ("validation", "test")}
            known[key] = dataclasses.replace(data, **short)
        data = known[key]
        return dataclasses.replace(data, model=copy.deepcopy(data.model), info=copy.deepcopy(data.info))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trained_model, "load_task", few)
        yield


def _head(split, count: int):
    inputs = {name: value[:count] for name, value in split.inputs.items()}
    return dataclasses.replace(split, inputs=inputs, labels=split.labels[:count])


@pytest.fixture(scope="session")
def forge_run():
    """A function that writes the log of a planned run as if it had been trained: no torch, a millisecond."""
    import json

    from flexlora.run_log import RunWriter

    def forge(run, root, *, metrics=None, ranks=(4, 4), end_ranks=None, step_s=0.01, reason="completed", message=""):
        """``metrics``: split → metric → value; ``end_ranks`` are in force after step 2 of 4, ``ranks`` before."""
        names = ("a", "b")
        rows = [
            {"name": name, "layer": 0, "module_type": name, "in_features": size, "out_features": size}
            for name, size in zip(names, (5, 20), strict=True)
        ]
        header = {"matrices": rows, "config": json.loads(json.dumps(run.job.to_dict())), "device": "cpu"}
        with RunWriter(root / run.name, header) as writer:
            for step in range(5):
                now = ranks if step <= 2 or end_ranks is None else end_ranks
                if step:
                    writer.step(step, task_loss=1.0, step_s=step_s)
                writer.spectrum(step, [[1.0] * count for count in now])
                if step == 2 and end_ranks is not None:
                    moves = {
                        key: [
                            {"matrix": name, "slot": 0, "rules": []}
                            for name, old, new in zip(names, ranks, end_ranks, strict=True)
                            for _ in range(max(0, sign * (new - old)))
                        ]
                        for key, sign in (("prune", -1), ("extend", 1))
                    }
                    writer.event(step, 1, {}, "spectral_entropy", **moves)
            for split, values in (metrics or {}).items():
                writer.eval(4, split, values)
            writer.end(reason, message=message or None, wall_s=1.0)

    return forge
