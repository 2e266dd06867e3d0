"The replay suite: a judge that every kind of mistake flips, answers that are asked once, a verdict that is not given away."

import html
import importlib.util
import os
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import agentft.phases.evaluate as ev
from agentft.arena.catalogue import FAMILIES, make_task
from agentft.arena.players import Expert, play, say
from agentft.core.agent import FULL, SHORT
from agentft.core.intervals import least_clusters
from agentft.core.records import Message, Reference, ToolCall, Usage, read_jsonl, to_dict, write_jsonl
from agentft.evaluation.answers import TOO_LONG, Answer, draw_references
from agentft.evaluation.comparison import holm
from agentft.evaluation.judging import judge, kind_of, reference_at
from agentft.evaluation.replay import (
    TESTED,
    best_floor,
    compare_floor,
    compare_turns,
    counts_by_group,
    floor_actions,
    judge_answers,
    kind_rows,
    measure_rows,
    read_fold,
    replay_line,
    replay_numbers,
    step_rows,
    unit_of,
)
from agentft.model.loading import tiny_model
from agentft.model.players import Model, Script
from agentft.workbench.runs import read_result, write_result

JOB = play(make_task('config', 1, formed=False), Expert())
STAGE, _, READ, EDIT, MARK, WRITE, _, END = [reference_at(JOB, i) for i in range(len(JOB.turns))]
PATH = next(iter(EDIT.files_after))
OLD, NEW = EDIT.files[PATH], EDIT.files_after[PATH]


def call(name, **arguments):
    return ToolCall(name, arguments)


def edit(old, new, path=PATH):
    return call('edit_file', path=path, old_string=old, new_string=new)


TICK = call('todo_complete')
RIGHT = EDIT.said.tool_calls[0]


# --- the judge


@pytest.mark.parametrize('rules', [SHORT, FULL], ids=['short', 'full'])
def test_what_was_recorded_is_right(rules):
    for family in FAMILIES:
        job = play(make_task(family, 2), Expert(), rules)
        for i in range(len(job.turns)):
            ref = reference_at(job, i)
            j = judge(ref, ref.said, 9)
            wrong = [k for k, v in vars(j).items() if v is False]
            assert not wrong and j.effect and j.same_tools and j.tokens == 9, (job.id, i, wrong, j.why)


def test_another_turn_is_not_right_in_its_place():
    "Of all pairs of turns of a job only those count as right that do the same."
    for family in (
        'config',
        'rename',
        'facts',
        'compact',
        'table',
        'notes',
        'changelog',
        'insert',
        'errors',
        'superseded',
    ):
        job = play(make_task(family, 2), Expert())
        refs = [reference_at(job, i) for i in range(len(job.turns))]
        for a in refs:
            for b in refs:
                same = [(c.name, c.arguments) for c in a.said.tool_calls] == [
                    (c.name, c.arguments) for c in b.said.tool_calls
                ]
                assert (judge(a, b.said).effect is True) == same, (family, a.turn, b.turn, judge(a, b.said).why)


# field -> (reference, an answer that is right in it, one that is not)
MUTANTS = {
    'called': (EDIT, say(RIGHT), say(text='I will set it.')),
    'well_formed': (EDIT, say(RIGHT), say(ToolCall('edit_file', malformed='{"path": "a'))),
    'known_tool': (EDIT, say(RIGHT), say(ToolCall('str_replace', RIGHT.arguments))),
    'valid': (EDIT, say(RIGHT), say(ToolCall('edit_file', dict(RIGHT.arguments, occurrence=1)))),
    'legal': (EDIT, say(RIGHT), say(call('job_complete', summary='Done.', deliverables=[]))),
    'first_tool': (EDIT, say(RIGHT, TICK), say(TICK, RIGHT)),
    'same_tools': (EDIT, say(RIGHT), say(RIGHT, RIGHT)),
    'effect': (EDIT, say(RIGHT), say(edit('17', '34'))),
    'applies': (EDIT, say(edit('17', '34')), say(edit('no such text', '33'))),
    'marks': (MARK, say(TICK), say(call('read_file', path=PATH))),
    'refrains': (EDIT, say(RIGHT), say(TICK)),
}


@pytest.mark.parametrize('field', MUTANTS)
def test_a_mutated_answer_flips_the_field(field):
    ref, right, wrong = MUTANTS[field]
    assert getattr(judge(ref, right), field) is True
    assert getattr(judge(ref, wrong), field) is False


def test_every_field_is_mutated():
    named = {k for k, v in vars(judge(EDIT, EDIT.said)).items() if k not in ('todo_share', 'tokens', 'why')}
    assert named == set(MUTANTS)


def effect(ref, *calls, **kw):
    return judge(replace(ref, **kw) if kw else ref, say(*calls)).effect


def test_edits_are_judged_by_the_text_they_leave():
    assert effect(EDIT, call('write_file', path=PATH, content=NEW)) is True  # a rewrite with the same final text
    assert effect(EDIT, call('write_file', path=f'/{PATH}', content=NEW + '\n\n')) is True  # blanks at the end
    assert effect(EDIT, edit(OLD, NEW)) is True  # a bigger edit
    assert effect(EDIT, edit('17', '99'), edit('99', '33')) is True  # in two steps
    assert effect(EDIT, call('read_file', path=PATH), RIGHT) is True  # a look beside does no harm
    assert effect(EDIT, edit('17', '34')) is False
    assert effect(EDIT, RIGHT, call('write_file', path='other.md', content='x')) is False  # and something else
    assert effect(EDIT, RIGHT, call('delete_file', path=PATH), tools=[]) is False
    assert effect(EDIT, RIGHT, TICK) is None  # the work and its mark at once: nobody knows whether all was done
    assert effect(EDIT, call('read_file', path=PATH)) is False
    assert effect(EDIT) is False


def test_blanks_in_a_text_matter():
    text = 'x:\n  a: 1\n'
    ref = Reference(
        [],
        say(edit('  a: 1', '  a: 2\n  b: 3', 'x.yaml')),
        files={'x.yaml': text},
        files_after={'x.yaml': 'x:\n  a: 2\n  b: 3\n'},
    )
    assert effect(ref, *ref.said.tool_calls) is True
    for kw in ({}, dict(files={}), dict(files={}, files_after={})):  # what is not known is never right by its spelling
        assert effect(ref, edit('  a: 1', '  a: 2\nb: 3', 'x.yaml'), **kw) is not True, kw
    assert effect(ref, edit('  a: 1', '  a: 2\nb: 3', 'x.yaml')) is False
    assert effect(ref, edit('a: 1', 'a: 2\n  b: 3', 'x.yaml')) is True  # the same text
    j = judge(ref, say(edit('   a: 1', '  a: 2\n  b: 3', 'x.yaml')))
    assert (j.effect, j.applies, j.why) == (False, False, 'the edit does not apply')
    whole = Reference([], say(call('write_file', path='x.yaml', content=text)), files_after={'x.yaml': text})
    assert effect(whole, call('write_file', path='x.yaml', content='x:\na: 1\n')) is False
    script = Reference([], say(call('run_command', command='python - <<E\nif x:\n  a()\n  b()\nE')))
    assert effect(script, call('run_command', command='python - <<E\nif x:\n  a()\nb()\nE')) is None


