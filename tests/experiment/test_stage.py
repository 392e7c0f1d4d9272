"""Keys, the store and the context: what is the same is found again, what is not is computed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from medaegis import DataError
from medaegis._late import late
from medaegis.experiment import Context, Result, Stage, Store
from medaegis.experiment._stage import distinct, unkeyed

COMPUTED: list[str] = []


@dataclass(frozen=True)
class Number(Stage):
    value: int
    label: str = "plain"
    place: str = unkeyed("")

    def compute(self, context: Context) -> Result:
        COMPUTED.append(f"number {self.value}")
        return Result({"value": torch.tensor([float(self.value)])}, {"label": self.label})


@dataclass(frozen=True)
class Total(Stage):
    parts: tuple[Number, ...]
    scale: float = 1.0

    def compute(self, context: Context) -> Result:
        COMPUTED.append("total")
        total = sum(context.get(part).tensors["value"] for part in self.parts)
        return Result({"value": total * self.scale}, {})


@pytest.fixture(autouse=True)
def _forget() -> None:
    COMPUTED.clear()


def test_key_depends_on_fields_that_differ_from_their_default() -> None:
    assert Number(1).key == Number(1, label="plain").key
    assert Number(1).key != Number(2).key
    assert Number(1).key != Number(1, label="other").key


def test_key_ignores_where_files_lie() -> None:
    assert Number(1, place="/a").key == Number(1, place="/b").key


def test_key_depends_on_the_keys_of_inputs() -> None:
    assert Total((Number(1), Number(2))).key != Total((Number(1), Number(3))).key
    assert Total((Number(1, place="/a"),)).key == Total((Number(1),)).key


def test_key_is_stable_across_versions_of_the_package() -> None:
    assert Number(1).key == "e8f6e89b86294f6e23f0e23e"


def test_a_new_field_with_a_default_keeps_old_keys_and_a_new_version_does_not() -> None:
    @dataclass(frozen=True)
    class Longer(Number):
        extra: int = 0

    @dataclass(frozen=True)
    class Newer(Number):
        version: ClassVar[int] = 2

    def renamed(cls: type[Number]) -> str:
        cls.__name__ = "Number"
        return cls(1).key

    assert renamed(Longer) == Number(1).key
    assert renamed(Newer) != Number(1).key


def test_a_new_field_of_a_value_inside_a_stage_keeps_old_keys() -> None:
    short = make_dataclass("Choice", [("name", str)], frozen=True)
    longer = make_dataclass("Choice", [("name", str), ("steps", int, late(3))], frozen=True)

    @dataclass(frozen=True)
    class Chosen(Stage):
        choice: Any

        def compute(self, context: Context) -> Result:
            return Result({}, {})

    assert Chosen(short("a")).key == Chosen(longer("a")).key == Chosen(longer("a", 3)).key
    assert len({Chosen(longer("a", steps)).key for steps in (3, 4)} | {Chosen(longer("b")).key}) == 3


def test_mutable_default_does_not_enter_the_key() -> None:
    @dataclass(frozen=True)
    class Made(Number):
        parts: tuple[int, ...] = field(default=(1, 2))

    Made.__name__ = "Number"
    assert Made(1).key == Number(1).key


def test_stages_are_computed_once_and_found_again(tmp_path: Path) -> None:
    total = Total((Number(1), Number(2)))
    first = Context(Store(tmp_path))
    assert first.get(total).tensors["value"].item() == 3
    assert first.get(total).tensors["value"].item() == 3
    assert COMPUTED == ["number 1", "number 2", "total"]
    second = Context(Store(tmp_path))
    assert second.get(total).tensors["value"].item() == 3
    assert COMPUTED == ["number 1", "number 2", "total"]
    assert [entry.cached for entry in second.log.values()] == [True]


def test_a_failed_stage_leaves_nothing_and_keeps_what_was_finished(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Broken(Total):
        def compute(self, context: Context) -> Result:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        Context(Store(tmp_path)).get(Broken((Number(1),)))
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"Number-{Number(1).key}"]


def test_half_written_result_is_not_a_result(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Number(1)
    (tmp_path / f"Number-{stage.key}").mkdir(parents=True)
    assert not store.has(stage)
    assert Context(store).get(stage).tensors["value"].item() == 1
    assert store.has(stage)


def test_damaged_result_names_the_folder(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Number(1)
    Context(store).get(stage)
    (tmp_path / f"Number-{stage.key}" / "tensors.safetensors").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"Number-.*Delete that folder"):
        store.read(stage)


def test_result_stored_meanwhile_by_another_process_stays(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Number(1)
    store.write(stage, Result({"value": torch.tensor([7.0])}, {}))
    store.write(stage, Result({"value": torch.tensor([8.0])}, {}))
    assert store.read(stage).tensors["value"].item() == 7
    assert not list(tmp_path.glob(".writing-*"))


def test_scratch_goes_when_the_result_is_there(tmp_path: Path) -> None:
    store, stage = Store(tmp_path), Number(1)
    store.scratch(stage).mkdir(parents=True)
    store.write(stage, Result({}, {"a": 1}))
    assert not store.scratch(stage).exists()
    assert json.loads(next(tmp_path.glob("Number-*/info.json")).read_text()) == {"a": 1}


def test_distinct_puts_inputs_first_and_each_once() -> None:
    shared = Number(1)
    order = distinct((Total((shared, Number(2))), Total((shared, Number(3)))))
    assert len(order) == 5
    assert order[0] == shared
    assert sum(stage.key == shared.key for stage in order) == 1
