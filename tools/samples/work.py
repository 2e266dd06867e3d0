"""Eight kinds of work for the jobs of the sample trail, each drawn from a seed. All names and texts are invented."""

# ruff: noqa: E501   (contents of files and messages stand here as they are written)

import random

from .agent import Desk, Work

SERVICES = 'gateway ledger mailer indexer scheduler archiver notifier importer'.split()
TEAMS = 'harbor meadow granite lantern'.split()
PEOPLE = 'Ines Falk, Tomas Wirth, Leila Haddad, Jonas Reuter, Mirja Salo, Pavel Dusek'.split(', ')
PLACES = 'north depot, river yard, hall four, pier seven, hill store, mill lane'.split(', ')
THINGS = 'pump, conveyor, gate motor, cold room, loading ramp, sorter, lift, compressor'.split(', ')
REMARKS = [
    'The {thing} at the {place} ran without interruption, and nobody reported noise or heat.',
    '{person} asked whether the spare part for the {thing} could be kept on site instead of in the central store.',
    'The door beside the {thing} was found open twice; the key is now kept with the shift lead.',
    'Cleaning took longer than planned because the {place} had no running water before nine.',
    'The log of the {thing} was complete, apart from one night on which the printer had no paper.',
    '{person} repeated the measurement at the {place} and came to the same value.',
    'Two lamps near the {thing} were replaced; a third one is on order.',
    'The floor at the {place} was dry, and the drain that overflowed last month was free.',
    'Nothing was moved. The {thing} stays where it is until the crane has been approved.',
    'The crew of the {place} would like a second set of gloves in the large size.',
    'A visitor was shown around the {place}; the {thing} was switched off during that time.',
    '{person} will be away next week, so questions about the {thing} go to the shift lead.',
]
TOPICS = 'seed storage, frost watch, bee boxes, pruning plan, water ledger, tool shed, compost, market stall'.split(
    ', '
)


def _remarks(r, n) -> list:
    "`n` sentences that hold no fact anybody asks for."
    kinds = r.sample(REMARKS, min(n, len(REMARKS))) + [r.choice(REMARKS) for _ in range(max(0, n - len(REMARKS)))]
    return [x.format(thing=r.choice(THINGS), place=r.choice(PLACES), person=r.choice(PEOPLE)) for x in kinds]


def _order(title, body, rules, outputs) -> str:
    lists = [
        f'## Rules\n{"".join(f"- {x}{chr(10)}" for x in rules)}',
        f'## Required output files\n{"".join(f"- {x}{chr(10)}" for x in outputs)}',
    ]
    return f'# {title}\n\n{body}\n\n' + '\n'.join(lists)


# --- configuration ------------------------------------------------------------------------------------------------


def _service_yaml(r, name, port, old) -> str:
    return f'''# settings of the {name} service
service: {name}
owner: team-{r.choice(TEAMS)}
replicas: {r.randint(2, 6)}

http:
  host: 0.0.0.0
  port: {port}
  request_timeout_s: {old['request_timeout_s']}
  max_body_kb: {r.choice([256, 512, 1024])}
  keep_alive: true

queue:
  name: {name}-events
  prefetch: {r.randint(8, 40)}
  retry_limit: {old['retry_limit']}
  retry_wait_ms: {r.choice([200, 400, 800])}
  dead_letter: {name}-dead

cache:
  kind: memory
  entries: {r.randint(2, 9) * 500}
  ttl_s: {old['ttl_s']}

log:
  level: info
  format: json
  rotate_mb: {r.choice([20, 50, 100])}
  keep_files: {r.randint(3, 9)}

health:
  path: /health
  every_s: {r.choice([5, 10, 15])}
  fail_after: 3
'''