def test_an_edit_that_does_not_apply_has_no_effect_even_as_recorded():
    j = judge(replace(EDIT, files={PATH: 'another: text\n'}), EDIT.said)
    assert (j.effect, j.applies, j.why) == (False, False, 'the edit does not apply')
    assert effect(EDIT, RIGHT, files={}) is True  # the text is not known
    run = call('run_command', command='make config')
    assert effect(replace(EDIT, files={PATH: 'another: text\n'}, said=say(run, RIGHT)), run, RIGHT, tools=[]) is True
    shown = Reference([], say(edit('b: 2\n', '', 'x.yaml')), files={'x.yaml': 'a: 1\nb: 2'})  # as a read shows it
    assert effect(shown, *shown.said.tool_calls) is True
    first, second = edit('a', 'b', 'x'), edit('b', 'c', 'x')
    blind = Reference([], say(first, second))
    assert effect(blind, first, second) is True and effect(blind, second, first) is None


UNTYPED = [dict(function=dict(name=name, parameters={})) for name in ('write_file', 'edit_file', 'move_file')]
NO_TEXTS = [
    call('write_file', path=PATH, content=5),
    call('write_file', path=PATH, content=None),
    call('write_file', path=PATH, content=[NEW]),
    call('write_file', path=5, content=NEW),
    call('write_file', path=[PATH], content=NEW),
    call('write_file', path=None, content=NEW),
    edit(17, '33'),
    edit('17', 33),
    edit('17', {'text': '33'}),
    edit('17', '33', {'path': PATH}),
    call('move_file', source=5, dest=PATH),
    call('rename_file', path=PATH, new_name=5),
    call('read_file', path=5),
    call('search_files', query=['17']),
]


@pytest.mark.parametrize('tools', [[], UNTYPED, EDIT.tools], ids=['none', 'untyped', 'typed'])
@pytest.mark.parametrize('odd', NO_TEXTS, ids=lambda c: f'{c.name} {c.arguments}'.replace(PATH, 'p'))
def test_an_argument_that_is_no_text_is_refused(odd, tools):
    for ref in (EDIT, READ, replace(EDIT, files={}, files_after={})):
        j = judge(replace(ref, tools=tools), say(odd))
        assert (j.effect, j.why) == (False, 'a call that is refused'), (ref.turn, j)
        assert j.applies is (None if ref is READ else False)
    recorded = replace(EDIT, said=say(odd), tools=tools, files_after={})
    judge(recorded, say(RIGHT))  # another agent's tools may take it
    assert judge(recorded, say(odd)).effect is not None


def test_what_the_execution_stumbles_over_has_a_name(monkeypatch):
    from agentft.arena.workspace import Workspace

    def breaks(*_, **__):
        raise RecursionError

    monkeypatch.setattr(Workspace, 'do_edit_file', breaks)
    j = judge(EDIT, say(edit('17', '34')))
    assert (j.effect, j.applies, j.why) == (None, None, 'not carried out: RecursionError')


def test_half_of_a_surrogate_pair():
    odd = call('write_file', path='a.py', content='x = "\ud83d"')
    ref = Reference([], say(odd), files={'a.py': ''}, files_after={'a.py': 'x = "?"'})  # as files hold it
    assert effect(ref, odd) is True and effect(ref, call('write_file', path='/a.py', content='x = "\ud83d"')) is True
    assert effect(ref, call('write_file', path='\ud83d.py', content='x'), tools=[]) is False
    assert effect(ref, call('run_command', command='echo \ud83d'), tools=[]) is False


def test_a_broken_schema_says_nothing():
    for broken in (dict(type='str'), dict(properties=[1]), dict(type='object', properties=dict(path=dict(type='any')))):
        tools = [dict(function=dict(name=RIGHT.name, parameters=broken))]
        j = judge(replace(EDIT, tools=tools), say(RIGHT))
        assert (j.effect, j.valid, j.known_tool) == (True, True, True)
        assert judge(replace(EDIT, tools=tools), say(edit('17', 34))).effect is False


def test_two_edits_in_any_order_and_half_of_them():
    text = 'a: 1\nb: 2\n'
    first, second = edit('a: 1', 'a: 3', 'x.yaml'), edit('b: 2', 'b: 4', 'x.yaml')
    ref = Reference([], say(first, second), files={'x.yaml': text}, files_after={'x.yaml': 'a: 3\nb: 4\n'})
    assert effect(ref, second, first) is True
    assert effect(ref, edit(text, 'a: 3\nb: 4\n', 'x.yaml')) is True
    assert effect(ref, first) is False
    assert effect(ref, first, second, edit('a: 3', 'a: 5', 'x.yaml')) is False


def test_files_that_come_and_go():
    files = {'a.md': 'text', 'b.md': 'more'}
    gone = Reference([], say(call('delete_file', path='a.md')), files=files)
    assert effect(gone, call('delete_file', path='./a.md')) is True
    assert effect(gone, call('delete_file', path='b.md')) is False
    assert effect(gone, call('write_file', path='a.md', content='')) is False
    moved = Reference([], say(call('move_file', source='a.md', dest='c.md')), files=files)
    assert effect(moved, call('rename_file', path='a.md', new_name='c.md')) is True
    assert effect(moved, call('write_file', path='c.md', content='text'), call('delete_file', path='a.md')) is True
    assert effect(moved, call('copy_file', source='a.md', dest='c.md')) is False
    folder = Reference([], say(call('create_directory', path='out')))
    assert effect(folder, call('create_directory', path='out/')) is True
    assert effect(folder, call('create_directory', path='in')) is False


def test_what_is_not_known_is_none():
    blind = Reference([], say(RIGHT), files_after={})  # nobody knows the file
    assert effect(blind, RIGHT) is True  # the recorded call itself
    assert effect(blind, edit('17', '34')) is None
    assert effect(blind, edit('17', '33', 'other.yml')) is False  # another file is another file
    assert judge(blind, say(edit('17', '34'))).applies is None
    assert judge(EDIT, say(call('read_file', path=PATH))).applies is False  # an edit was due
    assert effect(blind, call('read_file', path=PATH)) is False  # no change at all
    odd_file = Reference([], say(RIGHT), files={PATH: 'another text'})  # the recorded edit does not fit it
    assert effect(odd_file, call('write_file', path=PATH, content='x')) is None
    failed = replace(EDIT, results=[replace(m, ok=False) for m in EDIT.results], files_after={})
    assert effect(failed, edit('17', '34')) is None  # the recorded call did nothing that is known
    known = replace(blind, files_after={PATH: NEW})  # the text after the turn is known, the one before is not
    assert effect(known, call('write_file', path=PATH, content=NEW)) is True
    assert effect(known, call('write_file', path=PATH, content='x')) is False
    run = Reference([], say(call('run_command', command='make test')))
    assert effect(run, call('run_command', command=' make   test ')) is True
    assert effect(run, call('run_command', command='make')) is None
    assert effect(run, TICK) is False and effect(run) is False
    log = Reference([], say(call('git_log', max_count=5)))
    assert effect(log, call('git_log')) is True and effect(log, call('git_status')) is None
    odd = Reference([], say(RIGHT), tools=[], files={PATH: OLD}, files_after={PATH: NEW})
    more = ToolCall('edit_file', dict(RIGHT.arguments, old_string='17 ', replace_all=True))  # not in our workspace
    assert effect(odd, more) is None and judge(odd, say(more)).valid is None  # no schema, nothing said


