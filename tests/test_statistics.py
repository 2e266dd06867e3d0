"Do the intervals and tests hold what they promise? Simulated, at the edges too, with jobs that hang together."

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentft.core.intervals import (
    Clusters,
    clusters_for,
    clusters_of,
    effective_size,
    enough,
    interval,
    lacking_words,
    least_clusters,
    observations_for,
    observations_in,
    wilson,
)
from agentft.evaluation.statistics import (
    difference,
    jobs_needed,
    mcnemar,
    mcnemar_jobs,
    over_seeds,
    paired_test,
    swap_test,
)

RATES = (0.02, 0.5, 0.98)
TRIALS = 400  # the share of 0.95 is known to 0.02 (two standard errors)


def clustered(g, rate, families, jobs, icc=0.3, most=1, trials=TRIALS):
    "`(trials, jobs, 2)` counts and the family of each job; `most` observations per job at most, 0 where it is above 1."
    a, b = rate * (1 - icc) / icc, (1 - rate) * (1 - icc) / icc
    labels = np.arange(jobs) % families
    skill = g.beta(a, b, (trials, families))[:, labels]
    n = g.integers(0 if most > 1 else 1, most + 1, (trials, jobs))
    return np.stack([g.binomial(n, skill), n], -1), clusters_of([f'family {k}' for k in labels])  # as the evaluation


def holds(i, value):
    return i.low is not None and i.low <= value and (i.high is None or value <= i.high)


# --- one number


@pytest.mark.parametrize('rate', RATES)
@pytest.mark.parametrize('n', [12, 30, 80])
def test_coverage_of_independent_jobs(n, rate):
    "Every possible number of successes, weighted by its chance: no sampling."
    from scipy.stats import binom

    covered = sum(
        binom.pmf(k, n, rate) for k in range(n + 1) if holds(interval([[1, 1]] * k + [[0, 1]] * (n - k)), rate)
    )
    assert covered >= 0.92


FAMILIES = (2, 3, 5, 7, 8, 9, 16)  # from the fewest that there can be


@pytest.mark.parametrize('rate', [*RATES, 0.95])
@pytest.mark.parametrize(
    'families, jobs, most', [*((k, 24, 1) for k in FAMILIES), (5, 24, 6), (16, 80, 6), (80, 80, 9)]
)
def test_coverage_of_families(rate, families, jobs, most):
    "Jobs of one family go together (intra-class correlation 0.3), and some jobs say nothing."
    g = np.random.default_rng(families + jobs + most)
    counts, clusters = clustered(g, rate, families, jobs, most=most)
    ends = [interval(c, clusters=clusters) for c in counts if c[:, 1].sum()]
    assert np.mean([holds(i, rate) for i in ends]) >= 0.92
    if rate > 0.9:
        assert np.mean([i.low > rate for i in ends]) <= 0.04  # "met" where it is not
    assert {(i.unit, i.clusters) for i in ends} == {('family', families)} or most > 1


@pytest.mark.parametrize('families, jobs', [(12, 12), (10, 30), (30, 30), (20, 80)])
@pytest.mark.parametrize('tail', ['few waste much', 'most waste some'])
def test_coverage_of_overhead(families, jobs, tail):
    "Waste over needed tokens, both skewed, a third of the jobs without any edit; twelve such jobs are few."
    g, hits, truth = np.random.default_rng(jobs), 0, 0.4
    clusters = Clusters([i % families for i in range(jobs)], 'family')
    for _ in range(TRIALS):
        needed = g.geometric(0.1, jobs) * (g.random(jobs) < 2 / 3)
        family = np.exp(g.normal(-0.125, 0.5, families))[np.arange(jobs) % families]
        few = (g.random(jobs) < 0.4) * g.uniform(0, 5, jobs)
        waste = needed * truth * (few if tail == 'few waste much' else family * g.exponential(1, jobs))
        hits += holds(interval(np.stack([waste, needed], 1), 'excess', resamples=500, clusters=clusters), truth)
    assert hits / TRIALS >= 0.92


def test_an_interval_that_ignores_families_would_not_hold():
    for families, most in ((10, 0.85), (3, 0.7)):
        counts, clusters = clustered(np.random.default_rng(0), 0.5, families, 80, trials=200)
        assert np.mean([holds(interval(c), 0.5) for c in counts]) < most
        assert np.mean([holds(interval(c, clusters=clusters), 0.5) for c in counts]) >= 0.92