def config_rollout(seed: int) -> Work:
    "Two settings change in several services, and in the page that documents them."
    r = random.Random(f'config_rollout/{seed}')
    names = r.sample(SERVICES, 3 if seed % 2 else 4)
    first, second = r.sample(['request_timeout_s', 'retry_limit', 'ttl_s'], 2)
    old = dict(request_timeout_s=r.choice([20, 25, 35]), retry_limit=r.choice([2, 4]), ttl_s=r.choice([90, 150]))
    new = dict(request_timeout_s=r.choice([45, 60]), retry_limit=r.choice([6, 7]), ttl_s=r.choice([240, 420]))
    files = {f'config/{n}.yaml': _service_yaml(r, n, 8100 + k, old) for k, n in enumerate(names)}
    rows = ''.join(
        f'| {k} | {v} | {about} |\n'
        for k, v, about in [
            ('request_timeout_s', old['request_timeout_s'], 'seconds until a request is given up'),
            ('retry_limit', old['retry_limit'], 'attempts before a message goes to the dead letters'),
            ('ttl_s', old['ttl_s'], 'seconds that a cached answer is used'),
        ]
    )
    files['docs/settings.md'] = (
        f'# Settings\n\nAll services read `config/NAME.yaml` at their start. A change needs a restart.\n\n'
        f'| setting | value | meaning |\n|---|---|---|\n{rows}\n## Ports\n\n'
        + ''.join(f'- {n}: {8100 + k}\n' for k, n in enumerate(names))
        + '\n## Who may change what\n\n'
        + ''.join(f'{x}\n\n' for x in _remarks(r, 4))
    )
    desk = Desk(files)
    reason = r.choice(
        [
            'Requests to the new storage take longer.',
            'The broker was moved to a slower line.',
            'The last incident showed that the old values were too tight.',
        ]
    )
    for k, n in enumerate(names):
        path = f'config/{n}.yaml'
        desk.read(path, reasoning=f'The current values of {n} before I change them.' if k == 0 else '')
        for key in (first, second):
            desk.edit(path, f'{key}: {old[key]}', f'{key}: {new[key]}')
        desk.todo(
            r.choice(
                [
                    f'Set {first} to {new[first]} and {second} to {new[second]} in {path}',
                    f'{path}: {first} becomes {new[first]}, {second} becomes {new[second]}',
                ]
            )
        )
    desk.read('docs/settings.md')
    for key in (first, second):
        desk.edit('docs/settings.md', f'| {key} | {old[key]} |', f'| {key} | {new[key]} |')
    desk.todo(
        r.choice(
            [
                f'Bring the table in docs/settings.md to the new values of {first} and {second}',
                f'docs/settings.md: the rows of {first} and {second} show the new values',
                f'Update the rows {first} and {second} of the table in docs/settings.md',
            ]
        )
    )
    desk.call(
        'search_files', query=f'{first}: {old[first]}', path='config', reasoning='No file may keep the old value.'
    )
    listed = ''.join(
        f'| config/{n}.yaml | {first} {old[first]} to {new[first]}, {second} {old[second]} to {new[second]} |\n'
        for n in names
    )
    desk.write(
        'output/change_note.md',
        f'# Change note\n\n{reason} Two settings were raised in {len(names)} services.\n\n'
        f'| file | change |\n|---|---|\n{listed}| docs/settings.md | table brought up to date |\n\n'
        f'Nothing else was changed. Restart: {", ".join(names)}.\n',
    )
    desk.todo(
        r.choice(
            [
                f'Check that no config file keeps the old {first}, and write output/change_note.md',
                f'Search config/ for {first}: {old[first]}, then report all changes in output/change_note.md',
            ]
        )
    )
    title = f'Raise {first} and {second} in {len(names)} services'
    body = (
        f'{reason} Set `{first}` to {new[first]} and `{second}` to {new[second]} in '
        + ', '.join(f'`config/{n}.yaml`' for n in names)
        + r.choice(
            [
                '. The table in `docs/settings.md` has to show the same values. Write a short note about the change.',
                '. People look the values up in `docs/settings.md`, so bring its table in line, and leave a note of what you changed.',
            ]
        )
    )
    rules = ['No other setting changes', 'Comments and the order of keys stay', 'The note names every changed file']
    outputs = [*(f'config/{n}.yaml' for n in names), 'docs/settings.md', 'output/change_note.md']
    return Work(
        'config_rollout',
        title,
        _order(title, body, rules, outputs),
        desk,
        [f'config/{names[0]}.yaml'],
        rules,
        [f'{first}: {old[first]} -> {new[first]}', f'{second}: {old[second]} -> {new[second]}'],
        'One todo per service, because a mistake in one is then easy to take back.',
        outputs,
        f'Raised {first} and {second} in {len(names)} services and the settings page, and wrote a note.',
    )


# --- facts out of documents ---------------------------------------------------------------------------------------


def facts_report(seed: int) -> Work:
    "Facts that stand scattered in visit logs become a table with sources."
    r = random.Random(f'facts_report/{seed}')
    places, people = r.sample(PLACES, 3), r.sample(PEOPLE, 3)
    files, facts = {}, []
    for k, (place, person) in enumerate(zip(places, people), 1):
        pressure, hours, day = (
            r.randint(31, 69) / 10,
            r.randint(1100, 9800),
            f'2026-0{r.randint(2, 6)}-{r.randint(10, 27)}',
        )
        path, lines = f'documents/visit_{k}.md', _remarks(r, 13)
        where = r.randint(2, 6)
        lines[where] += f' The pressure at the main valve was {pressure} bar.'
        lines[where + 4] = f'The counter stood at {hours} hours when {person} left the {place}. ' + lines[where + 4]
        head = f'# Visit {k}: {place}\n\nVisitor: {person}\nDate: {day}\n\n'
        files[path] = head + '\n\n'.join([*lines[:6], '## Afternoon', *lines[6:]]) + '\n'
        facts.append((path, place, person, day, pressure, hours))
    desk = Desk(files)
    for k, (path, place, person, day, pressure, hours) in enumerate(facts):
        desk.read(path)
        line = f'- {place}: {pressure} bar, {hours} h, {person}, {day} ({path})\n'
        if k == 0:
            desk.write(
                'notes/facts.md',
                f'# Facts\n\n{line}',
                reasoning='A file for the facts, so that they outlive the context.',
            )
        else:
            desk.append('notes/facts.md', line)
        desk.todo(
            r.choice(
                [
                    f'Take pressure, hours, visitor and date out of {path} into notes/facts.md',
                    f'Read {path} and note its four facts in notes/facts.md',
                ]
            )
        )
    rows = ''.join(
        f'| {place} | {pressure} bar | {hours} h | {person} | {day} | {path} |\n'
        for path, place, person, day, pressure, hours in facts
    )
    low = min(facts, key=lambda f: f[4])
    desk.read('notes/facts.md')
    desk.write(
        'output/report.md',
        '# Visits\n\n| place | pressure | hours | visitor | date | source |\n|---|---|---|---|---|---|\n'
        + rows
        + f'\nThe lowest pressure was measured at the {low[1]}: {low[4]} bar.\n',
    )
    desk.todo(
        r.choice(
            [
                'Write output/report.md with one row per visit and the source of each',
                'output/report.md: a table of the three visits, each row with its source',
                'Turn notes/facts.md into the table of output/report.md, sources included',
            ]
        )
    )
    highest = max(facts, key=lambda f: f[5])
    desk.append('output/report.md', f'The most hours were counted at the {highest[1]}: {highest[5]}.\n')
    desk.todo(
        r.choice(
            [
                'Add the place with the most hours at the end of output/report.md',
                'output/report.md: a last sentence names the place with the most hours',
            ]
        )
    )
    split = 0
    if seed:
        split = 5
        for path, place, *_, hours in facts:
            desk.call(
                'search_files',
                query=str(hours),
                path=path,
                reasoning='The number has to stand in the source.' if path.endswith('_1.md') else '',
            )
            desk.todo(
                r.choice(
                    [
                        f'Check in {path} that the hours of the {place} are right',
                        f'Find the hours of the {place} in {path} once more',
                    ]
                )
            )
        total = sum(f[5] for f in facts)
        desk.write(
            'output/summary.md',
            f'# Summary\n\nThree places were visited. Together they ran {total} hours. '
            f'Attention is needed at the {low[1]}, where only {low[4]} bar were measured ({low[0]}).\n',
        )
        desk.todo('Write output/summary.md: three sentences, the total of hours, and where attention is needed')
        desk.read('output/report.md', 'output/summary.md')
        desk.todo('Compare output/summary.md with output/report.md')
    title = f'Report on the visits to {places[0]}, {places[1]} and {places[2]}'
    body = (
        'Three visit logs lie in `documents/`. For each visit find the pressure at the main valve, the hours on the counter, '
        'the visitor and the date, and put them into one table with the file they come from.'
    )
    outputs = ['output/report.md'] + (['output/summary.md'] if split else [])
    rules = ['Every number names its file', 'Values are copied, never rounded', 'The logs stay as they are']
    return Work(
        'facts_report',
        title,
        _order(title, body, rules, outputs),
        desk,
        [],
        rules,
        [f'{p}: {x[1]}' for p, x in zip(files, facts)],
        'Facts go to notes/facts.md first, the table is made from there.',
        outputs,
        'Collected the facts of three visits into a table with sources.',
        split,
    )