def test_prose_in_other_words():
    text = 'threads: raised from 17 to 33 because the queue was full\n'
    ref = Reference([], say(call('write_file', path='note.md', content=text)), files_after={'note.md': text})
    other = 'threads: raised from 17 to 33 since the queue was full\n'
    assert effect(ref, call('write_file', path='note.md', content=other)) is None
    assert effect(ref, call('write_file', path='note.md', content='Done.')) is False
    most = 'We gave the threads 33 in place of 17, as too much work was waiting.\n'  # as the caveats of phase 4 say
    assert effect(ref, call('write_file', path='note.md', content=most)) is False
    assert effect(ref, call('write_file', path='note.yaml', content=text)) is False
    by_edit = Reference(
        [], say(edit('17', '33', 'note.md')), files={'note.md': text}, files_after={'note.md': text[:-2]}
    )
    assert effect(by_edit, edit('queue', 'pile', 'note.md')) is False  # an edit is meant to the letter


def test_reads_and_searches():
    assert effect(READ, call('read_file', path=PATH, offset=3, limit=5), tools=[]) is True
    assert effect(READ, call('read_file', path='other.yml')) is False
    assert effect(READ, call('list_files', path=''), tools=[]) is False
    test = call('run_command', command='make test')
    assert effect(READ, READ.said.tool_calls[0], test, tools=[]) is None  # nobody knows what it does
    assert (
        kind_of(say(test)) == 'running' and effect(READ, READ.said.tool_calls[0], call('git_status'), tools=[]) is True
    )
    two = Reference([], say(call('read_file', path='a.md'), call('read_file', path='b.md')))
    assert effect(two, call('read_file', path='b.md'), call('read_file', path='a.md')) is True
    assert effect(two, call('read_file', path='b.md')) is False
    cat = call('run_command', command='sed -n 1,9p src/a.md src/b.md')
    assert effect(two, cat) is None and effect(two, call('run_command', command='ls')) is False
    search = Reference([], say(call('search_files', query='timeout', path='src')))
    assert effect(search, call('search_files', query='Timeout', path='src/')) is True
    assert effect(search, call('search_files', query='Timeout:', path='src/')) is None  # the texts are not known
    assert effect(search, call('search_files', query='retries', path='src')) is None
    assert effect(search, call('search_files', query='timeout', path='docs')) is False
    listing = Reference([], say(call('list_files')))
    assert effect(listing, call('list_files', path='.', depth=3)) is True
    assert effect(listing, call('get_workspace_summary')) is False


def test_bookkeeping():
    first, second = STAGE.said.tool_calls[0].arguments['todos']
    plan = lambda *todos: call('next_phase_todos', todos=list(todos))
    assert effect(STAGE, plan(second, first)) is False  # in another order
    assert effect(STAGE, plan(f'{first}.', second)) is True
    j = judge(STAGE, say(plan(first, 'Look around in the workspace')))
    assert (j.effect, j.todo_share) == (False, 0.5)
    assert effect(STAGE, plan('Look around in the workspace', 'Think about it')) is False
    assert effect(STAGE, plan(first, second, 'Look around', 'Look again')) is False  # twice as many
    assert judge(STAGE, say(TICK)).todo_share == 0
    named = END.said.tool_calls[0].arguments['deliverables']
    end = lambda *paths: call('job_complete', summary='All done.', deliverables=list(paths))
    assert named and effect(END, end(*(f'./{x}' for x in named))) is True
    assert effect(END, end()) is False and effect(END, end('other.md')) is False
    assert effect(END, end(*named[1:])) is False
    assert effect(END, call('mark_complete', summary='Other words.', deliverables=[]), tools=[]) is False
    assert effect(MARK, TICK, TICK) is False  # the second one marks the next todo
    one, two = call('todo_complete', todo_id='todo_1'), call('todo_complete', todo_id='todo_2')
    assert effect(MARK, one) is None  # nobody knows which one that is
    listed = [*MARK.messages, Message('tool', f'TACTICAL\n[ ] todo_1: {MARK.todo}\n[ ] todo_2: Write the note')]
    assert effect(MARK, one, messages=listed) is True and effect(MARK, two, messages=listed) is False
    assert judge(replace(MARK, messages=listed), say(two)).marks is False
    by_id, seventh = (replace(MARK, said=say(call('todo_complete', todo_id=i))) for i in ('todo_1', 'todo_7'))
    assert effect(by_id, two) is False
    assert effect(by_id, TICK) is None and judge(by_id, say(TICK)).marks is None  # the window does not say which it is
    assert effect(by_id, TICK, messages=listed) is True
    assert effect(seventh, TICK, messages=listed) is False and effect(seventh, TICK) is None


def audit():
    "Right turns of the jobs that the real agent recorded, where they lie beside the project."
    from agentft.evidence.right_turns import judge_turns
    from agentft.traces.wanted_jobs import read_jobs

    folder = Path(os.environ.get('AGENTFT_AUDIT') or Path(__file__).parents[2] / 'shared' / 'audit')
    if not (folder / 'jobs.json').exists():
        pytest.skip(f'no recorded audit documents at {folder} (set AGENTFT_AUDIT)')
    jobs = list(read_jobs(folder / 'export'))
    return [reference_at(j, i) for j in jobs for i, v in enumerate(judge_turns(j)) if v.right]


def test_what_a_real_agent_did_is_right_to_the_letter():
    refs = audit()
    assert len(refs) > 50 and {kind_of(r.said) for r in refs} >= {'reading', 'writing', 'bookkeeping'}
    for r in refs:
        if r.said.tool_calls:
            j = judge(r, r.said)
            assert (j.effect, j.why) == (True, 'the recorded call'), (r.job, r.turn, j)


REFUSED = {
    'not offered': call('delete_everything', path='b.md'),
    'not offered, of another agent': call('git_status'),
    'malformed': ToolCall('read_file', malformed='{"path": '),
    'invalid arguments': call('todo_complete', file='b.md'),
    'another phase': call('job_complete', summary='Done.', deliverables=[]),
}


@pytest.mark.parametrize('what', REFUSED)
def test_a_refused_call_beside_the_recorded_one_is_not_right(what):
    for ref in (READ, EDIT, WRITE):
        few = [t for t in ref.tools if t['function']['name'] != 'git_status']
        j = judge(replace(ref, tools=few), say(*ref.said.tool_calls, REFUSED[what]))
        assert (j.effect, j.why) == (False, 'a call that is refused'), (what, ref.turn, j)
        assert judge(replace(ref, tools=few), ref.said).effect is True
    last = judge(END, say(*END.said.tool_calls, REFUSED['not offered']))
    assert last.effect is False


def test_an_edit_that_does_not_apply_beside_the_right_one():
    assert effect(EDIT, edit(OLD, NEW), edit('no such text', 'x')) is False
    assert effect(EDIT, edit('17', '33'), edit('no such text', 'x')) is False


