"""Agreement between a method's group scores and the oracle's, image by image.

A per-query metric is a function (scores, oracle) -> float64 [Q] of two [Q, G] matrices, where a higher
score means a more influential group.  For ties, metrics that need a total order (top1, top3, mrr, ndcg,
rbo, and the choice of the oracle's top k in wpra) are expectations over independent, uniformly random
tie-breaking of scores and oracle (McSherry and Najork, 2008, "Computing information retrieval
performance measures efficiently in the presence of tied scores"; here on both sides).  Hence constant
scores have the top1 of a random guess, 1 / G.  Rank correlations handle ties as ties.  Bad input raises
ValueError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from guda.evaluation.ranking import Ranked, finite_matrix

if TYPE_CHECKING:
    from jaxtyping import Float


def matrix_of(values: ArrayLike, name: str) -> np.ndarray:
    matrix = finite_matrix(values, name)
    if matrix.shape[1] < 2:
        raise ValueError(f"{name} must have at least 2 groups to rank, found {matrix.shape[1]}")
    return matrix


def _ranked(values: ArrayLike, name: str) -> Ranked:
    return values if isinstance(values, Ranked) else Ranked(matrix_of(values, name))


def pair_of(scores: ArrayLike, oracle: ArrayLike) -> tuple[Ranked, Ranked]:
    """Both checked and ready to be ranked, unless they are so already."""
    pair = _ranked(scores, "scores"), _ranked(oracle, "oracle")
    found, expected = (each.scores.shape for each in pair)
    if found != expected:
        raise ValueError(f"scores and oracle must have one shape, found {found} and {expected}")
    return pair


def _positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, found {value}")


def _among_first(above: np.ndarray, tied: np.ndarray, k: int) -> np.ndarray:
    """Probability that a group is among the first k, [Q, G]; 0 or 1 for groups that do not tie."""
    return np.clip((k - above) / tied, 0.0, 1.0)


def top1(scores: ArrayLike, oracle: ArrayLike) -> Float[np.ndarray, " q"]:
    """[Q, G] x2 -> [Q]: 1 if both rank the same group first, else 0."""
    scores, oracle = pair_of(scores, oracle)
    return (_among_first(*scores.places, 1) * _among_first(*oracle.places, 1)).sum(axis=1)


def first_shares(scores: ArrayLike) -> Float[np.ndarray, "q g"]:
    """[Q, G] -> [Q, G]: the probability that a group is first: 1 for the first, 1/n for each of n tied for first."""
    scores = matrix_of(scores, "scores")
    is_first = scores == scores.max(axis=1, keepdims=True)
    return is_first / is_first.sum(axis=1, keepdims=True)


def top3(scores: ArrayLike, oracle: ArrayLike) -> Float[np.ndarray, " q"]:
    """[Q, G] x2 -> [Q]: |top 3 of scores & top 3 of oracle| / min(3, G)."""
    scores, oracle = pair_of(scores, oracle)
    shared = _among_first(*scores.places, 3) * _among_first(*oracle.places, 3)
    return shared.sum(axis=1) / min(3, shared.shape[1])


def mrr(scores: ArrayLike, oracle: ArrayLike) -> Float[np.ndarray, " q"]:
    """[Q, G] x2 -> [Q]: reciprocal rank of the oracle's first group under the scores."""
    scores, oracle = pair_of(scores, oracle)
    reciprocal = _expected(1.0 / np.arange(1, scores.scores.shape[1] + 1), *scores.places)
    return (reciprocal * _among_first(*oracle.places, 1)).sum(axis=1)


def _expected(by_place: np.ndarray, above: np.ndarray, tied: np.ndarray) -> np.ndarray:
    """Expected value of by_place[r - 1] for each group's place r: [G] -> [Q, G]."""
    sums = np.concatenate([[0.0], np.cumsum(by_place)])
    return np.where(tied == 1, by_place[above], (sums[above + tied] - sums[above]) / tied)


def _tied_means(values: np.ndarray, above: np.ndarray) -> np.ndarray:
    """[Q, G] -> [Q, G]: mean of the values over each set of tied groups, which have equally many above them."""
    n_queries, n_groups = values.shape
    runs = (above + n_groups * np.arange(n_queries)[:, None]).ravel()
    sums, counts = np.bincount(runs, values.ravel()), np.bincount(runs)
    return (sums[runs] / counts[runs]).reshape(values.shape)


def _ndcg(scores: Ranked, oracle: Ranked, by_place: np.ndarray, k: int) -> np.ndarray:
    """DCG of the first k places over its best value, for decreasing gains [G] by the oracle's place."""
    k = min(k, len(by_place))
    discount = np.log2(np.arange(2, k + 2))
    gain = _tied_means(_expected(by_place, *oracle.places), scores.places[0])
    found = np.take_along_axis(gain, scores.order[:, :k], axis=1)
    return (found / discount).sum(axis=1) / (by_place[:k] / discount).sum()


