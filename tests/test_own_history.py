"""From a trail, a repository and sessions to trained rows and held-out turns: nothing is lost, and nothing stands on both sides."""

import json
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import pytest

from agentft.checks.gate import Gate, Reserved, row_length
from agentft.checks.rules import check_rules
from agentft.core.records import (
    Example,
    Job,
    Message,
    Outcome,
    Reference,
    ToolCall,
    Turn,
    from_dict,
    read_jsonl,
    to_dict,
)
from agentft.data.seeds import Rejected
from agentft.data.windows import group_of
from agentft.evidence.found import Found, read_found
from agentft.evidence.memory import compact_pairs
from agentft.evidence.right_turns import judge_turns
from agentft.history.own_history import (
    ENOUGH,
    HELD_OUT,
    OwnRows,
    held_out_groups,
    join_groups,
    phases_without_row,
    take_edits,
    take_memory,
    take_own_history,
    take_windows,
)
from agentft.model.chat import ChatFormat
from agentft.model.loading import load_tokenizer
from agentft.phases.collect import collect
from agentft.phases.synthesize import synthesize
from agentft.training.training import encode_rows
from agentft.workbench.recipes import project, read_recipe
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
    recipe = read_recipe('own-history')['phases']['synthesize']
    synthesize(out=str(folder / 'recipe'), collect_dir=str(folder / '1-collect'), **recipe)
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
    told = {(t['job'], t['turn']) for t in turns if t['why'] == 'trained'}
    rows = [e for e in examples if 'window' in e.meta]
    assert told and told == {(e.parents[0], i) for e in rows for i in e.meta['turns']}
    assert {e.split for e in rows} == {'train'} and any(e.split == 'valid' for e in examples)
    n = numbers['turns']
    held = {t['job'] for t in turns if t['why'] == HELD_OUT}
    assert n['trained'] == sum(t['why'] == 'trained' for t in turns if t['job'] not in held)
    assert sum(numbers['turns_by_reason'].values()) == len(turns)
    assert n['trained'] >= 0.8 * n['right']


def test_each_source_is_told_apart(found, turns, numbers):
    rows = {x['source']: x for x in numbers['by_source']}
    assert set(rows) == {j.source for j in found.jobs}
    for key, why in dict(trained='trained', held_out=HELD_OUT).items():
        assert sum(x[key] for x in rows.values()) == sum(t['why'] == why for t in turns)
    assert sum(x['turns'] for x in rows.values()) == len(turns)


def test_every_successful_job_gives_a_row_of_work_for_each_phase(run, found):
    "With the numbers of the recipe that is shipped, in which not every window is wanted."
    turns = json.loads((run / 'recipe' / 'turns.json').read_text())
    examples = read_jsonl(run / 'recipe' / 'examples.jsonl', Example)
    whys = {(t['job'], t['turn']): '' if t['why'] == 'trained' else t['why'] for t in turns}
    held = {t['job'] for t in turns if t['why'] == HELD_OUT}
    assert any(t['why'] == ENOUGH for t in turns)
    recorded = [j for j in found.jobs if j.id not in held]
    assert phases_without_row(recorded, SimpleNamespace(turns=whys)) == []
    works = Counter((e.parents[0], e.agent_phase) for e in examples if 'window' in e.meta and e.meta['work'])
    successful = [j for j in recorded if j.outcome.status == 'success' and j.source == 'export']
    assert successful and all(works[j.id, phase] for j in successful for phase in ('strategic', 'tactical'))
    plain = [e for e in examples if 'window' in e.meta and 'about_decision' not in e.meta]
    only_marks = [e for e in plain if not e.meta['work']]
    assert not only_marks  # they come last, and there are more windows with work than are wanted


def test_the_only_row_of_a_phase_is_kept_although_it_is_like_another_one(found):
    "A job that was done twice, nearly in the same words: both give a row for each of their phases, on one side."
    first = next(j for j in found.jobs if j.source == 'export' and j.outcome.status == 'success')
    again = replace(from_dict(Job, to_dict(first)), id='done-again', instructions='Once more: ' + first.instructions)
    gate, out = Gate(Reserved(), 6000, row_length(fmt()), near=0.8), OwnRows()  # a phase is one window
    take_windows([first, again], gate, fmt(), 1000, set(), out)
    assert phases_without_row([first, again], out) == []
    alike = [e for e in out.examples if 'alike' in e.meta]
    kept = {e.id for e in out.examples}
    assert alike and all(e.meta['alike'] in kept & {*e.parents} and e.meta['work'] for e in alike)
    assert len({e.parents[0] for e in alike}) == 1 and len(alike) <= 2
    assert not {e.id for e in alike} & {x.id for x in out.rejected}
    for e in alike:
        assert check_rules(e) == [] and 'no_duplicate' not in e.verified


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
    everything = held_out_groups(found, 0.25, 0)
    folds = [everything]
    while folds[-1]:
        folds.append(held_out_groups(found, 0.25, len(folds)))
    once = Counter(g for fold in folds for g in fold)
    assert set(once.values()) == {1}
    assert len(folds) > 4 and {j.source for j in found.jobs if group_of(j) in once} == {'export', 'claude_code'}
    trail = {j.id for j in found.jobs if j.source == 'export'}
    assert len(trail & {*once}) >= 20


