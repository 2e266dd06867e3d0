"""Foreign traces as jobs: nothing raises, nothing is lost without a count, big files stream."""

import bz2
import gzip
import json
import lzma
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentft.core.agent import TOOLS, check_call
from agentft.core.records import Job, Message, ToolCall, from_dict, to_dict
from agentft.core.todo_work import current_todo, phase_todos
from agentft.traces.coding_sessions import with_history
from agentft.traces.formats import read_source, sniff_source
from agentft.traces.job_logs import log_line
from agentft.traces.session_todos import TodoList
from agentft.traces.sources import SOURCES, source
from agentft.traces.tool_mapping import Left, lessons, map_call

quick = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def units(bad, unit):
    return sum(v for k, v in bad.items() if k.startswith(f'{unit}:'))


def read(path, name=''):
    jobs, bad = read_source(path, name)
    jobs = list(jobs)
    for j in jobs:
        assert from_dict(Job, json.loads(json.dumps(to_dict(j)))) == j  # every job survives the disk
    return jobs, bad


class Script:
    "Writes session lines as Claude Code does."

    def __init__(self, session='s1', cwd='/w/shop', start=0):
        self.s, self.cwd, self.rows, self.n, self.last = session, cwd, [], start, None

    def line(self, type, parent=..., **kw):
        self.n += 1
        uuid = f'{self.s}-{self.n:04}'
        self.rows.append(
            dict(
                parentUuid=self.last if parent is ... else parent,
                isSidechain=False,
                cwd=self.cwd,
                sessionId=self.s,
                version='2.1.30',
                type=type,
                uuid=uuid,
                timestamp=f'2026-03-01T{self.n // 3600:02}:{self.n // 60 % 60:02}:{self.n % 60:02}.000Z',
            )
            | kw
        )
        self.last = uuid
        return uuid

    def user(self, text, **kw):
        return self.line('user', message=dict(role='user', content=text), **kw)

    def say(self, *blocks, stop='tool_use', **kw):
        mid = f'msg_{self.s}{self.n}'
        return [
            self.line(
                'assistant',
                message=dict(
                    id=mid,
                    role='assistant',
                    model='claude',
                    content=[b],
                    stop_reason=stop,
                    usage=dict(
                        input_tokens=3, cache_creation_input_tokens=4, cache_read_input_tokens=90, output_tokens=7
                    ),
                ),
                **kw,
            )
            for b in blocks
        ]

    def result(self, id, text='ok', meta=None, error=False, **kw):
        return self.line(
            'user',
            message=dict(
                role='user',
                content=[
                    dict(type='tool_result', tool_use_id=id, content=text) | (dict(is_error=True) if error else {})
                ],
            ),
            **({} if meta is None else dict(toolUseResult=meta)),
            **kw,
        )

    def call(self, id, name, result='ok', meta=None, error=False, **a):
        self.say(use(id, name, **a))
        return self.result(id, result, meta, error)

    def write(self, path):
        path.write_text(''.join(json.dumps(r) + '\n' for r in self.rows))
        return path


def use(id, name, **a):
    return dict(type='tool_use', id=id, name=name, input=a)


def text(s):
    return dict(type='text', text=s)


def todos(*xs):
    return [dict(content=c, status=s, activeForm=c) for c, s in xs]


def balanced(rows, jobs, bad):
    assert rows == sum(j.provenance['lines'] for j in jobs) + units(bad, 'line'), dict(bad)


# --- Claude Code ----------------------------------------------------------------------------------------------------


def test_parallel_calls_keep_all_results(tmp_path):
    s = Script()
    s.user('Look at both')
    a, b = s.say(use('t1', 'Read', file_path='/w/shop/a.py'), use('t2', 'Read', file_path='/w/shop/b.py'))
    s.result('t1', '1\tx', parent=a)
    s.result('t2', '1\ty', parent=b)
    s.say(text('Seen.'), stop='end_turn')
    (job,), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert [[r.content for r in t.results] for t in job.turns] == [['1\tx', '1\ty'], []]
    assert job.turns[0].usage.prompt_tokens == 97 and job.turns[1].finish_reason == 'stop'
    assert not bad
    balanced(len(s.rows), [job], bad)


def test_results_between_the_blocks_of_one_answer(tmp_path):
    s = Script()
    s.user('Go')
    block = lambda b: s.line('assistant', message=dict(id='m', role='assistant', model='c', content=[b]))
    block(use('t1', 'Bash', command='ls'))
    s.result('t1', 'a')
    block(use('t2', 'Bash', command='pwd'))
    s.result('t2', '/w')
    s.say(text('Done'))
    (job,), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert [c.arguments['command'] for c in job.turns[0].said.tool_calls] == ['ls', 'pwd'] and len(job.turns) == 2


def test_rewound_branch_is_a_job_of_its_own(tmp_path):
    s = Script()
    s.user('Plan')
    s.say(text('A plan'), stop='end_turn')
    fork = s.last
    s.user('Do it badly')
    s.call('t1', 'Bash', command='rm -r x')
    s.say(text('Oops'), stop='end_turn')
    s.user('Do it well', parent=fork)
    s.call('t2', 'Bash', command='make')
    s.say(text('Fine'), stop='end_turn')
    jobs, bad = read(s.write(tmp_path / 's1.jsonl'))
    main, gone = jobs
    assert [t.said.content for t in main.turns] == ['A plan', '', 'Fine'] and [t.said.content for t in gone.turns] == [
        '',
        'Oops',
    ]
    assert gone.meta['branch_of'] == main.id and [
        t.said.content for t in with_history(gone, {j.id: j for j in jobs})
    ] == ['A plan', '', 'Oops']
    balanced(len(s.rows), jobs, bad)