# --- tables -------------------------------------------------------------------------------------------------------


def csv_repair(seed: int) -> Work:
    "Wrong cells of two tables are put right, each by the smallest change."
    r = random.Random(f'csv_repair/{seed}')
    goods = 'oats rye barley lentils beans flax millet peas hops malt'.split()
    rows = []
    for k in range(34):
        units, price = r.randint(3, 60), r.randint(12, 95)
        rows.append(
            [
                f'A{1000 + 7 * k + seed}',
                f'2026-{1 + k // 12:02d}-{1 + k % 27:02d}',
                r.choice(goods),
                units,
                price,
                units * price,
            ]
        )
    bad = sorted(r.sample(range(2, 33), 4))
    right = {k: list(rows[k]) for k in bad}
    rows[bad[0]][1] = '/'.join(reversed(rows[bad[0]][1].split('-')))
    rows[bad[1]][5] += r.choice([10, 90, 100])
    rows[bad[2]][2] = rows[bad[2]][2].upper() + ' '
    rows[bad[3]][3] = f'{rows[bad[3]][3]} kg'

    def line(row):
        return ','.join(map(str, row))

    files = {'data/orders.csv': 'order,date,item,units,price,total\n' + '\n'.join(map(line, rows)) + '\n'}
    names = {g: g.title() for g in goods}
    missing = r.choice(goods)
    files['data/items.csv'] = 'item,label,unit\n' + ''.join(f'{g},{names[g]},kg\n' for g in goods if g != missing)
    files['docs/tables.md'] = (
        '# Tables\n\n`orders.csv` has one order per line: id, date (YYYY-MM-DD), item in small letters, units as a '
        'whole number, price, total.\n\nThe total is units times price.\n\n`items.csv` has every item that is ordered: '
        'name, label, unit (always kg).\n\n' + ''.join(f'{x}\n\n' for x in _remarks(r, 5))
    )
    desk = Desk(files)
    desk.read('docs/tables.md', 'data/orders.csv', reasoning='The rules of the table beside the table itself.')
    desk.edit('data/orders.csv', line(rows[bad[0]]), line(right[bad[0]]))
    desk.todo(
        r.choice(
            [
                f'data/orders.csv: write the date of order {rows[bad[0]][0]} as YYYY-MM-DD',
                f'Order {rows[bad[0]][0]} in data/orders.csv: put the date into the form YYYY-MM-DD',
            ]
        )
    )
    desk.edit('data/orders.csv', line(rows[bad[1]]), line(right[bad[1]]))
    desk.todo(
        r.choice(
            [
                f'data/orders.csv: the total of order {rows[bad[1]][0]} has to be units times price',
                f'Correct the total of order {rows[bad[1]][0]} in data/orders.csv',
            ]
        )
    )
    desk.edit('data/orders.csv', line(rows[bad[2]]), line(right[bad[2]]))
    desk.todo(
        r.choice(
            [
                f'data/orders.csv: the item of order {rows[bad[2]][0]} in small letters, without blanks',
                f'Write the item of order {rows[bad[2]][0]} in small letters (data/orders.csv)',
            ]
        )
    )
    desk.edit('data/orders.csv', line(rows[bad[3]]), line(right[bad[3]]))
    desk.todo(
        r.choice(
            [
                f'data/orders.csv: the units of order {rows[bad[3]][0]} as a whole number',
                f'Take the letters out of the units of order {rows[bad[3]][0]}, data/orders.csv',
            ]
        )
    )
    desk.read('data/items.csv')
    desk.append('data/items.csv', f'{missing},{names[missing]},kg\n')
    desk.todo(
        r.choice(
            [f'data/items.csv: add the item that is missing, {missing}', f'Add {missing} at the end of data/items.csv']
        )
    )
    notes = [
        f'| {right[bad[0]][0]} | date | {rows[bad[0]][1]} | {right[bad[0]][1]} |',
        f'| {right[bad[1]][0]} | total | {rows[bad[1]][5]} | {right[bad[1]][5]} |',
        f'| {right[bad[2]][0]} | item | {rows[bad[2]][2].strip()} | {right[bad[2]][2]} |',
        f'| {right[bad[3]][0]} | units | {rows[bad[3]][3]} | {right[bad[3]][3]} |',
    ]
    desk.write(
        'output/corrections.md',
        '# Corrections\n\n| order | column | was | is |\n|---|---|---|---|\n'
        + '\n'.join(notes)
        + f'\n\nAdded to data/items.csv: {missing}.\n',
    )
    desk.todo(
        r.choice(
            [
                'Write output/corrections.md with one row per changed cell',
                'output/corrections.md: list what was changed, cell by cell',
            ]
        )
    )
    title = 'Repair the tables of orders and items'
    ids = ', '.join(right[k][0] for k in bad)
    body = (
        f'Four rows of `data/orders.csv` break the rules of `docs/tables.md`: the orders {ids}. Put each of them right. '
        f'One item that is ordered is missing in `data/items.csv`: `{missing}`. List every change.'
    )
    rules = ['Only the wrong cells change', 'The order of the rows stays', 'Rules of the tables: docs/tables.md']
    outputs = ['data/orders.csv', 'data/items.csv', 'output/corrections.md']
    return Work(
        'csv_repair',
        title,
        _order(title, body, rules, outputs),
        desk,
        ['data/orders.csv'],
        rules,
        [f'Orders to repair: {ids}', f'Missing item: {missing}'],
        'Every cell is an edit of its own line; the table is never written anew.',
        outputs,
        'Repaired four orders, added the missing item, and listed the corrections.',
    )


