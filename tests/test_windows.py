"""Windows of long jobs: every turn once, nothing torn, nothing shown that the agent had not seen, nothing that looks ahead."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from agentft.arena.catalogue import make_task
from agentft.arena.faults import FAULTS, Faulty
from agentft.arena.players import Expert, play
from agentft.checks.rules import check_rules
from agentft.core.agent import FULL
from agentft.core.files import replay_files
from agentft.core.records import Job, Label, Message, Outcome, Todo, ToolCall, Turn
from agentft.core.todo_work import todo_work
from agentft.data.shown import plain_text, shown_text
from agentft.data.windows import NO_WORK_SHOWN, NOT_OFFERED, REWRITES, offered_to, references, window_example, windows
from agentft.evidence.failures import detect
from agentft.evidence.right_turns import judge_turns
from agentft.model.chat import ChatFormat
from agentft.model.loading import load_tokenizer
from agentft.traces.tool_mapping import MAPPERS, CallContext, map_call
from agentft.traces.wanted_jobs import read_jobs
from agentft.training.training import encode_rows

HISTORY = Path(__file__).resolve().parent.parent / 'samples' / 'own-history'
TRAIL = HISTORY / 'trail'
LENGTHS = (700, 1200, 2048)


@lru_cache
def fmt():
    return ChatFormat(load_tokenizer())


@lru_cache
def full_jobs():
    "Jobs under the full rules: of the expert, and of players with a fault."
    jobs = [play(make_task('config', 3), Expert(), rules=FULL), play(make_task('table', 5), Expert(), rules=FULL)]
    jobs += [play(make_task('rename', 4), Faulty(f), rules=FULL) for f in list(FAULTS)[:4]]
    for job in jobs:
        detect(job)
    return jobs


@lru_cache
def trail_jobs(n=3):
    "Jobs of the sample trail, with long prompts and results."
    jobs = []
    for job in read_jobs(TRAIL, {}):
        detect(job)
        jobs.append(job)
        if len(jobs) == n:
            return jobs
    return jobs


def all_windows(length):
    for job in [*full_jobs(), *trail_jobs()]:
        verdicts = judge_turns(job)
        for w in windows(job, fmt(), length, verdicts):
            yield job, verdicts, w


@pytest.mark.parametrize('length', LENGTHS)
def test_every_turn_is_a_decision_of_exactly_one_window(length):
    for job in [*full_jobs(), *trail_jobs()]:
        decided = [i for w in windows(job, fmt(), length) for i in w.whys]
        assert decided == list(range(len(job.turns)))


@pytest.mark.parametrize('length', LENGTHS)
def test_no_row_is_longer_than_the_limit_and_none_is_torn(length):
    n = 0
    for job, _, w in all_windows(length):
        if not w.trained:
            continue
        e = window_example(job, w)
        rows, skipped = encode_rows([e], fmt().tokenizer, length)
        assert len(rows) == 1 and not skipped
        assert len(rows[0]['input_ids']) == w.tokens <= length
        assert [p.kind for p in check_rules(e)] == []
        n += 1
    assert n > 20


def test_what_is_trained_is_what_was_said_and_nothing_else():
    for job, _, w in all_windows(1200):
        if not w.trained:
            continue
        e = window_example(job, w)
        ids, labels = fmt().encode(e.messages, e.tools, e.weights)
        trained = fmt().tokenizer.decode([y for y in labels if y >= 0])
        for i in w.trained:
            for call in job.turns[i].said.tool_calls:
                assert call.name in trained
        assert 'Remaining:' not in trained and '[Summary of prior work]' not in trained


def test_a_wrong_turn_is_context_and_its_neighbours_are_trained():
    job = full_jobs()[0]
    wrong = len(job.turns) // 2
    before = {i: why for w in windows(job, fmt(), 2048) for i, why in w.whys.items()}
    job = replace(job, turns=list(job.turns))
    job.turns[wrong] = replace(job.turns[wrong], labels=[Label('blind_edit', 'as a test')])
    whys = {i: why for w in windows(job, fmt(), 2048) for i, why in w.whys.items()}
    assert whys[wrong] == 'failure: blind_edit'
    assert [i for i, why in whys.items() if why != before[i]] == [wrong] and not before[wrong - 1]


@pytest.mark.parametrize('length', LENGTHS)
def test_a_window_does_not_look_ahead(length):
    "With everything behind a decision cut off, what the model sees before it is the same."
    for job in [full_jobs()[0], trail_jobs()[0]]:
        verdicts = judge_turns(job)
        seen = {r.turn: r.messages for w in windows(job, fmt(), length, verdicts) for r in references(job, w, verdicts)}
        for turn in list(seen)[:: max(len(seen) // 8, 1)]:
            cut = cut_after(job, turn)
            again = windows(cut, fmt(), length, verdicts[: turn + 1])
            last = references(cut, again[-1], verdicts)[-1]
            assert last.turn == turn and last.messages == seen[turn]


def cut_after(job, turn):
    "The job as it stood when `turn` was decided."
    todos = [t for t in job.todos if t.staged_turn is None or t.staged_turn < turn]
    known = [t.completed_turn if t.completed_turn is not None and t.completed_turn <= turn else None for t in todos]
    todos = [replace(t, completed_turn=when) for t, when in zip(todos, known)]
    cut = replace(job, turns=job.turns[: turn + 1], todos=todos)
    if not job.files_complete:  # texts that only later reads have shown are not known yet; memory is always shown
        memory = {p: text for p, text in job.files_before.items() if p == 'workspace.md'}
        cut.files_before = replay_files(replace(job, turns=job.turns[:turn]))[0] | memory
    return cut


@pytest.mark.parametrize('length', LENGTHS)
def test_every_replaced_text_is_shown_before_it(length):
    n = 0
    for job, verdicts, w in all_windows(length):
        for r in references(job, w, verdicts):
            for call in r.said.tool_calls:
                if call.name == 'edit_file' and call.arguments.get('old_string'):
                    assert plain_text(call.arguments['old_string']) in shown_text(r.messages)
                    n += 1
    assert n


def test_a_hidden_number_keeps_its_turn_from_being_taught():
    "A report with a number that stood in a long file, and that the window cut out of it."
    rows = '\n'.join(f'station {i}: pressure {3000 + 7 * i} of {i}' for i in range(400))
    read = ToolCall('read_file', dict(path='log.txt'), 'c1')
    write = ToolCall('write_file', dict(path='output/note.md', content='The pressure in the middle is 4386.\n'), 'c2')
    turns = [
        Turn('', Message('assistant', '', [read]), [Message('user', 'Which pressure is in the middle?')]),
        Turn('', Message('assistant', '', [write])),
    ]
    turns[0].results = [Message('tool', rows, [], 'c1', ok=True)]
    turns[1].results = [Message('tool', 'Written: output/note.md', [], 'c2', ok=True)]
    job = Job('j', 'chat', turns=turns, outcome=Outcome('success', 'approved', 1.0))
    (w,) = windows(job, fmt(), 1000)
    assert '4386' not in shown_text(w.messages[: w.places[1]])  # it was cut out
    assert w.whys == {0: '', 1: 'uses what the window does not show'}
    write.arguments['content'] = 'The first pressure is 3007.\n'
    (w,) = windows(job, fmt(), 1000)
    assert w.whys == {0: '', 1: ''}


def asked_to_write(old, content, path='workspace.md', seen='Go on.', phase='tactical'):
    "A job that reads `old` at `path`, is told something, and writes `content` there."
    read = ToolCall('read_file', dict(path=path), 'c1')
    write = ToolCall('write_file', dict(path=path, content=content), 'c2')
    turns = [
        Turn(phase, Message('assistant', '', [read]), [Message('user', 'Keep the notes in order.')]),
        Turn(phase, Message('assistant', '', [write]), [Message('user', seen)]),
    ]
    turns[0].results = [Message('tool', old, [], 'c1', ok=True)]
    turns[1].results = [Message('tool', 'Written', [], 'c2', ok=True)]
    return Job('j', 'dump', turns=turns, outcome=Outcome('success', 'checker', 1.0))


def why_of_last(job, max_len=1000):
    return list(windows(job, fmt(), max_len)[-1].whys.values())[-1]


def test_a_file_that_is_shown_with_a_gap_is_not_rewritten():
    "Neither a line that is carried over nor one that is dropped may be hidden."
    short = '# Notes\n- the pump runs at night\n- ask Ines first\n'
    long = '\n'.join(f'- remark {i} about the pump that was heard on the tour' for i in range(200))
    for path in ('workspace.md', 'notes/pump.md'):
        assert why_of_last(asked_to_write(short, '# Notes\n- ask Ines first\n', path)) == ''
        assert why_of_last(asked_to_write(long, '# Notes\n- nothing is left\n', path)) == REWRITES


def test_a_hidden_sentence_or_small_number_keeps_its_turn_from_being_taught():
    rows = [f'remark {i} about the pump that was heard on the tour' for i in range(200)]
    rows[100] = 'Ines wants the valve closed on Sundays'
    rows[101] = 'the level is 47 then'
    job = asked_to_write('\n'.join(rows), 'x', 'log.txt')
    write = job.turns[1].said.tool_calls[0]
    for content, taught in {
        'Ines wants the valve closed on Sundays\n': False,
        'The level is 47.\n': False,
        'Nobody wants the valve closed on Mondays\n': True,
        'The level is 470.\n': True,
    }.items():
        write.arguments |= dict(path='output/note.md', content=content)
        assert (why_of_last(job) == '') == taught, content


@pytest.mark.parametrize('length', LENGTHS)
def test_no_todo_is_marked_without_its_work_in_the_window(length):
    "In rows and in references: something else than bookkeeping was called between the start of the window and the mark."
    marks = 0
    for job, verdicts, w in all_windows(length):
        for i in w.trained:
            if all(c.name != 'todo_complete' for c in job.turns[i].said.tool_calls):
                continue
            done = [c.name for t in job.turns[w.start : i + 1] for c in t.said.tool_calls if c.name != 'todo_complete']
            assert done, (job.id, i)
            marks += 1
        assert {r.turn for r in references(job, w, verdicts)} == set(w.trained)
    assert marks > 10


def test_a_new_window_shows_the_last_work():
    "Marks are still taught where a window begins: what was done for the todo is told before them, if it fits."
    begins = []
    for job, verdicts, w in all_windows(1536):
        marked = [done for t, done, _ in todo_work(job) if t.completed_turn == w.first]
        if marked and all(marked) and verdicts[w.first].right:
            begins.append(w)
    hidden = [w for w in begins if w.whys[w.first] == NO_WORK_SHOWN]  # the work is too long for the rest of the row
    assert len(begins) > 10 and len(hidden) < len(begins) / 2


def test_marks_of_several_todos_at_once_need_work_for_each():
    edit = ToolCall('edit_file', dict(path='a.yaml', old_string='port: 1', new_string='port: 2'), 'c1')
    marks = [ToolCall('todo_complete', dict(todo_id=f'todo_{k}'), f'm{k}') for k in (1, 2)]
    answers = [Message('tool', 'Completed', [], c.id, ok=True) for c in marks]
    turns = [
        Turn('', Message('assistant', '', [edit]), [Message('user', 'port: 1')]),
        Turn('', Message('assistant', '', marks), [], answers),
    ]
    turns[0].results = [Message('tool', 'Edited', [], 'c1', ok=True)]
    todos = [Todo('todo_1', 'Set the port in a.yaml', staged_turn=-1, completed_turn=1)]
    todos.append(Todo('todo_2', 'Write the manual in doc.md', staged_turn=-1, completed_turn=1))
    job = Job('j', 'dump', turns=turns, todos=todos, outcome=Outcome('success', 'checker', 1.0))
    assert why_of_last(job) == NO_WORK_SHOWN
    todos[1].text = 'Change the port everywhere'
    assert why_of_last(job) == ''


def test_offered_tools_tell_nothing_of_what_a_session_calls_later():
    sessions = list(read_jobs_of_sessions())
    tools = offered_to(sessions, fmt(), 1536)
    assert len({tuple(t['function']['name'] for t in x) for x in tools.values()}) == 1
    for k, job in enumerate(sessions):
        first = job.turns[: max(len(job.turns) // 3, 1)]
        called = {c.name for t in first for c in t.said.tool_calls}
        cut = replace(job, turns=first, tools=[t for t in job.tools if t['function']['name'] in called])
        rest = sessions[:k] + sessions[k + 1 :]
        elsewhere = {c.name for j in rest for t in j.turns for c in t.said.tool_calls}
        now = {t['function']['name'] for t in offered_to([*rest, cut], fmt(), 1536)[job.id]}
        assert now == {t['function']['name'] for t in tools[job.id]} & (elsewhere | called)
        assert len(now) > len(called) or len(elsewhere - called) == 0


ASKED = dict(
    Read=dict(file_path='a.md'),
    Write=dict(file_path='a.md', content='x'),
    Edit=dict(file_path='a.md', old_string='a', new_string='b'),
    MultiEdit=dict(file_path='a.md', edits=[dict(old_string='a', new_string='b')]),
    Bash=dict(command='ls'),
    Glob=dict(pattern='*.md'),
    LS=dict(path='.'),
    Grep=dict(pattern='port'),
    WebSearch=dict(query='port'),
)  # a call of each tool that is mapped


def calls_tools(id, calls, **meta):
    "A session of one source whose turns call these `(name, arguments)`, with success."
    turns = [Turn('', Message('assistant', tool_calls=[ToolCall(c, a, f'c{k}')])) for k, (c, a) in enumerate(calls)]
    for t in turns:
        call = t.said.tool_calls[0]
        t.results = [Message('tool', 'a', tool_call_id=call.id, name=call.name, ok=True)]
    turns[0].seen = [Message('user', 'Look at a.md and change it.')]
    tools = [dict(type='function', function=dict(name=c, parameters=dict(properties={}))) for c in dict(calls)]
    return Job(id, 'claude_code', turns=turns, tools=tools, meta=dict(tools='called') | meta)


@pytest.mark.parametrize('name', sorted({*MAPPERS} - {'NotebookEdit'}))
def test_one_tool_is_not_offered_under_two_names(name):
    "Whatever a mapped call is in our tools, its name in the agent's own words is not offered beside it."
    (ours, *_) = map_call(name, ASKED[name], CallContext(ok=True))
    jobs = [calls_tools('a', [(name, {}), ('Task', {})]), calls_tools('b', [(ours.name, ours.arguments)])]
    offers = {t['function']['name'] for t in offered_to(jobs, fmt(), 3000)['a']}
    assert offers == {ours.name, 'Task'}
    alone = {t['function']['name'] for t in offered_to(jobs[:1], fmt(), 3000)['a']}
    assert alone == {name, 'Task'}  # without its counterpart it is the only name of the tool


def test_a_call_by_the_name_that_is_not_offered_is_context():
    job = calls_tools('a', [('read_file', dict(path='a.md')), ('Read', dict(file_path='a.md')), ('Task', {})])
    job.outcome = Outcome('success', 'checker', 1.0)
    tools = offered_to([job], fmt(), 3000)[job.id]
    whys = {i: why for w in windows(job, fmt(), 3000, tools=tools) for i, why in w.whys.items()}
    assert whys == {0: '', 1: NOT_OFFERED, 2: ''}


def read_jobs_of_sessions():
    from collections import Counter

    from agentft.traces.coding_sessions import read_claude

    return read_claude(sorted((HISTORY / 'sessions').rglob('*.jsonl')), Counter())


def test_one_bad_decision_does_not_cost_its_window():
    from agentft.checks.rules import untrain

    job = full_jobs()[0]
    w = next(w for w in windows(job, fmt(), 2048) if len(w.trained) > 3)
    e = window_example(job, w)
    bad = w.places[w.trained[1]]
    call = e.messages[bad].tool_calls[0]
    e.messages[bad] = replace(e.messages[bad], tool_calls=[replace(call, arguments=dict(call.arguments, colour='red'))])
    mended = untrain(e)
    assert mended.weights[bad] == 0 and sum(mended.weights) == sum(e.weights) - 1
    assert check_rules(mended) == []


def test_long_jobs_take_time_and_memory_in_proportion():
    "A thousand turns in one phase: no recursion, and every turn once."
    turns = []
    for i in range(1200):
        call = ToolCall('read_file', dict(path=f'part{i % 7}.txt'), f'c{i}')
        results = [Message('tool', f'line {i}\n' * 5, [], call.id, ok=True)]
        turns.append(Turn('', Message('assistant', '', [call]), [Message('user', 'Read on.')] * (i == 0), results))
    job = Job('long', 'chat', turns=turns, outcome=Outcome('success', 'approved', 1.0))
    decided = [i for w in windows(job, fmt(), 1200) for i in w.whys]
    assert decided == list(range(1200))
