"""Our runs in the layout of PEFT's result files: every key of theirs is there, and reruns are reruns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.leaderboard.compare import rank_results
from analysis.leaderboard.export import result_of
from analysis.leaderboard.read import read_results
from analysis.runs import load_run

SAMPLE = Path(__file__).parents[2] / "sample_runs" / "digits-flexlora-paper"

THEIR_KEYS = {
    "run_info": (
        "created_at total_time experiment_name peft_branch peft_worktree_is_dirty train_config peft_config error_msg"
    ),
    "run_info.train_config": (
        "model_id dtype max_seq_length batch_size batch_size_eval max_steps eval_steps compile use_gc query_template "
        "seed grad_norm_clip optimizer_type optimizer_kwargs lr_scheduler use_amp autocast_adapter_dtype "
        "generation_kwargs attn_implementation init_kv_cache_prefix"
    ),
    "run_info.peft_config": (
        "task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode r "
        "target_modules exclude_modules lora_alpha lora_dropout fan_in_fan_out bias use_rslora modules_to_save "
        "init_lora_weights layers_to_transform layers_pattern rank_pattern alpha_pattern megatron_config megatron_core "
        "trainable_token_indices loftq_config eva_config corda_config lora_ga_config use_dora velora_config "
        "alora_invocation_tokens use_qalora qalora_group_size monteclora_config layer_replication lora_bias "
        "target_parameters use_bdlora arrow_config kasa_config ensure_weight_tying"
    ),
    "train_info": (
        "accelerator_memory_reserved_avg accelerator_memory_max accelerator_memory_reserved_99th train_time file_size "
        "num_trainable_params num_total_params status metrics"
    ),
    "meta_info": "model_info dataset_info package_info system_info pytorch_info",
    "meta_info.system_info": "system release version machine processor accelerator",
    "meta_info.package_info": (
        "transformers-version transformers-commit-hash peft-version peft-commit-hash datasets-version "
        "datasets-commit-hash bitsandbytes-version bitsandbytes-commit-hash torch-version torch-commit-hash"
    ),
}
THEIR_ROW = (
    "step,valid accuracy,train loss,train samples,train time,eval time,tokens / sec,mem allocated avg,mem reserved avg,"
    "elapsed time"
)
THEIR_TEST = "step,test accuracy,train loss,train samples,train total tokens,forgetting"


def test_our_export_has_every_key_of_theirs():
    found = result_of(load_run(SAMPLE))
    for place, keys in THEIR_KEYS.items():
        part = found
        for step in place.split("."):
            part = part[step]
        assert set(keys.split()) <= set(part), place
    rows = found["train_info"]["metrics"]
    assert set(THEIR_ROW.split(",")) <= set(rows[0])
    assert set(THEIR_TEST.split(",")) <= set(rows[-1])
    assert found["meta_info"]["package_info"]["flexlora-version"] == load_run(SAMPLE).header["versions"]["flexlora-lab"]
    valid = [row for row in rows if "valid accuracy" in row]
    assert sum(row["train time"] for row in valid) == pytest.approx(valid[-1]["elapsed time"])


def test_runs_of_ours_with_another_seed_are_reruns_wherever_their_ranks_ended(tmp_path):
    folder = tmp_path / "ours"
    folder.mkdir()
    for seed in (0, 1):
        found = json.loads(json.dumps(result_of(load_run(SAMPLE))))
        config = found["run_info"]["peft_config"]
        found["run_info"]["train_config"]["seed"] = config["flexlora"]["seed"] = seed
        config["target_modules"], config["rank_pattern"] = config["target_modules"][seed:], {"a": 3 + seed}
        (folder / f"{seed}.json").write_text(json.dumps(found), encoding="utf-8")
    results, _ = read_results([folder])
    board = rank_results(results)
    assert (board.freedom, len(board.standings), board.one_seed) == (1, 1, False)