# --- releases -----------------------------------------------------------------------------------------------------

ADDED = [
    'A `--quiet` option for {a}',
    'Progress is shown while {a} runs',
    'The {a} page can be printed',
    'A summary at the end of {a}',
    'A dark palette for {a}',
    '{a} reads compressed files',
]
FIXED = [
    '{a} no longer stops at an empty line',
    'Dates in {a} keep their time zone',
    'Totals of {a} are rounded once',
    '{a} closes its files after an error',
    'Two tabs of {a} no longer overwrite each other',
]
AREAS = 'import, export, search, billing, the report, sync, the calendar, the archive'.split(', ')


def changelog_release(seed: int) -> Work:
    "What was merged becomes an entry of the changelog, and the version changes everywhere."
    r = random.Random(f'changelog_release/{seed}')
    major, minor = r.randint(1, 3), r.randint(3, 9)
    old, new = f'{major}.{minor}.0', f'{major}.{minor + 1}.0'
    name = r.choice('packhorse kettle rookery sandglass'.split())
    added = [x.format(a=a) for x, a in zip(r.sample(ADDED, 3), r.sample(AREAS, 3))]
    fixed = [x.format(a=a) for x, a in zip(r.sample(FIXED, 2), r.sample(AREAS, 2))]
    added, fixed = [x[0].upper() + x[1:] for x in added], [x[0].upper() + x[1:] for x in fixed]
    merged = (
        [f'add: {x}' for x in added] + [f'fix: {x}' for x in fixed] + ['chore: pin the linter', 'chore: sort imports']
    )
    r.shuffle(merged)
    earlier = ''
    for k in range(5):
        lines = [x.format(a=a) for x, a in zip(r.sample(ADDED, 3), r.sample(AREAS, 3))]
        earlier += (
            f'## {major}.{minor - k}.0 (2026-0{6 - k}-1{k})\n\n### Added\n'
            + ''.join(f'- {x[0].upper() + x[1:]}\n' for x in lines)
            + '\n'
        )
    files = {
        'CHANGELOG.md': f'# Changelog\n\nNewest first. Entries are written for users.\n\n## Unreleased\n\n{earlier}',
        'merged.txt': ''.join(f'{r.randrange(16**7):07x} {x}\n' for x in merged),
        'pyproject.toml': f'[project]\nname = "{name}"\nversion = "{old}"\nrequires-python = ">=3.10"\ndependencies = [\n    "click>=8.1",\n    "rich>=13.0",\n]\n\n[tool.ruff]\nline-length = 100\n',
        f'{name}/__init__.py': f'"""{name}: small tools for tidy tables."""\n\n__version__ = "{old}"\n\n__all__ = ["__version__"]\n',
        'docs/install.md': f'# Installing {name}\n\n    pip install {name}=={old}\n\n'
        + ''.join(f'{x}\n\n' for x in _remarks(r, 4))
        + f'## Checking\n\n    {name} --version\n\nThis should print `{old}`.\n',
    }
    desk = Desk(files)
    day = f'2026-07-{r.randint(10, 28)}'
    desk.read('merged.txt', 'CHANGELOG.md')
    entry = (
        f'## Unreleased\n\n## {new} ({day})\n\n### Added\n'
        + ''.join(f'- {x}\n' for x in added)
        + '\n### Fixed\n'
        + ''.join(f'- {x}\n' for x in fixed)
    )
    desk.edit('CHANGELOG.md', '## Unreleased\n', entry, reasoning='Chores are not for users, so they stay out.')
    desk.todo(
        r.choice(
            [
                f'CHANGELOG.md: entry for {new} with what merged.txt adds and fixes, without chores',
                f'Write the section {new} of CHANGELOG.md from merged.txt, chores left out',
                f'Add {new} below Unreleased in CHANGELOG.md: three additions, two fixes',
            ]
        )
    )
    desk.read('pyproject.toml')
    desk.edit('pyproject.toml', f'version = "{old}"', f'version = "{new}"')
    desk.todo(r.choice([f'Set the version in pyproject.toml to {new}', f'pyproject.toml: version {new}']))
    desk.read(f'{name}/__init__.py')
    desk.edit(f'{name}/__init__.py', f'__version__ = "{old}"', f'__version__ = "{new}"')
    desk.todo(
        r.choice([f'Set __version__ in {name}/__init__.py to {new}', f'{name}/__init__.py: __version__ becomes {new}'])
    )
    desk.read('docs/install.md')
    desk.edit('docs/install.md', f'{name}=={old}', f'{name}=={new}')
    desk.edit('docs/install.md', f'print `{old}`', f'print `{new}`')
    desk.todo(
        r.choice(
            [
                f'docs/install.md: both places with the version show {new}',
                f'Replace {old} by {new} in docs/install.md, in the command and in its answer',
            ]
        )
    )
    desk.call('search_files', query=old)
    desk.write(
        'output/announcement.md',
        f'# {name} {new}\n\nReleased on {day}. New: {added[0].lower()}; {added[1].lower()}; {added[2].lower()}. '
        f'Fixed: {fixed[0].lower()}; {fixed[1].lower()}.\n\n    pip install {name}=={new}\n',
    )
    desk.todo(
        r.choice(
            [
                f'Look for places that still say {old}, and write output/announcement.md',
                f'Search for {old}; write the announcement of {new} into output/announcement.md',
            ]
        )
    )
    title = f'Prepare release {new} of {name}'
    body = (
        f'`merged.txt` lists what was merged since {old}. Write the entry of {new}, dated {day}, into `CHANGELOG.md` below Unreleased: '
        'a list of additions and one of fixes, in the order of the lists there, chores left out. Set the new version in `pyproject.toml`, '
        f'`{name}/__init__.py` and `docs/install.md`, and write a short announcement.'
    )
    rules = ['Earlier entries stay as they are', 'Unreleased stays, and stays empty', f'The date is {day}']
    outputs = ['CHANGELOG.md', 'pyproject.toml', f'{name}/__init__.py', 'docs/install.md', 'output/announcement.md']
    return Work(
        'changelog_release',
        title,
        _order(title, body, rules, outputs),
        desk,
        ['merged.txt'],
        rules,
        [f'Version {old} -> {new}', f'Date {day}'],
        'The changelog comes first: the announcement is made from it.',
        outputs,
        f'Prepared {new}: changelog, version in three files, announcement.',
    )


