"The five numbers: the minimal edit as a property, and the same numbers from a job and from its audit trail."

import copy
import importlib.util
import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentft.arena.catalogue import FAMILIES, make_task
from agentft.arena.faults import FAULTS, Faulty
from agentft.arena.players import Expert, play
from agentft.core.agent import FULL, SHORT
from agentft.core.metrics import TARGETS, five, job_counts, job_edits
from agentft.core.records import (
    Example,
    Job,
    Message,
    Outcome,
    Todo,
    ToolCall,
    Turn,
    from_dict,
    read_jsonl,
    to_dict,
)
from agentft.core.replacements import apply_edits, count_tokens, edit_cost, line_edit, minimal_edit, single_edit
from agentft.traces.audit_writer import to_documents
from agentft.traces.documents import Documents
from agentft.traces.wanted_jobs import collect_jobs

AUDIT = Path(os.environ.get('AGENTFT_AUDIT') or Path(__file__).parents[2] / 'shared' / 'audit')
recorded = pytest.mark.skipif(
    not (AUDIT / 'jobs.json').exists(), reason=f'no recorded audit documents at {AUDIT} (set AGENTFT_AUDIT)'
)

words = st.lists(
    st.sampled_from(['a', 'ab', 'x', ' ', '\n', '1', '.', 'é', '\r\n', '\u2028', '\x00', '{"k": 1}']), max_size=24
).map(''.join)


@settings(max_examples=400, deadline=None)
@given(words, words)
def test_minimal_edit(before, after):
    edits = minimal_edit(before, after)
    assert apply_edits(before, edits) == after  # and each old string occurs exactly once when it is applied
    assert edit_cost(edits) <= count_tokens(before) + count_tokens(after)
    assert bool(edits) == (before != after)
    assert edit_cost(edits) <= (single_edit(before, after)[0] if before != after else 0)
    if before:
        assert apply_edits(before, line_edit(before, after)[:1]) is not None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(['a: 1', 'b: 1', 'c: 2', '']), min_size=1, max_size=40), st.data())
def test_minimal_edit_of_few_lines(lines, data):
    after = list(lines)
    for _ in range(data.draw(st.integers(1, 10))):
        after[data.draw(st.integers(0, len(after) - 1))] = data.draw(st.sampled_from(['z', 'a: 1', 'c: 3']))
    before, after = '\n'.join(lines), '\n'.join(after)
    assert apply_edits(before, minimal_edit(before, after)) == after


def plain():
    spec = importlib.util.spec_from_file_location('plain_edits', Path(__file__).with_name('helpers') / 'plain_edits.py')
    m = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(m)
    return m


PLAIN = plain()
pieces = st.sampled_from(
    ['alpha', 'beta', 'x', '1', '23', ' ', ' ', '\n', '=', '(', ')', '.', 'the', '# ', "'s", '...', '_', 'é', '\r\n']
)


@settings(max_examples=200, deadline=None)
@given(st.lists(pieces, max_size=45), st.data())
def test_the_quick_minimal_edit_costs_what_the_plain_one_costs(a, data):
    b = list(a)
    for _ in range(data.draw(st.integers(0, 9))):
        at = data.draw(st.integers(0, len(b)))
        b[at : at + data.draw(st.integers(0, 3))] = data.draw(st.lists(pieces, max_size=2))
    before, after = ''.join(a), ''.join(b)
    edits = minimal_edit(before, after)
    assert apply_edits(before, edits) == after
    assert edit_cost(edits) == edit_cost(PLAIN.minimal_edit(before, after))
    if before != after:
        assert single_edit(before, after) == PLAIN.single_edit(before, after)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(['a', 'b', ' ', 'c', 'd']), min_size=80, max_size=400),
    st.lists(st.sampled_from(['a', ' ', 'c', 'e']), min_size=80, max_size=300),
)
def test_long_lists_match_as_difflib_matches_them(a, b):
    import agentft.core.replacements as m

    assert m._difflib(a, b) == PLAIN._difflib(a, b)


