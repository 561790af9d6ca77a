"""What pyproject.toml cannot say: ``app`` and a few sample runs are installed under the name ``flexlora_lab``.

``app`` is no name for a package that shares an environment with others, and its rooms are found when they are there.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["flexlora", "flexlora.*", "analysis", "analysis.*"]),
        "flexlora_lab",
        *(f"flexlora_lab.{room}" for room in find_packages("app")),
        "flexlora_lab.sample_runs",
    ],
    package_dir={"flexlora_lab": "app", "flexlora_lab.sample_runs": "sample_runs"},
)
