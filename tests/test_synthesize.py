"""Phase 2 from end to end: what comes out, what is turned away, and what a kill leaves behind."""

import inspect
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentft.arena.catalogue import EVAL_SEED, FAMILIES, make_task, trained_on
from agentft.arena.faults import FAULTS, Faulty
from agentft.arena.players import Expert, play
from agentft.checks.execution import check_execution
from agentft.checks.rules import check_rules, example_task
from agentft.checks.splits import groups, split_jobs
from agentft.core.records import Example, Message, Preference, read_jsonl, write_jsonl
from agentft.data.expansion import _requests, answer_example
from agentft.data.seeds import Rejected, Seed, check_seeds, read_seeds, seed_task
from agentft.data.variations import OfflineTeacher, Request, made_of
from agentft.evidence.failures import detect
from agentft.phases.synthesize import synthesize
from agentft.teachers.questions import Store
from agentft.workbench.recipes import notebook_of, notebook_parameters
from agentft.workbench.runs import is_finished, read_result, write_result

SEEDS = Path(__file__).resolve().parent.parent / 'seeds'
FILES = 'examples.jsonl preferences.jsonl rejected.jsonl split.json'.split()


def phase1(folder, finished=True):
    "A small phase 1: every fault once, the expert between them, and jobs that must not be learned from."
    seen = [f for f in FAMILIES if FAMILIES[f].seen]
    jobs = [
        play(make_task(seen[i % len(seen)], 100 + i), p)
        for i, p in enumerate(x for m in FAULTS for x in (Faulty(m), Expert()))
    ]
    jobs.append(play(make_task('notes', 7), Expert()))  # held-out family
    jobs.append(play(make_task('config', EVAL_SEED + 3), Expert()))  # a job of the evaluation
    cut = play(make_task('rename', 5), Expert())
    cut.id = 'cut'
    cut.turns[2].meta['results'] = 'preview'
    jobs.append(cut)
    write_jsonl(folder / 'failures.jsonl', [f for j in jobs for f in detect(j)])
    write_jsonl(folder / 'jobs.jsonl', jobs)
    if finished:
        write_result(folder, 'collect', {})
    return jobs


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    d = tmp_path_factory.mktemp('run')
    jobs = phase1(d / '1-collect')
    synthesize(out=str(d / '2-synthesize'), seeds=str(SEEDS), n_examples=60)
    out = d / '2-synthesize'
    return dict(
        out=out,
        jobs=jobs,
        examples=read_jsonl(out / 'examples.jsonl', Example),
        pairs=read_jsonl(out / 'preferences.jsonl', Preference),
        rejected=read_jsonl(out / 'rejected.jsonl', Rejected),
        split=json.loads((out / 'split.json').read_text()),
        result=read_result(out),
    )


def test_every_example_is_right_when_it_is_played_again(run):
    assert len(run['examples']) == 60
    for e in run['examples']:
        task = example_task(e)
        assert check_rules(e) == [] and check_execution(e, task) == [] and 'execution' in e.verified
        assert e.messages[0].role == 'system' and sum(e.weights) > 0
        assert all(m.role == 'assistant' for m, w in zip(e.messages, e.weights) if w)


def test_a_wrong_turn_stays_as_context_and_is_not_trained(run):
    recovered = [e for e in run['examples'] if e.meta['wrong_turns']]
    assert recovered
    for e in recovered:
        for m, w, after in zip(e.messages, e.weights, [*e.messages[1:], Message('user')]):
            if m.role == 'assistant' and (not m.tool_calls or after.ok is False):
                assert w == 0
        assert len(e.meta['wrong_turns']) == sum(m.role == 'assistant' and not w for m, w in zip(e.messages, e.weights))


def test_nothing_of_the_evaluation_is_trained_on(run):
    for e in run['examples']:
        assert all(FAMILIES[f].seen and n < EVAL_SEED for f, n in e.meta['arena'])
        assert e.family not in FAMILIES or FAMILIES[e.family].seen
    why = {(r.id, r.reason) for r in run['rejected']}
    assert ('notes-7-expert', 'held_out_family') in why
    assert any(r.reason == 'reserved_seed' and f'config-{EVAL_SEED + 3}-expert' in r.parents for r in run['rejected'])


def test_nothing_is_silently_dropped(run):
    used = {p for e in run['examples'] if e.meta['origin'] == 'job' for p in e.parents}
    refused = {p for r in run['rejected'] if r.source == 'jobs' for p in [r.id, *r.parents]}
    assert {j.id for j in run['jobs']} <= used | refused
    assert not used & {r.id for r in run['rejected']}
    assert all(r.reason and r.source for r in run['rejected'])
    assert ('cut', 'incomplete_conversation') in {(r.id, r.reason) for r in run['rejected']}
    asked = Store(run['out'] / 'answers.sqlite').all()
    assert len(asked) == sum(e.meta['origin'] == 'teacher' for e in run['examples']) + sum(
        r.source == 'teacher' for r in run['rejected']
    )
    assert all(a.offline for a in asked.values())