# --- renaming -----------------------------------------------------------------------------------------------------


def term_rename(seed: int) -> Work:
    "A function gets another name in all modules, and in the docs."
    r = random.Random(f'term_rename/{seed}')
    old, new = r.choice(
        [
            ('calc_rate', 'daily_rate'),
            ('load_rows', 'read_rows'),
            ('mk_label', 'make_label'),
            ('get_total', 'sum_total'),
        ]
    )
    package, subject = r.choice([('tollbooth', 'fees'), ('granary', 'loads'), ('ferry', 'tickets')])
    core = f'''"""{subject.title()} of the {package}."""

from dataclasses import dataclass


@dataclass
class Entry:
    day: str
    amount: int
    weight: float = 1.0


def {old}(entries, factor=1.0):
    """Weighted amount of all entries, times `factor`."""
    if not entries:
        return 0.0
    whole = sum(e.amount * e.weight for e in entries)
    return round(whole * factor, 2)


def by_day(entries):
    """Entries grouped by day, in the order of the days."""
    days = {{}}
    for e in sorted(entries, key=lambda e: e.day):
        days.setdefault(e.day, []).append(e)
    return days
'''
    report = f'''"""A report on {subject}."""

from {package}.core import by_day, {old}


def table(entries, width={r.randint(30, 50)}):
    """One line per day."""
    lines = []
    for day, group in by_day(entries).items():
        value = {old}(group)
        lines.append(f"{{day}}{{value:>{{width - len(day)}}}}")
    return "\\n".join(lines)


def heading(text):
    """A heading with a line below it."""
    return text + "\\n" + "-" * len(text)
'''
    cli = f'''"""Command line of the {package}."""

import argparse
import csv

from {package} import core


def read(path):
    with open(path, newline="") as f:
        return [core.Entry(r["day"], int(r["amount"])) for r in csv.DictReader(f)]


def main(argv=None):
    p = argparse.ArgumentParser(prog="{package}")
    p.add_argument("path")
    p.add_argument("--factor", type=float, default={r.choice(['1.0', '0.5', '2.0'])})
    args = p.parse_args(argv)
    print(core.{old}(read(args.path), args.factor))


if __name__ == "__main__":
    main()
'''
    test = f'''from {package}.core import Entry, {old}


def test_empty():
    assert {old}([]) == 0.0


def test_weight():
    assert {old}([Entry("2026-01-01", 10, 0.5)]) == 5.0


def test_factor():
    assert {old}([Entry("2026-01-01", 10)], factor=2) == 20.0
'''
    docs = (
        f'# Working with {subject}\n\n'
        + ''.join(f'{x}\n\n' for x in _remarks(r, 6))
        + f'The amount of a day comes from `{old}(entries)`. It takes a list of '
        f'entries and gives a number.\n\n## Example\n\n    from {package}.core import Entry\n    print("{subject}")\n'
    )
    files = {
        f'{package}/core.py': core,
        f'{package}/report.py': report,
        f'{package}/cli.py': cli,
        'tests/test_core.py': test,
        'docs/guide.md': docs,
    }
    desk = Desk(files)
    desk.read(f'{package}/core.py')
    desk.edit(f'{package}/core.py', f'def {old}(', f'def {new}(')
    desk.todo(
        r.choice(
            [
                f'Rename the function {old} to {new} where it is defined, {package}/core.py',
                f'{package}/core.py: the definition of {old} gets the name {new}',
            ]
        )
    )
    desk.read(f'{package}/report.py')
    desk.edit(f'{package}/report.py', f'import by_day, {old}', f'import by_day, {new}')
    desk.edit(f'{package}/report.py', f'value = {old}(group)', f'value = {new}(group)')
    desk.todo(
        r.choice(
            [
                f'{package}/report.py: import and call {new} instead of {old}',
                f'Use {new} in {package}/report.py, in the import and in table()',
            ]
        )
    )
    desk.read(f'{package}/cli.py')
    desk.edit(f'{package}/cli.py', f'core.{old}(read', f'core.{new}(read')
    desk.todo(r.choice([f'{package}/cli.py: call core.{new}', f'Call core.{new} in main() of {package}/cli.py']))
    desk.read('tests/test_core.py')
    for before, after in [
        (f'import Entry, {old}', f'import Entry, {new}'),
        (f'{old}([])', f'{new}([])'),
        (f'{old}([Entry("2026-01-01", 10, 0.5)])', f'{new}([Entry("2026-01-01", 10, 0.5)])'),
        (f'{old}([Entry("2026-01-01", 10)], factor', f'{new}([Entry("2026-01-01", 10)], factor'),
    ]:
        desk.edit('tests/test_core.py', before, after)
    desk.todo(
        r.choice(
            [
                f'tests/test_core.py: the import and the three tests use {new}',
                f'Rename {old} in tests/test_core.py, four places',
            ]
        )
    )
    desk.read('docs/guide.md')
    desk.edit('docs/guide.md', f'`{old}(entries)`', f'`{new}(entries)`')
    desk.todo(r.choice([f'docs/guide.md: name the function {new}', f'Write {new} instead of {old} in docs/guide.md']))
    desk.call(
        'search_files', query=old, case_sensitive=True, reasoning='Only the order itself may still have the old name.'
    )
    desk.write(
        'output/rename.md',
        f'# Renamed: {old} to {new}\n\n'
        + ''.join(f'- {p}: {n} place{"s" * (n > 1)}\n' for p, n in zip(files, (1, 2, 1, 4, 1))),
    )
    desk.todo(
        r.choice(
            [
                f'Search for {old}, and list the changed files in output/rename.md',
                f'Look whether {old} is left anywhere; output/rename.md lists files and places',
            ]
        )
    )
    title = f'Rename {old} to {new} in {package}'
    body = (
        f'The function `{old}` in `{package}/core.py` gets the name `{new}`. Its callers in `{package}/report.py` and `{package}/cli.py`, the tests and '
        '`docs/guide.md` follow. List the files with the number of places.'
    )
    rules = ['What the code does stays the same', 'No other name changes', 'No alias for the old name']
    outputs = [*files, 'output/rename.md']
    return Work(
        'term_rename',
        title,
        _order(title, body, rules, outputs),
        desk,
        [f'{package}/core.py'],
        rules,
        [f'{old} -> {new}', '9 places in 5 files'],
        'The definition first, then the callers: a search at the end shows what was forgotten.',
        outputs,
        f'Renamed {old} to {new} in five files.',
    )


