"""The simulated audit trail: jobs under the full rules, played in the arena, a third of them with a fault."""

import json
import lzma
import random
import uuid
from dataclasses import replace
from datetime import datetime, timedelta

from agentft.arena.tasks import read_call, tool_call, write_call
from agentft.core.records import Outcome
from agentft.traces.audit_writer import to_documents

from .agent import NAMES, Recorded, Step, as_task, script
from .work import KINDS

N_JOBS = 28
FIRST_DAY = datetime(2026, 5, 4, 7, 30)
MODEL = 'simulated-agent'


def _where(steps, test) -> int:
    return next(k for k, s in enumerate(steps) if test(s))


def _is_work(step, name) -> bool:
    return step.kind == 'work' and step.calls and step.calls[0].name == name


def _edits(steps) -> list:
    return [k for k, s in enumerate(steps) if _is_work(s, 'edit_file') and 'old_string' in s.calls[0].arguments]


def _insert(steps, at, *new) -> list:
    return [*steps[:at], *new, *steps[at:]]


def _tactical_marks(steps) -> list:
    first = _where(steps, lambda s: s.kind == 'stage') + 2
    return [k for k in range(first, len(steps)) if steps[k].kind == 'mark' and steps[k].item >= 0]


def _killed(steps, share=0.6) -> list:
    work = [k for k, s in enumerate(steps) if s.kind == 'work']
    return steps[: work[int(len(work) * share)] + 1]


def marked_late(steps, work, r):
    "A todo is not marked after its work; it is marked with the next one."
    a, b = _tactical_marks(steps)[1:3]
    both = Step(
        [tool_call('todo_complete', todo_id='todo_2,todo_3')], 'mark', reasoning='I forgot to mark the one before.'
    )
    return [*steps[:a], *steps[a + 1 : b], both, *steps[b + 1 :]]


def never_marked(steps, work, r):
    "The work is done, nothing is marked any more, and plan.md is edited until the job is stopped."
    marks = _tactical_marks(steps)
    end = next((k for k in range(marks[-1], len(steps)) if steps[k].kind == 'review'), len(steps))
    kept = [s for k, s in enumerate(steps[:end]) if k not in marks[1:]]
    while kept[-1].kind == 'mark':
        kept.pop()
    out = [*kept, Step([], 'talk', text='All pieces of work are done. I bring the plan up to date.')]
    for k in range(3):
        out.append(
            Step(
                [
                    tool_call(
                        'edit_file',
                        path='plan.md',
                        position='end',
                        new_string=f'\nProgress {k + 1}: all files written.\n',
                    )
                ],
                'adapt',
            )
        )
        out.append(Step([], 'talk', text='The plan says that everything is done.'))
    return out


def whole_file(steps, work, r):
    "Files are written anew where an edit would do."
    out = list(steps)
    for k in _edits(steps)[:3]:
        (path, text), *_ = steps[k].after.items()
        calls = [write_call(path, text), *steps[k].calls[1:]]
        out[k] = replace(steps[k], calls=calls, reasoning='I write the file with the change in it.')
    return out


def early_end(steps, work, r):
    "The job is declared complete in a tactical phase, refused, and finished rightly."
    end = steps[_where(steps, lambda s: s.kind == 'end')]
    return _insert(
        steps,
        _tactical_marks(steps)[-2],
        replace(end, kind='fault', reasoning='The required files are there, so the job is complete.'),
    )


def absent_string(steps, work, r):
    "An edit names a text that is not in the file; after a read it is repeated rightly."
    k = _edits(steps)[0]
    call = steps[k].calls[0]
    wrong = (
        call.arguments['old_string'].replace(': ', ' = ')
        if ': ' in call.arguments['old_string']
        else call.arguments['old_string'] + ' now'
    )
    path = call.arguments['path']
    return _insert(
        steps,
        k,
        Step([replace(call, arguments=call.arguments | dict(old_string=wrong))], 'fault'),
        Step([read_call(path)], 'fault', reasoning='The text was not found. I look at what really stands there.'),
    )


def unread_edit(steps, work, r):
    "An edit is tried before the file was read."
    k = next(k for k in _edits(steps)[::-1] if steps[k].calls[0].arguments['path'] not in work.look)
    path = steps[k].calls[0].arguments['path']
    reads = [
        i
        for i in range(k)
        if steps[i].kind == 'work'
        and any(c.name == 'read_file' and c.arguments['path'] == path for c in steps[i].calls)
    ]
    first = reads[0] if reads else k
    return _insert(steps, first, Step([steps[k].calls[0]], 'fault'))


def staged_without_guide(steps, work, r):
    "Todos are staged before the guide was read, which is refused."
    k = _where(steps, lambda s: s.kind == 'guide')
    return _insert(steps, k, replace(steps[k + 1], kind='fault'))


def unknown_tool(steps, work, r):
    "A tool is called that does not exist."
    k = _where(steps, lambda s: s.kind == 'work')
    path = work.deliverables[0]
    return _insert(
        steps,
        k,
        Step([tool_call('open_file', path=path)], 'fault'),
        Step([tool_call('file_exists', path=path)], 'fault'),
    )


def hollow_result(steps, work, r):
    "The last required file is only headings with a remark that something is to be done."
    k = max(
        k
        for k, s in enumerate(steps)
        if _is_work(s, 'write_file') and s.calls[0].arguments['path'] == work.deliverables[-1]
    )
    path = work.deliverables[-1]
    text = f'# {work.title}\n\n## Changes\n\nTODO: describe the changes\n\n## Check\n\nTBD\n'
    steps = list(steps)
    steps[k] = replace(steps[k], calls=[write_call(path, text), *steps[k].calls[1:]])
    return steps


