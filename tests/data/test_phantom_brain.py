"""The head-CT phantom: reproducible, well formed, shaped like a head, with each cause's blood where it belongs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medaegis._errors import InputError
from medaegis.data import load_dataset, phantom_dataset
from medaegis.data._phantom_bleeds import AGES, CAUSES, bled, draw_bleed
from medaegis.data._phantom_brain import Volumes, brain_phantoms
from medaegis.data._phantom_head import Anatomy, build_head, draw_head
from medaegis.data._phantom_volume import Pose, Space, ball, cloud, pushed, tube, voxels, warped

STILL = Pose((0.0, 0.0, 0.0), 1.2, (0.0, 0.0, -0.08))
ANEURYSM, MALFORMATION, MOYAMOYA, HYPERTENSION = range(4)


def small(n: int, seed: int = 0) -> Volumes:
    return brain_phantoms(n, size=32, depth=8, seed=seed)


def test_same_seed_same_bytes_and_other_seed_other_patients() -> None:
    first, again, other = small(8, 3), small(8, 3), small(8, 4)
    assert first.images.tobytes() == again.images.tobytes()
    assert first.groups == again.groups
    assert all((a != b).any() for a, b in zip(first.images, other.images, strict=True))
    assert not set(first.groups) & set(other.groups)


def test_a_case_does_not_depend_on_how_many_follow() -> None:
    few, many = small(5, 2), small(18, 2)
    assert (few.images == many.images[:5]).all()
    assert (few.labels == many.labels[:5]).all()
    assert few.groups == many.groups[:5]


def test_global_random_state_is_neither_read_nor_moved() -> None:
    np.random.seed(0)  # noqa: NPY002  # the legacy global state is the subject here
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002  # as above
    first = small(4)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002  # as above
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.random.seed(1)  # noqa: NPY002  # as above
    assert (small(4).images == first.images).all()


@pytest.mark.parametrize(("size", "depth"), [(32, 8), (40, 9), (48, 24)])
def test_shapes_types_and_range(size: int, depth: int) -> None:
    volumes = brain_phantoms(4, size=size, depth=depth)
    assert (volumes.images.shape, volumes.images.dtype) == ((4, 1, depth, size, size), np.uint8)
    assert (volumes.labels.shape, volumes.labels.dtype) == ((4,), np.int64)
    assert (volumes.images.max(axis=(1, 2, 3, 4)) == 255).all()  # bone
    assert (volumes.images.min(axis=(1, 2, 3, 4)) == 0).all()  # air


def test_anatomy_does_not_depend_on_the_resolution() -> None:
    coarse = brain_phantoms(4, size=48, depth=12, seed=6).images / 255
    fine = brain_phantoms(4, size=96, depth=24, seed=6).images / 255
    pooled = fine.reshape(4, 1, 12, 2, 48, 2, 48, 2).mean(axis=(3, 5, 7))
    assert (np.abs(pooled - coarse).mean(axis=(1, 2, 3, 4)) < 0.05).all()
    strangers = np.abs(pooled - coarse[::-1]).mean(axis=(1, 2, 3, 4))
    assert (strangers > 0.05).all()


@pytest.mark.parametrize("n", [4, 12, 16, 20, 48])
def test_causes_are_balanced_for_every_multiple_of_four(n: int) -> None:
    assert np.bincount(small(n, 5).labels).tolist() == [n // 4] * 4


def test_a_patient_has_one_cause_and_a_third_have_two_different_volumes() -> None:
    images, labels, groups = small(48, 1)
    patients = {group: [i for i in range(48) if groups[i] == group] for group in set(groups)}
    assert all(len({int(labels[i]) for i in cases}) == 1 for cases in patients.values())
    pairs = [cases for cases in patients.values() if len(cases) == 2]
    assert (len(patients), len(pairs)) == (36, 12)
    assert all((images[a] != images[b]).any() for a, b in pairs)
    assert len({tuple(labels[i : i + 4]) for i in range(0, 48, 4)}) > 4  # no fixed order


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n": 0}, "`n` of brain_phantoms must be an int"),
        ({"n": 4, "size": 16}, r"`size` of .* in \[32, 1024\], got 16"),
        ({"n": 4, "depth": 4}, r"`depth` of .* in \[8, 256\], got 4"),
        ({"n": 4, "depth": 8.0}, "`depth` of"),
        ({"n": 4, "seed": -1}, "`seed` of"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, text: str) -> None:
    with pytest.raises(InputError, match=text):
        brain_phantoms(**arguments)


def test_as_a_source() -> None:
    data = load_dataset(None, source="phantom-brain", n=4, size=32, depth=8)
    assert data.images.shape == (4, 1, 8, 32, 32)
    assert data.class_names == CAUSES
    assert (phantom_dataset("phantom-brain", 4, size=32, depth=8).images == data.images).all()  # three equal channels
    with pytest.raises(InputError, match="an int for phantom-brain, which draws volumes"):
        load_dataset(None, source="phantom-brain", n=4, size=32)
    with pytest.raises(InputError, match="None for phantom-chest, which draws images"):
        load_dataset(None, source="phantom-chest", n=4, size=32, depth=8)


def _head(cause: int, seed: int) -> tuple[Anatomy, np.ndarray, Space]:
    """A head, where it bled (voxels that blood made brighter), and its coordinates; nobody turns the head."""
    rng = np.random.default_rng(seed)
    head, (bleed, _) = draw_head(rng, AGES[cause]), draw_bleed(rng, cause)
    space = voxels(18, 48, STILL)
    inner = warped(space, rng, 0.012)
    for clot in bleed.clots:
        inner = pushed(inner, clot.centre, clot.mass)
    anatomy = build_head(head, space, inner, rng)
    blood = bled(bleed, head, anatomy, inner, space, rng) - anatomy.hu > 12
    return anatomy, blood, space


@pytest.mark.parametrize("seed", range(4))
def test_blood_lies_where_its_cause_puts_it(seed: int) -> None:
    anatomy, blood, _ = _head(ANEURYSM, seed)
    fluid = (anatomy.cisterns > 0.1) | (anatomy.ventricles > 0.1)
    assert blood.any()
    assert (fluid & blood).sum() > 0.6 * blood.sum()
    anatomy, blood, _ = _head(MOYAMOYA, seed)
    assert (blood & (anatomy.ventricles > 0.1)).sum() > 0.5 * (anatomy.ventricles > 0.5).sum() > 0
    (lobar, bled_lobar, _), (deep, bled_deep, _) = _head(MALFORMATION, seed), _head(HYPERTENSION, seed)
    outside = bled_lobar & (lobar.ventricles < 0.1)
    within = bled_deep & (deep.ventricles < 0.1)
    assert np.median(lobar.deep[outside]) < 0.15 < np.median(deep.deep[within])
    for anatomy, blood, _ in (_head(cause, seed) for cause in range(4)):
        assert not blood[anatomy.brain < 0.05].any()  # none in bone or outside


def test_a_head_has_bone_round_brain_round_fluid() -> None:
    anatomy, _, space = _head(HYPERTENSION, 2)
    level = np.abs(space.z - 0.1) < 0.06
    core = level & (anatomy.deep > 0.02)
    assert np.median(anatomy.hu[core & (anatomy.ventricles > 0.95)]) < 12  # chalk may float in it
    tissue = core & (anatomy.ventricles < 0.01) & (anatomy.cisterns < 0.01)
    assert 15 < np.percentile(anatomy.hu[tissue], 5) < np.percentile(anatomy.hu[tissue], 95) < 70
    ring = level & (anatomy.deep < -0.01) & (anatomy.deep > -0.025)
    assert np.median(anatomy.hu[ring]) > 200
    assert (anatomy.hu[level & (anatomy.deep < -0.3)] < -900).all()


def test_the_brain_is_pressed_aside_and_not_away() -> None:
    space = voxels(12, 32, STILL)
    aside = pushed(space, (0.1, 0.0, 0.0), 0.15)
    before = np.stack(space[:3]) - np.array([0.1, 0, 0]).reshape(3, 1, 1, 1)
    after = np.stack(aside[:3]) - np.array([0.1, 0, 0]).reshape(3, 1, 1, 1)
    far, near = (np.sqrt((part**2).sum(axis=0)) for part in (before, after))
    np.testing.assert_allclose(near**3, np.clip(far**3 - 0.15**3, 0, None), atol=2e-5)  # volume is kept


def test_solids_against_distances_by_hand() -> None:
    space = voxels(9, 17, STILL)
    points = np.stack(space[:3], axis=-1)
    a, b = np.array([-0.3, 0.1, 0.0]), np.array([0.4, -0.2, 0.2])
    along = np.clip(((points - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
    away = np.linalg.norm(points - (a + along[..., None] * (b - a)), axis=-1)
    np.testing.assert_allclose(tube(space, np.stack([a, b]), np.array([0.1, 0.3])), 0.1 + 0.2 * along - away, atol=1e-5)
    np.testing.assert_allclose(
        ball(space, (0.1, 0, 0), (0.2, 0.2, 0.2)), 0.2 - np.linalg.norm(points - [0.1, 0, 0], axis=-1), atol=1e-5
    )


def test_clouds_have_mean_zero_and_variance_one() -> None:
    many = np.stack([cloud(np.random.default_rng(seed), (6, 10, 10), 3, 5) for seed in range(400)])
    assert np.abs(many.mean(axis=0)).max() < 0.25
    assert 0.8 < many.var(axis=0).mean() < 1.2


def test_a_histogram_does_not_tell_the_cause() -> None:
    """Causes differ in how much blood there is, as they do in patients; most must be told by where it is."""

    def statistics(images: np.ndarray) -> np.ndarray:
        rows = [[x.mean(), x.var(), *np.histogram(x, 32, (0, 256))[0] / x.size] for x in images.astype(np.float64)]
        return np.array(rows)

    train, test = small(160, 10), small(96, 11)
    known, asked = statistics(train.images), statistics(test.images)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000)).fit(known, train.labels)
    assert model.score(asked, test.labels) < 0.72
