"""Every test says in one sentence what it holds; every public part of the package says what it is."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A full stop or the like that ends a sentence, not the one in "e.g." or "1.5".
SENTENCE_END = re.compile(r"[.!?](?=\s+[A-ZÄÖÜ])")


def functions_and_classes(path: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.stem)
def test_every_test_has_a_sentence(path: Path) -> None:
    """A test function has a docstring of exactly one sentence, on one line or two."""
    for node in functions_and_classes(path):
        if node.name.startswith("test_"):
            text = (ast.get_docstring(node) or "").strip()
            assert text.endswith("."), f"{path.name}: {node.name} has no sentence"
            assert not SENTENCE_END.search(text), f"{path.name}: {node.name} has more than one sentence"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "insights_nb").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_public_part_is_explained(path: Path) -> None:
    """A module, and each class and function in it without a leading underscore, has a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path.name
    nodes = functions_and_classes(path)
    inner = {
        child
        for node in nodes
        for child in ast.walk(node)
        if child is not node and (isinstance(node, ast.FunctionDef) or node.name.startswith("_"))
    }
    for node in nodes:
        if not node.name.startswith("_") and node not in inner:
            assert ast.get_docstring(node), f"{path.name}: {node.name}"
