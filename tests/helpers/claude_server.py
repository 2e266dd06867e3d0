"""A real HTTP server that speaks Anthropic's Messages, token counting and Message Batches, and misbehaves on purpose.

It proves the plumbing of a teacher, and nothing about prompts: what it answers is canned. It runs in a process of its
own, so that it outlives a client that is killed, and keeps a ledger of what it billed for each question.

    with claude_server(misbehave=0.2, seed=1) as server:
        Claude(store, 'sonnet', max_usd=5, base_url=server.url).ask(questions)
        server.ledger()     # what was billed, a row per request

    python tests/helpers/claude_server.py --answers tests.helpers.my_answers:blueprint --misbehave 0.2 --seed 1 --port 0

`answers` is `module:function`. The function takes the parameters of a request (`model`, `messages`, `system`, `tools`,
`output_config`, `max_tokens`) and gives the content of an answer: a text, an object (sent as JSON text), or a list of
blocks. Without one, the answer is a valid dummy value of the JSON schema that was asked for, or `ok`. The module is
imported in the server's process: it has to be found on `path` (default: the repository and its tests/helpers).

What goes wrong with a request is drawn from the seed, the question and how often it was asked, so that a plan is the
same in every run: a share `misbehave` of all requests meets one of `faults`. Named faults, always in this order for a
question, are given by `[[fault: a, b]]` in its text: `[[fault: refusal]]`, `[[fault: cut_after, invalid_json]]`.
"""

import argparse
import hashlib
import importlib
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HELPERS = Path(__file__).resolve().parent
TRANSIENT = 'rate_limit overloaded api_error bad_gateway cut_before cut_after torn'.split()  # of a direct request
CONTENT = 'max_tokens invalid_json not_of_schema empty'.split()  # of an answer, direct or in a batch
ITEM = 'expired errored overloaded'.split()  # of a request in a batch, as well as CONTENT
FINAL = 'refusal invalid_request context'.split()  # never drawn: asked for by name
STATUS = dict(
    rate_limit=(429, 'rate_limit_error'),
    overloaded=(529, 'overloaded_error'),
    api_error=(500, 'api_error'),
    timeout=(504, 'timeout_error'),
    invalid_request=(400, 'invalid_request_error'),
    schema=(400, 'invalid_request_error'),
    unauthorized=(401, 'authentication_error'),
    forbidden=(403, 'permission_error'),
    no_credit=(400, 'invalid_request_error'),
)
WORDS = dict(
    no_credit='Your credit balance is too low to access the Anthropic API.',
    schema='output_config.format.schema: too many optional parameters',
)


# ---- what is answered


def dummy(schema, root=None, depth=0):
    "A valid value of a JSON schema, as far as structured outputs can say one."
    root = root or schema
    if '$ref' in schema:
        *_, name = schema['$ref'].split('/')
        return dummy((root.get('$defs') or root.get('definitions'))[name], root, depth + 1)
    for key in ('const', 'default'):
        if key in schema:
            return schema[key]
    if 'enum' in schema:
        return schema['enum'][0]
    for key in ('anyOf', 'oneOf'):
        if key in schema:
            return dummy(schema[key][0], root, depth)
    kind = schema.get('type', 'object')
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == 'object':
        known = schema.get('properties', {})
        wanted = known if depth < 3 else schema.get('required', [])
        return {k: dummy(known.get(k, {'type': 'string'}), root, depth + 1) for k in wanted}
    if kind == 'array':
        items = schema.get('items', {'type': 'string'})
        said = re.search(r'minItems: (\d+)', schema.get('description', ''))
        n = max(schema.get('minItems', 1), int(said[1]) if said else 0)
        return [dummy(items, root, depth + 1) for _ in range(n)]
    if kind == 'string':
        said = re.search(r'minLength: (\d+)', schema.get('description', ''))
        return 'text' + 'x' * max(schema.get('minLength', 0), int(said[1]) if said else 0)
    if kind in ('integer', 'number'):
        said = re.search(r'minimum: (-?\d+)', schema.get('description', ''))
        return max(schema.get('minimum', 1), int(said[1]) if said else 1)
    return {'boolean': True, 'null': None}[kind]