def test_a_large_file_in_which_much_changed():
    "Many changed lines, and a whole rewrite: lines first, then within lines; the edits still lead there."
    r = random.Random(3)

    def row():
        name, value = r.choice('timeout retries total price'.split()), r.randint(1, 999)
        return f'    {name} = {value}  # {r.choice("check load send".split())} {r.randint(1, 9999)}\n'

    lines = [row() for _ in range(250)]
    some = [row() if not r.randrange(9) else line for line in lines]
    other = [row() for _ in range(200)]
    for after in (some, other):
        before, after = ''.join(lines), ''.join(after)
        edits = minimal_edit(before, after)
        assert apply_edits(before, edits) == after
        assert (
            edit_cost(edits) == edit_cost(PLAIN.minimal_edit(before, after))
            if after == ''.join(some)
            else edit_cost(edits) <= single_edit(before, after)[0]
        )


def test_edits_that_are_known_already_give_the_same_counts():
    j = play(make_task('rename', 3), Faulty('whole_file_rewrite'))
    assert job_counts(j, edits=job_edits(j)) == job_counts(j)


def test_replay_reaches_the_files_that_the_arena_left():
    "Edits are measured between real states: chained per file, they lead to `files_after`."
    for mode in [None, *FAULTS]:
        for f in FAMILIES:
            j = play(make_task(f, 7), Faulty(mode) if mode else Expert())
            last = {}
            edits, unknown = job_edits(j)
            assert not unknown
            for e in edits:
                if e.written:
                    last[e.path] = e.after
            assert all(j.files_after[p] == t for p, t in last.items()), (f, mode)


@pytest.mark.parametrize('rules', [SHORT, FULL], ids=['short', 'full'])
def test_an_audit_trail_gives_the_same_numbers(rules):
    "What the arena measured with full knowledge is what the importer's job gives."
    players = [Expert()] + ([Faulty(m) for m in FAULTS] if rules is SHORT else [])
    jobs = [play(make_task(f, 3), p, rules) for f in FAMILIES for p in players]
    docs = {}
    for j in jobs:
        for c, rows in to_documents(j).items():
            docs.setdefault(c, []).extend(rows)
    back, rejected = collect_jobs(Documents(docs))
    back = {j.id: j for j in back}
    assert not rejected
    for j in jobs:
        a, b = job_counts(j), job_counts(back[j.id])
        for k in a:
            if k not in ('unknown', 'rules'):
                assert a[k] == b[k], (j.id, k)


@recorded
def test_recorded_audit_trail():
    "The recorded jobs: todos and outcomes as their ground truth says, and every write accounted for."
    truth = {x['job_id']: x for x in json.loads((AUDIT / 'jobs.json').read_text())}
    jobs, _ = collect_jobs(AUDIT / 'dump')
    m = five(jobs)
    assert (
        m['task_success'].numerator == sum(x['expected_outcome'] == 'success' for x in truth.values())
        and m['task_success'].denominator == 8
    )
    assert m['todo_completion'].companions['work_done'].denominator == sum(
        x['tactical_todos_planned'] for x in truth.values()
    )
    assert set(m['todo_completion'].detail) == {'effect', 'read', 'no work found'}
    assert m['phase_adherence'].detail == {'unknown_tool': 1, 'malformed call, tool unknown': 2, 'phase_violation': 1}
    by = {truth[j.id]['key']: job_counts(j) for j in jobs}
    assert (
        by['plan-md-loop']['todo_completion'][0] == 0
        and by['plan-md-loop']['edit_precision'][0] > by['plan-md-loop']['edit_precision'][1]
    )
    assert by['skeleton-report']['marked_without_work'] == [4, 5]
    assert sum(c['marked_without_work'][0] for c in by.values()) == 4
    for key, c in by.items():  # in two jobs the sources were read, and nothing came of it
        (x,) = [x for x in truth.values() if x['key'] == key]
        assert c['work_done'][0] == x['tactical_todos_truly_done'] + (key in ('skeleton-report', 'plan-md-loop')), key
        assert c['todo_completion'][0] + c['marked_without_work'][0] == x['tactical_todos_marked_complete'], key
    assert all(c['tokens_per_job'][1] for c in by.values())


def call(name, ok=True, text='', phase='tactical', number=1, **args):
    c = ToolCall(name, args, 'c')
    return Turn(
        phase,
        Message('assistant', tool_calls=[c]),
        results=[Message('tool', text, tool_call_id='c', name=name, ok=ok)],
        agent_phase_number=number,
    )


