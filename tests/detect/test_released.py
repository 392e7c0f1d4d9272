"""Each choice of the reference mode shows in a figure by hand or beside an independent method."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KernelDensity
from sklearn.svm import SVC
from torch import Tensor, nn

from medaegis import InputError
from medaegis._types import Tapped
from medaegis.density import TiedGaussians
from medaegis.detect import DNN, LID, SVM, Combined, Examples, LayerScores, ReleasedData, released_scores
from medaegis.detect._released_bu import logit_spread
from medaegis.detect._released_dnn import LinearNet, train_linear_net
from medaegis.detect._released_lid import batch_lid, released_lid
from medaegis.detect._released_maha import plain_distances, released_maha, stepped_distances, unshrunk_gaussians
from medaegis.detect._released_regression import pooled, regress_layers
from medaegis.detect._released_svm import released_svm
from medaegis.detect._released_toy import toy_data

KINDS = ("KD", "BU", "LID", "MAHA", "SVM", "DNN")


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=draw(seed), dtype=torch.float64)


def area(clean: Tensor, adversarial: Tensor) -> float:
    truth = [0] * len(clean) + [1] * len(adversarial)
    return float(roc_auc_score(truth, torch.cat([clean, adversarial]).numpy()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_alone_decides(kind: str) -> None:
    data = toy_data(hidden=1.0)
    before = torch.get_rng_state()
    first, again = (released_scores(kind, data, generator=draw(3)) for _ in range(2))
    assert torch.equal(first.clean, again.clean)
    assert torch.equal(first.adversarial, again.adversarial)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(bool(torch.isfinite(part).all()) for part in first)
    assert first.clean.shape == first.adversarial.shape == (30,)


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_shift_scores_higher(kind: str) -> None:
    if kind == "BU":
        pytest.skip("what one logit varies by need not grow with a shift")
    assert area(*released_scores(kind, toy_data(6.0), generator=draw())) > 0.8


def test_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="KNN"):
        released_scores("KNN", toy_data(), generator=draw())


def test_kd_is_sklearns_default_of_the_predicted_class() -> None:
    data = toy_data()
    found = released_scores("KD", data, generator=draw()).adversarial
    z, predicted = data.test_adversarial.features["penultimate"], data.test_adversarial.logits.argmax(dim=1)
    for row in range(5):
        known = data.train["penultimate"][data.labels == predicted[row]]
        exact = KernelDensity(leaf_size=1000).fit(known.double().numpy())  # its default bandwidth is 1.0
        assert found[row].item() == pytest.approx(-exact.score_samples(z[row : row + 1].double().numpy())[0])


def test_bu_is_the_standard_deviation_of_one_logit() -> None:
    z, weight = normal(3, 4), normal(2, 4, seed=1)
    masks = draw(7)
    passes = []
    for _ in range(50):
        kept = torch.rand(3, 4, generator=masks, dtype=torch.float64) >= 0.3
        passes.append(((z * kept / 0.7) @ weight.T)[:, 0].numpy())
    np.testing.assert_allclose(logit_spread(z, weight[0], generator=draw(7)), np.std(passes, axis=0), rtol=1e-12)
    # what it does not see: a case that only other logits are unsure of
    data = toy_data()._replace(weight=torch.stack([torch.zeros(6), torch.ones(6)]))
    assert released_scores("BU", data, generator=draw()).clean.abs().max() == 0


def test_k_silently_becomes_the_batch_less_one() -> None:
    queries, batch = normal(7, 5), normal(10, 5, seed=1)
    found = batch_lid(queries, batch, neighbours=20)
    torch.testing.assert_close(found, batch_lid(queries, batch, neighbours=9), rtol=0, atol=0)
    by_hand = []
    for f in queries:
        r = np.sort(np.linalg.norm((batch - f).numpy(), axis=1))[1:]  # nine, without the nearest
        assert len(r) == 9
        by_hand.append(-9 / np.log(r / r[-1]).sum())
    np.testing.assert_allclose(found, by_hand, rtol=1e-9)
    with pytest.raises(InputError, match="Take fewer neighbours"):
        LID().fit(batch, torch.arange(10) % 2)


def test_a_copy_gives_a_stated_result() -> None:
    batch = torch.zeros(10, 2, dtype=torch.float64)
    batch[5:] = normal(5, 2)
    found = batch_lid(batch, batch)
    assert torch.equal(found[:5], torch.zeros(5, dtype=torch.float64))
    assert bool((found[5:] >= 0).all())


def ours(data: ReleasedData) -> tuple[Tensor, Tensor]:
    examples = Examples(data.learn_clean.features, data.learn_adversarial.features)
    lid = Combined(LID()).fit(data.train, data.labels, examples=examples)
    return lid.score(data.test_clean.features), lid.score(data.scored.features)


def test_twins_tell_a_shift_that_is_none() -> None:
    """A shift of a thousandth of the spread: the leak of the notes sees it always, and ours never."""
    data = toy_data(1e-3)
    assert area(*released_lid(data, generator=draw(), twins=True)) == 1.0
    assert area(*ours(data)) == pytest.approx(0.5, abs=0.1)


def test_the_code_that_was_read_does_not_leak_by_twins() -> None:
    """Its estimator drops the nearest case, whoever it is: the twin too."""
    data = toy_data(1e-3)
    assert area(*released_lid(data, generator=draw())) == pytest.approx(0.5, abs=0.1)
    clean = normal(10, 6)
    kept, dropped = (batch_lid(clean + 1e-4, clean, drop=drop) for drop in (False, True))
    assert kept.max() < 1
    torch.testing.assert_close(dropped, batch_lid(clean, clean), rtol=1e-2, atol=0)


def test_hidden_examples_have_another_batch_than_the_clean_ones() -> None:
    """The second hundred of hidden examples is compared with the second ten clean cases."""
    data = toy_data(hidden=3.0)
    assert data.hidden is not None
    first = released_lid(data, generator=draw()).adversarial
    many = Tapped(data.hidden.logits.repeat(5, 1), {n: z.repeat(5, 1) for n, z in data.hidden.features.items()})
    scores = released_lid(data._replace(hidden=many), generator=draw()).adversarial
    torch.testing.assert_close(scores[:30], first, rtol=1e-12, atol=0)
    torch.testing.assert_close(scores[30:60], first, rtol=1e-12, atol=0)
    assert not torch.allclose(scores[120:150], first)


def test_the_scaler_sees_test_data() -> None:
    """One test case far away moves every other score; ours does not move."""
    low, high = normal(20, 2), normal(20, 2, seed=1) + 1
    scores = LayerScores(low, high, normal(9, 2, seed=2), normal(9, 2, seed=3) + 1)
    assert len(pooled(scores)) == 2 * (20 + 9) + 20 + 9
    before = regress_layers(scores)
    odd = scores.test_adversarial.clone()
    odd[0] = 50.0
    after = regress_layers(scores._replace(test_adversarial=odd))
    assert (after.clean - before.clean).abs().min() > 1e-3
    data = toy_data()
    moved = {n: z.clone() for n, z in data.test_adversarial.features.items()}
    for z in moved.values():
        z[0] = 50.0
    far = data._replace(test_adversarial=Tapped(data.test_adversarial.logits, moved))
    assert torch.equal(ours(data)[0], ours(far)[0])
    assert torch.equal(ours(data)[1][1:], ours(far)[1][1:])
    assert not torch.equal(*(released_scores("MAHA", d, generator=draw()).clean for d in (data, far)))


def test_noise_equals_clean() -> None:
    """The clean cases count twice: the probability of a case in the middle is a third, and not a half."""
    low = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).repeat(20, 1)
    found = regress_layers(LayerScores(low, low, low, low))
    np.testing.assert_allclose(found.clean, 1 / 3, atol=1e-4)


def test_maha_is_the_unshrunk_covariance_centred_by_class() -> None:
    z, labels = normal(50, 4) @ normal(4, 4, seed=1) + 7, torch.arange(50) % 2
    z = torch.cat([z, z[:, :1]], dim=1)  # singular
    gaussian = unshrunk_gaussians({"a": z}, labels)["a"]
    means = torch.stack([z[labels == c].mean(dim=0) for c in (0, 1)])
    precision = EmpiricalCovariance().fit((z - means[labels]).numpy()).precision_
    np.testing.assert_allclose(gaussian.whitener @ gaussian.whitener.T, precision, rtol=1e-6, atol=1e-9)
    apart = (z[3] - means[1]).numpy()
    assert gaussian.quadratics(z[3:4])[0, 1].item() == pytest.approx(apart @ precision @ apart)
    assert gaussian.whitener.shape == (5, 4)
    assert gaussian.strength == 0


def test_the_step_makes_distances_grow_and_zero_steps_nowhere() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        for part in net.parameters():
            part.copy_(torch.linspace(-0.5, 1, part.numel()).reshape(part.shape))
    x = torch.rand(6, 1, 8, 8, generator=draw())
    gaussians = {"1": TiedGaussians(torch.zeros(2, 3), torch.eye(3), 0.0)}
    still = stepped_distances(net, x, gaussians, magnitude=0)
    z = net[:4](x)
    torch.testing.assert_close(still, plain_distances(Tapped(net(x), {"1": z}), gaussians), rtol=1e-5, atol=1e-9)
    assert bool((stepped_distances(net, x, gaussians) > still).all())
    assert all(part.grad is None for part in net.parameters())
    with pytest.raises(InputError, match="magnitude"):
        stepped_distances(net, x, gaussians, magnitude=-1)


def test_hidden_examples_are_not_stepped_and_not_halved() -> None:
    data = toy_data(hidden=3.0)  # the very examples of the conventional attack
    gaussians = unshrunk_gaussians(data.train, data.labels)
    sets = (data.learn_clean, data.learn_adversarial, data.test_clean, data.test_adversarial)
    halves = LayerScores(*(plain_distances(part, gaussians) / 2 for part in sets))
    by_hand = regress_layers(halves, 2 * halves.test_adversarial)
    torch.testing.assert_close(released_maha(data, generator=draw()).adversarial, by_hand.adversarial)
    plain = released_maha(data._replace(hidden=None), generator=draw()).adversarial
    assert area(plain, released_maha(data, generator=draw()).adversarial) > 0.5


def test_svm_is_unscaled_and_a_probability() -> None:
    data = toy_data(2.0)
    found = released_svm(data, generator=draw())
    assert bool(((found.clean >= 0) & (found.clean <= 1)).all())
    low, high = (p.features["penultimate"].double() for p in (data.learn_clean, data.learn_adversarial))
    rows, truth = torch.cat([low, low, high]).numpy(), np.arange(120) >= 80
    machine = SVC(kernel="rbf").fit(rows, truth)
    decisions = machine.decision_function(data.test_clean.features["penultimate"].double().numpy())
    assert np.array_equal(np.argsort(decisions), np.argsort(found.clean.numpy()))  # ranks are those of the decision
    # a wide channel without any meaning drowns the others here, and not in ours
    noisy = _with_wide_channel(data)
    sides = (part.features["penultimate"] for part in (noisy.learn_clean, noisy.learn_adversarial))
    svm = SVM().fit(noisy.train["penultimate"], noisy.labels, examples=Examples(*sides))
    own = area(*(svm.score(part.features["penultimate"]) for part in (noisy.test_clean, noisy.scored)))
    assert own > area(*released_svm(noisy, generator=draw())) + 0.1


def _with_wide_channel(data: ReleasedData) -> ReleasedData:
    def wide(layers: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
        return {n: torch.cat([z, 1000 * normal(len(z), 1, seed=seed).to(z)], dim=1) for n, z in layers.items()}

    names = ("learn_clean", "learn_adversarial", "test_clean", "test_adversarial")
    parts = {n: getattr(data, n) for n in names}
    widened = {n: Tapped(part.logits, wide(part.features, seed)) for seed, (n, part) in enumerate(parts.items())}
    return data._replace(train=wide(dict(data.train), 9), **widened)


def test_dnn_is_affine_and_cannot_tell_both_sides_of_the_clean_cases() -> None:
    z = normal(60, 3)
    net = train_linear_net(z, z[:, 0] > 0, generator=draw())
    assert [tuple(w.shape) for w in net.weights] == [(96, 3), (192, 96), (192, 192), (1, 192)]
    a, b, share = z[:5], z[5:10], 0.3
    between = net.logits(share * a + (1 - share) * b)
    torch.testing.assert_close(between, share * net.logits(a) + (1 - share) * net.logits(b))
    assert isinstance(net, LinearNet)
    # adversarial features on both sides of the clean ones: no hyperplane parts them, ours does
    clean, far = normal(80, 3, seed=1), normal(80, 3, seed=2)
    far[:, 0] = far[:, 0] + 6 * (1 - 2.0 * (torch.arange(80) % 2))
    positive = torch.arange(160) >= 80
    linear = train_linear_net(torch.cat([clean, far]), positive, generator=draw())
    assert area(linear.logits(clean), linear.logits(far)) < 0.75
    deep = DNN(learning_rate=0.01).fit(clean, torch.arange(80) % 2, examples=Examples(clean, far))
    assert area(deep.score(clean), deep.score(far)) > 0.95


def test_dnn_averages_probabilities_without_the_penultimate_layer() -> None:
    data = toy_data()
    found = released_scores("DNN", data, generator=draw(1))
    low, high = (p.features["relu"].double() for p in (data.learn_clean, data.learn_adversarial))
    z = torch.cat([low, low, high])
    net = train_linear_net(z, torch.arange(len(z)) >= 2 * len(low), generator=draw(1))
    torch.testing.assert_close(found.clean, net.logits(data.test_clean.features["relu"].double()).sigmoid())
