"""Every statistic against SciPy or a value worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import roc_auc_score

from shared.monitoring import statistics

A, B = [50, 30, 20], [40, 40, 20]


def test_psi_is_the_sum_over_bins_with_half_a_row_added_to_each() -> None:
    p, q = (np.array(counts) + 0.5 for counts in (A, B))
    p, q = p / 101.5, q / 101.5

    assert statistics.psi(A, B) == pytest.approx(float(((q - p) * np.log(q / p)).sum()))
    # By hand: (40.5 - 50.5) / 101.5 * ln(40.5 / 50.5) + (40.5 - 30.5) / 101.5 * ln(40.5 / 30.5)
    assert statistics.psi(A, B) == pytest.approx(0.098522 * (0.220671 + 0.283577), abs=1e-5)
    assert statistics.psi(A, A) == 0


def test_psi_of_an_empty_bin_is_large_and_finite() -> None:
    assert 1 < statistics.psi([100, 0], [0, 100]) < 100


def test_jensen_shannon_is_that_of_scipy_and_runs_from_0_to_1() -> None:
    assert statistics.js_distance(A, B) == pytest.approx(jensenshannon(A, B, base=2))
    assert statistics.js_distance([1, 0], [0, 1]) == 1
    assert statistics.js_distance(A, [count * 7 for count in A]) == pytest.approx(0, abs=1e-7)


def test_ks_at_the_bounds_of_bins_is_that_of_values_that_lie_on_them() -> None:
    draw = np.random.default_rng(3)
    left, right = draw.binomial(8, 0.4, 500), draw.binomial(8, 0.5, 700)
    exact = stats.ks_2samp(left, right, method="asymp")
    counts = [np.bincount(values, minlength=9) for values in (left, right)]

    assert statistics.ks(*counts) == pytest.approx(exact.statistic)
    kolmogorov = stats.kstwobign.sf(exact.statistic * math.sqrt(500 * 700 / 1200))
    assert statistics.ks_p_value(exact.statistic, 500, 700) == pytest.approx(kolmogorov)


def test_ks_of_a_shifted_normal_is_near_its_formula() -> None:
    draw = np.random.default_rng(4)
    left, right = draw.normal(0, 1, 100_000), draw.normal(0.5, 1, 100_000)
    edges = np.quantile(left, np.arange(1, 10) / 10)
    counts = [np.bincount(np.searchsorted(edges, values, "right"), minlength=10) for values in (left, right)]

    assert statistics.ks(*counts) == pytest.approx(2 * stats.norm.cdf(0.25) - 1, abs=0.01)


def test_total_variation_is_the_share_that_moves() -> None:
    assert statistics.total_variation(A, B) == pytest.approx(0.1)


def test_chi_square_is_that_of_scipy() -> None:
    expected = stats.chi2_contingency([A, B], correction=False)

    statistic, freedom, p_value = statistics.chi_square(A, B)

    assert (statistic, freedom, p_value) == (
        pytest.approx(expected.statistic),
        expected.dof,
        pytest.approx(expected.pvalue),
    )


def test_chi_square_pools_bins_that_are_too_rare_to_test() -> None:
    pooled = stats.chi2_contingency([[50, 30, 20], [40, 40, 20]], correction=False)

    statistic, freedom, _ = statistics.chi_square([50, 30, 18, 1, 1], [40, 40, 18, 0, 2])

    assert (statistic, freedom) == (pytest.approx(pooled.statistic), 2)
    assert statistics.chi_square([3, 1], [2, 1]) == (0.0, 0, 1.0)
    assert statistics.chi_square([0, 0], [50, 50]) == (0.0, 0, 1.0)


def test_the_test_of_two_shares_is_the_chi_square_of_their_table() -> None:
    table = stats.chi2_contingency([[30, 70], [45, 55]], correction=False)

    assert statistics.share_p_value(30, 100, 45, 100) == pytest.approx(table.pvalue)
    assert statistics.share_p_value(0, 100, 0, 50) == 1
    assert statistics.share_p_value(100, 100, 50, 50) == 1


def test_holm_steps_down_and_never_falls() -> None:
    # The example of Holm's procedure: 4 hypotheses, ordered 0.005, 0.01, 0.03, 0.04.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_the_error_of_an_auc_is_about_its_spread_over_samples() -> None:
    draw = np.random.default_rng(5)
    label = np.repeat([0, 1], [300, 60])
    aucs = [roc_auc_score(label, draw.normal(label * 1.2, 1)) for _ in range(400)]

    assert statistics.auc_error(float(np.mean(aucs)), 60, 300) == pytest.approx(float(np.std(aucs)), rel=0.2)


def test_tests_of_equal_samples_are_significant_as_often_as_they_say() -> None:
    draw = np.random.default_rng(6)
    share = np.full(10, 0.1)
    samples = [(draw.multinomial(2_000, share), draw.multinomial(6_000, share)) for _ in range(1_000)]

    chi = np.mean([statistics.chi_square(a, b)[2] < 0.05 for a, b in samples])
    ks = np.mean([statistics.ks_p_value(statistics.ks(a, b), 2_000, 6_000) < 0.05 for a, b in samples])

    assert 0.03 < chi < 0.07
    assert ks < 0.05  # binned, it is careful
