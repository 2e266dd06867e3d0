"""The simulated sessions: a user and a coding agent in three working copies, in the shape of Claude Code's files."""

# ruff: noqa: E501   (contents of files and messages stand here as they are written)

import difflib
import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta

from .repository import tidewatch

HOME = '/home/dev'
MODEL = 'simulated-coder'


def _numbered(text, first=1) -> str:
    return '\n'.join(f'{n:6}→{line}' for n, line in enumerate(text.splitlines(), first))


def _patch(before, after) -> list:
    "Hunks of a change, as the program records them."
    a, b, hunks = before.splitlines(), after.splitlines(), []
    for group in difflib.SequenceMatcher(None, a, b, autojunk=False).get_grouped_opcodes(3):
        lines = []
        for tag, i1, i2, j1, j2 in group:
            if tag == 'equal':
                lines += [' ' + x for x in a[i1:i2]]
                continue
            lines += ['-' + x for x in a[i1:i2]] + ['+' + x for x in b[j1:j2]]
        (_, i1, _, j1, _), (_, _, i2, _, j2) = group[0], group[-1]
        hunks.append(dict(oldStart=i1 + 1, oldLines=i2 - i1, newStart=j1 + 1, newLines=j2 - j1, lines=lines))
    return hunks


class Copy:
    "A working copy: its files live on from session to session."

    def __init__(self, name, files):
        self.name, self.root, self.files = name, f'{HOME}/{name}', dict(files)
        self.folder = 'projects/' + self.root.replace('/', '-')