# --- the edges


@settings(max_examples=300, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.data())
def test_one_more_success_never_lowers_a_bound(won, data):
    before = interval([[int(w), 1] for w in won])
    won[data.draw(st.integers(0, len(won) - 1))] = True
    after = interval([[int(w), 1] for w in won])
    assert after.low >= before.low and after.high >= before.high
    longer = interval([[int(w), 1] for w in [*won, True]])
    assert longer.low >= after.low


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40), st.integers(1, 12))
def test_nothing_is_beyond_the_edge(rows, families):
    "Whatever happened in the same jobs, if all had gone right the bounds would be no lower, and if none had, no higher."
    rows = [[min(x, n), n] for x, n in rows]
    clusters = Clusters([i % families for i in range(len(rows))], 'family')
    i, right, wrong = (
        interval(r, clusters=clusters) for r in (rows, [[n, n] for _, n in rows], [[0, n] for _, n in rows])
    )
    if i.value is not None:
        assert right.low >= i.low and right.high == 1 and wrong.low == 0 and wrong.high <= i.high
        assert 0 <= i.low <= i.value <= i.high <= 1 and i.low < i.high


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=2, max_size=30))
def test_what_hangs_together_is_worth_less(rows):
    sums = np.array([[min(x, n), n] for x, n in rows], float)
    size = effective_size(sums)
    assert sums[:, 1].sum() ** 2 / (sums[:, 1] ** 2).sum() - 1e-9 <= size <= sums[:, 1].sum()


def test_the_edge_is_no_cliff():
    lows = [interval([[5, 5]] * (28 - k) + [[4, 5]] * k).low for k in range(6)]
    assert lows == sorted(lows, reverse=True) and lows[0] - lows[1] < 0.03
    jobs = [interval([[1, 1]] * (28 - k) + [[0, 1]] * k).low for k in range(6)]
    assert jobs == sorted(jobs, reverse=True) and jobs[0] == pytest.approx(0.879, abs=1e-3)
    todos = [interval([[3, 3]] * 4 + [[x, 2], [1, 1]]) for x in (2, 1)]  # 15 and 14 of 15 todos in 6 jobs
    assert todos[0].low > todos[1].low and todos[0].high >= todos[1].high


def test_no_waste_is_not_no_waste_ever():
    assert interval([[0, 9]] * 34, 'excess').high > 0.10 > interval([[0, 9]] * 35, 'excess').high
    assert interval([[0, 9]], 'excess').low is None and interval([[4, 0]] * 9, 'excess').value is None
    endless = interval([[50, 0]] * 11 + [[50, 120]], 'excess')
    assert endless.high is None and endless.low > 0.1  # whatever the needed tokens are, there is waste


def test_two_jobs_show_nothing():
    i = interval([[700, 1000], [700, 990]], 'mean')
    assert i.low < 0.71 < i.high and i.high - i.low > 0.05
    assert interval([[700, 1000]] * 2, 'mean').low is None


def test_how_many_observations_a_target_takes():
    assert [observations_for(t, 1) for t in (0.90, 0.95, 0.98)] == [35, 73, 189]
    for target in (0.90, 0.95, 0.98):
        n = observations_for(target, 1)
        assert wilson(n, n)[0] > target >= wilson(n - 1, n - 1)[0]
    n = observations_for(0.90, 0.95)
    assert wilson(0.95 * n, n)[0] > 0.90 >= wilson(0.95 * (n - 1), n - 1)[0]


def test_how_many_families_a_target_takes_however_many_jobs_each_has():
    for target in (0.90, 0.95, 0.98):
        size = observations_for(target, 1)
        least = clusters_for(size)
        endless = [interval([[10**6, 10**6]] * k).low for k in (least - 1, least)]
        assert endless[0] <= target < endless[1]
        for k in (least, least + 5, 3 * least):
            each = math.ceil(observations_in(k, size) / k)
            assert interval([[each, each]] * k).low > target
        assert enough(10**6, 1, least - 1, size) == (least, 0)


