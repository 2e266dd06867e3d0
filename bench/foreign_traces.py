"""Jobs of agents that are not ours, from a folder of public traces: what agentft reads itself, and a few formats that
only this bench reads (SWE-agent, mini-swe-agent, OpenHands, tau-bench, tau2-bench, pi).

Every job comes with its file and its kind. Nothing is written."""

import json
import re
from collections import Counter
from pathlib import Path

from agentft.core.records import Message, ToolCall
from agentft.traces.formats import read_source, sniff_source
from agentft.traces.sources import job_from_messages, parse_call
from agentft.traces.wanted_jobs import collect_jobs

CHAT_ROWS = ('openai', 'sharegpt')
SERVICE = ('tau', 'airline', 'frozen_lake')


def kind_of(file: str, source: str) -> str:
    "coding sessions, code agents, customer service, chat rows or audit trail"
    if any(word in file for word in SERVICE):
        return 'customer service'
    return 'chat rows' if source in CHAT_ROWS else 'coding sessions'


def openai_messages(rows):
    "Messages of OpenAI rows; `None` is an empty text."
    for row in rows:
        calls = [
            parse_call(c['function'].get('name'), c['function'].get('arguments'), c.get('id'))
            for c in row.get('tool_calls') or []
        ]
        ids = row.get('tool_call_ids') or [row.get('tool_call_id') or '']
        yield Message(row['role'], text_of(row.get('content')), calls, ids[0], row.get('name') or '')


def text_of(content):
    "The text of a content: a string, nothing, or parts."
    if isinstance(content, list):
        return '\n'.join(str(p.get('text') or '') if isinstance(p, dict) else str(p) for p in content)
    return str(content or '')


def mini_swe_messages(rows):
    "A fenced command in the text is the call, or there are calls; `<returncode>` tells the result."
    for row in rows:
        if row.get('tool_calls') or row['role'] == 'tool':
            (m,) = openai_messages([row])
            code = re.search(r'<returncode>(-?\d+)', m.content)
            m.ok = code[1] == '0' if code else None
            yield m
            continue
        text = str(row['content'])
        command = re.search(r'```(?:mswea_bash_command|bash)\n(.*?)\n```', text, re.S)
        code = re.search(r'<returncode>(-?\d+)', text)
        if row['role'] == 'assistant' and command:
            yield Message('assistant', text[: command.start()], [ToolCall('bash', dict(command=command[1]))])
        elif row['role'] == 'user' and code:
            yield Message('tool', text, name='bash', ok=code[1] == '0')
        else:
            yield Message(row['role'], text)


_WRITTEN = re.compile(r'<function=([\w-]+)>(.*?)</function>', re.S)
_PARAMETER = re.compile(r'<parameter=([\w-]+)>(.*?)</parameter>', re.S)


_REFUSES = re.compile(r'No replacement was performed|File already exists at|The path \S+ does not exist|Invalid `')


def edit_result(message):
    "Its editor refuses in these words, and a trajectory keeps no exit code."
    if message.name == 'str_replace_editor' and _REFUSES.match(message.content):
        message.ok = False
    return message


def written_call(text):
    "The call that a model wrote as tags, and the text before it; `None` where there is none."
    found = _WRITTEN.search(text)
    if not found:
        return None
    arguments = {k: x.removeprefix('\n').removesuffix('\n') for k, x in _PARAMETER.findall(found[2])}
    return Message('assistant', text[: found.start()], [ToolCall(found[1], arguments)])


def swe_agent_messages(rows):
    "History of a trajectory; without calls of its own the `action` is one."
    called, names = '', {}
    for row in rows:
        written = row['role'] == 'assistant' and not row.get('tool_calls') and written_call(text_of(row['content']))
        if written:
            called = written.tool_calls[0].name
            yield written
        elif called and row['role'] == 'user':
            text = text_of(row['content']).removeprefix('OBSERVATION:').lstrip()
            yield edit_result(Message('tool', text, name=called))
            called = ''
        elif row['role'] == 'assistant' and not row.get('tool_calls') and row.get('action'):
            called = 'bash'
            yield Message('assistant', row.get('thought') or '', [ToolCall('bash', dict(command=row['action']))])
        else:
            text = text_of(row.get('thought') or row['content'])
            text = text.removeprefix('OBSERVATION:').lstrip() if row['role'] == 'tool' else text
            (m,) = openai_messages([row | dict(content=text)])
            names |= {c.id: c.name for c in m.tool_calls}
            m.name = m.name or names.get(m.tool_call_id, '')
            yield edit_result(m) if m.role == 'tool' else m


ACTIONS = 'run run_ipython read write edit browse browse_interactive finish think'.split()


