"""All topics, gathered from this folder's modules in the order of their names."""

from importlib import import_module
from pkgutil import iter_modules

from sample.generate.topic import Topic


def all_topics() -> list[Topic]:
    names = sorted(module.name for module in iter_modules(__path__))
    return [topic for name in names for topic in import_module(f"{__name__}.{name}").TOPICS]
