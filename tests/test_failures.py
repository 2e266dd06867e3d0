"Detectors on agents that are not ours: a job is judged by what it came with, and only for what the agent did."

import csv
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from agentft.core.records import Job, Message, Outcome, Todo, ToolCall, Turn
from agentft.evidence.failures import BEHAVIOUR_OF, MODES, detect
from agentft.evidence.patterns import JobRow, data_budget, fix_first

ROOT = Path(__file__).parents[1]


def turn(name='', text='', ok=True, said='', phase='', finish='', malformed='', seen=(), **arguments):
    calls = [ToolCall(name, arguments, 'c', malformed)] if name else []
    results = [Message('tool', text, tool_call_id='c', name=name, ok=ok)] if name and text is not None else []
    return Turn(phase, Message('assistant', said, calls), [*seen], results, finish_reason=finish)


def modes(*turns, **about):
    return {f.mode for f in detect(Job('j', 'foreign', turns=list(turns), **about))}


def schema(name, **properties):
    parameters = dict(type='object', properties=properties, required=[*properties])
    return dict(type='function', function=dict(name=name, parameters=parameters))


def test_rows_of_tool_calling_data_without_schemas_have_no_findings():
    talk = [turn('find_flight', '{"flight": "LX 8"}', to='Bern'), turn(said='There is one at nine. Shall I book it?')]
    assert modes(*talk) == set()
    assert modes(*talk, tools=[schema('find_flight', to=dict(type='string'))]) == set()


def test_a_job_is_judged_by_the_tools_it_came_with():
    tools = [schema('find_flight', to=dict(type='string'))]
    assert modes(turn('find_train', 'none', to='Bern'), tools=tools) == {'unknown_tool'}
    assert modes(turn('find_flight', 'none', city='Bern'), tools=tools) == {'malformed_arguments'}
    assert modes(turn('read_file', 'x', path='a.md'), tools=tools) == {'unknown_tool'}  # our tool is not theirs


@pytest.mark.parametrize(
    'answer, mode',
    [
        ('Error: No such tool available: find_train', 'unknown_tool'),
        ('Unknown tool: find_train', 'unknown_tool'),
        ('InputValidationError: the required parameter `to` is missing', 'malformed_arguments'),
        ('ERROR: Parameter `to` is required for command: find.', 'malformed_arguments'),
        ('Error: no train runs to Bern', None),
    ],
)
def test_without_schemas_the_trace_itself_is_the_witness(answer, mode):
    assert modes(turn('find_train', answer, ok=False, to='Bern')) == ({mode} if mode else set())
    assert modes(turn('find_train', answer, ok=True, to='Bern')) == set()  # an article about tools


def test_an_agent_without_phases_or_todos_has_none_of_their_failures():
    work = [turn('edit', 'done', path=f'{n}.md', old_str='a', new_str='b') for n in range(25)]
    assert modes(*work, turn(said='Done.')) == set()
    phased = [turn('read_file', 'x', phase='tactical', path=f'{n}.md') for n in range(3)]
    assert modes(*phased) == {'no_job_complete'}  # an agent with phases has an end
    assert modes(*phased, outcome=Outcome('unknown', 'running')) == set()


@pytest.mark.parametrize(
    'answer',
    [
        "The user doesn't want to proceed with this tool use. The tool use was rejected.",
        '[Request interrupted by user for tool use]',
        '<tool_use_error>Sibling tool call errored</tool_use_error>',
        'Cancelled: parallel tool call Bash(make) errored',
    ],
)
def test_what_never_ran_is_no_failure(answer):
    calls = [turn('edit_file', answer, ok=False, path='a.md', old_string='x', new_string='y')] * 3
    assert modes(*calls) == set()
    assert modes(*[turn('edit_file', 'old_string not found', False, path='a.md', old_string='x')] * 3) >= {
        'failed_edit'
    }


def test_an_answer_that_a_user_broke_off_is_not_empty():
    stop = Message('user', '[Request interrupted by user]')
    assert modes(turn(), turn(said='Yes.')) == {'empty_turn'}
    assert modes(turn(), turn(said='Yes.', seen=[stop])) == set()
    assert modes(turn(finish='aborted'), turn(said='Yes.')) == set()


