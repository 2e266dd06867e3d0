"A team's own tools: a contract from a trail, jobs that are judged by it, environments, and tools under other names."

import http.server
import json
import lzma
import os
import re
import threading
import urllib.request
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from agentft.arena import environments
from agentft.arena.catalogue import FAMILIES, make_task
from agentft.arena.environments import Database, Recorded, Together
from agentft.arena.players import FLOORS, Expert, play
from agentft.arena.proof import proof_rows
from agentft.arena.sessions import PART, Session
from agentft.arena.tasks import Item, Task, read_call, start_files, tool_call
from agentft.arena.toolboxes import USELESS, VOCABULARIES, disguise, under_contract
from agentft.checks.rules import rule_problems
from agentft.cli import main
from agentft.core.agent import (
    FULL,
    SHORT,
    TOOLS,
    AgentState,
    canonical_job,
    canonical_turn,
    check_call,
    contract_of,
    in_words_of,
    tool_schemas,
    tool_table,
    tools_from_schemas,
)
from agentft.core.contracts import Contract, infer_contract, read_contract, write_contract
from agentft.core.files import files_at
from agentft.core.metrics import TARGETS, UNPLACED, five, job_counts
from agentft.core.records import (
    Job,
    Message,
    Outcome,
    Todo,
    ToolCall,
    Turn,
    from_dict,
    read_jsonl,
    to_dict,
    write_jsonl,
)
from agentft.data.expansion import job_example
from agentft.data.suites import suite_tasks
from agentft.data.windows import window_example, windows
from agentft.evaluation.answers import Answer
from agentft.evaluation.judging import reference_at
from agentft.evaluation.pages import jobs_to_read
from agentft.evaluation.replay import judge_answers
from agentft.evaluation.standings import headline_rows, positions_of, standing_line, standings
from agentft.evidence.failures import detect
from agentft.evidence.right_turns import judge_turns
from agentft.model.chat import ChatFormat
from agentft.model.loading import load_tokenizer
from agentft.phases.collect import collect
from agentft.traces.audit import from_documents
from agentft.traces.audit_writer import to_documents
from agentft.traces.wanted_jobs import read_jobs

ROOT = Path(__file__).parents[1]
AUDIT = Path(os.environ.get('AGENTFT_AUDIT') or ROOT.parent / 'shared' / 'audit')


class Translated(Expert):
    "The expert, in the words of the job."

    def __call__(self, session):
        return session.spoken(super().__call__(session))


def of(task, **more):
    "The task with attributes that a later version gives it."
    for name, value in more.items():
        setattr(task, name, value)
    return task


def turn(phase, *calls, number=1):
    "A turn of `(tool, arguments, answer)` calls."
    said = [ToolCall(name, arguments, f'c{k}') for k, (name, arguments, _) in enumerate(calls)]
    results = [
        Message('tool', text, tool_call_id=c.id, name=c.name, ok=not text.startswith('Error'))
        for c, (_, _, text) in zip(said, calls)
    ]
    return Turn(phase, Message('assistant', tool_calls=said), results=results, agent_phase_number=number)


def team_job(n=0):
    "A job of a team whose agent edits with `str_replace`, looks customers up, and hands in with `submit`."
    swap = dict(file='a.md', old='30', new='60')
    schemas = [
        dict(type='function', function=dict(name=name, parameters=dict(type='object', properties=properties)))
        for name, properties in dict(
            str_replace={k: dict(type='string') for k in swap}, crm_lookup=dict(name=dict(type='string')), submit={}
        ).items()
    ]
    turns = [
        turn('strategic', ('crm_lookup', dict(name='Alder'), 'Alder, Lyon'), number=0),
        turn(
            'strategic', ('next_phase_todos', dict(todos=['Set the timeout in a.md to 60']), 'Staged 1 todos'), number=0
        ),
        turn(
            'tactical',
            ('crm_lookup', dict(name='Birch'), 'Birch, Graz'),
            ('read_file', dict(path='a.md'), 'timeout: 30'),
        ),
        turn('tactical', ('str_replace', swap, 'Edited: a.md')),
        turn('tactical', ('todo_complete', {}, 'Completed: Set the timeout in a.md to 60')),
        turn('strategic', ('submit', {}, 'Handed in.'), number=2),
    ]
    todo = Todo('t1', 'Set the timeout in a.md to 60', agent_phase_number=1, staged_turn=1, completed_turn=4)
    known = tool_schemas(['read_file', 'next_phase_todos', 'todo_complete'])
    return Job(f'team-{n}', 'jobs', tools=known + schemas, turns=turns, todos=[todo])


TEAM = '''done: {tool: submit, when: at once}
tools:
  read_file:
  next_phase_todos:
  todo_complete:
  submit: {phases: strategic}
  str_replace:
    phases: tactical
    like: edit_file
    arguments: {file: path, old: old_string, new: new_string}
  crm_lookup:
    phases: strategic
    parameters: {type: object, properties: {name: {type: string}}}
'''


@pytest.fixture
def team(tmp_path):
    path = tmp_path / 'team.yaml'
    path.write_text(TEAM)
    return path


# ------------------------------------------------------------------ adherence and the words of a contract


def test_tools_that_nobody_placed_do_not_adhere_by_themselves(team):
    job = team_job()
    m = five([job])['phase_adherence']
    assert (m.numerator, m.denominator) == (3, 3) and m.unknown == {UNPLACED: 4}
    m = five([read_contract(team).judges(job)])['phase_adherence']
    assert (m.numerator, m.denominator) == (6, 7) and m.unknown == {}  # the second look at customers was for work


def test_an_edit_by_another_name_is_an_edit(team):
    job = team_job()
    assert five([job])['edit_precision'].denominator == 0
    m = five([read_contract(team).judges(job)])
    assert str(m['edit_precision']) == '0.0% (0/2)'
    assert str(m['todo_completion']) == '100.0% (1/1)'
    assert files_at(job).texts() == {'a.md': 'timeout: 60'}
    assert job.turns[3].said.tool_calls[0].name == 'str_replace'  # the record keeps what was said


def test_a_contract_says_when_a_job_is_done(team):
    contract, job = read_contract(team), team_job()
    assert contract.judges(job).outcome.source == 'ended'
    for status, source in (('failed', 'checker'), ('unknown', 'running')):
        told = replace(team_job(), outcome=Outcome(status, source))
        assert contract.judges(told).outcome.source == source
    after = replace(contract, rules=replace(contract.rules, finish_todos=True))
    late = team_job()
    late.todos.append(Todo('t2', 'Review and finish', agent_phase='strategic', agent_phase_number=2))
    assert not after.ended(late) and contract.ended(late)
    late.todos[-1].completed_turn = 5
    assert after.ended(late)


