"""A simulated language model for tests of the plumbing: it answers the project's own prompts from a stock.

Jobs come from the arena's families, talks from a few forms, and it plays as the arena's expert does. Some blueprints are
wrong at first and are mended when they come back, some plays are lazy. It proves that questions are asked, answers are
executed and rows are kept as they should be; it says nothing about what a real model makes of the prompts.
"""

import json
import random
import re

from agentft.arena.catalogue import EVAL_SEED, FAMILIES, make_task, trained_on
from agentft.arena.players import expert_script, say
from agentft.arena.tasks import start_files
from agentft.core.records import content_hash
from agentft.data.seeds import seed_task
from agentft.generation.blueprints import blueprint_dialogue, blueprint_seed, talk_script

KEYS = 'retries limit timeout workers depth width interval quota batch margin'.split()
NAMES = 'orders intake billing search archive mail stock roster export import'.split()


def plain(task) -> bool:
    "Can the task be written as a blueprint: whole texts, the usual tools, something to do?"
    wants = [want for item in task.items for want in item.want.values()]
    usual = all(isinstance(want, str | type(None)) for want in wants)
    return usual and not (task.environment or task.parts or task.limits or task.still or task.toolbox)


def job_blueprint(behaviour: str, number: int) -> dict:
    "A job of a family that shows `behaviour`, or of any."
    own = [f for f in trained_on() if FAMILIES[f].behaviour == behaviour]
    for k in range(200):
        families = own if own and k < 20 else trained_on()
        family = families[(number + k) % len(families)]
        seed = random.Random(f'{behaviour}/{number}/{k}').randrange(5000, EVAL_SEED)
        task = make_task(family, seed, 1 + (number + k) % 2, formed=False)
        if plain(task):
            return from_task(task)
    raise LookupError(f'no family gives a plain job for {behaviour}')


def from_task(task) -> dict:
    "A task of the arena as a blueprint."
    todos = []
    for item in task.items:
        results = [dict(path=p, gone=text is None, text=str(text or '')) for p, text in item.want.items()]
        reads = [c.arguments['path'] for c in item.calls if getattr(c, 'name', '') == 'read_file']
        todos.append(dict(todo=item.text, reads=reads, results=results, no_action=''))
    files = [dict(path=p, text=text) for p, text in start_files(task).items()]
    said = dict(instruction=task.instruction, report=task.summary, question='', answer='')
    return dict(files=files, todos=todos) | said


def settings(r) -> tuple[str, dict]:
    "A path and the settings in it."
    return f'{r.choice(NAMES)}/{r.choice(NAMES)}.yaml', {k: r.randint(11, 99) for k in r.sample(KEYS, 5)}


def as_yaml(values: dict) -> str:
    return ''.join(f'{k}: {v}\n' for k, v in values.items())


def still_blueprint(reason: str, number: int) -> dict:
    "A job in which nothing is to be changed."
    r = random.Random(f'still/{number}')
    path, values = settings(r)
    key, other = r.sample(list(values), 2)
    gone = next(k for k in KEYS if k not in values)
    asks = dict(
        done=f'Set {key} in {path} to {values[key]}.',
        nothing=f'Remove {gone} from {path}, if it stands there.',
        missing=f'Set {key} in {path} to what Lena has decided; notes.md says what it is.',
        phase=f'Once all is approved, {key} in {path} is to be doubled; until then leave it.',
        tool=f'Send {path} to Lena by mail.',
    )
    files = [dict(path=path, text=as_yaml(values)), dict(path='notes.md', text='# Notes\n- Lena has not decided yet\n')]
    todo = dict(todo=f'Look at {path} for the request', reads=[path, 'notes.md'], results=[], no_action=reason)
    found = dict(question=f'the value of {other} in {path}', answer=str(values[other]))
    return dict(instruction=asks[reason], files=files, todos=[todo], report='Nothing was changed.', **found)


def dialogue_blueprint(shape: str, reason: str, number: int) -> dict:
    "A talk of a shape."
    r = random.Random(f'{shape}/{number}')
    (path, values), (second, more) = settings(r), settings(r)
    key, new = r.choice(list(values)), r.randint(100, 199)
    text, after = as_yaml(values), as_yaml(values | {key: new})
    out = dict(turns=[], files=[dict(path=path, text=text)], tools=['read_file', 'edit_file'], reads=[path])
    out |= dict(results=[], says=[], no_action=reason, needs=['print_file'] * (reason == 'tool'))
    if second != path:
        out['files'].append(dict(path=second, text=as_yaml(more)))
    changed = [dict(path=path, gone=False, text=after)]
    if shape == 'single':
        out |= dict(turns=[f'What is {key} in {path}?'], says=[str(values[key])], tools=['read_file', 'list_files'])
    elif shape == 'parallel':
        both = [path, second]
        out |= dict(turns=[f'Which settings do {path} and {second} begin with, and how are they set?'], reads=both)
        out |= dict(says=[f'{k}: {x}' for v in (values, more) for k, x in list(v.items())[:1]])
    elif shape == 'nested':
        where = f'days/{number}.md'
        place = dict(path=where, text=f'The settings of the day are in {path}\n')
        out |= dict(turns=[f'{where} names a file; what is {key} in it?'], says=[str(values[key])])
        out |= dict(files=[place, *out['files']], reads=[where, path])
    elif shape == 'chat':
        out |= dict(turns=[f'Change {key} in {path}.', f'To {new}.'], results=changed, says=[str(new)])
    else:
        asks = dict(
            ask=f'Change one of the values in {path}.', tool=f'Print {path} on the printer on the second floor.'
        )
        said = asks.get(reason, f'Set {key} in {path} to {values[key]}.')
        why = dict(ask='Which one?', tool='I have no tool for that', missing='is missing', phase='not now')
        out |= dict(turns=[said], says=[why.get(reason, 'nothing to change, it is so already')])
    answers = [shape == 'chat' and k == 1 for k in range(len(out['turns']))]
    return out | dict(turns=[dict(says=t, answers=a) for t, a in zip(out['turns'], answers)])


