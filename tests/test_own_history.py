"""From a trail, a repository and sessions to trained rows and held-out turns: nothing is lost, and nothing stands on both sides."""

import json
from collections import Counter
from functools import lru_cache

import pytest

from agentft.core.records import Example, Reference, read_jsonl
from agentft.data.own_history import HELD_OUT, phases_without_row
from agentft.data.seeds import Rejected
from agentft.data.verification import check_rules
from agentft.evidence.found import read_found
from agentft.model.chat import ChatFormat
from agentft.model.loading import load_tokenizer
from agentft.phases.collect import collect
from agentft.phases.synthesize import synthesize
from agentft.training.training import encode_rows
from agentft.workbench.recipes import project
from agentft.workbench.runs import read_result

SAMPLES = project() / 'samples' / 'own-history'
MAX_LEN = 1536


@pytest.fixture(scope='module')
def run(tmp_path_factory, monkeypatch_module):
    "Phases 1 and 2 on the samples, without pages."
    folder = tmp_path_factory.mktemp('own')
    monkeypatch_module.setenv('AGENTFT_PAGES', '0')
    collect(
        out=str(folder / '1-collect'),
        source=str(SAMPLES / 'trail'),
        repos=str(SAMPLES / 'repository.bundle'),
        sessions=str(SAMPLES / 'sessions'),
    )
    synthesize(
        out=str(folder / '2-synthesize'),
        n_examples=420,
        jobs_share=0.82,
        edits_share=0.12,
        memory_share=0.05,
        max_len=MAX_LEN,
        n_preferences=0,
    )
    return folder


@pytest.fixture(scope='module')
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as m:
        yield m


@pytest.fixture(scope='module')
def found(run):
    return read_found(run / '1-collect')


@pytest.fixture(scope='module')
def examples(run):
    return read_jsonl(run / '2-synthesize' / 'examples.jsonl', Example)


@pytest.fixture(scope='module')
def references(run):
    return read_jsonl(run / '2-synthesize' / 'references.jsonl', Reference)


@pytest.fixture(scope='module')
def numbers(run):
    return read_result(run / '2-synthesize')['numbers']


@pytest.fixture(scope='module')
def turns(run):
    return json.loads((run / '2-synthesize' / 'turns.json').read_text())


@lru_cache
def fmt():
    return ChatFormat(load_tokenizer())


def one_of(examples, origin, **meta):
    "An example of that origin that comes from a history."
    return next(e for e in examples if e.meta['origin'] == origin and all(k in e.meta for k in meta))


def trained_text(e):
    ids, labels = fmt().encode(e.messages, e.tools, e.weights)
    return fmt().tokenizer.decode([y for y in labels if y >= 0])


def test_a_commit_a_session_and_an_audit_job_reach_a_trained_row(found, examples):
    "Each of them is followed to the tokens that are trained."
    jobs = {j.id: j for j in found.jobs}
    edits = {e.commit: e for e in found.edits}
    job = next(e for e in examples if e.meta['origin'] == 'job' and e.behaviour == 'edit')
    session = next(e for e in examples if e.meta['origin'] == 'session' and 'window' in e.meta)
    commit = next(e for e in examples if e.meta['origin'] == 'git')
    for e in (job, session, commit):
        rows, skipped = encode_rows([e], fmt().tokenizer, MAX_LEN)
        assert len(rows) == 1 and not skipped and any(y >= 0 for y in rows[0]['labels'])
    assert jobs[job.parents[0]].source == 'export'
    recorded = [c for i in job.meta['turns'] for c in jobs[job.parents[0]].turns[i].said.tool_calls]
    assert all(f'"name":"{c.name}"' in trained_text(job) for c in recorded)
    assert jobs[session.parents[0]].source == 'claude_code'
    sha = next(p.split('/')[-1] for p in commit.parents if p.split('/')[-1] in edits)
    new = edits[sha].edits[0][1]
    assert not new.strip() or new.strip().splitlines()[0][:20] in trained_text(commit).replace('\\n', '\n').replace(
        '\\"', '"'
    )