def test_a_job_and_its_contract_survive_the_disk(team, tmp_path):
    job = read_contract(team).judges(team_job())
    write_jsonl(tmp_path / 'jobs.jsonl', [job])
    (again,) = read_jsonl(tmp_path / 'jobs.jsonl', Job)
    assert again == job and job_counts(again) == job_counts(job)
    assert len(json.dumps(to_dict(job)['contract'])) < 1000  # schemas stand in the job already
    reference = reference_at(again, 3)
    assert reference.contract == job.contract
    plain = to_dict(play(make_task('config', 1, formed=False), Expert()))
    assert 'contract' not in plain and from_dict(Job, plain).contract == {}


def test_detectors_judge_by_the_contract(team):
    modes = Counter(f.mode for f in detect(read_contract(team).judges(team_job())))
    assert modes['phase_violation'] == 1
    assert not {'phase_violation', 'unknown_tool'} & {f.mode for f in detect(team_job())}


def test_collect_with_a_contract(team, tmp_path):
    jobs = tmp_path / 'jobs.jsonl'
    write_jsonl(jobs, [team_job(n) for n in range(3)])
    asked = dict(source='none', sessions=str(jobs))
    collect(out=str(tmp_path / 'plain'), **asked)
    collect(out=str(tmp_path / 'judged'), contract=str(team), **asked)
    plain, judged = (
        json.loads((tmp_path / d / 'result.json').read_text())['numbers']['metrics'] for d in ('plain', 'judged')
    )
    assert plain['phase_adherence']['unknown'] == {UNPLACED: 12} and plain['phase_adherence']['denominator'] == 9
    assert (judged['phase_adherence']['numerator'], judged['phase_adherence']['denominator']) == (18, 21)
    assert judged['task_success']['denominator'] == 3
    assert all(job.contract for job in read_jsonl(tmp_path / 'judged' / 'jobs.jsonl', Job))
    team.write_text(TEAM.replace('    phases: strategic\n    parameters', '    phases: both\n    parameters'))
    collect(out=str(tmp_path / 'judged'), contract=str(team), **asked)  # the file has changed: judged again
    again = json.loads((tmp_path / 'judged' / 'result.json').read_text())['numbers']['metrics']
    assert (again['phase_adherence']['numerator'], again['phase_adherence']['denominator']) == (21, 21)
    team.write_text(TEAM.replace('phases: tactical', 'phases: working'))
    with pytest.raises(ValueError, match=r'team.yaml, line 8: tools.str_replace.phases: there is no phase'):
        collect(out=str(tmp_path / 'wrong'), contract=str(team), **asked)


def test_todos_that_are_kept_by_other_tools(team, tmp_path):
    job = team_job()
    for turn in job.turns:
        for call in turn.said.tool_calls:
            call.name = call.name.replace('todo_complete', 'check_off').replace('next_phase_todos', 'stage_work')
    job.tools, job.todos = [], []
    write_jsonl(tmp_path / 'jobs.jsonl', [job])
    own = (
        '  stage_work: {phases: strategic, like: next_phase_todos}\n  check_off: {phases: both, like: todo_complete}\n'
    )
    team.write_text(TEAM.replace('  next_phase_todos:\n  todo_complete:\n', own))
    asked = dict(source='none', sessions=str(tmp_path / 'jobs.jsonl'), contract=str(team))
    collect(out=str(tmp_path / 'out'), **asked)
    (read,) = read_jsonl(tmp_path / 'out' / 'jobs.jsonl', Job)
    assert [(t.text, t.completed_turn) for t in read.todos if t.agent_phase == 'tactical'] == [
        ('Set the timeout in a.md to 60', 4)
    ]
    m = five([read])
    assert str(m['todo_completion']) == '100.0% (1/1)' and str(m['phase_adherence']) == '85.7% (6/7)'


# ------------------------------------------------------------------ trails of a team: how a job ended, and its phases


def write_trail(folder, job, change=lambda collection, row: None, more=()):
    "The audit trail of `job` as an export; `more` are further documents of agent_audit."
    folder.mkdir()
    for collection, rows in to_documents(job).items():
        rows = rows + list(more if collection == 'agent_audit' else ())
        for row in rows:
            change(collection, row)
        text = '\n'.join(json.dumps(row, default=str) for row in rows)
        (folder / f'{collection}.jsonl').write_text(text + '\n')
    return folder


def collected(source, out, **more):
    "What phase 1 keeps of a trail: its jobs and its numbers."
    collect(source=str(source), out=str(out), **more)
    jobs = list(read_jsonl(out / 'jobs.jsonl', Job))
    return jobs, json.loads((out / 'result.json').read_text())['numbers']['metrics']


def test_a_trail_without_checks_ends_by_the_rule_of_its_contract(team, tmp_path):
    trail = write_trail(tmp_path / 'trail', team_job())
    (plain,), _ = collected(trail, tmp_path / 'plain')
    assert (plain.outcome.status, plain.outcome.source) == ('failed', 'none')
    (job,), metrics = collected(trail, tmp_path / 'judged', contract=str(team))
    assert (job.outcome.status, job.outcome.source) == ('success', 'ended')
    assert metrics['task_success']['numerator'] == 1
    only, _ = collected(trail, tmp_path / 'only', contract=str(team), outcomes='success')
    assert len(only) == 1  # the filter looks at what the contract says
    short = team_job()
    del short.turns[-1]
    (cut,), _ = collected(write_trail(tmp_path / 'cut', short), tmp_path / 'cut-judged', contract=str(team))
    assert (cut.outcome.status, cut.outcome.source) == ('failed', 'none')


def test_a_job_that_was_sent_back_has_not_ended(team, tmp_path):
    back = dict(job_id='team-0', _id='back', step_number=10**6, step_type='feedback_resume', phase='strategic')
    trail = write_trail(tmp_path / 'trail', team_job(), more=[back | dict(phase_number=2, feedback_length=9)])
    (job,), _ = collected(trail, tmp_path / 'judged', contract=str(team))
    assert (job.outcome.status, job.outcome.source) == ('failed', 'none')
    again = team_job()
    again.turns += [turn('strategic', ('submit', {}, 'Handed in.'), number=2)]
    again.meta['sent_back'] = len(again.turns) - 1
    assert read_contract(team).ended(again)


def test_what_the_end_tool_of_a_team_hands_in_is_looked_at(team, tmp_path):
    said = '  submit: {phases: strategic, like: job_complete, arguments: {files: deliverables}}\n'
    team.write_text(TEAM.replace('  submit: {phases: strategic}\n', said))
    for text, status in (('# Report\n\nTODO\n', 'failed'), ('# Report\n\nThe timeout is 60 s now.\n', 'success')):
        job = team_job()
        job.turns.insert(4, turn('tactical', ('write_file', dict(path='r.md', content=text), 'Written: r.md')))
        job.turns[-1] = turn('strategic', ('submit', dict(files=['r.md']), 'Handed in.'), number=2)
        trail = write_trail(tmp_path / f'trail-{status}', job)
        (read,), _ = collected(trail, tmp_path / status, contract=str(team))
        assert read.outcome.status == status
        assert ('r.md is a skeleton' in read.outcome.detail) == (status == 'failed')


