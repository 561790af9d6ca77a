"""Study files to begin with, each a question that somebody asks."""

from __future__ import annotations

EXAMPLES = {
    "Does moving rank help? (digits, a few minutes)": """\
# LoRA, FlexLoRA and, as a control, as many moves to places drawn by chance: equal rank in the end.
name: does moving rank help
tasks: [digits]
methods:
  - {name: LoRA, method: lora}
  - {name: FlexLoRA, method: flexlora}
  - {name: random moves, method: flexlora, settings: {importance: random}}
seeds: 8
settings: {steps: 150, rank: 2, save_adapter: false}
equal: final_rank
margin: 0.01
""",
    "At which rank? (every rank against its own reference)": """\
name: at which rank
tasks: [digits]
methods: [lora, flexlora]
seeds: 6
axes:
  rank: [1, 2, 4, 8]
within: [rank]
settings: {steps: 150, save_adapter: false}
equal: final_rank
margin: 0.01
""",
    "Which learning rate? (curves for two methods)": """\
name: which learning rate
tasks: [digits]
methods: [lora, flexlora]
seeds: 4
axes:
  learning_rate: [1e-3, 3e-3, 1e-2, 3e-2]
within: [learning_rate]
settings: {steps: 150, rank: 2, save_adapter: false}
equal: final_rank
""",
    "Tuned fairly (the same number of trials for each)": """\
# Learning rates are chosen on validation; the test split is read once, after the choice.
name: tuned fairly
tasks: [digits]
methods:
  - {name: LoRA, method: lora}
  - {name: FlexLoRA, method: flexlora}
seeds: 6
tune:
  trials: 4
  seeds: [1000]
  learning_rate: {low: 1e-3, high: 3e-2}
settings: {steps: 150, rank: 2, save_adapter: false}
equal: final_rank
margin: 0.01
""",
    "Which measure decides best? (with the control)": """\
name: which measure
tasks: [digits]
methods: [flexlora]
seeds: 8
axes:
  importance: [spectral_entropy, nuclear_norm, sensitivity, random]
settings: {steps: 150, rank: 2, save_adapter: false}
equal: final_rank
margin: 0.01
""",
}
"""Question → study file."""
