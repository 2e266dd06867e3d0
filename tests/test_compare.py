"Paired statistics: known values, calibration, and verdicts that are not given away."

import math

import pytest

from agentft.core.intervals import clusters_of, interval, wilson
from agentft.core.metrics import TARGETS, five
from agentft.core.records import Job, Message, Outcome, Turn, Usage
from agentft.evaluation.comparison import (
    BETTER,
    Pairs,
    compare,
    compare_counts,
    compare_rows,
    holm,
    needed_words,
    verdict_words,
)
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
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.04), None, pytest.approx(0.09), pytest.approx(0.09)]


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
    assert f'about {c.jobs_needed:,} jobs' == compare_rows(res)[3]['needed'] == needed_words(c)
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
    'families, unit, verdict',
    [
        (1, 'job', 'better, about this family only'),
        (2, 'family', 'not enough evidence: 2 families, a test needs 8'),
        (7, 'family', 'not enough evidence: 7 families, a test needs 8'),
        (8, 'family', 'better'),
        (20, 'family', 'better'),
    ],
)
def test_families_are_the_unit_wherever_there_are_two(families, unit, verdict):
    res, _ = compare(in_families(2, 40, families), in_families(36, 40, families))
    c = res['task_success']
    assert (verdict_words(c), c.unit, c.one_family) == (verdict, unit, families == 1)
    assert c.clusters == (40 if unit == 'job' else families) and (c.p is None) == (1 < families < 8)
    assert c.test == ('exact McNemar' if unit == 'job' else c.why or 'paired swap test')
    if 1 < families < 8:  # what is missing is families, and not jobs
        assert needed_words(c) == f'about 8 families ({320 // families + (320 % families > 0)} jobs)'
        assert c.low < c.difference < c.high and c.high - c.low > 0.3


@pytest.mark.parametrize('families', [3, 7])
def test_a_suite_with_too_few_families_is_described_and_not_tested(families):
    played = in_families(2, 40, families), in_families(36, 40, families)
    c = compare(*played, there=families)[0]['task_success']
    assert verdict_words(c) == f'described, not tested: this suite has {families} families, a test needs 8'
    assert needed_words(c) == '' and c.p is None
    asked_for_few = compare(*played, there=20)[0]['task_success']
    assert verdict_words(asked_for_few) == f'not enough evidence: {families} families, a test needs 8'
    assert 'not to be shown' not in needed_words(asked_for_few)
    assert verdict_words(compare(*(in_families(n, 40, 8) for n in (2, 36)), there=8)[0]['task_success']) == 'better'


def test_nothing_is_asked_for_that_the_suite_does_not_have():
    "A small difference takes many families; more jobs of each make up for some, and else it is not to be shown."
    played = in_families(14, 40, 20), in_families(18, 40, 20)
    free, wide, narrow = (compare(*played, there=n)[0]['task_success'] for n in (0, 30, 20))
    assert free.clusters_needed > 30 and needed_words(free).startswith(f'about {free.clusters_needed} families (')
    assert needed_words(wide).startswith('about 30 families (') or 'this suite has 30: not' in needed_words(wide)
    assert needed_words(narrow).endswith('families, this suite has 20: not to be shown here')


def test_edits_in_few_families_are_not_tested():
    "Twelve families, of which three have edits on both sides: the reason names them."
    base, tuned = in_families(0, 24, 12), in_families(24, 24, 12)
    res, _ = compare(base, tuned)
    assert res['task_success'].verdict == 'better' and res['edit_precision'].p is None
    pairs = Pairs(*[[dict(edit_precision=[x, 9] if i % 12 < 3 else [0, 0]) for i in range(24)] for x in (0, 40)], [])
    c = compare_counts('edit_precision', pairs, tests=5, clusters=clusters_of([f'f{i % 12}' for i in range(24)]))
    assert (c.p, c.why) == (None, '3 families with edits, a test needs 8')


def billed(tokens, wins, name):
    "One job each of ten families: `tokens` on the bill, and success in the first `wins`."
    jobs = in_families(wins, len(tokens), 10, name)
    for job, n in zip(jobs, tokens):
        job.turns = [Turn('tactical', Message('assistant'), usage=Usage(n, 1))]
    return jobs


def test_who_gives_up_is_not_better_on_tokens_and_meets_nothing():
    told, quits = billed([1000] * 20, 20, 'told'), billed([40] * 20, 0, 'quits')
    c = compare(told, quits)[0]['tokens_per_job']
    assert (c.verdict, c.p, c.difference, c.jobs) == ('not enough evidence', None, None, 0)
    assert verdict_words(c) == 'not enough evidence: no job in which both succeed'
    assert (c.baseline.value, c.candidate.value) == (1001, 41)  # shown over all jobs
    m = five(quits, baseline=told)['tokens_per_job']
    assert (m.meets, m.needs) == ('not shown', 'no job in which both succeed')
    assert str(m.companions['vs_baseline']) == '-95.9% (820/20,020)'
    thrifty = billed([500 + i for i in range(20)], 20, 'thrifty')
    assert compare(told, thrifty)[0]['tokens_per_job'].verdict == 'better'
    assert five(thrifty, baseline=told)['tokens_per_job'].meets == 'yes'
    some = billed([500 + i for i in range(20)], 3, 'some')  # right in three families only
    c = compare(told, some)[0]['tokens_per_job']
    assert verdict_words(c) == 'not enough evidence: 3 families in which both succeed, a test needs 8'
    assert five(some, baseline=told)['tokens_per_job'].meets != ''


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
