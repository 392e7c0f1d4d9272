"""The tables of docs/findings, from the stored results: `python tests/findings_tables.py` prints them."""

from __future__ import annotations

from collections.abc import Callable

from findings_aegis import (
    at_full,
    before_and_behind,
    clean_by_part,
    defended,
    found_by_part,
    missed_by_part,
    worst_curve,
)
from findings_lines import RESULTS, beside, distinct, figure, lines_of, only, published, table

WAYS = (("", "Adv. Acc"), ("KD", "AUC"), ("MAHA", "AUC"), ("KD", "undetected"), ("MAHA", "undetected"))
NAMES = {"without": "none", "with": "HFC"}


SIX = ("KD", "MAHA", "LID", "SVM", "DNN", "BU")
EARLIER = {
    "hfc21-table2/detectors-fundus": "detectors-fundus",
    "hfc21-table2/detectors-chest-xray": "detectors-chest-xray",
}
"""Results of the same settings and seed that another processor gave before, by those of today's."""

REPEATED = {
    "aegis-table5/defence-layers": "defence-layers",
    "aegis-table5/defence-cushions": "defence-cushions",
    "aegis-table3/defence-fundus": "defence-fundus-paper",
    "aegis-table3/defence-chest-xray": "defence-chest-xray-paper",
    "aegis-table4/defence-fundus": "defence-fundus-paper",
    "aegis-table4/defence-chest-xray": "defence-chest-xray-paper",
    "hfc23-table1/brain": "brain",
    "hfc23-table5": "natural-images",
}
"""Results that the same kind of processor gave on two days, by the papers' names and by subject."""


def ways(recipe: str, keep: Callable[[str], bool] = lambda way: True) -> list[str]:
    lines = lines_of(recipe)

    def row(attack: str, eps: str, way: str) -> list[str]:
        found = [only(lines, attack=attack, eps=eps, hfc=way, detector=d, metric=m) for d, m in WAYS]
        return [
            f"{attack} {eps}",
            NAMES.get(way, way),
            *(figure(line, interval=True) + published(line) for line in found),
        ]

    rows = [row(*place) for place in distinct(lines, "attack", "eps", "hfc") if keep(place[2])]
    return table(["attack", "hidden by", *(f"{d} {m}".strip() for d, m in WAYS)], rows)


def ways_of_six(recipe: str) -> list[str]:
    """Every way of hiding: success and AUC of six detectors, then the undetected share."""
    lines = lines_of(recipe)

    def row(attack: str, eps: str, way: str, metric: str) -> list[str]:
        asked = [("", "Adv. Acc")] * (metric == "AUC") + [(one, metric) for one in SIX]
        found = [only(lines, attack=attack, eps=eps, hfc=way, detector=d, metric=m) for d, m in asked]
        return [f"{attack} {eps}", NAMES.get(way, way), *(figure(line) + published(line) for line in found)]

    def sheet(metric: str, *heads: str) -> list[str]:
        rows = [row(a, e, way, metric) for a, e, way in distinct(lines, "attack", "eps", "hfc")]
        return table([metric, "hidden by", *heads, *SIX], rows)

    return [*sheet("AUC", "Adv. Acc"), "", *sheet("undetected")]


def hidden_alone(recipe: str) -> list[str]:
    return ways(recipe, lambda way: way == "with")


def last_block(recipe: str) -> list[str]:
    """Change of the last block's mean activation, lowered and raised."""
    lines = [line for line in lines_of(recipe) if line["metric"] == "change ratio"]
    last = lines[-1]["attack"].split()[1]

    def row(dataset: str, eps: str) -> list[str]:
        pair = [only(lines, dataset=dataset, eps=eps, attack=f"{way} {last}") for way in ("down", "up")]
        return [dataset, eps, *(figure(line, interval=True) for line in pair)]

    return table(["data", "budget", "lowered", "raised"], [row(*place) for place in distinct(lines, "dataset", "eps")])


def behind_cushions(recipe: str) -> list[str]:
    """Change of every block's mean activation to clean images without a Cushion, lowered / raised, by Cushion."""
    lines = [line for line in lines_of(recipe) if line["metric"] == "change ratio to no Cushion"]
    models, blocks = ([key for (key,) in distinct(lines, name)] for name in ("model", "attack"))
    layers = dict.fromkeys(block.split()[1] for block in blocks)

    def cell(model: str, layer: str) -> str:
        return " / ".join(figure(only(lines, model=model, attack=f"{way} {layer}")) for way in ("down", "up"))

    rows = [[layer.removeprefix("network."), *(cell(model, layer) for model in models)] for layer in layers]
    return table(["last activation of", *(model.partition(" behind ")[2] or "no Cushion" for model in models)], rows)


