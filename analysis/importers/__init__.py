"""Logs from elsewhere as run folders, which every page opens. Torch-free; see docs/importers.md."""

from analysis.importers.corrections import PATTERN_HELP, rows_by_pattern, rows_by_type, type_table
from analysis.importers.errors import Imported, LogImportError
from analysis.importers.mapping import FIELDS
from analysis.importers.registry import IMPORTERS, Importer, detect_kind, import_log, propose_mapping