def test_no_way_around_edit_overhead():
    "Deleting and writing anew is an overwrite; so is moving away, and a refused overwrite is a failed edit."
    before = {'a.md': 'one\ntwo\nthree\n'}
    new = 'one\n2\nthree\n'

    def extra(*turns):
        return job_counts(Job('j', 'arena', files_before=before, turns=list(turns)))['edit_precision']

    over = extra(call('write_file', path='a.md', content=new))
    assert over == [count_tokens(new) - 2, 2]
    assert extra(call('delete_file', path='a.md'), call('write_file', path='a.md', content=new)) == over
    assert extra(call('move_file', source='a.md', dest='b.md'), call('write_file', path='a.md', content=new)) == over
    assert extra(call('write_file', path='./a.md', content=new)) == over
    assert extra(call('write_file', ok=False, text='Error: read it first', path='a.md', content=new)) == [
        count_tokens(new),
        0,
    ]
    assert extra(call('write_file', path='new.md', content=new)) == [0, 0]
    there_and_back = [
        call('edit_file', path='a.md', old_string='two', new_string='2'),
        call('edit_file', path='a.md', old_string='2', new_string='two'),
    ]
    assert extra(*there_and_back) == [4, 0]
    assert (
        five([Job('j', 'arena', files_before=before, turns=there_and_back)])['edit_precision'].meets == 'not shown'
    )  # 4/0 is not nothing


@pytest.mark.parametrize('path', ['workspace.md', 'job/workspace.md', './workspace.md'])
def test_a_rewrite_that_the_contract_asks_for_is_no_edit(path):
    "Counted in neither numerator nor denominator; an edit of the same file counts, and so does a failed rewrite."
    from agentft.evidence.failures import detect

    job = Job('j', 'arena', files_before={'workspace.md': 'a\nb\nc\n', 'job/workspace.md': 'a\nb\nc\n'})
    job.turns = [call('write_file', path=path, content='a\nc\n')]
    c = job_counts(job)
    assert c['edit_precision'] == c['edit_precision_lines'] == c['whole_file_rewrites'] == [0, 0]
    assert not any(f.mode == 'whole_file_rewrite' for f in detect(job))
    job.turns.append(call('edit_file', path=path, old_string='a', new_string='d'))
    assert job_counts(job)['edit_precision'] == [0, 2]
    job.turns.append(call('write_file', ok=False, text='Error: read it first', path=path, content='d\n'))
    assert job_counts(job)['edit_precision'] == [count_tokens('d\n'), 2]
    other = Job('j', 'arena', files_before={'my-workspace.md': 'a\nb\nc\n'})
    other.turns = [call('write_file', path='my-workspace.md', content='a\nc\n')]
    assert job_counts(other)['whole_file_rewrites'] == [1, 1]


def test_who_compacts_as_asked_has_no_overhead():
    n = [job_counts(play(make_task('compact', s), Expert()))['edit_precision'] for s in range(6)]
    assert n == [[0, 0]] * 6


def test_met_is_said_only_when_the_interval_says_so():
    def of(n, wins, family=''):
        said = lambda i: Outcome('success' if i < wins else 'failed', 'checker')
        return [Job(f'j{i}', 'arena', family=family.format(i), outcome=said(i)) for i in range(n)]

    met = lambda *a: five(of(*a))['task_success'].meets
    assert [met(1, 1), met(34, 34), met(35, 35), met(35, 34), met(20, 10)] == ['not shown'] * 2 + [
        'yes',
        'not shown',
        'no',
    ]
    assert met(30, 30, 'family {}') == 'not shown' and met(40, 40, 'family {}') == 'yes'
    ten = [Job(f'j{i}', 'arena', family=f'f{i % 10}', outcome=Outcome('success', 'checker')) for i in range(40)]
    m = five(ten)['task_success']  # four each of ten families are not forty
    assert m.meets == 'not shown' and m.needs == '75 jobs in 19 families if none fails; seen 40 in 10 families'
    needs = lambda *a, there: five(*a, there=there)['task_success'].needs
    assert needs(ten, there=19) == m.needs
    assert (
        needs(ten, there=9)
        == '10 families if none fails, this suite has 9: not to be shown here; seen 40 in 10 families'
    )
    assert needs(ten, there=12).startswith('134 jobs in 12 families if none fails; seen')
    m = five(of(20, 19))['task_success']
    assert m.needs == '35 jobs if none fails, about 139 at this rate; seen 20' and m.low < 0.9 < m.high