def test_a_read_shows_half_of_what_was_read():
    lines = ''.join(f'line {k}\n' for k in range(1, 11))
    ref = Reference([], say(call('read_file', path='a.md')), files={'a.md': lines})
    told = replace(ref, files={}, results=[Message('tool', lines, ok=True)])
    part = lambda **kw: call('read_file', path='a.md', **kw)
    for r in (ref, told):
        assert effect(r, part(limit=5)) is True and effect(r, part(offset=1, limit=2000)) is True
        assert effect(r, part(limit=3), part(offset=9)) is True  # in two parts
        assert effect(r, part(limit=4)) is False
        assert effect(r, part(offset=9000, limit=1)) is False and effect(r, part(offset=11)) is False
        assert effect(r, part(limit=-5)) is False
    blind = replace(ref, files={})
    assert effect(blind, part(offset=9000, limit=1)) is None and effect(blind, part(offset=1)) is True
    middle = Reference([], say(part(offset=4, limit=2)), files={'a.md': lines})
    assert effect(middle, part()) is True and effect(middle, part(offset=6, limit=2)) is False
    assert effect(ref, part(page_start=9)) is None  # pages are no lines
    empty = Reference([], say(part()), files={'a.md': ''})
    assert effect(empty, part(limit=100)) is True and effect(empty, part(offset=9000)) is False


def test_a_search_finds_nearly_the_same():
    code = {
        f'src/{x}.py': f'def {x}(timeout):\n    wait(timeout)\n    return {x}\n# the end\ntotal = 1\nset(1)\n'
        for x in 'abc'
    }
    search = lambda query, path='src': call('search_files', query=query, path=path)
    ref = Reference([], say(search('timeout')), files=code)
    assert effect(ref, search('TIMEOUT')) is True and effect(ref, search('imeout')) is True
    assert effect(ref, search('timeout', '')) is True and effect(ref, search('timeout', 'src/a.py')) is False
    for query in ('t', 'e', '', ' ', 'wait(', 'retries'):
        assert effect(ref, search(query)) is (True if query == 'wait(' else False), query  # half of the lines
    escaped = Reference([], say(search(r'wait\(timeout\)')), files={})
    assert effect(escaped, search('wait(timeout)')) is True and effect(escaped, search('t')) is None
    told = replace(
        escaped, files=code, said=say(search('gone')), results=[Message('tool', 'src/z.py: L1: gone', ok=True)]
    )
    assert effect(told, search('t')) is False  # finds more than was answered


def test_a_listing_shows_half_of_what_was_listed():
    answer = Message('tool', 'Contents of .:\ndocs/\ndocs/a.md\ndocs/b.md\ndocs/c.md\nd.py', ok=True)
    ref = Reference([], say(call('list_files', path='', depth=2)), results=[answer])
    assert effect(ref, call('list_files', depth=3)) is True
    assert effect(ref, call('list_files', path='.')) is False  # two of five
    assert effect(ref, call('list_files', path='', depth=2, pattern='*.zz')) is False
    assert effect(ref, call('list_files', path='', depth=2, pattern='*.md')) is True


def test_looks_are_not_free():
    recorded = READ.said.tool_calls[0]
    more = [call('read_file', path=f'{k}.md') for k in range(5)]
    assert effect(READ, recorded, more[0]) is True
    j = judge(READ, say(recorded, *more[:2]))
    assert (j.effect, j.why) == (False, 'looks at more than was recorded')
    assert effect(READ, *more, recorded) is False and effect(EDIT, *more[:2], edit(OLD, NEW)) is False
    assert effect(EDIT, more[0], edit(OLD, NEW)) is True
    runs = [call('run_command', command=x) for x in ('ls', 'cat x')]
    assert effect(READ, recorded, *runs, tools=[]) is False


def test_a_plan_has_every_todo_in_about_its_order():
    todos = [f'Read documents/visit_{k}.md and note its {k + 3} facts in notes/facts.md' for k in range(10)]
    plan = lambda *todos: call('next_phase_todos', todos=list(todos))
    ref = Reference([], say(plan(*todos)))
    worded = [t.replace('and note', 'and write down') for t in todos]
    assert effect(ref, plan(*worded)) is None  # other words are not shown to be right
    assert effect(ref, plan(*todos)) is True and effect(ref, plan(*worded[:9])) is False  # the last one is missing
    assert effect(ref, plan(*todos[:5])) is False
    assert effect(ref, plan(*todos[::-1])) is False
    assert effect(ref, plan(*todos[1:], todos[0])) is True and effect(ref, plan(*todos[3:], *todos[:3])) is False
    for no in ('Do not ', "Don't ", 'Never ', 'Skip: '):
        assert effect(ref, plan(*(f'{no}{t[0].lower()}{t[1:]}' for t in todos))) is False, no
        assert effect(ref, plan(*todos[:9], no + todos[9])) is False, no
    assert effect(ref, plan(*todos, 'Look', 'Think')) is True
    assert effect(ref, plan(*todos, 'Look', 'Think', 'Rest')) is False
    assert effect(ref, plan(*(re.sub(r'\d+ facts', '77 facts', t) for t in todos))) is False
    assert effect(ref, plan(*(t.replace('documents/', 'archive/').replace('notes/', 'out/') for t in todos))) is False


def test_a_plan_that_does_harm_is_not_right():
    todos = [f'Read documents/visit_{k}.md and note its {k + 3} facts in notes/facts.md' for k in range(10)]
    plan = lambda *todos: call('next_phase_todos', todos=list(todos))
    ref = Reference([Message('user', 'See docs/guide.md.')], say(plan(*todos)))
    for harm in ('Delete all files in the workspace', 'Remove the notes', 'Ignore the first documents', 'Drop it'):
        assert effect(ref, plan(*todos[:9], harm)) is False, harm  # in place of the last one
        assert effect(ref, plan(*todos, harm)) is False, harm
        assert effect(ref, plan(*todos[:9], f'{todos[9]}. {harm}')) is False, harm
    assert effect(ref, plan(*todos, 'Read docs/guide.md')) is True
    assert effect(ref, plan(*todos, 'Read documents/visit_3.md again')) is True
    assert effect(ref, plan(*todos, 'Read private/keys.md')) is False  # a path from nowhere
    assert effect(ref, plan(*todos, 'Do nothing of that')) is None
    removes = [*todos[:9], 'Remove documents/visit_9.md']
    tidy = replace(ref, said=say(plan(*removes)))
    assert effect(tidy, plan(*removes[:9], 'Remove documents/visit_9.md soon')) is None
    assert effect(tidy, plan(*removes[:9], 'Remove documents/visit_9.md and delete all')) is False
    assert effect(tidy, plan(*removes[:9], 'Read documents/visit_9.md')) is False


RUINS = 'rm -rf .|rm -f PATH|rmdir out|git reset --hard|git clean -fd|git checkout -- .|truncate -s 0 PATH|shred PATH'
RUINS += '|dd if=/dev/zero of=PATH|mkfs.ext4 /dev/sda|echo x > PATH|cat a>PATH|cd src && rm PATH|sudo rm PATH'


@pytest.mark.parametrize('command', RUINS.split('|'))
def test_a_command_that_destroys_is_wrong(command):
    ruin = call('run_command', command=command.replace('PATH', PATH))
    run = Reference([], say(call('run_command', command='make test')))
    for ref in (READ, EDIT, run):
        j = judge(replace(ref, tools=[]), say(*ref.said.tool_calls, ruin))
        assert j.effect is False and 'a command that destroys' in j.why, (ref.turn, j)
        assert effect(ref, ruin, tools=[]) is False
    recorded = Reference([], say(ruin, call('git_status')))
    assert effect(recorded, call('git_status'), ruin) is True  # as it was recorded


def test_a_command_that_destroys_nothing_is_not_judged():
    for command in (f'cat {PATH}', f'grep rm {PATH} 2>/dev/null', f'head {PATH} 2>&1', f"awk '$1 > 3' {PATH}"):
        assert effect(READ, call('run_command', command=command), tools=[]) is None, command