def test_relatives_stand_on_one_side(run):
    side = {}
    for r in run['examples'] + run['pairs']:
        for p in [r.id, *r.parents]:
            assert side.setdefault(p, r.split) == r.split
    assert {e.split for e in run['examples']} == {'train', 'valid'}
    assert set(run['split']['train']) | set(run['split']['valid']) == {r.id for r in run['examples'] + run['pairs']}


def test_pairs_differ_in_the_first_action_and_quote_evidence(run):
    assert run['pairs']
    for p in run['pairs']:
        assert p.chosen != p.rejected and p.rejected_why and p.context[-1].role in ('user', 'tool')
    assert any(p.meta.get('players') == 'scripted' for p in run['pairs'])


def test_the_same_parameters_give_the_same_files(run, tmp_path):
    phase1(tmp_path / '1-collect')
    synthesize(out=str(tmp_path / '2-synthesize'), seeds=str(SEEDS), n_examples=60)
    for f in FILES:
        assert (tmp_path / '2-synthesize' / f).read_bytes() == (run['out'] / f).read_bytes(), f
    synthesize(out=str(tmp_path / 'other'), collect_dir='none', seeds=str(SEEDS), n_examples=60, seed=1)
    other = {e.id for e in read_jsonl(tmp_path / 'other' / 'examples.jsonl', Example)}
    assert not other & {e.id for e in run['examples']}


def test_what_fails_more_gets_more(run, tmp_path):
    jobs = [play(make_task('rename', i), Faulty('failed_edit')) for i in range(5)]
    write_jsonl(tmp_path / '1-collect' / 'jobs.jsonl', jobs)
    write_jsonl(tmp_path / '1-collect' / 'failures.jsonl', [f for j in jobs for f in detect(j)])
    write_result(tmp_path / '1-collect', 'collect', {})
    synthesize(out=str(tmp_path / '2-synthesize'), seeds=str(SEEDS), n_examples=40, jobs_share=0.0)
    quota = read_result(tmp_path / '2-synthesize')['numbers']['quota']
    assert (
        quota['edit/rename'] == max(quota.values())
        and quota['edit/rename'] > 3 * quota['edit/config']
        and quota['compact/compact'] > 0
    )


def test_a_killed_run_asks_only_for_what_is_missing(tmp_path):
    args = [
        sys.executable,
        '-c',
        f'from agentft.phases.synthesize import synthesize; synthesize(out={str(tmp_path / "a")!r}, collect_dir="none", seeds={str(SEEDS)!r}, n_examples=120)',
    ]
    p = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    store = tmp_path / 'a' / 'answers.sqlite'
    until = time.time() + 60
    while time.time() < until and p.poll() is None and not (store.exists() and len(Store(store).all()) > 10):
        time.sleep(0.005)
    p.send_signal(signal.SIGKILL)
    p.wait()
    assert not is_finished(tmp_path / 'a') and not [f for f in FILES if (tmp_path / 'a' / f).exists()]
    kept = Store(store).all()
    assert kept
    synthesize(out=str(tmp_path / 'a'), collect_dir='none', seeds=str(SEEDS), n_examples=120)
    synthesize(out=str(tmp_path / 'b'), collect_dir='none', seeds=str(SEEDS), n_examples=120)
    for f in FILES:
        assert (tmp_path / 'a' / f).read_bytes() == (tmp_path / 'b' / f).read_bytes(), f
    after = Store(store).all()
    assert list(after.items())[: len(kept)] == list(kept.items())  # what was there was not asked again


def test_bad_input_says_what_to_do(tmp_path):
    phase1(tmp_path / '1-collect', finished=False)
    with pytest.raises(FileNotFoundError, match='has not finished'):
        synthesize(out=str(tmp_path / '2-synthesize'), seeds=str(SEEDS))
    with pytest.raises(FileNotFoundError, match='not finished'):
        synthesize(out=str(tmp_path / 'x'), collect_dir=str(tmp_path / 'nowhere'), seeds=str(SEEDS))
    with pytest.raises(ValueError, match="there is no teacher 'nobody'"):
        synthesize(out=str(tmp_path / 'x'), collect_dir='none', teacher='nobody')
    with pytest.raises(FileNotFoundError, match='is no folder'):
        synthesize(out=str(tmp_path / 'x'), collect_dir='none', seeds=str(tmp_path / 'none'))
    assert not is_finished(tmp_path / 'x')


