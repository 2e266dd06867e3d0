"""Faults planted into recorded jobs by editing what is recorded. This script knows no detector: it says what a person
would call the fault, and which names a finding about it may have."""

import copy
import json
import random

from agentft.arena.catalogue import FAMILIES, make_task
from agentft.arena.players import Expert, play
from agentft.core.agent import FULL, SHORT
from agentft.core.files import replay
from agentft.core.records import Message, Outcome, ToolCall, Turn

PLANTS = {}  # fault -> (names that a finding may have, function(job, rng) -> turn of the fault or None where it has no place)


def plant(*modes):
    "Register a fault; its function edits a job in place and gives the turn, or False where the job offers no place."

    def register(f):
        PLANTS[f.__name__] = (modes, f)
        return f

    return register


def insert(job, k, turn):
    "Put `turn` before turn `k`, and move what points behind it."
    job.turns.insert(k, turn)
    for todo in job.todos:
        for field in ('staged_turn', 'completed_turn'):
            at = getattr(todo, field)
            if at is not None and at >= k:
                setattr(todo, field, at + 1)


def delete(job, k):
    del job.turns[k]
    for todo in job.todos:
        for field in ('staged_turn', 'completed_turn'):
            at = getattr(todo, field)
            if at is not None and at > k:
                setattr(todo, field, at - 1)


def step(like, name, answer, ok=True, text='', **arguments):
    "A turn with one call, in the phase of the turn `like`."
    said = Message('assistant', text, [ToolCall(name, arguments, 'planted')])
    result = Message('tool', answer, tool_call_id='planted', name=name, ok=ok)
    return Turn(like.agent_phase, said, [], [result], like.agent_phase_number, finish_reason='tool_calls')


def places(job, *names, phase='tactical', ok=True):
    "Numbers of the turns with one call, of these tools, that succeeded."
    out = []
    for i, turn in enumerate(job.turns):
        calls = turn.said.tool_calls
        fine = len(calls) == 1 and calls[0].name in names and turn.results and turn.results[0].ok is ok
        if fine and (not phase or turn.agent_phase == phase):
            out.append(i)
    return out


def forget_checkers(job):
    "Judge todos as on a trail: nobody knows whether their work was done."
    for todo in job.todos:
        if todo.done_rule == 'checker':
            todo.work_done, todo.done_rule = None, ''


@plant('todo_not_completed')
def todo_left_open(job, rng):
    "The last todo_complete of the work is dropped."
    forget_checkers(job)
    at = [i for i in places(job, 'todo_complete') if any(t.completed_turn == i for t in job.todos)]
    if not at:
        return False
    for todo in job.todos:
        if todo.completed_turn == at[-1]:
            todo.completed_turn = None
    delete(job, at[-1])


@plant('todo_without_work')
def work_left_out(job, rng):
    "What was written for a todo is taken out, and the todo stays marked."
    forget_checkers(job)
    marks = [i for i in places(job, 'todo_complete') if any(t.completed_turn == i for t in job.todos)]
    for before, mark in zip([0, *marks], marks):
        work = [i for i in places(job, 'write_file', 'edit_file') if before < i < mark]
        if work:
            for i in sorted(work, reverse=True):
                delete(job, i)
            return mark - len(work)
    return False


@plant('repeated_call')
def same_call_three_times(job, rng):
    at = places(job, 'read_file', 'list_files')
    if not at:
        return False
    k = rng.choice(at)
    for _ in range(2):
        insert(job, k + 1, copy.deepcopy(job.turns[k]))
    return k + 2


@plant('unknown_tool')
def tool_renamed(job, rng):
    at = places(job, 'read_file', 'edit_file', 'write_file')
    if not at:
        return False
    k = rng.choice(at)
    job.turns[k].said.tool_calls[0].name = 'open_document'
    job.turns[k].results[0].content, job.turns[k].results[0].ok = 'There is no open_document here.', False
    return k