@given(st.integers(2, 500), st.integers(1, 20), st.integers(2, 60))
@settings(max_examples=60, deadline=None)
def test_what_is_enough_is_never_more_families_than_there_are(families, each, there):
    "Unless no number of observations would do, and then that number of families is named."
    n = families * each
    assert enough(n, each, 0) == enough(n, each, families) == (families, n)
    k, observations = enough(n, each, there)
    assert (k <= there) == bool(observations) and (observations >= n or k > there)
    assert bool(lacking_words(k, there)) == (k > there)


def test_the_unit_of_chance():
    assert [least_clusters(k) for k in (1, 5, 6)] == [6, 8, 8]
    of = lambda k, jobs=40: clusters_of([f'f{i % k}' for i in range(jobs)])
    assert [(c.unit, len(c), c.one_family) for c in map(of, (1, 2, 8))] == [
        ('job', 40, True),
        ('family', 2, False),
        ('family', 8, False),
    ]
    none, some = clusters_of([''] * 9), clusters_of(['f', 'f', '', ''])
    assert (none.unit, len(none), none.one_family) == ('job', 9, False)
    assert (some.unit, len(some), some.one_family) == ('family', 3, False)  # a job without a family is its own


# --- two players


def two_players(g, rate, families, jobs, calls, icc=0.3, shift=0.0, trials=TRIALS):
    "Counts of both, alike but for `shift`, in families; `calls`: most observations per job of each."
    a, b = rate * (1 - icc) / icc, (1 - rate) * (1 - icc) / icc
    labels = np.arange(jobs) % families
    skill = g.beta(a, b, (trials, families))[:, labels]
    out = []
    for most, s in zip(calls, (0, shift)):
        n = g.integers(0, most + 1, (trials, jobs)) if most > 1 else np.ones((trials, jobs), int)
        out.append(np.stack([g.binomial(n, np.clip(skill + s, 0, 1)), n], -1))
    return *out, clusters_of([f'family {k}' for k in labels])


def with_values(a, b):
    return [(x, y) for x, y in zip(a, b) if x[:, 1].sum() and y[:, 1].sum()]


@pytest.mark.parametrize('rate', RATES)
@pytest.mark.parametrize('jobs', [12, 30, 80])
def test_false_alarms_of_independent_jobs(jobs, rate):
    a, b, _ = two_players(np.random.default_rng(jobs), rate, jobs, jobs, (1, 1), icc=1e-6, trials=1000)
    ps = [mcnemar(x[:, 0].tolist(), y[:, 0].tolist()) for x, y in zip(a, b)]
    assert np.mean(np.array(ps) < 0.05) <= 0.05
    assert paired_test(a[0].tolist(), b[0].tolist()) == (ps[0], 'exact McNemar')


@pytest.mark.parametrize('rate', RATES)
@pytest.mark.parametrize(
    'families, jobs, calls', [(8, 12, (1, 1)), (12, 30, (1, 1)), (12, 30, (6, 6)), (20, 80, (1, 1))]
)
def test_false_alarms_of_families(rate, families, jobs, calls):
    g = np.random.default_rng(jobs + calls[0])
    a, b, clusters = two_players(g, rate, families, jobs, calls)
    ps = [swap_test(x, y, 199, seed, clusters) for seed, (x, y) in enumerate(with_values(a, b))]
    assert np.mean(np.array(ps) < 0.05) <= 0.06


@pytest.mark.parametrize('rate', [0.9, 0.98])
@pytest.mark.parametrize('calls', [(9, 2), (2, 9)])
def test_false_alarms_where_one_player_makes_more_calls(rate, calls):
    "Few failures, most of them on the side with more calls: the swap test alone would see differences."
    g = np.random.default_rng(calls[0])
    a, b, clusters = two_players(g, rate, 12, 30, calls, trials=150)
    pairs = enumerate((x.tolist(), y.tolist()) for x, y in with_values(a, b))
    ps = [paired_test(x, y, seed=s, clusters=clusters, swaps=199)[0] for s, (x, y) in pairs]
    assert np.mean(np.array(ps) < 0.05) <= 0.07


