"Phase 2 asks Claude, here a local server that misbehaves: a trial, a kill, a budget that ends, the bill."

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / 'helpers'))

from claude_server import claude_server

from agentft.core.records import Example, read_jsonl
from agentft.teachers.bill import bill
from agentft.teachers.questions import Store

ROOT = Path(__file__).resolve().parents[1]


def command(out, **options):
    options = dict(collect_dir='none', teacher='claude:sonnet', batch='never', max_len=4096, n_preferences=2) | options
    return [
        sys.executable,
        '-m',
        'agentft.cli',
        'synthesize',
        f'--out={out}',
        *(f'--{k}={v}' for k, v in options.items()),
    ]


def environment(url):
    return os.environ | dict(ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY='x', PYTHONPATH=str(ROOT))


def run(server, out, **options):
    return subprocess.run(command(out, **options), env=environment(server.url), capture_output=True, text=True)


@pytest.fixture(scope='module')
def server():
    with claude_server('canned_teacher:answer', misbehave=0.05, seed=3) as s:
        yield s


@pytest.fixture(scope='module')
def trial(server, tmp_path_factory):
    out = tmp_path_factory.mktemp('mine') / '2-synthesize'
    done = run(server, out, trial=6, max_usd=5, judges='teacher')
    assert done.returncode == 0, done.stderr[-2000:]
    return out, done, len(server.ledger()['rows'])


def test_a_trial_shows_rows_with_their_price_before_and_after(trial):
    out, done, _ = trial
    rows, numbers = (
        read_jsonl(out / 'examples.jsonl', Example),
        json.loads((out / 'result.json').read_text())['numbers'],
    )
    assert len(rows) == 6 and all({'rules', 'execution', 'judges'} <= set(e.verified) for e in rows)
    assert 'about $' in done.stdout and numbers['expected_usd'][0] > 0 and numbers['cost_usd'] > 0
    assert {e.meta['teacher'] for e in rows} == {'claude-sonnet-5-5'} and not any(e.meta['offline'] for e in rows)
    assert 'unreviewed' in (out / 'README.md').read_text() and (out / 'review.html').exists()
    assert sum(numbers['verdicts'].values()) >= 18  # three questions a row
    assert any(name.startswith('judge-') for name in numbers['prompts'])
    assert len(numbers['by_shape']) >= 2 and numbers['prompts'] and numbers['steps']['plays'] >= 6


def test_a_killed_run_goes_on_and_uses_what_the_trial_paid_for(server, trial):
    out, _, before = trial
    kept = set(Store(out / 'answers.sqlite').all())
    p = subprocess.Popen(
        command(out, n_examples=10, max_usd=20),
        env=environment(server.url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.time() + 120
    while time.time() < until and p.poll() is None and len(server.ledger()['rows']) < before + 20:
        time.sleep(0.02)
    p.send_signal(signal.SIGKILL)
    p.wait()
    with Store(out / 'answers.sqlite') as store:
        known = set(store.all())
    assert kept < known
    done = run(server, out, n_examples=10, max_usd=20)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = read_jsonl(out / 'examples.jsonl', Example)
    assert len(rows) == 10 and known <= set(Store(out / 'answers.sqlite').all())
    with Store(out / 'answers.sqlite') as store:
        books = bill(store)
    billed = [r for r in server.ledger()['rows'] if r['billed']]
    spoiled = sum(books.retried.get(x, 0) for x in ('max_tokens', 'not_of_schema', 'invalid_json', 'empty'))
    assert books.answers <= len(billed) <= books.answers + spoiled + books.lost  # nothing is paid for twice
    assert not books.open and books.spent_usd <= 20


def test_a_budget_that_ends_leaves_whole_rows_and_says_so(server, tmp_path):
    done = run(server, tmp_path / 'poor', n_examples=30, max_usd=0.3)
    assert done.returncode == 0, done.stderr[-2000:]
    numbers = json.loads((tmp_path / 'poor' / 'result.json').read_text())['numbers']
    assert 0 < numbers['cost_usd'] <= 0.3 and numbers['examples'] < 30
    assert 'max_usd' in numbers['why_stopped'] and 'could not be made' in done.stdout
    assert any('teacher_stopped' in reason for reason in numbers['rejected_by_reason'])


def test_a_wrong_key_ends_the_run_with_what_to_do(tmp_path):
    with claude_server('canned_teacher:answer', key='right') as s:
        done = run(s, tmp_path / 'locked', trial=2, max_usd=1)
    assert done.returncode == 1 and 'ANTHROPIC_API_KEY' in done.stderr and 'Traceback' not in done.stderr


def test_a_budget_below_the_estimate_ends_with_rows(server, tmp_path):
    done = run(server, tmp_path / '2-synthesize', n_examples=24, max_usd=0.5, judges='teacher')
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'it will probably end before that' in done.stdout
    numbers = json.loads((tmp_path / '2-synthesize' / 'result.json').read_text())['numbers']
    assert numbers['examples'] > 0 and numbers['cost_usd'] <= 0.5
