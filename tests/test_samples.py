"The project's own history: it comes out the same on every machine, and reads like a real one."

import json
import lzma
import shutil
import sys
from collections import Counter

import pytest

from agentft.core.replacements import count_tokens
from agentft.evidence.failures import detect
from agentft.evidence.repositories import Git, unbundled
from agentft.traces.dumps import COLLECTIONS
from agentft.traces.formats import read_source
from agentft.traces.wanted_jobs import collect_jobs
from agentft.workbench.recipes import project, read_recipe

KEPT = project() / 'samples' / 'own-history'
SHOWS = dict(
    early_end='phase_violation',
    absent_string='failed_edit',
    killed='no_job_complete',
    whole_file='whole_file_rewrite',
    unread_edit='blind_edit',
    hollow_result='skeleton_output',
    never_marked='todo_not_completed',
    staged_without_guide='todos_refused',
    unknown_tool='unknown_tool',
    repeated_read='repeated_call',
)  # planted fault -> what is found of it; a late mark and a wrong value can't be seen in the calls alone


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "All samples, made anew."
    sys.path.insert(0, str(project() / 'tools'))
    try:
        from make_samples import make

        folder = tmp_path_factory.mktemp('made')
        counts = make(folder)
    finally:
        sys.path.remove(str(project() / 'tools'))
    return folder, counts


@pytest.fixture(scope='module')
def trail():
    "Jobs of the kept trail, and what was left out."
    return collect_jobs(KEPT / 'trail')


@pytest.fixture(scope='module')
def known():
    "What was planted, by job."
    return {d['job']: d for d in json.loads((KEPT / 'trail' / 'jobs.json').read_text())}


@pytest.fixture(scope='module')
def sessions():
    jobs, bad = read_source(KEPT / 'sessions')
    return list(jobs), bad


def documents(folder, collection):
    with lzma.open(folder / 'trail' / f'{collection}.jsonl.xz', 'rt', encoding='utf-8') as f:
        return f.read().splitlines()


def history(bundle, cache):
    "Commits of a bundle, newest first."
    with Git(unbundled(bundle, cache)) as git:
        return list(git.commits())


def of_calls(job):
    return [(turn, call, result) for turn, call, result in job.calls()]


# --- made anew ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('collection', COLLECTIONS)
def test_the_trail_comes_out_the_same(made, collection):
    "Somebody who changes the script without making the samples anew would leave a trail that nobody can make."
    new, kept = documents(made[0], collection), documents(KEPT, collection)
    assert len(new) == len(kept)
    assert not [k for k, lines in enumerate(zip(new, kept)) if lines[0] != lines[1]][:5]


def test_repository_and_sessions_come_out_the_same(made, tmp_path):
    new, kept = (history(folder / 'repository.bundle', tmp_path / str(k)) for k, folder in enumerate((made[0], KEPT)))
    assert new == kept
    texts = [
        {p.relative_to(f): p.read_text(encoding='utf-8') for p in (f / 'sessions').rglob('*.jsonl')}
        for f in (made[0], KEPT)
    ]
    assert texts[0] == texts[1]
    assert made[1] == dict(jobs=28, commits=72, sessions=13)


def test_samples_are_small_and_called_simulated():
    size = sum(p.stat().st_size for p in KEPT.rglob('*') if p.is_file())
    assert size < 3_000_000
    assert 'simulated' in (KEPT / 'README.md').read_text().splitlines()[0]
    assert 'simulated' in read_recipe('own-history')['description']


# --- the trail ----------------------------------------------------------------------------------------------------


def test_every_call_of_the_trail_has_its_phase_its_arguments_and_its_result(trail):
    jobs, rejected = trail
    assert len(jobs) == 28 and not rejected
    for job in jobs:
        assert all(turn.agent_phase for turn in job.turns)
        assert not [turn.meta for turn in job.turns if any('cut' in key or 'preview' in key for key in turn.meta)]
        assert all(result is not None for _, _, result in of_calls(job))


def test_jobs_are_long_and_offer_all_tools_in_both_phases(trail):
    "A whole job does not fit a context of 2,048 tokens; its system prompt alone takes most of it."
    for job in trail[0]:
        prompts = [count_tokens(m.content) for turn in job.turns for m in turn.seen if m.role == 'system']
        assert 1500 < max(prompts) < 3000
        said = [m for turn in job.turns for m in (*turn.seen, turn.said, *turn.results)]
        tokens = sum(
            count_tokens(m.content) + count_tokens(json.dumps([c.arguments for c in m.tool_calls])) for m in said
        )
        assert 6000 < tokens < 16000, job.id
        names = {t['function']['name'] for t in job.tools}
        assert {'next_phase_todos', 'job_complete', 'todo_complete', 'edit_file', 'git_diff', 'run_command'} <= names


def test_each_request_holds_the_prompt_of_its_phase_and_the_memory():
    for line in documents(KEPT, 'llm_requests'):
        messages = json.loads(line)['request']['messages']
        assert messages[0]['role'] == 'system' and '**Pending:**' in messages[0]['content']
        pair = next(k for k, m in enumerate(messages) if m['role'] == 'assistant')
        assert messages[pair]['tool_calls'][0]['args'] == {'path': 'workspace.md'}
        assert not messages[pair + 1]['name'] and messages[pair + 1]['content'].startswith('# Workspace')


def test_outcomes_of_the_trail_agree_with_the_checker(trail, known):
    "What a person approved or froze is done; the checker refused what was sent back, hollow or stopped."
    sources = Counter()
    for job in trail[0]:
        assert job.outcome.status == known[job.id]['checker'], job.id
        sources[job.outcome.source] += 1
    assert sources == dict(goal_achieved=22, frozen=2, content_check=1, none=3)
    assert not any('arena' in line for line in documents(KEPT, 'agent_audit')[:200])  # no checker in production