def lesions(recipe: str) -> list[str]:
    lines = lines_of(recipe)

    def cell(attack: str, metric: str) -> str:
        line = only(lines, attack=attack, metric=metric)
        return figure(line, interval=True) + published(line)

    rows = [[a, *(cell(a, m) for m in ("AUC", "FR"))] for (a,) in distinct(lines, "attack")]
    return table(["lesions", "AUC", "FR"], rows)


def pairs(recipe: str, metric: str, *attacks: str) -> list[str]:
    """Every detector without -> with HFC; of all attacks or of some."""
    lines = [line for line in lines_of(recipe) if not attacks or line["attack"] in attacks]

    def cell(attack: str, eps: str, detector: str) -> str:
        return beside(lines, attack=attack, eps=eps, detector=detector, metric=metric)

    rows = [[f"{a} {e}", *(cell(a, e, d) for d in SIX)] for a, e in distinct(lines, "attack", "eps")]
    return table([metric, *SIX], rows)


def mim_and_tim(recipe: str) -> list[str]:
    return [*pairs(recipe, "AUC", "MIM", "TIM"), "", *pairs(recipe, "undetected", "MIM", "TIM")]


def pairs_by_budget(recipe: str) -> list[str]:
    return pairs(recipe, "AUC")


def of_all_data(recipe: str) -> list[str]:
    """Success and every detector's AUC by data set and budget, without -> with HFC."""
    lines = lines_of(recipe)

    def row(dataset: str, eps: str) -> list[str]:
        own = {"dataset": dataset, "eps": eps}
        success = beside(lines, detector="", metric="Adv. Acc", **own)
        return [f"{dataset}, {eps}", success, *(beside(lines, detector=d, metric="AUC", **own) for d in SIX)]

    return table(["", "Adv. Acc", *SIX], [row(*place) for place in distinct(lines, "dataset", "eps")])


def six_detectors(recipe: str) -> list[str]:
    return [*pairs(recipe, "AUC"), "", *pairs(recipe, "TPR@90"), "", *pairs(recipe, "undetected")]


def by_data(recipe: str) -> list[str]:
    """Success and every detector's AUC by data set and network, without -> with HFC."""
    lines = lines_of(recipe)
    figures = list(dict.fromkeys((line["detector"], line["metric"]) for line in lines if line["attack"]))
    shown = [f for f in figures if f == ("", "Adv. Acc") or f[1] == "AUC"]

    def row(dataset: str, model: str, attack: str, eps: str) -> list[str]:
        own = {"dataset": dataset, "model": model, "attack": attack, "eps": eps}
        return [dataset, model, f"{attack} {eps}", *(beside(lines, detector=d, metric=m, **own) for d, m in shown)]

    rows = [row(*place) for place in distinct(lines, "dataset", "model", "attack", "eps")]
    return table(["data", "network", "attack", *(d or m for d, m in shown)], rows)


def by_budget(recipe: str) -> list[str]:
    """What is fooled, by kind of image and budget."""
    lines = [line for line in lines_of(recipe) if line["metric"] == "Adv. Acc"]
    budgets = [eps for (eps,) in distinct(lines, "eps")]
    rows = [
        [attack, *(figure(only(lines, attack=attack, eps=eps), interval=True) for eps in budgets)]
        for (attack,) in distinct(lines, "attack")
    ]
    return table(["fooled", *budgets], rows)


def crossed(recipe: str) -> list[str]:
    """AUC of detectors by the attack that they learned from, at 1/256."""
    lines = [line for line in lines_of(recipe, "matrix") if (line["metric"], line["eps"]) == ("AUC", "1/256")]
    tested = [(a, h) for h in ("without", "with") for a in dict.fromkeys(line["attack"] for line in lines)]

    def row(detector: str, learned: str) -> list[str]:
        own = [line for line in lines if (line["detector"], line["learned"]) == (detector, learned)]
        return [detector, learned, *(figure(only(own, attack=a, hfc=h)) for a, h in tested)]

    heads = [a + (" + HFC" if h == "with" else "") for a, h in tested]
    places = dict.fromkeys((line["detector"], line["learned"]) for line in lines)
    return table(["detector", "learned from", *heads], [row(*place) for place in places])