def test_branch_that_starts_from_the_same_prompt_gets_the_prompt(tmp_path):
    s = Script()
    p = s.user('Try')
    s.say(text('First try'))
    s.say(text('Second try'), parent=p)
    (main, gone), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert (
        main.turns[0].said.content == 'Second try'
        and [m.content for m in gone.turns[0].seen] == ['Try']
        and gone.meta['shared_turns'] == 0
    )
    balanced(len(s.rows), [main, gone], bad)


def test_branch_inherits_open_todos_and_files(tmp_path):
    s = Script()
    s.user('Go')
    T = ['Write the parser', 'Write the tests']
    s.call('t0', 'Read', '1\tx = 1', file_path='/w/shop/a.py')
    s.call('t1', 'TodoWrite', todos=todos((T[0], 'in_progress'), (T[1], 'pending')))
    fork = s.last
    s.call('t2', 'TodoWrite', todos=todos((T[0], 'completed'), (T[1], 'in_progress')))
    s.user('Again', parent=fork)
    s.call('t3', 'TodoWrite', todos=todos((T[0], 'completed'), (T[1], 'in_progress')))
    (main, gone), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert gone.turns[0].said.tool_calls == [ToolCall('todo_complete', {}, 't2')]
    assert [(t.text, t.staged_turn, t.completed_turn) for t in gone.todos] == [(T[0], None, 0), (T[1], None, None)]
    assert gone.files_before == {'a.py': 'x = 1'} and [t.completed_turn for t in main.todos] == [2, None]


def test_resumed_session_is_joined_and_repeats_count_once(tmp_path):
    a = Script('a')
    a.user('One')
    a.say(text('1'), stop='end_turn')
    a.write(tmp_path / 'a.jsonl')
    b = Script('b', start=10)
    b.last = a.last
    b.user('Two')
    b.say(text('2'), stop='end_turn')
    b.rows = a.rows + b.rows
    b.write(tmp_path / 'b.jsonl')
    (job,), bad = read(tmp_path)
    assert (
        job.meta['sessions'] == ['a', 'b']
        and [t.said.content for t in job.turns] == ['1', '2']
        and bad['line: repeated'] == 2
    )
    balanced(6, [job], bad)


def test_resumed_copy_with_new_uuids_does_not_repeat_answers(tmp_path):
    a = Script('a')
    a.user('One')
    a.call('t1', 'Bash', command='ls')
    a.say(text('1'), stop='end_turn')
    a.write(tmp_path / 'a.jsonl')
    swap = lambda r: r | dict(uuid='n' + r['uuid'], parentUuid=r['parentUuid'] and 'n' + r['parentUuid'], sessionId='b')
    b = Script('b', start=10)
    b.last = 'n' + a.last
    b.user('Two')
    b.say(text('2'), stop='end_turn')
    b.rows = [swap(r) for r in a.rows] + b.rows
    b.write(tmp_path / 'b.jsonl')
    jobs, bad = read(tmp_path)
    assert [t.said.content or t.said.tool_calls[0].name for j in jobs for t in j.turns] == ['run_command', '1', '2']
    balanced(len(a.rows) + len(b.rows), jobs, bad)


def test_compaction_becomes_a_summary(tmp_path):
    s = Script()
    s.user('Start')
    s.say(text('Working'))
    last = s.last
    s.line('system', parent=None, logicalParentUuid=last, subtype='compact_boundary', content='Conversation compacted')
    s.user('All is half done.', isCompactSummary=True, isVisibleInTranscriptOnly=True)
    s.say(text('On with it'))
    (job,), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert (
        job.turns[1].seen == [Message('system', '[Summary of prior work]\nAll is half done.')]
        and job.turns[1].meta['compacted']
        and job.meta['compactions'] == 1
    )
    balanced(len(s.rows), [job], bad)


def test_missing_parent_follows_the_line_before(tmp_path):
    s = Script()
    s.user('Start')
    s.say(text('1'))
    s.user('More', parent='never-written')
    s.say(text('2'))
    (job,), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert len(job.turns) == 2 and bad['note: parent is missing'] == 1


def test_sidechains_inside_and_beside(tmp_path):
    s = Script()
    s.user('Ask others')
    s.say(
        use('t1', 'Task', prompt='Count files', description='x'),
        use('t2', 'Task', prompt='Count lines', description='y'),
    )
    back = s.last
    s.user('Count files', parent=None, isSidechain=True)
    s.say(text('12'), isSidechain=True)  # older: same file, found by its prompt
    s.result('t1', '12', parent=back)
    s.result('t2', '99', dict(agentId='ag7'))
    s.say(text('12 and 99'), stop='end_turn')
    side = Script('s1', start=100)
    for f in (
        lambda: side.user('Count lines', parent=None, isSidechain=True, agentId='ag7'),
        lambda: side.say(text('99'), isSidechain=True, agentId='ag7'),
    ):
        f()
    (tmp_path / 's1' / 'subagents').mkdir(parents=True)
    s.write(tmp_path / 's1.jsonl')
    side.write(tmp_path / 's1' / 'subagents' / 'agent-ag7.jsonl')
    (tmp_path / 's1' / 'subagents' / 'agent-ag7.meta.json').write_text('{"toolUseId": "t2"}')
    jobs, bad = read(tmp_path)
    jobs = {j.id: j for j in jobs}
    assert {k: (j.meta.get('sidechain_of'), j.meta.get('started_by')) for k, j in jobs.items()} == {
        's1': (None, None),
        's1/side': ('s1', 't1'),
        's1/ag7': ('s1', 't2'),
    }
    assert len(jobs['s1'].turns) == 2
    balanced(len(s.rows) + len(side.rows), jobs.values(), bad)


