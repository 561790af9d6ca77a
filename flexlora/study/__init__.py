"""Studies: methods × settings × tasks × seeds as run logs and one table. Torch-free but for the workers."""

from flexlora.study.plan import Plan, Planned, plan_study
from flexlora.study.spec import Study, read_study

__all__ = ["Plan", "Planned", "Study", "plan_study", "read_study"]