def test_open_todos_keep_a_job_from_being_done(team):
    after = replace(read_contract(team), rules=FULL)
    todos = [Todo(f't{k}', f'Call customer {k}', staged_turn=1) for k in range(2)]
    for number in (0, 2):  # where the job ends: in the phase that staged them, or in a review after their own
        job = replace(team_job(), todos=todos, turns=[turn('strategic', ('submit', {}, 'ok'), number=number)])
        assert not after.ended(job) and after.judges(job).outcome.status == 'unknown'
    job.todos = [replace(t, completed_turn=0) for t in todos]
    assert after.ended(job)
    job.todos.append(Todo('t3', 'Call nobody', staged_turn=1, work_done=False, done_rule='rewound'))
    assert after.ended(job)


@pytest.mark.parametrize('rules', [SHORT, FULL], ids=['short', 'full'])
def test_jobs_of_the_arena_are_done_by_the_rule(rules):
    for family in list(FAMILIES)[::9]:
        job = play(make_task(family, 1), Expert(), rules)
        assert Contract(rules=rules).ended(job)
        read = from_documents(to_documents(job))
        assert Contract(rules=rules).ended(read)


OWN = 'phases: {plan: strategic, deliver: tactical}\n' + TEAM.replace('phases: strategic', 'phases: plan').replace(
    'phases: tactical', 'phases: [deliver]'
)
PHASES = dict(strategic='plan', tactical='deliver')


def in_own_phases(collection, row):
    if isinstance(row.get('phase'), str):
        row['phase'] = PHASES[row['phase']]


def test_a_trail_with_other_names_for_the_phases_is_judged_as_with_ours(team, tmp_path):
    after = TEAM.replace('when: at once', 'when: after its todos')
    ours, theirs = (
        write_trail(tmp_path / name, team_job(), f)
        for name, f in (('ours', lambda *_: None), ('theirs', in_own_phases))
    )
    team.write_text(after)
    (a,), numbers = collected(ours, tmp_path / 'a', contract=str(team))
    team.write_text(OWN.replace('when: at once', 'when: after its todos'))
    (b,), own = collected(theirs, tmp_path / 'b', contract=str(team), agent_phase='tactical')
    assert own == numbers and own['phase_adherence']['denominator'] == 7
    assert a.outcome == b.outcome == Outcome('success', 'ended', 0.5, a.outcome.detail)
    assert a.todos == b.todos and [t.agent_phase for t in a.turns] == [t.agent_phase for t in b.turns]
    assert {t.meta['own_phase'] for t in b.turns} == {'plan', 'deliver'}
    assert job_counts(from_dict(Job, json.loads(json.dumps(to_dict(b))))) == job_counts(a)


def test_a_phase_that_nobody_mapped_forbids_nothing(team):
    team.write_text(OWN)
    job = team_job()
    for t in job.turns:
        t.agent_phase = PHASES[t.agent_phase]
    job.turns[0].agent_phase = 'warm up'
    m = five([read_contract(team).judges(job)])['phase_adherence']
    assert (m.numerator, m.denominator, m.unknown) == (5, 6, {'calls in an unknown phase': 1})
    team.write_text(OWN.replace('{plan:', '{warm up: strategic, plan:'))
    assert five([read_contract(team).judges(job)])['phase_adherence'].denominator == 7  # the own name was kept


def test_phases_of_a_team_come_back_as_they_were_written(team, tmp_path):
    team.write_text(OWN)
    contract = read_contract(team)
    assert contract.phases == dict(plan='strategic', deliver='tactical')
    assert contract.tools['submit'].phases == ('strategic',) and contract.tools['str_replace'].phases == ('tactical',)
    assert read_contract(write_contract(contract, tmp_path / 'again.yaml')) == contract


@pytest.mark.parametrize(
    ('old', 'new', 'why'),
    [
        ('deliver: tactical', 'deliver: working', r"line 1: phases.deliver: say strategic .*, not 'working'"),
        ('[deliver]', '[review]', "str_replace.phases: there is no phase 'review'.*mapped first"),
        ('deliver: tactical', 'plan: tactical', 'phases.plan: stands here again'),
        ('deliver: tactical', 'strategic: tactical', 'phases.strategic: is a word of this file'),
        ('{plan: strategic, deliver: tactical}', '[plan]', 'phases: is no mapping'),
    ],
)
def test_what_is_wrong_with_phases_is_said(team, old, new, why):
    team.write_text(OWN.replace(old, new, 1))
    with pytest.raises(ValueError, match=why):
        read_contract(team)


def test_a_trail_asks_which_of_its_phases_is_which(tmp_path, capsys):
    trail, out = write_trail(tmp_path / 'trail', team_job(), in_own_phases), tmp_path / 'c.yaml'
    assert main(['contract', str(trail), '--out', str(out)]) == 0
    said = capsys.readouterr().out
    assert 'phases.plan: is it strategic' in said and 'phases.deliver: is it strategic' in said
    with pytest.raises(ValueError, match="phases.plan: say strategic .* not 'unknown'"):
        read_contract(out)
    answered = out.read_text().replace('plan: unknown', 'plan: strategic')
    out.write_text(answered.replace('deliver: unknown', 'deliver: tactical'))
    contract = read_contract(out)
    assert contract.tools['crm_lookup'].phases == ('strategic', 'tactical')
    assert contract.tools['str_replace'].phases == ('tactical',) and contract.tools['submit'].phases == ('strategic',)
    assert contract.seen['crm_lookup'] == dict(plan=1, deliver=1)
    assert contract.tools['next_phase_todos'].phases == ('strategic',)


# ------------------------------------------------------------------ the file, and a trail that writes it


@pytest.mark.parametrize('contract', [Contract(), Contract(rules=SHORT), Contract(ends='')])
def test_a_contract_comes_back_as_it_was_written(contract, tmp_path):
    assert read_contract(write_contract(contract, tmp_path / 'c.yaml')) == contract


def test_notes_of_todo_complete_are_legal_where_the_contract_has_them(tmp_path):
    properties = 'todo_id: {type: string}, notes: {type: string}'
    path = tmp_path / 'c.yaml'
    path.write_text(
        'done: {tool: job_complete}\ntools:\n  job_complete:\n'
        f'  todo_complete: {{parameters: {{type: object, properties: {{{properties}}}, additionalProperties: false}}}}\n'
    )
    call = tool_call('todo_complete', notes='went well')
    for tools, fine in ((read_contract(path).tools, True), (TOOLS, False)):
        state = AgentState(SHORT, tools)
        state.staged = ['Set timeout to 60']
        assert state.apply(call)[1] == fine


def test_one_todo_is_not_completed_twice():
    with Session(make_task('config', 1, formed=False)) as s:
        s.step(
            Message('assistant', '', [tool_call('next_phase_todos', todos=['Set threads to 33 in settings/audit.yml'])])
        )
        s.step(Message('assistant', '', [tool_call('todo_complete')]))
        (answer, *_) = s.step(Message('assistant', '', [tool_call('todo_complete', todo_id='todo_1,todo_1')]))
        assert not answer.ok and 'named twice' in answer.content and s.agent_phase == 'tactical'


