from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medaegis._errors import InputError, NumericsError
from medaegis._types import Tapped
from medaegis.density import GaussianMixture, MixtureBank, fit_bank, quadratic_by_layer


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def ball(mean: float, scale: float, d: int) -> GaussianMixture:
    """One component with standard deviation `scale` in every direction."""
    covariance = scale**2 * torch.eye(d, dtype=torch.float64)[None]
    return GaussianMixture.from_covariances(torch.zeros(1).double(), torch.full((1, d), mean).double(), covariance)


def by_hand() -> MixtureBank:
    return MixtureBank({"a": {0: ball(0, 1, 2), 1: ball(1, 2, 2)}, "b|c": {0: ball(0, 0.5, 3), 1: ball(-1, 1, 3)}})


def tapped(n: int) -> Tapped:
    return Tapped(normal(n, 2), {"a": normal(n, 2, seed=1), "b|c": normal(n, 3, seed=2), "more": normal(n, 1)})


def test_quadratic_by_hand():
    features = {"a": torch.tensor([[3.0, 4.0], [3.0, 1.0]]).double(), "b|c": torch.ones(2, 3).double()}
    found = quadratic_by_layer(by_hand(), Tapped(torch.zeros(2, 2), features), torch.tensor([0, 1]))
    assert list(found) == ["a", "b|c"]
    assert found["a"].tolist() == [25 / 2, 1 / 2]  # (9 + 16) / 1 and (4 + 0) / 4, each over C = 2
    assert found["b|c"].tolist() == [4.0, 4.0]  # 3 x 1 / 0.25 and 3 x 4 / 1, each over C = 3


def test_mixed_classes_equal_separate_calls():
    passed, wanted = tapped(12), torch.arange(12) % 2
    together = quadratic_by_layer(by_hand(), passed, wanted)
    for c in (0, 1):
        own = wanted == c
        alone = Tapped(passed.logits[own], {name: z[own] for name, z in passed.features.items()})
        for layer, value in quadratic_by_layer(by_hand(), alone, wanted[own]).items():
            torch.testing.assert_close(together[layer][own], value, rtol=1e-12, atol=0)


def test_an_unknown_class_is_no_zero():
    with pytest.raises(InputError, match=r"fitted on every class that is wanted, got 'none for \[5\]'"):
        quadratic_by_layer(by_hand(), tapped(2), torch.tensor([0, 5]))


def test_a_missing_layer_is_named():
    passed = Tapped(torch.zeros(1, 2), {"a": normal(1, 2)})
    with pytest.raises(InputError, match=r"b\|c"):
        quadratic_by_layer(by_hand(), passed, torch.tensor([0]))


def test_each_class_and_layer_has_its_own_cases():
    labels = torch.tensor([3, 1] * 20)
    features = {"first": normal(40, 2) + labels[:, None], "second": normal(40, 3) - labels[:, None]}
    bank = fit_bank(features, labels, generator=seeded())
    assert (bank.layers, bank.classes) == (("first", "second"), (1, 3))
    for name, z in features.items():
        for c in (1, 3):
            torch.testing.assert_close(bank.mixtures[name][c].means[0], z[labels == c].mean(dim=0))


def test_components_and_strength_reach_every_mixture():
    labels = torch.arange(80) % 2
    z = normal(80, 3)
    bank = fit_bank({"a": z}, labels, components=4, strength=1.0, generator=seeded())
    assert all(m.means.shape == (4, 3) for m in bank.mixtures["a"].values())
    single = fit_bank({"a": z}, labels, strength=1.0, generator=seeded()).mixtures["a"][0].whitener
    torch.testing.assert_close(single, torch.diag(single.diagonal()))


def test_round_trip_keeps_the_order_of_layers_and_classes():
    labels = torch.arange(48) % 12
    features = {name: normal(48, 2, seed=i) for i, name in enumerate(("z", "a|b", "m#2"))}
    bank = fit_bank(features, labels, generator=seeded())
    back = MixtureBank.from_tensors(bank.tensors(), bank.layers)
    assert back.layers == bank.layers
    assert back.classes == bank.classes == tuple(range(12))
    old, new = (quadratic_by_layer(b, Tapped(normal(48, 12), features), labels) for b in (bank, back))
    assert all(torch.equal(old[name], new[name]) for name in features)


def test_to_follows_the_features():
    passed = tapped(4)
    single = Tapped(passed.logits.float(), {name: z.float() for name, z in passed.features.items()})
    found = quadratic_by_layer(by_hand().to(single.logits), single, torch.tensor([0, 1, 1, 0]))
    expected = quadratic_by_layer(by_hand(), passed, torch.tensor([0, 1, 1, 0]))
    for name, value in found.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)


def test_normal_cases_are_of_order_one_at_every_layer():
    labels = torch.arange(300) % 2
    features = {"wide": 100 * normal(300, 20) + 500, "thin": 1e-3 * normal(300, 150, seed=1).relu()}
    bank = fit_bank(features, labels, generator=seeded())
    held = {"wide": 100 * normal(300, 20, seed=2) + 500, "thin": 1e-3 * normal(300, 150, seed=3).relu()}
    for value in quadratic_by_layer(bank, Tapped(normal(300, 2), held), labels).values():
        assert 0.3 < value.mean().item() < 3


def test_arguments_of_fit():
    z, labels = normal(20, 2), torch.arange(20) % 2
    with pytest.raises(InputError, match="at least one layer"):
        fit_bank({}, labels, generator=seeded())
    with pytest.raises(InputError, match=r"\(20, d\)"):
        fit_bank({"a": z, "b": z[:10]}, labels, generator=seeded())
    with pytest.raises(InputError, match=r"at least 2 x 1 cases of each class .* got \{7: 1\}"):
        fit_bank({"a": z}, torch.tensor([0] * 19 + [7]), generator=seeded())
    with pytest.raises(InputError, match="at least 2 x 6 cases"):
        fit_bank({"a": z}, labels, components=6, generator=seeded())
    with pytest.raises(NumericsError, match="NaN"):
        fit_bank({"a": z * torch.nan}, labels, generator=seeded())
