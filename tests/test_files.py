"""The one replay: what it says about files is held against files on disk.

Hypothesis makes up calls, several a turn, good and bad ones. A real `Workspace` carries them out, and the job that
results is replayed twice: as an arena job, whose files are all known, where everything has to agree; and as a trail
that says nothing about the start, where whatever the replay claims to know has to be true.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentft.arena.workspace import Workspace
from agentft.core.files import (
    CUT_ARGUMENTS,
    LAST_NEWLINE,
    NO_FIT,
    NO_RESULT,
    NO_SOURCE,
    NOT_KNOWN,
    UNREAD,
    Files,
    FileState,
    files_at,
    replay,
    replay_files,
)
from agentft.core.metrics import job_edits
from agentft.core.records import Job, Message, ToolCall, Turn
from agentft.evidence.edits import file_changes
from agentft.evidence.failures import detect

PATHS = ['a.md', 'a.md', 'a.md', 'b.md', 'd/a.md', './a.md', 'd//a.md', 'x/../b.md']
FOLDERS = ['d', 'd/e', 'a.md', 'new']
PIECES = ['one', 'two', 'a: 1', '', 'é', '# T']

lines = st.lists(st.sampled_from(PIECES), max_size=4)
texts = st.builds(lambda ls, end: '\n'.join(ls) + end, lines, st.sampled_from(['', '\n', '\n\n']))
odd_texts = st.one_of(
    texts, st.sampled_from(['one\r\ntwo\r\n', 'a\u2028b', '     1\tx', '(empty file)', '\x0b', '1\tq\n2\tr'])
)
strings = st.sampled_from(['one', 'two', 'one\n', '\n', 'a: 1\n', 'a', '1', 'no such text', '', '\none'])


def call(name, **arguments):
    return st.fixed_dictionaries(arguments).map(lambda a: (name, {k: x for k, x in a.items() if x is not None}))


def calls(contents):
    path, folder = st.sampled_from(PATHS), st.sampled_from(FOLDERS)
    number = st.sampled_from([None, None, None, 0, 1, 2, 50])
    return st.one_of(
        call('read_file', path=path, offset=number, limit=number),
        call('read_file', path=path),
        call('edit_file', path=path, new_string=strings, position=st.just('end')),
        call('write_file', path=path, content=contents),
        call('edit_file', path=path, old_string=strings, new_string=strings),
        call('edit_file', path=path, new_string=strings, position=st.sampled_from(['start', 'end', 'middle'])),
        call('move_file', source=path, dest=path),
        call('copy_file', source=path, dest=path),
        call('rename_file', path=path, new_name=st.sampled_from(['a.md', 'z.md', 'd/z.md'])),
        call('delete_file', path=path),
        call('delete_directory', path=folder),
        call('create_directory', path=folder),
        call('file_exists', path=path),
    )


def play(files, turns, numbers):
    "Carry out `turns` on disk: the job as it is recorded, and the files before and after every call."
    ws, steps = Workspace(files, line_numbers=numbers), []
    job = Job('j', 'arena', files_before=dict(files), files_complete=True)
    try:
        for t, made in enumerate(turns):
            said = [ToolCall(name, arguments, f'{t}.{i}') for i, (name, arguments) in enumerate(made)]
            results = []
            for c in said:
                before = ws.files()
                text, ok = ws.run(c)
                results.append(Message('tool', text, tool_call_id=c.id, name=c.name, ok=ok))
                steps.append((t, c, ok, before, ws.files()))
            job.turns.append(Turn('tactical', Message('assistant', tool_calls=said), results=results))
        job.files_after = ws.files()
    finally:
        ws.close()
    return job, steps


def holds(state: FileState, path, files) -> bool:
    "Is what the replay claims about `path` true?"
    if state.exists is False and path in files or state.exists and path not in files:
        return False
    if state.text is None:
        return True
    return files.get(path) in ((state.text,) if state.exact else (state.text, state.text + '\n'))


def replayed(job, steps):
    "Every step with the changes that the replay gives for it."
    changes = list(replay(job))
    by_call = {}
    for c in changes:
        by_call.setdefault(id(c.call), []).append(c)
    assert [id(c.call) for c in changes] == [id(c) for _, c, *_ in steps for _ in by_call.get(id(c), [])]
    for turn, c, ok, before, after in steps:
        yield turn, ok, before, after, by_call.get(id(c), [])


start = st.dictionaries(st.sampled_from(['a.md', 'b.md', 'd/a.md']), texts, max_size=3)
odd_start = st.dictionaries(st.sampled_from(['a.md', 'b.md', 'd/a.md']), odd_texts, max_size=3)


@settings(max_examples=150, deadline=None)
@given(odd_start, st.lists(st.lists(calls(odd_texts), min_size=1, max_size=4), max_size=8), st.booleans())
def test_an_arena_job_is_replayed_exactly(files, turns, numbers):
    job, steps = play(files, turns, numbers)
    for turn, ok, before, after, changes in replayed(job, steps):
        touched = set()
        for c in changes:
            assert (c.turn, c.ok) == (turn, ok)
            assert c.was == FileState(c.path in before, before.get(c.path))
            assert c.now == FileState(c.path in after, after.get(c.path))
            touched.add(c.path)
        assert {p for p in {**before, **after} if before.get(p) != after.get(p)} <= touched
    assert files_at(job).texts() == job.files_after
    for t in range(len(job.turns)):
        assert files_at(job, t).texts() == next(before for turn, _, _, before, _ in steps if turn == t)


@settings(max_examples=400, deadline=None)
@given(start, st.lists(st.lists(calls(texts), min_size=1, max_size=4), max_size=8), st.booleans())
def test_what_a_trail_claims_to_know_is_true(files, turns, numbers):
    job, steps = play(files, turns, numbers)
    job.source, job.files_before, job.files_complete = 'mongodb', {}, False
    for turn, ok, before, after, changes in replayed(job, steps):
        for c in changes:
            assert (c.turn, c.ok) == (turn, ok)
            assert holds(c.was, c.path, before), c
            assert holds(c.now, c.path, after), c
            if not ok and c.kind != 'read':
                assert c.was == c.now
            if ok and c.after is None and c.now.exists is not False:
                assert c.why, c
    state = files_at(job)
    assert all(holds(s, p, job.files_after) for p, s in state.states.items())
    known_before, known_after = replay_files(job)
    assert all(holds(FileState(True, t, exact=False), p, files) for p, t in known_before.items())
    assert all(holds(FileState(True, t, exact=False), p, job.files_after) for p, t in known_after.items())


@settings(max_examples=100, deadline=None)
@given(start, st.lists(st.lists(calls(texts), min_size=1, max_size=3), max_size=6))
def test_readers_of_an_arena_job_see_real_states(files, turns):
    job, steps = play(files, turns, False)
    states = {}
    for turn, _, _, before, after in steps:
        states.setdefault(turn, []).extend([before, after])
    for path, turn, before, after in file_changes(job):
        assert any(s.get(path) == before for s in states[turn]) and any(s.get(path) == after for s in states[turn])
    edits, unknown = job_edits(job)
    assert not unknown
    seen = {(p, t) for ss in states.values() for s in ss for p, t in s.items()}
    for e in edits:
        assert e.after == e.before == '' or {(e.path, e.after), (e.path, e.before)} <= seen


# ---- one small example for every disagreement that there was between the four replays


def turn(name, answer='ok', ok=True, **arguments):
    c = ToolCall(name, arguments, 'c')
    results = [] if ok is None else [Message('tool', answer, tool_call_id='c', name=name, ok=ok)]
    return Turn('tactical', Message('assistant', tool_calls=[c]), results=results)


def trail(*turns, **known):
    return Job('j', 'mongodb', turns=list(turns), **known)


def edit(old, new, path='a.md', **kw):
    return turn('edit_file', path=path, old_string=old, new_string=new, **kw)


def read(text, path='a.md', **kw):
    return turn('read_file', text, path=path, **kw)


@pytest.mark.parametrize('part', [dict(offset=1), dict(offset=0), dict(limit=0), dict(offset=None), {}])
def test_a_read_from_the_first_line_is_a_whole_one(part):
    job = trail(read('one\ntwo', **part), edit('one', '1'))
    assert list(file_changes(job)) == [('a.md', 1, 'one\ntwo', '1\ntwo')]
    assert replay_files(job) == ({'a.md': 'one\ntwo'}, {'a.md': '1\ntwo'})
    edits, unknown = job_edits(job)
    assert [(e.before, e.after) for e in edits] == [('one\ntwo', '1\ntwo')] and not unknown


@pytest.mark.parametrize('part', [dict(offset=2), dict(limit=1), dict(page_start=1), dict(describe=True)])
def test_a_read_of_a_part_is_none(part):
    job = trail(read('one', **part), edit('one', '1'))
    assert not list(file_changes(job)) and replay_files(job) == ({}, {})
    assert job_edits(job)[1] == {NOT_KNOWN: 1}


def test_a_copy_can_be_edited():
    job = trail(read('one\ntwo'), turn('copy_file', source='a.md', dest='b.md'), edit('two', '2', 'b.md'))
    assert list(file_changes(job)) == [('b.md', 2, 'one\ntwo', 'one\n2')]
    assert files_at(job).texts() == {'a.md': 'one\ntwo', 'b.md': 'one\n2'}


def test_an_empty_file_is_empty():
    job = trail(read('(empty file)'), turn('edit_file', path='a.md', new_string='x\n', position='end'))
    assert replay_files(job) == ({'a.md': ''}, {'a.md': 'x\n'})


def test_a_read_that_disagrees_is_right():
    job = trail(
        turn('write_file', path='a.md', content='one\n'),
        turn('run_command', 'exit code: 0', command='sed -i s/one/1/ a.md'),
        read('     1\t1'),
        edit('1', '2'),
    )
    assert files_at(job, 2)['a.md'] == FileState(True, 'one\n')
    assert files_at(job)['a.md'] == FileState(True, '2', exact=False)
    assert [(e.before, e.after) for e in job_edits(job)[0]] == [('1', '2')]


def test_a_read_that_agrees_keeps_the_exact_text():
    job = trail(turn('write_file', path='a.md', content='one\r\ntwo\r\n\n'), read('     1\tone\n     2\ttwo\n     3\t'))
    assert files_at(job)['a.md'] == FileState(True, 'one\r\ntwo\r\n\n')


def test_the_newline_that_a_read_does_not_show():
    def state(*turns):
        return files_at(trail(*turns))['a.md']

    def end(new):
        return turn('edit_file', path='a.md', new_string=new, position='end')

    assert state(read('one'), edit('one', '1')) == FileState(True, '1', exact=False)
    assert state(read('one'), edit('one\n', '1\n')) == FileState(True, '1\n')  # it was there
    assert state(read('one'), end('two\n')) == FileState(True, 'one\ntwo\n')  # there or not, the result is the same
    job = trail(read('one\n'), end('two\n'))
    assert files_at(job)['a.md'] == FileState(True) and [*replay(job)][-1].why == LAST_NEWLINE
    copied = trail(read('one'), turn('copy_file', source='a.md', dest='b.md'), edit('one\n', '1\n', 'b.md'))
    assert files_at(copied)['b.md'] == FileState(True, '1\n')


def test_a_successful_edit_that_does_not_fit_makes_the_text_unknown():
    job = trail(read('one'), edit('two', '2'), edit('2', '3'), turn('write_file', path='a.md', content='new\n'))
    assert [c.why for c in replay(job)] == ['', NO_FIT, NOT_KNOWN, NOT_KNOWN]
    assert files_at(job)['a.md'] == FileState(True, 'new\n') and not list(file_changes(job))


def test_what_was_cut_in_the_source_is_not_taken_for_the_whole():
    cut = 'one\ntwo... [truncated]'
    job = trail(
        turn('write_file', path='a.md', content=cut), edit('one', '1'), read(cut, 'b.md'), edit('o', 'c', 'b.md')
    )
    assert files_at(job).texts() == {} and replay_files(job) == ({}, {})
    assert sum(job_edits(job)[1].values()) == 3 and not job_edits(job)[0]
    lost = trail(turn('write_file'), turn('edit_file', path='a.md', old_string=None, new_string=7))
    assert files_at(lost).texts() == {} and sum(job_edits(lost)[1].values()) == 2


def test_a_call_without_a_result_may_have_happened():
    known = dict(files_before={'a.md': 'one\n', 'b.md': 'two\n'}, files_complete=True)
    for t in (
        turn('write_file', ok=None, path='a.md', content='x'),
        edit('one', '1', ok=None),
        turn('delete_file', ok=None, path='a.md'),
        turn('move_file', ok=None, source='a.md', dest='c.md'),
    ):
        job = trail(t, **known)
        assert files_at(job)['a.md'] == FileState(None) and files_at(job)['b.md'].text == 'two\n'
        assert {c.why for c in replay(job)} == {NO_RESULT}
    assert files_at(trail(turn('read_file', ok=None, path='a.md'), **known))['a.md'].text == 'one\n'


def test_failed_and_malformed_calls_change_nothing():
    job = trail(
        edit('one', '1', ok=False, answer='Error: You must read_file first'),
        turn('delete_file', 'Error: no', ok=False, path='a.md'),
        turn('delete_file', path='a.md'),
        files_before={'a.md': 'one\n'},
        files_complete=True,
    )
    job.turns[2].said.tool_calls[0].malformed = '{"path": "a.md"'
    assert files_at(job).texts() == {'a.md': 'one\n'} and [c.ok for c in replay(job)] == [False, False]


def test_several_edits_in_one_turn_are_in_order():
    made = [ToolCall('edit_file', dict(path='a.md', old_string=o, new_string=n), o) for o, n in ('ab', 'bc', 'cd')]
    job = trail(
        Turn(
            '',
            Message('assistant', tool_calls=made),
            results=[Message('tool', 'Edited', tool_call_id=c.id, ok=True) for c in reversed(made)],
        ),
        files_before={'a.md': 'a\n'},
        files_complete=True,
    )
    assert [(c.before, c.after) for c in replay(job)] == [('a\n', 'b\n'), ('b\n', 'c\n'), ('c\n', 'd\n')]


def test_two_spellings_of_a_path_are_one_file():
    files = Files({'./docs//a.md': 'one\n'}, complete=True)
    assert files['docs/a.md'].text == 'one\n'
    job = trail(read('one', './a.md'), edit('one', '1', 'docs/../a.md'))
    assert replay_files(job) == ({'a.md': 'one'}, {'a.md': '1'})


def test_a_failed_edit_of_an_unknown_file_does_not_stand_for_its_text():
    "What was measured began with an empty text where the first edit failed, so the smallest edit was the whole file."
    text = '\n'.join(f'line {i}' for i in range(20))
    job = trail(edit('x', 'y', ok=False, answer='Error: old_string not found'), read(text), edit('line 7', 'line 77'))
    (e,), unknown = job_edits(job)
    assert (e.before, e.failed > 0, e.minimal < 8, e.turn) == (text, True, True, 0) and not unknown


def test_a_file_that_changed_in_between_is_measured_in_two_parts():
    job = trail(read('one\ntwo\nthree'), edit('one', '1'), read('other\nlines'), edit('other', 'o'))
    assert [(e.before, e.after) for e in job_edits(job)[0]] == [
        ('one\ntwo\nthree', '1\ntwo\nthree'),
        ('other\nlines', 'o\nlines'),
    ]


def test_an_unread_write_is_new_or_an_overwrite():
    job = trail(turn('write_file', path='a.md', content='x'), turn('write_file', path='a.md', content='y'))
    assert [c.why for c in replay(job)] == [UNREAD, '']
    gone = trail(read('Error: File not found: a.md', ok=False), turn('write_file', path='a.md', content='x'))
    assert [c.why for c in replay(gone)] == ['', ''] and job_edits(gone) == ([], {})


def test_notes_grow_by_edits_too():
    "The detector that counts lines of workspace.md follows copies, positions and reads from the first line."
    notes = '\n'.join(f'- {i}' for i in range(50))
    job = trail(
        read(notes, 'workspace.md', offset=1),
        turn('edit_file', path='./workspace.md', new_string='# Notes\n', position='start'),
    )
    assert [f.evidence for f in detect(job, ['notes_bloat'])] == ['workspace.md has 51 lines after edit_file']


def test_an_edit_whose_text_stands_twice_makes_the_text_unknown():
    "The agent's tool takes only a text that occurs once; a trail that says otherwise shows that the file was another."
    job = Job('j', 'x', files_before={'a.md': 'one\none\n'}, files_complete=True)
    call = ToolCall('edit_file', dict(path='a.md', old_string='one', new_string='two'), 'c')
    said = Message('assistant', tool_calls=[call])
    job.turns = [
        Turn('tactical', said, results=[Message('tool', 'Edited: a.md', tool_call_id='c', name='edit_file', ok=True)])
    ]
    [change] = replay(job)
    assert (change.before, change.after, change.ok) == ('one\none\n', None, True) and change.why


def test_files_under_a_deleted_folder_are_gone():
    job = Job('j', 'x', files_before={'notes/a.md': 'one\n', 'b.md': 'two\n'}, files_complete=True)
    said = Message('assistant', tool_calls=[ToolCall('delete_directory', dict(path='notes'), 'c')])
    job.turns = [Turn('tactical', said, results=[Message('tool', 'Deleted: notes', tool_call_id='c', ok=True)])]
    files = files_at(job)
    assert files['notes/a.md'].exists is False and files['b.md'].text == 'two\n'


def test_what_is_known_goes_on_into_a_later_job():
    "A branch starts from all that was known: texts, files that are gone, files whose text is unknown, texts from reads."
    files = Files({})
    job = trail(read('one'), turn('read_file', 'Error: not found', ok=False, path='gone.md'))
    list(replay(job, files))
    files.put('lost.md', None)
    later = files.later()
    assert later.start == later.texts() == {'a.md': 'one'} and not later['a.md'].exact
    assert later['gone.md'].exists is False and later['lost.md'] == FileState(True) and later['new.md'].exists is None
    later.put('a.md', 'two')
    assert files.texts() == {'a.md': 'one'}


def test_a_text_that_a_call_made_did_not_stand_at_the_start():
    files = Files({})
    files.put('a.md', 'one')
    files.show('a.md', 'two')
    files.show('b.md', 'one')
    assert files.start == {'b.md': 'one'} and files.texts() == {'a.md': 'two', 'b.md': 'one'}


def test_only_a_file_that_was_not_found_is_known_not_to_be_there():
    refused = turn('read_file', 'Error: permission denied', ok=False, path='a.md')
    assert files_at(trail(refused))['a.md'].exists is None
    assert files_at(trail(read('one'), refused)).texts() == {'a.md': 'one'}
    assert files_at(trail(turn('read_file', 'Error: File not found', ok=False, path='a.md')))['a.md'].exists is False


def test_what_a_lost_argument_says():
    "A move whose source was cut still arrives, with a text that nobody knows; a folder whose name was cut is counted."
    cut = 'docs/long ... [truncated]'
    _, gone, arrived = replay(trail(read('one', 'b.md'), turn('move_file', source=cut, dest='b.md')))
    assert (gone.path, gone.why) == ('', CUT_ARGUMENTS)
    assert (arrived.path, arrived.now, arrived.why) == ('b.md', FileState(True), NO_SOURCE)
    [c] = replay(trail(turn('delete_directory', path=cut)))
    assert (c.path, c.why) == ('', CUT_ARGUMENTS)
