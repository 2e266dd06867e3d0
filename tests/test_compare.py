"Paired statistics: known values, calibration, and verdicts that are not given away."

import math

import pytest

from agentft.core.metrics import TARGETS, wilson
from agentft.core.records import Job, Outcome
from agentft.evaluation.comparison import BETTER, compare, compare_rows, holm, verdict_line
from agentft.evaluation.statistics import interval, mcnemar, mcnemar_jobs, swap_test


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
    assert (i.value, i.high) == (1.0, 1.0) and i.low < 0.9  # never certain
    assert interval([[3, 2], [0, 0]], proportion=False).method.startswith('no interval')
    assert interval([[30, 2], [5, 0], [1, 9]], proportion=False).value == pytest.approx(
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
    assert f'about {c.jobs_needed}' in str(compare_rows(res)) and 'not enough evidence on' in verdict_line(res)
    assert set(BETTER) == set(TARGETS)


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
