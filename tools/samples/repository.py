"""The simulated repository: a small invented project, `tidewatch`, by three invented authors."""

# ruff: noqa: E501   (contents of files and messages stand here as they are written)

import random
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

NORA, EMIL, JUN = (
    ('Nora Lindqvist', 'nora@example.invalid'),
    ('Emil Castor', 'emil@example.invalid'),
    ('Jun Takeda', 'jun@example.invalid'),
)
ENV = dict(
    PATH='/usr/local/bin:/usr/bin:/bin',
    HOME='/nonexistent',
    LC_ALL='C',
    GIT_CONFIG_GLOBAL='/dev/null',
    GIT_CONFIG_NOSYSTEM='1',
)


class History:
    "Commits, oldest first, each with all of its files."

    def __init__(self):
        self.files, self.commits, self.now = {}, [], datetime(2025, 3, 3, 8, 10, tzinfo=UTC)
        self._tip, self._random, self._rest = None, random.Random('tidewatch'), None

    def add(self, path, text):
        self.files[path] = text
        return self

    def edit(self, path, old, new):
        assert self.files[path].count(old) == 1, (
            f'commit {len(self.commits)}, {path}: {self.files[path].count(old)} times {old!r}'
        )
        self.files[path] = self.files[path].replace(old, new)
        return self

    def everywhere(self, old, new, paths=None):
        for path in paths or list(self.files):
            self.files[path] = self.files[path].replace(old, new)
        return self

    def append(self, path, text):
        self.files[path] += text
        return self

    def rename(self, old, new):
        self.files[new] = self.files.pop(old)
        return self

    def delete(self, path):
        del self.files[path]
        return self

    def today(self) -> str:
        "The day of the next commit."
        return self.now.strftime('%Y-%m-%d')

    def commit(self, author, message, parents=None):
        number = len(self.commits)
        self.commits.append(
            dict(
                author=author,
                message=message,
                time=self.now,
                files=dict(self.files),
                parents=parents if parents is not None else ([] if self._tip is None else [self._tip]),
            )
        )
        self._tip = number
        self.now += timedelta(minutes=self._random.randint(25, 2900))
        return number

    def revert(self, author, number):
        "Take commit `number` back: its files become what they were before it."
        gone = self.commits[number]
        before = self.commits[gone['parents'][0]]['files']
        for path in {*gone['files'], *before}:
            if gone['files'].get(path) != before.get(path):
                self.files[path] = before[path]
        subject = gone['message'].split('\n')[0]
        return self.commit(author, f'Revert "{subject}"\n\nThis reverts commit {{id:{number}}}.')

    def side(self):
        "Begin a side branch here."
        self._rest = (self._tip, dict(self.files))
        return self

    def back(self):
        "Back to the main line; the side branch waits for its merge."
        tip, files = self._rest
        self._side = (self._tip, dict(self.files), files)
        self._tip, self.files = tip, dict(files)
        return self

    def merge(self, author, message):
        tip, theirs, base = self._side
        for path in {*theirs, *base}:
            if theirs.get(path) != base.get(path):
                self.files[path] = theirs[path]
        return self.commit(author, message, parents=[self._tip, tip])


