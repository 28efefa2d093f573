"""The packages of a wheel; all else is in pyproject.toml, which can only list them one by one.

The folder `entrypoints` is installed as `leukemia_commands`: a package of PyPI that others depend
on is called `entrypoints`.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["leukemia", "leukemia.*"]), "leukemia_commands"],
    package_dir={"leukemia_commands": "entrypoints"},
)
