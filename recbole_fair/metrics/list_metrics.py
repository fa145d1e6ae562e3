"""Metrics of lists, each declared once: disparities between groups, and means of what each user's list is worth."""

from __future__ import annotations

from math import inf, nan
from typing import Any

from recbole_fair.metrics import catalogue, exposure, formulas, shown, stability, topk
from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.metrics.metric import AGAIN, GIVEN, UTILITY, Metric, OfCatalogue, OfEachUser, OfHits, OfScores, Reads


def _exposure_to_merit_cv(exposures: FloatArray, merits: FloatArray) -> FloatArray:
    return formulas.cv(exposure.exposure_to_merit(exposures, merits))


# sd / mean over groups, 0 where they are equal.
_DISPERSION: dict[str, Any] = {"formula": formulas.cv, "best": 0.0, "bounds": (0.0, inf), "equal": 0.0}

# Distance of discounted exposure from what is due, 0 where it is given.
_DISTANCE: dict[str, Any] = {"over": "item", "best": 0.0, "bounds": (0.0, 1.0), "equal": 0.0}

OF_ITEM_GROUPS = (
    # BiFair, section 4.3.2
    Metric("CV", [UTILITY], over="item", **_DISPERSION,
           means="how unequally the item groups are served: sd / mean of their recall"),
    Metric("MIN", [UTILITY], formulas.minimum, "item", best=inf, bounds=(0.0, 1.0),
           means="how the worst-served quarter of the item groups (one at least) is served: mean of their recall"),
    # Zhu et al. 2020
    Metric("REO", ["recommended_given_relevant"], over="item", **_DISPERSION,
           means="sd / mean over item groups of the chance that a relevant item of the group is listed"),
    Metric("RSP", ["recommended"], over="item", **_DISPERSION,
           means="sd / mean over item groups of the chance that an item of the group is listed, relevant or not"),
    Metric("Exposure_CV", ["exposure"], over="item", **_DISPERSION,
           means="sd / mean of the item groups' shares of all list places"),
    Metric("Merit_CV", ["exposure", "merit"], over="item", **{**_DISPERSION, "formula": _exposure_to_merit_cv},
           means="sd / mean over item groups of their share of list places over their share of test items"),
    # Sapiezynski et al. 2019
    Metric("AWRF", ["discounted", "merit"], exposure.awrf, **_DISTANCE,
           means="distance of the item groups' exposure from their shares of the test items"),
    Metric("AWRF_Population", ["discounted", "population"], exposure.awrf, **_DISTANCE,
           means="distance of the item groups' exposure from their shares of the catalogue"),
    Metric("AWRF_Uniform", ["discounted"], exposure.awrf_uniform, **_DISTANCE,
           means="distance of the item groups' exposure from the same share for each"),
    # max-min fairness as in FairDiverse
    Metric("MMF", ["exposure"], exposure.max_min_share, "item", best=inf, bounds=(0.0, 0.5),
           means="share of all list places that the less exposed half of the item groups has"),
)  # fmt: skip

# Under RecBole's names, with RecBole's definitions but for what catalogue.py says; the last ones it computes itself.
OF_HITS = (
    OfHits("Recall", ["recall"], best=inf, of=topk.recall,
           means="share of a user's held-out items that the list holds"),
    OfHits("NDCG", ["ndcg"], best=inf, of=topk.ndcg,
           means="how well the list is ordered: hits near its top count more; 1 is perfect"),
    OfHits("Hit", ["hit"], best=inf, of=topk.hit,
           means="share of users whose list holds at least one held-out item"),
    OfHits("MRR", ["mrr"], best=inf, of=topk.mrr, means="1 / place of the first hit in the list"),
    OfHits("MAP", ["map"], best=inf, of=topk.average_precision,
           means="mean precision of the list down to each of its hits"),
    OfHits("Precision", ["precision"], best=inf, of=topk.precision, means="share of the list that was held out"),
)  # fmt: skip
HOST_METRICS = (
    *OF_HITS,
    OfCatalogue("ItemCoverage", ["itemcoverage"], best=inf, of=catalogue.coverage,
                means="share of all items that are listed for somebody"),
    OfCatalogue("ShannonEntropy", ["shannonentropy"], best=inf, of=catalogue.entropy,
                means="entropy of the item in a list place: high where many items are listed"),
    OfCatalogue("GiniIndex", ["giniindex"], best=-inf, of=catalogue.gini,
                means="how unequally often items are listed: 0 all alike, near 1 a few have all places"),
    OfCatalogue("AveragePopularity", ["averagepopularity"], best=-inf, of=catalogue.average_popularity,
                means="mean number of training interactions of the listed items"),
    OfCatalogue("TailPercentage", ["tailpercentage"], of=catalogue.tail_percentage,
                means="share of the list that belongs to the least popular items"),
    OfScores("GAUC", ["gauc"], best=inf,
             means="chance that a held-out item of a user scores above another one of the same user"),
    OfScores("AUC", ["auc"], best=inf, labels=True, means="chance that a held-out item scores above another one"),
    OfScores("RMSE", ["rmse"], best=-inf, labels=True, means="root of the mean squared error of scores"),
    OfScores("MAE", ["mae"], best=-inf, labels=True, means="mean absolute error of scores"),
    OfScores("LogLoss", ["logloss"], best=-inf, labels=True, means="mean negative log-likelihood of the answers"),
)  # fmt: skip