def test_stream_json_output(tmp_path):
    rows = [
        dict(type='system', subtype='init', session_id='z', tools=['Bash'], cwd='/w'),
        dict(
            type='assistant',
            session_id='z',
            parent_tool_use_id=None,
            uuid='1',
            message=dict(id='m1', model='c', content=[use('t1', 'Bash', command='ls')]),
        ),
        dict(
            type='user',
            session_id='z',
            uuid='2',
            message=dict(content=[dict(type='tool_result', tool_use_id='t1', content='a')]),
        ),
        dict(type='assistant', session_id='z', uuid='3', message=dict(id='m2', content=[text('a')])),
        dict(type='result', subtype='error_max_turns', session_id='z', is_error=True),
    ]
    p = tmp_path / 'out.jsonl'
    p.write_text('\n'.join(map(json.dumps, rows)))
    (job,), bad = read(p)
    assert len(job.turns) == 2 and job.outcome.status == 'failed' and 'error_max_turns' in job.outcome.detail
    balanced(5, [job], bad)


def test_edits_and_files(tmp_path):
    s = Script()
    s.user('Edit')
    A = 'a = 1\nb = 1\n'
    s.call(
        't1',
        'MultiEdit',
        meta=dict(originalFile=A),
        file_path='/w/shop/a.py',
        edits=[dict(old_string='a = 1', new_string='a = 2'), dict(old_string='b = 1', new_string='b = 2')],
    )
    s.call(
        't2',
        'Edit',
        meta=dict(originalFile='a = 2\nb = 2\n'),
        file_path='/w/shop/a.py',
        old_string='= 2',
        new_string='= 3',
        replace_all=True,
    )
    s.call('t3', 'Write', meta=dict(type='create', originalFile=None), file_path='/w/shop/new.md', content='hello')
    s.call(
        't4',
        'Edit',
        '<tool_use_error>String to replace not found in file.</tool_use_error>',
        error=True,
        file_path='/w/shop/a.py',
        old_string='zzz',
        new_string='y',
    )
    s.call('t5', 'MultiEdit', 'no', error=True, file_path='/w/shop/a.py', edits=[dict(old_string='q', new_string='r')])
    s.call(
        't6',
        'Edit',
        meta=dict(originalFile=A, userModified=True),
        file_path='/w/shop/a.py',
        old_string='a = 1',
        new_string='a = 5',
    )
    (job,), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert [[c.name for c in t.said.tool_calls] for t in job.turns] == [
        ['edit_file', 'edit_file'],
        ['Edit'],
        ['write_file'],
        ['edit_file'],
        ['MultiEdit'],
        ['Edit'],
    ]
    assert job.turns[3].results[0].ok is False and job.turns[3].results[0].content.startswith('String to replace')
    assert job.files_before['a.py'] == A and 'new.md' not in job.files_before and job.files_after['new.md'] == 'hello'
    assert {k for k in bad} == {
        'call: Edit: replaces all of several places',
        'call: MultiEdit: failed as a whole',
        'call: Edit: changed by the user before it was applied',
    }
    assert [c.id for c in job.turns[0].said.tool_calls] == ['t1', 't1.2'] and len(job.turns[0].results) == 2
    assert {t['function']['name'] for t in job.tools} == {'edit_file', 'write_file', 'Edit', 'MultiEdit'}


def test_files_of_a_session_follow_the_one_replay(tmp_path):
    s = Script()
    s.user('Go')
    at = '/w/shop/'
    s.call('a1', 'Edit', 'Updated.', file_path=at + 'a.py', old_string='1', new_string='2')  # nobody saw it before
    s.call('a2', 'Read', '1\tx = 2', file_path=at + 'a.py')
    s.call('b1', 'Read', '1\ty = 1', dict(file=dict(content='y = 1\n')), file_path=at + 'b.py')
    s.call('b2', 'Edit', 'Updated.', file_path=at + 'b.py', old_string='1\n', new_string='2\n')
    record = dict(originalFile='z = 1\n', userModified=True)
    s.call('c1', 'Edit', 'Updated.', record, file_path=at + 'c.py', old_string='1', new_string='2')
    s.call('d1', 'Read', '1\tw = 1', file_path=at + 'd.py')
    s.call('e1', 'Read', 'The file is empty.', file_path=at + 'e.py')  # no listing: no text
    s.call('f1', 'Read', '1\tlong', dict(file=dict(content='long', numLines=1, totalLines=9)), file_path=at + 'f.py')
    s.say(use('d2', 'Edit', file_path=at + 'd.py', old_string='1', new_string='2'))  # and the program was killed
    (job,), _ = read(s.write(tmp_path / 's1.jsonl'))
    assert job.files_before == {'b.py': 'y = 1\n', 'c.py': 'z = 1\n', 'd.py': 'w = 1'}
    assert job.files_after == {'a.py': 'x = 2', 'b.py': 'y = 2\n'}


def test_task_tools(tmp_path):
    s = Script()
    s.user('Go')
    make = lambda i, t: use(f'c{i}', 'TaskCreate', subject=t, description='long', activeForm=t)
    a, b = s.say(make(1, 'Write the parser'), make(2, 'Write the tests'))
    s.result('c1', 'Task #1 created successfully: Write the parser', dict(task=dict(id='1', subject='x')), parent=a)
    s.result('c2', 'Task #2 created successfully: Write the tests', parent=b)
    s.call('u1', 'TaskUpdate', taskId='1', status='in_progress')
    s.call('w', 'Bash', 'done', command='make')
    s.call('u2', 'TaskUpdate', taskId='1', status='completed')
    s.call('u3', 'TaskUpdate', taskId='2', status='completed')
    (job,), bad = read(s.write(tmp_path / 's1.jsonl'))
    calls = [(c.name, c.arguments) for _, c, _ in job.calls()]
    assert (
        calls[0] == ('next_phase_todos', dict(todos=['Write the parser', 'Write the tests']))
        and calls[1][0] == 'TaskUpdate'
        and calls[3:] == [('todo_complete', {}), ('todo_complete', {})]
    )
    assert [(t.completed_turn, t.work_done) for t in job.todos] == [(3, True), (4, None)]
    assert dict(bad) == {'call: TaskUpdate: only says what is in progress': 1}
    assert job.turns[3].results[0].content == 'Completed: Write the parser\nRemaining: 1 tasks\nNext: Write the tests'