def _first_files(h):
    h.add(
        'README.md',
        '''# tidewatch

Reads the gauges of a harbour, forecasts the next high water, and warns the people on the quay.

## Use

    tidewatch show
    tidewatch forecast --station north
''',
    )
    h.add(
        'pyproject.toml',
        '''[project]
name = "tidewatch"
version = "0.1.0"
requires-python = ">=3.9"
dependencies = ["pyyaml>=6.0"]

[project.scripts]
tidewatch = "tidewatch.cli:main"
''',
    )
    h.add(
        'tidewatch/__init__.py',
        '''"""Gauges, forecasts and warnings of a harbour."""

__version__ = "0.1.0"
''',
    )
    h.add(
        'tidewatch/gauges.py',
        '''"""Readings of the gauges."""

import csv
from dataclasses import dataclass


@dataclass
class Reading:
    station: str
    time: str
    level_cm: int


def load(path):
    """All readings of a CSV file."""
    f = open(path)
    rows = csv.DictReader(f)
    return [Reading(r["station"], r["time"], int(r["level"])) for r in rows]


def latest(readings, station):
    """The newest reading of a station."""
    own = [r for r in readings if r.station == station]
    return max(own, key=lambda r: r.time)
''',
    )
    h.add(
        'tidewatch/units.py',
        '''"""Centimetres, metres and feet."""


def to_m(cm):
    return cm / 100


def to_ft(cm):
    return cm / 30


def label(cm, unit="cm"):
    if unit == "m":
        return "%.2f m" % to_m(cm)
    if unit == "ft":
        return "%.1f ft" % to_ft(cm)
    return "%d cm" % cm
''',
    )
    h.add(
        'tidewatch/config.py',
        '''"""Settings from YAML files."""

import yaml


def read_config(path="config/default.yaml"):
    with open(path) as f:
        return yaml.load(f)


def stations(path="config/stations.yaml"):
    with open(path) as f:
        return yaml.load(f)["stations"]
''',
    )
    h.add(
        'config/default.yaml',
        '''# settings of tidewatch
unit: cm
poll_seconds: 300
history_days: 14

alerts:
  enabled: true
  warn_cm: 520
  alarm_cm: 580
  repeat_minutes: 30

log:
  level: debug
  file: tidewatch.log
''',
    )
    h.add(
        'config/stations.yaml',
        '''stations:
  - id: north
    name: North mole
    zero_cm: 0
  - id: lock
    name: Old lock
    zero_cm: 12
''',
    )
    h.add(
        'data/stations.csv',
        '''id,name,lat,lon
north,North mole,54.11,8.40
lock,Old lock,54.09,8.42
''',
    )


def _modules(h):
    h.add(
        'tidewatch/forecast.py',
        '''"""The next high water."""

from datetime import datetime, timedelta

PERIOD = timedelta(hours=12, minutes=20)


def next_high(last_high):
    """Time of the next high water after `last_high`, as text."""
    t = datetime.fromisoformat(last_high)
    return (t + PERIOD).isoformat(timespec="minutes")


def trend(levels):
    """Rising, falling or steady."""
    if levels[-1] > levels[0]:
        return "rising"
    if levels[-1] < levels[0]:
        return "falling"
    return "steady"
''',
    )
    h.commit(EMIL, 'Add forecast of the next high water')
    h.add(
        'tidewatch/cli.py',
        '''"""Command line."""

import argparse

from . import config, forecast, gauges, units


def show(args):
    settings = config.read_config()
    for r in gauges.load("data/readings.csv"):
        print(r.station, r.time, units.label(r.level_cm, settings["unit"]))


def predict(args):
    print(forecast.next_high(args.last))


def main(argv=None):
    p = argparse.ArgumentParser(prog="tidewatch")
    sub = p.add_subparsers(required=True)
    sub.add_parser("show").set_defaults(run=show)
    q = sub.add_parser("forecast")
    q.add_argument("last")
    q.set_defaults(run=predict)
    args = p.parse_args(argv)
    args.run(args)
''',
    )
    h.add(
        'data/readings.csv',
        'station,time,level\n'
        + ''.join(
            f'{s},2025-03-0{d}T{hour:02d}:00,{310 + 37 * d + 9 * hour + (12 if s == "lock" else 0)}\n'
            for d in (1, 2)
            for hour in (2, 8, 14, 20)
            for s in ('north', 'lock')
        ),
    )
    h.commit(NORA, 'Command line with show and forecast')
    h.add(
        'tests/test_units.py',
        '''from tidewatch.units import label, to_m


def test_metres():
    assert to_m(250) == 2.5


def test_label():
    assert label(250, "m") == "2.50 m"
''',
    )
    h.commit(NORA, 'tests for units')
    h.edit('tidewatch/units.py', 'return cm / 30\n', 'return cm / 30.48\n')
    h.commit(JUN, 'Fix to_ft: a foot has 30.48 cm, not 30')
    h.edit(
        'tidewatch/gauges.py',
        '''    f = open(path)
    rows = csv.DictReader(f)
    return [Reading(r["station"], r["time"], int(r["level"])) for r in rows]
''',
        '''    with open(path, newline="") as f:
        return [Reading(r["station"], r["time"], int(r["level"])) for r in csv.DictReader(f)]
''',
    )
    h.commit(EMIL, 'gauges.load: close the file after reading')
    h.edit('config/default.yaml', 'level: debug', 'level: info')
    h.commit(NORA, 'Set the log level in config/default.yaml to info')