BASES = tuple(metric.name for metric in OF_HITS)
_DISPARITIES: dict[str, dict[str, Any]] = {
    "Gap": {"formula": formulas.gap, "best": 0.0, "bounds": (0.0, 1.0), "equal": 0.0},
    "Ratio": {"formula": formulas.ratio, "best": inf, "bounds": (0.0, 1.0), "equal": 1.0},
    "CV": _DISPERSION,
    "MIN": {"formula": formulas.minimum, "best": inf, "bounds": (0.0, 1.0), "equal": nan},
}

_COMPARED = {
    "Gap": "best-served user group minus worst-served one",
    "Ratio": "worst-served user group over best-served one",
    "CV": "how unequally the user groups are served: sd / mean",
    "MIN": "the worst-served quarter of the user groups (one at least)",
}
BETWEEN_USERS = tuple(
    Metric(f"{prefix}_{base}", [base.lower()], over="user", means=f"{_COMPARED[prefix]}, in {base}", **disparity)
    for prefix, disparity in _DISPARITIES.items()
    for base in BASES
)

_TAILS = ("pop", "tail3")  # groupings whose last group is the long tail
_NEARER: dict[str, Any] = {"over": "item", "best": 0.0}

OF_EACH_USER = (
    # popularity of what is listed: its mean, the long tail's share and number, and the mean over that of the profile
    OfEachUser("ARP", ["arp"], best=-inf, bounds=(0.0, inf), of=shown.arp,
               means="mean popularity of the listed items: their interactions in training"),
    OfEachUser("APLT", ["aplt"], over="item", bounds=(0.0, 1.0), of=shown.aplt, fields=_TAILS,
               means="share of a list that is of the long tail"),
    OfEachUser("ACLT", ["aclt"], over="item", bounds=(0.0, inf), of=shown.aclt, fields=_TAILS,
               means="number of long-tail items in a list"),
    OfEachUser("Popularity_Lift", ["popularity_lift"], best=0.0, bounds=(-1.0, inf), of=shown.popularity_lift,
               means="by what share lists are more popular than what users had in training"),
    # Geyik et al. 2019: prefixes of the list beside the catalogue
    OfEachUser("NDKL", ["ndkl"], bounds=(0.0, inf), of=shown.ndkl, **_NEARER,
               means="how far the first places of a list are from the catalogue's shares of the item groups"),
    # Diaz et al. 2020, by group: disparity, relevance and loss of expected exposure
    OfEachUser("EE_D", ["ee_d"], bounds=(0.0, inf), of=shown.ee_d, **_NEARER,
               means="how unevenly a list's exposure is spread over the item groups"),
    OfEachUser("EE_R", ["ee_r"], over="item", best=inf, bounds=(0.0, inf), of=shown.ee_r,
               means="how far a list's exposure goes to the item groups of the user's test items"),
    OfEachUser("EE_L", ["ee_l"], bounds=(0.0, inf), of=shown.ee_l, **_NEARER,
               means="squared distance of the item groups' exposure from what test items make due"),
    # Steck 2018: the list beside what the user had in training
    OfEachUser("Calibration_KL", ["calibration_kl"], bounds=(0.0, inf), of=shown.calibration_kl, **_NEARER,
               means="how far the list's item groups are from what the user had in training (KL divergence)"),
    OfEachUser("Calibration_JS", ["calibration_js"], bounds=(0.0, 1.0), of=shown.calibration_js, **_NEARER,
               means="the same as a Jensen-Shannon divergence: 0 alike, 1 without a common group"),
)  # fmt: skip

# Zhang et al. 2023 (FaiRLLM): the list without a sensitive attribute beside the lists under each value of it.
_ALIKE = {
    "Jaccard": "share of all their items that both have",
    "SERP": "share that both have, first places counting more",
    "PRAG": "share of pairs in the same order",
}
_MEAN: dict[str, Any] = {"formula": formulas.present_mean, "best": inf, "bounds": (0.0, 1.0)}
_RANGE: dict[str, Any] = {"formula": formulas.gap, "best": 0.0, "bounds": (0.0, 1.0), "equal": 0.0}
_SPREAD: dict[str, Any] = {**_RANGE, "formula": formulas.deviation}
OF_PROMPTED_LISTS = tuple(
    metric
    for name, alike in _ALIKE.items()
    for by_value in [Reads(name.lower(), GIVEN)]
    for again in [Reads(name.lower(), AGAIN, by_group=False)]
    for metric in (
        Metric(f"SNSR_{name}", [by_value], over="user", **_RANGE,
               means=f"how unlike values of the attribute move the list: largest minus smallest {name}"),
        Metric(f"SNSV_{name}", [by_value], over="user", **_SPREAD,
               means=f"how unlike values of the attribute move the list: sd of {name} over them"),
        Metric(name, [by_value], over="user", **_MEAN,
               means=f"lists with and without the attribute in the prompt: {alike}"),
        Metric(f"{name}_Null", [again], bounds=(0.0, 1.0),
               means=f"lists of the same prompt asked twice: {alike}"),
        Metric(f"{name}_Drop", [again, by_value], stability.drop, "user", best=0.0, bounds=(-1.0, 1.0),
               means=f"by how much {name} is lower with the attribute than when the same prompt is asked twice"),
    )
)  # fmt: skip

LIST_METRICS = (*OF_ITEM_GROUPS, *BETWEEN_USERS, *OF_EACH_USER, *OF_PROMPTED_LISTS)