def openhands_messages(events):
    "Actions and observations; the failure of a command is its exit code."
    waiting = None
    for event in events:
        action, seen = event.get('action'), event.get('observation')
        told = (event.get('tool_call_metadata') or {}).get('function_name')
        if action in ACTIONS and event.get('source', 'agent') == 'agent':
            arguments = {k: v for k, v in (event.get('args') or event).items() if k not in ('thought', 'action')}
            waiting = ToolCall(told or action, {k: v for k, v in arguments.items() if v is not None})
            yield Message('assistant', str((event.get('args') or {}).get('thought') or ''), [waiting])
        elif action == 'message' or action == 'system':
            text = str((event.get('args') or event).get('content') or '')
            yield Message('assistant' if event.get('source') == 'agent' and action == 'message' else 'user', text)
        elif seen and waiting:
            code = (event.get('extras') or {}).get('metadata') or {}
            exit_code = code.get('exit_code') if isinstance(code, dict) else None
            ok = exit_code == 0 if exit_code is not None else seen != 'error' or None
            ok = False if seen == 'error' or str(event.get('content')).startswith('ERROR:') else ok
            yield Message('tool', str(event.get('content') or ''), name=waiting.name, ok=ok)
            waiting = None


def tau2_messages(rows):
    "Messages of a tau2-bench simulation; calls that the simulated user makes are left out."
    for row in rows:
        if row.get('requestor') == 'user' or row['role'] == 'user' and row.get('tool_calls'):
            continue
        calls = [parse_call(c['name'], c['arguments'], c['id']) for c in row.get('tool_calls') or []]
        is_result = row['role'] == 'tool'
        ok = not row['error'] if is_result and 'error' in row else None
        yield Message(row['role'], text_of(row.get('content')), calls, row['id'] if is_result else '', ok=ok)


ENDED = {}  # id of a message object -> why it ended, where a program says so
id_of = id


def pi_messages(rows):
    "Lines of a pi session."
    for row in rows:
        m = row.get('message') or {}
        parts = (
            m.get('content') if isinstance(m.get('content'), list) else [dict(type='text', text=str(m.get('content')))]
        )
        text = '\n'.join(p.get('text', '') for p in parts if p.get('type') == 'text')
        if m.get('role') == 'assistant':
            calls = [
                ToolCall(p['name'], p.get('arguments') or {}, p['id']) for p in parts if p.get('type') == 'toolCall'
            ]
            said = Message('assistant', text, calls)
            if m.get('stopReason') in ('aborted', 'error', 'length'):
                ENDED[id_of(said)] = m['stopReason']
            yield said
        elif m.get('role') == 'toolResult':
            yield Message('tool', text, [], m['toolCallId'], m['toolName'], ok=not m.get('isError'))
        elif m.get('role') == 'user':
            yield Message('user', text)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]


def own_formats(path: Path):
    "`(job id, messages, kind)` of a file that only this bench reads."
    name, folder = path.name, path.parent.name
    if name == 'tau_dataset_failed.json':
        for run in json.loads(path.read_text(encoding='utf-8')):
            yield f'tau-{run["task_id"]}', openai_messages(run['traj']), 'customer service'
    elif folder == 'tau' and name.endswith('.json'):
        for run in json.loads(path.read_text(encoding='utf-8')):
            yield f'{run["task_id"]}-{run["trial"]}', openai_messages(run['traj']), 'customer service'
    elif folder == 'tau2' and name.endswith('.json'):
        rows = json.loads(path.read_text(encoding='utf-8'))
        for run in rows['simulations'] if isinstance(rows, dict) else rows:
            yield run['id'], tau2_messages(run['messages']), 'customer service'
    elif folder == 'mini-swe-agent' and name.endswith('.traj.json'):
        rows = json.loads(path.read_text(encoding='utf-8'))
        yield name, mini_swe_messages(rows['messages'] if isinstance(rows, dict) else rows), 'code agents'
    elif folder == 'swe-agent' and name.endswith('.traj'):
        yield name, swe_agent_messages(json.loads(path.read_text(encoding='utf-8'))['history']), 'code agents'
    elif folder == 'openhands' and name.endswith('.json'):
        yield name, openhands_messages(json.loads(path.read_text(encoding='utf-8'))), 'code agents'
    elif folder == 'openhands':
        for n, row in enumerate(lines(path)):
            events = [e for x in row['history'] for e in (x if isinstance(x, list) else [x])]
            yield f'{name}-{n}', openhands_messages(events), 'code agents'
    elif folder == 'pi-mono' and name.endswith('.jsonl'):
        yield name, pi_messages(lines(path)), 'coding sessions'


def foreign_jobs(traces, audit=None):
    "`(file, kind, job)` of everything under `traces`, and of the audit trail in `audit`."
    traces = Path(traces)
    for path in sorted(p for p in traces.rglob('*') if p.is_file()):
        file = path.relative_to(traces).as_posix()
        if path.name.startswith(('LICENSE', 'README')) or path.suffix in ('.py', '.md', '.snap'):
            continue
        own = list(own_formats(path))
        for id, messages, kind in own:
            messages = list(messages)
            while messages and messages[0].role == 'tool':
                messages.pop(0)
            job = job_from_messages(messages, id, 'foreign', Counter())
            for turn in job.turns:
                turn.finish_reason = ENDED.pop(id_of(turn.said), turn.finish_reason)
            yield file, kind, job
        if own or not (source := sniff_source(path)):
            continue
        for job in read_source(path)[0]:
            yield file, kind_of(file, source), job
    if audit:
        for job in collect_jobs(Path(audit) / 'dump')[0]:
            yield 'audit', 'audit trail', job