def test_tasks_created_one_after_another_are_one_list(tmp_path):
    s = Script()
    s.user('Go')
    T = ['Write the parser', 'Write the tests', 'Write the manual']
    for k, t in enumerate(T, 1):
        s.call(
            f'c{k}',
            'TaskCreate',
            f'Task #{k} created successfully: {t}',
            dict(task=dict(id=str(k), subject=t)),
            subject=t,
            description='d',
        )
    s.call('b', 'TaskUpdate', taskId='2', addBlockedBy=['1'])
    s.call('w', 'Bash', command='make')
    for k in (1, 2):
        s.call(f'u{k}', 'TaskUpdate', taskId=str(k), status='completed')
    s.call(
        'c4', 'TaskCreate', 'Task #4 created successfully: x', subject='Write the release notes', description='d'
    )  # in the middle of the work: ours can't
    (job,), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert [(c.name, c.arguments) for _, c, _ in job.calls()][0] == ('next_phase_todos', dict(todos=T))
    assert [c.name for _, c, _ in job.calls()] == [
        'next_phase_todos',
        'TaskUpdate',
        'run_command',
        'todo_complete',
        'todo_complete',
        'TaskCreate',
    ]
    assert [(t.staged_turn, t.completed_turn) for t in job.todos] == [(0, 3), (0, 4), (0, None), (5, None)]
    assert (
        job.turns[0].results[0].content.startswith('Staged 3 todos') and job.turns[0].usage.completion_tokens == 21
    )  # nothing that was paid for is lost
    assert {k for k in bad if k.startswith('call')} == {
        'call: TaskUpdate: order, owner or notes of a task',
        'call: TaskCreate: the list grew in the middle of the work',
    }
    balanced(len(s.rows), [job], bad)


def test_a_task_without_arguments_is_left_and_stops_nothing(tmp_path):
    s = Script()
    s.user('Go')
    s.say(use('c1', 'TaskCreate') | dict(input=None))
    s.result('c1', 'Task #1 created successfully')
    s.say(text('Done'), stop='end_turn')
    (job,), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert [c.name for _, c, _ in job.calls()] == ['TaskCreate'] and len(job.turns) == 2
    assert dict(bad) == {'call: TaskCreate: todos that our agent refuses': 1}


def test_what_the_user_stopped_is_no_failure_of_the_model(tmp_path):
    s = Script()
    s.user('Go')
    s.call(
        'e',
        'Edit',
        "The user doesn't want to proceed with this tool use. The tool use was rejected.",
        error=True,
        file_path='/w/shop/a.py',
        old_string='x',
        new_string='y',
    )
    s.call(
        'f',
        'Edit',
        'String to replace not found in file.',
        error=True,
        file_path='/w/shop/a.py',
        old_string='x',
        new_string='y',
    )
    (job,), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert [c.name for _, c, _ in job.calls()] == ['Edit', 'edit_file'] and bad['call: Edit: stopped by the user'] == 1
    n = lessons(job)
    assert (
        n['edit: left, stopped by the user'] == 1
        and n['edit: failed, kept as context'] == 1
        and not n['edit: replaced in our tools']
    )


def test_what_the_user_wrote_meanwhile_is_seen_by_the_next_turn(tmp_path):
    s = Script()
    s.user('Go')
    note = '\n\n<system-reminder>\nThe user sent a new message while you were working:\nUse tabs.\n\nThis is how it is shown.\n</system-reminder>'
    s.call('r', 'Bash', 'done' + note + '<system-reminder>Be brief.</system-reminder>', command='make')
    s.say(text('Tabs it is.'), stop='end_turn')
    (job,), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert [[m.content for m in t.seen] for t in job.turns] == [['Go'], ['Use tabs.']] and job.turns[0].results[
        0
    ].content == 'done'


def test_todos_that_have_no_counterpart_keep_their_life(tmp_path):
    s = Script()
    s.user('Go')
    A, B, C = 'Write the parser', 'Write the tests', 'Write the manual'
    s.call('1', 'TodoWrite', todos=todos((A, 'pending'), (B, 'pending')))
    s.call('2', 'TodoWrite', todos=todos((A, 'completed'), (C, 'pending')))
    s.call('3', 'TodoWrite', todos=todos((A, 'completed'), (C, 'completed')))
    (job,), bad = read(s.write(tmp_path / 's1.jsonl'))
    assert [c.name for _, c, _ in job.calls()] == ['next_phase_todos', 'TodoWrite', 'TodoWrite']
    assert [(t.text, t.completed_turn, t.done_rule) for t in job.todos] == [
        (A, 1, 'unknown: its tools are guessed'),
        (B, None, 'dropped'),
        (C, 2, 'unknown: its tools are guessed'),
    ]
    assert set(bad) == {
        'call: TodoWrite: the list was changed in the middle of the work',
        'call: TodoWrite: of a list that was left',
    }


def test_a_todo_that_was_worded_anew_is_shown_in_the_words_of_its_time(tmp_path):
    s = Script()
    s.user('Go')
    A, B, C = 'Write the parser', 'Tell the team about it', 'Draft the index'
    s.call('1', 'TodoWrite', todos=todos((A, 'completed'), (B, 'pending')))
    s.call('2', 'Read', file_path='/w/a.py')
    s.call('3', 'TodoWrite', todos=todos((A, 'completed'), (C, 'pending'), (f'{B} now', 'pending')))
    s.call('4', 'Read', file_path='/w/b.py')
    (job,), _ = read(s.write(tmp_path / 's1.jsonl'))
    assert len({t.id for t in job.todos}) == len(job.todos) == 3
    assert [[t.text for t in phase_todos(job, i)] for i in (1, 2, 3)] == [[A, B], [A, B], [A, f'{B} now', C]]
    assert [current_todo(job, i) and current_todo(job, i).text for i in range(4)] == [None, B, B, f'{B} now']
    assert from_dict(Job, to_dict(job)).meta['renamed_todos'] == [[job.todos[1].id, 2, B]]


