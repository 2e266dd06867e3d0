"Which turns of a session may be taught: what a person, a command, a check or the turn itself says against them."

import pytest

from agentft.core.records import Job, Message, Outcome, ToolCall, Turn
from agentft.data.shown import Seen, hidden_facts
from agentft.evidence.right_turns import judge_turns, kept

FILE = 'x = 1\ny = 2\nz = 3\n'


def turn(n, name, ok=True, text='done', seen=(), **arguments):
    call = ToolCall(name, arguments, f'c{n}')
    return Turn('', Message('assistant', '', [call]), [*seen], [Message('tool', text, tool_call_id=call.id, ok=ok)])


def reasons(*turns, **job):
    found = Job('j', 'session', turns=list(turns), files_before={'a.py': FILE}, files_complete=True, **job)
    return [v.reason for v in judge_turns(found)]


def user(text):
    return Message('user', text)


LOOK = turn(1, 'read_file', path='a.py', text=FILE)
EDIT = turn(2, 'edit_file', path='a.py', old_string='x = 1', new_string='x = 7')
LAST = Turn('', Message('assistant', 'That is it.'))


def shell(n, command, ok=True, text=''):
    return turn(n, 'run_command', command=command, ok=ok, text=text)


def test_what_nothing_speaks_against_is_right():
    assert reasons(LOOK, EDIT, shell(3, 'pytest -q', text='3 passed'), LAST)[:3] == ['', '', '']


@pytest.mark.parametrize(
    'command',
    ['git checkout -- a.py', 'git restore .', 'git reset --hard', 'git stash', 'rm a.py', 'git checkout HEAD a.py'],
)
def test_a_command_takes_back(command):
    assert reasons(LOOK, EDIT, shell(3, command), LAST)[:2] == ['', 'taken back later']
    assert reasons(LOOK, EDIT, shell(3, command, ok=False, text='error'), LAST)[1] == ''
    assert reasons(LOOK, shell(2, command), EDIT, LAST)[2] in ('', 'what became of its effect is unknown')


@pytest.mark.parametrize('command', ["sed -i 's/7/8/' a.py", 'cp b.py a.py', 'echo x > a.py'])
def test_a_text_that_nobody_recorded_is_unknown(command):
    assert reasons(LOOK, EDIT, shell(3, command), LAST)[1] == 'what became of its effect is unknown'
    assert reasons(LOOK, EDIT, shell(3, command.replace('a.py', 'c.py')), LAST)[1] == ''


def test_a_commit_keeps_what_a_reset_takes():
    commit, reset = shell(3, 'git commit -qam x'), shell(4, 'git reset --hard')
    assert reasons(LOOK, EDIT, commit, reset, LAST)[1] == ''
    assert reasons(LOOK, EDIT, commit, shell(4, 'git reset --hard HEAD~1'), LAST)[1] == 'taken back later'


def test_a_check_that_never_passes_speaks_against_what_was_written():
    fails, passes = shell(3, 'pytest -q', ok=False, text='1 failed'), shell(4, 'pytest -q', text='3 passed')
    assert reasons(LOOK, EDIT, fails, LAST)[1] == 'a check failed after it'
    assert reasons(LOOK, EDIT, fails, passes, LAST)[1] == ''
    assert (
        reasons(LOOK, EDIT, shell(3, 'pytest | tail', text='1 failed, 2 passed'), LAST)[1] == 'a check failed after it'
    )
    assert reasons(LOOK, EDIT, fails, LAST, outcome=Outcome('success', source='goal_achieved'))[1] == ''


def test_half_of_what_came_has_to_stay():
    new = ''.join(f'line {n} of eight\n' for n in range(8))
    end = lambda n: ''.join(f'line {k} of eight\n' for k in range(n))
    assert [kept(None, new, end(n)) for n in (1, 2, 3, 4, 8)] == [False, False, False, True, True]


def test_a_person_takes_back_and_an_interrupt_counts_where_it_is_told():
    back = turn(3, 'read_file', path='a.py', text=FILE, seen=[user('Nope. Roll it back.')])
    assert reasons(LOOK, EDIT, back, LAST)[:2] == ['taken back by the user'] * 2
    refused = turn(3, 'edit_file', path='a.py', old_string='y = 2', new_string='y = 9', ok=None)
    refused.results[0].content = "The user doesn't want to take this action right now."
    assert reasons(LOOK, EDIT, refused, LAST)[1] == 'interrupted'
    assert reasons(LOOK, EDIT, LAST, meta=dict(last_words=['cancel that']))[:2] == ['taken back by the user'] * 2


def test_the_same_work_twice_is_taught_once():
    assert reasons(LOOK, LOOK, LAST)[:2] == ['', 'the same as the turn before']


def test_what_was_sent_back_is_context():
    end = turn(3, 'job_complete', summary='Done.', deliverables=['a.py'])
    again = turn(4, 'edit_file', path='a.py', old_string='y = 2', new_string='y = 9')
    job = dict(outcome=Outcome('success', source='goal_achieved'), meta=dict(feedback=1))
    assert reasons(LOOK, EDIT, end, again, end, **job)[:4] == ['sent back by a person'] * 3 + ['']


def test_what_an_edit_replaces_has_to_be_shown():
    shown = Seen([user('Set x to 7.')])
    assert hidden_facts(EDIT, shown, shown) == ['x=1'] and hidden_facts(EDIT, Seen(LOOK.results), shown) == []


def test_a_stash_that_comes_back_and_a_reminder_of_somebody_else():
    assert reasons(LOOK, EDIT, shell(3, 'git stash'), shell(4, 'git stash pop'), LAST)[1] == ''
    told = user('Note: /home/x/p/a.py was modified, either by the user or by a linter.')
    assert (
        reasons(LOOK, EDIT, turn(3, 'list_files', path='', seen=[told]), LAST)[1]
        == 'what became of its effect is unknown'
    )


def test_lines_that_went_and_came_back():
    assert not kept('a\nb\n', 'a\n', 'a\nb\n') and kept('a\nb\n', 'a\n', 'a\n')
    drop = turn(2, 'edit_file', path='a.py', old_string='y = 2\n', new_string='')
    back = turn(3, 'edit_file', path='a.py', old_string='x = 1\n', new_string='x = 1\ny = 2\n')
    assert reasons(LOOK, drop, back, LAST)[1] in ('taken back later', 'its effect was not kept')


def test_a_moved_file_takes_its_changes_along():
    move = turn(3, 'move_file', source='a.py', dest='b.py')
    assert reasons(LOOK, EDIT, move, LAST)[1] == ''
    assert reasons(LOOK, EDIT, move, turn(4, 'delete_file', path='b.py'), LAST)[1] == 'its effect was not kept'


def test_a_home_that_was_redacted_redirects_nothing():
    assert reasons(shell(1, 'ls -la /home/<USER_1>/src'), shell(2, 'cd /home/<USER_1>/x && git status'), LAST)[:2] == [
        '',
        '',
    ]


def test_a_check_that_did_not_run_says_nothing():
    missing = shell(3, 'pytest -q', ok=False, text='bash: pytest: command not found')
    assert reasons(LOOK, EDIT, missing, shell(4, 'uv run pytest -q', text='3 passed'), LAST)[1] == ''


def test_a_todo_is_not_marked_while_its_check_fails():
    mark, fails = turn(4, 'todo_complete'), shell(3, 'npm run build', ok=False, text='Failed to compile.')
    assert reasons(LOOK, EDIT, fails, mark, LAST)[3] == 'a check failed after it'
    assert reasons(LOOK, EDIT, mark, fails, shell(5, 'npm run build'), LAST)[2] == ''
