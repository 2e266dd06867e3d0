"""A thousand kills of a paid teacher: is anything lost, and is anything paid twice?

    python bench/bench_teacher_kills.py                    1,000 kills: half of them asking directly, half in batches
    python bench/bench_teacher_kills.py --kills 100 --misbehave 0

A story is a store of 16 questions; the process that asks them is killed with SIGKILL at random times, up to six times,
and then left to end. The local server misbehaves besides (15 % of all requests: limits, overloads, errors, cut
connections, spoiled answers, half files, expired items), runs in a process of its own, and keeps its own ledger. Both
books are compared after every story. A kill takes about half a second: 1,000 of them some ten minutes on two cores with
little else to do, and about an hour at `nice -n 19` beside other work. What was done is printed every twenty stories.

A canned server proves the plumbing of a teacher, and nothing about prompts or about a real API.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tests' / 'helpers'))

from claude_server import claude_server


def killed(mode, kills, misbehave, seed) -> dict:
    "The counts of one mode, as tests/helpers/killing.py prints them."
    with claude_server(misbehave=misbehave, seed=seed, slow_s=0.05) as server:
        command = [
            sys.executable,
            str(ROOT / 'tests/helpers/killing.py'),
            '--url',
            server.url,
            '--mode',
            mode,
            '--progress',
        ]
        command += ['--kills', str(kills), '--seed', str(seed)]
        path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
        r = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH': path}, check=True
        )
    return json.loads(r.stdout.splitlines()[-1])


def show(name, out, seconds):
    "One mode, each number with what it is a part of."
    wrong = out.get('wrong', {})
    asked, billed, again = out['asked'], out['billed'], wrong.get('stored answer asked again', 0)
    twice = wrong.get('good batch item paid twice', 0) + wrong.get('batch sent twice', 0)
    lines = [
        f'{name}: {out["kills"]:,} kills in {out["stories"]:,} stories, {seconds:.0f} s',
        f'  questions asked            {asked:,}, answered {out["stored"]:,}, without an answer {asked - out["stored"]:,}',
        f'  requests at the server     {out["requests"]:,}, billed {billed:,} (${out["server_usd"]:.4f})',
        f'  our books                  ${out["spent_usd"]:.4f} spent, of it {out["lost"]:,} requests counted as lost at their maximum',
        f'  stored answers asked again {again:,} of {out["stored"]:,}',
        f'  batches                    {out["batches"]:,} sent, {out["found_again"]:,} found again without an id, {out["never_sent"]:,} never sent',
        f'  batch answers paid twice   {twice:,} of {out["stored"]:,}' if out['batches'] else '',
        f'  quarrels with the server   {sum(wrong.values()):,} in {out["stories"]:,} stories {wrong or ""}',
    ]
    print('\n'.join(x for x in lines if x), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--kills', type=int, default=1000)
    p.add_argument('--misbehave', type=float, default=0.15)
    p.add_argument('--seed', type=int, default=0)
    a = p.parse_args()
    wrong = Counter()
    for mode in ('direct', 'batch'):
        began = time.time()
        out = killed(mode, a.kills // 2, a.misbehave, a.seed)
        show(mode, out, time.time() - began)
        wrong.update(out['wrong'])
    sys.exit(f'FAILED: {dict(wrong)}' if wrong else 0)


if __name__ == '__main__':
    main()