# --- a vault of notes ---------------------------------------------------------------------------------------------


def vault_notes(seed: int) -> Work:
    "An inbox note is split into small notes that are linked from the index."
    r = random.Random(f'vault_notes/{seed}')
    topics = r.sample(TOPICS, 3)
    day = f'2026-0{r.randint(3, 8)}-{r.randint(10, 28)}'
    facts = {
        t: [
            f'{r.choice(PEOPLE)} looks after it until the end of the month.',
            f'It costs {r.randint(20, 180)} euros a season.',
            f'The next look is on {r.choice(["Monday", "Thursday", "Saturday"])} at {r.randint(7, 11)}:{r.choice(["00", "15", "30"])}.',
        ]
        for t in topics
    }
    others = [t for t in TOPICS if t not in topics]
    index = (
        '---\ntags: [index]\nupdated: 2026-01-05\n---\n\n# Garden\n\nThe way into the notes of the garden.\n\n## Topics\n\n'
        + ''.join(f'- [[{t}]]\n' for t in others)
        + '\n## Habits\n\n'
        + ''.join(f'- {x}\n' for x in _remarks(r, 4))
    )
    inbox = '---\ntags: [inbox]\n---\n\n# Inbox\n\n' + '\n'.join(
        f'## {t}\n\n' + '\n'.join([facts[t][0], _remarks(r, 1)[0], facts[t][1], _remarks(r, 1)[0], facts[t][2]]) + '\n'
        for t in topics
    )
    files = {'vault/Garden.md': index, 'vault/Inbox.md': inbox}
    for t in others[:3]:
        files[f'vault/{t}.md'] = (
            f'---\ntags: [garden]\ncreated: 2026-01-0{r.randint(1, 9)}\n---\n\n# {t.capitalize()}\n\n'
            + '\n'.join(_remarks(r, 4))
            + '\n\nBack: [[Garden]]\n'
        )
    desk = Desk(files)
    desk.read('vault/Inbox.md', 'vault/Garden.md')
    for k, t in enumerate(topics):
        body = '\n'.join(f'- {x}' for x in facts[t])
        desk.write(
            f'vault/{t}.md',
            f'---\ntags: [garden]\ncreated: {day}\n---\n\n# {t.capitalize()}\n\n{body}\n\nBack: [[Garden]]\n',
            reasoning='' if k else 'The form of a note: frontmatter, heading, list, link back.',
        )
        desk.todo(
            r.choice(
                [
                    f'Write the note vault/{t}.md with frontmatter, its three facts and a link back',
                    f'vault/{t}.md: a new note with the three facts from the inbox',
                ]
            )
        )
    last = f'- [[{others[-1]}]]\n'
    desk.read('vault/Garden.md')
    desk.edit('vault/Garden.md', last, last + ''.join(f'- [[{t}]]\n' for t in topics))
    desk.todo(
        r.choice(
            [
                'vault/Garden.md: link the three new notes at the end of Topics',
                'Add links to the three notes under Topics in vault/Garden.md',
            ]
        )
    )
    desk.edit('vault/Garden.md', 'updated: 2026-01-05', f'updated: {day}')
    desk.todo(f'vault/Garden.md: set updated to {day}')
    desk.write('vault/archive/Inbox.md', inbox)
    desk.call('delete_file', path='vault/Inbox.md')
    desk.files.pop('vault/Inbox.md')
    desk._parts[-1].after = {'vault/Inbox.md': ''}
    desk.todo(
        r.choice(
            [
                'Keep the inbox note as vault/archive/Inbox.md and delete vault/Inbox.md',
                'Archive the inbox: write vault/archive/Inbox.md, delete vault/Inbox.md',
            ]
        )
    )
    title = f'Sort the inbox: {", ".join(topics)}'
    body = (
        f'`vault/Inbox.md` holds three topics. Each becomes a note of its own, `vault/TOPIC.md`, with frontmatter (tags: garden, created: {day}), a heading, '
        'a list of its three facts (who, cost, next look) and a link back to [[Garden]]. Other remarks are not taken over. Link the notes in `vault/Garden.md`, set its date, and '
        'move the inbox to `vault/archive/Inbox.md`.'
    )
    rules = ['One topic per note', 'Facts are taken over word for word', 'Notes that are there already stay']
    outputs = [*(f'vault/{t}.md' for t in topics), 'vault/Garden.md', 'vault/archive/Inbox.md']
    return Work(
        'vault_notes',
        title,
        _order(title, body, rules, outputs),
        desk,
        ['vault/Inbox.md'],
        rules,
        [f'Topics: {", ".join(topics)}', f'Date: {day}'],
        'The notes first, then the links, so that no link leads nowhere.',
        outputs,
        'Split the inbox into three linked notes and archived it.',
    )


