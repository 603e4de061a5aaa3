"""Which competitions data can be made for, and by what."""

from collections.abc import Callable
from typing import Any

from sample.generate import dataset
from sample.generate.map import dataset as map_dataset

# By a competition's name: writes its files, by a seed, for so many questions and so many of them as its test.
GENERATORS: dict[str, Callable[..., Any]] = {"eedi": dataset.generate, "map2025": map_dataset.generate}