def test_every_kind_that_was_found_is_accounted_for(found, numbers):
    came = {f['kind']: f for f in numbers['flows']}
    assert came['turns of recorded jobs']['came'] == sum(len(j.turns) for j in found.jobs)
    assert came['edits']['came'] == len(found.edits) and came['versions of memory files']['came'] == len(found.memory)
    for f in came.values():
        assert f['came'] == f['kept'] + f['held_out'] + sum(f['reasons'].values())
    assert came['turns of recorded jobs']['kept'] and came['edits']['kept']


def test_each_turn_is_counted_once(found, turns, numbers, examples):
    assert sorted((t['job'], t['turn']) for t in turns) == sorted(
        (j.id, i) for j in found.jobs for i in range(len(j.turns))
    )
    trained = {(t['job'], t['turn']) for t in turns if t['why'] == 'trained'}
    rows = {(e.parents[0], i) for e in examples if 'window' in e.meta for i in e.meta['turns']}
    assert trained == rows and len(trained) == numbers['turns']['trained']
    assert numbers['turns']['trained'] >= 0.85 * numbers['turns']['right']


def test_every_successful_job_gives_a_row_of_work_for_each_phase(found, examples, turns):
    "With room for all rows."
    whys = {(t['job'], t['turn']): '' if t['why'] == 'trained' else t['why'] for t in turns}
    held = {t['job'] for t in turns if t['why'] == HELD_OUT}
    from types import SimpleNamespace

    recorded = [j for j in found.jobs if j.id not in held]
    assert phases_without_row(recorded, SimpleNamespace(turns=whys)) == []
    works = Counter((e.parents[0], e.agent_phase) for e in examples if 'window' in e.meta and e.meta['work'])
    successful = [j for j in recorded if j.outcome.status == 'success' and j.source == 'export']
    assert successful and all(works[j.id, phase] for j in successful for phase in ('strategic', 'tactical'))


def test_held_out_jobs_and_code_bases_are_on_one_side(found, examples, references):
    held = {r.group for r in references}
    assert held and {r.source for r in references} >= {'export'}
    for e in examples:
        assert not held & {e.meta.get('group'), *e.parents}, e.parents
    kept_repos = {e.repo_id for e in found.edits if any(e.commit in p for x in examples for p in x.parents)}
    assert not kept_repos & held


def test_references_are_right_turns_with_their_context(references):
    assert len(references) > 50
    assert {r.agent_phase for r in references} >= {'strategic', 'tactical'}
    for r in references:
        assert r.said.tool_calls and r.basis in ('outcome', 'effect')
        assert r.messages[0].role == 'system' and not r.messages[-1].tool_calls


def test_rows_pass_the_gate_again_and_fit(examples):
    for e in examples:
        assert check_rules(e) == []
        assert e.meta['tokens'] == len(fmt().encode(e.messages, e.tools)[0]) <= MAX_LEN


def test_what_was_turned_away_has_a_reason(run):
    for x in read_jsonl(run / '2-synthesize' / 'rejected.jsonl', Rejected):
        assert x.reason and x.source


def test_another_fold_holds_out_other_jobs(found):
    from agentft.data.own_history import held_out_groups

    folds = [held_out_groups(found, 0.25, fold) for fold in range(4)]
    trail = {j.id for j in found.jobs if j.source == 'export'}
    once = Counter(g for fold in folds for g in fold if g in trail)
    assert set(once.values()) == {1} and len(once) >= 20


def test_a_job_that_was_run_twice_stands_on_one_side(found):
    from dataclasses import replace

    from agentft.data.own_history import held_out_groups, join_groups
    from agentft.data.windows import group_of

    first = next(j for j in found.jobs if j.source == 'export' and j.outcome.status == 'success')
    again = replace(first, id='run-again', meta=dict(first.meta))
    twice = replace(found, jobs=[*found.jobs, again], repeats=[[first.id, again.id]])
    join_groups(twice)
    assert group_of(first) == group_of(again)
    for fold in range(4):
        held = held_out_groups(twice, 0.25, fold)
        assert (group_of(first) in held) == (group_of(again) in held)