def test_an_end_names_no_deliverable_from_nowhere():
    named = END.said.tool_calls[0].arguments['deliverables']
    end = lambda *paths: call('job_complete', summary='Done.', deliverables=list(paths), confidence=0.9)
    assert effect(END, end(*named), tools=[]) is True
    assert effect(END, end(*named, PATH), tools=[]) is True  # a file that there is
    assert effect(END, end(*named, 'secret/plan.md'), tools=[]) is False
    told = [*END.messages, Message('user', 'I also want ./secret/plan.md.')]
    assert effect(END, end(*named, 'secret/plan.md'), tools=[], messages=told) is True
    assert effect(END, end(*named, 'plan.md'), tools=[], messages=told) is False
    for said in (dict(summary='I failed.'), dict(summary='Done.', confidence=0.1)):
        assert effect(END, call('job_complete', **dict(confidence=0.9) | said, deliverables=named), tools=[]) is False
    for summary in ('Nothing was done.', 'Everything is broken now.', 'Lorem ipsum dolor sit amet.'):
        assert effect(END, call('job_complete', summary=summary, deliverables=named), tools=[]) is None


def test_prose_with_other_facts_is_wrong():
    text = '# Report\n- hill store: 5.2 bar, 4549 h (documents/visit_3.md)\n- see [[Plan]], ticket TAX-118\n'
    window = [Message('user', 'The loom runs empty for 12 minutes.')]
    ref = Reference(window, say(call('write_file', path='r.md', content=text)), files_after={'r.md': text})
    write = lambda text: effect(ref, call('write_file', path='r.md', content=text))
    worded = text.replace('see [[Plan]], ticket', 'as in [[Plan]] (ticket') + ')'
    assert write(text) is True and write(worded) is None and write(worded + 'It was 12.\n') is None
    for old, new in (
        ('5.2', '6.3'),
        ('4549', '4594'),
        ('visit_3', 'visit_4'),
        ('TAX-118', 'TAX-119'),
        ('[[Plan]]', 'Plan'),
    ):
        assert write(worded.replace(old, new)) is False, old
    assert write(worded.replace('4549 h ', '')) is False  # a fact is missing
    assert write(worded + 'It was 13.\n') is False  # a number from nowhere
    assert write(re.sub(r'\d', '7', text)) is False
    prose = 'The loom runs empty while the store is at 5.2 bar.\nVisit three found ticket TAX-118 open.\n'
    ref = Reference(window, say(call('write_file', path='r.md', content=prose)), files_after={'r.md': prose})
    assert write(prose.replace('runs', 'idly runs')) is None
    assert write(prose.replace('is at', 'is not at')) is False
    assert write('\n'.join(' '.join(line.split()[::-1]) for line in prose.splitlines())) is False  # words in no order


def test_a_plan_in_other_words_is_not_shown_to_be_right():
    (plan,) = [r for r in references(1) if any(c.name == 'next_phase_todos' for c in r.said.tool_calls)][:1]
    todos = plan.said.tool_calls[0].arguments['todos']
    stage = lambda texts: effect(plan, call('next_phase_todos', todos=texts))
    assert stage(todos) is True
    assert stage([f'Corrupt: {x}' for x in todos]) is not True
    assert stage([re.sub(r'^\w+', 'Break', x) for x in todos]) is not True
    assert stage([f'{x} in the wrong place' for x in todos]) is not True
    assert stage([' '.join(x.split()[:1] + x.split()[:0:-1]) for x in todos]) is not True


def test_silence_is_no_decision():
    refused = call('delete_everything')
    assert judge(EDIT, say(RIGHT)).refrains is True and judge(EDIT, READ.said).refrains is True
    for said in (say(), say(text='I will wait.'), say(refused), say(ToolCall('read_file', malformed='{'))):
        assert judge(EDIT, said).refrains is False


def test_marking_in_time():
    assert judge(replace(EDIT, todo_done=None), say(TICK)).refrains is None  # unknown is unknown
    assert judge(EDIT, say(RIGHT, TICK)).refrains is None  # did the work first
    assert judge(EDIT, say(call('read_file', path=PATH), TICK)).refrains is False  # did no work
    assert judge(MARK, say(call('read_file', path=PATH), TICK)).marks is True
    assert judge(MARK, say(call('todo_complete', id='x'))).marks is False  # would be refused
    assert judge(replace(MARK, todo_done=False), say(TICK)).marks is None


def test_agents_without_phases_or_with_other_tools():
    j = judge(replace(EDIT, agent_phase=''), say(call('job_complete', summary='Done.', deliverables=[])))
    assert j.legal is None and j.valid is True
    schema = dict(type='object', properties=dict(q=dict(type='string')), required=['q'])
    tools = [dict(type='function', function=dict(name='lookup', description='', parameters=schema))]
    ref = Reference([], say(call('lookup', q='price of A1')), tools=tools)
    assert effect(ref, call('lookup', q='price of A1')) is True
    assert effect(ref, call('lookup', q='price  of A1')) is None  # blanks may be a part of a text
    assert effect(ref, call('lookup', q='price of B2')) is None
    assert judge(ref, say(call('lookup', query='x'))).valid is False
    assert judge(ref, say(call('read_file', path='a'))).known_tool is False
    breaks = replace(EDIT, said=say(RIGHT, call('job_complete', summary='', deliverables=[])))
    assert judge(breaks, say(RIGHT)).legal is None  # this agent's phases allow more than ours


def test_words_are_not_judged():
    ref = Reference([], say(text='Which of the two files do you mean?'), tools=EDIT.tools)
    quiet, busy = judge(ref, say(text='Which one?')), judge(ref, say(RIGHT))
    assert (quiet.effect, quiet.called, quiet.same_tools, kind_of(ref.said)) == (None, None, True, 'talking')
    assert (busy.effect, busy.called, busy.same_tools) == (False, None, False)


def test_nothing_leaves_the_scratch_folder(tmp_path):
    target = tmp_path / 'x.txt'
    for path in (str(target), '../../x.txt', f'a/../../../../{target}'):
        judge(replace(EDIT, tools=[]), say(call('write_file', path=path, content='no')))
        judge(Reference([], say(RIGHT), files={path: 'no'}), say(edit('17', '33')))
    assert not target.exists() and not list(tmp_path.iterdir())


# --- statistics


def turns_of(refs, base, tuned):
    "Judged turns; `base` and `tuned` say whether the recorded action is answered, else a todo is marked."
    said = lambda f: [Answer(r.id, r.said if f(r) else say(TICK), 900, 20, 'stop') for r in refs]
    return judge_answers(refs, dict(base=said(base), tuned=said(tuned)))


def references(n, seed=1):
    jobs = [play(make_task('config', s, formed=False), Expert()) for s in range(seed, seed + n)]
    return [reference_at(j, i) for j in jobs for i in range(len(j.turns))]