def _docs(h):
    h.add(
        'docs/index.md',
        '''# tidewatch

- [Installing](install.md)
- [Configuration](configuration.md)
''',
    )
    h.add(
        'docs/install.md',
        '''# Installing

You need Python 3.9.

    pip install tidewatch

Then copy `config/default.yaml` into the folder from which you start the program.

## On the harbour computer

The harbour computer has no network at night. Install during the day, and restart the
service with

    systemctl restart tidewatch
''',
    )
    h.add(
        'docs/configuration.md',
        '''# Configuration

All settings stand in `config/default.yaml`.

| setting | default | meaning |
|---|---|---|
| unit | cm | cm, m or ft |
| poll_seconds | 300 | pause between two readings |
| history_days | 14 | how long readings are kept |
| alerts.warn_cm | 520 | a warning is given from here |
| alerts.alarm_cm | 580 | an alarm is given from here |
| alerts.repeat_minutes | 30 | pause until a warning is repeated |
''',
    )
    h.commit(JUN, 'Docs: installation and configuration')
    h.add(
        'vault/Home.md',
        '''---
tags: [home]
---

# Tidewatch notes

- [[Alert rules]]
- [[Storm log]]
- [[Inbox]]
''',
    )
    h.add(
        'vault/Alert rules.md',
        '''---
tags: [rules]
---

# Alert rules

- Warn the quay master from 520 cm.
- Alarm everybody from 580 cm.
- At night only the quay master is called.
''',
    )
    h.add(
        'vault/Storm log.md',
        '''---
tags: [log]
---

# Storm log

## 2025-01-09

North mole 561 cm, old lock 570 cm. The gate was closed at 22:40.
''',
    )
    h.add('vault/Inbox.md', '# Inbox\n\n- ask about the third gauge\n- who has the key of the pump house?\n')
    h.commit(NORA, 'vault backup: ' + h.today())
    h.edit('docs/install.md', 'You need Python 3.9.', 'You need Python 3.10 or newer.').edit(
        'pyproject.toml', '>=3.9', '>=3.10'
    )
    h.commit(EMIL, 'Require Python 3.10 in pyproject.toml and docs/install.md')
    h.append('vault/Inbox.md', '- battery of the lock gauge: 71 %\n').edit(
        'vault/Alert rules.md',
        '- At night only the quay master is called.\n',
        '- At night only the quay master is called.\n- Saturdays the lock crew is called as well.\n',
    )
    h.commit(NORA, 'vault backup: ' + h.today())
    h.edit(
        'tidewatch/config.py',
        '''def read_config(path="config/default.yaml"):
    with open(path) as f:
        return yaml.load(f)
''',
        '''def read_config(path="config/default.yaml"):
    with open(path) as f:
        return yaml.safe_load(f)
''',
    ).edit('tidewatch/config.py', 'return yaml.load(f)["stations"]', 'return yaml.safe_load(f)["stations"]')
    h.commit(JUN, 'config: use yaml.safe_load instead of yaml.load')


