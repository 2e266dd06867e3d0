"""A real HTTP server that speaks /v1/chat/completions, plays the expert's script for tasks that it recognises, and
misbehaves where it is told to. It proves the plumbing of an endpoint, and nothing about any model."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agentft.arena.players import expert_script
from agentft.model.endpoints import wire


class ChatServer:
    "Serves while the `with` block runs; `faults` maps the number of a request (from 0) to what goes wrong with it."

    def __init__(self, tasks, faults=None, usage=True, rules=None, key='', slow_s=3.0, always=''):
        self.tasks, self.faults, self.usage, self.rules = tasks, dict(faults or {}), usage, rules
        self.key, self.slow_s, self.always = key, slow_s, always
        self.refuses = ''  # a text: what holds it is refused
        self.requests, self.lock = [], threading.Lock()

    def __enter__(self):
        self.http = ThreadingHTTPServer(('127.0.0.1', 0), type('Handler', (_Handler,), dict(chat=self)))
        self.url = f'http://127.0.0.1:{self.http.server_port}/v1'
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def take(self, body) -> str:
        "Note a request; what is to go wrong with it, '' for nothing."
        with self.lock:
            self.requests.append(body)
            if self.refuses and self.refuses in json.dumps(body):
                return 'refused'
            return self.always or self.faults.pop(len(self.requests) - 1, '')

    def message(self, body) -> dict:
        "The expert's next message in the conversation."
        messages = body['messages']
        asked = [i for i, m in enumerate(messages) if m['role'] == 'user']
        found = [(i, t) for i in asked for t in self.tasks if t.instruction in messages[i]['content']]
        if not found:
            return dict(role='assistant', content='I do not know this job.')
        at, task = found[-1]
        said = sum(m['role'] == 'assistant' for m in messages[at:])
        script = expert_script(task, self.rules or task.rules)
        return wire([script[said]])[0] if said < len(script) else dict(role='assistant', content='I am done.')


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.chat.key and self.headers['Authorization'] != f'Bearer {self.chat.key}':
            return self.send(401, dict(error=dict(message='no such key')))
        return self.send(404, dict(error=dict(message='no list of models here')))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        fault = self.chat.take(body)
        if hasattr(self, f'fault_{fault}'):
            return getattr(self, f'fault_{fault}')(body)
        message = self.chat.message(body)
        if fault == 'malformed' and message.get('tool_calls'):
            message['tool_calls'][0]['function']['arguments'] = '{"todos": ["one'
        return self.answer(message, usage=fault != 'no_usage')

    def answer(self, message, usage=True):
        reason = 'tool_calls' if message.get('tool_calls') else 'stop'
        out = dict(id='c', object='chat.completion', created=0, model='script')
        out['choices'] = [dict(index=0, message=message, finish_reason=reason)]
        if usage and self.chat.usage:
            out['usage'] = dict(prompt_tokens=100, completion_tokens=7, total_tokens=107)
        return self.send(200, out)

    def send(self, status, body, **headers):
        data = json.dumps(body).encode()
        self.send_response(status)
        for k, v in dict({'Content-Type': 'application/json', 'Content-Length': str(len(data))}, **headers).items():
            self.send_header(k.replace('_', '-'), v)
        self.end_headers()
        self.wfile.write(data)

    def fault_busy(self, _):
        self.send(429, dict(error=dict(message='too many requests')), retry_after_ms='10')

    def fault_broken(self, _):
        self.send(500, dict(error=dict(message='out of memory')), retry_after_ms='10')

    def fault_long(self, _):
        text = "This model's maximum context length is 2048 tokens."
        self.send(400, dict(error=dict(message=text, code='context_length_exceeded')))

    def fault_llama(self, _):
        text = 'the request exceeds the available context size. try increasing the context size or enable context shift'
        self.send(400, dict(error=dict(code=400, message=text, type='exceed_context_size_error')))

    def fault_tgi(self, _):
        text = 'Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens'
        self.send(422, dict(error=text, error_type='validation'))

    def fault_large(self, _):
        self.send(413, dict(error=dict(message='Request Entity Too Large')))

    def fault_refused(self, _):
        self.send(422, dict(error=dict(message='messages[3]: the template of this model takes no such message')))

    def fault_model(self, _):
        self.send(400, dict(error=dict(message='Invalid model name passed in model=script')))

    def fault_renamed(self, body):
        if 'max_tokens' in body:
            return self.send(400, dict(error=dict(message="Use 'max_completion_tokens' instead of 'max_tokens'.")))
        return self.answer(self.chat.message(body))

    def fault_slow(self, body):
        time.sleep(self.chat.slow_s)
        self.answer(self.chat.message(body))

    def fault_cut(self, _):
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', '1000')
        self.end_headers()
        self.wfile.write(b'{"id": "c", "choi')
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def fault_empty(self, _):
        self.send(200, dict(error=dict(message='upstream is gone')))

    def fault_hollow(self, _):
        self.send(200, dict(id='c', object='chat.completion', created=0, model='script', choices=[]))

    def fault_half(self, _):  # half of a character, which JSON can hold and UTF-8 cannot
        call = dict(name='write_file', arguments='{"path": "a.md", "content": "\\ud800 x"}')
        self.answer(dict(role='assistant', content=None, tool_calls=[dict(id='c', type='function', function=call)]))

    def fault_torn(self, _):  # whole as HTTP, and no JSON
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', '13')
        self.end_headers()
        self.wfile.write(b'{"choices": [')