def test_todo_completion_is_judged_with_what_was_marked_without_work():
    from agentft.core.metrics import summed

    nothing = job_counts(Job('n', 'arena', outcome=Outcome('failed', 'checker')))
    todos = lambda right, idle: nothing | dict(todo_completion=right, marked_without_work=idle)
    m = summed([todos([1, 1], [14, 15])])['todo_completion']
    assert m.meets == 'no' and '(14/15)' in m.needs and str(m) == '100.0% (1/1)'
    many = summed([todos([1, 1], [0, 1])] * 100 + [todos([0, 0], [14, 14])])['todo_completion']
    assert many.low > 0.95 and many.meets == 'no'  # 14 of 114 are more than 5 %
    few = summed([todos([1, 1], [0, 1])] * 100 + [todos([0, 0], [1, 1])] * 3)['todo_completion']
    assert few.low > 0.95 and few.meets == 'not shown' and 'marked without work' in few.needs
    assert summed([todos([1, 1], [0, 1])] * 100)['todo_completion'].meets == 'yes'
    assert summed([todos([1, 1], [0, 0])] * 100)['todo_completion'].meets == 'not shown'
    assert summed([todos([0, 1], [0, 1])] * 9)['todo_completion'].meets == 'no'


def test_companions_of_the_jobs_that_succeeded():
    from agentft.core.records import Usage

    def one(name, task, tokens, marked, wins):
        turn = call('read_file', path='a')
        turn.usage = Usage(tokens, 0)
        bad = call('nope')
        bad.usage = Usage(0, 0)
        todo = Todo('t', 'x', work_done=True, completed_turn=0 if marked else None)
        outcome = Outcome('success' if wins else 'failed', 'checker')
        return Job(
            name, 'arena', meta=dict(task=task), turns=[turn] if wins else [turn, bad], todos=[todo], outcome=outcome
        )

    base = [one('a', '1', 1000, False, False), one('b', '2', 1000, True, True), one('c', '3', 500, True, True)]
    tuned = [one('d', '1', 100, True, True), one('e', '2', 900, True, True), one('f', '3', 9000, False, False)]
    m = five(tuned, baseline=base)
    tokens = m['tokens_per_job'].companions
    assert str(tokens['vs_baseline']) == '+300.0% (10,000/2,500)'
    assert (
        str(tokens['vs_baseline_both_succeed']) == '-10.0% (900/1,000)' and tokens['vs_baseline_both_succeed'].jobs == 1
    )
    assert str(m['todo_completion'].companions['todo_completion_in_successes']) == '100.0% (2/2)'
    assert str(m['phase_adherence'].companions['phase_adherence_in_successes']) == '100.0% (2/2)'
    tuned[0].todos.append(Todo('u', 'y', work_done=False, completed_turn=0))  # a job that succeeds and marks too early
    tuned[2].todos.append(Todo('u', 'y', work_done=False, completed_turn=0))
    beside = five(tuned)['todo_completion'].companions
    assert str(beside['marked_without_work']) == '50.0% (2/4)'
    assert str(beside['marked_without_work_in_successes']) == '33.3% (1/3)'
    assert str(m['phase_adherence']) == '75.0% (3/4)'


def test_odd_arguments_are_no_crash():
    for args in (dict(), dict(path=3, content=None), dict(path='a', old_string=['x'], new_string={}), dict(path=None)):
        for name in ('write_file', 'edit_file', 'read_file', 'move_file', 'delete_directory', 'rename_file'):
            for ok in (True, False, None):
                job_counts(Job('j', 'x', turns=[call(name, ok=ok, **args)]))
    job_counts(Job('j', 'x', turns=[Turn('', Message('assistant', tool_calls=[ToolCall('x', malformed='{')]))]))


MARK, READ = call('todo_complete', text='Completed: x'), call('read_file', path='app.yaml', text='timeout: 30')
EDIT = call('edit_file', path='app.yaml', old_string='timeout: 30', new_string='timeout: 60')
SET, LOOK, TALK = 'Set timeout to 60 in app.yaml', 'Read app.yaml', 'Decide the port'


def of_todos(texts, turns):
    "A job whose todos are marked by its `todo_complete`s, one each."
    turns = [copy.deepcopy(t) for t in turns]  # a turn is known by its object
    marks = [i for i, t in enumerate(turns) if t.said.tool_calls[0].name == 'todo_complete'] + [None] * len(texts)
    return Job('j', 'dump', turns=turns, todos=[Todo(t, t, completed_turn=i) for t, i in zip(texts, marks)])