def test_a_job_that_was_run_twice_stands_on_one_side(found):
    first = next(j for j in found.jobs if j.source == 'export' and j.outcome.status == 'success')
    again = replace(first, id='run-again', meta=dict(first.meta))
    twice = replace(found, jobs=[*found.jobs, again], repeats=[[first.id, again.id]])
    join_groups(twice)
    assert group_of(first) == group_of(again)
    for fold in range(4):
        held = held_out_groups(twice, 0.25, fold)
        assert (group_of(first) in held) == (group_of(again) in held)


def test_one_project_has_a_verdict_too(tmp_path, monkeypatch):
    "Sessions of one code base are held out by job: references in the folds, and no row of a job that is held out."
    monkeypatch.setenv('AGENTFT_PAGES', '0')
    collect(out=str(tmp_path / '1-collect'), source='none', sessions=str(SAMPLES / 'sessions'))
    jobs = [json.loads(line) for line in (tmp_path / '1-collect' / 'jobs.jsonl').read_text().splitlines()]
    base_of = json.loads((tmp_path / '1-collect' / 'code_bases.json').read_text())
    base = Counter(base_of.values()).most_common(1)[0][0]
    kept = [j for j in jobs if base_of.get(j['id']) == base]
    assert len(kept) > 2
    (tmp_path / '1-collect' / 'jobs.jsonl').write_text(''.join(json.dumps(j) + '\n' for j in kept))
    held = []
    for fold in range(2):
        out = tmp_path / f'fold{fold}'
        synthesize(out=str(out), collect_dir=str(tmp_path / '1-collect'), n_examples=20, n_preferences=0, fold=fold)
        refs = {r.job for r in read_jsonl(out / 'references.jsonl', Reference)}
        rows = {p for e in read_jsonl(out / 'examples.jsonl', Example) for p in e.parents}
        assert refs and not refs & rows
        held.append(refs)
    assert not held[0] & held[1]


def one_base(run):
    "The sessions and edits of one code base, as a user with one project has them; and the code base."
    fresh = read_found(run / '1-collect')
    bases = Counter(j.meta['code_base'] for j in fresh.jobs if 'code_base' in j.meta)
    base, n = bases.most_common(1)[0]
    assert n > 3
    jobs = [j for j in fresh.jobs if j.meta.get('code_base') == base]
    return replace(fresh, jobs=jobs, edits=[e for e in fresh.edits if e.repo_id == base]), base


def changed_paths(job):
    calls = [c for t in job.turns for c in t.said.tool_calls if c.name in ('edit_file', 'write_file')]
    return {c.arguments['path'] for c in calls}


def test_folds_of_one_project_hold_out_each_job_once(run):
    "And neither a row, nor a commit to the files of a held-out job, nor an edit of one stands on the other side."
    once, fold = Counter(), 0
    while True:
        found, base = one_base(run)
        gate = Gate(Reserved(), MAX_LEN, row_length(fmt()))
        own = take_own_history(found, gate, fmt(), 200, 200, 10, held_share=0.4, fold=fold)
        held = {r.group for r in own.references}
        if not held:
            break
        assert held == own.held_jobs and {r.job for r in own.references} == held
        once.update(held)
        assert not held & {p.partition('#')[0] for e in own.examples for p in e.parents}
        files = {path for j in found.jobs if j.id in held for path in changed_paths(j)}
        trained = {p for e in own.examples for p in e.parents}
        commits = {e.commit for e in found.edits if not e.job and e.path_after in files}
        assert not any(f'{base}/{c}' in trained for c in commits)
        assert any(e.meta['origin'] == 'git' for e in own.examples)  # commits to other files are trained
        edits = next(f for f in own.flows if f.kind == 'edits')
        assert edits.held_out >= len(commits) and 'cannot be played' not in edits.reasons
        fold += 1
    assert fold > 1 and once == {j.id: 1 for j in found.jobs}


def test_near_repeats_in_one_project_stay_together(run):
    found, _ = one_base(run)
    a, b = sorted(j.id for j in found.jobs)[:2]
    found.repeats = [[a, b]]
    join_groups(found)
    group = {j.id: group_of(j) for j in found.jobs}
    assert group[a] == group[b] and len(set(group.values())) == len(group) - 1


LOG = ['# Workspace', '## Rules', '- Never touch legacy/auth.py.', '## Log', '- read a.md', '- read b.md', '- ran it']