def test_noise_is_counted(tmp_path):
    s = Script()
    s.user('Go')
    s.line('progress', data={})
    s.say(text('Hi'))
    s.line('assistant', message=dict(id='e', model='<synthetic>', content=[text('API Error')]))
    s.user([text('Thanks'), dict(type='image', source={})])
    s.say(text('Welcome'))
    s.result('unknown', 'x')
    s.user('Unanswered')
    s.line('assistant', message=dict(id='thought', model='c', content=[dict(type='thinking', thinking='hm')]))
    p = s.write(tmp_path / 's1.jsonl')
    p.write_text(p.read_text() + '\n[1]\n{"type": "neverheard", "sessionId": "s1"}\nbroken\n{"type": "user", "me')
    (job,), bad = read(p)
    assert [t.said.content for t in job.turns] == ['Hi', 'Welcome'] and job.turns[1].seen[
        0
    ].content == 'Thanks\n[image]'
    balanced(len(s.rows) + 4, [job], bad)
    assert (
        bad['line: truncated end']
        == bad['line: not JSON']
        == bad['line: not an object']
        == bad['line: unknown type']
        == bad['line: result without its call']
        == bad['line: cut off before an answer']
        == 1
    )


# --- mapping --------------------------------------------------------------------------------------------------------

any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=8), x, max_size=3),
    max_leaves=8,
)
KEYS = 'file_path content old_string new_string replace_all edits command timeout description pattern path output_mode -i limit offset pages query todos url prompt'.split()


@quick
@given(
    st.sampled_from('Read Write Edit MultiEdit Bash Glob LS Grep WebSearch Task X'.split()),
    st.dictionaries(st.sampled_from(KEYS), any_json | st.sampled_from(['/w/a.py', 'a.py', '../x', 'x = 1'])),
)
def test_mapped_calls_are_valid_for_our_tools(name, a):
    try:
        calls = map_call(name, a)
    except Left as e:
        assert str(e)
        return
    assert calls and not any(check_call(c, '') for c in calls) and all(c.name in TOOLS for c in calls)


@quick
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(['Write the parser', 'Write the tests', 'Write the manual', 'short']),
                st.sampled_from(['pending', 'in_progress', 'completed', 'odd']),
            ),
            max_size=4,
        ),
        max_size=6,
    )
)
def test_todo_list_agrees_with_our_state_machine(writes):
    "What is mapped can be replayed on our own machine: it accepts every call and says the same."
    from agentft.core.agent import SHORT, AgentState

    L, state, alive = TodoList(), None, False
    for i, w in enumerate(writes):
        try:
            call, said = L.write(todos(*w), i)
        except Left:
            alive = alive and L.mapped
            continue
        if call.name == 'next_phase_todos':
            state = AgentState(SHORT)
            text, ok = state.apply(call)
            state.apply(ToolCall('todo_complete'))
            alive = ok
            assert ok and text.split('.')[0] == said.split('.')[0]
        elif alive:
            text, ok = state.apply(call)
            assert ok and text == said, (text, said)
    assert all(t.completed_turn is None or t.staged_turn <= t.completed_turn for t in L.every)


# --- never raises, everything counted --------------------------------------------------------------------------------

block = st.fixed_dictionaries(
    {},
    optional=dict(
        type=st.sampled_from(['text', 'tool_use', 'tool_result', 'thinking', 'image', 3]),
        text=any_json,
        id=st.sampled_from(['t1', 't2', 5]),
        tool_use_id=st.sampled_from(['t1', 't2', 'x', None]),
        name=st.sampled_from(['Read', 'Edit', 'TodoWrite', 'TaskCreate', 'TaskUpdate', 'Bash', 'Task', 7]),
        input=any_json | st.dictionaries(st.sampled_from(KEYS + ['taskId', 'status', 'subject']), any_json),
        content=any_json,
    ),
)
uuids = st.sampled_from([None, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 8])
session_line = any_json | st.fixed_dictionaries(
    dict(
        type=st.sampled_from(
            ['user', 'assistant', 'user', 'assistant', 'system', 'summary', 'attachment', 'result', 'zzz', None]
        )
    ),
    optional=dict(
        uuid=uuids,
        parentUuid=uuids,
        logicalParentUuid=uuids,
        sessionId=st.sampled_from(['s', 't', 1]),
        isSidechain=st.booleans() | st.just('x'),
        agentId=st.sampled_from(['g', 2]),
        subtype=st.sampled_from(['compact_boundary', 'init', 4]),
        isCompactSummary=st.booleans(),
        toolUseResult=any_json,
        attachment=any_json | st.just(dict(type='queued_command', prompt='hey')),
        cwd=any_json | st.just('/w'),
        timestamp=any_json,
        message=any_json
        | st.fixed_dictionaries(
            {},
            optional=dict(
                id=st.sampled_from(['m', 'n', 9]),
                content=any_json | st.lists(block, max_size=3),
                model=any_json,
                usage=any_json,
                stop_reason=any_json,
            ),
        ),
    ),
)


@quick
@given(st.lists(session_line, max_size=14), st.booleans())
def test_any_session_lines_are_used_or_counted(tmp_path, rows, cut):
    p = tmp_path / 's.jsonl'
    p.write_text(''.join(json.dumps(r) + '\n' for r in rows) + ('{"type": "us' if cut else ''))
    jobs, bad = read(p, 'claude_code')
    balanced(len(rows) + cut, jobs, bad)
    assert len({j.id for j in jobs}) == len(jobs)