@plant('whole_file_rewrite')
def edit_becomes_rewrite(job, rng):
    at = places(job, 'edit_file')
    changes = {c.turn: c for c in replay(job) if c.kind == 'edit' and c.ok and c.after and len(c.after) > 150}
    at = [i for i in at if i in changes and not changes[i].path.endswith(('workspace.md', 'plan.md'))]
    if not at:
        return False
    k = rng.choice(at)
    job.turns[k].said.tool_calls = [
        ToolCall('write_file', dict(path=changes[k].path, content=changes[k].after), 'planted')
    ]
    job.turns[k].results = [Message('tool', 'Written.', tool_call_id='planted', name='write_file', ok=True)]
    return k


@plant('phase_violation')
def ends_while_working(job, rng):
    at = places(job, 'todo_complete')
    if not at:
        return False
    refusal = 'job_complete belongs to planning.'
    insert(job, at[0], step(job.turns[at[0]], 'job_complete', refusal, False, summary='All done.', deliverables=[]))
    return at[0]


@plant('phase_violation')
def plans_while_working(job, rng):
    at = places(job, 'todo_complete')
    if not at:
        return False
    todos = [f'Look at chapter {n} of the manual' for n in range(6)]
    insert(job, at[0], step(job.turns[at[0]], 'next_phase_todos', 'Not in this phase.', False, todos=todos))
    return at[0]


def refused_edit(job, rng, answer, path=None):
    at = places(job, 'edit_file', 'write_file')
    if not at:
        return False
    k = rng.choice(at)
    path = path or job.turns[k].said.tool_calls[0].arguments['path']
    insert(job, k, step(job.turns[k], 'edit_file', answer, False, path=path, old_string='ninety', new_string='91'))
    return k


@plant('failed_edit')
def text_is_not_there(job, rng):
    return refused_edit(
        job, rng, rng.choice(['String to replace not found in file.', 'did not appear verbatim in it.'])
    )


@plant('ambiguous_edit')
def text_stands_twice(job, rng):
    answers = ['Found 2 matches of the string to replace, but replace_all is false.', 'Text occurs 3 times in it.']
    return refused_edit(job, rng, rng.choice(answers))


@plant('blind_edit')
def edit_without_reading(job, rng):
    return refused_edit(
        job, rng, 'File has not been read yet. Read it first before writing to it.', 'docs/never_seen.md'
    )


def last_answer(job, phase='tactical'):
    at = places(job, 'read_file', 'edit_file', 'write_file', phase=phase)
    return at[-1] if at else None


@plant('truncated_arguments')
def arguments_cut(job, rng):
    k = last_answer(job)
    if k is None:
        return False
    call = job.turns[k].said.tool_calls[0]
    call.malformed, call.arguments = json.dumps(call.arguments)[:-9], {}
    job.turns[k].finish_reason, job.turns[k].results = 'length', []
    return k


@plant('malformed_arguments')
def arguments_no_json(job, rng):
    k = last_answer(job)
    if k is None:
        return False
    call = job.turns[k].said.tool_calls[0]
    call.malformed, call.arguments = str(call.arguments), {}
    job.turns[k].results[0].content, job.turns[k].results[0].ok = 'Cannot read that.', False
    return k


@plant('malformed_arguments')
def argument_missing(job, rng):
    k = last_answer(job)
    if k is None:
        return False
    job.turns[k].said.tool_calls[0].arguments.pop('path')
    job.turns[k].results[0].content, job.turns[k].results[0].ok = 'path: Field required', False
    return k


@plant('empty_turn')
def says_nothing(job, rng):
    k = last_answer(job)
    if k is None:
        return False
    said = Message('assistant', '')
    insert(job, k, Turn('tactical', said, agent_phase_number=job.turns[k].agent_phase_number, finish_reason='stop'))
    return k


@plant('text_only')
def only_talks(job, rng):
    k = last_answer(job)
    if k is None:
        return False
    said = Message('assistant', 'I have looked at everything and will go on soon.')
    insert(job, k, Turn('tactical', said, agent_phase_number=job.turns[k].agent_phase_number, finish_reason='stop'))
    return k


