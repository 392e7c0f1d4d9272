"""Bad files are skipped and named, or stop the load; a bad folder always stops it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medaegis._errors import DataError, InputError
from medaegis.data import BadImageError, load_dataset


def spoil(make, root, kind: str) -> str:
    """Make one file of the tree bad; its name."""
    path = root / "a/05.png"
    path.unlink()
    whole = make.encode(make.noise((60, 60, 3)), "JPEG")
    if kind == "dangling link":
        path.symlink_to(root / "nowhere.png")
    elif kind == "animated":
        frames = [Image.fromarray(make.noise((20, 20), seed)) for seed in range(3)]
        frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])
    else:
        path.write_bytes({"zero bytes": b"", "truncated": whole[: len(whole) // 2], "text": b"oops" * 9}[kind])
    return "a/05.png"


KINDS = {
    "dangling link": "cannot be read",
    "animated": "3 frames",
    "zero bytes": "zero bytes",
    "truncated": "truncated",
    "text": "not an image",
}


@pytest.mark.parametrize(("kind", "reason"), KINDS.items())
def test_a_bad_file_is_skipped_listed_and_warned_of(tmp_path, make, skips, kind, reason) -> None:
    name = spoil(make, make.two_classes(tmp_path), kind)
    with skips() as caught:
        data = load_dataset(tmp_path, size=16)
    assert len(caught) == 1
    assert name in str(caught[0].message)
    assert caught[0].filename == __file__  # points to the caller
    assert [skipped.name for skipped in data.skipped] == [name]
    assert reason in data.skipped[0].reason
    assert len(data) == 39
    assert name not in data.names
    assert data.labels.tolist() == [0] * 19 + [1] * 20


@pytest.mark.parametrize(("kind", "reason"), KINDS.items())
def test_a_bad_file_stops_a_strict_load(tmp_path, make, kind, reason) -> None:
    name = spoil(make, make.two_classes(tmp_path), kind)
    with pytest.raises(BadImageError, match=reason) as caught:
        load_dataset(tmp_path, size=16, on_bad="error")
    assert str(tmp_path / name) in str(caught.value)


def test_the_neighbours_of_a_bad_file_keep_their_images(tmp_path, make, skips) -> None:
    make.two_classes(tmp_path)
    before = load_dataset(tmp_path, size=16)
    spoil(make, tmp_path, "text")
    with skips():
        after = load_dataset(tmp_path, size=16)
    kept = [i for i, name in enumerate(before.names) if name != "a/05.png"]
    assert np.array_equal(after.images, before.images[kept])


def test_decompression_bombs_are_skipped(tmp_path, make, skips, monkeypatch) -> None:
    make.two_classes(tmp_path)
    make.image(tmp_path / "a/07.png", shape=(60, 60))
    make.image(tmp_path / "b/07.png", shape=(300, 300))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)  # 07 of a only warns in Pillow, 07 of b raises
    with skips():
        data = load_dataset(tmp_path, size=16)
    assert [skipped.name for skipped in data.skipped] == ["a/07.png", "b/07.png"]


@pytest.mark.parametrize(("bad", "raises"), [(4, False), (5, True)])
def test_up_to_a_tenth_may_be_bad(tmp_path, make, skips, bad, raises) -> None:
    make.two_classes(tmp_path)
    for i in range(bad):
        (tmp_path / f"a/{i:02d}.png").write_bytes(b"")
    if raises:
        with pytest.raises(DataError, match=r"5 of 40 images .*zero bytes"):
            load_dataset(tmp_path, size=16)
    else:
        with skips():
            assert len(load_dataset(tmp_path, size=16)) == 36


def test_images_missing_from_a_table_count_as_bad(tmp_path, make, skips) -> None:
    rows = [f"c{i:02d},{i % 5}" for i in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["id_code,diagnosis", *rows]))
    make.images(tmp_path / "train_images", [f"c{i:02d}.png" for i in range(1, 40)])
    with skips():
        data = load_dataset(tmp_path, size=16)
    assert [skipped.name for skipped in data.skipped] == ["c00"]
    with pytest.raises(DataError, match="1 of 40"):
        load_dataset(tmp_path, size=16, on_bad="error")
    for i in range(1, 5):
        (tmp_path / f"train_images/c{i:02d}.png").unlink()
    with pytest.raises(DataError, match="5 of 40"):
        load_dataset(tmp_path, size=16)


def test_a_limit_does_not_make_missing_images_weigh_more(tmp_path, make, skips) -> None:
    rows = [f"c{i:02d},{i % 2}" for i in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["id_code,diagnosis", *rows]))
    make.images(tmp_path, [f"c{i:02d}.png" for i in range(2, 40)])
    with skips():
        assert len(load_dataset(tmp_path, size=16, limit=3)) == 6  # 2 of 40 missing, though 2 of 8 looked at


def test_a_class_without_images(tmp_path, make) -> None:
    make.two_classes(tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/scan.mha").write_bytes(b"")
    with pytest.raises(DataError, match=r"at least 3 usable images .* a: 20, b: 20, c: 0"):
        load_dataset(tmp_path)


def test_one_class_only(tmp_path, make) -> None:
    make.images(tmp_path / "train_images", [f"{i}.png" for i in range(5)])
    (tmp_path / "train.csv").write_text("id_code,diagnosis\n" + "".join(f"{i},0\n" for i in range(5)))
    with pytest.raises(DataError, match="retinopathy: 0"):
        load_dataset(tmp_path)


def test_too_few_images_before_and_after_skipping(tmp_path, make) -> None:
    make.images(tmp_path / "a", [f"{i}.png" for i in range(40)])
    make.images(tmp_path / "b", ["0.png", "1.png"])
    with pytest.raises(DataError, match="b: 2"):
        load_dataset(tmp_path)
    make.image(tmp_path / "b/2.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"b: 2\. 1 were skipped, the first b/2.png: zero bytes"), pytest.warns():
        load_dataset(tmp_path)


def test_no_images_at_all(tmp_path) -> None:
    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="NORMAL: 0, PNEUMONIA: 0"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("root", [None, "none", "file"])
def test_roots_that_are_no_folder(tmp_path, root) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="must be a"):
        load_dataset(root and tmp_path / root)


@pytest.mark.parametrize(
    "wrong",
    [{"size": 0}, {"resize": 10}, {"channels": 2}, {"labels": "stages"}, {"on_bad": "ignore"}, {"source": "none"}],
)
def test_wrong_arguments_are_refused_before_any_work(tmp_path, make, wrong) -> None:
    make.two_classes(tmp_path)
    with pytest.raises(InputError, match=next(iter(wrong))):
        load_dataset(tmp_path, **({"size": 16} | wrong))