class Session:
    "Writes the lines of one session; what a tool answers is worked out from the files."

    def __init__(self, copy: Copy, number: int, day: str, version='2.0.14'):
        self.copy, self.version, self.rows, self.last, self.todo = copy, version, [], None, []
        self.id = str(uuid.uuid5(uuid.NAMESPACE_URL, f'agentft/samples/{copy.name}/{number}'))
        self.now = datetime.fromisoformat(day).replace(tzinfo=UTC)

    def _hash(self, kind) -> str:
        return hashlib.sha256(f'{self.id}/{kind}/{len(self.rows)}'.encode()).hexdigest()[:24]

    def _line(self, type, **kw):
        self.now += timedelta(seconds=3 + int(self._hash('wait'), 16) % 20)
        id = str(uuid.uuid5(uuid.NAMESPACE_URL, f'{self.id}/{len(self.rows)}'))
        head = dict(
            parentUuid=self.last,
            isSidechain=False,
            userType='external',
            cwd=self.copy.root,
            sessionId=self.id,
            version=self.version,
            gitBranch='main',
            type=type,
        )
        self.rows.append(
            head | kw | dict(uuid=id, timestamp=self.now.isoformat(timespec='milliseconds').replace('+00:00', 'Z'))
        )
        self.last = id

    def user(self, text):
        self._line('user', message=dict(role='user', content=text))

    def interrupt(self):
        self._line('user', message=dict(role='user', content=[dict(type='text', text='[Request interrupted by user]')]))

    def _says(self, blocks, stop):
        message, request = 'msg_' + self._hash('message'), 'req_' + self._hash('request')
        for block in blocks:
            usage = dict(
                input_tokens=5,
                cache_creation_input_tokens=40 + len(self.rows),
                cache_read_input_tokens=9000 + 150 * len(self.rows),
                output_tokens=len(json.dumps(block)) // 4,
            )
            self._line(
                'assistant',
                requestId=request,
                message=dict(
                    id=message,
                    type='message',
                    role='assistant',
                    model=MODEL,
                    content=[block],
                    stop_reason=stop,
                    stop_sequence=None,
                    usage=usage,
                ),
            )

    def say(self, text):
        self._says([dict(type='text', text=text)], 'end_turn')

    def _call(self, name, input, text, answer, record, error=False):
        id = 'toolu_' + self._hash('call')
        blocks = ([dict(type='text', text=text)] if text else []) + [
            dict(type='tool_use', id=id, name=name, input=input)
        ]
        self._says(blocks, 'tool_use')
        result = dict(tool_use_id=id, type='tool_result', content=answer) | (dict(is_error=True) if error else {})
        self._line('user', message=dict(role='user', content=[result]), toolUseResult=record)

    def _full(self, path) -> str:
        return f'{self.copy.root}/{path}'

    def read(self, path, text='', offset=None, limit=None):
        whole = self.copy.files[path]
        lines = whole.splitlines()
        first = offset or 1
        shown = lines[first - 1 : first - 1 + limit] if limit else lines[first - 1 :]
        input = (
            dict(file_path=self._full(path))
            | (dict(offset=offset) if offset else {})
            | (dict(limit=limit) if limit else {})
        )
        content = whole if len(shown) == len(lines) else '\n'.join(shown)
        file = dict(
            filePath=self._full(path), content=content, numLines=len(shown), startLine=first, totalLines=len(lines)
        )
        self._call('Read', input, text, _numbered('\n'.join(shown), first), dict(type='text', file=file))

    def edit(self, path, old, new, text='', every=False):
        before = self.copy.files[path]
        input = dict(file_path=self._full(path), old_string=old, new_string=new) | (
            dict(replace_all=True) if every else {}
        )
        found = before.count(old)
        if found != 1 and not (every and found):
            why = (
                'String to replace not found in file.'
                if not found
                else f'Found {found} matches of the string to replace, but replace_all is false.'
            )
            why = f'{why}\nString: {old}'
            return self._call(
                'Edit', input, text, f'<tool_use_error>{why}</tool_use_error>', f'Error: {why}', error=True
            )
        after = self.copy.files[path] = before.replace(old, new)
        patch = _patch(before, after)
        at = patch[0]['newStart']
        snippet = _numbered('\n'.join(after.splitlines()[at - 1 : at + 7]), at)
        answer = f"The file {self._full(path)} has been updated. Here's the result of running `cat -n` on a snippet of the edited file:\n{snippet}"
        record = dict(
            filePath=self._full(path),
            oldString=old,
            newString=new,
            originalFile=before,
            structuredPatch=patch,
            userModified=False,
            replaceAll=every,
        )
        return self._call('Edit', input, text, answer, record)

    def refused(self, path, old, new, text=''):
        "An edit that the user does not allow."
        why = "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit, the new_string was NOT written to the file). STOP what you are doing and wait for the user to tell you how to proceed."
        self._call(
            'Edit',
            dict(file_path=self._full(path), old_string=old, new_string=new),
            text,
            why,
            'User rejected tool use',
            error=True,
        )
        self._line(
            'user',
            message=dict(role='user', content=[dict(type='text', text='[Request interrupted by user for tool use]')]),
        )

    def write(self, path, content, text=''):
        before = self.copy.files.get(path)
        self.copy.files[path] = content
        answer = (
            f'File created successfully at: {self._full(path)}'
            if before is None
            else f"The file {self._full(path)} has been updated. Here's the result of running `cat -n` on a snippet of the edited file:\n{_numbered(content)}"
        )
        record = dict(
            type='create' if before is None else 'update',
            filePath=self._full(path),
            content=content,
            structuredPatch=_patch(before, content) if before is not None else [],
        )
        self._call(
            'Write',
            dict(file_path=self._full(path), content=content),
            text,
            answer,
            record | (dict(originalFile=before) if before is not None else {}),
        )

    def grep(self, pattern, path='', text=''):
        hits = [
            f'{self._full(p)}:{n}:{line}'
            for p in sorted(self.copy.files)
            if p.startswith(path)
            for n, line in enumerate(self.copy.files[p].splitlines(), 1)
            if pattern in line
        ]
        input = (
            dict(pattern=pattern, output_mode='content') | {'-n': True} | (dict(path=self._full(path)) if path else {})
        )
        content = '\n'.join(hits)
        self._call(
            'Grep',
            input,
            text,
            content or 'No matches found',
            dict(mode='content', numFiles=0, filenames=[], content=content, numLines=len(hits)),
        )

    def bash(self, command, stdout, about, text='', error=''):
        answer = f'Exit code 1\n{error}' if error else stdout
        record = (
            f'Error: Exit code 1\n{error}'
            if error
            else dict(stdout=stdout, stderr='', interrupted=False, isImage=False)
        )
        self._call('Bash', dict(command=command, description=about), text, answer, record, error=bool(error))

    def todos(self, *items, done=0, text=''):
        new = [
            dict(
                content=x,
                status='completed' if k < done else 'in_progress' if k == done else 'pending',
                activeForm=f'Working on: {x}',
            )
            for k, x in enumerate(items)
        ]
        answer = 'Todos have been modified successfully. Ensure that you continue to use the todo list to track your progress. Please proceed with the current tasks if applicable'
        self._call('TodoWrite', dict(todos=new), text, answer, dict(oldTodos=self.todo, newTodos=new))
        self.todo = new

    def text(self, summary='') -> str:
        "The lines of the file."
        head = [dict(type='summary', summary=summary, leafUuid=self.last)] if summary else []
        return ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in [*head, *self.rows])