def test_planted_faults_are_found_and_clean_jobs_are_clean(trail, known):
    assert len({d['kind'] for d in known.values()}) == 8
    assert sum(bool(d['fault']) for d in known.values()) == 13
    for job in trail[0]:
        fault = known[job.id]['fault']
        if fault in SHOWS:
            assert SHOWS[fault] in {f.mode for f in detect(job)}, (job.id, fault)
        if not fault:
            assert all(result.ok for _, _, result in of_calls(job)), job.id


def test_most_todos_are_marked(trail):
    todos = [t for job in trail[0] for t in job.todos if t.agent_phase == 'tactical']
    marked = sum(t.completed_turn is not None for t in todos)
    assert len(todos) > 150 and 0.85 < marked / len(todos) < 1


# --- the repository -----------------------------------------------------------------------------------------------


def test_the_repository_has_what_histories_have(tmp_path):
    commits = history(KEPT / 'repository.bundle', tmp_path)
    ids = {c.id for c in commits}
    messages = [c.message for c in commits]
    assert len({c.author for c in commits}) == 3
    assert sum(len(c.parents) > 1 for c in commits) == 1
    reverts = [m for m in messages if m.startswith('Revert')]
    assert len(reverts) == 2 and all(m.rstrip('.').split()[-1] in ids for m in reverts)
    assert {'fix', 'wip'} <= set(messages) and sum(m.startswith('vault backup: 2025-') for m in messages) > 5
    assert any(ch.status.startswith('R') for c in commits for ch in c.changes)
    assert any(ch.path_after.startswith('vendor/') for c in commits for ch in c.changes)


def test_a_broken_bundle_is_refused(tmp_path):
    broken = tmp_path / 'cut.bundle'
    broken.write_bytes((KEPT / 'repository.bundle').read_bytes()[:2000])
    with pytest.raises(ValueError, match='cut.bundle is no git bundle that can be read'):
        unbundled(broken, tmp_path / 'cache')


# --- the sessions -------------------------------------------------------------------------------------------------


def test_sessions_are_read_whole(sessions):
    jobs, bad = sessions
    assert len(jobs) == 13
    assert len({p.parent for p in (KEPT / 'sessions').rglob('*.jsonl')}) == 3
    assert all(15 <= len(p.read_text().splitlines()) <= 60 for p in (KEPT / 'sessions').rglob('*.jsonl'))
    assert not [reason for reason in bad if reason.startswith('line') and 'no part of the conversation' not in reason]
    assert all(result is not None for job in jobs for _, _, result in of_calls(job))


def test_sessions_hold_a_failed_edit_a_refusal_an_interrupt_and_an_edit_that_was_taken_back(sessions):
    jobs, _ = sessions
    results = [result.content for job in jobs for _, _, result in of_calls(job)]
    assert sum('String to replace not found' in text for text in results) == 2
    assert sum("doesn't want to proceed" in text for text in results) == 1
    assert any(m.content == '[Request interrupted by user]' for job in jobs for t in job.turns for m in t.seen)
    asked = [m.content for job in jobs for t in job.turns for m in t.seen if m.role == 'user']
    assert any('undo that' in text for text in asked)
    edits = [c.arguments for job in jobs for _, c, _ in of_calls(job) if c.name == 'edit_file']
    swaps = {(e.get('path'), e.get('old_string'), e.get('new_string')) for e in edits}
    assert any((path, new, old) in swaps for path, old, new in swaps)


def test_files_of_sessions_are_known_before_and_after(sessions):
    "A record that does not fit the text that the program recorded would leave a file unknown."
    for job in sessions[0]:
        assert job.files_after or not [c for _, c, _ in of_calls(job) if c.name in ('edit_file', 'write_file')]


def test_one_source_of_your_own_leaves_no_sample():
    "Who names their sessions does not train on the project's trail and repository."
    from agentft.workbench.recipes import check_parameters, read_recipe

    recipe = read_recipe('own-history')
    names = ('source', 'repos', 'sessions')

    def sources(*overrides):
        collect = check_parameters(recipe, overrides)['collect']
        return [collect[k] for k in names]

    assert all(x.startswith('samples/own-history/') for x in sources(('train.seed', 1)))
    assert sources(('collect.sessions', 'mine')) == ['none', '', 'mine']
    assert sources(('source', 'dump'), ('collect.repos', 'app')) == ['dump', 'app', '']


def test_a_page_says_that_samples_are_simulated(tmp_path, monkeypatch):
    "Phase 1 knows a sample by the folder it lies in, and every page that rests on it says so."
    from agentft.phases.collect import collect
    from agentft.workbench.phases import Phase
    from agentft.workbench.runs import read_result

    monkeypatch.setenv('AGENTFT_PAGES', '1')
    sessions = str(KEPT / 'sessions')
    collect(out=str(tmp_path / '1-collect'), source='none', sessions=sessions)
    assert read_result(tmp_path / '1-collect')['numbers']['simulated'] == [sessions]
    assert 'is simulated' in (tmp_path / '1-collect' / 'report.html').read_text()

    class R:
        out = tmp_path / '4-evaluate'

    later = Phase('evaluate', None, verdict=lambda r: 'Better.', summary=lambda r: [], numbers=dict)
    assert 'is simulated' in later.answer(R)
    shutil.copytree(KEPT / 'sessions', tmp_path / 'mine')
    collect(out=str(tmp_path / 'own' / '1-collect'), source='none', sessions=str(tmp_path / 'mine'))
    R.out = tmp_path / 'own' / '4-evaluate'
    assert read_result(tmp_path / 'own' / '1-collect')['numbers']['simulated'] == []
    assert 'is simulated' not in later.answer(R)