@pytest.mark.parametrize('source', ['trail', 'dump', 'export'])
def test_a_contract_from_a_trail(source, tmp_path, capsys):
    where = ROOT / 'samples' / 'own-history' / 'trail' if source == 'trail' else AUDIT / source
    if not where.exists():
        pytest.skip(f'{where} is not here')
    out = tmp_path / 'contract.yaml'
    assert main(['contract', str(where), '--out', str(out)]) == 0
    contract = read_contract(out)
    assert contract.ends == 'job_complete' and all(t.phases for t in contract.tools.values())
    assert {n: t.phases for n, t in contract.tools.items()} == {n: TOOLS[n].phases for n in contract.tools}
    assert contract.seen['todo_complete']['tactical'] > 20 and contract.tools['job_complete'].bookkeeping
    assert main(['contract', str(where), '--out', str(out)]) == 1  # a person may have completed it
    assert 'give another --out' in capsys.readouterr().err


def test_a_contract_from_rows_of_a_team(tmp_path, capsys):
    jobs = tmp_path / 'jobs.jsonl'
    write_jsonl(jobs, [team_job(n) for n in range(2)])
    assert main(['contract', str(jobs), '--out', str(tmp_path / 'c.yaml')]) == 0
    contract = read_contract(tmp_path / 'c.yaml')
    assert contract.tools['crm_lookup'].phases == ('strategic', 'tactical')
    assert contract.tools['str_replace'].phases == ('tactical',)
    assert contract.seen['crm_lookup'] == dict(strategic=2, tactical=2)
    assert contract.tools['str_replace'].parameters['properties'].keys() == {'file', 'old', 'new'}
    assert 'which tool ends a job' in capsys.readouterr().out
    assert main(['contract', str(tmp_path / 'nothing'), '--out', str(tmp_path / 'd.yaml')]) == 1


def test_a_refusal_says_where_a_tool_does_not_belong():
    refused = 'Error: crm_update is only available in the tactical phase.'
    job = Job('j', 'jobs', turns=[turn('strategic', ('crm_update', {}, refused)), turn('', ('crm_sync', {}, 'ok'))])
    tools = infer_contract([job]).tools
    assert tools['crm_update'].phases == () == tools['crm_sync'].phases
    job.turns.append(turn('tactical', ('crm_update', {}, 'ok')))
    assert infer_contract([job]).tools['crm_update'].phases == ('tactical',)


# ------------------------------------------------------------------ tools under other names


@pytest.mark.parametrize('rules', [SHORT, FULL], ids=['short', 'full'])
@pytest.mark.parametrize('family', list(FAMILIES))
def test_the_same_play_under_other_names_gives_the_same_numbers(family, rules):
    for n in range(VOCABULARIES):
        task = make_task(family, n)
        hidden = disguise(task, seed=n, vocabulary=n)
        plain, unseen = play(task, Expert(), rules), play(hidden, Translated(), rules)
        assert {c.name for _, c, _ in unseen.calls()} & (set(TOOLS) - {'git_log'}) <= {
            t.name for t in contract_of(unseen).values() if t.bookkeeping
        }
        a, b = five([plain]), five([unseen])
        assert {k: str(a[k]) for k in TARGETS} == {k: str(b[k]) for k in TARGETS}
        assert [str(x) for x in a['todo_completion'].companions.values()] == [
            str(x) for x in b['todo_completion'].companions.values()
        ]
        assert unseen.files_after == plain.files_after and files_at(unseen).texts() == plain.files_after
        back = canonical_job(from_dict(Job, to_dict(unseen)))
        assert [(c.name, c.arguments) for _, c, _ in back.calls()] == [
            (c.name, c.arguments) for _, c, _ in plain.calls()
        ]


def under_other_names(job, vocabulary=0):
    "A recorded `job` of a team that calls the same tools by other names, with the contract that says so."
    box = disguise(make_task('config', 0), vocabulary=vocabulary).toolbox
    tools = {t.name: t for t in map(box._alias, contract_of(job).values())}
    turns = []
    for turn in job.turns:
        calls = [in_words_of(c, tools) for c in turn.said.tool_calls]
        results = [replace(r, name=in_words_of(ToolCall(r.name), tools).name) for r in turn.results]
        turns.append(replace(turn, said=replace(turn.said, tool_calls=calls), results=results))
    schemas = tool_schemas(tools=tools) if job.tools else []
    return replace(job, turns=turns, tools=schemas, contract=tool_table(tools))


@lru_cache
def trail():
    "Jobs of the sample trail that call tools, with their labels."
    jobs = [job for job in read_jobs(ROOT / 'samples' / 'own-history' / 'trail', {}) if job.turns][:12]
    for job in jobs:
        detect(job)
    return jobs


@pytest.mark.parametrize('vocabulary', range(VOCABULARIES))
def test_a_history_under_other_names_teaches_the_same(vocabulary):
    "Which turns are right, which of them a window can teach, and what it shows: all by effect, none by name."
    fmt, words = ChatFormat(load_tokenizer()), 0
    for job in trail():
        other = under_other_names(job, vocabulary)
        for mine in (job, other):
            detect(mine)
        assert [v.reason for v in judge_turns(other)] == [v.reason for v in judge_turns(job)]
        a, b = (windows(x, fmt, 10**6) for x in (job, other))
        assert [w.whys for w in b] == [w.whys for w in a]
        for w, theirs in zip(a, b):
            if not w.trained:
                continue
            e, x = window_example(job, w), window_example(other, theirs)
            assert (x.behaviour, x.meta['work'], x.meta['window']) == (e.behaviour, e.meta['work'], e.meta['window'])
            assert [(k, p.kind) for k, p in rule_problems(x)] == [(k, p.kind) for k, p in rule_problems(e)]
            words += sum(c.name not in TOOLS for m in x.messages for c in m.tool_calls)
    assert words > 100


def anew(ref):
    "What was recorded, with each edit as a rewriting of the whole file, in the words of the job."
    calls = []
    for call in canonical_turn(ref)[0].said.tool_calls:
        if call.name == 'edit_file':
            path = call.arguments['path']
            call = ToolCall('write_file', dict(path=path, content=ref.files_after[path]))
        calls.append(in_words_of(call, tools_from_schemas(ref.tools, ref.contract)))
    return replace(ref.said, tool_calls=calls)


def test_an_answer_in_the_words_of_a_team_is_judged_by_its_effect():
    "An edit and a rewriting, in both languages; and the words of the default table, which this team has not."
    job = play(make_task('config', 4), Expert(), FULL)
    ours, theirs = ([reference_at(x, i) for i in range(len(job.turns))] for x in (job, under_other_names(job)))

    def judged(refs, said):
        answers = [Answer(r.id, m, 10, 5, 'stop') for r, m in zip(refs, said)]
        return judge_answers(refs, dict(base=answers, tuned=answers))

    both = [judged(refs, map(anew, refs)) for refs in (ours, theirs)]
    assert [(t.kind, t.by) for t in both[0]] == [(t.kind, t.by) for t in both[1]]
    assert all(t.by['tuned'].effect for t in both[1])
    foreign = judged(theirs, [r.said for r in ours])
    edits = [t.by['tuned'] for t, r in zip(foreign, ours) if any(c.name == 'edit_file' for c in r.said.tool_calls)]
    assert edits and not any(j.known_tool or j.effect or j.applies for j in edits)


