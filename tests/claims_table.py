"""What the papers claim, and whether it holds here: `python tests/claims_table.py` prints docs/claims.md's table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from claims_aegis import BLOCKS, of_the_defence, raised
from claims_evidence import Ask, Claim, at_least, at_most, falls_further, judged, judged_again, lower
from findings_lines import table
from findings_tables import EARLIER

HIDING = ("hfc21-table2/detectors-fundus", "hfc21-table2/detectors-chest-xray")
ALL_ATTACKS = ("hfc23-table1/detectors-fundus", "hfc23-table1/detectors-chest-xray")
RIVALS = ("hfc23-table2/rivals-fundus", "hfc23-table2/rivals-chest-xray")
SEMI = ("hfc23-table4/semi-white-box-fundus", "hfc23-table4/semi-white-box-chest-xray")

LESIONS = ("hfc23-table6/ood-lesions-fundus", "hfc23-table6/ood-lesions")
COMPONENTS = "hfc23-table3"

AGAIN = {
    **EARLIER,
    **dict(zip(LESIONS, ("ood-lesions-fundus", "ood-lesions"), strict=True)),
    **dict(zip(ALL_ATTACKS, ("hiding-fundus", "hiding-chest-xray"), strict=True)),
    **dict(zip(RIVALS, ("rivals-fundus", "rivals-chest-xray"), strict=True)),
    COMPONENTS: "components-fundus",
    "gradient-direction": "hfc23-fig2",
}
"""Runs with the same seed on another kind of processor, so of other networks; `hiding` and `rivals` average MAHA."""


def _hidden(detector: str, **more: Any) -> dict[str, Any]:
    return {"hfc": "with", "detector": detector, "metric": "AUC", "eps": "1/256"} | more


def _falls(detector: str, bound: float, source: str = "HFC-21 Table 2, HFC-23 Table I") -> Claim:
    says = f"BIM and PGD with HFC take {detector} to an AUC of at most {bound:g} at 1/256"
    evidence = tuple(at_most(bound, *HIDING, attack=("BIM", "PGD"), **_hidden(detector)))
    return Claim(source, says, evidence, HIDING)


def _claims() -> list[Claim]:
    six: Any = ("KD", "MAHA", "LID", "SVM", "DNN", "BU")
    one = {"eps": "1/256"}
    return [
        Claim(
            "HFC-21 5.1",
            "The classifiers are good: AUC at least 97",
            tuple(at_least(97, *HIDING, metric="clean AUC")),
            HIDING,
        ),
        Claim(
            "HFC-21 Table 2",
            "KD, MAHA, LID, SVM and DNN find plain BIM and PGD with an AUC of at least 98 at 1/256",
            tuple(at_least(98, *HIDING, hfc="without", metric="AUC", attack=("BIM", "PGD"), detector=six[:5], **one)),
            HIDING,
        ),
        Claim(
            "HFC-21 Table 2",
            "BU finds plain BIM and PGD with no more than 62",
            tuple(at_most(62, *HIDING, hfc="without", metric="AUC", attack=("BIM", "PGD"), detector="BU", **one)),
            HIDING,
        ),
        Claim(
            "HFC-21 Table 2",
            "BIM and PGD with HFC still fool at least 90 % at 1/256",
            tuple(at_least(90, *HIDING, hfc="with", metric="Adv. Acc", attack=("BIM", "PGD"), **one)),
            HIDING,
        ),
        _falls("MAHA", 20, "HFC-21 Table 2, HFC-23 V-B"),
        _falls("KD", 83),
        _falls("LID", 79),
        _falls("SVM", 29),
        _falls("DNN", 60),
        _falls("BU", 38),
        Claim(
            "HFC-21 Table 2",
            "CW with HFC passes all six: AUC at most 75 at 1/256",
            tuple(at_most(75, *HIDING, attack="CW-Linf", **_hidden("") | {"detector": six})),
            HIDING,
        ),
        Claim(
            "HFC-23 Table I",
            "MIM and TIM with HFC pass KD (at most 75) at 1/256",
            tuple(at_most(75, *ALL_ATTACKS, attack=("MIM", "TIM"), **_hidden("KD"))),
            ALL_ATTACKS,
        ),
        Claim(
            "HFC-23 Table I",
            "MIM and TIM with HFC pass MAHA (at most 9) at 1/256",
            tuple(at_most(9, *ALL_ATTACKS, attack=("MIM", "TIM"), **_hidden("MAHA"))),
            ALL_ATTACKS,
        ),
        Claim(
            "HFC-21 Table 2",
            "At the threshold of 90 % TNR at most half of the hidden BIM and PGD cases are found by any detector",
            tuple(at_most(51, *HIDING, attack=("BIM", "PGD"), hfc="with", detector=six, metric="TPR@90", **one)),
            HIDING,
        ),
        Claim(
            "HFC-21 5.2, Fig. 3b; HFC-23 Fig. 5",
            "A larger budget hides better: AUC with HFC lower at 2/256 than at 1/256 (BIM)",
            tuple(
                lower(
                    *HIDING,
                    than={"eps": "1/256"},
                    by=("detector", "attack"),
                    **_hidden("", attack="BIM", eps="2/256") | {"detector": six[:5]},
                )
            ),
            HIDING,
        ),
        Claim(
            "HFC-23 V-B, Fig. 6",
            "At every layer HFC takes KD and LID below 80",
            tuple(at_most(80, *HIDING, sheet="layers", variant="with", measure=("AUC of KD", "AUC of LID"))),
            HIDING,
        ),
        Claim(
            "HFC-23 V-B, Fig. 6",
            "At every layer HFC takes MAHA below 20",
            tuple(at_most(20, *HIDING, sheet="layers", variant="with", measure="AUC of MAHA")),
            HIDING,
        ),
        Claim(
            "HFC-21 Table 3, HFC-23 Table II",
            "HFC hides from MAHA better than guides, KDE and LID (1/256)",
            tuple(
                found
                for way in ("Random guide", "Closest guide", "KDE", "LID")
                for found in lower(*RIVALS, than={"hfc": way}, by=("attack",), **_hidden("MAHA"))
            ),
            RIVALS,
        ),
        Claim(
            "HFC-21 Table 3, HFC-23 Table II",
            "KDE hides from KD better than HFC (1/256)",
            tuple(lower(*RIVALS, than={"hfc": "with"}, by=("attack",), **_hidden("KD") | {"hfc": "KDE"})),
            RIVALS,
        ),
        Claim(
            "HFC-23 Table II",
            "The closest guide costs success (Adv. Acc below HFC's)",
            tuple(lower(*RIVALS, than={"hfc": "with"}, by=("attack",), hfc="Closest guide", metric="Adv. Acc", **one)),
            RIVALS,
        ),
        Claim(
            "HFC-21 supplement, HFC-23 Table III",
            "The number of components matters little: MAHA at most 9 for every K",
            tuple(
                at_most(
                    9,
                    COMPONENTS,
                    detector="MAHA",
                    metric="AUC",
                    hfc=("with", *(f"HFC, K = {k}" for k in (2, 4, 8, 16, 32))),
                )
            ),
            (COMPONENTS,),
        ),
        Claim(
            "HFC-23 Table III",
            "On fundus images many components hide better from KD than one",
            tuple(
                lower(
                    COMPONENTS,
                    than={"hfc": "with"},
                    by=("attack",),
                    detector="KD",
                    metric="AUC",
                    hfc=("HFC, K = 16", "HFC, K = 32"),
                )
            ),
            (COMPONENTS,),
        ),
        *_movement(),
        Claim(
            "HFC-21 Theorem 1, HFC-23 Theorem I",
            "In a binary network the gradient at each penultimate activation never changes its sign",
            verdict="holds",
            words="exactly, on random linear heads: `tests/measure/test_head.py`",
        ),
        Claim(
            "HFC-23 Theorem II",
            "With more classes the same holds for the channels whose weight to the target is the largest",
            verdict="holds",
            words="exactly, on random linear heads: `tests/measure/test_head.py`",
        ),
        *_direction(),
        Claim(
            "HFC-21 Figs. 1 and 3a, HFC-23 Figs. 1 and 7",
            "In a 2-D t-SNE plain adversarial features lie outside and hidden ones among the clean ones",
            verdict="cannot be tested by a figure",
            words="a drawing decides nothing; every report of a hiding recipe has it, and KD and MAHA measure the same",
        ),
        *_further(),
        *of_the_defence(),
    ]


def _movement() -> list[Claim]:
    runs = ("stress-test-resnet18",)
    last = {"metric": "change ratio", "eps": "1/256"}
    claims: list[Claim] = []
    for dataset in ("Fundoscopy", "Chest X-ray"):
        for way, sign in (("up", "raised"), ("down", "lowered")):
            wanted = {"dataset": "CIFAR-10"} if way == "up" else {"dataset": dataset}
            other = {"dataset": dataset} if way == "up" else {"dataset": "CIFAR-10"}
            claims.append(
                Claim(
                    "HFC-21 Table 1, HFC-23 Fig. 4",
                    f"{dataset} features are {sign} further than those of CIFAR-10 (last block, relative)",
                    tuple(lower(*runs, than=other, by=("attack",), attack=raised(BLOCKS - 1, way), **wanted, **last)),
                    runs,
                )
            )
    deeper = {"attack": tuple(raised(block) for block in range(BLOCKS - 1)), "dataset": ("Fundoscopy", "Chest X-ray")}
    claims.append(
        Claim(
            "HFC-21 Table 1, Aegis Table 1",
            "The last block is raised further than any before it",
            tuple(lower(*runs, than={"attack": raised(BLOCKS - 1)}, by=("dataset",), **deeper, **last)),
            runs,
        )
    )
    return claims


def _direction() -> list[Claim]:
    runs = ("gradient-direction",)
    medical = (
        *("Fundoscopy, no retinopathy to retinopathy", "Fundoscopy, retinopathy to no retinopathy"),
        *("Chest X-ray, NORMAL to PNEUMONIA", "Chest X-ray, PNEUMONIA to NORMAL"),
    )
    names = ("FGSM", "BIM", "MIM", "PGD", "CW")
    couples = tuple(f"{a}, {b}" for i, a in enumerate(names) for b in names[i + 1 :])
    return [
        Claim(
            "HFC-21 Fig. 2a, HFC-23 Fig. 2",
            "The change of a channel follows its weight difference: correlation at least 0.5",
            tuple(at_least(50, *runs, metric="Pearson correlation", dataset=medical, attack="BIM")),
            runs,
        ),
        Claim(
            "HFC-21 Fig. 2b, HFC-23 Fig. 3",
            "Different attacks push features the same way: cosine at least 0.77",
            tuple(at_least(77, *runs, metric="similarity of attacks", attack=couples, dataset=medical)),
            runs,
        ),
        Claim(
            "HFC-21 Fig. 2b, HFC-23 Fig. 3",
            "So do the iterations of BIM: mean cosine at least 0.77",
            tuple(at_least(77, *runs, metric="similarity of iterations", dataset=medical)),
            runs,
        ),
    ]


def _further() -> list[Claim]:
    return [
        Claim(
            "HFC-23 Table VI",
            "The HFC score finds synthetic lesions with an AUC of at least 84",
            tuple(at_least(84, *LESIONS, detector="HFC", metric="AUC")),
            LESIONS,
        ),
        Claim(
            "HFC-23 V-H",
            "It finds three or more lesions better than one or two",
            tuple(
                found
                for size, few, many in (("small", 2, 6), ("medium", 1, 4), ("large", 1, 3))
                for found in lower(
                    *LESIONS,
                    than={"attack": f"{size} lesions x {many}"},
                    by=("detector",),
                    attack=f"{size} lesions x {few}",
                    detector="HFC",
                    metric="AUC",
                )
            ),
            LESIONS,
        ),
        Claim(
            "HFC-23 Table VI",
            "Lesions change at most 10 % of the decisions",
            tuple(at_most(10, *LESIONS, metric="FR")),
            LESIONS,
        ),
        Claim(
            "HFC-23 V-I",
            "HFC breaks Auto-PGD: it fools fewer cases than without",
            tuple(
                lower(
                    "stronger-hiding",
                    than={"hfc": "without"},
                    by=("attack", "eps"),
                    attack="APGD",
                    hfc="with",
                    metric="Adv. Acc",
                    eps="1/256",
                )
            ),
            ("stronger-hiding",),
            words="selective projection mends it: [beyond the papers](findings/hiding.md#beyond-the-papers)",
        ),
        *_elsewhere(),
    ]


def _elsewhere() -> list[Claim]:
    """Substitutes, natural images, volumes."""
    semi = {"model": "resnet18 attacked from another resnet18", "hfc": "with", "eps": "4/256"}
    xray = {"dataset": "Chest X-ray", "eps": "1/256", "hfc": "with", "metric": "AUC"}
    fooled = {"hfc": "without", "metric": "Adv. Acc"}
    budgets = ("8/256", "16/256")
    return [
        Claim(
            "HFC-21 Table 4, HFC-23 Table IV",
            "Semi-white-box: BIM with HFC, made on a substitute, fools at least 68 % at 4/256",
            tuple(at_least(68, *SEMI, metric="Adv. Acc", **semi)),
            ("hfc23-table4",),
        ),
        Claim(
            "HFC-21 Table 4, HFC-23 Table IV",
            "On fundus images it then passes the victim's MAHA (at most 10)",
            tuple(at_most(10, SEMI[0], metric="AUC", detector="MAHA", **semi)),
            ("hfc23-table4",),
        ),
        Claim(
            "HFC-23 V-F, Table V",
            "Detectors of X-rays at 1/256 fall further under HFC than those of CIFAR-10 at 8/256 and 16/256",
            tuple(
                ask
                for eps in budgets
                for ask in falls_further(
                    "natural-images",
                    than={"dataset": "CIFAR-10", "eps": eps},
                    by=("detector",),
                    without={"hfc": "without"},
                    detector=("KD", "MAHA", "LID", "SVM", "DNN"),
                    **xray,
                )
            ),
            ("natural-images",),
        ),
        Claim(
            "HFC-23 V-F",
            "BIM fools at least 95 % of CIFAR-10 at 8/256 and of X-rays at 1/256",
            (
                *at_least(95, "natural-images", dataset="CIFAR-10", eps="8/256", **fooled),
                *at_least(95, "natural-images", dataset="Chest X-ray", eps="1/256", **fooled),
            ),
            ("natural-images",),
        ),
        Claim(
            "HFC-23 Table I",
            "On volumes with four classes (Brain) HFC takes MAHA to 0.1 at most, KD and LID to 62, SVM to 76, BU to 46",
            tuple(
                ask
                for detector, bound in {"MAHA": 0.1, "KD": 62, "LID": 62, "SVM": 76, "BU": 46}.items()
                for ask in at_most(bound, "brain", **_hidden(detector, eps="8/256"))
            ),
            ("brain",),
            words="at 8/256 here, 1/256 there",
        ),
        Claim(
            "HFC-23 Fig. 9",
            "Networks of volumes are fooled more often than those of images at the same budget",
            tuple(_fooled_less("middle slices")),
            ("hfc23-fig9",),
            words="at 1, 2 and 4/256; the paper's 0.01 to 0.2/256 fool one case at most in these small networks",
        ),
        Claim(
            "HFC-23 Fig. 9",
            "They are fooled less often once volumes are halved",
            tuple(_fooled_less("3-D halved")),
            ("hfc23-fig9",),
        ),
    ]


def _fooled_less(kind: str) -> Iterator[Ask]:
    """Less often than whole volumes."""
    whole = {"dataset": "Brain CT (phantoms), 3-D", "attack": "BIM, 3-D"}
    return lower(
        "hfc23-fig9",
        than=whole,
        by=("eps",),
        dataset=f"Brain CT (phantoms), {kind}",
        eps=("1/256", "2/256", "4/256"),
        metric="Adv. Acc",
    )


CLAIMS = _claims()


def drawn() -> list[str]:
    """The table of docs/claims.md."""
    rows = [
        [str(i), claim.source, claim.says, *judged(claim), judged_again(claim, AGAIN)]
        for i, claim in enumerate(CLAIMS, 1)
    ]
    return table(["", "where", "claim", "here", "evidence", "on another processor"], rows)


if __name__ == "__main__":
    print(*drawn(), sep="\n")