def ndcg_exp(scores: ArrayLike, oracle: ArrayLike, k: int = 3) -> Float[np.ndarray, " q"]:
    """[Q, G] x2 -> [Q]: NDCG@k with gain 2^rel - 1, rel = G - oracle rank (Burges et al., 2005)."""
    scores, oracle = pair_of(scores, oracle)
    _positive("k", k)
    # Gains are scaled by 2^(1-G), which cancels in the ratio and prevents overflow for many groups.
    n_groups = oracle.scores.shape[1]
    return _ndcg(scores, oracle, np.exp2(-np.arange(float(n_groups))) - np.exp2(1.0 - n_groups), k)


def ndcg_lin(scores: ArrayLike, oracle: ArrayLike, k: int = 3) -> Float[np.ndarray, " q"]:
    """[Q, G] x2 -> [Q]: NDCG@k with gain rel = G - oracle rank (Jarvelin and Kekalainen, 2002)."""
    scores, oracle = pair_of(scores, oracle)
    _positive("k", k)
    return _ndcg(scores, oracle, np.arange(oracle.scores.shape[1])[::-1].astype(np.float64), k)


def rbo_raw(scores: ArrayLike, oracle: ArrayLike, p: float = 0.9) -> Float[np.ndarray, " q"]:
    """[Q, G] x2 -> [Q]: rank-biased overlap (Webber et al., 2010) cut off at depth G.

    (1-p) sum_{d=1..G} p^(d-1) |top d of scores & top d of oracle| / d; perfect agreement is 1 - p^G.
    """
    scores, oracle = pair_of(scores, oracle)
    if not 0 < p < 1:
        raise ValueError(f"p must lie strictly between 0 and 1, found {p}")
    ranked = np.stack([scores.places, oracle.places])
    ties = (ranked[:, 1] > 1).any(axis=(0, 2))
    overlap = np.empty_like(scores.scores)
    overlap[~ties] = _overlap(ranked[:, 0, ~ties])
    overlap[ties] = _expected_overlap(*ranked[:, :, ties])
    depth = np.arange(1, overlap.shape[1] + 1)
    return (overlap / depth) @ ((1 - p) * p ** (depth - 1))


def _overlap(above: np.ndarray) -> np.ndarray:
    """|top d of both| for d = 1..G, of rankings without ties: int [2, Q, G] -> [Q, G]."""
    _, n, n_groups = above.shape
    # A group is in both top-d sets once d reaches the worse of its two ranks.
    enters = (above.max(axis=0) + n_groups * np.arange(n)[:, None]).ravel()
    return np.bincount(enters, minlength=n * n_groups).reshape(n, n_groups).cumsum(axis=1)


def _expected_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The expectation if groups tie: the sum over groups of the product of the probabilities to be in each top d.

    Each argument is `places`, int [2, Q, G]. A group's probability rises linearly from `above` to `above + tied`, so
    the product of two is piecewise polynomial in d, of degree at most two, with breakpoints at these places.
    """
    (a, t), (b, u) = first.astype(np.float64), second.astype(np.float64)
    begins = np.maximum(a, b)
    ends, last = np.minimum(a + t, b + u), np.maximum(a + t, b + u)
    rising = np.where(a + t > b + u, (a, t), (b, u))  # the rise that ends later
    one, both = np.ones_like(a), 1 / (t * u)
    slope = 1 / rising[1]
    pieces = [
        (begins, np.maximum(begins, ends), (a * b * both, -(a + b) * both, both)),
        (np.maximum(begins, ends), last, (-rising[0] * slope, slope, 0 * one)),
        (last, np.full_like(a, a.shape[1]), (one, 0 * one, 0 * one)),
    ]
    n, n_groups = a.shape
    coefficients = np.zeros((3, n, n_groups + 1))
    rows = np.broadcast_to(np.arange(n)[:, None], a.shape)
    for start, end, terms in pieces:
        for power, term in enumerate(terms):
            np.add.at(coefficients[power], (rows, start.astype(int)), term)
            np.subtract.at(coefficients[power], (rows, end.astype(int)), term)
    depth = np.arange(1.0, n_groups + 1)
    constant, linear, square = coefficients[:, :, :-1].cumsum(axis=2)
    return constant + linear * depth + square * depth**2


def rbo(scores: ArrayLike, oracle: ArrayLike, p: float = 0.9) -> Float[np.ndarray, " q"]:
    """[Q, G] x2 -> [Q]: rbo_raw / (1 - p^G), so that perfect agreement is 1 for any G."""
    scores, oracle = pair_of(scores, oracle)
    return rbo_raw(scores, oracle, p) / (1 - p ** scores.scores.shape[1])


def wpra(scores: ArrayLike, oracle: ArrayLike, k: int = 3) -> Float[np.ndarray, " q"]:
    """[Q, G] x2 -> [Q]: weighted pairwise ranking accuracy over pairs touching the oracle's top k.

    The share of pairs that scores order like the oracle, weighted by |g_a - g_b|, with ties in scores
    counting half.  If all weights are zero there is nothing to order, and it is 1/2, the chance level.
    """
    scores, oracle = pair_of(scores, oracle)
    _positive("k", k)
    # Of two groups, the one with the higher g is at least as likely to be in the top k: its probability is the weight.
    in_top, gains, found = (
        np.take_along_axis(values, oracle.order, axis=1)
        for values in (_among_first(*oracle.places, k), oracle.scores, scores.scores)
    )
    total, alike = np.zeros((2, len(gains)))
    for place in range(int((in_top > 0).sum(axis=1).max())):
        weight = in_top[:, [place]] * (gains[:, [place]] - gains[:, place + 1 :])
        total += weight.sum(axis=1)
        alike += (weight * (1 + np.sign(found[:, [place]] - found[:, place + 1 :])) / 2).sum(axis=1)
    return np.divide(alike, total, out=np.full(len(total), 0.5), where=total > 0)


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row-wise cosine similarity, 0 for zero rows."""
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), norm, out=np.zeros(len(norm)), where=norm > 0)


