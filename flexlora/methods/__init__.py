"""The methods that share one adapter, loop and log. Torch-free: what a page needs to offer and check them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flexlora.adapter_config import AdapterConfig
from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError
from flexlora.methods.configs import (
    AdaLoRAConfig,
    AutoLoRAConfig,
    BigThenCutConfig,
    DoRADynamicConfig,
    DyLoRAConfig,
    ElaLoRAConfig,
    L1RAConfig,
    LoRAConfig,
    MLAEConfig,
    SaLoRAConfig,
    SoRAConfig,
)
from flexlora.settings import did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from flexlora.adapter import Adapter
    from flexlora.methods.dynamics import Dynamics
    from flexlora.trained_model import TrainedModel


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to spend rank; its torch half is the module ``flexlora.methods.<name>``.

    Attributes:
        name: key in ``METHODS``.
        title: as shown to people.
        summary: one sentence: what it does.
        config_class: its options.
        what_moves: what is taken and given: directions, gates, nothing.
        score: by what it is chosen.
        when: at which steps.
        direction: prune, extend, both, or neither.
        source: the paper.
        url: where it is.
        state: what it keeps beside P, λ, Q and the optimizer's moments.
        caution: name clashes, and where we depart from the paper or its code; may be empty.
        farms: False where gates or a loss of its own belong to one run, whose steps it then cannot share with others,
            see ``flexlora.farm``.
    """

    name: str
    title: str
    summary: str
    config_class: type[AdapterConfig]
    what_moves: str
    score: str
    when: str
    direction: str
    source: str
    url: str
    state: str = "none"
    caution: str = ""
    farms: bool = True

    @property
    def presets(self) -> tuple[str, ...]:
        """Names that ``--preset`` accepts; the first is the default."""
        return tuple(self.config_class.presets)

    @property
    def options(self) -> tuple[str, ...]:
        """Configuration fields of the method."""
        return tuple(key for key in self.config_class.__dataclass_fields__ if key != "preset")

    def config(self, preset: str | None, settings: Mapping[str, Any]) -> AdapterConfig:
        """Build the configuration.

        Raises:
            FlexLoRAError: a preset or an option that does not belong to the method, or a bad value.
        """
        preset = self.presets[0] if preset is None else preset
        if preset not in self.presets:
            allowed = ", ".join(self.presets)
            raise FlexLoRAError(f"Unknown preset {preset!r} for method {self.name}. Choose one of: {allowed}.")
        foreign = [key for key in settings if key not in self.options]
        if foreign:
            hint = did_you_mean(foreign[0], self.options)
            raise FlexLoRAError(
                f"{', '.join(foreign)} does not belong to method {self.name}.{hint} "
                f"Its options are: {', '.join(self.options)}."
            )
        return self.config_class(preset=preset, **settings)

    def attach(self, model: nn.Module, config: AdapterConfig) -> Adapter:
        """Adapt the model (imports torch)."""
        return import_module(f"flexlora.methods.{self.name}").attach(model, config)

    def dynamics(self, trained: TrainedModel) -> Dynamics:
        """Return what the method does around each training step (imports torch)."""
        return import_module(f"flexlora.methods.{self.name}").dynamics(trained)


