"""The examples in docstrings run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import tfshop

MODULES = [module.name for module in pkgutil.walk_packages(tfshop.__path__, "tfshop.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert found.failed == 0, f"{found.failed} of {found.attempted} examples"


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES]
    examples = [example for module in modules for test in finder.find(module) for example in test.examples]
    assert sum(not example.options.get(doctest.SKIP) for example in examples) > 40
