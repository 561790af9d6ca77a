"""The seed farm: runs that differ in seed, learning rate or decisions share one forward and backward pass a step."""

from flexlora.farm.farm import Farm
from flexlora.farm.run import Ended, run_farm
from flexlora.farm.storage import CannotShare

__all__ = ["CannotShare", "Ended", "Farm", "run_farm"]
