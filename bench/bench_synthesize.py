"""A language model makes a thousand verified rows, is killed on the way, and goes on: what came, and what did it cost?

    python bench/bench_synthesize.py                       1,000 rows, killed five times, against the local server
    python bench/bench_synthesize.py --rows 60 --kills 2 --batch never

`agentft synthesize --teacher claude:sonnet` runs as a user runs it, with the real client, against a local server that
speaks the Messages and Batches API and misbehaves (5 % of all requests). The run is killed with SIGKILL at random times
and started again with the same command until it ends. Then our books are compared with those of the server, and the
result with a run that nobody killed.

The server's answers are canned: jobs of the arena's families written as blueprints, talks of a few forms, some of them
wrong at first. That proves the plumbing (asking, executing, repairing, playing, agreeing, verifying, resuming, paying);
it says nothing about what a real model makes of the prompts.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tests' / 'helpers'))

from claude_server import claude_server
from killing import micro_usd

from agentft.core.records import Example, read_jsonl
from agentft.teachers.bill import bill
from agentft.teachers.questions import Store


def command(out, rows, batch, usd):
    "As a user writes it."
    options = dict(out=out, collect_dir='none', teacher='claude:sonnet', max_usd=usd, n_examples=rows, batch=batch)
    options |= dict(n_preferences=20, max_len=4096)
    return [sys.executable, '-m', 'agentft.cli', 'synthesize', *(f'--{k}={v}' for k, v in options.items())]


def run_killed(args, server, kills, r, log):
    "Run until it ends; kill it `kills` times before. How often it was started, and the seconds of all runs."
    env = os.environ | dict(ANTHROPIC_BASE_URL=server.url, ANTHROPIC_API_KEY='local')
    started, begin = 0, time.time()
    while True:
        started += 1
        with log.open('w') as out:
            p = subprocess.Popen(args, env=env, stdout=out, stderr=subprocess.STDOUT)
        if started > kills:
            if p.wait():
                raise SystemExit(f'it ended with {p.returncode}: {log.read_text()[-2000:]}')
            return started, time.time() - begin
        known = len(server.ledger()['rows'])
        until = known + r.randint(50, 600)  # some time after it has asked so many more
        while p.poll() is None and len(server.ledger()['rows']) < until:
            time.sleep(0.2)
        p.send_signal(signal.SIGKILL)
        p.wait()
        print(f'  killed after {len(server.ledger()["rows"]) - known} requests of this start', flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rows', type=int, default=1000)
    p.add_argument('--kills', type=int, default=5)
    p.add_argument('--batch', default='auto', help='auto, always or never')
    p.add_argument('--misbehave', type=float, default=0.05)
    p.add_argument('--usd', type=float, default=500)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--out', default='', help="folder of phase 2; '': a scratch folder")
    a = p.parse_args()
    out = Path(a.out or tempfile.mkdtemp(prefix='agentft-')) / '2-synthesize'
    with claude_server('canned_teacher:answer', misbehave=a.misbehave, seed=a.seed) as server:
        args = command(out, a.rows, a.batch, a.usd)
        started, seconds = run_killed(args, server, a.kills, random.Random(a.seed), out.parent / 'last-start.log')
        ledger = server.ledger()
    rows, numbers = (
        read_jsonl(out / 'examples.jsonl', Example),
        json.loads((out / 'result.json').read_text())['numbers'],
    )
    billed = [r for r in ledger['rows'] if r['billed']]
    with Store(out / 'answers.sqlite') as store:
        books = bill(store)
    print(f'{len(rows)} verified rows of {a.rows}, in {started} starts and {seconds / 60:.1f} minutes')
    print(f'shapes: {numbers["by_shape"]}; behaviours: {numbers["by_behaviour"]}')
    print(f'steps: {numbers["steps"]}')
    print(f'turned away: {numbers["rejected_by_reason"]}')
    print(f'verified: {dict(Counter(x for e in rows for x in e.verified))}')
    spoiled = sum(books.retried.get(x, 0) for x in ('max_tokens', 'not_of_schema', 'invalid_json', 'empty'))
    twice = max(len(billed) - books.answers - spoiled - books.lost, 0)
    told = (
        f'{books.answers} stored answers, {spoiled} spoiled ones that were asked again, {books.lost} that were cut off'
    )
    print(f'the server billed {len(billed)} requests: {told}; paid twice: {twice}')
    print(f'by the books of the server ${sum(map(micro_usd, billed)) / 1e6:.2f}; by ours:')
    print(books)


if __name__ == '__main__':
    main()
