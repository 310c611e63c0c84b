"""The names people use: a promise from the first release on."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest

import insights_nb as insights
from insights_nb import errors

PROMISED = {
    "OutcomeRules",
    "Report",
    "Schema",
    "cache_info",
    "clear_cache",
    "configure",
    "demo",
    "gather",
    "info",
    "jobs",
    "load_ipython_extension",
    "query",
    "schema",
    "session_log",
    "submit",
    "unload_ipython_extension",
}

QUESTION = ["query", "events", "since", "until", "last", "where", "scope", "refresh"]


def error_classes() -> set[str]:
    return {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}


def public_things() -> Iterator[tuple[str, Any]]:
    yield from ((name, getattr(insights, name)) for name in insights.__all__ if not name.startswith("__"))


def test_all_is_sorted_and_every_name_resolves() -> None:
    """``__all__`` is in order, without repetition, and each of its names is there."""
    assert list(insights.__all__) == sorted(set(insights.__all__))
    assert [name for name in insights.__all__ if not hasattr(insights, name)] == []


def test_all_holds_what_is_promised() -> None:
    """Every function of the plan and every error class is public."""
    assert (PROMISED | error_classes()) - set(insights.__all__) == set()


def test_all_is_complete() -> None:
    """Nothing of ours is in the package's namespace without being in ``__all__``."""
    ours = {
        name
        for name, value in vars(insights).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and str(getattr(value, "__module__", "")).startswith("insights_nb")
    }
    assert ours - set(insights.__all__) == set()


def test_no_name_is_both_a_module_and_a_function() -> None:
    """Importing a module can never replace a public name."""
    modules = {module.name for module in pkgutil.iter_modules(insights.__path__)}
    assert modules & set(insights.__all__) == set()


def test_every_public_name_is_explained() -> None:
    """Functions and classes have a docstring, and so has every public method of a class."""
    for name, value in public_things():
        assert inspect.getdoc(value), name
        if inspect.isclass(value) and not issubclass(value, Exception):
            for member, method in inspect.getmembers(value):
                if not member.startswith("_") and (inspect.isfunction(method) or isinstance(method, property)):
                    assert inspect.getdoc(method), f"{name}.{member}"


def test_every_argument_is_explained() -> None:
    """A public function's docstring names each of its arguments, or the function that explains them."""
    for name, value in public_things():
        if inspect.isfunction(value):
            text = inspect.getdoc(value) or ""
            for argument in inspect.signature(value).parameters:
                explained = re.search(rf"\b{argument}\b", text) or "arguments as :func:" in text
                assert explained or name.endswith("_ipython_extension"), f"{name}: {argument}"


@pytest.mark.parametrize("name", ["query", "submit"])
def test_a_question_takes_the_same_arguments_everywhere(name: str) -> None:
    """The query is positional only, everything else by keyword."""
    parameters = inspect.signature(getattr(insights, name)).parameters
    assert list(parameters)[: len(QUESTION)] == QUESTION
    assert parameters["query"].kind is inspect.Parameter.POSITIONAL_ONLY
    assert {value.kind for value in list(parameters.values())[1:]} == {inspect.Parameter.KEYWORD_ONLY}


def test_public_functions_are_typed() -> None:
    """Every argument and every result of a public function has a type, and the package says so."""
    for name, value in public_things():
        if inspect.isfunction(value):
            signature = inspect.signature(value)
            empty = inspect.Signature.empty
            assert signature.return_annotation is not empty, name
            assert all(parameter.annotation is not empty for parameter in signature.parameters.values()), name
    assert importlib.resources.files(insights).joinpath("py.typed").is_file()


def test_the_version_is_the_package_s() -> None:
    """``__version__`` and the installed version agree."""
    assert insights.__version__ == version("insights_nb")
