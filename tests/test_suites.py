"Suites: apart from each other, and kept out of training, whichever way a job of theirs comes back."

import random
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from agentft.arena.catalogue import FAMILIES, trained_on
from agentft.arena.players import Expert, play
from agentft.checks.gate import Gate, Reserved
from agentft.core.agent import FULL, SHORT, TOOLS
from agentft.core.contracts import Contract
from agentft.core.metrics import five
from agentft.core.records import Example, from_dict, to_dict
from agentft.data.seeds import Seed, held_kind, read_seeds, seed_task
from agentft.data.suites import STANDARD, SUITES, NearTasks, families_in, first_number, prompt_text, suite_tasks
from agentft.data.variations import MOST_FILES, MOST_TODOS, evolve_seed, vary_seed
from agentft.evaluation.standings import refuse_copies
from agentft.model.loading import load_tokenizer

SEEDS = read_seeds(Path(__file__).resolve().parent.parent / 'seeds')
WRITTEN = {}  # kind of work -> seeds that people spelled out
for seed in SEEDS:
    if seed.steps:
        WRITTEN.setdefault(seed.family, []).append(seed)

QUICK = ('config', 'rename', 'clean_up', 'insert')  # few families, one of them with many files
OPENED = ('', 'a test that it is apart')  # the suites of the development; those of the test, and why


def test_development_and_test_share_nothing():
    "Neither a family nor a kind of seed nor a number of one is in the other; the switch is what opens the test."
    dev, test = ({t.id: t for s in STANDARD for t in suite_tasks(s, 12, final=final)} for final in OPENED)
    assert not set(dev) & set(test)
    held = [{t.family for t in tasks.values() if t.suite in ('families', 'seeds')} for tasks in (dev, test)]
    assert not held[0] & held[1]
    assert all(len([f for f in x if f in FAMILIES]) >= 8 for x in held)  # with work: a paired test needs as many
    seen = {t.family for tasks in (dev, test) for t in tasks.values() if t.suite in ('seen', 'tools', 'full')}
    assert all(FAMILIES[f].seen for f in seen) and not seen & (held[0] | held[1])
    with pytest.raises(ValueError, match='say why'):
        suite_tasks('seen', 1, final=True)


def test_no_job_is_in_two_suites():
    "All pairs of suites, of development and test, of two seeds; only hand-written jobs come back with another seed."
    texts = {}
    for suite in SUITES:
        for seed in (0, 1):
            for final in OPENED:
                tasks = suite_tasks(suite, 30, seed, final=final, contract=Contract(TOOLS))
                texts[suite, seed, final] = {prompt_text(t): t.family for t in tasks}
                assert len(texts[suite, seed, final]) == len(tasks) == 30
    for (a, x), (b, y) in combinations(texts.items(), 2):
        again = {x[text] for text in set(x) & set(y)}
        assert not again or (a[0], a[2]) == (b[0], b[2]) and all(f.startswith('seeds/') for f in again), (a, b, again)


def parts_of(task):
    "The families whose tasks a longer job joins."
    return tuple(task.id.split(':')[1].rsplit('-', 1)[0].split('+'))


@pytest.mark.parametrize('seed', range(3))
def test_longer_jobs_of_different_families_share_no_family(seed):
    "So a group, named by its first family, is one cluster, and there are enough of them for a test."
    for final in OPENED:
        jobs = suite_tasks('longer', 40, seed, final=final)
        groups = {parts_of(t) for t in jobs}
        names = [name for group in groups for name in group]
        assert len(names) == len(set(names)) and {len(group) for group in groups} <= {2, 3}
        assert all(t.family == parts_of(t)[0] for t in jobs) and len({t.family for t in jobs}) == len(groups) >= 8
        places = {group: [i for i, t in enumerate(jobs) if parts_of(t) == group] for group in groups}
        assert max(len(x) for x in places.values()) <= 8  # in turn: none has many of the 40


