"""What is inside an adapter: spectra, wasted rank, a better ``rank_pattern``, a smaller adapter. Torch-free."""

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.comparison import Comparison, Overlap, compare_adapters
from analysis.adapters.compression import TruncationError, compress_adapter, total_error, truncation_errors
from analysis.adapters.dtypes import DTYPES
from analysis.adapters.files import AdapterError
from analysis.adapters.opening import open_adapter
from analysis.adapters.orders import ORDERS
from analysis.adapters.places import SeveralAdapters
from analysis.adapters.plans import FORMS, SAME, forms_of, one_rank, planned
from analysis.adapters.settings import config_snippet, lora_settings
from analysis.adapters.sizes import FileSize, plan_size, size_at, size_now
from analysis.adapters.spectra import AdapterSpectra, analyse_adapter, energy_kept, is_dead, rank_for_energy
from analysis.adapters.suggestion import Suggestion, flexlora_moves, suggest_ranks, suggest_sizes
from analysis.adapters.tables import TABLE_FILES, adapter_report
from analysis.adapters.targets import TARGETS
from analysis.adapters.words import CAVEAT, adapter_label, describe_adapter, describe_moves, describe_suggestion