message = any_json | st.fixed_dictionaries(
    {},
    optional={
        k: v
        for k, v in dict(
            role=st.sampled_from(['user', 'assistant', 'tool', 'system', 'function', 3]),
            content=any_json,
            tool_calls=any_json
            | st.lists(
                any_json
                | st.fixed_dictionaries(
                    dict(
                        function=st.fixed_dictionaries(
                            {}, optional=dict(name=any_json, arguments=any_json | st.just('{"a": '))
                        )
                    )
                ),
                max_size=2,
            ),
            tool_call_id=any_json,
            name=any_json,
            function_call=any_json,
        ).items()
    }
    | {
        'from': st.sampled_from(['human', 'gpt', 'tool', 'function_call', 'observation', 'x', 3]),
        'value': any_json
        | st.sampled_from(
            [
                '<tool_call>{"name": "f", "arguments": {}}</tool_call>',
                '<tool_call>{"name": "f", "arg',
                '<tool_response>1</tool_response>',
                "<tool_call>\n{'name': 'f', 'arguments': '{}'}</tool_call><tool_call></tool_call>",
                '<think>a</think>b',
            ]
        ),
    },
)
row = any_json | st.fixed_dictionaries(
    {},
    optional=dict(
        messages=any_json | st.lists(message, max_size=5),
        conversations=any_json | st.lists(message, max_size=5),
        tools=any_json,
        id=any_json,
        model=any_json,
        system=any_json,
    ),
)


@quick
@given(
    st.lists(row, max_size=6),
    st.sampled_from(['openai', 'sharegpt', 'jobs']),
    st.sampled_from(['lines', 'array', 'indented']),
    st.booleans(),
)
def test_any_rows_are_jobs_or_counted(tmp_path, rows, name, how, cut):
    p = tmp_path / 'r.json'
    s = (
        ''.join(json.dumps(r) + '\n' for r in rows)
        if how == 'lines'
        else json.dumps(rows, indent=1 if how == 'indented' else None)
    )
    if how == 'lines' and cut:
        s += '{"messages": [{'
    p.write_text(s)
    if how == 'lines' and s.lstrip()[:1] == '[':
        return  # a first row that is a list looks like an array
    jobs, bad = read(p, name)
    assert len(rows) + (how == 'lines' and cut) == len(jobs) + units(bad, 'row'), dict(bad)


@quick
@given(
    st.lists(
        st.text(max_size=60)
        | st.builds(
            '2026-03-01 10:00:0{} - a.b - INFO - [job-{}] {}'.format,
            st.integers(0, 9),
            st.integers(1, 2),
            st.sampled_from(
                [
                    'Entering tactical phase 1: Go (2 todos)',
                    'Transitioning to strategic phase (4 predefined todos)',
                    'Strategic phase complete',
                    'Staged 2 todos',
                    '- [ ] todo_1: Do the one thing',
                    'Calling tool read_file with args {"path": "a"}',
                    'Tool call: x {"a',
                    'Tool result: fine',
                    'Tool read_file failed: no',
                    'Completed: Do the one thing',
                    'JOB FROZEN for review',
                    'Assistant: hello',
                    'User: hello',
                    'Job failed',
                    'phase strategic -> tactical',
                ]
            ),
        ),
        max_size=25,
    )
)
def test_any_log_lines_are_used_or_counted(tmp_path, lines):
    p = tmp_path / 'a.log'
    p.write_bytes('\n'.join(lines).encode('utf-8', 'surrogatepass'))
    jobs, bad = read(p, 'job_log')
    n = sum(bool(l.decode('utf-8', 'replace').rstrip('\r\n').strip()) for l in p.read_bytes().split(b'\n'))
    assert n == sum(j.provenance['lines'] for j in jobs) + units(bad, 'line'), dict(bad)
    assert all(t.agent_phase in ('', 'strategic', 'tactical') for j in jobs for t in j.turns)


@quick
@given(st.binary(max_size=400))
def test_any_bytes(tmp_path, raw):
    p = tmp_path / 'x'
    p.write_bytes(raw)
    sniff_source(p)
    for name in SOURCES:
        read(p, name)


# --- rows and logs ----------------------------------------------------------------------------------------------------


def test_openai_variants(tmp_path):
    call = lambda a: dict(
        role='assistant', content=None, tool_calls=[dict(id='c', type='function', function=dict(name='f', arguments=a))]
    )
    rows = [
        dict(
            messages=[
                dict(role='user', content='x'),
                call('{"a": 1}'),
                dict(role='tool', tool_call_id='c', content='1'),
            ]
        ),
        dict(messages=[dict(role='user', content='x'), call({'a': 1})]),
        dict(messages=[dict(role='user', content='x'), call('[1]')]),
        dict(
            messages=[
                dict(role='user', content='x'),
                dict(role='assistant', content=None, function_call=dict(name='f', arguments='{"a": 1}')),
                dict(role='function', name='f', content='1'),
            ],
            functions=[dict(name='f', parameters={})],
        ),
    ]
    p = tmp_path / 'a.jsonl'
    p.write_text('\n'.join(map(json.dumps, rows)))
    jobs, bad = read(p)
    assert [j.turns[0].said.tool_calls[0].arguments for j in jobs] == [{'a': 1}, {'a': 1}, {}, {'a': 1}] and jobs[
        2
    ].turns[0].said.tool_calls[0].malformed == '[1]'
    assert (
        jobs[3].turns[0].results[0].content == '1'
        and jobs[3].tools[0]['function']['name'] == 'f'
        and dict(bad) == {'call: malformed arguments': 1}
    )