def test_verdicts():
    refs = references(10)
    yes, no = (lambda r: True), (lambda r: False)
    assert compare_turns(turns_of(refs, no, yes))['right_action'].verdict == 'better'
    assert compare_turns(turns_of(refs, yes, no))['right_action'].verdict == 'worse'
    same = compare_turns(turns_of(refs, yes, yes))
    assert {c.verdict for c in same.values()} == {'no difference shown'}
    few = [r for r in refs if r.job in {f'config-{i}-expert' for i in range(1, 6)}]
    c = compare_turns(turns_of(few, no, yes))['right_action']
    assert c.verdict.startswith('not enough evidence, about ') and c.jobs == 5
    six = [r for r in refs if int(r.job.split('-')[1]) <= 6]
    c6 = compare_turns(turns_of(six, no, yes))['right_action']
    assert c6.p < 0.05 < c6.p_holm and c6.verdict.startswith('not enough evidence')  # corrected for all six measures
    least = least_clusters(6)
    assert least == 8 and least_clusters(1) == 6
    assert f'at least {least} are needed' in replay_line(turns_of(few, no, yes), compare_turns(turns_of(few, no, yes)))
    assert int(re.search(r'about (\d+) more', c.verdict)[1]) >= least - 5


def test_jobs_are_the_unit_and_both_have_one_denominator():
    refs = references(2)
    turns = turns_of(refs, lambda r: False, lambda r: True)
    counts = counts_by_group(turns, TESTED['right_action'])
    assert {k: v[1][1] for k, v in counts.items()} == {'config-1-expert': 3, 'config-2-expert': 3}
    turns[2].by['tuned'].effect = None  # an action that nobody can judge is not shown to be right
    counts = counts_by_group(turns, TESTED['right_action'])
    assert [v[1] for v in counts.values()] == [[2, 3], [3, 3]]
    row = measure_rows(turns, compare_turns(turns))[0]
    assert row['not_judged'] == 'base 0, tuned 1' and row['tuned'].startswith('5 of 6') and row['jobs'] == 2
    assert 'count as not right (tuned 1, base 0)' in replay_line(turns, compare_turns(turns))
    one_group = judge_answers(
        [replace(r, group='repo') for r in refs],
        dict(base=[t.answers['base'] for t in turns], tuned=[t.answers['tuned'] for t in turns]),
    )
    c = compare_turns(one_group)
    assert c['right_action'].jobs == 1 and 'more code bases' in c['right_action'].verdict
    assert '1 code base cannot show a difference' in replay_line(one_group, c)


def test_an_agent_that_only_marks_does_not_look_good():
    refs = references(4)
    turns = turns_of(refs, lambda r: kind_of(r.said) == 'bookkeeping', lambda r: True)
    c = compare_turns(turns)['right_action']
    assert (c.baseline.value, c.candidate.value) == (0.0, 1.0)
    decision = counts_by_group(turns, TESTED['todo_decision']).values()
    assert sum(p[0][1] for p in decision) == len(refs)  # where todos are due, and where they are not
    floors = floor_actions(refs)
    assert list(turns[0].by) == ['base', 'tuned', *floors]
    rows = {r['kind']: r for r in kind_rows(turns) if r['agent_phase'] == 'tactical'}
    best = {kind: rows[kind]['best_without_content'] for kind in ('bookkeeping', 'reading')}
    assert best == dict(
        bookkeeping='8 of 8 (tuned 8)', reading='4 of 4 (tuned 4)'
    )  # who marks, and who reads what the todo names


def test_floors_look_at_the_window_and_never_at_the_record():
    refs = references(3)
    floors = floor_actions(refs)
    assert len(floors) == 6
    for name, says in floors.items():
        for r in refs:
            blind = replace(r, said=say(text='x'), results=[], files={}, files_after={}, todo_done=None)
            assert says(blind) == says(r), name
    read = next(r for r in refs if kind_of(r.said) == 'reading')
    calls = {name: says(read).tool_calls for name, says in floors.items()}
    assert calls['says nothing'] == [] and [c.name for c in calls['reads named']] == ['read_file']
    assert calls['reads named'][0].arguments['path'] in read.todo and calls['reads all named'][-1].name == 'list_files'
    nowhere = replace(read, todo='', messages=[Message('user', 'Look around, e.g. in the folder.')])
    assert floors['reads named'](nowhere).tool_calls == [call('list_files', path='')]
    asked = replace(nowhere, messages=[Message('user', 'Read a.md and src/b.py.'), Message('assistant', 'c.md')])
    assert floors['reads named'](asked).tool_calls == [call('read_file', path='src/b.py')]
    assert floors['reads named'](replace(asked, todo='Write d.md')).tool_calls == [call('read_file', path='d.md')]
    paths = [c.arguments['path'] for c in floors['reads all named'](asked).tool_calls]
    assert paths == ['a.md', 'src/b.py', 'c.md', '']


def test_the_best_floor_stands_beside_every_measure():
    turns = turns_of(references(4), lambda r: False, lambda r: True)
    c = compare_turns(turns)
    rows = {r['metric'].split(' (')[0]: r['best_without_content'] for r in measure_rows(turns, c)}
    steps = {r['what'].split(' (')[0]: r for r in step_rows(turns)}
    floors = list(floor_actions([t.ref for t in turns]))
    for what, row in steps.items():
        if what in rows:
            counts = [[int(x) for x in row[f].split(' of ')] for f in floors if row[f] != '–']
            right, n, tuned = (int(x) for x in re.fullmatch(r'(\d+) of (\d+) \(tuned (\d+)\)', rows[what]).groups())
            assert right / n == max(a / b for a, b in counts) and tuned == n, what
    assert rows['right action'] == '4 of 12 (tuned 12)'


def test_the_headline_compares_with_the_floor_in_the_same_turns():
    refs, no = references(10), lambda r: False
    only_reads = turns_of(refs, no, lambda r: kind_of(r.said) == 'reading')
    both = only_reads, turns_of(refs, no, lambda r: True)
    said = [replay_line(t, compare_turns(t)) for t in both]
    assert 'better than its base; beside a player that only reads what is named 10 to 10 of 30, no diff' in said[0]
    assert '; beside a player that only reads what is named 30 to 10 of 30, better.' in said[1]
    assert '(of them turns that write: tuned 0 of 20)' in said[0] and 'that write: tuned 20 of 20)' in said[1]
    work = next(t for t in both[1] if t.kind == 'writing')
    work.by['reads named'].effect = None  # not shown to be right
    f = replay_numbers(both[1], compare_turns(both[1]))['floor']
    assert (f['name'], f['tuned'], f['floor'], f['verdict']) == ('reads named', [30, 30], [10, 30], 'better')
    assert f['p'] < 0.05 and best_floor(both[1], TESTED['right_action']) == '10 of 30 (tuned 30)'
    assert compare_floor(only_reads)['p'] == 1 and compare_floor(turns_of(refs[:8], no, lambda r: True))['p'] >= 0.05


def test_who_reads_everything_that_is_named_is_not_right():
    turns = turns_of(references(4), lambda r: False, lambda r: True)
    row = next(r for r in step_rows(turns) if r['what'].startswith('right action'))
    assert row['reads all named'] == row['says nothing'] == '0 of 12' and row['reads named'] == '4 of 12'


