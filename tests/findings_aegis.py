"""Tables of the trials of Medical Aegis and of its parts."""

from __future__ import annotations

from findings_lines import Line, distinct, figure, lines_of, only, published, table

SHIELD, AEGIS = "Shield, paper", "Medical Aegis (jpeg:80), paper"


def defended(recipe: str) -> list[str]:
    """Every attacker by defence: the AUC as the papers count it, and the share that fools and is accepted."""
    lines = lines_of(recipe)
    names = list(dict.fromkeys(line["detector"] for line in lines))

    def cell(attack: str, eps: str, name: str, metric: str) -> str:
        found = [r for r in lines if (r["attack"], r["eps"], r["detector"], r["metric"]) == (attack, eps, name, metric)]
        return figure(found[0], interval=True) + published(found[0]) if found else ""

    heads = [f"{name}: {word}" for name in names for word in ("AUC", "undetected")]
    rows = [
        [f"{a} {e}", *(cell(a, e, name, metric) for name in names for metric in ("AUC", "undetected"))]
        for a, e in distinct(lines, "attack", "eps")
    ]
    return table(["attacker", *heads], rows)


def before_and_behind(recipe: str) -> list[str]:
    """Attacks hidden by HFC on every detector without a Cushion and behind one: AUC and the undetected share."""
    lines = [line for line in lines_of(recipe) if line["hfc"] == "with"]
    cushioned = [line for line in lines if " behind " in line["model"]]
    plain = [line for line in lines if line not in cushioned]
    names = list(dict.fromkeys(line["detector"] for line in plain if line["detector"]))
    same = {SHIELD: AEGIS}

    def cells(own: list[Line], name: str, attack: str) -> list[str]:
        auc, missed = (only(own, attack=attack, detector=name, metric=m) for m in ("AUC", "undetected"))
        return [figure(auc, interval=True) + published(auc), figure(missed, interval=True)]

    rows = [
        [f"{a} {e}", name, *cells(plain, name, a), *cells(cushioned, same.get(name, name), a)]
        for a, e in distinct(lines, "attack", "eps")
        for name in names
    ]
    heads = [f"{place}: {word}" for place in ("no Cushion", "behind JPEG-80") for word in ("AUC", "undetected")]
    return table(["attack + HFC", "detector", *heads], rows)


def _part_by_part(recipe: str, metric: str) -> list[str]:
    """Every defence of an ablation against every attacker, in one of the figures."""
    lines = [line for line in lines_of(recipe) if line["attack"] and line["metric"] == metric]
    attacks = distinct(lines, "attack", "eps")
    names = distinct(lines, "detector")

    def cell(name: str, attack: str, eps: str) -> str:
        line = only(lines, detector=name, attack=attack, eps=eps)
        return figure(line, interval=True) + published(line)

    rows = [[name, *(cell(name, *attack) for attack in attacks)] for (name,) in names]
    return table([f"{metric} by defence", *(f"{attack} {eps}" for attack, eps in attacks)], rows)


def found_by_part(recipe: str) -> list[str]:
    """AUC as the paper counts it."""
    return _part_by_part(recipe, "AUC")


def missed_by_part(recipe: str) -> list[str]:
    """The share that fools and is accepted."""
    return _part_by_part(recipe, "undetected")


def clean_by_part(recipe: str) -> list[str]:
    """What every defence of an ablation costs without any attack."""
    lines = [line for line in lines_of(recipe) if not line["attack"]]
    metrics = ("clean accuracy", "clean AUC", "clean rejected", "AUC, unchanged")

    def cell(name: str, metric: str) -> str:
        line = only(lines, detector=name, metric=metric)
        return figure(line, interval=True) + published(line)

    names = dict.fromkeys(line["detector"] for line in lines)
    rows = [[name, *(cell(name, metric) for metric in metrics)] for name in names]
    return table(["no attack", *metrics], rows)


def worst_curve(recipe: str) -> list[str]:
    """The worst case of every defence by budget: AUC over all, over those that fool, and the undetected share."""
    lines = [line for line in lines_of(recipe) if line["attack"] == "Worst case"]
    names = list(dict.fromkeys(line["detector"] for line in lines))
    metrics = ("AUC", "AUC, successful", "undetected")

    def cell(eps: str, name: str, metric: str) -> str:
        line = only(lines, eps=eps, detector=name, metric=metric)
        return "-" if line["value"] is None else figure(line, interval=True)

    rows = [[eps, *(cell(eps, name, m) for name in names for m in metrics)] for (eps,) in distinct(lines, "eps")]
    return table(["budget", *(f"{name}: {metric}" for name in names for metric in metrics)], rows)


def at_full(recipe: str) -> list[str]:
    """Every attacker at its largest budget on every defence: AUC as the paper counts it, undetected share."""
    lines = [line for line in lines_of(recipe) if line["attack"] not in ("", "Worst case")]
    names = list(dict.fromkeys(line["detector"] for line in lines))
    largest = {line["attack"]: line["eps"] for line in lines}

    def cell(attack: str, name: str, metric: str) -> str:
        own = {"attack": attack, "eps": largest[attack], "detector": name, "metric": metric}
        found = [line for line in lines if all(line[key] == value for key, value in own.items())]
        return figure(found[0]) + published(found[0]) if found else ""

    heads = [f"{name}: {word}" for name in names for word in ("AUC", "undetected")]
    return table(
        ["attacker", *heads],
        [[f"{a} {eps}", *(cell(a, n, m) for n in names for m in ("AUC", "undetected"))] for a, eps in largest.items()],
    )