def rewrites(id, after, status='success', then=()):
    "A job that reads its memory file, writes it anew as `after`, and is told these words."
    before = '\n'.join(LOG) + '\n'
    calls = [('read_file', dict(path='workspace.md'), before)]
    calls.append(('write_file', dict(path='workspace.md', content=after), 'Written: workspace.md'))
    turns = []
    for k, (name, a, text) in enumerate(calls):
        said = Message('assistant', tool_calls=[ToolCall(name, a, f'c{k}')])
        turns.append(Turn('', said, results=[Message('tool', text, tool_call_id=f'c{k}', name=name, ok=True)]))
    turns += [Turn('', Message('assistant', 'Well.'), seen=[Message('user', x)]) for x in then]
    start = {'workspace.md': before}
    return Job(id, 'dump', turns=turns, files_before=start, outcome=Outcome(status, 'checker', 1.0))


def memory_flow(*jobs):
    "What became of the versions of memory files of `jobs`."
    pairs = [p for job in jobs for p in compact_pairs(job)]
    assert len(pairs) == len(jobs) and all(p.good for p in pairs)
    out = OwnRows()
    take_memory(Found(jobs=[*jobs], memory=pairs), Gate(Reserved()), 10, set(), out)
    out.flows[0].check()
    return out.flows[0].kept, dict(out.flows[0].reasons)


def test_a_memory_file_teaches_only_where_its_turn_is_right_and_it_shrank():
    short = '\n'.join(LOG[:3]) + '\n'
    assert memory_flow(rewrites('a', short)) == (1, {})
    wrong = dict(status='failed'), dict(then=['No, undo that.'])
    for kw in wrong:
        assert memory_flow(rewrites('b', short, **kw)) == (0, {'its turn is not right': 1})
    a_word = '\n'.join(LOG).replace('- ran it', '- ran') + '\n'
    assert memory_flow(rewrites('c', a_word)) == (0, {'hardly shorter': 1})
    a_tenth = '\n'.join([*LOG[:4], '- read', '- read b', '- ran']) + '\n'
    assert memory_flow(rewrites('d', a_tenth)) == (1, {})  # as many lines, and fewer words


def test_a_wish_is_taken_whole_or_not_at_all(found):
    "Where one turn of a wish is not right, none of its edits is a row; a memory file of the recipe is one."
    job = next(j for j in found.jobs if any(e.job == j.id and len(e.turns) == 1 for e in found.edits))
    right = [v.turn for v in judge_turns(job) if v.right and v.work]
    wrong = [v.turn for v in judge_turns(job) if not v.right]
    edits = [e for e in found.edits if e.job == job.id][:1]
    pair = [replace(edits[0], id=f'e{k}', wish='w', turns=[turn]) for k, turn in enumerate((right[0], wrong[0]))]
    out = OwnRows()
    take_edits(Found(jobs=[job], edits=pair), Gate(Reserved(), MAX_LEN, row_length(fmt())), 10, set(), out)
    assert (out.flows[0].kept, out.flows[0].reasons) == (0, {'its turn is not right': 2})


def taken_edits(job, edits, trained=()):
    "The flow of `edits`, where a window trains the turns `trained` of their job."
    out = OwnRows(turns={(job.id, turn): '' for turn in trained})
    take_edits(Found(jobs=[job], edits=edits), Gate(Reserved(), MAX_LEN, row_length(fmt())), 1, set(), out)
    out.flows[0].check()
    return out.flows[0].kept, dict(out.flows[0].reasons)


def session_edits(found):
    "A recorded job of a person, and its edits."
    right = {(j.id, v.turn) for j in found.jobs for v in judge_turns(j) if v.right}
    own = [e for e in found.edits if e.job and e.parts == 1 and {(e.job, t) for t in e.turns} <= right]
    job = next(j for j in found.jobs if any(e.job == j.id for e in own))
    return job, next(e for e in own if e.job == job.id)


def test_an_edit_whose_turn_is_trained_is_not_made_into_a_row_again(found):
    job, e = session_edits(found)
    other = replace(e, id='of a commit', wish='', job='', turns=[], source='git', repo_id='elsewhere')
    assert taken_edits(job, [e]) == (1, {})
    assert taken_edits(job, [e], e.turns) == (0, {'already in a row': 1})
    assert taken_edits(job, [e, other], e.turns) == (1, {'already in a row': 1})  # its share goes to another edit


def test_no_decision_is_trained_as_a_window_and_as_an_edit(run):
    rows = read_jsonl(run / '2-synthesize' / 'examples.jsonl', Example)
    windows = {f'{e.parents[0]}#{turn}' for e in rows for turn in e.meta.get('turns', []) if 'window' in e.meta}
    edits = {p for e in rows if e.meta.get('edits') for p in e.parents if '#' in p}
    assert windows and not windows & edits


def test_an_edit_that_the_user_did_not_ask_for_is_no_row(found):
    job, e = session_edits(found)
    unasked = replace(e, message='Set limit_wombat to 70', request_by='completed', details='Change a to b.')
    assert taken_edits(job, [unasked]) == (0, {'not_asked_for': 1})


def test_the_recipe_trains_a_memory_file(run):
    flows = {f['kind']: f['kept'] for f in read_result(run / 'recipe')['numbers']['flows']}
    assert flows['versions of memory files'] and flows['edits'] and flows['turns of recorded jobs']
