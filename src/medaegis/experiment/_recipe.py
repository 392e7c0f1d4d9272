"""A recipe: named settings and a plan of stages; found through the entry point group `medaegis.recipes`."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, Protocol, TypeVar, cast, get_args, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from medaegis._errors import InputError, MedaegisError, require
from medaegis.experiment._content import Content
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Stage

GROUP = "medaegis.recipes"
SCALES = ("small", "paper")
Scale = Literal["small", "paper"]
AnySettings = TypeVar("AnySettings", bound="Settings")


class RecipeWarning(UserWarning):
    """An installed recipe cannot be loaded; the others can."""


class Settings(BaseModel):
    """The base of every recipe's settings: frozen; an unknown name is an error; text "none" is None where that may be.

    Example:
        >>> class Mine(Settings):
        ...     steps: int | None = 40
        >>> Mine.model_validate({"steps": "none"}).steps is None
        True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _read_none(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        may = {name for name, part in cls.model_fields.items() if type(None) in get_args(part.annotation)}
        values = cast(dict[str, Any], given)
        return {name: None if name in may and value == "none" else value for name, value in values.items()}


class Plan(Protocol):
    """An interface: what a recipe will compute, and how a finished computation becomes the contents of a run folder."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages whose results are needed; their inputs follow by themselves."""
        ...

    def collect(self, context: Context) -> Content:
        """Table, scores, pictures and facts from stored results."""
        ...


@runtime_checkable
class GrowingPlan(Plan, Protocol):
    """An interface: a plan some of whose stages are known only once others are computed."""

    def further(self, context: Context) -> Iterator[Stage]:
        """Further stages, after `stages`; each is computed before the next is asked for."""
        ...


@dataclass(frozen=True)
class Recipe:
    """One table or figure.

    Args:
        name: what the command line calls it.
        title: the report's title.
        question: one sentence: what the run asks.
        settings: the default settings; `--set` changes fields, `tiny` is a set of such changes.
        plan: from settings to a plan; checks data and settings before any long work.
        tiny: changes that make it run in CI.
        paper: the table or figure it reproduces, or None.
        paper_scale: changes to the papers' network, image size, steps and cases; empty where there is no such version.
        aliases: other names of the same, each with an entry point of its own.

    Example:
        >>> "chest-xray-small" in find_recipes()
        True
    """

    name: str
    title: str
    question: str
    settings: Settings
    plan: Callable[[Any], Plan]
    tiny: Mapping[str, Any]
    paper: str | None = None
    paper_scale: Mapping[str, Any] = field(default_factory=dict[str, Any])
    aliases: tuple[str, ...] = ()

    def with_changes(self, changes: Mapping[str, Any], *, tiny: bool = False, scale: str = "small") -> Settings:
        """The settings with changes, each checked.

        Raises:
            InputError: an unknown setting or a value that does not fit, with the nearest known name; or a version that
                the recipe does not have.
        """
        require(scale in SCALES, "scale", self.name, f"one of {SCALES}", scale)
        require(scale == "small" or bool(self.paper_scale), "scale", self.name, "small, its only one", scale)
        require(scale == "small" or not tiny, "tiny", self.name, "left out with --scale paper", tiny)
        versions = dict(self.paper_scale if scale == "paper" else {}) | dict(self.tiny if tiny else {})
        merged = self.settings.model_dump() | versions | dict(changes)
        return checked(type(self.settings), merged, self.name, kind="recipe")

    def changed(self, changes: Mapping[str, Any], tiny: Mapping[str, Any] | None = None) -> Recipe:
        """The same recipe with other default settings, which stand at the papers' scale too.

        Args:
            changes: settings.
            tiny: more changes that make it run in CI.

        Raises:
            InputError: as `with_changes`.
        """
        kept = {name: changes.get(name, value) for name, value in self.paper_scale.items()}
        more = dict(self.tiny) | dict(tiny or {})
        return replace(self, settings=self.with_changes(changes), paper_scale=kept, tiny=more)


def parse_changes(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`key=value` pairs as a dictionary; commas make a list.

    Raises:
        InputError: a pair has no "=".

    Example:
        >>> parse_changes(("eps=1/256,2/256", "epochs=3"))
        {'eps': ['1/256', '2/256'], 'epochs': '3'}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"`--set` must be key=value, as in eps=1/256, got {pair!r}.")
        found[name.strip()] = value.split(",") if "," in value else value
    return found


def find_recipes() -> dict[str, Recipe]:
    """All installed recipes by name, this package's and third parties'; one that cannot be loaded is left out.

    Warns:
        RecipeWarning: a recipe cannot be loaded; the text names it.
    """
    found: dict[str, Recipe] = {}
    for entry in entry_points(group=GROUP):
        try:
            found[entry.name] = _loaded(entry)
        except MedaegisError as error:
            warnings.warn(str(error), RecipeWarning, stacklevel=2)
    return dict(sorted(found.items()))


def _loaded(entry: EntryPoint) -> Recipe:
    try:
        return entry.load()
    except Exception as error:  # another package's module may raise anything
        raise MedaegisError(f"The installed recipe {entry.name} ({entry.value}) cannot be loaded: {error}") from error


def find_recipe(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        InputError: there is none; the text names the nearest.
        MedaegisError: it cannot be loaded.
    """
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name in entries:
        return _loaded(entries[name])
    known = sorted(entries)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise InputError(f"There is no recipe {name!r}.{hint} `medaegis list` shows: {', '.join(known)}.")


def checked(settings: type[AnySettings], values: Mapping[str, Any], owner: str, *, kind: str) -> AnySettings:
    """Settings from values, each checked.

    Args:
        settings: their class.
        values: by name.
        owner: what they are settings of, for the error's text.
        kind: what the owner is: a recipe, or a command.

    Raises:
        InputError: an unknown setting or a value that does not fit, with the nearest known name.
    """
    try:
        return settings.model_validate(dict(values))
    except ValidationError as error:
        raise InputError(_explained(error, list(settings.model_fields), f"{kind} {owner}", owner)) from None


def _explained(error: ValidationError, known: list[str], whole: str, owner: str) -> str:
    lines: list[str] = []
    for item in error.errors():
        name = str(item["loc"][0])
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}."
            lines.append(f"The {whole} has no setting {name!r}: {hint}")
        else:
            lines.append(f"The setting `{name}` of {owner} got {item.get('input')!r}: {item['msg']}.")
    return "\n".join(lines)