def test_a_disguise_is_drawn_by_its_seed():
    task = make_task('config', 1, formed=False)
    boxes = [disguise(task, seed).toolbox for seed in range(40)]
    assert boxes == [disguise(task, seed).toolbox for seed in range(40)]
    assert {len(b.extra) for b in boxes} == {2, 3, 4}
    assert len({b.aliases['read_file'][0] for b in boxes}) == VOCABULARIES >= 4
    assert {'todo_complete' in b.aliases for b in boxes} == {True, False}
    with Session(disguise(task, 0)) as one, Session(disguise(task, 1)) as two:
        assert [t.like for t in one.contract.values()] != [t.like for t in two.contract.values()]
    assert getattr(task, 'toolbox', None) is None and disguise(task).id != task.id


def training_text():
    "What is trained on, or may become it: the default table, the seeds, the samples, the mapped tools of sessions."
    text = json.dumps(tool_schemas()) + (ROOT / 'agentft' / 'traces' / 'tool_mapping.py').read_text()
    for path in [*(ROOT / 'seeds').glob('*.jsonl'), *(ROOT / 'samples').rglob('*.jsonl')]:
        text += path.read_text()
    for path in (ROOT / 'samples').rglob('*.jsonl.xz'):
        text += lzma.decompress(path.read_bytes()).decode()
    return text


def test_no_training_data_has_the_names():
    text = training_text()
    words, keys = set(re.findall(r'\w+', text)), set(re.findall(r'"(\w+)\\*":', text))
    assert {'read_file', 'Edit'} <= words and {'old_string', 'todo_id'} <= keys
    for n in range(VOCABULARIES):
        box = disguise(make_task('config', 1, formed=False), vocabulary=n).toolbox
        names = {name for name, _ in box.aliases.values()} | {t.name for t in USELESS}
        assert not names & words
        own = next(own for _, own in box.aliases.values())
        assert not set(own.values()) & keys and len(set(own.values())) == len(own)


def test_tools_of_no_use_refuse_and_do_nothing():
    task = disguise(make_task('config', 1, formed=False), seed=3)
    with Session(task) as s:
        useless = task.toolbox.extra[0]
        before = s.files()
        call = ToolCall(useless.name, {useless.parameters['required'][0]: 'x'})
        (answer, *_) = s.step(Message('assistant', '', [call]))
        assert not answer.ok and 'not available' in answer.content and s.files() == before
        counts = job_counts(s.job('curious'))
        assert counts['phase_adherence'] == [1, 1]  # it was offered, and breaks no rule


def test_what_a_disguised_session_says_names_its_own_tools_only():
    hidden = disguise(make_task('config', 1, formed=False), seed=0, vocabulary=1)
    while 'todo_complete' not in hidden.toolbox.aliases:
        hidden = disguise(make_task('config', 1, formed=False), seed=int(hidden.id[-1]) + 1, vocabulary=1)
    with Session(hidden, FULL) as s:
        player = Translated().start(s)
        while not s.done:
            wrong = s.spoken(Message('assistant', '', [tool_call('job_complete', summary='s', deliverables=[])]))
            said = wrong if s.agent_phase == 'tactical' and len(s.turns) % 5 == 0 else player(s)
            s.step(said)
        text = '\n'.join(m.content for m in s.messages if m.role != 'assistant')
        assert not re.search(r'\b(?:next_phase_todos|todo_complete|job_complete|old_string|read_file)\b', text)


# ------------------------------------------------------------------ own arguments under names of the default table

NOTED = """todo_complete:
    parameters:
      type: object
      properties: {notes: {type: array, items: {type: string}}, todo_id: {type: string}}
      additionalProperties: false"""
BY_FILE = 'read_file: {like: read_file, arguments: {file_path: path}}'
NOT_IN_PARTS = """read_file:
    parameters: {type: object, properties: {path: {type: string}}, required: [path], additionalProperties: false}"""


@pytest.fixture
def all_but(tmp_path):
    "Reads a contract with the default table, but for some tools that are written out."

    def read(*tools, rules='{guide: \'\', min_todos: 1, first: [Plan the work.], review: [Finish the job.]}'):
        own = {row.split(':')[0]: row for row in tools}
        rows = [own.get(name, f'{name}:') for name in TOOLS]
        path = tmp_path / 'own.yaml'
        path.write_text(f'done: {{when: at once}}\nrules: {rules}\ntools:\n  ' + '\n  '.join(rows) + '\n')
        return read_contract(path)

    return read


class Noting(Expert):
    "The expert, who leaves a note with each todo."

    def __call__(self, session):
        said = super().__call__(session)
        calls = [
            replace(c, arguments=c.arguments | dict(notes=['went well'])) if c.name == 'todo_complete' else c
            for c in said.tool_calls
        ]
        return replace(said, tool_calls=calls)


def test_the_suite_of_a_contract_takes_notes_with_a_todo(all_but):
    (noted,), (plain,) = (suite_tasks('contract', 1, contract=all_but(*own)) for own in ((NOTED,), ()))
    with Session(noted) as s:
        assert {*s.contract['todo_complete'].parameters['properties']} == {'notes', 'todo_id'}
        assert {*s.contract['read_file'].parameters['properties']} == {'path'}  # short, as the task has it
    jobs = [play(task, player) for task in (noted, plain) for player in (Expert(), Noting())]
    refused = [[r.content for _, c, r in j.calls() if c.name == 'todo_complete' and not r.ok] for j in jobs]
    assert [bool(x) for x in refused] == [False, False, False, True]
    assert refused[3][0] == "Error: todo_complete: arguments must not contain {'notes'} properties"
    for fine in jobs[:2]:
        assert fine.outcome.status == 'success'
        assert five([fine])['phase_adherence'].value == five([fine])['todo_completion'].value == 1.0
        assert not {'malformed_arguments', 'unknown_tool'} & {f.mode for f in detect(fine)}


@pytest.mark.parametrize('suite', ['short', 'full'])
def test_the_suite_of_a_contract_reads_by_the_contract_s_argument(all_but, suite):
    contract = all_but(BY_FILE, NOTED, **({} if suite == 'short' else dict(rules='{}')))
    for task in suite_tasks('contract', 4, contract=contract):
        path = next(iter(task.files))
        with Session(task) as s:
            answers = [
                s.step(Message('assistant', '', [tool_call('read_file', **{k: path})]))[0]
                for k in ('path', 'file_path')
            ]
            assert [a.ok for a in answers] == [False, True] and "contain ['file_path']" in answers[0].content
        job = play(task, Noting())
        assert job.outcome.status == 'success' and files_at(job).texts() == job.files_after
        assert all('path' not in c.arguments for _, c, _ in job.calls() if c.name == 'read_file')
        measured = five([from_dict(Job, to_dict(job))])
        assert measured['phase_adherence'].value == measured['todo_completion'].value == 1.0
        assert str(measured['edit_precision']) == str(
            five([play(replace(task, toolbox=None), Expert())])['edit_precision']
        )