def by_layer(recipe: str) -> list[str]:
    """AUC of detectors fitted on each layer alone (HFC-23 Fig. 6), without -> with HFC."""
    lines = lines_of(recipe, "layers")

    def cell(layer: str, detector: str) -> str:
        own = [line for line in lines if (line["layer"], line["measure"]) == (layer, f"AUC of {detector}")]
        return " -> ".join(f"{only(own, variant=hfc)['value']:.1f}" for hfc in NAMES)

    drawn = [line for line in lines if line["measure"].startswith("AUC")]
    layers = list(dict.fromkeys(line["layer"] for line in drawn))
    rows = [[layer.removeprefix("network."), *(cell(layer, d) for d in ("KD", "LID", "MAHA"))] for layer in layers]
    return table(["layer", "KD", "LID", "MAHA"], rows)


def white_box(recipe: str) -> list[str]:
    """Undetected success: without, with HFC, and under the attacks that followed each detector."""
    lines = [line for line in lines_of(recipe) if line["metric"] == "undetected"]
    ways = {line["hfc"] for line in lines}
    kinds = [kind for kind in ("", ", selective", ", orthogonal") if f"white-box KD{kind}" in ways]

    def row(eps: str, detector: str) -> list[str]:
        tried = ("without", "with", *(f"white-box {detector}{kind}" for kind in kinds))
        found = [only(lines, eps=eps, detector=detector, hfc=way) for way in tried]
        return [eps, detector, *(figure(line, interval=True) for line in found)]

    heads = ["none", "HFC", *(f"white-box{kind}" for kind in kinds)]
    return table(["budget", "detector", *heads], [row(e, d) for (e,) in distinct(lines, "eps") for d in SIX])


def seed_by_seed(recipe: str) -> list[str]:
    """AUC under every seed, without -> with HFC."""
    lines = [line for line in lines_of(recipe, "seeds") if line["metric"] in ("AUC", "Adv. Acc")]
    seeds = list(dict.fromkeys(line["seed"] for line in lines))

    def row(eps: str, detector: str) -> list[str]:
        own = [line for line in lines if (line["eps"], line["detector"]) == (eps, detector)]
        cells = [
            " -> ".join(figure(only([line for line in own if line["seed"] == seed], hfc=h)) for h in NAMES)
            for seed in seeds
        ]
        return [eps, f"{detector} AUC" if detector else "Adv. Acc", *cells]

    rows = [row(eps, d) for (eps,) in distinct(lines, "eps") for d in ("", *SIX)]
    return table(["budget", "figure", *(f"seed {seed}" for seed in seeds)], rows)


def on_another_processor(recipe: str) -> list[str]:
    """Every way of hiding at 1/256: what another processor gave before / what this one gives."""
    before, now = lines_of(EARLIER[recipe]), lines_of(recipe)
    wanted = [("", "Adv. Acc"), *((one, "AUC") for one in SIX)]

    def cell(**place: str) -> str:
        return " / ".join(figure(only(lines, **place)) for lines in (before, now))

    rows = [
        [f"{a} {e}", NAMES.get(way, way), *(cell(attack=a, eps=e, hfc=way, detector=d, metric=m) for d, m in wanted)]
        for a, e, way in distinct(now, "attack", "eps", "hfc")
        if e == "1/256"
    ]
    return table(["attack", "hidden by", *(d or m for d, m in wanted)], rows)


def both_numbers(recipe: str) -> list[str]:
    """AUC by our choices and by the released code's, without -> with HFC, at 1/256."""
    lines = lines_of(recipe)

    def cell(attack: str, detector: str, metric: str) -> str:
        place = {"attack": attack, "eps": "1/256", "detector": detector, "metric": metric}
        pair = [only(lines, hfc=hfc, **place) for hfc in ("without", "with")]
        return " -> ".join(figure(line) for line in pair)

    def paper(attack: str, detector: str) -> str:
        place = {"attack": attack, "eps": "1/256", "detector": detector, "metric": "AUC"}
        found = [only(lines, hfc=hfc, **place)["published"] for hfc in ("without", "with")]
        return " -> ".join("-" if value is None else f"{value:g}" for value in found)

    rows = [
        [a, d, cell(a, d, "AUC"), cell(a, d, "AUC, hfc-2021"), paper(a, d)]
        for (a,) in distinct(lines, "attack")
        for d in SIX
    ]
    return table(["attack", "detector", "ours", "hfc-2021", "published"], rows)