@pytest.mark.parametrize('rate', [0.5, 0.98])
@pytest.mark.parametrize('families', FAMILIES)
def test_false_alarms_where_a_coin_per_family_decides_who_wins(families, rate):
    "Nobody is better: in each family a coin says who succeeds at `rate`, and the other does not at all."
    g, least, alarms, covered = np.random.default_rng(families), least_clusters(5), 0, 0
    labels = np.arange(24) % families
    clusters = clusters_of([f'family {k}' for k in labels])
    for seed in range(150):
        won = g.binomial(1, rate, 24)
        first = g.integers(0, 2, families)[labels]
        sides = [np.stack([won * side, np.ones(24, int)], 1).tolist() for side in (first, 1 - first)]
        p, said = paired_test(*sides, seed=seed, clusters=clusters, swaps=199, least=least)
        assert (p is None) == (families < 8) and (p is not None or said == f'{families} families, a test needs 8')
        by_family, _ = paired_test(*sides, seed=seed, clusters=clusters, swaps=199)
        alarms += by_family < 0.05  # also where no p is shown
        covered += holds(difference(*sides, clusters=clusters), 0)
    assert alarms / 150 <= 0.06 and covered / 150 >= 0.92


def edits(g, families, jobs, had, wastes):
    "`[waste, needed]` of one player: `had` is the share of jobs with edits, and a third of those has no needed tokens."
    labels = np.arange(jobs) % families
    tried, rare = g.random(jobs) < had, g.random(jobs) < wastes
    needed = g.geometric(0.1, jobs) * tried * (g.random(jobs) < 2 / 3)
    waste = np.exp(g.normal(2, 1, jobs)) * tried * rare
    return np.stack([np.round(waste), needed], 1), Clusters(labels.tolist(), 'family')


@pytest.mark.parametrize('families, jobs, had', [(8, 12, (0.9, 0.9)), (12, 30, (0.9, 0.9)), (12, 30, (0.9, 0.5))])
def test_false_alarms_of_overhead_with_empty_denominators(families, jobs, had):
    g, ps = np.random.default_rng(jobs), []
    for seed in range(250):
        (a, clusters), (b, _) = (edits(g, families, jobs, h, 0.4) for h in had)
        p, _ = paired_test(a.tolist(), b.tolist(), 'excess', seed, clusters, swaps=199)
        ps.append(1 if p is None else p)
    assert np.mean(np.array(ps) < 0.05) <= 0.07


@pytest.mark.parametrize('rate, shift', [(0.02, 0), (0.5, 0), (0.98, 0), (0.5, 0.2), (0.9, -0.3)])
@pytest.mark.parametrize(
    'families, jobs, calls', [(3, 24, (1, 1)), (12, 12, (1, 1)), (10, 30, (1, 1)), (16, 80, (6, 3))]
)
def test_coverage_of_differences(rate, shift, families, jobs, calls):
    g = np.random.default_rng(jobs)
    a, b, clusters = two_players(g, rate, families, jobs, calls, shift=shift, trials=250)
    draws = g.beta(rate * 7 / 3, (1 - rate) * 7 / 3, 100_000)
    truth = float((np.clip(draws + shift, 0, 1) - draws).mean())
    ends = [difference(x, y, clusters=clusters) for x, y in with_values(a, b)]
    assert np.mean([holds(i, truth) for i in ends]) >= 0.92


def test_the_tests_see_what_is_there():
    g = np.random.default_rng(1)
    a, b, clusters = two_players(g, 0.4, 12, 36, (1, 1), shift=0.4, trials=60)
    assert np.mean([swap_test(x, y, 199, 0, clusters) < 0.05 for x, y in zip(a, b)]) > 0.8
    a, b, clusters = two_players(g, 0.7, 12, 36, (8, 3), shift=-0.4, trials=40)
    seen = [paired_test(x.tolist(), y.tolist(), clusters=clusters, swaps=199)[0] < 0.05 for x, y in with_values(a, b)]
    assert np.mean(seen) > 0.8


def test_nothing_against_nothing_is_not_known_exactly():
    i = difference([[0, 1]] * 12, [[0, 1]] * 12)
    assert (i.value, i.low, i.high) == (0, pytest.approx(-0.2425, abs=1e-3), pytest.approx(0.2425, abs=1e-3))
    widths = [difference([[0, 1]] * n, [[0, 1]] * n).high for n in (6, 12, 30, 200)]
    assert widths == sorted(widths, reverse=True)
    assert difference([[0, 9]] * 12, [[0, 9]] * 12, 'excess').high > 0.2


