"""One recipe from several: a paper's table over data sets and networks, its parts those of the recipes by subject."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import ConfigDict, Field

from medaegis._errors import InputError, require
from medaegis.experiment._content import Content, Row
from medaegis.experiment._context import Context
from medaegis.experiment._joined_content import Told, joined_content
from medaegis.experiment._recipe import GrowingPlan, Plan, Recipe, Scale, Settings
from medaegis.experiment._stage import Stage
from medaegis.experiment._stages_data import PHANTOM


class JoinedSettings(Settings):
    """What a joined recipe takes; any setting of its parts can be set too: for all, or `PART.setting` for one.

    Example:
        >>> JoinedSettings.model_validate({"data": "shared", "eps": "2/256"}).model_extra
        {'eps': '2/256'}
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    data: str | None = Field(None, description="folder that holds a folder for each data set: fundus/, chest_xray/")
    tiny: bool = Field(False, description="every part's small version")
    scale: Scale = Field("small", description="small, or paper: every part's version at the papers' scale")


@dataclass(frozen=True)
class Part:
    """One recipe's place in a joined one.

    Args:
        recipe: whose plan it is.
        folder: its data's folder inside the joined recipe's; "" where the recipe itself reads several from there.
        changes: settings that differ from the recipe's; those that stand at the papers' scale too.
        tiny: more changes of its small version.
        name: of its folder in the run; by default the recipe's.
        only: at which scale it is there; None for every one.
        label: what its data set's name gets in the joined table, where several parts have one.
        rows: its rows as the joined table has them, None for those left out; by default all as they are.
    """

    recipe: Recipe
    folder: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tiny: Mapping[str, Any] = field(default_factory=dict[str, Any])
    name: str = ""
    only: Scale | None = None
    label: str = ""
    rows: Callable[[Row], Row | None] | None = None

    @property
    def shown(self) -> str:
        """What folders and lines call it."""
        return self.name or self.recipe.name

    @property
    def own(self) -> Recipe:
        """The recipe with the part's changes."""
        return self.recipe.changed(self.changes, self.tiny)


@dataclass(frozen=True)
class Ready:
    """A part whose data is there.

    Args:
        part: of the joined recipe.
        settings: its own.
        plan: likewise.
    """

    part: Part
    settings: Settings
    plan: Plan


@dataclass(frozen=True)
class JoinedPlan:
    """The plans of several recipes as one; see `joined_plan`.

    Args:
        ready: the parts whose data is there.
        left_out: one line for each that is not.
    """

    ready: tuple[Ready, ...]
    left_out: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What must be computed, part after part; what parts share, once."""
        return tuple(stage for one in self.ready for stage in one.plan.stages)

    def further(self, context: Context) -> Iterator[Stage]:
        """Further stages of the parts that grow."""
        for one in self.ready:
            if isinstance(one.plan, GrowingPlan):
                yield from one.plan.further(context)

    def collect(self, context: Context) -> Content:
        """One table of all parts, and each part's own contents."""
        told = [self._told(one, one.plan.collect(context)) for one in self.ready]
        return joined_content(told, self.left_out)

    def _told(self, one: Ready, content: Content) -> Told:
        own = one.part.recipe
        manifest = {"title": own.title, "question": own.question, "settings": one.settings.model_dump(mode="json")}
        synthetic = _is_phantom(one.settings) and _data(one.settings) is None
        return Told(one.part.shown, manifest, content, phantom=synthetic, label=one.part.label, rows=one.part.rows)


def joined_plan(parts: Sequence[Part], settings: JoinedSettings) -> JoinedPlan:
    """Plan every part whose data is there.

    Args:
        parts: of the recipe.
        settings: data, version, and settings of the parts.

    Raises:
        InputError: no part's data is there, or a setting is unknown to all parts or does not fit one.
        DataError: data or weights cannot be used.
    """
    wanted = [part for part in parts if not _unwanted(part, settings.scale)]
    require(len(wanted) > 0, "scale", "recipe", "one that a part has", settings.scale)
    unknown = [name for name in settings.model_extra or {} if not any(_known(name, part) for part in parts)]
    names = [part.shown for part in wanted]
    fix = f"`medaegis list --settings {parts[0].recipe.name}` shows them; {names[0]}.NAME=VALUE sets one of a part."
    require(not unknown, "set", "recipe", f"settings of {', '.join(dict.fromkeys(names))}", unknown, fix)
    ready, left_out = list[Ready](), [_unwanted(part, settings.scale) for part in parts if part not in wanted]
    for part in wanted:
        one, missing = _ready(part, settings)
        ready += [] if one is None else [one]
        left_out += [f"{part.shown} is left out: there is no folder {name}." for name in missing]
    if not ready:
        every = [_folder(name) for part in wanted for name in _sets(part, part.own.settings)]
        folders = ", ".join(dict.fromkeys(f"{name}/" for name in every))
        raise InputError(
            f"`data` of recipe must be a folder that holds at least one of {folders}, got {settings.data!r}. "
            "Give it with --data DIR, or take synthetic images with --tiny."
        )
    return JoinedPlan(tuple(ready), tuple(dict.fromkeys(left_out)))


