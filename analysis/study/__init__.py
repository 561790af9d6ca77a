"""What a study says: every variant against its reference, paired by seed, as numbers, Markdown and LaTeX."""

from analysis.study.compare import Compared, StudyTable, compare_study, load_study
from analysis.study.write import caption, comparison_rows, latex_table, markdown_table

__all__ = [
    "Compared",
    "StudyTable",
    "caption",
    "compare_study",
    "comparison_rows",
    "latex_table",
    "load_study",
    "markdown_table",
]