def last_text(params) -> str:
    "The text of the user's last message."
    for m in reversed(params['messages']):
        if m['role'] == 'user':
            content = m['content']
            if isinstance(content, str):
                return content
            return '\n'.join(b.get('text') or str(b.get('content') or '') for b in content)
    return ''


def question_of(params) -> str:
    "The same without a schema that was told in words: what a question is known by here."
    return last_text(params).partition('\n\nAnswer with one JSON object and nothing else')[0]


def schema_of(params) -> dict:
    "The JSON schema that was asked for, constrained or told in words."
    if form := (params.get('output_config') or {}).get('format'):
        return form['schema']
    told = re.search(r'Its JSON schema:\n(\{.*\})', last_text(params), re.S)
    return json.loads(told[1]) if told else {}


def default_answer(params):
    schema = schema_of(params)
    return dummy(schema) if schema else 'ok'


def as_blocks(content) -> list:
    if isinstance(content, list):
        return content
    return [dict(type='text', text=content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))]


# ---- the server


class State:
    "What the server knows: batches, and the ledger of what was billed."

    def __init__(
        self, answer, misbehave=0.0, seed=0, faults=None, slow_s=0.0, batch_s=0.05, dear=False, key='', models=None
    ):
        self.answer, self.misbehave, self.seed, self.slow_s = answer, misbehave, seed, slow_s
        self.batch_s, self.dear, self.key, self.models = batch_s, dear, key, models
        self.faults = faults if faults is not None else [*TRANSIENT, *CONTENT, *ITEM]
        self.lock, self.rows, self.batches, self.asked = threading.Lock(), [], {}, Counter()
        self.reads, self.creates, self.cached = Counter(), 0, set()

    def fault(self, params, among) -> str:
        "What goes wrong with this request; '' for nothing. The n-th time that it is asked decides."
        text = question_of(params)
        with self.lock:
            n = self.asked[text]
            self.asked[text] += 1
        if named := re.search(r'\[\[fault: ([\w, ]+)\]\]', text):
            plan = [x.strip() for x in named[1].split(',')]
            return plan[n] if n < len(plan) else ''
        draw = random.Random(f'{self.seed} {text} {n}')
        return draw.choice(sorted(set(among) & set(self.faults)) or ['']) if draw.random() < self.misbehave else ''

    def coin(self, *what) -> bool:
        return random.Random(f'{self.seed} {what}').random() < self.misbehave

    def note(self, params, kind, mode, usage=None, batch=''):
        "A row of the ledger."
        with self.lock:
            row = dict(
                n=len(self.rows),
                question=question_of(params),
                kind=kind,
                mode=mode,
                batch=batch,
                model=params['model'],
                max_tokens=params['max_tokens'],
            )
            row.update(usage or {}, billed=usage is not None, time=time.time())
            self.rows.append(row)

    def usage(self, params, blocks, mode):
        "Tokens of a request; `dear`: as many as it can be at most."
        size = len(
            json.dumps(
                [params.get(k) for k in ('system', 'messages', 'tools', 'output_config')], ensure_ascii=False
            ).encode()
        )
        shared = len(json.dumps([params.get('system'), params.get('tools')], ensure_ascii=False).encode())
        out = max(len(json.dumps(blocks).encode()) // 4, 1)
        ratio = 1 if self.dear else 4
        used = dict(
            input_tokens=size // ratio + 12,
            output_tokens=min(params['max_tokens'], out),
            cache_creation_input_tokens=0,
            cache_read_input_tokens=0,
        )
        if self.dear:
            used['output_tokens'] = params['max_tokens']
        if 'cache_control' in json.dumps([params.get('system'), params.get('tools')]):
            key = (params['model'], shared, mode)
            with self.lock:
                hit = key in self.cached
                self.cached.add(key)
            part = min(shared // ratio, used['input_tokens'])
            used['input_tokens'] -= part
            used['cache_read_input_tokens' if hit and not self.dear else 'cache_creation_input_tokens'] = part
        return used

    def message(self, params, fault, mode) -> dict:
        "The message that answers a request, spoiled where the fault says so."
        reason, blocks, more = 'end_turn', as_blocks(self.answer(params)), {}
        if any(b['type'] == 'tool_use' for b in blocks):
            reason = 'tool_use'
        text = json.dumps(blocks)
        if fault == 'max_tokens':
            reason, blocks = 'max_tokens', [dict(type='text', text=text[: len(text) // 2])]
        elif fault == 'invalid_json':
            blocks = [dict(type='text', text='{"half": [1, 2')]
        elif fault == 'not_of_schema':
            blocks = [dict(type='text', text='{"unexpected": true}')]
        elif fault == 'empty':
            blocks = []
        elif fault == 'refusal':
            reason, blocks = 'refusal', []
            more['stop_details'] = dict(type='refusal', category='cyber', explanation='Refused on purpose.')
        elif fault == 'context':
            reason = 'model_context_window_exceeded'
        used = self.usage(params, blocks, mode)
        if fault == 'max_tokens':
            used['output_tokens'] = params['max_tokens']
        name = f'msg_{hashlib.sha1(repr((params, time.time())).encode()).hexdigest()[:20]}'
        out = dict(id=name, type='message', role='assistant', model=params['model'], content=blocks, stop_sequence=None)
        return dict(out, stop_reason=reason, usage=used, **more)

    # batches

    def create(self, requests) -> dict:
        with self.lock:
            self.creates += 1
            name = f'msgbatch_{len(self.batches):06d}{self.seed}'
            b = dict(id=name, requests=requests, made=time.time(), lines=None, canceled=False, end='', slow=0.0)
            self.batches[name] = b
        texts = ' '.join(last_text(r['params']) for r in requests)
        b['slow'] = 3600.0 if '[[batch: never]]' in texts else 0.0
        b['expires'] = '[[batch: expires]]' in texts and not any(
            o is not b and '[[batch: expires]]' in last_text(o['requests'][0]['params']) for o in self.batches.values()
        )
        return self.show(b)

    def ended(self, b) -> bool:
        return b['canceled'] or time.time() >= b['made'] + self.batch_s + b['slow']

    def show(self, b) -> dict:
        done, stamp = self.ended(b), lambda t: datetime.fromtimestamp(t, UTC).isoformat().replace('+00:00', 'Z')
        counts = dict(processing=len(b['requests']), succeeded=0, errored=0, canceled=0, expired=0)
        if done:
            self.results(b)
            counts = {**dict.fromkeys(counts, 0), **Counter(json.loads(x)['result']['type'] for x in b['lines'])}
        return dict(
            id=b['id'], type='message_batch', processing_status='ended' if done else 'in_progress', request_counts=counts,
            created_at=stamp(b['made']), expires_at=stamp(b['made'] + 86400), ended_at=stamp(b['made'] + self.batch_s) if done else None,
            results_url=f'{self.base}/v1/messages/batches/{b["id"]}/results' if done else None, archived_at=None, cancel_initiated_at=None,
        )  # fmt: skip

    def results(self, b):
        "Answer all requests of a batch, once."
        with self.lock:
            if b['lines'] is not None:
                return
            b['lines'] = []
        lines = []
        for r in b['requests']:
            result = self.result(b, r['params'])
            lines.append(json.dumps(dict(custom_id=r['custom_id'], result=result)))
        random.Random(f'{self.seed} {b["id"]}').shuffle(lines)
        b['lines'] = lines

    def result(self, b, params) -> dict:
        fault = 'canceled' if b['canceled'] else 'expired' if b['expires'] else self.fault(params, CONTENT + ITEM)
        if fault in ('canceled', 'expired'):
            self.note(params, fault, 'batch', batch=b['id'])
            return dict(type=fault)
        if fault in ('errored', 'overloaded', 'invalid_request', 'schema', 'api_error'):
            kind = dict(errored='api_error').get(fault) or STATUS[fault][1]
            self.note(params, fault, 'batch', batch=b['id'])
            error = dict(type=kind, message=WORDS.get(fault, 'on purpose'))
            return dict(type='errored', error=dict(type='error', error=error, request_id=None))
        try:
            m = self.message(params, fault, 'batch')
        except Exception as e:
            traceback.print_exc()
            text = f'the answers of this server failed: {type(e).__name__}: {e}'
            error = dict(type='invalid_request_error', message=text)
            return dict(type='errored', error=dict(type='error', error=error, request_id=None))
        self.note(params, fault or 'good', 'batch', m['usage'], b['id'])
        return dict(type='succeeded', message=m)


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    state: State

    def log_message(self, *_):
        pass

    def send(self, status, body, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for k, v in {'content-type': 'application/json', 'content-length': str(len(data)), **headers}.items():
            self.send_header(k.replace('_', '-'), v)
        self.end_headers()
        self.wfile.write(data)

    def broken(self, e):
        "The function that gives answers failed: say so, here and to the client."
        traceback.print_exc()
        text = f'the answers of this server failed: {type(e).__name__}: {e}'
        self.send(400, dict(type='error', error=dict(type='invalid_request_error', message=text)))

    def fail(self, fault):
        status, kind = STATUS[fault]
        headers = dict(retry_after='0.02') if fault == 'rate_limit' else {}
        self.send(status, dict(type='error', error=dict(type=kind, message=WORDS.get(fault, 'on purpose'))), **headers)

    def cut(self, body=b''):
        "End the connection, after `body` of a longer answer."
        if body:
            self.send_response(200)
            self.send_header('content-type', 'application/json')
            self.send_header('content-length', str(2 * len(body) + 100))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def do_GET(self):
        path, _, query = self.path.partition('?')
        s = self.state
        if path == '/ledger':
            with s.lock:
                batches = [
                    dict(id=b['id'], n=len(b['requests']), ids=[r['custom_id'] for r in b['requests']])
                    for b in s.batches.values()
                ]
                return self.send(200, dict(rows=s.rows, batches=batches, reads=dict(s.reads), creates=s.creates))
        if not self.allowed():
            return self.fail('unauthorized')
        if path == '/v1/messages/batches':
            return self.list(dict(x.split('=') for x in query.split('&') if x))
        found = re.fullmatch(r'/v1/messages/batches/([\w-]+)(/results)?', path)
        if not found or found[1] not in s.batches:
            return self.send(
                404, dict(type='error', error=dict(type='not_found_error', message=f'{path} was not found'))
            )
        b = s.batches[found[1]]
        with s.lock:
            s.reads[b['id']] += 1
            n = s.reads[b['id']]
        if not found[2]:
            if s.coin(b['id'], 'look', n):
                return random.Random(f'{s.seed} {n}').choice([lambda: self.fail('overloaded'), self.cut])()
            return self.send(200, s.show(b))
        self.send_results(b, n)

    def allowed(self) -> bool:
        return not self.state.key or self.headers['x-api-key'] == self.state.key

    def list(self, query):
        "Newest first, a few to a page."
        s = self.state
        with s.lock:
            names = list(s.batches)[::-1]
        if after := query.get('after_id'):
            names = names[names.index(after) + 1 :]
        page = names[: min(int(query.get('limit', 20)), 3)]
        data = [s.show(s.batches[n]) for n in page]
        ends = dict(first_id=page[0], last_id=page[-1]) if page else dict(first_id=None, last_id=None)
        self.send(200, dict(data=data, has_more=len(names) > len(page), **ends))

    def send_results(self, b, n):
        s = self.state
        if not s.ended(b):
            return self.send(400, dict(type='error', error=dict(type='invalid_request_error', message='not ended')))
        s.results(b)
        while b['lines'] == [] and b['requests']:
            time.sleep(0.005)  # another request writes them
        lines = list(b['lines'])
        if b is next(iter(s.batches.values())):
            lines = [x for x in lines if '[[missing]]' not in x]  # the first batch never gives these
        draw = random.Random(f'{s.seed} {b["id"]} {n}')
        if s.misbehave and draw.random() < 0.5:
            lines += draw.sample(lines, min(3, len(lines)))  # some come twice
            draw.shuffle(lines)
        data = ('\n'.join(lines) + '\n').encode()
        texts = data.decode()
        if '[[results: half]]' in texts and n <= 4 or s.coin(b['id'], 'half', n):
            kept = data[: len(data) // 2]
            if draw.random() < 0.5:
                return self.cut(kept)
            return self.send(200, kept)  # ends in the middle of a line, and says that it is whole
        self.send(200, data, content_type='application/x-jsonl')

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get('content-length') or 0))
        if self.path == '/stop':
            self.send(200, {})
            return threading.Thread(target=self.server.shutdown, daemon=True).start()
        if not self.allowed():
            return self.fail('unauthorized')
        body = json.loads(raw or b'{}')
        if self.path == '/v1/messages':
            try:
                return self.one(body)
            except OSError:
                raise  # the client is gone
            except Exception as e:
                return self.broken(e)
        if self.path == '/v1/messages/count_tokens':
            return self.send(200, dict(input_tokens=len(json.dumps(body, ensure_ascii=False).encode()) // 4))
        if self.path == '/v1/messages/batches':
            return self.create(body)
        if found := re.fullmatch(r'/v1/messages/batches/([\w-]+)/cancel', self.path):
            b = self.state.batches[found[1]]
            b['canceled'] = True
            return self.send(200, self.state.show(b))
        self.send(404, dict(type='error', error=dict(type='not_found_error', message=f'{self.path} was not found')))

    def wrong(self, params) -> str:
        "What the real API would refuse in these parameters."
        if {'temperature', 'top_p', 'top_k'} & set(params):
            return 'temperature: is not supported'
        if (params.get('tool_choice') or {}).get('type') in ('tool', 'any'):
            return 'tool_choice: is not supported'
        roles = [m['role'] for m in params['messages']]
        if not roles or roles[0] != 'user' or roles[-1] != 'user':
            return 'messages: has to begin and end with user'
        for before, m in zip([None, *params['messages']], params['messages']):
            if not m['content'] or any(b['type'] == 'text' and not b['text'].strip() for b in m['content']):
                return 'messages: text content blocks must be non-empty'
            calls = [b['id'] for b in (before or {}).get('content', []) if b['type'] == 'tool_use']
            results = [b['tool_use_id'] for b in m['content'] if b['type'] == 'tool_result']
            if sorted(calls) != sorted(results):
                return 'messages: `tool_use` ids were found without `tool_result` blocks immediately after'
        form = (params.get('output_config') or {}).get('format')
        if form and '"additionalProperties": false' not in json.dumps(form['schema']):
            return (
                "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
            )
        return ''

    def one(self, params):
        s = self.state
        if s.models and params['model'] not in s.models:
            return self.send(
                404, dict(type='error', error=dict(type='not_found_error', message=f'model: {params["model"]}'))
            )
        if problem := self.wrong(params):
            s.note(params, 'wrong', 'direct')
            return self.send(400, dict(type='error', error=dict(type='invalid_request_error', message=problem)))
        fault = s.fault(params, TRANSIENT + CONTENT)
        if s.slow_s:
            time.sleep(s.slow_s * random.Random(last_text(params)).random())
        if fault in STATUS:
            s.note(params, fault, 'direct')
            return self.fail(fault)
        if fault == 'cut_before':
            s.note(params, fault, 'direct')
            return self.cut()
        m = s.message(params, fault, 'direct')
        s.note(params, fault or 'good', 'direct', m['usage'])
        if fault == 'cut_after':
            return self.cut()
        if fault == 'torn':
            return self.cut(json.dumps(m).encode()[:60])
        if fault == 'bad_gateway':
            return self.send(502, b'<html>Bad Gateway</html>', content_type='text/html')
        self.send(200, m)

    def create(self, body):
        s = self.state
        requests = body.get('requests') or []
        ids = [r['custom_id'] for r in requests]
        if not requests or len(set(ids)) < len(ids) or not all(re.fullmatch(r'[a-zA-Z0-9_-]{1,64}', i) for i in ids):
            return self.send(
                400, dict(type='error', error=dict(type='invalid_request_error', message='requests: custom_id'))
            )
        problem = next((p for r in requests if (p := self.wrong(r['params']))), '')
        if problem:
            return self.send(400, dict(type='error', error=dict(type='invalid_request_error', message=problem)))
        texts = ' '.join(last_text(r['params']) for r in requests)
        named = re.search(r'\[\[create: (\w+)\]\]', texts)
        with s.lock:
            s.asked['create'] += 1
            name = named[1] if named else ''
            s.asked[f'create {name}'] += 1
            first = s.asked[f'create {name}'] == 1
        draw = random.Random(f'{s.seed} create {s.asked["create"]}')
        fault = named[1] if named and first else ''
        if not fault and s.misbehave and draw.random() < s.misbehave:
            fault = draw.choice(['rate_limit', 'overloaded', 'cut_before', 'cut_after', 'error_before', 'error_after'])
        if fault in STATUS:
            return self.fail(fault)
        if fault == 'cut_before':
            return self.cut()
        if fault == 'error_before':
            return self.fail('api_error')
        made = s.create(requests)
        if fault == 'cut_after':
            return self.cut()
        if fault == 'error_after':
            return self.fail('api_error')
        self.send(200, made)


class Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass  # clients are killed here


def main():
    p = argparse.ArgumentParser(description='A local server that speaks the Claude API and misbehaves.')
    p.add_argument('--answers', default='', help='module:function that gives the content of an answer')
    p.add_argument('--path', default='', help='folders to find it in, separated by colons')
    p.add_argument('--misbehave', type=float, default=0.0, help='share of requests that something goes wrong with')
    p.add_argument('--faults', default='', help='only these, separated by commas')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--port', type=int, default=0)
    p.add_argument('--slow_s', type=float, default=0.0, help='an answer takes up to so long')
    p.add_argument('--batch_s', type=float, default=0.05, help='a batch takes so long')
    p.add_argument('--dear', action='store_true', help='bill as many tokens as a request can have at most')
    p.add_argument('--key', default='', help='the only key that is taken')
    p.add_argument('--models', default='', help='the only models that there are, separated by commas')
    a = p.parse_args()
    sys.path[:0] = [x for x in a.path.split(':') if x] + [str(HELPERS), str(HELPERS.parents[1])]
    answer = default_answer
    if a.answers:
        module, name = a.answers.split(':')
        answer = getattr(importlib.import_module(module), name)
    faults = a.faults.split(',') if a.faults else None
    state = State(
        answer, a.misbehave, a.seed, faults, a.slow_s, a.batch_s, a.dear, a.key, set(a.models.split(',')) - {''}
    )
    http = Quiet(('127.0.0.1', a.port), type('Bound', (Handler,), dict(state=state)))
    state.base = f'http://127.0.0.1:{http.server_port}'
    print(state.base, flush=True)
    http.serve_forever(0.05)


class Server:
    "A running server: `url`, and its `ledger()`."

    def __init__(self, url):
        self.url = url

    def get(self, path):
        with urllib.request.urlopen(f'{self.url}{path}', timeout=60) as r:
            return json.load(r)

    def ledger(self) -> dict:
        "`rows` (one per request that was answered), `batches`, `reads`, `creates`."
        return self.get('/ledger')

    def billed(self) -> Counter:
        "Question -> how often it was billed."
        return Counter(r['question'] for r in self.ledger()['rows'] if r['billed'])


@contextmanager
def claude_server(answers='', misbehave=0.0, seed=0, **options):
    "A server in a process of its own; `options` are those of the command line."
    command = [
        sys.executable,
        str(HELPERS / 'claude_server.py'),
        '--answers',
        answers,
        '--misbehave',
        str(misbehave),
        '--seed',
        str(seed),
    ]
    for k, v in options.items():
        command += [f'--{k}'] if v is True else [f'--{k}', str(v)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError('the server did not start')
        yield Server(url)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == '__main__':
    main()
