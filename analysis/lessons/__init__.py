"""Six lessons over recorded runs: every number in them is computed here from the run that they show."""

from analysis.lessons.book import LESSONS, lesson_book, lesson_steps
from analysis.lessons.material import RUNS, Material, material, missing

__all__ = ["LESSONS", "RUNS", "Material", "lesson_book", "lesson_steps", "material", "missing"]