def _alerts(h):
    h.add(
        'tidewatch/alerts.py',
        '''"""Warnings and alarms."""


def grade(level_cm, settings):
    """none, warn or alarm."""
    alerts = settings["alerts"]
    if not alerts["enabled"]:
        return "none"
    if level_cm > alerts["alarm_cm"]:
        return "alarm"
    if level_cm > alerts["warn_cm"]:
        return "warn"
    return "none"


def message(station, level_cm, what):
    return what.upper() + ": " + station + " " + str(level_cm)
''',
    )
    h.commit(EMIL, 'Add alerts: grade and message')
    h.edit('tidewatch/alerts.py', 'if level_cm > alerts["alarm_cm"]', 'if level_cm >= alerts["alarm_cm"]').edit(
        'tidewatch/alerts.py', 'if level_cm > alerts["warn_cm"]', 'if level_cm >= alerts["warn_cm"]'
    )
    h.commit(JUN, 'alerts.grade: warn and alarm at the limit itself, not only above it')
    h.add(
        'tests/test_alerts.py',
        '''from tidewatch.alerts import grade

SETTINGS = {"alerts": {"enabled": True, "warn_cm": 520, "alarm_cm": 580}}


def test_below():
    assert grade(519, SETTINGS) == "none"


def test_at_the_limit():
    assert grade(580, SETTINGS) == "alarm"
''',
    )
    h.commit(JUN, 'wip')
    h.edit(
        'tidewatch/alerts.py',
        'return what.upper() + ": " + station + " " + str(level_cm)',
        'return f"{what.upper()}: {station} {level_cm} cm"',
    )
    h.commit(EMIL, 'alerts.message: give the unit, cm, behind the level')
    warn = h.edit('config/default.yaml', 'warn_cm: 520', 'warn_cm: 500').commit(
        EMIL, 'Lower alerts.warn_cm to 500 in config/default.yaml'
    )
    h.edit('docs/configuration.md', '| history_days | 14 |', '| history_days | 21 |').edit(
        'config/default.yaml', 'history_days: 14', 'history_days: 21'
    )
    h.commit(NORA, 'Keep readings for 21 days: history_days in config/default.yaml and docs/configuration.md')
    h.revert(NORA, warn)
    h.edit(
        'tidewatch/cli.py',
        '        print(r.station, r.time, units.label(r.level_cm, settings["unit"]))\n',
        '        print(f"{r.station:8}{r.time}  {units.label(r.level_cm, settings[\'unit\'])}")\n',
    )
    h.commit(EMIL, 'fix')
    h.edit('config/default.yaml', 'repeat_minutes: 30', 'repeat_minutes: 45').edit(
        'docs/configuration.md', '| alerts.repeat_minutes | 30 |', '| alerts.repeat_minutes | 45 |'
    )
    h.commit(JUN, 'Set alerts.repeat_minutes to 45, in the default settings and their page')


def _side_branch(h):
    h.side()
    h.add(
        'tidewatch/report.py',
        '''"""A report for the notice board."""

from .units import label


def lines(readings, unit="cm"):
    out = []
    for r in readings:
        out.append(r.station + " " + label(r.level_cm, unit))
    return out


def page(readings, title="Water levels", unit="cm"):
    return "\\n".join([title, "=" * len(title), *lines(readings, unit)])
''',
    )
    h.commit(JUN, 'Add report for the notice board')
    h.edit(
        'tidewatch/report.py',
        '''    out = []
    for r in readings:
        out.append(r.station + " " + label(r.level_cm, unit))
    return out
''',
        '''    return [f"{r.station:8}{label(r.level_cm, unit):>10}" for r in readings]
''',
    )
    h.commit(JUN, 'report.lines: align stations and levels')
    h.add(
        'tests/test_report.py',
        '''from tidewatch.gauges import Reading
from tidewatch.report import page


def test_page_has_a_title():
    assert page([Reading("north", "2025-03-01T02:00", 410)]).startswith("Water levels\\n=")
''',
    )
    h.commit(JUN, 'test that a report begins with its title')
    h.back()
    h.edit(
        'config/stations.yaml',
        '''  - id: lock
    name: Old lock
    zero_cm: 12
''',
        '''  - id: lock
    name: Old lock
    zero_cm: 12
  - id: pier
    name: Fish pier
    zero_cm: -4
''',
    ).append('data/stations.csv', 'pier,Fish pier,54.10,8.43\n')
    h.commit(NORA, 'Add the station pier to config/stations.yaml and data/stations.csv')
    h.append(
        'vault/Storm log.md', f'\n## {h.today()}\n\nNorth mole 533 cm. Warned at 05:10, nobody had to be moved.\n'
    ).edit('vault/Inbox.md', '- ask about the third gauge\n', '')
    h.commit(NORA, 'vault backup: ' + h.today())
    h.merge(NORA, "Merge branch 'report'")


