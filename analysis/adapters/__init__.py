"""What is inside a PEFT adapter: spectra, wasted rank, a better ``rank_pattern``, a smaller adapter. Torch-free."""

from analysis.adapters.adapter import Adapter, AdapterMatrix, open_adapter
from analysis.adapters.comparison import Comparison, Overlap, compare_adapters
from analysis.adapters.compression import (
    DTYPES,
    TruncationError,
    compress_adapter,
    config_snippet,
    lora_settings,
    total_error,
    truncation_errors,
)
from analysis.adapters.files import AdapterError
from analysis.adapters.spectra import AdapterSpectra, analyse_adapter, energy_kept, is_dead, rank_for_energy
from analysis.adapters.suggestion import ORDERS, TARGETS, Suggestion, flexlora_moves, suggest_ranks
from analysis.adapters.tables import TABLE_FILES, adapter_report
from analysis.adapters.words import CAVEAT, adapter_label, describe_adapter, describe_moves, describe_suggestion

__all__ = [
    "CAVEAT",
    "DTYPES",
    "ORDERS",
    "TABLE_FILES",
    "TARGETS",
    "Adapter",
    "AdapterError",
    "AdapterMatrix",
    "AdapterSpectra",
    "Comparison",
    "Overlap",
    "Suggestion",
    "TruncationError",
    "adapter_label",
    "adapter_report",
    "analyse_adapter",
    "compare_adapters",
    "compress_adapter",
    "config_snippet",
    "describe_adapter",
    "describe_moves",
    "describe_suggestion",
    "energy_kept",
    "flexlora_moves",
    "is_dead",
    "lora_settings",
    "open_adapter",
    "rank_for_energy",
    "suggest_ranks",
    "total_error",
    "truncation_errors",
]