def test_a_job_under_own_arguments_is_judged_and_taught_by_effect(all_but):
    "Detectors, right turns, windows, rules and held-out turns see the same job as under the default table."
    (plain,), (own,) = (suite_tasks('contract', 1, contract=all_but(*x)) for x in ((), (BY_FILE, NOTED)))
    ours, theirs = play(plain, Expert()), play(own, Expert())
    fmt = ChatFormat(load_tokenizer())
    assert [f.mode for f in detect(theirs)] == [f.mode for f in detect(ours)]
    assert [v.reason for v in judge_turns(theirs)] == [v.reason for v in judge_turns(ours)]
    for a, b in zip(windows(ours, fmt, 10**6), windows(theirs, fmt, 10**6), strict=True):
        assert (a.whys, a.trained) == (b.whys, b.trained)
        row = window_example(theirs, b)
        assert rule_problems(row) == [] and 'file_path' in json.dumps(row.tools) and 'notes' in json.dumps(row.tools)
    for job in (ours, theirs, play(own, Noting())):
        assert rule_problems(job_example(job)) == []
    refs = [reference_at(theirs, i) for i in range(len(theirs.turns))]
    reads = [i for i, t in enumerate(theirs.turns) if any(c.name == 'read_file' for c in t.said.tool_calls)]
    for said, right in ((theirs, True), (ours, False)):
        answers = [Answer(r.id, said.turns[i].said, 10, 5, 'stop') for i, r in enumerate(refs)]
        judged = judge_answers(refs, dict(base=answers, tuned=answers))
        assert reads and {judged[i].by['tuned'].valid for i in reads} == {right}


def test_a_recorded_job_is_judged_by_own_arguments_where_no_schema_was_recorded(all_but):
    contract = all_but(BY_FILE)
    reads = [turn('tactical', ('read_file', {key: 'a.md'}, 'timeout: 30')) for key in ('file_path', 'path')]
    job = contract.judges(Job('j', 'jobs', turns=reads))
    assert [len(check_call(c, 'tactical', contract_of(job))) for _, c, _ in job.calls()] == [0, 1]
    assert files_at(job, 1).texts() == {'a.md': 'timeout: 30'}


def test_what_a_contract_lacks_is_said(all_but):
    long = replace(make_task('config', 1, formed=False), parts=True)
    assert under_contract(long, all_but())
    path = next(iter(long.files))
    calls = [tool_call('read_file', path=path, offset=1) if c.name == 'read_file' else c for c in long.items[0].calls]
    item = replace(long.items[0], calls=calls)
    long = replace(long, items=[item, *long.items[1:]])
    assert under_contract(long, all_but())
    with pytest.raises(ValueError, match=r"read_file: arguments must not contain {'offset'}"):
        under_contract(long, all_but(NOT_IN_PARTS))
    needed = NOTED + '\n      required: [notes]'
    with pytest.raises(ValueError, match=r"todo_complete: arguments must contain \['notes'\]"):
        under_contract(make_task('config', 1, formed=False), all_but(needed))
    with pytest.raises(ValueError, match='nothing like edit_file'):
        under_contract(make_task('config', 1, formed=False), all_but('edit_file: {like: write_file}'))


def test_a_value_that_no_tool_can_take_is_refused(all_but):
    "A contract may allow todos that are objects beside texts; the arena stages texts."
    loose = 'next_phase_todos: {parameters: {type: object, properties: {todos: {type: array}}, required: [todos]}}'
    task = under_contract(make_task('config', 1, formed=False), all_but(loose))
    with Session(task) as s:
        (answer, *_) = s.step(
            Message('assistant', '', [tool_call('next_phase_todos', todos=[dict(text='Set it to 60')])])
        )
        assert not answer.ok and 'todos[0] must be string' in answer.content


# ------------------------------------------------------------------ several calls, long files, what a task says of itself


def test_several_calls_in_one_message():
    task = make_task('config', 1, formed=False)
    with Session(task) as s:
        plan = [tool_call('next_phase_todos', todos=[i.text for i in task.items]), tool_call('todo_complete')]
        assert all(m.ok for m in s.step(Message('assistant', '', plan)) if m.role == 'tool')
        assert s.agent_phase == 'tactical'
        work = [*task.items[0].calls, read_call('nowhere.md'), *task.items[1].calls]
        answers = s.step(Message('assistant', '', [*work, tool_call('todo_complete'), tool_call('todo_complete')]))
        assert [m.ok for m in answers if m.role == 'tool'].count(False) == 1
        last = s.step(
            Message('assistant', '', [tool_call('job_complete', summary='s', deliverables=[]), read_call('a')])
        )
        assert [m.content for m in last] == ['Job complete.', 'Error: the job has ended.']
        job = s.job('parallel')
    assert job.outcome.status == 'success' and [t.completed_turn for t in job.todos] == [0, 1, 1, None]
    assert str(five([job])['todo_completion']) == '100.0% (2/2)'


def long_task(parts):
    "A file of 120 lines, in which the line before the last is wrong."
    lines = [f'{k}: {k * 3 % 97}' for k in range(120)]
    text = '\n'.join(lines) + '\n'
    want = text.replace('118: 63', '118: 64')
    edit = tool_call('edit_file', path='long.yaml', old_string='118: 63', new_string='118: 64')
    reads = [tool_call('read_file', path='long.yaml', offset=k, limit=PART) for k in (1, 41, 81)]
    item = Item(
        'Set 118 to 64 in long.yaml', [*(reads if parts else [read_call('long.yaml')]), edit], {'long.yaml': want}
    )
    return of(Task('long', 0, 'Set 118 to 64.', {'long.yaml': text}, [item], ['long.yaml'], 'Done.'), parts=parts)


@pytest.mark.parametrize('parts', [True, False])
def test_a_long_file_is_read_in_parts_where_the_task_asks_for_it(parts):
    with Session(long_task(parts)) as s:
        offered = s.contract['read_file'].parameters['properties']
        assert ('offset' in offered) == parts
        (answer, *_) = s.step(Message('assistant', '', [read_call('long.yaml')]))
        assert ('truncated after line 40 of 120' in answer.content) == parts
        assert ('119: ' in answer.content) != parts
    job = play(long_task(parts), Expert())
    assert job.outcome.status == 'success' and files_at(job).texts() == job.files_after
    greedy = long_task(parts)
    if parts:
        with Session(greedy) as s:
            wide = tool_call('read_file', path='long.yaml', offset=1, limit=500)
            (answer, *_) = s.step(Message('assistant', '', [wide]))
            assert len(answer.content.splitlines()) == PART + 1
    assert str(five([job])['edit_precision']) == str(five([play(long_task(not parts), Expert())])['edit_precision'])


