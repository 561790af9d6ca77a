"""What-if replay: the decisions that other settings would have taken on a logged run."""

from analysis.what_if.difference import Difference, chance_agreement, compare_decisions
from analysis.what_if.replay import (
    MODES,
    Decisions,
    WhatIfError,
    logged_decisions,
    own_settings,
    random_moves,
    replay,
    replay_event,
    unavailable,
    unavailable_measures,
)