def _unwanted(part: Part, scale: Scale) -> str:
    """Why a part is not there at a scale, or ""."""
    if part.only not in (None, scale):
        return f"{part.shown} is only run with --scale {part.only}."
    return "" if scale == "small" or part.recipe.paper_scale else f"{part.shown} has no version at the papers' scale."


def _ready(part: Part, settings: JoinedSettings) -> tuple[Ready | None, list[str]]:
    """The part with its plan, or None; and the folders that are missing."""
    own = part.own
    named = settings.model_extra or {}
    changes = {name.removeprefix(f"{part.shown}."): value for name, value in named.items() if _known(name, part)}
    changed = own.with_changes(changes, tiny=settings.tiny, scale=settings.scale)
    if _is_phantom(changed) and not _has_own(part, settings):
        return Ready(part, changed, own.plan(changed)), []
    parent, sets = Path(settings.data or ""), _sets(part, changed)
    given = settings.data is not None
    missing = [n for n in sets if not (n.startswith(PHANTOM) or (given and (parent / _folder(n)).is_dir()))]
    there = [name for name in sets if name not in missing]
    lines = list(dict.fromkeys(str(parent / _folder(name)) for name in missing))
    if not there:
        return None, lines
    place = {"data": str(parent / part.folder)} if part.folder else {"data": str(parent), "sets": there}
    changed = own.with_changes(changes | place, tiny=settings.tiny, scale=settings.scale)
    return Ready(part, changed, own.plan(changed)), lines


def _has_own(part: Part, settings: JoinedSettings) -> bool:
    """Whether the user has images for a part that makes do with synthetic ones."""
    if settings.tiny or settings.data is None or not part.folder:
        return False
    return _is_phantom(part.recipe.settings) and (Path(settings.data) / part.folder).is_dir()


def _known(name: str, part: Part) -> bool:
    own, _, setting = name.rpartition(".")
    return own in ("", part.shown) and setting in type(part.recipe.settings).model_fields


def _sets(part: Part, settings: Settings) -> tuple[str, ...]:
    """The part's folder, or its several sets: names, or names with a budget as in cifar10@8/256."""
    return (part.folder,) if part.folder else cast(tuple[str, ...], getattr(settings, "sets", ()))


def _folder(name: str) -> str:
    return name.partition("@")[0]


def _is_phantom(settings: Settings) -> bool:
    """Whether no folder is needed."""
    sets = cast(tuple[str, ...], getattr(settings, "sets", ()))
    return str(getattr(settings, "source", None) or "").startswith(PHANTOM) or (
        bool(sets) and all(name.startswith(PHANTOM) for name in sets)
    )


def _data(settings: Settings) -> str | None:
    return cast(str | None, getattr(settings, "data", None))


def joined_recipe(
    name: str, title: str, parts: Sequence[Part], *, paper: str, question: str = "", aliases: tuple[str, ...] = ()
) -> Recipe:
    """A recipe of several parts.

    Args:
        name: what the command line calls it.
        title: the report's title.
        parts: in the order of the table.
        paper: the table or figure it reproduces.
        question: one sentence: what the run asks; by default the first part's.
        aliases: other names of it.

    Example:
        >>> from medaegis.experiment import HidingSettings, hiding_plan
        >>> one = Recipe(
        ...     name="mine", title="Mine", question="?", settings=HidingSettings(),
        ...     plan=lambda settings: hiding_plan(settings, dataset="phantoms"),
        ...     tiny={"source": "phantom-chest", "model": "small-resnet", "weights": None, "size": 32},
        ... )
        >>> table = joined_recipe("table", "A table", (Part(one, "chest_xray"),), paper="Table 1")
        >>> len(table.plan(table.with_changes({}, tiny=True)).ready)
        1
    """
    known = tuple(parts)
    shown = [part.shown for part in known]
    require(len(set(shown)) == len(shown) > 0, "parts", name, "parts of different names", shown)
    return Recipe(
        name=name,
        title=title,
        question=question or known[0].recipe.question,
        settings=JoinedSettings.model_validate({}),
        plan=lambda settings: joined_plan(known, settings),
        tiny={"tiny": True},
        paper=paper,
        paper_scale={"scale": "paper"},
        aliases=aliases,
    )