def _middle(h):
    h.edit(
        'tidewatch/forecast.py', 'PERIOD = timedelta(hours=12, minutes=20)', 'PERIOD = timedelta(hours=12, minutes=25)'
    )
    h.commit(EMIL, 'forecast: the tide takes 12 hours and 25 minutes')
    h.add(
        'tests/test_forecast.py',
        '''from tidewatch.forecast import next_high, trend


def test_next_high():
    assert next_high("2025-03-01T02:00") == "2025-03-01T14:25"


def test_trend():
    assert trend([3, 4, 9]) == "rising"
    assert trend([9, 4, 3]) == "falling"
''',
    )
    h.commit(EMIL, 'Add tests/test_forecast.py: next_high and trend')
    h.edit(
        'tidewatch/gauges.py',
        '''    own = [r for r in readings if r.station == station]
    return max(own, key=lambda r: r.time)
''',
        '''    own = [r for r in readings if r.station == station]
    if not own:
        raise ValueError(f"no reading of station {station}")
    return max(own, key=lambda r: r.time)
''',
    )
    h.commit(JUN, 'gauges.latest: a clear error for a station without readings')
    h.edit('README.md', '    tidewatch forecast --station north\n', '    tidewatch forecast 2025-03-01T02:00\n')
    h.commit(JUN, 'README: show the arguments that forecast really takes')
    h.add('vendor/minitable.py', _vendored())
    h.commit(EMIL, 'vendor minitable 1.4')
    h.edit(
        'tidewatch/forecast.py',
        '''    """Rising, falling or steady."""
    if levels[-1] > levels[0]:
        return "rising"
    if levels[-1] < levels[0]:
        return "falling"
    return "steady"
''',
        '''    """Rising, falling or steady; a change of less than 5 cm is steady."""
    change = levels[-1] - levels[0]
    if abs(change) < 5:
        return "steady"
    return "rising" if change > 0 else "falling"
''',
    ).edit('tests/test_forecast.py', 'trend([3, 4, 9]) == "rising"', 'trend([3, 4, 19]) == "rising"').edit(
        'tests/test_forecast.py', 'trend([9, 4, 3]) == "falling"', 'trend([19, 4, 3]) == "falling"'
    )
    h.commit(EMIL, 'forecast.trend: a change of less than 5 cm is steady')
    h.edit('config/default.yaml', 'poll_seconds: 300', 'poll_seconds: 120').edit(
        'docs/configuration.md', '| poll_seconds | 300 |', '| poll_seconds | 120 |'
    )
    h.commit(NORA, 'Poll the gauges every 120 seconds: poll_seconds in default.yaml and on the page')
    h.add(
        'config/staging.yaml',
        h.files['config/default.yaml']
        .replace('level: info', 'level: debug')
        .replace('poll_seconds: 120', 'poll_seconds: 15'),
    )
    h.commit(JUN, 'staging config')
    h.append('docs/index.md', '- [Stations](stations.md)\n').add(
        'docs/stations.md',
        '''# Stations

Each station has an id, a name and a zero point. The zero point is added to what the gauge says.

| id | name | zero |
|---|---|---|
| north | North mole | 0 cm |
| lock | Old lock | 12 cm |
| pier | Fish pier | -4 cm |

## Adding a station

1. Add it to `config/stations.yaml`.
2. Add its place to `data/stations.csv`.
3. Restart the service.
''',
    )
    h.commit(JUN, 'Add docs/stations.md and link it from docs/index.md')
    h.edit('vault/Home.md', '- [[Inbox]]\n', '- [[Inbox]]\n- [[Harbour walk]]\n').add(
        'vault/Harbour walk.md',
        '''---
tags: [routine]
---

# Harbour walk

1. Read the gauge at the north mole by eye.
2. Compare with the screen.
3. Look into the pump house.
4. Note the battery of the lock gauge.
''',
    )
    h.commit(NORA, 'vault backup: ' + h.today())
    h.edit(
        'vault/Harbour walk.md',
        '4. Note the battery of the lock gauge.\n',
        '4. Note the battery of the lock gauge.\n5. Close the door of the pump house.\n',
    )
    h.commit(NORA, 'Harbour walk: close the door of the pump house as the last step')
    h.everywhere('"', "'", [p for p in h.files if p.startswith(('tidewatch/', 'tests/')) and '"""' not in p])
    for path in [p for p in h.files if p.endswith('.py') and not p.startswith('vendor/')]:
        h.files[path] = h.files[path].replace("'''", '"""')
    h.files['tidewatch/cli.py'] = h.files['tidewatch/cli.py'].replace("settings['unit'])}')", 'settings["unit"])}\')')
    h.commit(JUN, 'Format all modules: single quotes')