@pytest.mark.parametrize(
    'texts, turns, completion, idle',
    [
        ([SET], [READ, MARK], [0, 0], [1, 1]),  # a read is no work on an edit
        ([SET], [call('edit_file', False, 'Error: not found', path='app.yaml'), MARK], [0, 0], [1, 1]),
        ([SET], [call('write_file', path='plan.md', content='1. Set the timeout'), MARK], [0, 0], [1, 1]),
        ([SET], [EDIT, MARK], [1, 1], [0, 1]),
        ([SET, 'Raise the timeout value'], [EDIT, MARK, MARK], [2, 2], [0, 2]),  # one effect serves two
        ([SET, 'Install the server'], [EDIT, MARK, MARK], [1, 1], [1, 2]),  # and not any two
        ([LOOK, 'Read notes.md'], [READ, MARK, MARK], [1, 1], [1, 2]),  # an earlier read is no work
        ([LOOK, SET, 'Verify app.yaml'], [READ, MARK, EDIT, MARK, MARK], [2, 2], [1, 3]),  # nor is the edit itself
        ([LOOK, SET, 'Verify app.yaml'], [READ, MARK, EDIT, MARK, READ, MARK], [3, 3], [0, 3]),
        ([LOOK, SET], [READ, EDIT], [0, 2], [0, 0]),  # worked on, never marked
        ([TALK], [MARK], [0, 0], [0, 0]),  # nobody can know
        ([SET], [call('edit_file', None, path='app.yaml'), MARK], [0, 0], [0, 0]),  # no result recorded
        ([SET], [MARK, EDIT], [1, 1], [0, 1]),  # marked too early, and done
    ],
)
def test_metric_and_detector_share_one_rule(texts, turns, completion, idle):
    from agentft.evidence.failures import detect

    job = of_todos(texts, turns)
    c = job_counts(job)
    assert (c['todo_completion'], c['marked_without_work']) == (completion, idle)
    accused = [f for f in detect(job) if f.mode == 'todo_without_work']
    assert bool(accused) == bool(idle[0])
    open_todos = [f for f in detect(job) if f.mode == 'todo_not_completed']
    assert len(open_todos) == completion[1] - completion[0]


@pytest.mark.parametrize('rules', [SHORT, FULL], ids=['short', 'full'])
def test_a_job_that_does_nothing_but_tick_its_todos(rules):
    "Stage todos, read a file, mark them all, end: every todo of it was marked without work."
    from agentft.arena.sessions import Session
    from agentft.evidence.failures import detect

    todos = [f'Tidy section {n} of the handbook' for n in range(5 if rules.guide else 1)]
    with Session(make_task('config', 3), rules) as s:

        def do(name, **arguments):
            s.step(Message('assistant', '', [ToolCall(name, arguments, f'c{len(s.turns)}')]))

        if rules.guide:
            do('todo_complete', todo_id='todo_1,todo_2,todo_3')
            do('read_file', path='todo_guide.md')
        do('next_phase_todos', todos=todos)
        do('todo_complete')
        do('read_file', path=[*s.task.files][0])
        for _ in todos:
            do('todo_complete')
        do('job_complete', summary='Done.', deliverables=[])
        job = s.job('idle')
    c = job_counts(job)
    assert c['marked_without_work'] == [len(todos), len(todos)] and c['todo_completion'] == [0, 0]
    assert any(f.mode == 'todo_without_work' for f in detect(job))


def test_a_checker_overrules_the_rule_for_trails():
    job = of_todos([SET], [READ, MARK])
    job.todos[0].work_done, job.todos[0].done_rule = True, 'checker'
    assert job_counts(job)['todo_completion'] == [1, 1]


@pytest.mark.parametrize('rules', [SHORT, FULL], ids=['short', 'full'])
def test_the_rule_for_trails_agrees_with_the_checkers(rules):
    "Every todo with a checker, judged again as if there were none: nobody is accused wrongly."
    from agentft.core.todo_work import todo_work

    agree = n = 0
    for f in FAMILIES:
        for mode in [None, *FAULTS]:
            job = play(make_task(f, 5), Faulty(mode) if mode else Expert(), rules)
            truth = {t.id: t.work_done for t in job.todos if t.done_rule == 'checker'}
            for t in job.todos:
                t.work_done, t.done_rule = None, ''
            for t, done, _ in todo_work(job):
                if t.id in truth:
                    n, agree = n + 1, agree + (done is truth[t.id])
                    assert done is not False or not truth[t.id], (f, mode, t.text)
    assert n > 90 and agree / n > 0.97


