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
