"""The plan of the floors: imports go one way, and nothing in the library imports a recipe."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "medaegis"
ABOVE = {
    "density": set(),
    "models": set(),
    "data": set(),
    "measure": {"attack", "models"},
    "attack": {"density", "models"},
    "detect": {"density", "models", "attack", "measure"},
    "defend": {"density", "models", "data", "attack", "detect", "measure"},
    "report": set(),
    "experiment": {"density", "models", "data", "attack", "detect", "defend", "measure", "report"},
}
GROUND = {"_types", "_errors", "_late", "_progress", "_version", "_threads"}


def _rooms_used(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("medaegis.")}


@pytest.mark.parametrize("room", ABOVE)
def test_a_room_imports_only_from_rooms_above_it(room: str) -> None:
    for file in (SOURCE / room).rglob("*.py"):
        strangers = _rooms_used(file) - GROUND - ABOVE[room] - {room}
        assert not strangers, f"{file.name} of {room} imports {strangers}"


def test_every_room_is_in_the_plan() -> None:
    rooms = {folder.name for folder in SOURCE.iterdir() if (folder / "__init__.py").is_file()}
    assert rooms == set(ABOVE)


def test_torchvision_waits_until_a_network_is_built() -> None:
    """It brings torch's compiler with it, seconds that `medaegis list` and an error should not take."""
    for file in (*SOURCE.rglob("*.py"), *(SOURCE.parents[1] / "recipes").rglob("*.py")):
        found = [node for node in ast.parse(file.read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not [node for node in found if "torchvision" in ast.unparse(node)], file


def test_the_library_never_imports_a_recipe() -> None:
    for file in SOURCE.rglob("*.py"):
        assert "import medaegis_recipes" not in file.read_text(), file
        assert "from medaegis_recipes" not in file.read_text(), file


def test_recipes_are_short() -> None:
    recipes = SOURCE.parents[1] / "recipes" / "medaegis_recipes"
    for file in recipes.glob("*.py"):
        code = [line for line in file.read_text().splitlines() if line.strip()]
        assert len(code) <= 60, f"{file.name} has {len(code)} lines"


def test_files_have_one_subject() -> None:
    for file in SOURCE.rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 450, file