TABLES: dict[str, Callable[[str], list[str]]] = {
    "hfc23-table1/detectors-fundus": mim_and_tim,
    "hfc23-table1/detectors-chest-xray": mim_and_tim,
    "hfc23-table2/rivals-fundus": ways_of_six,
    "hfc23-table2/rivals-chest-xray": ways_of_six,
    "stronger-hiding": ways,
    "fewer-steps": hidden_alone,
    "stress-test": last_block,
    "stress-test-resnet18": last_block,
    "aegis-table1": behind_cushions,
    "aegis-table2": before_and_behind,
    "ood-lesions-contrast-2": lesions,
    "hfc21-table2/detectors-fundus": six_detectors,
    "hfc21-table2/detectors-chest-xray": six_detectors,
    "hfc23-fig5": of_all_data,
    "hfc23-fig5/detectors-fundus": pairs_by_budget,
    "hfc23-fig5/detectors-chest-xray": pairs_by_budget,
    "detectors-fundus": crossed,
    "detectors-chest-xray": crossed,
    "white-box-fundus": white_box,
    "white-box-chest-xray": white_box,
    "seeds-chest-xray": seed_by_seed,
    "seeds-fundus": seed_by_seed,
    "reference-fundus": both_numbers,
    "reference-chest-xray": both_numbers,
    "hfc23-table4": by_data,
    "natural-images": by_data,
    "hfc23-fig9": by_budget,
    "brain": six_detectors,
    "adrenal3d": six_detectors,
    "adrenal3d-selective": ways,
    "adrenal3d-weight": ways,
    "defence-fundus-first": defended,
    "defence-fundus-paper": defended,
    "defence-fundus-aegis": worst_curve,
    "defence-chest-xray-paper": defended,
    "defence-chest-xray-trainings": worst_curve,
    "defence-chest-xray-aegis": worst_curve,
    "defence-layers": found_by_part,
    "defence-cushions": found_by_part,
    "defence-cushions-identity": found_by_part,
    "defence-layers-hardened": worst_curve,
    "defence-layers-longer": worst_curve,
    "defence-layers-two": worst_curve,
    "defence-layers-larger": worst_curve,
    "defence-chest-xray-shallow": worst_curve,
    "hfc23-table3": ways,
    "hfc23-table6/ood-lesions-fundus": lesions,
    "hfc23-table6/ood-lesions": lesions,
    "hfc21-supp1/components-chest-xray": ways,
}
DRAWN = [
    *TABLES.items(),
    *((name, on_another_processor) for name in EARLIER),
    ("hfc21-table2/detectors-fundus", by_layer),
    ("hfc21-table2/detectors-chest-xray", by_layer),
    ("defence-chest-xray-trainings", at_full),
    ("defence-chest-xray-aegis", at_full),
    ("defence-fundus-aegis", at_full),
    ("defence-layers", missed_by_part),
    ("defence-cushions", missed_by_part),
    ("defence-cushions", clean_by_part),
    ("defence-chest-xray-shallow", at_full),
]
RECIPES = {
    "stress-test-resnet18": "stress-test",
    "ood-lesions-contrast-2": "ood-lesions",
    "reference-fundus": "detectors-fundus",
    "reference-chest-xray": "detectors-chest-xray",
    "defence-fundus-first": "defence-fundus",
    "defence-fundus-paper": "defence-fundus",
    "defence-fundus-aegis": "defence-fundus",
    "defence-chest-xray-paper": "defence-chest-xray",
    "defence-chest-xray-trainings": "defence-chest-xray",
    "defence-chest-xray-aegis": "defence-chest-xray",
    "defence-layers-hardened": "defence-layers",
    "defence-layers-longer": "defence-layers",
    "defence-layers-two": "defence-layers",
    "defence-layers-larger": "defence-layers",
    "defence-cushions-identity": "defence-cushions",
    "defence-chest-xray-shallow": "defence-chest-xray",
    "adrenal3d-selective": "adrenal3d",
    "adrenal3d-weight": "adrenal3d",
}
"""Of stored results that are not called as their recipe is, or as the table that they are a part of."""

if __name__ == "__main__":
    for name, draw in DRAWN:
        if (RESULTS / name).exists():
            print(f"\n{name}\n", *draw(name), sep="\n")