def wrong_value(steps, work, r):
    "One edit writes a wrong value; nobody in the job notices, and the order comes back."
    k = _edits(steps)[1]
    call = steps[k].calls[0]
    wrong = call.arguments['new_string'].rstrip('\n') + '0'
    steps = list(steps)
    steps[k] = replace(
        steps[k], calls=[replace(call, arguments=call.arguments | dict(new_string=wrong)), *steps[k].calls[1:]]
    )
    return steps


def repeated_read(steps, work, r):
    "The same file is read three times in a row."
    k = _where(steps, lambda s: _is_work(s, 'read_file'))
    return _insert(steps, k, steps[k], steps[k])


def killed(steps, work, r):
    "The process was stopped in the middle of the work."
    return _killed(steps)


FAULTS = {
    3: marked_late,
    6: early_end,
    8: absent_string,
    10: killed,
    12: whole_file,
    14: unread_edit,
    16: wrong_value,
    17: hollow_result,
    19: never_marked,
    21: staged_without_guide,
    25: unknown_tool,
    26: absent_string,
    27: repeated_read,
}  # number of the job -> its fault
FROZEN = {5, 20}  # finished, and not yet looked at by a person


def _outcome(job, number) -> Outcome:
    "What a trail would say: a person approved what the checker accepts, and sent back what it refuses."
    if job.outcome.status == 'success':
        return Outcome('success', 'frozen' if number in FROZEN else 'goal_achieved')
    return Outcome('failed', 'none')


def play(number: int) -> tuple:  # (documents by collection, what is known of the job)
    "Play job `number`; same number, same documents."
    r = random.Random(f'job/{number}')
    work = KINDS[number % len(KINDS)](number // len(KINDS))
    together = bool(number % 3 == 1 or work.split)
    fault = FAULTS.get(number)
    if fault in (marked_late, never_marked, early_end):
        together = False
    steps = script(work, together, number % len(NAMES))
    steps = fault(steps, work, r) if fault else steps
    id = str(uuid.uuid5(uuid.NAMESPACE_URL, f'agentft/samples/{number}'))
    with Recorded(as_task(work, id)) as session:
        for step in steps:
            session.say(step)
        job, sent = session.job(source='worker'), session.sent
    verdict = job.outcome
    job = replace(job, description=work.title, model=MODEL, family='', outcome=_outcome(job, number))
    job.meta['agent_type'] = (
        'writer' if work.kind in ('facts_report', 'vault_notes', 'docs_revision', 'notes_compaction') else 'coder'
    )
    docs = to_documents(job, sent)
    _after_the_end(docs, fault)
    _move_in_time(docs, FIRST_DAY + timedelta(days=number // 2, minutes=97 * (number % 2)))
    known = dict(
        job=id,
        kind=work.kind,
        title=work.title,
        fault=fault.__name__ if fault else '',
        turns=len(job.turns),
        phases=1 + max(t.agent_phase_number for t in job.turns),
        checker=verdict.status,
        detail=verdict.detail,
    )
    return docs, known


def _after_the_end(docs, fault):
    "What the loop writes beside the turns: an error, or that a person sent the job back."
    last = docs['agent_audit'][-1]
    common = {k: last[k] for k in ('job_id', 'agent_type', 'iteration', 'phase', 'phase_number', 'metadata')}
    head = common | dict(
        _id=_next_id(last['_id']),
        step_number=last['step_number'] + 1,
        timestamp=last['timestamp'] + timedelta(seconds=40),
    )
    if fault is killed:
        error = dict(type='ServiceUnavailable', message='503 from the model server: no worker is ready')
        docs['agent_audit'].append(head | dict(step_type='error', node_name='execute', error=error))
    if fault is wrong_value:
        docs['agent_audit'].append(
            head | dict(step_type='feedback_resume', node_name='resume', feedback_length=64, resume_todos=1)
        )


def _next_id(id):
    from bson import ObjectId

    return ObjectId(f'{(int(str(id), 16) + 1) % 16**24:024x}')


def _move_in_time(docs, start):
    "Shift all times of a job so that it begins at `start`."
    first = min(d['timestamp'] for d in docs['agent_audit'])
    for rows in docs.values():
        for doc in rows:
            for key, value in doc.items():
                if isinstance(value, datetime):
                    doc[key] = start + (value - first)


def trail_lines() -> tuple:  # (collection -> lines, what is known of each job)
    "The documents of all jobs as mongoexport writes them, one a line."
    from bson.json_util import RELAXED_JSON_OPTIONS, dumps

    lines, known = {}, []
    for number in range(N_JOBS):
        docs, facts = play(number)
        known.append(facts)
        for collection, rows in docs.items():
            found = [dumps(d, json_options=RELAXED_JSON_OPTIONS, ensure_ascii=False) for d in rows]
            lines.setdefault(collection, []).extend(found)
    return lines, known


def write_trail(folder) -> list:  # what is known of each job
    "Write `agent_audit`, `llm_requests` and `chat_history` as mongoexport does, packed, and `jobs.json`."
    folder.mkdir(parents=True, exist_ok=True)
    lines, known = trail_lines()
    packing = [dict(id=lzma.FILTER_LZMA2, preset=6, dict_size=1 << 26)]
    for collection, found in lines.items():
        text = '\n'.join(found) + '\n'
        data = lzma.compress(text.encode(), format=lzma.FORMAT_XZ, filters=packing)
        (folder / f'{collection}.jsonl.xz').write_bytes(data)
    (folder / 'jobs.json').write_text(json.dumps(known, indent=1, ensure_ascii=False) + '\n')
    return known