# --- prose --------------------------------------------------------------------------------------------------------


def docs_revision(seed: int) -> Work:
    "A handbook is brought up to date: steps, a link, a new section."
    r = random.Random(f'docs_revision/{seed}')
    tool, other = r.sample(['lathe', 'kiln', 'press', 'loom', 'saw bench'], 2)
    old_room, new_room = r.sample(PLACES, 2)
    old_phone, new_phone = r.randint(210, 480), r.randint(510, 890)
    minutes = r.randint(3, 9)

    def page(name, extra):
        parts = _remarks(r, 10)
        return (
            f'# The {name}\n\n'
            + '\n\n'.join(parts[:3])
            + f'\n\n## Before you start\n\n1. Put on glasses and gloves.\n2. Open the shutter.\n3. Let the {name} run '
            f'empty for {minutes - 2} minutes.\n\n{extra}\n\n## While it runs\n\n'
            + '\n\n'.join(parts[3:7])
            + '\n\n## Afterwards\n\nSweep the floor and hang the key back.\n\n'
            + '\n\n'.join(parts[7:])
            + f'\n\nQuestions: extension {old_phone}.\n'
        )

    files = {
        f'handbook/{tool.replace(" ", "_")}.md': page(tool, f'The {tool} stands in the workshop, {old_room}.'),
        f'handbook/{other.replace(" ", "_")}.md': page(other, 'Only two people work here at a time.'),
        'handbook/index.md': '# Handbook\n\n'
        + f'- [The {tool}](./{tool.replace(" ", "_")}.html)\n- [The {other}](./{other.replace(" ", "_")}.md)\n\n'
        + '\n\n'.join(_remarks(r, 3))
        + f'\n\nThe office has the extension {old_phone}.\n',
    }
    a, b, index = files
    desk = Desk(files)
    desk.read(a)
    desk.edit(a, f'run empty for {minutes - 2} minutes', f'run empty for {minutes} minutes')
    desk.edit(a, f'workshop, {old_room}.', f'workshop, {new_room}.')
    desk.todo(f'{a}: {minutes} minutes of running empty, and the new place, {new_room}')
    desk.edit(a, f'Questions: extension {old_phone}.', f'Questions: extension {new_phone}.')
    desk.todo(r.choice([f'{a}: the extension is {new_phone}', f'Set the extension in {a} to {new_phone}']))
    desk.read(b)
    desk.edit(b, f'Questions: extension {old_phone}.', f'Questions: extension {new_phone}.')
    desk.todo(r.choice([f'{b}: the extension is {new_phone}', f'Set the extension in {b} to {new_phone}']))
    section = '## Afterwards\n\nSweep the floor and hang the key back.\n'
    desk.edit(
        b,
        section,
        section + f'Switch off the main, and wait until the {other} stands still before you open the hood.\n',
    )
    desk.todo(f'{b}: under Afterwards say that the main is switched off and when the hood may be opened')
    desk.read(index)
    desk.edit(index, f'{tool.replace(" ", "_")}.html', f'{tool.replace(" ", "_")}.md')
    desk.edit(index, f'the extension {old_phone}.', f'the extension {new_phone}.')
    desk.todo(
        r.choice(
            [
                f'{index}: mend the link to the {tool}, and the extension',
                f'In {index} the link to the {tool} ends in .md, and the extension is {new_phone}',
            ]
        )
    )
    desk.call('search_files', query=str(old_phone), path='handbook')
    desk.write(
        'output/revision.md',
        f'# Revision of the handbook\n\n- {tool}: {minutes} minutes of running empty; it stands at {new_room}\n- {other}: new sentence on the main and the hood\n'
        f'- index: link mended\n- everywhere: extension {new_phone}\n',
    )
    desk.todo(
        r.choice(
            [
                f'Search the handbook for {old_phone}, and write output/revision.md',
                f'Make sure that {old_phone} is gone from handbook/, and list the changes in output/revision.md',
            ]
        )
    )
    title = f'Bring the pages on {tool} and {other} up to date'
    body = (
        f'The {tool} now has to run empty for {minutes} minutes and stands at the {new_room}. After work at the {other} the main is switched off, and the hood is opened only '
        f'when the {other} stands still: add this as one line under Afterwards. The extension {old_phone} became {new_phone} everywhere. One link in `handbook/index.md` is broken.'
    )
    rules = ['Sentences that are still right stay', 'No new headings', 'The list of changes has four points']
    outputs = [a, b, index, 'output/revision.md']
    return Work(
        'docs_revision',
        title,
        _order(title, body, rules, outputs),
        desk,
        [index],
        rules,
        [f'Extension {old_phone} -> {new_phone}', f'{tool}: {minutes} minutes, {new_room}'],
        'Page by page; the search at the end finds what is left of the old number.',
        outputs,
        'Updated three pages of the handbook and listed the changes.',
    )