def _vendored() -> str:
    parts = ['"""minitable 1.4: text tables. Vendored, do not edit here."""\n']
    for name in 'left right centre boxed plain dotted double narrow wide compact'.split():
        parts.append(f'''

def {name}(rows, width=12, pad=" "):
    """Rows of cells as `{name}` text."""
    out = []
    for row in rows:
        cells = [str(cell)[:width].ljust(width, pad) for cell in row]
        out.append("|".join(cells))
    return "\\n".join(out)
''')
    return ''.join(parts)


def _late(h):
    h.rename('tidewatch/report.py', 'tidewatch/board.py').rename('tests/test_report.py', 'tests/test_board.py')
    h.edit('tests/test_board.py', 'tidewatch.report', 'tidewatch.board')
    h.commit(JUN, 'Rename tidewatch/report.py to tidewatch/board.py')
    h.edit('tidewatch/board.py', "title='Water levels'", "title='Water levels of today'").edit(
        'tests/test_board.py', "'Water levels\\n='", "'Water levels of today\\n='"
    )
    h.commit(JUN, "board.page: the default title is 'Water levels of today'")
    h.edit(
        'tidewatch/cli.py',
        'from . import config, forecast, gauges, units',
        'from . import board, config, forecast, gauges, units',
    ).edit(
        'tidewatch/cli.py',
        '''def main(argv=None):
''',
        '''def notice(args):
    print(board.page(gauges.load('data/readings.csv'), unit=args.unit))


def main(argv=None):
''',
    ).edit(
        'tidewatch/cli.py',
        "    q = sub.add_parser('forecast')\n",
        "    n = sub.add_parser('notice')\n    n.add_argument('--unit', default='cm')\n    n.set_defaults(run=notice)\n    q = sub.add_parser('forecast')\n",
    )
    h.commit(EMIL, 'Add the command notice, which prints the page for the notice board')
    h.edit('README.md', '    tidewatch show\n', '    tidewatch show\n    tidewatch notice --unit m\n')
    h.commit(EMIL, 'README: mention tidewatch notice')
    h.edit('vault/Alert rules.md', '- Warn the quay master from 520 cm.', '- Warn the quay master from 510 cm.').edit(
        'config/default.yaml', 'warn_cm: 520', 'warn_cm: 510'
    ).edit('docs/configuration.md', '| alerts.warn_cm | 520 |', '| alerts.warn_cm | 510 |')
    h.commit(NORA, 'Warn from 510 cm: default.yaml, configuration page and alert rules')
    h.edit('data/readings.csv', 'lock,2025-03-02T20:00,576', 'lock,2025-03-02T20:00,567')
    h.commit(EMIL, 'data/readings.csv: the lock read 567 at 20:00 on March 2, the digits were swapped')
    h.append('vault/Inbox.md', '- new key for the pump house ordered\n- gauge at the pier hums\n').append(
        'vault/Storm log.md', f'\n## {h.today()}\n\nFish pier 515 cm, the others below 500.\n'
    )
    h.commit(NORA, 'vault backup: ' + h.today())
    h.edit(
        'docs/install.md',
        'The harbour computer has no network at night. Install during the day, and restart the\nservice with\n',
        'The harbour computer has no network between 22:00 and 05:00. Install during the day, and\nrestart the service with\n',
    )
    h.commit(JUN, 'docs/install.md: say when the harbour computer has no network, 22:00 to 05:00')
    h.edit(
        'tidewatch/units.py',
        "    return '%d cm' % cm\n",
        "    if unit != 'cm':\n        raise ValueError(f'unknown unit {unit}: cm, m or ft')\n    return '%d cm' % cm\n",
    )
    h.commit(EMIL, 'units.label: refuse an unknown unit')
    h.append(
        'tests/test_units.py',
        '''

def test_unknown_unit():
    try:
        label(100, 'miles')
    except ValueError as e:
        assert 'miles' in str(e)
    else:
        raise AssertionError
''',
    )
    h.commit(EMIL, 'more tests')
    h.add(
        'CHANGELOG.md',
        '''# Changelog

## Unreleased

- `notice` prints the page for the notice board
- An unknown unit is refused
- Warnings from 510 cm

## 0.1.0

- First version: gauges, forecast, alerts
''',
    )
    h.commit(JUN, 'Add CHANGELOG.md')
    h.edit('CHANGELOG.md', '## Unreleased\n', '## Unreleased\n\n## 0.2.0\n').edit(
        'pyproject.toml', 'version = "0.1.0"', 'version = "0.2.0"'
    ).edit('tidewatch/__init__.py', "__version__ = '0.1.0'", "__version__ = '0.2.0'")
    h.commit(NORA, 'Release 0.2.0: version in pyproject.toml and tidewatch/__init__.py, changelog')
    h.edit('vault/Inbox.md', '- gauge at the pier hums\n', '').append(
        'vault/Harbour walk.md', '6. Listen to the gauge at the pier.\n'
    )
    h.commit(NORA, 'Move the humming gauge from the inbox into the harbour walk')
    h.edit('tidewatch/gauges.py', "int(r['level'])", "round(float(r['level']))")
    bad = h.commit(EMIL, 'gauges: accept levels with a decimal point')
    h.edit('config/staging.yaml', 'poll_seconds: 15', 'poll_seconds: 30')
    h.commit(JUN, 'config/staging.yaml: poll every 30 seconds')
    h.revert(EMIL, bad)
    h.edit(
        'docs/stations.md',
        '3. Restart the service.\n',
        '3. Restart the service.\n4. Look at `tidewatch show`: the new station has to appear.\n',
    )
    h.commit(JUN, 'docs/stations.md: a fourth step, look whether the new station appears')
    h.add(
        'docs/faq.md',
        '''# Questions

## Why is there no forecast?

The forecast needs the time of the last high water. Give it as 2025-03-01T02:00.

## Why does the level differ from the stick?

The zero point of the station may be wrong. See [Stations](stations.md).
''',
    ).append('docs/index.md', '- [Questions](faq.md)\n')
    h.commit(JUN, 'Add docs/faq.md with two questions, linked from the index')
    h.edit('config/default.yaml', '  file: tidewatch.log\n', '  file: tidewatch.log\n  keep_files: 7\n').append(
        'docs/configuration.md', '| log.keep_files | 7 | how many old log files are kept |\n'
    )
    h.commit(EMIL, 'Keep 7 old log files: log.keep_files in default.yaml and docs/configuration.md')
    h.edit('tidewatch/forecast.py', 'def next_high(last_high):', 'def next_high(last_high, periods=1):').edit(
        'tidewatch/forecast.py', 't + PERIOD)', 't + periods * PERIOD)'
    ).edit(
        'tidewatch/forecast.py',
        '"""Time of the next high water after `last_high`, as text."""',
        '"""Time of the high water `periods` tides after `last_high`, as text."""',
    )
    h.commit(EMIL, 'forecast.next_high: a second argument says how many tides ahead')
    h.edit('vault/Home.md', '- [[Storm log]]\n', '- [[Storm log]]\n- [[Contacts]]\n').add(
        'vault/Contacts.md',
        '''---
tags: [people]
---

# Contacts

- quay master: office on the north mole
- lock crew: on duty from 05:00 to 21:00
- pump house: key with the quay master
''',
    )
    h.commit(NORA, 'vault backup: ' + h.today())
    h.edit('vault/Contacts.md', 'from 05:00 to 21:00', 'from 04:30 to 21:00')
    h.commit(NORA, 'Contacts: the lock crew is on duty from 04:30')
    h.edit('tests/test_alerts.py', 'assert grade(519, SETTINGS)', 'assert grade(519.9, SETTINGS)')
    h.commit(JUN, 'fix tests')
    h.edit(
        'tidewatch/alerts.py',
        'def message(station, level_cm, what):\n',
        'def message(station, level_cm, what):\n    """One line for the quay master."""\n',
    )
    h.commit(JUN, 'alerts.message: add the missing docstring')
    h.edit(
        'config/stations.yaml', '    name: Fish pier\n    zero_cm: -4\n', '    name: Fish pier\n    zero_cm: -6\n'
    ).edit('docs/stations.md', '| pier | Fish pier | -4 cm |', '| pier | Fish pier | -6 cm |')
    h.commit(EMIL, 'The zero point of the pier is -6 cm: stations.yaml and docs/stations.md')
    h.edit('README.md', '## Use\n', '## Install\n\n    pip install tidewatch\n\n## Use\n')
    h.commit(JUN, 'README: a section on installing, before Use')
    h.edit(
        'CHANGELOG.md',
        '## Unreleased\n',
        '## Unreleased\n\n- Old log files are kept: 7 by default\n- `next_high` looks several tides ahead\n',
    )
    h.commit(NORA, 'CHANGELOG: log files and next_high under Unreleased')
    h.edit(
        'tidewatch/config.py',
        "def stations(path='config/stations.yaml'):\n",
        "def stations(path='config/stations.yaml'):\n    \"\"\"The stations, as a list of id, name and zero_cm.\"\"\"\n",
    )
    h.commit(EMIL, 'config.stations: say in a docstring what comes back')
    h.append(
        'data/readings.csv',
        ''.join(
            f'pier,2025-03-0{d}T{hour:02d}:00,{301 + 35 * d + 9 * hour}\n' for d in (1, 2) for hour in (2, 8, 14, 20)
        ),
    )
    h.commit(EMIL, 'data: readings of the pier')
    h.edit('docs/faq.md', 'Give it as 2025-03-01T02:00.', 'Give it as 2025-03-01T02:00, without a time zone.')
    h.commit(JUN, 'docs/faq.md: the time is given without a time zone')
    h.edit('vault/Storm log.md', 'The gate was closed at 22:40.', 'The gate was closed at 22:45.')
    h.commit(NORA, 'Storm log: the gate was closed at 22:45 on January 9')
    h.append('vault/Inbox.md', '- lamp on the north mole flickers\n')
    h.commit(NORA, 'vault backup: ' + h.today())
    h.edit('pyproject.toml', 'dependencies = ["pyyaml>=6.0"]', 'dependencies = ["pyyaml>=6.0.1"]')
    h.commit(EMIL, 'Require pyyaml 6.0.1')