def test_a_broken_seed_is_rejected_and_the_rest_is_used(tmp_path):
    d = tmp_path / 'seeds'
    d.mkdir()
    (d / 'edit.jsonl').write_text(
        '{"id": "ok", "behaviour": "edit", "family": "config", "seed": 4}\n{"id": "torn", "behav\n'
        '{"id": "held", "behaviour": "edit", "family": "changelog", "seed": 4}\n{"id": "odd", "behaviour": "edit", "family": "config", "colour": 1}\n'
    )
    synthesize(out=str(tmp_path / 'out'), collect_dir='none', seeds=str(d), n_examples=6)
    assert len(read_jsonl(tmp_path / 'out' / 'examples.jsonl')) == 6
    reasons = [r.reason for r in read_jsonl(tmp_path / 'out' / 'rejected.jsonl', Rejected) if r.source == 'seeds']
    assert sorted(reasons) == ['held_out_family', 'unreadable_seed', 'unreadable_seed']


def test_starter_seeds_can_all_be_played_and_varied(tmp_path):
    seeds = read_seeds(SEEDS)
    good, bad = check_seeds(seeds)
    assert not bad and {s.behaviour for s in good} == {'todo', 'edit', 'phase', 'compact', 'tools', 'notes'}
    answers = OfflineTeacher(tmp_path / 'a.sqlite').ask(
        [Request(k, s, i) for s in good for k in ('vary', 'evolve') for i in range(4)]
    )
    for a in answers:
        if a.error:
            continue

        class Said(Expert):
            def script(self, task, rules):
                return made_of(a).said

        assert play(seed_task(made_of(a).seed), Said()).outcome.status == 'success', made_of(a).seed.note
    assert sum(bool(a.error) for a in answers) < len(answers) / 20


@pytest.mark.parametrize('family', trained_on())
def test_every_family_gives_harder_jobs(family, tmp_path):
    "Those with several calls in one message, and those in which nothing may be changed, too; the expert does them."
    seed = Seed(f'arena-{family}', FAMILIES[family].behaviour, family, 3, author='arena')
    requests = [Request('evolve', seed, k) for k in range(8)]
    answers = OfflineTeacher(tmp_path / 'answers.sqlite').ask(requests)
    played = [answer_example(a, seed.behaviour) for a in answers if not a.error]
    assert len(played) >= 4
    assert [e.reason for e in played if isinstance(e, Rejected)] == []
    assert all(not check_execution(e, example_task(e)) for e in played)


def test_a_share_of_all_requests_asks_for_a_harder_job():
    "Also where no pair of behaviour and family has ten of its own."
    pairs = [('edit', name) for name in ('config', 'rename', 'constant', 'remove')]
    at, asked = {p: [Seed('s', *p, 1)] for p in pairs}, Counter()
    requests = _requests([p for p in pairs for _ in range(5)], at, asked, 0, 0.2)
    assert Counter(r.kind for r in requests) == dict(evolve=4, vary=16)
    assert {f for r in requests for f in r.families} == {name for _, name in pairs}  # a second task is of these


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 12).map(lambda i: f'p{i}'), max_size=3), min_size=1, max_size=25),
    st.floats(0, 0.6),
)
def test_no_split_separates_relatives(parents, share):
    rows = [
        Example([Message('user', str(i)), Message('assistant', 'x')], family=f'f{i % 3}', parents=p)
        for i, p in enumerate(parents)
    ]
    g = groups({r.id: r.parents for r in rows})
    split_jobs(rows, share)
    side = {}
    for r in rows:
        assert side.setdefault(g[r.id], r.split) == r.split
        for p in r.parents:
            assert side.setdefault(p, r.split) == r.split
    assert any(r.split == 'train' for r in rows)


def test_notebook_and_function_have_the_same_parameters():
    sig = {
        k: v.default for k, v in inspect.signature(getattr(synthesize, '__wrapped__', synthesize)).parameters.items()
    }
    assert {k: v[1] for k, v in notebook_parameters(notebook_of('synthesize')).items()} == sig


def test_real_jobs_become_examples():
    import os

    folder = Path(os.environ.get('AGENTFT_AUDIT', Path(__file__).resolve().parents[2] / 'shared' / 'audit')) / 'dump'
    if not folder.is_dir():
        pytest.skip(f'no audit documents at {folder}: set AGENTFT_AUDIT')
    from agentft.checks.gate import Gate, Reserved
    from agentft.checks.rules import untrain
    from agentft.data.expansion import job_example
    from agentft.traces.wanted_jobs import read_jobs

    gate, jobs = Gate(Reserved(2), max_len=100_000), list(read_jobs(folder, {}))
    for j in jobs:
        detect(j)
    made = {j.id: job_example(j) for j in jobs}
    assert all(isinstance(made[j.id], Example) == (j.outcome.status == 'success') for j in jobs)
    kept = [untrain(e) for e in made.values() if isinstance(e, Example)]
    refused = [
        gate(e) for e in kept
    ]  # whole, with system messages in the middle, which templates drop: windows have none
    assert kept and {x.reason for x in refused if x} <= {'role_order'}
    assert {p.kind for e in kept for p in check_rules(e)} <= {'role_order'}
    assert not any('execution' in e.verified for e in kept)  # there is no arena to replay them in