@pytest.mark.parametrize('families', [(), QUICK])
def test_longer_jobs_have_more_todos_and_files_than_any_training_row(families):
    "Hand-written seeds and what the teacher makes of them and of families keep within a bound; longer jobs are above."
    trained = [s for s in SEEDS if not held_kind(s)]
    made = [Seed(f'{f}-{k}', FAMILIES[f].behaviour, f, k) for f in trained_on(families) for k in range(6)]
    hard = [evolve_seed(s, random.Random(i), s.id, families) for i, s in enumerate(made + trained[::4])]
    assert {s.note for s in hard} >= {'evolved: second', 'evolved: beside'}
    rows = [seed_task(s) for s in trained + made + hard]
    assert max(len(t.items) for t in rows) <= MOST_TODOS and max(len(t.files) for t in rows) <= MOST_FILES
    for final in OPENED:
        longer = suite_tasks('longer', 24, families=families, final=final)
        assert len(longer) == 24 and all(len(t.items) > MOST_TODOS and len(t.files) > MOST_FILES for t in longer)
        lines = sorted(max(text.count('\n') for text in t.files.values()) for t in longer)
        assert lines[12] > 35 and lines[-1] > 80  # files, too, are longer; not in jobs that only move some


def test_deep_files_of_the_third_level_do_not_fit_a_window():
    "And the expert, who reads the part that it needs, changes them nevertheless."
    tokens = load_tokenizer('smollm2-135m')
    for k in range(40):
        t = FAMILIES['deep'].task(k, 3)
        assert len(tokens.encode(t.files[t.deliverables[0]])) > 1536, t.id
        if k % 8 == 0:
            job = play(t, Expert())
            shown = [m.content for m in job.messages() if m.role == 'tool']
            assert job.outcome.status == 'success' and len(tokens.encode(''.join(shown))) < 1536


def test_longer_jobs_of_few_families_end():
    """One family is a group by itself, two are a pair; families without work are in no group, and one whose jobs all
    write the same file can't be many in one."""
    assert {parts_of(t) for t in suite_tasks('longer', 5, families=('insert',))} == {('insert',)}
    assert suite_tasks('longer', 5, families=('config',)) == []
    pair = {parts_of(t) for t in suite_tasks('longer', 5, families=('config', 'insert', 'done_already'))}
    assert [sorted(x) for x in pair] == [['config', 'insert']]
    assert suite_tasks('longer', 5, families=('done_already',)) == []


def test_each_suite_has_its_own_order_of_families():
    "Sixteen jobs of three suites cover more families than sixteen, and all of them come before any comes again."
    suites = ('seen', 'tools', 'full')
    orders = {s: [t.family for t in suite_tasks(s, 16)] for s in suites}
    assert all(len(set(order)) == 16 for order in orders.values())
    assert len(set(map(tuple, orders.values()))) == 3 and len(set().union(*orders.values())) >= 20
    assert [t.id for t in suite_tasks('full', 16)] == [t.id for t in suite_tasks('full', 30)][:16]
    assert orders['seen'] != [t.family for t in suite_tasks('seen', 16, seed=1)]
    assert suite_tasks('longer', 12) == suite_tasks('longer', 12) and first_number('longer') == 1_400_000


def test_families_of_a_suite_are_counted_however_few_jobs_are_asked_for():
    assert len(families_in('families')) == len(families_in('families', final=OPENED[1])) == 9
    assert len(families_in('nothing')) == len(families_in('nothing', final=OPENED[1])) == 8
    assert len(families_in('seen')) > 20 and families_in('seen', families=('insert', 'config')) == ['config', 'insert']
    assert len(families_in('longer')) == 10