def test_rows_with_our_tools_have_todos(tmp_path):
    c = lambda n, **a: dict(
        role='assistant', content='', tool_calls=[dict(id=f'{n}{len(str(a))}', function=dict(name=n, arguments=a))]
    )
    r = lambda m, t: dict(role='tool', tool_call_id=m['tool_calls'][0]['id'], content=t)
    a, b, d = (
        c('next_phase_todos', todos=['Write the one file']),
        c('write_file', path='a', content='b'),
        c('todo_complete'),
    )
    p = tmp_path / 'a.jsonl'
    p.write_text(
        json.dumps(
            dict(
                messages=[
                    dict(role='user', content='x'),
                    a,
                    r(a, 'Staged 1 todos for the next tactical phase.'),
                    b,
                    r(b, 'Written: a (1 bytes)'),
                    d,
                    r(d, 'Completed: Write the one file'),
                ]
            )
        )
    )
    (job,), _ = read(p)
    assert [(t.text, t.completed_turn, t.work_done) for t in job.todos] == [('Write the one file', 2, True)]


def test_compressed_and_mixed_folder(tmp_path):
    s = Script()
    s.user('Hi')
    s.say(text('Ho'))
    (tmp_path / 's.jsonl.gz').write_bytes(gzip.compress(''.join(json.dumps(r) + '\n' for r in s.rows).encode()))
    (tmp_path / 'b.jsonl.gz').write_bytes(
        gzip.compress(
            2
            * (
                json.dumps(dict(conversations=[{'from': 'human', 'value': 'a'}, {'from': 'gpt', 'value': 'b'}])) + '\n'
            ).encode()
            + b'{"c'
        )[:-10]
    )
    (tmp_path / 'c.bin').write_bytes(b'\0\1\2')
    jobs, bad = read(tmp_path)
    assert (
        {j.source for j in jobs} == {'claude_code', 'sharegpt'}
        and bad['file: format not recognised'] == 1
        and bad['row: truncated end'] == 1
    )


def test_log_handover_from_the_call_itself(tmp_path):
    (tmp_path / 'a.log').write_text('''\
2026-03-01T10:00:00Z INFO [loop] Starting job j-1
2026-03-01T10:00:01Z INFO Calling tool next_phase_todos with args {"todos": ["Write the report", "Send the report off"]}
2026-03-01T10:00:02Z INFO Tool result: Staged 2 todos for the next tactical phase.
2026-03-01T10:00:03Z INFO [PHASE_TRANSITION] Strategic phase complete. Entering tactical phase 1.
2026-03-01T10:00:04Z INFO Calling tool write_file with args {'path': 'r.md', 'content': 'x'}
2026-03-01T10:00:05Z INFO Tool result: Written: r.md (1 bytes)
2026-03-01T10:00:06Z INFO Calling tool todo_complete
2026-03-01T10:00:07Z INFO Tool result: Completed: Write the report
2026-03-01T10:00:08Z INFO Tactical phase complete, transitioning to strategic
2026-03-01T10:00:09Z ERROR Job failed: out of iterations
''')
    (job,), bad = read(tmp_path / 'a.log')
    assert [(t.agent_phase, t.agent_phase_number) for t in job.turns] == [
        ('strategic', 0),
        ('tactical', 1),
        ('tactical', 1),
    ] and 'inferred_turns' not in job.meta
    assert job.meta['handovers'][0]['turn'] == 0 and [(t.text, t.completed_turn, t.work_done) for t in job.todos] == [
        ('Write the report', 2, True),
        ('Send the report off', None, False),
    ]
    assert job.outcome.status == 'failed' and not units(bad, 'line')


@pytest.mark.parametrize(
    'line, want',
    [
        ('2026-03-01 10:00:01,250 - agent.graph - INFO - hello there', 'hello there'),
        ('2026-03-01 10:00:01.250 | INFO     | agent.loop:run:88 - hello there', 'hello there'),
        ('[2026-03-01 10:00:01] [WARNING] agent.x: hello there', 'hello there'),
        ('2026-03-01T10:00:01+00:00 INFO [job_id=abc-1] hello there', '[job_id=abc-1] hello there'),
        ('INFO hello', 'INFO hello'),
    ],
)
def test_logger_prefixes(line, want):
    assert log_line(line)[2] == want


def test_another_source_is_a_few_lines(tmp_path):
    @source('shout', lambda rows, text: text.startswith('SHOUT'))
    def read_shout(path, bad):
        for l in path.read_text().splitlines()[1:]:
            if l.isupper():
                yield Job(l, 'shout')
            else:
                bad['line: not loud'] += 1

    try:
        (tmp_path / 'x.txt').write_text('SHOUT\nHEY\nhm\n')
        jobs, bad = read(tmp_path)
        assert [j.id for j in jobs] == ['HEY'] and bad['line: not loud'] == 1
    finally:
        del SOURCES['shout']


BIG = '''
import json, resource, sys
from agentft.traces.formats import read_source, sniff_source
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
jobs, bad = read_source(sys.argv[1]); n = sum(len(j.turns) for j in jobs)
print(json.dumps([n, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024]))
'''


@pytest.mark.parametrize('kind', ['claude', 'rows', 'array'])
def test_big_files_stream(tmp_path, kind):
    "A 40 MB file of many sessions or rows is read in a fraction of its size."
    p, n = tmp_path / 'big.jsonl', 400
    with p.open('w') as f:
        if kind == 'array':
            f.write('[')
        for i in range(n):
            if kind == 'claude':
                s = Script(f's{i}')
                s.user('Go')
                s.call('t' + str(i), 'Bash', 'x' * 50_000, dict(stdout='x' * 50_000), command='ls')
                s.say(text('ok'))
                f.writelines(json.dumps(r) + '\n' for r in s.rows)
            else:
                f.write(
                    (',' if kind == 'array' and i else '')
                    + json.dumps(
                        dict(messages=[dict(role='user', content='x' * 100_000), dict(role='assistant', content='ok')])
                    )
                    + ('\n' if kind == 'rows' else '')
                )
        if kind == 'array':
            f.write(']')
    turns, mb = json.loads(
        subprocess.run([sys.executable, '-c', BIG, str(p)], capture_output=True, text=True, check=True).stdout
    )
    assert turns == n * (2 if kind == 'claude' else 1) and mb < 25, f'{mb} MB for a file of {p.stat().st_size >> 20} MB'