def tidewatch() -> History:
    "The whole history."
    h = History()
    _first_files(h)
    h.commit(NORA, 'Start of tidewatch')
    for part in (_modules, _docs, _alerts, _side_branch, _middle, _late):
        part(h)
    return h


def _data(raw: bytes) -> bytes:
    return b'data %d\n%s\n' % (len(raw), raw)


def _stream(commits, ids) -> bytes:
    "The history in the language of `git fast-import`; `ids` are those of commits that a message names."
    out, before = [], {}
    for number, c in enumerate(commits):
        message = re.sub(r'\{id:(\d+)\}', lambda m: ids.get(int(m[1]), '0' * 40), c['message'])
        who = f'{c["author"][0]} <{c["author"][1]}> {int(c["time"].timestamp())} +0000\n'.encode()
        out.append(
            b'commit refs/heads/main\nmark :%d\nauthor %scommitter %s%s'
            % (number + 1, who, who, _data(message.encode()))
        )
        for k, parent in enumerate(c['parents']):
            out.append(f'{"merge" if k else "from"} :{parent + 1}\n'.encode())
        before = commits[c['parents'][0]]['files'] if c['parents'] else {}
        out += [f'D "{path}"\n'.encode() for path in before if path not in c['files']]
        for path, text in c['files'].items():
            if before.get(path) != text:
                out.append(f'M 100644 inline "{path}"\n'.encode() + _data(text.encode()))
    return b''.join(out)


