"""Options of task ``planted``."""

from __future__ import annotations

from dataclasses import dataclass

from flexlora.planted.scenario import PROFILES, SCENARIOS
from flexlora.settings import option


@dataclass(frozen=True, kw_only=True)
class PlantedOptions:
    """What is planted; None means the task's own default, and is what every other task has."""

    scenario: str | None = option(
        None, f"[planted] {', '.join(SCENARIOS)}; or one RANK or RANK:ENERGY a matrix: 1,1,4:0.5,..."
    )
    true_rank: int | None = option(None, "[planted] True rank of a matrix on average.", least=1)
    profile: str | None = option(
        None, f"[planted] Sizes of a matrix's true directions: {', '.join(PROFILES)}; none = the scenario's own."
    )
    width: int | None = option(None, "[planted] Inputs and outputs of the network.", least=2, below=4097)
    layers: int | None = option(None, "[planted] Layers of three matrices each.", least=1, below=257)
    noise: float | None = option(None, "[planted] Standard deviation of the noise on the training targets.", least=0)


PLANTED_OPTIONS = tuple(PlantedOptions.__dataclass_fields__)
"""Names of the options, which no other task takes."""
