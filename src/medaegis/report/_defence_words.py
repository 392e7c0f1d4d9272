"""The words of the page on defences in plain language."""

from __future__ import annotations

from collections.abc import Iterable

from medaegis.report._glossary import ATTACKS, METRICS, TERMS

WORDS = {
    "Shield": "A small network for each class that looks at the features inside the classifier and gives a logit S: "
    "high where an image of this class looks genuine. It is trained on attacks against itself; the classifier never "
    "changes. An image is accepted where S of the predicted class is at its threshold or above.",
    "Cushion": "A step before the classifier that takes small changes away, such as JPEG compression of quality 80 "
    "(jpeg:80).",
    "Medical Aegis": "Cushion, classifier and Shield together (Aegis, section 3). The word after the comma names the "
    "training of the Shield.",
    "Worst case": "For each case, the best result of all attackers at this budget or a smaller one: first whether the "
    "classifier is fooled, then how genuine the image looks to the Shield. An attacker may try everything and keep the "
    "best, so the strength of a defence is its worst case, not its mean over attackers.",
    "AUC": "Area under the ROC curve of the Shield, in percent: the chance that it finds a random attacked image more "
    "suspicious than a random clean one. 100 is perfect, 50 is guessing. It counts all attacked images, as the paper "
    "does, also those that do not fool the classifier.",
    "AUC, successful": "The same AUC with those attacked images alone that fool the classifier; "
    "n counts them. Where none does, it is n/a.",
    "undetected": "The share of attacked cases that succeed in full: the classifier says what the attacker wants, and "
    "the Shield accepts. High is bad for the defender.",
    "TPR@90": "The share of attacked images that are rejected, at thresholds set so that 90 % of clean images pass.",
    "clean rejected": "The share of all clean test images that the Shield rejects, with those that set its thresholds.",
    "TNR achieved": "The share of clean test images that really pass at the thresholds, among those that the "
    "classifier gets right and that set none; 90 % is the aim.",
    "AUC, unchanged": "How well the Shields tell clean images of their own class from unchanged images of another, in "
    "percent: what is left of the AUC if the classifier alone is fooled and the image stays as it is. Attacks on the "
    "Shield only lower it, so where it is low, no training against attacks can help.",
    "BPDA": "Backward pass differentiable approximation: an attack runs the Cushion as it is, and where it needs the "
    "gradient, which JPEG does not have, takes that of a smooth stand-in (or of doing nothing: identity BPDA).",
    "EOT": "Expectation over transformations: an attack that averages its gradient over random draws of a step, here "
    "over qualities of JPEG, to hold for all of them.",
    "Budget of L2 attackers": "PGD-L2 and CW-L2 may change single pixels at will, as long as the root mean square of "
    "the change stays within their own budget. As in the paper this is half as many grey levels: 8/256 where others "
    "have 16/256. Tables name it beside the attacker and count it as the larger budget.",
    "Conventional, adaptive, beyond": "Conventional attackers do not know of the defence, except that gradients go "
    "through the Cushion. The paper\u2019s adaptive ones hide from detectors or know all of the defence. Those "
    "beyond the paper are ours: they know all of it too, and are meant to search better.",
}
PLUS = " + HFC"
HIDDEN = "{} that also pulls the features, layer by layer, to normal ones (hierarchical feature constraint)."
KEPT = ("Attacked (adversarial) image", "Budget", "95 % interval", "n", "n/a", "Difference, amplified")
OWN = {
    "CW-Linf": "PGD on the margin between logits, which the paper calls CW-Linf.",
    "CW-L2": "The attack of Carlini and Wagner that looks for the smallest change, kept within the budget.",
    "TF": "Transfer: PGD on another network of the same cases, tried here.",
    "Fea": "Feature attack: imitates the features of a natural image of the wanted class.",
    "HFC": "Hierarchical feature constraint: PGD that also pulls the features, layer by layer, to normal ones.",
    "WB": "White box: raises S and the classifier\u2019s margin at once, by signs of the gradient, which BPDA carries "
    "through the Cushion.",
    "WB_d": "WB whose steps are ten times smaller in the second half.",
    "WB, momentum, decay, best": "WB with momentum and shrinking steps; as most beyond the paper, it is "
    "content with a small margin of the classifier, gives the rest to the Shield and keeps its best image.",
    "WB, fine steps, best": "WB with small steps.",
    "WB by Auto-PGD": "WB with step sizes that adapt by themselves.",
    "WB, selective projection": "WB that follows one aim at a time: classifier until fooled, then Shield.",
    "WB, orthogonal projection": "WB that serves one aim without harm to the other.",
    "WB, momentum, 3 restarts": "WB with momentum from three random starts; the best counts.",
    "WB + HFC": "WB that also pulls all features to normal ones.",
    "WB by Adam on tanh": "WB with the optimiser Adam in coordinates in which the budget has no edge.",
    "WB by Adam, 1/2 resolution": "WB by Adam with a change of half the resolution; coarse changes survive a Cushion.",
    "WB by Adam, 1/4 resolution": "WB by Adam with a change of a quarter of the resolution.",
    "WB by Adam, 1/8 resolution": "WB by Adam with a change of an eighth of the resolution.",
    "WB by Adam, identity BPDA": "WB by Adam that takes the Cushion for nothing in the backward pass.",
    "WB by Adam, over JPEG qualities": "WB by Adam with EOT over qualities of JPEG.",
    "WB by Adam, from another Shield": "WB by Adam against a defence trained separately, tried here.",
}


def defence_glossary(attacks: Iterable[str], metrics: Iterable[str]) -> dict[str, str]:
    """The terms that a report of defences needs.

    Args:
        attacks: titles that the report uses; unknown ones get no entry.
        metrics: likewise.

    Returns:
        Term to definition.

    Example:
        >>> "Cushion" in defence_glossary([], [])
        True
    """
    known = METRICS | ATTACKS | OWN
    named = {name: known[name] for name in (*metrics, *attacks) if name in known and name not in WORDS}
    named |= {
        name: HIDDEN.format(name.removesuffix(PLUS)) for name in attacks if name.endswith(PLUS) and name not in known
    }
    return WORDS | named | {name: TERMS[name] for name in KEPT}