@plant('no_job_complete')
def never_ends(job, rng):
    at = places(job, 'job_complete', phase='')
    if not at:
        return False
    del job.turns[at[-1] :]
    for todo in job.todos:
        if todo.completed_turn is not None and todo.completed_turn >= at[-1]:
            todo.completed_turn = None
    job.outcome = Outcome('failed', 'none', 0.6, 'no check ended the job')


@plant('skeleton_output')
def hands_in_headings(job, rng):
    at = [
        i for i in places(job, 'write_file') if job.turns[i].said.tool_calls[0].arguments['path'].startswith('output/')
    ]
    if not at:
        return False
    arguments = job.turns[at[-1]].said.tool_calls[0].arguments
    arguments['content'] = '# Result\n\n## Part one\n\n[to be added]\n'
    job.files_after[arguments['path']] = arguments['content']
    return at[-1]


@plant('notes_bloat')
def notes_grow(job, rng):
    k = last_answer(job)
    if k is None:
        return False
    text = '# Notes\n' + ''.join(f'- line {n} was looked at\n' for n in range(90))
    insert(job, k, step(job.turns[k], 'write_file', 'Written.', path='workspace.md', content=text))
    return k


@plant('plan_loop')
def plans_again_and_again(job, rng):
    k = last_answer(job)
    if k is None:
        return False
    for n in range(3):
        insert(
            job, k, step(job.turns[k], 'write_file', 'Written.', path='plan.md', content=f'# Plan, draft {n}\n\nGo.\n')
        )
    return k + 2


@plant('declared_empty')
def folder_never_opened(job, rng):
    k = last_answer(job)
    if k is None:
        return False
    job.turns[k].said.content = 'The folder `appendix/` is empty, so I leave it out.'
    return k


@plant('outside_cause')
def server_gone(job, rng):
    k = last_answer(job)
    if k is None:
        return False
    del job.turns[k + 1 :]
    for todo in job.todos:
        if todo.completed_turn is not None and todo.completed_turn > k:
            todo.completed_turn = None
    told = rng.choice(['Error code: 529 - Overloaded', 'HTTP 503 Service Unavailable', 'Connection reset by peer'])
    job.outcome = Outcome('failed', 'none', 0.6, f'no check ended the job; last error: {told}')
    return k


@plant()
def control_user_refuses(job, rng):
    "No fault: a user refuses an edit, and the agent makes it later."
    return refused_edit(job, rng, "The user doesn't want to proceed with this tool use. The tool use was rejected.")


@plant()
def control_sibling_cancelled(job, rng):
    "No fault: a call is cancelled because one beside it failed."
    return refused_edit(job, rng, '<tool_use_error>Sibling tool call errored</tool_use_error>')


@plant()
def control_search_finds_two(job, rng):
    "No fault: a search finds two matches."
    k = last_answer(job)
    if k is None or not any(t['function']['name'] == 'search_files' for t in job.tools):
        return False
    insert(job, k, step(job.turns[k], 'search_files', 'Found 2 matches in 1 file', query='timeout'))
    return k


def bases(seeds=3):
    "Jobs of the arena's expert, under short and full rules."
    for family in FAMILIES:
        if FAMILIES[family].seen:
            for seed in range(seeds):
                yield play(make_task(family, 40 + seed), Expert(), SHORT)
            yield play(make_task(family, 50), Expert(), FULL)


def planted(jobs=(), seed=3):
    "`(fault, names it may have, job before, job after, turn or None)` of every fault in every job that has a place for it."
    rng = random.Random(seed)
    for job in [*bases(), *jobs]:
        for fault, (modes, f) in PLANTS.items():
            before, after = copy.deepcopy(job), copy.deepcopy(job)
            turn = f(after, rng)
            if turn is not False:
                yield fault, modes, before, after, turn