def test_newcombe_1998():
    "Method 10 on the table 36, 12, 2, 0 of that paper, but for its correction of the correlation."
    won, lost, both = ([0, 1], [1, 1]), ([1, 1], [0, 1]), ([1, 1], [1, 1])
    a, b = zip(*[won] * 12 + [lost] * 2 + [both] * 36)
    i = difference(list(a), list(b))
    assert (round(i.value, 9), i.low, i.high) == (0.2, pytest.approx(0.057, abs=2e-3), pytest.approx(0.340, abs=2e-3))


PLANTED = {
    'six of twelve': ([[0, 10]] * 12, [[50, 0]] * 6 + [[0, 10]] * 6),  # 0 -> 500 %
    'ten of twenty': ([[0, 20]] * 20, [[100, 0]] * 10 + [[0, 20]] * 10),
    'no edit was needed': ([[0, 0]] * 6 + [[0, 10]] * 6, [[60, 0]] * 6 + [[0, 12]] * 6),
}


@pytest.mark.parametrize('case', PLANTED)
def test_waste_without_a_denominator_is_seen(case):
    clean, wasteful = PLANTED[case]
    assert swap_test(clean, wasteful) < 0.05
    p, test = paired_test(clean, wasteful, 'excess')
    assert p < 0.05 and 'swap test' in test
    i = difference(clean, wasteful, 'excess')
    assert i.value >= 4 and i.low > 0
    assert paired_test(wasteful, clean, 'excess')[0] < 0.05


def test_a_side_without_a_denominator_has_no_test():
    for a, b in (([[0, 0]] * 9, [[1, 2]] * 9), ([[4, 0]] * 9, [[1, 2]] * 9), ([], [])):
        assert paired_test(a, b, 'excess') == (None, 'no test: a side has nothing in the denominator')
        assert math.isnan(swap_test(a, b)) and difference(a, b, 'excess').value is None and jobs_needed(a, b) is None


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 4)] * 4), min_size=1, max_size=9), st.integers(1, 9))
def test_no_counts_stop_a_test(rows, families):
    a, b = [[r[0], r[1]] for r in rows], [[r[2], r[3]] for r in rows]
    clusters = Clusters([i % families for i in range(len(rows))], 'family')
    p, _ = paired_test(a, b, 'excess', 0, clusters)
    assert (p is None) == (not sum(x[1] for x in a) or not sum(x[1] for x in b)) and (p is None or 0 < p <= 1)
    back, _ = paired_test(b, a, 'excess', 0, clusters)
    assert (p is None and back is None) or abs(p - back) < 0.02  # the sides may change places
    jobs_needed(a, b, clusters)


# --- how many jobs


def test_one_job_that_differs_promises_little():
    a, b = [[0, 1]] * 12, [[1, 1]] + [[0, 1]] * 11
    assert mcnemar_jobs(1 / 12, 1 / 12) < 100 < jobs_needed(a, b)  # the discordance that was seen, and what it may be
    assert jobs_needed(a, b, tests=5) >= 12 + 7 * 12  # at least eight jobs that differ, one in twelve does
    assert jobs_needed(a, a) is None
    clusters = Clusters([i // 4 for i in range(48)], 'family')
    apart, together = ([[0, 1]] * 48, [[int(k), 1] for k in won]) if (won := [i < 8 for i in range(48)]) else None
    assert jobs_needed(apart, together, clusters) > jobs_needed(apart, together) > 48


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=40), st.integers(1, 6))
def test_more_jobs_than_there_are(rows, tests):
    a, b = [[x, 1] for x, _ in rows], [[y, 1] for _, y in rows]
    need = jobs_needed(a, b, tests=tests)
    assert (need is None) == (sum(x for x, _ in rows) == sum(y for _, y in rows)) and (need is None or need > len(rows))


# --- training seeds