# --- compacting ---------------------------------------------------------------------------------------------------


def notes_compaction(seed: int) -> Work:
    "A long journal becomes a short page that keeps what is needed."
    r = random.Random(f'notes_compaction/{seed}')
    person, place = r.choice(PEOPLE), r.choice(PLACES)
    code, budget, limit = f'K-{r.randint(100, 999)}', r.randint(20, 90) * 100, r.randint(12, 40)
    keep = [
        f'The order number is {code}.',
        f'The budget is {budget} euros and may not be exceeded.',
        f'At most {limit} pallets fit into the {place}.',
        f'{person} decides about deliveries.',
        'Deliveries on Fridays were refused, because the crane is not manned.',
    ]
    lines, at = _remarks(r, 36), sorted(r.sample(range(3, 34), len(keep)))
    for k, fact in zip(at, keep):
        lines[k] = f'{fact} {lines[k]}'
    days = [f'## Day {k + 1}\n\n' + '\n'.join(lines[k * 4 : k * 4 + 4]) + '\n' for k in range(9)]
    files = {
        'notes/journal.md': '# Journal\n\n' + '\n'.join(days),
        'notes/index.md': '# Notes\n\n- [journal](journal.md): everything since spring\n- [contacts](contacts.md)\n',
        'notes/contacts.md': '# Contacts\n\n' + ''.join(f'- {p}: extension {r.randint(200, 900)}\n' for p in PEOPLE),
    }
    desk = Desk(files)
    desk.read('notes/journal.md', reasoning='The whole journal: what is needed later can stand anywhere.')
    desk.write(
        'notes/essentials.md',
        '# Essentials\n\n## Fixed\n' + ''.join(f'- {x}\n' for x in keep[:4]) + '\n## Decided\n' + f'- {keep[4]}\n',
    )
    desk.todo(
        'Write notes/essentials.md with the order number, budget, limit, who decides, and the decision on Fridays'
    )
    desk.read('notes/contacts.md')
    desk.append('notes/essentials.md', '\n## See also\n- [contacts](contacts.md)\n')
    desk.todo(
        r.choice(
            [
                'notes/essentials.md: a last section that links the contacts',
                'Add a section See also with the contacts to notes/essentials.md',
            ]
        )
    )
    desk.move('notes/journal.md', 'archive/journal_spring.md')
    desk.todo(
        r.choice(
            [
                'Move notes/journal.md to archive/journal_spring.md',
                'archive/journal_spring.md: the journal moves there, unchanged',
            ]
        )
    )
    desk.read('notes/index.md')
    desk.edit(
        'notes/index.md',
        '- [journal](journal.md): everything since spring',
        '- [essentials](essentials.md): what still holds\n- [journal](../archive/journal_spring.md): spring, archived',
    )
    desk.todo(
        r.choice(
            [
                'notes/index.md: link the essentials, and the journal at its new place',
                'Bring notes/index.md in line: essentials first, then the archived journal',
            ]
        )
    )
    desk.call('get_document_info', path='notes/essentials.md')
    desk.write(
        'output/compaction.md',
        f'# Compaction\n\nKept {len(keep)} statements of the journal in notes/essentials.md. The journal itself lies in archive/journal_spring.md, unchanged.\n',
    )
    desk.todo('Check the length of notes/essentials.md, and write output/compaction.md')
    title = 'Compact the journal of the spring'
    body = (
        '`notes/journal.md` has grown too long. Write what still holds into `notes/essentials.md`: order number, budget, limit, who decides, and the decision about '
        'Fridays, each sentence as it stands in the journal, then a link to the contacts. Move the journal to `archive/journal_spring.md`, and bring `notes/index.md` in line.'
    )
    rules = ['essentials.md has at most 20 lines', 'No statement is changed', 'The journal is moved, not deleted']
    outputs = ['notes/essentials.md', 'archive/journal_spring.md', 'notes/index.md', 'output/compaction.md']
    return Work(
        'notes_compaction',
        title,
        _order(title, body, rules, outputs),
        desk,
        ['notes/index.md'],
        rules,
        ['Five statements have to survive', 'Limit: 20 lines'],
        'First the short page, then the move: nothing is lost if the job stops in between.',
        outputs,
        'Compacted the journal to its five lasting statements and archived it.',
    )


KINDS = [
    config_rollout,
    facts_report,
    csv_repair,
    changelog_release,
    term_rename,
    vault_notes,
    docs_revision,
    notes_compaction,
]