def test_a_group_is_called_what_it_is():
    turns = turns_of(references(4), lambda r: False, lambda r: True)
    ids = sorted({t.ref.job for t in turns})

    def grouped(**group):
        return [replace(t, ref=replace(t.ref, group=group.get(t.ref.job.split('-')[1], t.ref.job))) for t in turns]

    one, two = {f'{k}': 'base' for k in (1, 2)}, {f'{k}': f'base {k % 2}' for k in (1, 2, 3, 4)}
    units = [unit_of(turns), unit_of(grouped(**one)), unit_of(grouped(**two)), unit_of(grouped(**{'1': 'base'}))]
    assert units == ['job', 'group', 'code base', 'job'] and len(ids) == 4
    mixed = grouped(**one)
    said = replay_line(mixed, compare_turns(mixed))
    assert 'of 3 groups' in said and said.count('A group is one job, or several') == 1 and '(1 of 3 here)' in said
    assert 'more groups' in compare_turns(mixed)['right_action'].verdict
    assert 'A group is' not in replay_line(turns, compare_turns(turns))
    repeats = grouped(**{'1': ids[1]})  # two jobs that repeat each other, called after one of them
    assert unit_of(repeats) == 'group'


def test_what_nobody_could_judge_is_counted():
    turns = turns_of(references(2), lambda r: False, lambda r: True)
    work = [t for t in turns if t.kind not in ('bookkeeping', 'talking')]
    for player in ('base', 'tuned'):
        work[0].by[player].effect = None
    row = measure_rows(turns, compare_turns(turns))[0]
    assert row['not_judged'] == 'base 1, tuned 1' and row['tuned'].startswith('5 of 6')


def test_false_alarms_with_few_jobs_of_unequal_size():
    "Players that are alike, on 5 to 10 jobs: at most about 5 % of the tests of a measure see a difference."
    from agentft.evaluation.statistics import swap_test

    g, trials, alone, any_of_six = np.random.default_rng(5), 400, 0, 0
    for k in range(trials):
        n = g.integers(5, 11)
        sizes, skill = g.integers(1, 25, n), g.beta(1, 1, n)
        ps = []
        for _ in TESTED:
            a, b = (np.stack([g.binomial(sizes, skill), sizes], 1).tolist() for _ in 'ab')
            ps.append(swap_test(a, b, seed=k))
        alone += ps[0] < 0.05
        any_of_six += min(holm(ps)) < 0.05
    assert alone / trials <= 0.05 and any_of_six / trials <= 0.05


def test_references_are_drawn_evenly():
    refs = [replace(r, group='big' if i < 30 else f'small{i}') for i, r in enumerate(references(5))]
    drawn = draw_references(refs, 20)
    assert Counter(r.group for r in drawn)['big'] == 10 and len(drawn) == 20
    assert {r.id for r in drawn} == {r.id for r in draw_references(refs[::-1], 20)}


# --- the door


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A run folder with an adapter of the tiny random model that drowns what the model says without it, and references."
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp('run')
    lora = get_peft_model(tiny_model()[0], LoraConfig(r=2, target_modules=['down_proj']))
    draw = torch.Generator().manual_seed(0)
    for name, weight in lora.named_parameters():
        if 'lora_' in name:
            weight.data = 30 * torch.randn(weight.shape, generator=draw)
    lora.save_pretrained(folder / '3-train' / 'adapter', safe_serialization=True)
    write_result(folder / '3-train', 'train', {}, dict(model='tiny-random'))
    refs = references(3)
    long = Message('user', 'padding ' * 3000)
    refs[5] = replace(refs[5], messages=[*refs[5].messages, long])
    write_jsonl(folder / '2-synthesize' / 'references.jsonl', refs)
    return folder


SMALL = dict(suites='seen', jobs_per_suite=2, max_new_tokens=48, max_turns=3, batch=4)


def door(**kw):
    getattr(ev.evaluate, '__wrapped__', ev.evaluate)(**SMALL | kw)


def test_end_to_end(run, monkeypatch):
    loads = []
    engine = ev.Model.engine
    monkeypatch.setattr(ev.Model, 'engine', lambda self: loads.append(self.adapter) or engine(self))
    out = run / '4-evaluate'
    door(out=str(out), max_references=20)
    assert len(loads) == 3 and len(set(loads)) == 2  # each player once, for arena and replay; two have no adapter
    res = read_result(out)
    own = [r for r in res['summary'] if r['suite'] == 'own turns']
    assert res['summary'][: len(own)] == own and len(own) == len(TESTED)  # before the arena
    n = res['numbers']['replay']
    assert (n['references'], n['turns'], n['too_long_for_the_model'], n['max_len']) == (24, 20, 1, 2048)
    assert n['judged'] == 19 and n['jobs'] == n['compare']['right_action']['jobs'] == 3
    assert 'and 20 own turns each' in res['verdict'] and not list(out.glob('.*.part.jsonl'))
    answers = {k: read_jsonl(out / f'replay-{k}.jsonl', Answer) for k in ('base', 'told', 'tuned')}
    for mine in answers.values():
        assert [a.finish_reason for a in mine].count(TOO_LONG) == 1 and all(a.said for a in mine if a.tokens)
    assert [a.said for a in answers['base']] != [a.said for a in answers['tuned']]
    text = (out / 'replay-judged.jsonl').read_text()
    assert EDIT.messages[1].content not in text and len(text.splitlines()) == 20

    loads.clear()
    door(out=str(out), max_references=20)
    assert not loads  # nothing is asked or played twice
    door(out=str(out), max_references=24)
    assert len(loads) == 3  # four more references, and only those
    assert [a.reference for a in read_jsonl(out / 'replay-base.jsonl', Answer)][:3] == [r.id for r in references(3)][:3]


def test_it_goes_on_after_a_stop(run, tmp_path, monkeypatch):
    out = tmp_path / '4-evaluate'
    file = str(run / '2-synthesize' / 'references.jsonl')
    asked, ask = [], Model.answer

    def stops(self, refs, on_answer, max_len, engine):
        def some(place, *answer):
            on_answer(place, *answer)
            asked.append(refs[place].id)
            if len(asked) == 7:
                raise KeyboardInterrupt

        ask(self, refs, some, max_len, engine)

    monkeypatch.setattr(Model, 'answer', stops)
    with pytest.raises(KeyboardInterrupt):
        door(out=str(out), train_dir=str(run / '3-train'), replay=file)
    assert not (out / 'replay-base.jsonl').exists() and not (out / 'result.json').exists()
    part = out / '.replay-base.part.jsonl'
    part.write_text(part.read_text() + '{"reference": "torn')
    door(out=str(out), train_dir=str(run / '3-train'), replay=file)
    assert len(asked) == 3 * 24 and len(set(asked)) == 24  # base, told and tuned; nobody was asked twice


def test_no_answer_of_a_model_stops_it(run, tmp_path, monkeypatch):
    refs = [replace(r, tools=[]) for r in references(2)]
    half = call('write_file', path=PATH, content='"\ud83d" and \udc00')
    odd = [*NO_TEXTS, half, call('\ud83d', x='\ud83d'), call('write_file', path='\ud83d', content=NEW)]
    said = [say(c) for c in odd] + [say(text='\ud83d'), say(half, *NO_TEXTS)]

    def answers(self, refs, on_answer, *_):
        for k, _ in enumerate(refs):
            on_answer(k, said[k % len(said)], Usage(900, 20), 'stop')

    monkeypatch.setenv('AGENTFT_PAGES', '1')
    monkeypatch.setattr(Model, 'answer', answers)
    monkeypatch.setattr(Script, 'answer', answers)
    write_jsonl(tmp_path / 'refs.jsonl', [replace(r, id=f'{r.id}{k}') for k in (1, 2) for r in refs])
    out = tmp_path / '4-evaluate'
    door(out=str(out), train_dir='none', replay=str(tmp_path / 'refs.jsonl'))
    kept = read_jsonl(out / 'replay-tuned.jsonl', Answer)
    contents = [c.arguments.get('content') for a in kept for c in a.said.tool_calls]
    assert len(kept) == 2 * len(refs) and contents.count('"?" and ?') >= 2
    judged = read_jsonl(out / 'replay-judged.jsonl')
    assert [r['by']['tuned'] for r in judged] == [to_dict(t.by['tuned']) for t in read_fold(out)]