def write_repository(folder: Path) -> list:  # ids of the commits, oldest first
    "Make the repository at `folder`."
    commits, ids, named = tidewatch().commits, [], {}
    subprocess.run(['git', 'init', '-q', '--bare', '-b', 'main', '--template=', str(folder)], check=True, env=ENV)
    while True:  # a revert names an id that is known only after the commits before it were made
        command = ['git', 'fast-import', '--quiet', '--force', f'--export-marks={folder}/marks']
        subprocess.run(command, cwd=folder, input=_stream(commits, named), check=True, env=ENV)
        pairs = [line[1:].split() for line in (folder / 'marks').read_text().splitlines()]
        ids = [id for _, id in sorted(pairs, key=lambda p: int(p[0]))]
        wanted = {int(n): ids[int(n)] for c in commits for n in re.findall(r'\{id:(\d+)\}', c['message'])}
        if wanted == named:
            return ids
        named = wanted


def write_bundle(path: Path, scratch: Path) -> list:  # ids of the commits, oldest first
    "Write the history as a bundle to `path`."
    ids = write_repository(scratch / 'tidewatch')
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ['git', 'bundle', 'create', '-q', str(path.resolve()), 'HEAD', 'main'],
        cwd=scratch / 'tidewatch',
        check=True,
        env=ENV,
    )
    return ids