def test_outcomes_that_nobody_stated_are_no_failures():
    jobs = [Job(f's{i}', 'claude_code') for i in range(30)]
    m = five(jobs)['task_success']
    assert (m.value, m.meets, m.denominator, str(m)) == (None, '', 0, 'nobody said (0/0)')
    m = five([*jobs, Job('a', 'arena', outcome=Outcome('success', 'checker'))])['task_success']
    assert str(m) == '100.0% (1/1)' and m.unknown == {'jobs whose outcome nobody stated': 30}


def test_a_bill_of_nothing_is_no_bill():
    from agentft.core.records import Usage

    free, paid = (Turn('', Message('assistant', 'Hi'), usage=u) for u in (Usage(0, 0), Usage(9, 1)))
    assert job_counts(Job('a', 'x', turns=[free, free]))['tokens_per_job'] == [0, 0]
    assert job_counts(Job('a', 'x', turns=[free, paid]))['tokens_per_job'] == [10, 1]


def test_what_a_user_refused_costs_nothing():
    said = "The user doesn't want to proceed with this tool use. The tool use was rejected."
    job = Job('j', 'x', turns=[READ, call('edit_file', False, said, path='app.yaml', old_string='a', new_string='b')])
    c = job_counts(job)
    assert c['edit_precision'] == [0, 0] and c['unknown']['edit_precision'] == {'stopped before it ran': 1}


def test_nothing_drops_out():
    "A job that failed early still counts: success, and its violations."
    bad = Job(
        'b',
        'arena',
        turns=[Turn('tactical', Message('assistant', tool_calls=[ToolCall('nope', {}, '1')]))],
        outcome=Outcome('failed', 'checker'),
    )
    good = Job(
        'g',
        'arena',
        turns=[call('read_file', path='a')],
        todos=[Todo('t', 'x', work_done=True, completed_turn=0)],
        outcome=Outcome('success', 'checker'),
    )
    m = five([bad, good])
    assert str(m['task_success']) == '50.0% (1/2)' and str(m['phase_adherence']) == '50.0% (1/2)'
    assert m['tokens_per_job'].value is None and m['tokens_per_job'].unknown == {
        'jobs without billed tokens for every turn': 2
    }
    assert set(m) == set(TARGETS)
    json.dumps(__import__('agentft.core.records', fromlist=['to_dict']).to_dict(m))


@pytest.mark.parametrize('source', ['arena', 'mongodb', 'dump', 'claude_code'])
def test_a_job_of_version_1_is_still_read(tmp_path, source):
    "Its phases had another name, and whether its files are all known was concluded from its source."
    old = dict(
        id='j1',
        source=source,
        v=1,
        files_before={'app.yaml': 'timeout: 30\n'},
        turns=[dict(phase='tactical', phase_number=1, said=dict(role='assistant', content='Done.'))],
        todos=[dict(id='t1', text='Raise the timeout', phase='strategic', phase_number=0)],
    )
    for v in (1, None):  # the first records carried no version
        d = {k: x for k, x in (old | dict(v=v)).items() if x is not None}
        (tmp_path / 'jobs.jsonl').write_text(json.dumps(d) + '\n')
        (job,) = read_jsonl(tmp_path / 'jobs.jsonl', Job)
        assert (job.turns[0].agent_phase, job.turns[0].agent_phase_number) == ('tactical', 1)
        assert (job.todos[0].agent_phase, job.todos[0].agent_phase_number) == ('strategic', 0)
        assert (job.files_complete, job.v) == (source == 'arena', 2)
        assert from_dict(Job, to_dict(job)) == job
    example = dict(messages=[dict(role='assistant', content='x')], phase='tactical', id='e1', v=1)
    assert from_dict(Example, example).agent_phase == 'tactical'


def test_only_version_1_is_brought_up_to_date():
    assert not from_dict(Job, dict(id='j1', source='arena', v=2)).files_complete
    with pytest.raises(ValueError, match='upgrade agentft'):
        from_dict(Job, dict(id='j1', source='arena', v=3))
    with pytest.raises(ValueError, match="unknown field 'status'"):
        from_dict(Job, dict(id='j1', source='arena', status='done'))