@pytest.mark.parametrize('suite', STANDARD)
def test_transcripts_of_every_suite_are_found_in_training(suite):
    "The expert's own, under both rules: with line numbers, its own papers, and files of which it read a part."
    for final in OPENED:
        tasks = suite_tasks(suite, 20, final=final)
        rows = [Example(play(replace(t, max_turns=99), Expert(), r).messages()) for t in tasks for r in (SHORT, FULL)]
        found = []
        for row in rows:
            with pytest.raises(ValueError, match='hold a job of the evaluation') as e:
                refuse_copies(tasks, [row])
            found.append(str(e.value))
        assert len(found) == 40


def test_a_copy_with_other_numbers_is_found_and_another_job_of_the_family_is_none():
    tasks = [t for s in STANDARD for t in suite_tasks(s, 12)]

    def raised(x):
        if isinstance(x, dict):
            return {k: raised(v) for k, v in x.items()}
        if isinstance(x, list):
            return [raised(v) for v in x]
        return re.sub(r'\d+', lambda m: str(int(m[0]) + 1), x) if isinstance(x, str) else x

    index = NearTasks(tasks)
    for t in tasks[::3]:
        if t.objective == 'single':
            continue  # it shows its instruction only: with other numbers it is another job of its family
        row = to_dict(Example(play(t, Expert()).messages()))
        assert index.find(from_dict(Example, row | dict(messages=raised(row['messages']))).messages)[0], t.id
    own = [FAMILIES[f].task(k) for f in trained_on() for k in range(8)]
    unknown = [t.id for t in own if index.find(play(t, Expert()).messages())[0]]
    assert len(unknown) <= 0.01 * len(own), unknown
    assert not [t.id for t in own if index.find(play(t, Expert()).messages(), t)[0]]


@pytest.fixture(scope='module')
def reserved():
    return Reserved(per_suite=12)


@pytest.mark.parametrize('rules', [SHORT, FULL], ids=['short', 'full'])
def test_held_out_seeds_are_refused_as_recorded_rows(reserved, rules):
    "Nobody knows their kind: as people wrote them, and with the other words and wordings that they may get."
    held = [s for s in SEEDS if held_kind(s)]
    assert len(held) >= 80
    for s in held:
        for x in (s, vary_seed(s, random.Random(s.id), 'varied', reword=1)):
            job = play(replace(seed_task(x), max_turns=99), Expert(), rules)
            assert [p.kind for p in reserved.check('', [], messages=job.messages())] == ['near_evaluation_task'], s.id


def test_held_out_seeds_are_refused_by_their_kind_and_under_another_author(reserved):
    gate = Gate(reserved, max_len=100_000)
    for s in [s for s in SEEDS if held_kind(s)][::6]:
        varied = vary_seed(s, random.Random(1), 'varied')
        for x, reason in ((varied, 'held_out_kind'), (replace(s, author='me'), None)):
            job = play(seed_task(x), Expert())
            meta = dict(rules='short', seed=to_dict(x))
            refused = gate(Example(job.messages(), job.tools, family=x.family, meta=meta))
            assert refused and reason in (None, refused.reason), s.id
            assert refused.reason in ('held_out_kind', 'evaluation_task', 'near_evaluation_task'), refused


def test_trained_seeds_are_no_copies(reserved):
    for s in [s for s in SEEDS if s.steps and not held_kind(s)]:
        found = reserved.near.find(play(seed_task(s), Expert()).messages())
        assert not found[0], (s.id, found)


@pytest.mark.parametrize('kind', sorted(WRITTEN))
def test_the_expert_meets_every_target_on_hand_written_seeds(kind):
    "The ceiling, as for the families of the arena: a kind of seeds is a family, too."
    jobs = [play(seed_task(s), Expert()) for s in WRITTEN[kind]]
    numbers = five(jobs)
    assert all(numbers[k].value in (None, 1.0) for k in ('todo_completion', 'phase_adherence', 'task_success'))
    assert numbers['todo_completion'].companions['marked_without_work'].numerator == 0
    assert (numbers['edit_precision'].value or 0) < 0.10, str(numbers['edit_precision'])
