"""Task ``planted``: a frozen network, a teacher whose ranks are known, and scores against that truth. Torch-free.

docs/planted.md is its specification; every engine that plays it is held to that.
"""

from flexlora.planted.network import Planted, PlantedSize
from flexlora.planted.scenario import PROFILES, SCENARIOS, Truth, oracle_ranks, truth_of
from flexlora.planted.scores import Way, distance, relative_loss, way

__all__ = [
    "PROFILES",
    "SCENARIOS",
    "Planted",
    "PlantedSize",
    "Truth",
    "Way",
    "distance",
    "oracle_ranks",
    "relative_loss",
    "truth_of",
    "way",
]
