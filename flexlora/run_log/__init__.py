"""The run log: the one door between training and everything else. Torch-free."""

from flexlora.run_log.afterwards import add_eval, discard_empty
from flexlora.run_log.files import holds_run
from flexlora.run_log.format import SCHEMA_VERSION, RunLogError, read_header
from flexlora.run_log.glance import Glance, glance_run
from flexlora.run_log.reader import RunLog, find_runs, read_run, run_state
from flexlora.run_log.spectra import MatrixSpectra
from flexlora.run_log.writer import RunWriter
from flexlora.run_log.writing_process import refuse_beside_writer

__all__ = [
    "SCHEMA_VERSION",
    "Glance",
    "MatrixSpectra",
    "RunLog",
    "RunLogError",
    "RunWriter",
    "add_eval",
    "discard_empty",
    "find_runs",
    "glance_run",
    "holds_run",
    "read_header",
    "read_run",
    "refuse_beside_writer",
    "run_state",
]