def spoiled(value: dict) -> dict:
    "A blueprint that does not stand: nothing comes of its work."
    if 'todos' in value:
        return value | dict(todos=[t | dict(results=[], no_action='') for t in value['todos']])
    return value | dict(says=[], results=[])


class Canned:
    "What the simulated model says; it keeps the scripts of the jobs that it wrote."

    def __init__(self, wrong_every: int = 7, lazy_every: int = 11):
        self.wrong_every, self.lazy_every, self.scripts, self.mended = wrong_every, lazy_every, {}, {}

    def written(self, text: str) -> dict:
        "The blueprint that a prompt asks for."
        if 'Question: ' in text and '<conversation>' in text:
            return self.judged(text)
        if found := re.search(r'<blueprint>\n(.*)\n</blueprint>', text, re.S):
            value = json.loads(found[1])
            if 'Make it harder' in text:
                beside = [dict(path=f'old/{k}.txt', text=f'put away {k}\n') for k in range(len(value['files']))]
                return self.keep(value | dict(files=value['files'] + beside[-1:]))
            return self.keep(self.mended.get(content_hash(value), value))
        number = int(re.search(r'Number (\d+)', text)[1])
        shape = re.search(r'of the kind `(\w+)`', text)
        behaviour = re.search(r'to show: (\w+)', text)[1]
        if shape:
            why = re.search(r'where that is the kind: (.*)\.', text)[1]
            value = dialogue_blueprint(shape[1], self.reason(why), number)
        elif 'nothing is to be changed' in text:
            value = still_blueprint(self.reason(text), number)
        else:
            value = job_blueprint(behaviour, number)
        if number % self.wrong_every == self.wrong_every - 1:
            bad = spoiled(value)
            self.mended[content_hash(bad)] = value
            return bad
        return self.keep(value)

    @staticmethod
    def judged(text: str) -> dict:
        "The verdict of a judge: mostly yes, at times no with a quote of the conversation, or with one of its own."
        told = text[text.index('<conversation>') :]
        draw = int(content_hash(text), 16) % 40
        if draw > 1:
            return dict(verdict='yes', evidence='', why='nothing speaks against it')
        quote = told.splitlines()[-3][:60] if draw else 'these words stand nowhere in it'
        return dict(verdict='no', evidence=quote, why='a simulated doubt')

    @staticmethod
    def reason(text: str) -> str:
        "Which reason for no action a prompt names."
        from agentft.data.seeds import NO_ACTION

        known = {**NO_ACTION, 'ask': 'it is unclear, the agent has to ask back'}
        return next((word for word, about in known.items() if about in text), '')

    def keep(self, value: dict) -> dict:
        "Remember how the job is done."
        try:
            if 'todos' in value:
                seed = blueprint_seed(value, 'edit')
                self.scripts[seed.instruction] = expert_script(seed_task(seed))
                self.scripts[seed_task(seed).instruction] = self.scripts[seed.instruction]
            else:
                one_by_one = value['reads'][:1] and value['reads'][0].startswith('days/')
                d = blueprint_dialogue(value, 'nested' if one_by_one else 'single')
                self.scripts[d.turns[0]] = talk_script(d, tuple(value['reads']))
        except (ValueError, KeyError):
            pass
        return value

    def line(self, first: str, said: int, key: str):
        "The next message in a job that begins with the user's words `first`."
        known = [words for words in self.scripts if first.startswith(words)]
        if not known or int(content_hash(key), 16) % self.lazy_every == 0:
            return say(text='It is done.')
        script = self.scripts[max(known, key=len)]
        return script[said] if said < len(script) else say(text='It is done.')


MODEL = Canned()


def _words(content) -> str:
    "The text of a message of the Messages API."
    if isinstance(content, str):
        return content
    return '\n'.join(block.get('text', '') for block in content if block.get('type') == 'text')


def answer(params):
    "The content of an answer to one request of the Messages API: a blueprint as an object, or blocks with calls."
    messages = params['messages']
    first = _words(messages[0]['content'])
    if params.get('output_config', {}).get('format'):
        return MODEL.written(first)
    said = sum(m['role'] == 'assistant' for m in messages)
    line = MODEL.line(first, said, f'{first}{json.dumps(params.get("metadata", ""))}')
    blocks = [dict(type='text', text=line.content)] if line.content else []
    for k, call in enumerate(line.tool_calls):
        blocks.append(dict(type='tool_use', id=f'toolu_{said}_{k}', name=call.name, input=call.arguments))
    return blocks or 'It is done.'
