"Paired statistics: known values, calibration, and verdicts that are not given away."

import math

import pytest

from agentft.core.intervals import interval, wilson
from agentft.core.metrics import TARGETS
from agentft.core.records import Job, Outcome
from agentft.evaluation.comparison import BETTER, compare, compare_rows, holm, verdict_line
from agentft.evaluation.statistics import mcnemar, mcnemar_jobs, swap_test


def jobs(wins, n, family='config', name='m', start=0):
    return [
        Job(
            f'{name}{i}',
            'arena',
            family=family,
            meta=dict(task=f'{family}-{i}', seed=i),
            outcome=Outcome('success' if i - start < wins else 'failed', 'checker'),
        )
        for i in range(start, start + n)
    ]


def test_known_values():
    assert mcnemar([1] * 5 + [0] * 15, [1] * 5 + [0] * 5 + [1] * 10) == pytest.approx(2 / 1024)  # 10 won, none lost
    assert mcnemar_jobs(0.10, 0.20) == 155  # Connor 1987, 80 % power
    assert mcnemar_jobs(0, 0.2) is None and mcnemar_jobs(0.3, 0.2) is None
    assert wilson(0, 0) == (0, 1) and wilson(24, 24)[1] == 1 and wilson(24, 24)[0] == pytest.approx(0.862, abs=1e-3)
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]


def test_a_ratio_without_jobs_or_spread():
    assert interval([]).value is None and interval([[0, 0]] * 3).value is None
    i = interval([[9, 9]] * 24)
    assert (i.value, i.high) == (1.0, 1.0) and i.low < 0.96  # never certain, and less than 216 observations would be
    assert interval([[3, 2], [0, 0]], 'mean').method.startswith('no interval')
    assert interval([[30, 2], [5, 0], [1, 9]], 'excess').value == pytest.approx(
        36 / 11
    )  # extra without a minimal edit still counts
    assert math.isnan(swap_test([[0, 0]] * 3, [[1, 2]] * 3))


def test_verdicts():
    res, pairs = compare(jobs(2, 24), jobs(20, 24))
    assert res['task_success'].verdict == 'better' and res['task_success'].jobs == 24
    assert res['phase_adherence'].verdict == 'not enough evidence'  # no calls at all: nothing to say
    res, _ = compare(jobs(20, 24), jobs(2, 24))
    assert res['task_success'].verdict == 'worse'
    res, _ = compare(jobs(10, 24), jobs(13, 24))
    c = res['task_success']
    assert c.verdict == 'not enough evidence' and c.jobs_needed > 24
    assert f'about {c.jobs_needed:,}' in str(compare_rows(res)) and 'not enough evidence on' in verdict_line(res)
    assert set(BETTER) == set(TARGETS)


def in_families(wins, n, families, name='m'):
    "`n` jobs, of which the first `wins` succeed, dealt to `families` in turn."
    return [
        Job(
            f'{name}{i}',
            'arena',
            family=f'family {i % families}',
            meta=dict(seed=i),
            outcome=Outcome('success' if i < wins else 'failed', 'checker'),
        )
        for i in range(n)
    ]


@pytest.mark.parametrize(
    'families, unit, few, said',
    [
        (1, 'job', 1, '40 paired jobs; about this family only'),
        (7, 'job', 7, '40 paired jobs; about these 7 families only'),
        (8, 'family', 0, '40 paired jobs in 8 families'),
        (20, 'family', 0, '40 paired jobs in 20 families'),
    ],
)
def test_families_are_the_unit_where_there_are_enough(families, unit, few, said):
    res, _ = compare(in_families(2, 40, families), in_families(36, 40, families))
    c = res['task_success']
    assert (c.verdict, c.unit, c.few_families) == ('better', unit, few) and said in verdict_line(res)
    assert c.test == ('exact McNemar' if unit == 'job' else 'paired swap test')
    assert c.clusters == (40 if unit == 'job' else families)


def test_one_family_that_carries_everything_is_not_enough():
    "Ten families of eight jobs: all of the gain in one of them is 8 jobs of 80, and one cluster of ten."
    base = in_families(0, 80, 10)
    tuned = in_families(0, 80, 10)
    for j in tuned:
        if j.family == 'family 3':
            j.outcome = Outcome('success', 'checker')
    c = compare(base, tuned)[0]['task_success']
    assert mcnemar([0] * 80, [1] * 8 + [0] * 72) < 0.01  # jobs as the unit would call it better
    assert c.verdict == 'not enough evidence' and c.p == 1 and c.low < 0 < c.high


def test_no_rate_stands_without_its_counts():
    res, _ = compare(jobs(2, 24), jobs(20, 24))
    row = compare_rows(res)[3]
    assert row['metric'] == 'task success' and '2/24;' in row['baseline'] and '20/24;' in row['candidate']
    assert ' to ' in row['difference']


def test_unmatched_jobs_are_named():
    _, pairs = compare(jobs(3, 6), jobs(3, 6, start=2))
    assert (
        len(pairs.keys) == 4 and pairs.only_a == ['config-0', 'config-1'] and pairs.only_b == ['config-6', 'config-7']
    )
    with pytest.raises(ValueError, match='no task was played by both'):
        compare(jobs(1, 2), jobs(1, 2, family='table'))
    _, pairs = compare(jobs(3, 3) + jobs(3, 3, name='again'), jobs(3, 3) + jobs(3, 3, name='again'))
    assert len(pairs.keys) == 6  # several plays of a task are paired in order


def test_same_seed_same_numbers():
    a, b = compare(jobs(3, 9), jobs(6, 9))[0], compare(jobs(3, 9), jobs(6, 9))[0]
    assert a == b