def test_a_job_says_what_its_task_is():
    told = dict(level=2, work='edit', suite='seeds')
    meta = play(of(make_task('config', 1, formed=False), **told), Expert()).meta
    assert told.items() <= meta.items() and meta['objective'] == 'two_phase'
    assert not told.keys() & play(make_task('config', 1, formed=False), Expert()).meta.keys() - {
        'level',
        'objective',
        'work',
        'suite',
    }


# ------------------------------------------------------------------ environments

STOCK = "create table stock (item text primary key, n integer); insert into stock values ('bolt', 40), ('nut', 7);"


def stock_task(seed=0):
    "A job about a database and a file."
    statement = "update stock set n = 70 where item = 'nut'"
    done = Database(STOCK)
    done.run(tool_call('sql_execute', statement=statement))
    items = [
        Item('Set the stock of nut to 70', [tool_call('sql_execute', statement=statement)], done.files()),
        Item(
            'Write the number to note.md',
            [tool_call('write_file', path='note.md', content='nut: 70\n')],
            {'note.md': 'nut: 70\n'},
        ),
    ]
    task = Task('stock', seed, 'Set the stock of nut to 70 and note it.', {}, items, ['note.md'], 'Nut is 70.')
    return of(task, environment=lambda task: Database(STOCK))


class Careless(Expert):
    "Forgets the condition of a statement."

    name = 'careless'

    def script(self, task, rules):
        lines = super().script(task, rules)
        for call in (c for m in lines for c in m.tool_calls if c.name == 'sql_execute'):
            call.arguments['statement'] = 'update stock set n = 70'
        return lines


@pytest.mark.parametrize('rules', [SHORT, FULL], ids=['short', 'full'])
def test_a_job_about_a_database(rules):
    right, wrong = play(stock_task(), Expert(), rules), play(stock_task(), Careless(), rules)
    assert (right.outcome.status, wrong.outcome.status) == ('success', 'failed')
    assert "VALUES('nut',70)" in right.files_after['database.sql'] != right.files_before['database.sql']
    a, b = five([right]), five([wrong])
    assert a['phase_adherence'].value == a['todo_completion'].value == 1.0 and not a['phase_adherence'].unknown
    assert b['todo_completion'].companions['marked_without_work'].numerator == 1
    again = from_dict(Job, json.loads(json.dumps(to_dict(right))))
    assert job_counts(again) == job_counts(right)


def test_a_query_belongs_to_the_tactical_phase_and_changes_nothing():
    with Session(stock_task()) as s:
        query = tool_call('sql_query', query='select n from stock')
        assert not s.step(Message('assistant', '', [query]))[0].ok
        s.step(
            Message(
                'assistant',
                '',
                [tool_call('next_phase_todos', todos=['Look at the stock']), tool_call('todo_complete')],
            )
        )
        assert s.step(Message('assistant', '', [query]))[0].content == 'n\n40\n7'
        before = s.files()
        for text in ('delete from stock', 'pragma query_only = off', "attach ':memory:' as x", 'select 1; select 2'):
            s.env.run(tool_call('sql_query', query=text))
        assert not s.env.run(tool_call('sql_query', query='delete from stock'))[1]
        assert s.files() == before


def test_the_database_stays_off_the_disk(tmp_path):
    db = Database(STOCK)
    for text in (f"attach '{tmp_path}/x.db' as x", f"vacuum into '{tmp_path}/y.db'"):
        answer, ok = db.run(tool_call('sql_execute', statement=text))
        assert not ok, answer
    endless = 'with recursive r(x) as (select 1 union all select x from r) select count(*) from r'
    assert db.run(tool_call('sql_query', query=endless)) == ('Error: interrupted', False)
    assert not list(tmp_path.iterdir())
    db.close()


def test_an_environment_under_other_names():
    task = stock_task()
    task.toolbox = disguise(task, vocabulary=0).toolbox
    task.toolbox.aliases['sql_execute'] = ('ledger_write', dict(statement='entry'))
    job = play(task, Translated())
    assert job.outcome.status == 'success'
    assert 'ledger_write' in {c.name for _, c, _ in job.calls()}
    assert five([job])['phase_adherence'].value == 1.0


def test_a_state_that_nobody_asked_about_is_left_alone():
    quiet = stock_task()
    quiet.items = quiet.items[1:]
    assert play(quiet, Expert()).outcome.status == 'success'
    with Session(quiet) as s:
        assert 'database.sql' not in s._of_the_task(s.files())
        s.env.run(tool_call('sql_execute', statement='delete from stock'))
        assert 'database.sql' in s._of_the_task(s.files())


def example(notebook: str, begins: str) -> str:
    "The source of the cell of a notebook that begins with these words."
    cells = json.loads((ROOT / 'nbs' / notebook).read_text(encoding='utf-8'))['cells']
    (source,) = [x for c in cells if (x := ''.join(c['source'])).startswith(begins)]
    return source


@pytest.fixture(scope='module')
def shop():
    "The documented environment of a team: its class and the function that makes a task of it."
    names = dict(vars(environments), tool_call=tool_call)
    parts = [example('arena/08_environments.ipynb', x) for x in ('stock = "create', 'def stock_task(')]
    exec(compile('\n\n'.join(parts), 'example', 'exec'), names)
    return names | dict(
        lines=sum(bool(line.strip()) for part in parts for line in part.split('own = ')[0].splitlines())
    )


def says(sql):
    class Says(Expert):
        "Makes one statement and ends the job."

        name = 'says'

        def script(self, task, rules):
            lines = super().script(task, rules)
            next(c for m in lines for c in m.tool_calls if c.name == 'change').arguments['sql'] = sql
            return lines

    return Says()


def test_the_documented_environment_is_short_and_holds_its_checker(shop):
    assert shop['lines'] <= 30 and 'check' in vars(shop['Stock'])  # class, checker, script, and a task of it
    assert issubclass(shop['Stock'], environments.TeamEnvironment)


@pytest.mark.parametrize('rules', [SHORT, FULL], ids=['short', 'full'])
def test_an_environment_in_one_class_is_played_and_judged(shop, rules):
    tasks = [shop['stock_task'](k) for k in range(3)]
    assert len({t.instruction for t in tasks}) > 1 and tasks[0].instruction == shop['stock_task'](0).instruction
    for t in tasks:
        job = play(t, Expert(), rules)
        assert job.outcome.status == 'success', job.outcome.detail
        assert five([job])['todo_completion'].value == 1.0
        assert all(play(t, f, rules).outcome.status == 'failed' for f in FLOORS.values())


def test_wrong_states_of_an_environment_in_one_class_are_refused(shop):
    t, job = shop['stock_task'](0), shop['Stock'](0)
    end = lambda sql: play(t, says(sql)).outcome
    assert end(f"replace into stock values ('{job.item}', {job.n})").status == 'success'
    for sql in (
        f'update stock set n = {job.n}',
        f"update stock set n = {job.n + 1} where item = '{job.item}'",
        f"update stock set n = '{job.n} pieces' where item = '{job.item}'",
        'delete from stock',
        'drop table stock',
        'create table more (n)',
        'select 1',
    ):
        assert end(sql).status == 'failed', sql


