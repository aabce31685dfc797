"""Imports point only towards the data; what is light stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tfshop

PACKAGE = Path(tfshop.__file__).parent
# From left to right; a room may import from those before it and from itself. `runtime` stands before `export` on
# purpose: the exporter reads the calibrated graph.
ORDER = (
    ("errors", "_keras", "_console", "_folders", "_quiet"),
    ("numerics",),
    ("data",),
    ("layers",),
    ("models",),
    ("training",),
    ("tables",),
    ("compression",),
    ("runtime",),
    ("export",),
    ("evaluation",),
    ("report",),
    ("artifact",),
    ("probing",),
    ("result", "stepping", "recipes", "retrieval"),
    ("measuring",),
    ("pipeline",),
    ("demo",),
    ("cli",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
KERAS_USERS = {"layers", "models", "training", "tables", "compression", "export", "probing", "data", "cli", "_keras"}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, *, only_at_import: bool = False) -> Iterator[str]:
    """Modules that code imports when it runs: not those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from imports(other, only_at_import=only_at_import)
            continue
        if only_at_import and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            if node.module == "tfshop":
                yield from (f"tfshop.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, only_at_import=only_at_import)


def own(names: Iterator[str]) -> set[str]:
    """Rooms of tfshop among modules."""
    return {name.split(".")[1] for name in names if name.startswith("tfshop.")}


def test_the_walk_sees_imports_in_functions_and_not_those_for_type_checkers() -> None:
    """The checks below can fail."""
    code = "import a\nif TYPE_CHECKING:\n    import b\ndef f():\n    from tfshop.c.d import e\nfrom tfshop import g\n"
    assert list(imports(ast.parse(code))) == ["a", "tfshop.c.d", "tfshop", "tfshop.g"]
    assert own(imports(ast.parse(code))) == {"c", "g"}
    assert list(imports(ast.parse(code), only_at_import=True)) == ["a", "tfshop", "tfshop.g"]


def test_every_room_has_its_place_in_the_order() -> None:
    rooms = {room_of(path) for path in sources()} - {"__init__", "__main__"}
    assert rooms <= set(RANK)
    assert {"data", "layers", "models", "training", "compression", "runtime", "export", "evaluation", "report"} <= rooms


@pytest.mark.parametrize(
    "path", [p for p in sources() if p.name != "__main__.py"], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_point_only_to_the_left(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return  # names of the public surface, imported when they are asked for: tested below
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = {other for other in own(imports(tree)) - {room} if RANK[other] > RANK[room]}
    assert wrong == set()


def test_keras_is_selected_in_one_place() -> None:
    for path in sources():
        modules = {name.split(".")[0] for name in imports(ast.parse(path.read_text(encoding="utf-8")))}
        if room_of(path) != "_keras":
            assert not modules & {"keras", "tf_keras"}, path
        if "tensorflow" in modules:
            assert room_of(path) in {"_keras", "export"}, path
        if "tensorflow_model_optimization" in modules:
            assert path.name == "_tfmot.py", path


def test_the_runtime_needs_no_tensorflow() -> None:
    """Nor does the measurement of scores, nor the report: at no time, also not inside a function."""
    for path in sources():
        if room_of(path) in {"runtime", "report", "numerics", "errors", "_console", "_folders", "_quiet"}:
            names = set(imports(ast.parse(path.read_text(encoding="utf-8"))))
            assert "tfshop._keras" not in names and not any(n.startswith(("tensorflow", "tf_keras")) for n in names), (
                path
            )


@pytest.mark.parametrize(
    "statement",
    [
        "import tfshop",
        "import tfshop.cli",
        "import tfshop.data, tfshop.runtime, tfshop.evaluation, tfshop.report, tfshop.artifact",
        "from tfshop import Schema, Scorer, Artifact, TimeSplit, read_table, benchmark, TfshopError, datasets",
    ],
)
def test_what_is_light_does_not_import_tensorflow(statement: str) -> None:
    code = f"{statement}\nimport sys; print(sorted({{'tensorflow', 'tf_keras', 'keras'}} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_every_public_name_resolves_and_is_listed_once() -> None:
    assert len(set(tfshop.__all__)) == len(tfshop.__all__)
    for name in tfshop.__all__:
        value = getattr(tfshop, name)
        assert value is not None
        assert getattr(value, "__name__", name).split(".")[-1] == name or name.isupper()
    assert set(tfshop.__all__) <= set(dir(tfshop))


def test_the_public_surface_is_that_of_the_issue() -> None:
    names = """read_table Schema IdFeature NumericFeature SequenceFeature VectorFeature prepare TimeSplit GroupSplit
    RandomSplit datasets MODELS build_model train chain Prune QAT Distill Export PASSES recipes compress evaluate Scorer
    benchmark Artifact TfshopError"""
    assert set(names.split()) <= set(tfshop.__all__)


def test_names_for_type_checkers_are_the_public_ones() -> None:
    """The lazy table and the imports under TYPE_CHECKING say the same."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    told = {alias.name for node in checked.body for alias in node.names}
    assert told == set(tfshop.__all__)
    homes = {name: home for home, names in tfshop._HOMES.items() for name in names}
    assert set(homes) | set(tfshop._MODULES) == set(tfshop.__all__)
    for node in checked.body:
        for alias in node.names:
            if alias.name in homes:
                assert homes[alias.name] == node.module


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'tfshop' has no attribute 'Prunes'"):
        tfshop.Prunes  # noqa: B018


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_has_a_docstring(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))


KERAS_3 = "import os; os.environ['TF_USE_LEGACY_KERAS'] = '{}'; import tfshop; tfshop.MODELS"


def test_keras_3_is_refused_with_the_remedy() -> None:
    answer = subprocess.run([sys.executable, "-c", KERAS_3.format(0)], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "ModelError: TF_USE_LEGACY_KERAS is '0'. Expected '1'" in answer.stderr and "Fix: unset it" in answer.stderr


def test_a_tensorflow_that_already_serves_another_keras_is_refused() -> None:
    """A stand-in for the module: Keras 3 itself is not installed everywhere."""
    code = (
        "import sys, types; tf = types.ModuleType('tensorflow')\n"
        "tf.keras = types.SimpleNamespace(__version__='3.12.0')\n"
        "sys.modules['tensorflow'] = tf; import tfshop._keras"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ModelError: TensorFlow is already imported with Keras 3.12.0" in answer.stderr