def rank_correlation(a: Ranked, b: Ranked) -> np.ndarray:
    # Average ranks of n values have mean (n+1)/2, with or without ties.
    mean = (a.ranks.shape[1] + 1) / 2
    return _cosine(a.ranks - mean, b.ranks - mean)


def spearman(scores: ArrayLike, oracle: ArrayLike) -> Float[np.ndarray, " q"]:
    """[Q, G] x2 -> [Q]: Spearman's rho with average ranks for ties; 0 if either row is constant."""
    return rank_correlation(*pair_of(scores, oracle))


def kendall(scores: ArrayLike, oracle: ArrayLike) -> Float[np.ndarray, " q"]:
    """[Q, G] x2 -> [Q]: Kendall's tau-b (Kendall, 1945); 0 if either row is constant."""
    scores, oracle = pair_of(scores, oracle)
    (a, a_tied), (b, b_tied) = scores.places, oracle.places
    n_groups = a.shape[1]
    agreeing = _discordant(a, n_groups - 1 - b) - _discordant(a, b)
    # Numbers of untied pairs; without any, `agreeing` is 0.
    of_a, of_b = (np.sqrt(np.maximum((n_groups - tied).sum(axis=1) // 2, 1)) for tied in (a_tied, b_tied))
    return np.clip(agreeing / of_a / of_b, -1, 1)


def _discordant(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Number of discordant pairs of groups, with ties in neither: int [Q, G] x2, all below G -> [Q].

    Merge sort (Knight, 1966) of all rows at once: when two sorted halves are merged, a value from the left half moves
    by the number of smaller values in the right half. The last bit of a value marks the right half.
    """
    n, n_groups = a.shape
    width = 1 << (n_groups - 1).bit_length()
    values = np.full((n, width), n_groups, dtype=np.int32)
    values[:, :n_groups] = np.sort(a * n_groups + b) % n_groups
    found, half = np.zeros(n, dtype=np.int64), 1
    while half < width:
        halves = values.reshape(n, -1, 2, half) << 1
        halves[:, :, 1] |= 1
        merged = np.sort(halves.reshape(n, -1, 2 * half))
        from_left = (~merged & 1).sum(axis=1)
        found += from_left @ np.arange(2 * half) - width * (half - 1) // 4  # new places less old ones
        values, half = merged >> 1, 2 * half
    return found


def kappa(scores: ArrayLike, oracle: ArrayLike) -> float:
    """[Q, G] x2 -> float: Cohen's kappa (Cohen, 1960) of the two first groups over images.

    (p_o - p_e) / (1 - p_e): p_o is the mean of top1, p_e the agreement of two independent raters with the same
    frequencies of first groups. 0 if the first group is the same for every image, even if it is always the oracle's.
    Tied groups share first place in both p_o and p_e.
    """
    first, wanted = (first_shares(each) for each in pair_of(scores, oracle))
    return float(weighted_kappa(first, wanted, np.ones((1, len(first))))[0])


def top1_balanced(scores: ArrayLike, oracle: ArrayLike) -> float:
    """[Q, G] x2 -> float: the macro-average of top1 over the oracle's first groups.

    The balanced accuracy (Brodersen et al., 2010) of the first group. A group's top1 is averaged over the images it is
    first for, where an image with n groups tied for first place counts 1/n. Groups that are never first are left out.
    """
    first, wanted = (first_shares(each) for each in pair_of(scores, oracle))
    return float(weighted_top1_balanced(first, wanted, np.ones((1, len(first))))[0])


def weighted_kappa(first: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> Float[np.ndarray, " b"]:
    """`kappa` with image q repeated weights[b, q] times: first places [Q, G] x2 (`first_shares`), [B, Q] -> [B]."""
    n = weights.sum(axis=1)
    observed = weights @ (first * wanted).sum(axis=1) / n
    by_chance = ((weights @ first) * (weights @ wanted)).sum(axis=1) / n**2
    return np.divide(observed - by_chance, 1 - by_chance, out=np.zeros(len(n)), where=by_chance < 1)


def weighted_top1_balanced(first: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> Float[np.ndarray, " b"]:
    """`top1_balanced` with image q repeated weights[b, q] times: [Q, G] x2, [B, Q] -> [B]."""
    met, times = weights @ (first * wanted), weights @ wanted
    shares = np.divide(met, times, out=np.zeros(times.shape), where=times > 0)
    return shares.sum(axis=1) / (times > 0).sum(axis=1)