PARCEL = {
    'README.md': '# parcel-api\n\nAnswers where a parcel is.\n\n## Start\n\n    python -m parcel_api --port 8080\n\n## Routes\n\n| route | answers |\n|---|---|\n| GET /parcels/ID | one parcel |\n| GET /health | ok |\n',
    'parcel_api/store.py': '''"""Parcels in a SQLite file."""

import sqlite3

SCHEMA = "create table if not exists parcels (id text primary key, state text, updated text)"


class Store:
    def __init__(self, path="parcels.db"):
        self.db = sqlite3.connect(path)
        self.db.execute(SCHEMA)

    def get(self, id):
        row = self.db.execute("select id, state, updated from parcels where id = '%s'" % id).fetchone()
        return dict(zip(("id", "state", "updated"), row))

    def put(self, id, state, updated):
        self.db.execute("insert or replace into parcels values (?, ?, ?)", (id, state, updated))
''',
    'parcel_api/routes.py': '''"""What is answered to which request."""

import json

STATES = ["announced", "collected", "on_the_way", "delivered"]


def parcel(store, id):
    found = store.get(id)
    return 200, json.dumps(found)


def health(store):
    return 200, "ok"


def route(store, path):
    if path == "/health":
        return health(store)
    if path.startswith("/parcels/"):
        return parcel(store, path.split("/")[2])
    return 404, "not found"
''',
    'parcel_api/limits.py': '''"""How many requests a client may send."""

import time

MAX_PER_MINUTE = 60


class Limiter:
    def __init__(self, clock=time.time):
        self.clock, self.seen = clock, {}

    def allowed(self, client):
        now = self.clock()
        recent = [t for t in self.seen.get(client, []) if now - t < 60]
        recent.append(now)
        self.seen[client] = recent
        return len(recent) < MAX_PER_MINUTE
''',
    'tests/test_routes.py': '''from parcel_api.routes import route
from parcel_api.store import Store


def test_health():
    assert route(Store(":memory:"), "/health") == (200, "ok")


def test_unknown_route():
    assert route(Store(":memory:"), "/nope")[0] == 404
''',
    'deploy/service.yaml': 'name: parcel-api\nimage: parcel-api:1.3\nreplicas: 2\nport: 8080\nresources:\n  memory_mb: 256\n  cpu: 0.5\nenv:\n  LOG_LEVEL: info\n  DB_PATH: /data/parcels.db\n',
}

ORCHARD = {
    'Index.md': '---\ntags: [index]\n---\n\n# Orchard\n\n## Trees\n\n- [[Old pear]]\n- [[Row of plums]]\n\n## Work\n\n- [[Pruning 2025]]\n',
    'Old pear.md': '---\ntags: [tree]\nplanted: 1978\n---\n\n# Old pear\n\nStands by the gate. Fruits every second year.\n\n## Log\n\n- 2024-09-14: 41 kg\n- 2025-09-20: 12 kg\n',
    'Row of plums.md': '---\ntags: [tree]\nplanted: 2011\n---\n\n# Row of plums\n\nSeven trees along the ditch. The third one leans.\n\n## Log\n\n- 2025-08-11: 66 kg\n',
    'Pruning 2025.md': '---\ntags: [work]\n---\n\n# Pruning 2025\n\n- [x] Old pear, 22 February\n- [ ] Row of plums\n- [ ] hedge at the ditch\n\nThe long saw is blunt.\n',
    'harvest.csv': 'date,tree,kg\n2024-09-14,Old pear,41\n2025-08-11,Row of plums,66\n2025-09-20,Old pear,12\n',
}


