"""What a study says: every variant against its reference, paired by seed, as numbers, Markdown and LaTeX.

Its pictures are in ``analysis.figures.study``, which needs Plotly; nothing here does.
"""

from analysis.study.bands import CURVES, Band, metric_bands
from analysis.study.claims import Claim, claims
from analysis.study.compare import Compared, StudyTable, compare_study, load_study
from analysis.study.export import write_archive
from analysis.study.groups import Group, group_table, plain_groups, study_groups
from analysis.study.headline import headline
from analysis.study.pareto import COSTS, Point, pareto_points
from analysis.study.ranks import GroupRanks, RankDifference, group_ranks, rank_difference
from analysis.study.rates import RateCurve, rate_curves
from analysis.study.reference import with_reference
from analysis.study.write import caption, comparison_rows, latex_table, markdown_table

__all__ = [
    "COSTS",
    "CURVES",
    "Band",
    "Claim",
    "Compared",
    "Group",
    "GroupRanks",
    "Point",
    "RankDifference",
    "RateCurve",
    "StudyTable",
    "caption",
    "claims",
    "compare_study",
    "comparison_rows",
    "group_ranks",
    "group_table",
    "headline",
    "latex_table",
    "load_study",
    "markdown_table",
    "metric_bands",
    "pareto_points",
    "plain_groups",
    "rank_difference",
    "rate_curves",
    "study_groups",
    "with_reference",
    "write_archive",
]
