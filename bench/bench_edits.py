"""Commits per second of the edit miner, on a history made up here and on any repository given.

    python bench/bench_edits.py [REPO ...]

Prints reading alone (walk, blobs, line differences) beside the whole of it (minimal edits, executed), in CPU and wall
seconds."""

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from agentft.evidence.changes import file_states, hunk_texts
from agentft.evidence.edits import Tally, stream_edits
from agentft.evidence.repositories import Git, write_repo

WORDS = 'timeout retries total amount price order user page token report build parse send load check store'.split()


def made_up(folder, n=100, seed=0):
    "A simulated history: `n` commits, each with one to three small changes in 40 Python files."
    r = random.Random(seed)
    row = lambda: f'    {r.choice(WORDS)} = {r.randint(1, 999)}  # {r.choice(WORDS)} {r.randint(1, 9999)}\n'
    files = {f'src/{w}_{i}.py': [row() for _ in range(r.randint(30, 300))] for i in range(3) for w in WORDS[:13]}
    commits = [dict(message='First version', files={p: ''.join(l) for p, l in files.items()})]
    for k in range(n):
        p = r.choice(list(files))
        l = files[p]
        for _ in range(r.choice([1, 1, 2, 3])):
            l[r.randrange(len(l))] = row()
        commits.append(dict(message=f'Change {r.choice(WORDS)} in {p}, case {k}', files={p: ''.join(l)}))
    write_repo(folder, commits)
    return folder


def reading(repo, n):
    with Git(repo) as g:
        k = 0
        for c in g.commits(n):
            k += 1
            for ch in c.changes if len(c.changes) < 50 else []:
                if ch[4] == 'M':
                    a, b, no = file_states(g, ch, 1 << 18)
                    if not no:
                        hunk_texts(a, b)
    return k, 0


def mining(repo, n):
    t = Tally()
    for _ in stream_edits(repo, t, n):
        pass
    return t.commits, t.edits


def main(repos, n=60, runs=3):
    with tempfile.TemporaryDirectory() as tmp:
        print(
            f'{"repository":24}{"what":10}{"commits":>8}{"edits":>7}{"commits/s":>11}{"per CPU s":>11}{"edits/s":>9}   median of {runs}'
        )
        for repo in [*repos, made_up(Path(tmp) / 'made-up')]:
            for name, f in dict(reading=reading, mining=mining).items():
                out = []
                for _ in range(runs):
                    w, c = time.perf_counter(), time.process_time()
                    got = f(repo, n)
                    out.append((time.perf_counter() - w, time.process_time() - c))
                wall, cpu = (statistics.median(x) for x in zip(*out))
                print(
                    f'{Path(repo).name:24}{name:10}{got[0]:8}{got[1]:7}{got[0] / wall:11.0f}{got[0] / cpu:11.0f}{got[1] / wall:9.1f}'
                )


if __name__ == '__main__':
    main(sys.argv[1:])