def _tidewatch_sessions(copy):
    s = Session(copy, 1, '2025-05-12T09:02:00')
    s.user('Add an unit "yd" to tidewatch/units.py: label(100, "yd") should give "1.1 yd". A yard has 91.44 cm.')
    s.read('tidewatch/units.py', text="I'll look at the module first.")
    s.edit(
        'tidewatch/units.py',
        "def label(cm, unit='cm'):",
        "def to_yd(cm):\n    return cm / 91.44\n\n\ndef label(cm, unit='cm'):",
    )
    s.edit(
        'tidewatch/units.py',
        "    if unit != 'cm':\n        raise ValueError(f'unknown unit {unit}: cm, m or ft')",
        "    if unit == 'yd':\n        return '%.1f yd' % to_yd(cm)\n    if unit != 'cm':\n        raise ValueError(f'unknown unit {unit}: cm, m, ft or yd')",
    )
    s.bash(
        'python -m pytest -q tests/test_units.py',
        '...                                                                      [100%]\n3 passed in 0.02s',
        'Run the tests of units',
    )
    s.say('Yards work now, and the error message names them.')
    s.user('also add a test for it')
    s.read('tests/test_units.py')
    s.edit(
        'tests/test_units.py',
        "def test_unknown_unit():",
        "def test_yards():\n    assert label(100, 'yd') == '1.1 yd'\n\n\ndef test_unknown_unit():",
        text='I put the test before the one for unknown units.',
    )
    s.bash(
        'python -m pytest -q tests/test_units.py',
        '....                                                                     [100%]\n4 passed in 0.02s',
        'Run the tests of units again',
    )
    s.say('Four tests pass.')
    yield s, 'Yards in tidewatch'

    s = Session(copy, 2, '2025-05-14T14:40:00')
    s.user(
        'The staging config still has warn_cm 520. Make it the same as in config/default.yaml, and change nothing else.'
    )
    s.grep('warn_cm', 'config', text="I'll compare the two files.")
    s.read('config/staging.yaml')
    s.edit('config/staging.yaml', 'warn_cm: 520', 'warn_cm: 510')
    s.say('config/staging.yaml now warns from 510 cm, as config/default.yaml does.')
    s.user('good. and in both files repeat_minutes should be 60')
    s.edit('config/staging.yaml', 'repeat_minutes: 45', 'repeat_minutes: 60')
    s.edit('config/default.yaml', 'repeat_minutes = 45', 'repeat_minutes = 60')
    s.read('config/default.yaml', text='The spelling was wrong; I look at the file.')
    s.edit('config/default.yaml', 'repeat_minutes: 45', 'repeat_minutes: 60')
    s.grep('repeat_minutes', '', text='Let me see where else it is written.')
    s.read('docs/configuration.md')
    s.edit('docs/configuration.md', '| alerts.repeat_minutes | 45 |', '| alerts.repeat_minutes | 60 |')
    s.say('Both files say 60, and so does docs/configuration.md, which had the old value.')
    yield s, ''

    s = Session(copy, 3, '2025-05-20T08:15:00', '2.0.22')
    s.user(
        'tidewatch forecast should take an option --tides N and print the next N high waters, one per line. Please also mention it in the README.'
    )
    tasks = ('Add --tides to the forecast command', 'Print one high water per line', 'Mention --tides in README.md')
    s.todos(*tasks, text='Three steps.')
    s.read('tidewatch/cli.py')
    s.read('tidewatch/forecast.py')
    s.edit(
        'tidewatch/cli.py',
        "    q.add_argument('last')\n",
        "    q.add_argument('last')\n    q.add_argument('--tides', type=int, default=1)\n",
    )
    s.todos(*tasks, done=1)
    s.edit(
        'tidewatch/cli.py',
        "    print(forecast.next_high(args.last))\n",
        "    for n in range(1, args.tides + 1):\n        print(forecast.next_high(args.last, n))\n",
    )
    s.todos(*tasks, done=2)
    s.bash('python -m tidewatch.cli forecast 2025-03-01T02:00 --tides 2', '', 'Try the new option')
    s.say('There is no output, because cli.py has no main guard when it is run as a module.')
    s.user("that's fine, don't add one. go on with the readme")
    s.read('README.md')
    s.edit(
        'README.md',
        '    tidewatch forecast 2025-03-01T02:00\n',
        '    tidewatch forecast 2025-03-01T02:00\n    tidewatch forecast 2025-03-01T02:00 --tides 4\n',
    )
    s.todos(*tasks, done=3)
    s.bash(
        'python -c "from tidewatch.cli import main; main([\'forecast\', \'2025-03-01T02:00\', \'--tides\', \'2\'])"',
        '2025-03-01T14:25\n2025-03-02T02:50',
        'Call main with the new option',
    )
    s.say('`--tides 2` prints two lines, and the README shows an example.')
    yield s, 'Several tides in the forecast'

    s = Session(copy, 4, '2025-05-27T16:05:00', '2.0.22')
    s.user('rename the function grade in alerts.py to severity, everywhere')
    s.grep('grade', text='First I look for every place.')
    s.read('tidewatch/alerts.py')
    s.edit('tidewatch/alerts.py', 'def grade(level_cm, settings):', 'def severity(level_cm, settings):')
    s.read('tests/test_alerts.py')
    s.edit('tests/test_alerts.py', 'grade', 'severity', every=True)
    s.bash(
        'python -m pytest -q',
        '.........                                                                [100%]\n9 passed in 0.04s',
        'Run all tests',
    )
    s.say('Renamed in alerts.py and its test; nine tests pass.')
    s.user('hm, the quay master calls it grade. undo that please')
    s.edit(
        'tidewatch/alerts.py',
        'def severity(level_cm, settings):',
        'def grade(level_cm, settings):',
        text='I take the name back.',
    )
    s.edit('tests/test_alerts.py', 'severity', 'grade', every=True)
    s.bash(
        'git status --short',
        ' M README.md\n M config/default.yaml\n M config/staging.yaml\n M docs/configuration.md\n M tests/test_units.py\n M tidewatch/cli.py\n M tidewatch/units.py',
        'See what differs from the last commit',
    )
    s.say('The function is called grade again; alerts.py and its test are as they were.')
    yield s, ''

    s = Session(copy, 5, '2025-06-03T10:20:00', '2.0.22')
    s.user(
        'In the vault note Harbour walk: step 4 should say that a battery below 60 % is changed at once. And link the note Contacts at its end.'
    )
    s.read('vault/Harbour walk.md')
    s.edit(
        'vault/Harbour walk.md',
        '4. Note the battery of the lock gauge.',
        '4. Note the battery of the lock gauge; below 60 % change it at once.',
    )
    s.edit(
        'vault/Harbour walk.md',
        '6. Listen to the gauge at the pier.\n',
        '6. Listen to the gauge at the pier.\n\nSee also: [[Contacts]]\n',
    )
    s.say('Step 4 names the limit, and the note ends with a link to Contacts.')
    s.user('Inbox: remove the line about the key of the pump house, it is in Contacts now')
    s.read('vault/Inbox.md')
    s.edit('vault/Inbox.md', '- who has the key of the pump house?\n', '')
    s.say('The line is gone.')
    s.user('which stations have a negative zero point?')
    s.grep('zero_cm', 'config')
    s.say('Only the pier: its zero point is -6 cm.')
    yield s, 'Harbour walk'


