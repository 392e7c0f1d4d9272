from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from medaegis._errors import InputError
from medaegis.detect import LID, make_detector
from medaegis.detect._lid import draw_minibatch


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(n: int = 300, d: int = 6) -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % 3
    return normal(n, d) + 5 * labels[:, None], labels


def by_hand(query: np.ndarray, reference: np.ndarray, k: int) -> list[float]:
    """-(mean ln r_i / r_k)^-1, case by case, without the query's own copy."""
    found = []
    for f in query:
        r = np.sort(np.sqrt(((reference - f) ** 2).sum(axis=1)))
        r = r[r > 0][:k]
        found.append(-1 / np.log(r / r[-1]).mean())
    return found


@pytest.mark.parametrize(("neighbours", "minibatch"), [(20, 100), (2, 3), (99, 100), (20, 250)])
def test_agrees_with_brute_force(neighbours: int, minibatch: int):
    z, labels = classes()
    lid = LID(neighbours, minibatch=minibatch).fit(z, labels)
    reference = z[lid.rows_]
    assert reference.shape == (minibatch, 6)
    query = normal(30, 6, seed=1) * 4
    np.testing.assert_allclose(lid.score(query), by_hand(query.numpy(), reference.numpy(), neighbours), rtol=1e-9)


def test_a_cases_own_copy_is_no_neighbour():
    z, labels = classes()
    lid = LID().fit(z, labels)
    own = z[lid.rows_]
    np.testing.assert_allclose(lid.score(own), by_hand(own.numpy(), own.numpy(), 20), rtol=1e-9)
    # so that cases of the minibatch and other clean ones score alike
    others = z[[i for i in range(300) if i not in set(lid.rows_.tolist())]]
    assert lid.score(own).mean().item() == pytest.approx(lid.score(others).mean().item(), rel=0.1)


def test_what_is_scored_never_joins_the_reference():
    z, labels = classes()
    lid, query = LID().fit(z, labels), normal(40, 6, seed=1)
    before = {name: among.reference.clone() for name, among in lid.references_.items()}
    twins = lid.score(torch.cat([query, query + 1e-3]))  # a clean twin in the same batch shifts nothing
    torch.testing.assert_close(twins[:40], lid.score(query), rtol=1e-10, atol=0)
    assert all(torch.equal(lid.references_[name].reference, z) for name, z in before.items())


def test_scores_by_layer_are_averaged_over_the_same_cases():
    z, labels = classes()
    layers, query = {"a": z, "b": z[:, :2].contiguous()}, normal(9, 6, seed=1)
    lid = LID().fit(layers, labels)
    for name, among in lid.references_.items():
        assert torch.equal(among.reference, layers[name][lid.rows_])
    asked = {"a": query, "b": query[:, :2]}
    scores = lid.layer_scores(asked)
    assert list(scores) == ["a", "b"]
    torch.testing.assert_close(lid.score(asked), (scores["a"] + scores["b"]) / 2)
    assert scores["b"].mean() < scores["a"].mean()  # two dimensions instead of six


def test_gradients_agree_with_finite_differences():
    z, labels = classes()
    query = (normal(5, 6, seed=1) * 3).requires_grad_()
    assert torch.autograd.gradcheck(LID().fit(z, labels).score, (query,))


@pytest.mark.parametrize("d", [6, 40])
def test_float32_stays_float32_where_it_is_as_good(d: int, tmp_path: Path):
    z, labels = classes(d=d)
    z, query = z.float(), torch.cat([normal(200, d, seed=1).float() * 3, z[:50].float()])
    lid, exact = LID().fit(z, labels), LID().fit(z.double(), labels)
    assert lid.references_[""].reference.dtype == torch.float32
    found, wanted = lid.score(query), exact.score(query.double())
    assert found.dtype == torch.float64
    assert torch.equal(found, wanted) == (d == 6)  # 6 channels are too few for float32
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=0)
    for mixed in (lid.score(query.double()), exact.score(query)):
        assert torch.equal(mixed, wanted)
    lid.save(tmp_path / "lid")
    back = LID.load(tmp_path / "lid")
    assert back.references_[""].reference.dtype == torch.float32
    assert torch.equal(back.score(query), found)


# the minibatch


def test_each_class_has_its_share():
    for n, seed in ((300, 0), (301, 1), (997, 2)):
        labels = (torch.rand(n, generator=torch.Generator().manual_seed(seed)) * 10).square().long() // 20
        rows = draw_minibatch(labels, 100, seed=seed)
        assert len(rows.unique()) == len(rows) == 100
        shares = 100 * labels.bincount() / n
        assert ((labels[rows].bincount(minlength=len(shares)) - shares).abs() < 1 + 1e-6).all()


def test_the_seed_draws_the_minibatch():
    z, labels = classes()
    drawn = [set(LID(seed=seed).fit(z, labels).rows_.tolist()) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_case_of_a_class_can_be_drawn():
    labels = torch.arange(30) % 3
    seen = torch.cat([draw_minibatch(labels, 6, seed=seed) for seed in range(200)])
    counts = seen.bincount(minlength=30)
    assert counts.min() > 15  # 40 expected of each
    assert counts.max() < 75


def test_fewer_train_cases_than_the_minibatch():
    z, labels = classes(n=60)
    lid = LID().fit(z, labels)
    assert sorted(lid.rows_.tolist()) == list(range(60))


def test_the_drawn_rows_are_saved(tmp_path: Path):
    lid = LID(5, minibatch=30, seed=3).fit(*classes())
    lid.save(tmp_path / "lid")
    back = LID.load(tmp_path / "lid")
    assert torch.equal(back.rows_, lid.rows_)
    assert back.get_params() == lid.get_params()


# arguments


def test_too_few_train_cases_are_no_smaller_k():
    z, labels = classes()
    for n in (10, 20):
        with pytest.raises(InputError, match=rf"at least 21 cases, got {n}. Take fewer neighbours or more Train cases"):
            LID().fit(z[:n], labels[:n])
    assert LID().fit(z[:21], labels[:21]).score(z[:21]).isfinite().all()


def test_a_minibatch_of_ten_is_no_smaller_k():
    with pytest.raises(InputError, match=r"`minibatch` of LID must be an int above `neighbours`, 20, got 10. Take"):
        LID(minibatch=10)
    lid = LID().set_params(minibatch=10)  # past the constructor
    with pytest.raises(InputError, match="of more than 20 cases"):
        lid.fit(*classes())


def test_duplicates_are_told_at_fit():
    z, labels = classes(n=60)
    z[20:] = z[0]
    with pytest.raises(InputError, match="more cases without duplicates"):
        LID().fit(z, labels)
    assert LID(19).fit(z, labels).score(z).isfinite().all()


@pytest.mark.parametrize("options", [{"neighbours": 1}, {"neighbours": 2.0}, {"neighbours": True}, {"minibatch": 20}])
def test_the_constructor_checks_its_arguments(options: dict[str, object]):
    with pytest.raises(InputError, match=f"`{next(iter(options))}` of LID"):
        make_detector("LID", **options)