def test_a_character_across_two_chunks_of_an_array(tmp_path):
    "A JSON array is read in pieces of a megabyte; a character of several bytes may stand across two of them."
    row = dict(messages=[dict(role='user', content='é' * 1_200_000), dict(role='assistant', content='ja')])
    for pad in ('', ' '):
        (tmp_path / 'rows.json').write_text(f'{pad}[{json.dumps(row, ensure_ascii=False)}]', encoding='utf-8')
        jobs, bad = read_source(tmp_path / 'rows.json')
        [job] = jobs
        assert job.turns[0].seen[0].content == 'é' * 1_200_000 and not bad


@pytest.mark.parametrize('pack', [gzip.compress, lzma.compress, bz2.compress])
def test_a_packed_file_is_known_by_how_it_begins(tmp_path, pack):
    "Sessions are unpacked like dumps: gzip, xz and bzip2, whatever the name of the file."
    row = dict(messages=[dict(role='user', content='hi'), dict(role='assistant', content='hello')])
    (tmp_path / 'rows.jsonl').write_bytes(pack(json.dumps(row).encode() + b'\n'))
    jobs, bad = read_source(tmp_path / 'rows.jsonl')
    assert [len(j.turns) for j in jobs] == [1] and not bad


@pytest.mark.parametrize('begin, end', [('', ''), ('[', ']')])
def test_a_packed_file_that_was_cut_keeps_what_came_before(tmp_path, begin, end):
    "The rows before the damage are jobs, and the damage is one count, in lines as in an array."
    rows = [
        dict(messages=[dict(role='user', content=f'{i}' * 50), dict(role='assistant', content='ok')])
        for i in range(300)
    ]
    text = begin + (',\n' if begin else '\n').join(map(json.dumps, rows)) + end + '\n'
    packed = gzip.compress(text.encode(), compresslevel=1)
    (tmp_path / 'rows.jsonl').write_bytes(packed[: len(packed) * 2 // 3])
    jobs, bad = read_source(tmp_path / 'rows.jsonl')
    n = len(list(jobs))
    assert 100 < n < 300 and bad == {'row: truncated end': 1}


def test_the_last_word_of_the_user_is_heard(tmp_path):
    "A session that ends with a complaint: the words are kept, redacted like the rest, and take back what they are about."
    from agentft.evidence.privacy import Redactor, redact
    from agentft.evidence.right_turns import judge_turns

    def line(n, kind, content):
        parent = f'u{n - 1}' if n else None
        message = dict(role=kind, content=content) | (dict(id=f'm{n}', model='m') if kind == 'assistant' else {})
        return dict(
            type=kind,
            uuid=f'u{n}',
            parentUuid=parent,
            sessionId='s',
            cwd='/w',
            message=message,
            timestamp=f'2026-01-01T00:00:0{n}Z',
        )

    call = dict(type='tool_use', id='c', name='Read', input=dict(file_path='/w/a.md'))
    rows = [
        line(0, 'user', 'Shorten a.md'),
        line(1, 'assistant', [call]),
        line(2, 'user', [dict(type='tool_result', tool_use_id='c', content='     1→a')]),
        line(3, 'assistant', [dict(type='text', text='Done.')]),
    ]
    last = line(4, 'user', 'No, undo that. My key is sk-ant-api03-AbCdEf0123456789AbCdEf0123456789')

    def one_job(lines, name):
        path = tmp_path / f'{name}.jsonl'
        path.write_text(''.join(json.dumps(x) + '\n' for x in lines))
        ((job,), _) = read(path)
        return job

    quiet, heard = one_job(rows, 'quiet'), one_job([*rows, last], 'heard')
    assert 'last_words' not in quiet.meta and heard.meta['last_words'][0].startswith('No, undo that.')
    assert [v.reason for v in judge_turns(quiet)][0] == ''
    assert [v.reason for v in judge_turns(heard)][0] == 'taken back by the user'
    assert 'AbCdEf0123' not in str(redact(heard, Redactor())[0].meta)
    thanks = one_job([*rows, line(4, 'user', 'Thanks, that works.\nNo further changes.')], 'thanks')
    assert thanks.meta['last_words'] and judge_turns(thanks)[0].right
    stopped = [line(4, 'user', '[Request interrupted by user]'), line(5, 'user', 'No, that is not what I asked for.')]
    assert judge_turns(one_job([*rows, *stopped], 'stopped'))[0].reason == 'taken back by the user'
    path = tmp_path / 'heard.jsonl'
    assert read(path)[1]['line: message without an answer'] == 1  # kept, and counted as before


def test_what_is_asked_later_is_no_instruction(tmp_path):
    "A title is written when all is over, and a wish of the middle says nothing of what came before."
    from agentft.data.lean_context import task_text

    s = Script()
    s.user('<command-name>/init</command-name>')
    s.call('r', 'Read', 'x', file_path='/p/a.py')
    s.user('Thanks! Please update the manual.')
    s.call('w', 'Write', 'ok', file_path='/p/b.md', content='x')
    (job,), _ = read(s.write(tmp_path / 's.jsonl'))
    assert 'manual' not in job.instructions + task_text(job)
    asked = Script()
    asked.user('Please update the manual.')
    asked.call('w', 'Write', 'ok', file_path='/p/b.md', content='x')
    (job,), _ = read(asked.write(tmp_path / 't.jsonl'))
    assert job.instructions == task_text(job) == 'Please update the manual.'