def _parcel_sessions(copy):
    s = Session(copy, 1, '2025-06-02T11:00:00')
    s.user(
        'store.get builds its SQL with %. Please use a parameter instead, and return None when the parcel is unknown.'
    )
    s.read('parcel_api/store.py')
    s.edit(
        'parcel_api/store.py',
        '''        row = self.db.execute("select id, state, updated from parcels where id = '%s'" % id).fetchone()
        return dict(zip(("id", "state", "updated"), row))
''',
        '''        row = self.db.execute("select id, state, updated from parcels where id = ?", (id,)).fetchone()
        return dict(zip(("id", "state", "updated"), row)) if row else None
''',
        text='The id becomes a parameter, and an unknown parcel gives None.',
    )
    s.grep('store.get', text='Who uses it?')
    s.say('routes.parcel would now answer 200 with "null" for an unknown parcel. Shall I make it a 404?')
    s.user('yes, 404 with the text "no such parcel"')
    s.read('parcel_api/routes.py')
    s.edit(
        'parcel_api/routes.py',
        '    found = store.get(id)\n    return 200, json.dumps(found)',
        '    found = store.get(id)\n    if found is None:\n        return 404, "no such parcel"\n    return 200, json.dumps(found)',
    )
    s.read('tests/test_routes.py')
    s.edit(
        'tests/test_routes.py',
        '''def test_unknown_route():''',
        '''def test_unknown_parcel():
    assert route(Store(":memory:"), "/parcels/x1") == (404, "no such parcel")


def test_unknown_route():''',
    )
    s.bash(
        'python -m pytest -q',
        '...                                                                      [100%]\n3 passed in 0.05s',
        'Run the tests',
    )
    s.say('Done: parameter in the query, None for an unknown parcel, and a 404 with a test.')
    yield s, 'SQL parameter in the store'

    s = Session(copy, 2, '2025-06-04T15:30:00')
    s.user('the limiter lets only 59 requests through per minute instead of 60. fix it')
    s.read('parcel_api/limits.py', text='I look at how requests are counted.')
    s.edit('parcel_api/limits.py', 'return len(recent) < MAX_PER_MINUTE', 'return len(recent) <= MAX_PER_MINUTE')
    s.bash(
        "python - <<'X'\nfrom parcel_api.limits import Limiter\nl = Limiter(lambda: 0)\nprint(sum(l.allowed('a') for _ in range(80)))\nX",
        '60',
        'Count the allowed requests',
    )
    s.say('The comparison was off by one: 60 requests pass now.')
    s.user('thanks. make the limit 120 while you are there')
    s.edit('parcel_api/limits.py', 'MAX_PER_MINUTE = 60', 'MAX_PER_MINUTE = 120')
    s.say('MAX_PER_MINUTE is 120.')
    s.user('deploy/service.yaml: memory to 384 and image to 1.4')
    s.read('deploy/service.yaml')
    s.edit('deploy/service.yaml', 'memory_mb: 256', 'memory_mb: 384')
    s.edit('deploy/service.yaml', 'image: parcel-api:1.3', 'image: parcel-api:1.4')
    s.say('Both values are set in deploy/service.yaml.')
    yield s, ''

    s = Session(copy, 3, '2025-06-10T09:45:00', '2.0.22')
    s.user('Add a state "returned" at the end of STATES, and a route GET /states that answers with the list as JSON.')
    s.read('parcel_api/routes.py')
    s.edit('parcel_api/routes.py', '"on_the_way", "delivered"]', '"on_the_way", "delivered", "returned"]')
    s.refused(
        'parcel_api/routes.py',
        'def health(store):\n    return 200, "ok"\n',
        'class StatesRoute:\n    """Answers with all states."""\n\n    def __call__(self, store):\n        return 200, json.dumps(STATES)\n\n\ndef health(store):\n    return 200, "ok"\n',
        text='Now the route, as a class that can be extended later.',
    )
    s.user('no class, a plain function like the others')
    s.edit(
        'parcel_api/routes.py',
        'def health(store):\n',
        'def states(store):\n    return 200, json.dumps(STATES)\n\n\ndef health(store):\n',
    )
    s.edit(
        'parcel_api/routes.py',
        '    if path == "/health":\n        return health(store)\n',
        '    if path == "/health":\n        return health(store)\n    if path == "/states":\n        return states(store)\n',
    )
    s.read('README.md')
    s.edit(
        'README.md',
        '| GET /health | ok |\n',
        '| GET /health | ok |\n| GET /states | all states of a parcel |\n',
        text='The table of routes in the README gets a row.',
    )
    s.bash(
        'python -m pytest -q',
        '...                                                                      [100%]\n3 passed in 0.05s',
        'Run the tests',
    )
    s.say('`/states` answers with the five states; it is a plain function, and the README lists it.')
    yield s, 'States of a parcel'

    s = Session(copy, 4, '2025-06-17T13:10:00', '2.0.22')
    s.user('write tests for the limiter: under the limit, over the limit, and after a minute')
    s.read('parcel_api/limits.py')
    s.write(
        'tests/test_limits.py',
        '''from parcel_api.limits import MAX_PER_MINUTE, Limiter


class Clock:
    now = 0

    def __call__(self):
        return self.now


def test_under_the_limit():
    limiter = Limiter(Clock())
    assert all(limiter.allowed("a") for _ in range(MAX_PER_MINUTE))


def test_over_the_limit():
    limiter = Limiter(Clock())
    for _ in range(MAX_PER_MINUTE):
        limiter.allowed("a")
    assert not limiter.allowed("a")


def test_after_a_minute():
    clock = Clock()
    limiter = Limiter(clock)
    for _ in range(MAX_PER_MINUTE + 1):
        limiter.allowed("a")
    clock.now = 59
    assert limiter.allowed("a")
''',
    )
    s.bash(
        'python -m pytest -q tests/test_limits.py',
        '',
        'Run the new tests',
        error='F..\nFAILED tests/test_limits.py::test_after_a_minute - assert False\n1 failed, 2 passed in 0.06s',
    )
    s.say('The last test moves the clock by 59 seconds only; the requests are still within the minute.')
    s.edit('tests/test_limits.py', '    clock.now = 59\n', '    clock.now = 60\n')
    s.bash(
        'python -m pytest -q tests/test_limits.py',
        '...                                                                      [100%]\n3 passed in 0.05s',
        'Run the new tests again',
    )
    s.say('All three pass.')
    s.user('now refactor the whole package to async')
    s.say("I'll begin with the store, since everything depends on it.")
    s.read('parcel_api/store.py')
    s.interrupt()
    s.user('stop, leave that for next week')
    s.say('Nothing was changed for it.')
    yield s, ''