@pytest.mark.parametrize(
    'name, answer, ok, want',
    [
        ('Edit', 'Found 2 matches of the string to replace, but replace_all is false.', False, {'ambiguous_edit'}),
        ('Grep', 'Found 2 matches', True, set()),
        ('Grep', 'Found 2 matches', False, set()),  # whatever its reader took it for
        ('Edit', 'String to replace not found in file.', False, {'failed_edit'}),
        ('Edit', 'File has been modified since read, either by the user or by a linter.', False, set()),
        ('Edit', 'Permission denied', False, set()),
        ('Edit', 'File has not been read yet. Read it first before writing to it.', False, {'blind_edit'}),
    ],
)
def test_the_tool_decides_what_an_answer_means(name, answer, ok, want):
    assert modes(turn(name, answer, ok, file_path='/x/a.md', old_string='x', new_string='y')) == want


def test_a_file_that_was_read_or_made_is_not_edited_blindly():
    refused = turn('Edit', 'File has not been read yet.', False, file_path='/x/a.md', old_string='x', new_string='y')
    for before in (turn('Read', 'x', file_path='/x/a.md'), turn('Write', 'ok', file_path='/x/a.md', content='x')):
        assert modes(before, refused) == set()
    assert modes(turn('Read', 'x', file_path='/x/b.md'), refused) == {'blind_edit'}


def test_cut_arguments_are_no_context_overflow():
    cut = dict(text=None, malformed='{"path": "a.md", "content": "# A')
    assert modes(turn('write_file', finish='length', **cut)) == {'truncated_arguments'}
    assert modes(turn('write_file', **cut)) == {'malformed_arguments'}
    assert modes(turn(finish='length')) == {'truncated_arguments'}  # the call was lost with its end
    assert modes(turn(said='The third chapter', finish='length')) == {'context_overflow'}


def test_moves_that_bring_something_new_are_no_repetition():
    moves = [turn('move', f'you are at {n}', direction='right') for n in range(3)]
    assert modes(*moves) == set()
    assert modes(*[turn('move', 'a wall', direction='right')] * 3) == {'repeated_call'}
    assert modes(*[turn('BashOutput', 'running', bash_id='1')] * 5) == set()  # waiting


@pytest.mark.parametrize(
    'error',
    [
        'Error code: 503',
        'HTTP 429 Too Many Requests',
        'overloaded_error',
        'Connection reset by peer',
        'OOM killed by the kernel',
    ],
)
def test_causes_outside_the_agent_are_named_and_get_no_data(error):
    outcome = Outcome('failed', 'none', 0.6, f'no check ended the job; last error: {error}')
    job = Job('j', 'dump', turns=[turn('read_file', 'x', phase='tactical', path='a.md')] * 2, outcome=outcome)
    failures = detect(job)
    assert [f.mode for f in failures] == ['outside_cause'] and not BEHAVIOUR_OF['outside_cause']
    row = JobRow('j', turns=2, outcome=outcome)
    assert data_budget(failures, [row]) == {} and fix_first(failures, [row])[0]['budget'] == 0
    failures += detect(Job('k', 'dump', turns=[turn('read_file', 'x', phase='tactical', path='a.md')]))
    assert data_budget(failures, [row, JobRow('k', turns=1)]) == {'phase': 1.0}


def test_a_loop_that_was_killed_is_the_agents_own():
    outcome = Outcome(
        'failed', 'none', 0.6, 'no check ended the job (killed, died, out of iterations, or still running)'
    )
    assert modes(turn('read_file', 'x', phase='tactical', path='a.md'), outcome=outcome) == {'no_job_complete'}


def test_a_renamed_todo_is_not_left_open():
    work = turn('edit_file', 'ok', phase='tactical', path='guide.md', old_string='a', new_string='guide')
    first = Todo('a', 'Write the guide for new staff', staged_turn=0)
    again = Todo('b', 'Write the guide for the new staff', staged_turn=2, completed_turn=3)
    turns = [turn('todo_list', 'x', phase='tactical'), work, turn('todo_list', 'x', phase='tactical'), work]
    assert 'todo_not_completed' not in modes(*turns, todos=[first, again])
    assert 'todo_not_completed' in modes(*turns, todos=[first])