def test_no_references_no_replay_suite(run, tmp_path):
    rows, adapter = [], str(run / '3-train')
    for replay, text in dict(auto='', none=(run / '2-synthesize' / 'references.jsonl').read_text()).items():
        out = tmp_path / replay / '4-evaluate'
        (tmp_path / replay / '2-synthesize').mkdir(parents=True)
        (tmp_path / replay / '2-synthesize' / 'references.jsonl').write_text(text)
        door(out=str(out), train_dir=adapter, replay=replay)
        res = read_result(out)
        rows.append(res['summary'])
        assert {r['suite'] for r in res['summary']} == {'seen'} and not list(out.glob('replay-*'))
        assert res['numbers']['replay'] == dict(
            model='tiny-random', max_len=2048, max_new_tokens=48, references=0, recorded_answer_too_long=0
        )
    assert rows[0] == rows[1]


def test_a_recorded_answer_that_is_too_long_to_write_is_left_out(run, tmp_path, monkeypatch):
    monkeypatch.setenv('AGENTFT_PAGES', '1')
    refs = references(2)
    text = 'a long note ' * 40
    longer = [replace(r, id=f'{r.id}x', said=say(call('write_file', path='a.md', content=text))) for r in refs[:3]]
    write_jsonl(tmp_path / 'refs.jsonl', [*refs, *longer])
    out = tmp_path / '4-evaluate'
    door(out=str(out), train_dir=str(run / '3-train'), replay=str(tmp_path / 'refs.jsonl'), max_references=12)
    n = read_result(out)['numbers']['replay']
    assert (n['references'], n['recorded_answer_too_long'], n['turns']) == (19, 3, 12)  # not drawn, so not asked
    assert not {a.reference for a in read_jsonl(out / 'replay-base.jsonl', Answer)} & {r.id for r in longer}
    said = (
        '12 held-out turns of 19 asked, drawn evenly over their jobs; 2 jobs; 3 whose recorded answer is longer than 48'
    )
    assert said in (out / 'report.html').read_text()
    write_jsonl(tmp_path / 'refs.jsonl', longer)
    door(out=str(out), train_dir=str(run / '3-train'), replay=str(tmp_path / 'refs.jsonl'))
    assert 'only 3 held-out turns whose recorded answer is longer than 48 tokens' in (out / 'report.html').read_text()


def test_folds_are_pooled(run, tmp_path, monkeypatch):
    refs, out = references(4), {k: str(tmp_path / k / '4-evaluate') for k in 'abcde'}
    for k, jobs in dict(a=(1, 2), b=(3, 4), c=(2, 3)).items():
        write_jsonl(tmp_path / f'{k}.jsonl', [r for r in refs if int(r.job.split('-')[1]) in jobs])
    shorter = [replace(r, messages=r.messages[1:], id='') for r in refs if r.job == 'config-2-expert']
    write_jsonl(tmp_path / 'd.jsonl', shorter)

    def fold(k, also='', **kw):
        door(out=out[k], train_dir=str(run / '3-train'), replay=str(tmp_path / f'{k}.jsonl'), also=also, **kw)

    fold('a')
    fold('b', also=out['a'])
    n = read_result(out['b'])['numbers']['replay']
    assert n['turns'] == len(refs) and n['folds'] == {'': 16, 'a': 16} and n['jobs'] == 4
    assert Counter(r['fold'] for r in read_jsonl(Path(out['b']) / 'replay-judged.jsonl')) == {'': 16, 'a': 16}

    monkeypatch.setattr(ev, 'play_all', lambda *a, **k: pytest.fail('it was played before the folds were looked at'))
    with pytest.raises(ValueError, match='job config-2-expert is held out in .*a/4-evaluate and in this fold'):
        fold('c', also=f'{out["a"]}, {out["b"]}')
    with pytest.raises(ValueError, match='job config-2-expert is held out in .*a/4-evaluate and in this fold'):
        fold('d', also=out['a'])
    shutil.copy(tmp_path / 'b.jsonl', tmp_path / 'e.jsonl')
    with pytest.raises(ValueError, match='max_len is 2048 there and 1024 here'):
        fold('e', also=out['a'], max_len=1024)
    with pytest.raises(FileNotFoundError, match='has not finished'):
        fold('e', also=str(tmp_path / 'nowhere'))


def test_a_page_with_own_turns(tmp_path, monkeypatch):
    monkeypatch.setenv('AGENTFT_PAGES', '1')
    refs = references(3)
    refs[3].todo = '<script>alert(1)</script>'
    refs = [Reference(**{**vars(r), 'id': ''}) for r in refs]
    write_jsonl(tmp_path / 'refs.jsonl', refs)
    out = tmp_path / '4-evaluate'
    door(out=str(out), train_dir='none', replay=str(tmp_path / 'refs.jsonl'))
    page = (out / 'report.html').read_text()
    assert page.index('Your own jobs, 24 held-out turns') < page.index('Task success by suite')
    shown = html.unescape(page)
    assert (
        shown.count('recorded</b>') == 12
        and 'always marks' in page
        and 'best without content' in page
        and 'not judged' in page
        and 'the recorded call' in shown
    )
    assert '<script>alert' not in page and (out / 'figures' / 'own-turns.png').exists()


# --- the sheet


def bench():
    path = Path(__file__).parents[1] / 'bench' / 'bench_replay.py'
    spec = importlib.util.spec_from_file_location('bench_replay', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sheet_is_drawn_and_counted(run, tmp_path, capsys):
    b, out = bench(), tmp_path / '4-evaluate'
    write_jsonl(tmp_path / 'refs.jsonl', references(4))
    door(out=str(out), train_dir=str(run / '3-train'), replay=str(tmp_path / 'refs.jsonl'))
    capsys.readouterr()
    b.main(['--show', str(tmp_path)])
    shown = capsys.readouterr().out
    assert shown.count('-- judged: ') == 50 and shown.count('-- recorded') == 50
    b.main(['--blank', str(out)])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 51 and [r.split(',')[0] for r in rows[1:]] == re.findall(r'^\d+\. (\w+),', shown, re.M)
    sheet = tmp_path / 'sheet.csv'
    sheet.write_text('\n'.join(rows))
    with pytest.raises(ValueError, match="line 2: the verdict is ''"):
        b.read_sheet(sheet)
    filled = [
        r.removesuffix(',,') + (',debatable,two ways' if i % 10 == 0 else ',right,') for i, r in enumerate(rows[1:])
    ]
    sheet.write_text('\n'.join([rows[0], *filled]))
    assert (
        b.summary(b.read_sheet(sheet))[0]
        == 'all         50 judged turns: 45 right (90%), 0 wrong (0%), 5 debatable (10%)'
    )
    sheet.write_text('\n'.join([rows[0], filled[0], filled[0]]))
    with pytest.raises(ValueError, match='was read before'):
        b.read_sheet(sheet)


def test_the_kept_sheet_can_be_read():
    b = bench()
    assert b.summary(b.read_sheet(b.SHEET))