def test_an_environment_in_one_class_is_proved_and_a_lax_checker_is_found_out(shop):
    class Lax(shop['Stock']):
        def check(self, state):
            return any(f"'{self.item}',{self.n}" in line for line in state)

    (row,) = proof_rows([shop['stock_task'](k) for k in range(4)], most=0)
    (lax,) = proof_rows([shop['stock_task'](k, Lax) for k in range(4)], most=0)
    assert row['holds'] and row['mutants'] >= 30 and row['rewritings'] >= 12, row
    assert not lax['holds'] and lax['caught'] < 0.98 * lax['mutants'], lax
    for answer, words in ((True, 'passes the start state'), (False, 'refuses the state after the plan')):
        fixed = type('Fixed', (shop['Stock'],), dict(check=lambda self, state, answer=answer: answer))
        with pytest.raises(ValueError, match=words):
            shop['stock_task'](0, fixed)


def test_the_state_of_a_database_is_spoiled_as_files_are():
    "The start state is a wrong end: a checker that takes it is found out."
    (row,) = proof_rows([stock_task()], most=0)
    assert row['holds'] and row['mutants'] >= 20, row
    lazy = stock_task()
    lazy.problems = lambda files: [] if files['database.sql'] == start_files(lazy)['database.sql'] else ['x']
    assert not proof_rows([lazy])[0]['holds']
    quiet = stock_task()
    quiet.items = quiet.items[1:]
    assert proof_rows([quiet], most=0)[0]['holds']


def test_jobs_of_a_team_are_counted_under_their_own_suite(shop):
    own, known = [shop['stock_task'](k) for k in range(4)], suite_tasks('seen', 2)
    tasks = [own[0], *known, *own[1:]]
    assert positions_of(tasks) == {'seen': [1, 2], 'stock': [0, 3, 4, 5]}
    jobs = {name: [play(t, who) for t in tasks] for name, who in dict(tuned=Expert(), told=FLOORS['floor']).items()}
    stand = standings(tasks, jobs)
    assert list(stand) == ['seen', 'stock'] and stand['stock'].jobs == 4
    assert [stand['stock'].won(p).numerator for p in ('tuned', 'told')] == [4, 0]
    rows = headline_rows(stand)
    assert rows[1]['suite'] == 'stock' and '4/4' in rows[1]['tuned'] and '0/4' in rows[1]['told']
    assert 'stock 4 of 4' in standing_line(stand)
    assert standing_line(standings(own, {'tuned': jobs['tuned'][:1] + jobs['tuned'][3:]})).startswith('Stock: 4 of 4')
    assert jobs_to_read(own, {p: [j[0], *j[3:]] for p, j in jobs.items()})['good'].family == 'stock'


# ------------------------------------------------------------------ what can't be run again


@pytest.fixture
def site():
    "A real web server, and a switch that shuts it down."
    asked = []

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if self.path.startswith('/page') else 404)
            self.end_headers()
            self.wfile.write(f'This is {self.path}, asked {len(asked)} times.'.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop():
        server.shutdown()
        server.server_close()

    yield f'http://127.0.0.1:{server.server_port}', asked, stop
    stop()


def fetch(call):
    "The real tool."
    try:
        with urllib.request.urlopen(call.arguments['url'], timeout=10) as answer:
            return answer.read().decode(), True
    except OSError as e:
        return f'Error: {e}', False


WEB = {'extract_webpage': TOOLS['extract_webpage']}


def web_task(url, env):
    page = tool_call('extract_webpage', url=url)
    note = tool_call('write_file', path='note.md', content='read\n')
    item = Item('Read the page and write note.md', [page, note], {'note.md': 'read\n'})
    task = Task('web', 0, f'Read {url} and write note.md.', {}, [item], ['note.md'], 'Read.')
    return of(task, environment=lambda task: env())


def test_a_page_that_was_fetched_once_is_read_again_without_its_server(site, tmp_path):
    address, asked, stop = site
    tape, url = tmp_path / 'web' / 'tape.jsonl', f'{address}/page?b=1'
    recorded = play(web_task(url, lambda: Recorded(tape, WEB, ask=fetch)), Expert())
    assert recorded.outcome.status == 'success' and asked == ['/page?b=1']
    play(web_task(url, lambda: Recorded(tape, WEB, ask=fetch)), Expert())
    assert asked == ['/page?b=1']  # what is stored is not asked again
    stop()
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=2)
    replayed = play(web_task(url, lambda: Recorded(tape, WEB)), Expert())
    assert replayed.outcome.status == 'success'
    text = [[r.content for _, c, r in job.calls() if c.name == 'extract_webpage'] for job in (recorded, replayed)]
    assert text[0] == text[1] == ['This is /page?b=1, asked 1 times.']
    missed = play(web_task(f'{address}/page?b=2', lambda: Recorded(tape, WEB)), Expert())
    (answer,) = [r for _, c, r in missed.calls() if c.name == 'extract_webpage']
    assert not answer.ok and 'no answer was recorded for extract_webpage(url=' in answer.content
    assert missed.meta['misses'] == 1 and 'misses' not in replayed.meta


def test_a_recording_that_was_cut_off_goes_on(site, tmp_path):
    address, asked, _ = site
    tape = tmp_path / 'tape.jsonl'
    calls = [tool_call('extract_webpage', url=f'{address}/page/{k}') for k in range(3)]
    first = Recorded(tape, WEB, ask=fetch)
    answers = [first.run(c) for c in calls[:2]]
    whole = tape.read_bytes()
    tape.write_bytes(whole[:-9])  # killed while the second answer was written
    again = Recorded(tape, WEB, ask=fetch)
    assert again.run(calls[0]) == answers[0] and len(asked) == 2
    again.run(calls[1]), again.run(calls[2])
    assert len(asked) == 4
    assert len(Recorded(tape, WEB).answers) == 3 and all(json.loads(x) for x in tape.read_text().splitlines())
    tape.write_text('{"tool": "extract_webpage"}\n' + tape.read_text())
    with pytest.raises(ValueError, match='line 1: no recorded answer'):
        Recorded(tape, WEB)


def test_a_refusal_is_an_answer_too(site, tmp_path):
    address, asked, _ = site
    gone = tool_call('extract_webpage', url=f'{address}/gone')
    assert not Recorded(tmp_path / 't.jsonl', WEB, ask=fetch).run(gone)[1]
    assert Recorded(tmp_path / 't.jsonl', WEB).run(gone) == ('Error: HTTP Error 404: Not Found', False)


def test_environments_together(tmp_path):
    (tmp_path / 't.jsonl').write_text('')
    both = Together(Database(STOCK), Recorded(tmp_path / 't.jsonl', WEB))
    assert list(both.files()) == ['database.sql']
    both.run(tool_call('extract_webpage', url='http://x/'))
    assert sum(both.misses.values()) == 1
    both.close()
