"""The words of a report in plain language."""

from __future__ import annotations

from collections.abc import Iterable

TERMS = {
    "Attacked (adversarial) image": "An image changed on purpose, by amounts too small to matter to a reader, so that "
    "the classifier decides wrongly.",
    "Budget": "The most that any pixel may change. 1/256 of the range from black to white is about one grey level of "
    "an 8-bit image.",
    "HFC": "Hierarchical feature constraint (HFC-21, equations 5 to 7): an addition to an attack that also pulls the "
    "features inside the network, layer by layer, towards those of normal images, to slip past detectors.",
    "Adaptive": "An evaluation of a detector is adaptive if an attack knew the detector in full and followed its score "
    "as well as the classifier's (white-box). Without one, results say little about an attacker who knows of it.",
    "Noise (control)": "Random changes of the size of the budget. A good detector does not take them for attacks.",
    "Detector": "A program that gives an image a score; the higher, the more it looks attacked.",
    "Threshold": "The score from which a detector flags an image; set so that 90 % of clean images pass.",
    "95 % interval": "The range in square brackets. The bootstrap draws the tested cases again and again at random; "
    "95 % of the results fall in this range; a share of 0 or 100 % takes Clopper and Pearson's instead. It covers "
    "the choice of cases, not of data set, model or seed.",
    "n": "The number of cases that a figure rests on.",
    "n/a": "Not available. A missing figure is never shown as zero.",
    "Train, AdvTrain, AdvTest": "Train teaches the classifier. Of the test images that it gets right, AdvTrain fits "
    "the detectors and AdvTest gives the figures of this report. No case is in two of them.",
    "Difference, amplified": "0.5 + gain \u00d7 (attacked \u2212 clean), with gain = 0.5 / budget: middle grey is no "
    "change, black and white are the whole budget.",
    "t-SNE": "A drawing that places images with similar network features near one another. Distances between far "
    "groups and sizes of groups mean nothing.",
}
METRICS = {
    "AUC": "Area under the ROC curve, in percent: the chance that a detector scores a random attacked image above a "
    "random clean one. 100 is perfect, 50 is guessing; below 50, attacked images look more normal than clean ones.",
    "TPR@90": "The share of attacked images that the detector catches when it lets 90 % of clean images pass "
    "(threshold at the 90th percentile of the clean scores).",
    "AUC, hfc-2021": "AUC under the choices of the code released with HFC-21 (the reference mode), for comparison with "
    "published figures only; hidden attacks by their successful examples alone. See docs/reference-mode.md.",
    "TPR@90, hfc-2021": "TPR@90 likewise, with the threshold at the clean scores of the test itself.",
    "Adv. Acc": "How often the attack succeeds on the classifier: the share of attacked cases that get the class that "
    "the attacker wants, or, where no class was wanted, any wrong one. High is bad for the classifier.",
    "Adv. Acc on the substitute": "The same on the network on which the images were made, in the attacked one's place.",
    "transfer rate": "Of the images that fool the substitute, the share that fools the attacked network too.",
    "mean Linf": "The largest change of a pixel, averaged over cases, in percent of the range from black to white.",
    "mean RMS": "The root mean square of the change over all pixels, averaged over cases, likewise in percent.",
    "mean L2": "The length of the change as a vector of all pixels, averaged over cases, likewise in percent.",
    "clean AUC": "Area under the ROC curve of the classifier on clean images, telling the classes apart.",
    "clean accuracy": "The share of clean test images that the classifier gets right.",
    "TNR achieved": "The share of clean test images that really pass at the threshold; 90 % is the aim.",
    "AUC vs clean+noise": "AUC with the noisy images counted as clean; a detector that flags noise loses here.",
    "change ratio": "How far an attack moved the mean activation of one layer, in percent of its mean on clean images; "
    "+100 is twice as large, \u2212100 is silence.",
    "change ratio to no Cushion": "The same in percent of its mean on clean images without a Cushion, as Aegis Table 1 "
    "has it: what the Cushion itself changes is in it too.",
    "activation before": "Mean activation of a layer on clean images, over all channels and places, in hundredths.",
    "activation after": "The same on the attacked images, in hundredths.",
    "activation difference": "How far the mean activation went the way asked, in hundredths (the papers: Difference).",
    "Pearson correlation": "How well the mean change of each penultimate feature follows the difference of its weights "
    "to the two classes, in hundredths: 100 is a straight line, 0 none.",
    "Spearman correlation": "The same for ranks: 100 where a larger difference always goes with a larger change.",
    "similarity of attacks": "Mean cosine between the changes of the penultimate features that two attacks make on the "
    "same case, in hundredths: 100 is the same direction.",
    "similarity of iterations": "The same between two moments of one attack, named by their number of steps.",
    "AUC, successful": "AUC counting only the attacked images that fool the classifier.",
    "AUC, failed": "AUC counting only the attacked images that do not fool the classifier.",
    "undetected": "The share of attacked cases that succeed in full: the classifier decides wrongly and the detector, "
    "at its threshold, stays silent. High is bad for the defender.",
}
ATTACKS = {
    "FGSM": "Fast gradient sign method: one step of the whole budget.",
    "BIM": "Basic iterative method: many small steps along the sign of the gradient.",
    "PGD": "Projected gradient descent: BIM from a random start inside the budget.",
    "MIM": "Momentum iterative method: BIM with momentum.",
    "TIM": "Translation-invariant method: BIM with smoothed gradients.",
    "DIM": "Diverse-input method: BIM on randomly resized inputs.",
    "CW-Linf": "PGD on the margin between logits, which the papers call CW-Linf.",
    "PGD-L2": "Projected gradient descent under a budget on the root mean square (or length) of the whole change.",
    "APGD": "Auto-PGD: projected gradient descent that chooses its step sizes by itself.",
    "CW": "The margin objective of Carlini and Wagner, under a budget on every pixel.",
}
DETECTORS = {
    "KD": "kernel density of the last features under those of normal images of the predicted class",
    "BU": "Bayesian uncertainty: how much the output varies under dropout",
    "LID": "local intrinsic dimensionality: how the distances to the nearest normal features grow",
    "MAHA": "Mahalanobis distance of the features to the nearest class mean",
    "SVM": "support vector machine trained on clean and attacked features",
    "DNN": "small neural networks trained on the features of every layer",
    "KNN": "distance of the last features to their k-th nearest normal ones",
    "MVG": "density of the last features under one Gaussian fitted to normal ones",
    "HFC": "anomaly score from the Gaussian mixtures of normal features",
}


def glossary(attacks: Iterable[str], detectors: Iterable[str], metrics: Iterable[str]) -> dict[str, str]:
    """The terms that a report needs, in reading order.

    Args:
        attacks: names that the report uses; unknown ones get no entry.
        detectors: likewise.
        metrics: likewise.

    Returns:
        Term to definition.

    Example:
        >>> "KD (detector)" in glossary(["BIM"], ["KD"], ["AUC"])
        True
    """
    found = {name: METRICS[name] for name in metrics if name in METRICS}
    found |= TERMS | {name: ATTACKS[name] for name in attacks if name in ATTACKS}
    named = {name: DETECTORS[name] for name in detectors if name in DETECTORS}
    return found | {f"{name} (detector)": f"{text[0].upper()}{text[1:]}." for name, text in named.items()}