_ALL = (
    Method(
        name="flexlora",
        title="FlexLoRA",
        summary="Moves directions from the matrices with the lowest spectral entropy to those with the highest.",
        config_class=FlexLoRAConfig,
        what_moves="whole directions; the total rank stays",
        score="normalised spectral entropy of λ², one number a matrix",
        when="at events in a window, b(t) pairs each",
        direction="prune and extend",
        state="none; λ alone is scored",
        source="Liu, Si, Jia. FlexLoRA. ICLR 2026",
        url="https://openreview.net/forum?id=tqnkbdYWWm",
        caution="A direction that leaves one matrix is dropped; the one that another gains is new and starts at λ = 0.",
    ),
    Method(
        name="lora",
        title="LoRA",
        summary="The same rank for every matrix, for ever: λ is 1 and frozen, P starts at zero.",
        config_class=LoRAConfig,
        what_moves="nothing",
        score="none",
        when="never",
        direction="neither",
        source="Hu et al. LoRA. ICLR 2022",
        url="https://arxiv.org/abs/2106.09685",
    ),
    Method(
        name="adalora",
        title="AdaLoRA",
        summary="Switches off the directions whose values matter least to the loss, until a target total is reached.",
        config_class=AdaLoRAConfig,
        what_moves="directions are switched off (λ := 0) and may come back until the window ends",
        score="smoothed |w · ∂L/∂w| × its uncertainty: λ's own plus the means over p and over q",
        when="at events in a window; the total falls with (1 − p)³, fast first",
        direction="prune (reversible)",
        state="two moving averages of every value of P, λ and Q",
        source="Zhang et al. AdaLoRA. ICLR 2023",
        url="https://openreview.net/forum?id=lq62uWRJjiY",
        caution=("Follows PEFT's AdaLoRA event by event; then the last choice is kept. A matrix may reach rank 0."),
    ),
    Method(
        name="elalora",
        title="ElaLoRA",
        summary="Moves directions from where the lowest-scored ones are to where even the lowest score high.",
        config_class=ElaLoRAConfig,
        what_moves="whole directions; the total rank stays",
        score="AdaLoRA's, one number a direction; each matrix puts its two lowest into one pool",
        when="at events in a window, b(t) pairs each; b falls with 1 − p³, late",
        direction="prune and extend",
        state="two moving averages of every value of P, λ and Q",
        source="Chang, Ma et al. ElaLoRA. 2025",
        url="https://arxiv.org/abs/2504.00254",
        caution="The ancestor of FlexLoRA's released code. New directions start at λ = 0; their code has 1e-13.",
    ),
    Method(
        name="l1ra",
        title="L1RA",
        summary="Pulls every λ towards zero, removes what reached it and gives it to the matrices that held out best.",
        config_class=L1RAConfig,
        what_moves="whole directions; the total rank stays while any matrix held out",
        score="λ, held between 0 and 1 and pulled down at every step; a receiver by its smallest λ",
        when="every tenth of the run",
        direction="prune and extend",
        source="Singh et al. L1RA. 2025",
        url="https://github.com/raul-singh/L1RA",
        caution=(
            "Their code restarts the optimizer at an event; here moments are kept, as in FlexLoRA. Their pull is made "
            "for runs of 50,000 steps."
        ),
    ),
    Method(
        name="salora",
        farms=False,
        title="SaLoRA (structure-aware)",
        summary="A random gate on every direction learns to stay open or to close; a multiplier holds the total.",
        config_class=SaLoRAConfig,
        what_moves="gates close and may open again",
        score="each gate's own log α, trained with the loss under an expected-L0 target",
        when="at every step; the log tells at intervals what changed",
        direction="prune (soft)",
        state="log α a direction, with its moments; a multiplier",
        source="Hu et al. Structure-Aware Low-Rank Adaptation. Mathematics 11(20):4317, 2023",
        url="https://doi.org/10.3390/math11204317",
        caution=(
            "Not Safety-alignment preserved LoRA, which is also called SaLoRA. There is no official code: gate "
            "constants are those of Louizos et al. 2018, the target is held by an augmented Lagrangian, and P starts "
            "at zero, as in LoRA."
        ),
    ),
    Method(
        name="autolora",
        farms=False,
        title="AutoLoRA (meta-learned ranks)",
        summary="Learns on held-out examples how much each direction counts, keeps the best and trains anew.",
        config_class=AutoLoRAConfig,
        what_moves="directions with a small share are removed, once",
        score="selection share α (sums to 1 in a matrix), learned by an unrolled gradient on held-out examples",
        when="once, when the search ends; then training starts from scratch",
        direction="prune",
        state="Adam's moments of α, three copies of P, Q and the head while it searches; four more passes a step",
        source="Zhang, Qiang, Somayajula, Xie. AutoLoRA. NAACL 2024",
        url="https://arxiv.org/abs/2403.09113",
        caution=(
            "Not the AutoLoRA of guided diffusion or of robust fine-tuning. The share is a softmax; the unrolled "
            "gradient is DARTS's finite difference; search and retraining share one run, half each."
        ),
    ),
    Method(
        name="sora",
        farms=False,
        title="SoRA (sparse)",
        summary="Every step pulls each λ towards zero; a direction that the loss does not defend stays at zero.",
        config_class=SoRAConfig,
        what_moves="λ becomes exactly 0, and may leave it again",
        score="|λ| against ξ, the pull of a step",
        when="at every step; the log tells at intervals what changed",
        direction="prune (reversible)",
        source="Ding et al. Sparse Low-rank Adaptation. EMNLP 2023",
        url="https://arxiv.org/abs/2311.11696",
        caution="ξ is an absolute pull: the rank it leaves depends on the number of steps and the learning rate.",
    ),
    Method(
        name="dora_dynamic",
        farms=False,
        title="DoRA (dynamic rank)",
        summary="Switches off the directions that carry the smallest share of their matrix, slowly first.",
        config_class=DoRADynamicConfig,
        what_moves="directions are switched off (λ := 0) and may come back until the window ends",
        score="smoothed ‖λ p qᵀ‖ / ‖ΔW‖ of its matrix, Frobenius norms",
        when="at events in a window; the total falls with p³, slow first",
        direction="prune (reversible)",
        state="one moving average a direction",
        source="Mao et al. DoRA: Enhancing Parameter-Efficient Fine-Tuning with Dynamic Rank Distribution. ACL 2024",
        url="https://arxiv.org/abs/2405.17357",
        caution="Not PEFT's use_dora, which is weight-decomposed LoRA (Liu et al. 2024) and moves no rank.",
    ),
    Method(
        name="big_then_cut",
        title="Train big, then cut",
        summary="Trains several times the rank, then keeps the globally largest directions, once.",
        config_class=BigThenCutConfig,
        what_moves="directions that are small are removed, once",
        score="|λ| · ‖p‖ · ‖q‖ of each direction, all matrices together",
        when="once, at a share of the run or at its end",
        direction="prune",
        state="none; until the cut factor times the directions and their moments",
        source="Han et al. Learning both Weights and Connections (magnitude pruning). NeurIPS 2015",
        url="https://arxiv.org/abs/1506.02626",
        caution=(
            "A control, not a published method of its own: what any rule that moves rank has to beat at equal final "
            "rank. It trains more directions until the cut, and a matrix may reach rank 0."
        ),
    ),
    Method(
        name="dylora",
        farms=False,
        title="DyLoRA",
        summary="Trains with a random number of leading directions each step, so that any rank can be used afterwards.",
        config_class=DyLoRAConfig,
        what_moves="nothing for good: each step uses the first b directions, b drawn at random",
        score="the place in the order",
        when="at every step",
        direction="neither",
        source="Valipour et al. DyLoRA. EACL 2023",
        url="https://arxiv.org/abs/2210.07558",
        caution="A prefix of b is scaled by alpha / b, as in the paper. One b a step for all matrices, uniform.",
    ),
    Method(
        name="mlae",
        farms=False,
        title="MLAE (masked experts)",
        summary="Leaves out random directions at each training step, so that they do not come to depend on each other.",
        config_class=MLAEConfig,
        what_moves="nothing for good: a step leaves each direction out with a fixed probability",
        score="none",
        when="at every step",
        direction="neither",
        source="Wang et al. MLAE: Masked LoRA Experts. 2024",
        url="https://arxiv.org/abs/2405.18897",
        caution="λ starts at 1 with s = alpha / initial_rank; their code has λ start at alpha with s = 1.",
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _ALL}
"""Method name → ``Method``."""

CLASHES = {"dora": "dora_dynamic is the one with dynamic rank (Mao et al. 2024); weight-decomposed DoRA moves no rank."}
"""Names that people may type, and what to say."""


def find_method(name: str) -> Method:
    """Return a method by its name.

    Raises:
        FlexLoRAError: there is none; the message names all, and clears up a name clash.
    """
    if name in METHODS:
        return METHODS[name]
    told = f" {CLASHES[name]}" if name in CLASHES else ""
    raise FlexLoRAError(f"Unknown method {name!r}.{told} Choose one of: {', '.join(METHODS)}.")