def test_a_todo_loop_that_begins_at_the_first_turn_ends_with_its_phase():
    turns = [turn('read_file', 'x', phase='tactical', path=f'{n}.md') for n in range(24)]
    for n in (3, 8, 12, 16):
        turns[n].seen = [Message('user', '2 todos are incomplete')]
    assert 'todo_loop' in modes(*turns)
    for n, t in enumerate(turns):
        t.agent_phase_number = 1 if n < 12 else 3
    assert 'todo_loop' not in modes(*turns)


# --- the bench and its sheet ---


def bench(name):
    sys.path.insert(0, str(ROOT / 'bench'))
    try:
        spec = importlib.util.spec_from_file_location(name, ROOT / 'bench' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.pop(0)


def test_the_sheet_is_whole_and_holds_no_foreign_text():
    with (ROOT / 'bench' / 'sheets' / 'failures.csv').open(encoding='utf-8', newline='') as f:
        rows = list(csv.DictReader(f))
    assert len({(r['id'], r['code'], r['reader']) for r in rows}) == len(rows) > 100
    assert all(re.fullmatch(r'[0-9a-f]{12}', r['id']) and r['reason'] and len(r['reason']) < 120 for r in rows)
    assert {r['verdict'] for r in rows} <= {'right', 'wrong', 'unsure'} and {r['mode'] for r in rows} <= set(MODES)
    assert len({r['kind'] for r in rows if r['code'] == 'new'}) >= 4
    sure = [r for r in rows if r['code'] == 'new' and r['verdict'] != 'unsure']
    assert sum(r['verdict'] == 'right' for r in sure) / len(sure) >= 0.85


def test_the_planter_knows_no_detector_and_its_faults_are_found():
    m = bench('planted_faults')
    text = (ROOT / 'bench' / 'planted_faults.py').read_text()
    assert 'evidence' not in re.sub(r'""".*?"""', '', text, flags=re.S)
    n = found = alarms = 0
    for _, names, before, after, _ in m.planted():
        had, has = {f.mode for f in detect(before)}, {f.mode for f in detect(after)}
        if names:
            n, found = n + 1, found + bool(has & set(names))
        else:
            alarms += bool(has - had)
    assert n > 200 and found / n > 0.97 and not alarms


def test_hits_are_drawn_from_each_kind_and_mode():
    m = bench('bench_failures')

    class F:
        def __init__(self, mode):
            self.mode = mode

    hits = {f'{n:012x}': ('f', 'a' if n < 90 else 'b', None, F(f'm{n % 3}')) for n in range(100)}
    drawn = m.draw(hits, 30, 1)
    assert drawn == m.draw(hits, 30, 1) != m.draw(hits, 30, 2)
    assert sum(hits[id][1] == 'b' for id in drawn) == 10 and {hits[id][3].mode for id in drawn} == {'m0', 'm1', 'm2'}
    assert json.dumps(drawn)


def test_held_out_hits_are_drawn_apart_and_none_twice():
    m = bench('bench_failures')

    class F:
        def __init__(self, mode):
            self.mode = mode

    hits = {f'{n:012x}': ('f', 'held-out a', None, F('m0' if n < 50 else f'm{n}')) for n in range(60)}
    drawn = m.draw_apart(hits, 12, 1, known={f'{50:012x}'})
    assert drawn == m.draw_apart(hits, 12, 1, known={f'{50:012x}'}) and len({*drawn}) == len(drawn) == 12 + 9
    assert m.mends_before('held-out a') == 0 and m.mends_before('held-out a after second mend') == 2
    assert set(m.LAST_MEND) <= set(MODES)


def test_a_foreign_trajectory_is_read_with_its_written_calls_and_refusals():
    m = bench('foreign_traces')
    said = 'Look.\n<function=str_replace_editor>\n<parameter=command>str_replace</parameter>\n</function>'
    rows = [
        dict(role='assistant', content=said),
        dict(role='user', content='OBSERVATION:\nNo replacement was performed'),
    ]
    call, answer = m.swe_agent_messages(rows)
    assert call.content == 'Look.\n' and call.tool_calls[0].arguments == dict(command='str_replace')
    assert answer.name == 'str_replace_editor' and answer.ok is False
    (sent,) = m.tau2_messages([dict(role='tool', id='c', content='Error', error=True, requestor='assistant')])
    assert sent.ok is False and not [*m.tau2_messages([dict(role='tool', id='c', content='', requestor='user')])]