@pytest.mark.parametrize('seeds, sd', [(3, 0.0), (3, 0.1), (5, 0.1)])
@pytest.mark.parametrize('rate', [0.5, 0.9])
def test_coverage_over_training_seeds(seeds, sd, rate):
    "Jobs differ in difficulty, seeds in skill: the interval is of the recipe, over other jobs and other seeds."
    g, hits = np.random.default_rng(seeds), 0
    for _ in range(300):
        job = g.beta(rate * 3, (1 - rate) * 3, 40)
        luck = np.clip(g.normal(0, sd, seeds), -2 * sd, 2 * sd)
        played = [np.stack([g.binomial(1, np.clip(job + x, 0, 1)), np.ones(40, int)], 1).tolist() for x in luck]
        s = over_seeds(played)
        hits += holds(s, rate)
    assert hits / 300 >= 0.90


@pytest.mark.parametrize('families', [3, 8])
@pytest.mark.parametrize('rate', [0.1, 0.5])
def test_coverage_over_training_seeds_and_families(families, rate):
    g, hits, alone = np.random.default_rng(families), 0, 0
    clusters = clusters_of([f'family {i % families}' for i in range(24)])
    for _ in range(200):
        skill = g.beta(rate * 7 / 3, (1 - rate) * 7 / 3, families)[np.arange(24) % families]
        luck = np.clip(g.normal(0, 0.05, 3), -0.1, 0.1)
        played = [np.stack([g.binomial(1, np.clip(skill + x, 0, 1)), np.ones(24, int)], 1).tolist() for x in luck]
        hits += holds(over_seeds(played, clusters=clusters), rate)
        alone += holds(over_seeds(played), rate)
    assert hits / 200 >= 0.92 and hits > alone  # over jobs alone it would be narrower
    assert families > 3 or alone / 200 < 0.92


def test_seeds_in_words():
    clusters = clusters_of([f'f{i % 8}' for i in range(24)])
    s = over_seeds([[[1, 1]] * k + [[0, 1]] * (24 - k) for k in (7, 5, 9)], clusters=clusters)
    assert str(s).startswith('7, 5 and 9 of 24 (29.2 %; ') and str(s).endswith(' over 3 seeds and 8 families)')
    s = over_seeds([[[1, 1]] * 3 + [[0, 0]], [[1, 1]] * 4])
    assert str(s).startswith('3 of 3 and 4 of 4 (100.0 %; ') and str(over_seeds([[[0, 0]]] * 2)) == '–'


def test_seeds_that_differ_widen_the_interval():
    def played(*wins):
        return [[[1, 1]] * w + [[0, 1]] * (40 - w) for w in wins]

    same, apart, alone = (over_seeds(played(*w)) for w in ((30, 30, 30), (24, 30, 36), (30,)))
    assert same.value == apart.value == alone.value == 0.75
    assert (apart.least, apart.most, apart.sd) == (0.6, 0.9, pytest.approx(0.15))
    assert apart.high - apart.low > same.high - same.low >= 0.99 * (alone.high - alone.low) and alone.sd is None
    right = over_seeds(played(40, 40, 40))
    assert right.high == 1 and right.low == pytest.approx(wilson(40, 40)[0], abs=0.01)
    none = over_seeds([[[0, 0]] * 4, [[1, 1]] * 4])
    assert none.seeds == [None, 1.0] and none.low is None and '1 of 2 seeds' in none.method
    tokens = over_seeds([[[900, 1]] * 9, [[1000, 1]] * 9, [[1100, 1]] * 9], 'mean')
    assert tokens.value == 1000 and tokens.low < 900 and tokens.high > 1100
    with pytest.raises(ValueError, match='the same jobs'):
        over_seeds([[[1, 1]] * 3, [[1, 1]] * 4])


def test_the_same_numbers_again():
    a, b, clusters = two_players(np.random.default_rng(0), 0.6, 14, 30, (5, 5), trials=1)
    once, again = (
        [paired_test(a[0], b[0], k, 1, clusters), difference(a[0], b[0], k, 0.95, 1, clusters)] for k in ('mean',) * 2
    )
    assert once == again


def test_a_number_without_a_value_keeps_its_unit():
    "What is needed is told in families, too, where nothing stands in the denominator."
    i = interval([[3, 0]] * 5, 'excess', clusters=Clusters(list('aabbc'), 'family', there=10))
    assert (i.value, i.unit, i.there) == (None, 'family', 10)