def _orchard_sessions(copy):
    s = Session(copy, 1, '2025-09-21T19:20:00', '2.0.22')
    s.user(
        'New note "Young cherry", planted 2025 at the shed, tag tree, with an empty Log section. Link it in the index under Trees, after the plums.'
    )
    s.read('Index.md')
    s.read('Old pear.md', text='I look at how a note of a tree is built.')
    s.write(
        'Young cherry.md', '---\ntags: [tree]\nplanted: 2025\n---\n\n# Young cherry\n\nStands at the shed.\n\n## Log\n'
    )
    s.edit('Index.md', '- [[Row of plums]]\n', '- [[Row of plums]]\n- [[Young cherry]]\n')
    s.say('The note is there and linked.')
    s.user('Old pear: the harvest of 2025 was 14 kg, not 12. also in harvest.csv')
    s.edit('Old pear.md', '- 2025-09-20: 12 kg', '- 2025-09-20: 14 kg')
    s.read('harvest.csv')
    s.edit('harvest.csv', '2025-09-20,Old pear,12', '2025-09-20,Old pear,14')
    s.say('Both places say 14.')
    yield s, 'Young cherry'

    s = Session(copy, 2, '2025-10-04T18:00:00', '2.0.22')
    s.user('Pruning 2025: tick the plums, done on 3 October, and remove the remark about the saw')
    s.read('Pruning 2025.md')
    s.edit('Pruning 2025.md', '- [ ] Row of plums\n', '- [x] Row of plums, 3 October\n')
    s.edit('Pruning 2025.md', '\nThe saw is blunt.\n', '', text='And the remark.')
    s.read('Pruning 2025.md', text='It is worded differently; I read the note again.')
    s.edit('Pruning 2025.md', '\nThe long saw is blunt.\n', '')
    s.say('The plums are ticked, the remark is gone.')
    s.user('how many kilos did we harvest in 2025?')
    s.bash("awk -F, '/^2025/ {s += $3} END {print s}' harvest.csv", '80', 'Sum the harvest of 2025')
    s.say('80 kg.')
    s.user('write that into the index, as a last section "Harvest" with one line per year')
    s.bash("awk -F, '/^2024/ {s += $3} END {print s}' harvest.csv", '41', 'Sum the harvest of 2024')
    s.edit('Index.md', '- [[Pruning 2025]]\n', '- [[Pruning 2025]]\n\n## Harvest\n\n- 2024: 41 kg\n- 2025: 80 kg\n')
    s.say('The index ends with the harvest of both years.')
    yield s, ''

    s = Session(copy, 3, '2025-11-15T10:30:00', '2.0.22')
    s.user('clean up the notes a bit')
    s.say('What should I look at? The notes have frontmatter, links and logs; I would rather not guess.')
    s.user('rename the tag work to task in all notes, and add the tag fruit to every note of a tree, after tree')
    plan = ('Rename the tag work', 'Add the tag fruit to the trees')
    s.todos(*plan)
    s.grep('tags:')
    s.read('Pruning 2025.md')
    s.edit('Pruning 2025.md', 'tags: [work]', 'tags: [task]')
    s.todos(*plan, done=1)
    for path in ('Old pear.md', 'Row of plums.md', 'Young cherry.md'):
        s.read(path)
        s.edit(path, 'tags: [tree]', 'tags: [tree, fruit]')
    s.todos(*plan, done=2)
    s.grep('tags:', text='A last look at all tags.')
    s.say('One note has the tag task, and the three trees are tagged tree and fruit.')
    yield s, 'Tags'

    s = Session(copy, 4, '2025-12-02T20:10:00', '2.0.31')
    s.user(
        'Row of plums: the third tree was felled on 1 December, so there are six trees now. Put it into the log as well.'
    )
    s.read('Row of plums.md')
    s.edit('Row of plums.md', 'Seven trees along the ditch. The third one leans.', 'Six trees along the ditch.')
    s.edit('Row of plums.md', '- 2025-08-11: 66 kg\n', '- 2025-08-11: 66 kg\n- 2025-12-01: third tree felled\n')
    s.say('The note says six trees, and the log has the day.')
    s.user('hmm no, keep the sentence about leaning, it is about the tree that is now the third')
    s.edit('Row of plums.md', 'Six trees along the ditch.', 'Six trees along the ditch. The third one leans.')
    s.say('The sentence is back.')
    s.user(
        'Make a note "Pruning 2026" like the one of 2025 with the same three points, none of them ticked, and link it in the index'
    )
    s.read('Pruning 2025.md')
    s.write(
        'Pruning 2026.md',
        '---\ntags: [task]\n---\n\n# Pruning 2026\n\n- [ ] Old pear\n- [ ] Row of plums\n- [ ] hedge at the ditch\n',
    )
    s.read('Index.md')
    s.edit('Index.md', '- [[Pruning 2025]]\n', '- [[Pruning 2025]]\n- [[Pruning 2026]]\n')
    s.say('Pruning 2026 has three open points and is linked.')
    yield s, ''


def session_files() -> dict:  # path below the folder -> text
    "All sessions."
    out = {}
    copies = [
        (Copy('tidewatch', tidewatch().files), _tidewatch_sessions),
        (Copy('parcel-api', PARCEL), _parcel_sessions),
        (Copy('orchard-notes', ORCHARD), _orchard_sessions),
    ]
    for copy, sessions in copies:
        for s, summary in sessions(copy):
            out[f'{copy.folder}/{s.id}.jsonl'] = s.text(summary)
    return out


def write_sessions(folder) -> int:  # number of sessions
    "Write the sessions below `folder`."
    found = session_files()
    for name, text in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    return len(found)
