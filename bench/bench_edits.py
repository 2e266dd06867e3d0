"""Commits per second of the edit miner, on a history made up here and on any repository given.

    python bench/bench_edits.py [REPO ...]

Prints reading alone (walk, blobs, line differences) beside the whole of it (minimal edits, executed), in CPU and wall
seconds.

How many of the edits are worth keeping, says a sheet that two people filled in who read them blind:

    git archive 7d86e75 agentft | tar -x -C OLD
    python bench/bench_edits.py --worth SHEET --draw FOLDER --old OLD SOURCE ...   draws edits of both miners
    python bench/bench_edits.py --worth SHEET --keep FOLDER READER1.csv READER2.csv   writes SHEET
    python bench/bench_edits.py --worth SHEET                                      shares and agreement

SOURCE is the folder of a git repository, or a file or folder of sessions. FOLDER lies outside the project: `reading.md`
holds foreign text, in an order that says nothing of the miner; `reader.csv` is copied and filled in by each reader;
`key.csv` is for nobody who reads. SHEET keeps ids, hashes, verdicts and short reasons, and no text of anybody."""

import argparse
import csv
import hashlib
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
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


# ---- worth keeping, by two readers

CRITERIA = """# Edits to judge

Each number is one job for a coding agent: a request, the files it needs (lines around the edits), and the calls of
`edit_file` with which the agent is said to have done it. Write `keep` or `drop` into `reader.csv`, and for `drop` a short
reason in words of your own. Keep a job when you say yes to all three:

1. **Is the request a real wish, and does it stand alone?** It names what is wanted without another text at hand; it is
   not chatter, not a note to oneself, not cut off. A request may be precise to the letter.
2. **Would a careful engineer who has only this request and the file make this edit?** Nothing has to be guessed, nothing
   is done that was not asked for, nothing that was asked for is missing.
3. **Is the edit written as a person would write it?** Whole words and lines, old text that is found at once, one call
   for each place.

Whether the change was a good idea is not asked.
"""

WORKER = """
import json, sys
from pathlib import Path
from agentft.data.histories import to_task
from agentft.evidence.edits import Tally, stream_edits, stream_job_edits
from agentft.traces.formats import read_source
try:
    from agentft.data.histories import wishes
    from agentft.evidence.edits import code_base
except ImportError:
    wishes = lambda edits: [[e] for e in edits]
    code_base = None

for source in sys.argv[2:]:
    path, tally = Path(source), Tally()
    if (path / '.git').exists() or (path / 'HEAD').is_file():
        edits = list(stream_edits(source, tally, int(sys.argv[1])))
    else:
        seen, edits = set(), []
        for job in read_source(source)[0]:
            where = dict(where=code_base(job)) if code_base else {}
            edits += stream_job_edits(job, tally, seen=seen, **where)
    groups = wishes(edits)
    for group in groups:
        task = to_task(group if code_base else group[0])
        files = [[e.path_before, e.path_after, e.before, [list(x) for x in e.edits]] for e in group]
        print(json.dumps(dict(source=source, id=task.id, request=task.instruction, files=files)))
    print(json.dumps(dict(source=source, commits=tally.commits, files=tally.files, edits=len(edits), jobs=len(groups))))
"""


def mined(code, sources, commits):
    "Jobs of a miner by source, and what it saw; `code` is the folder that holds its `agentft`."
    env = os.environ | dict(PYTHONPATH=str(Path(code).resolve()))
    done = subprocess.run(
        [sys.executable, '-c', WORKER, str(commits), *sources], env=env, capture_output=True, text=True, cwd=code
    )
    if done.returncode:
        raise SystemExit(f'the miner in {code} failed:\n{done.stderr[-2000:]}')
    jobs, seen = {}, []
    for line in done.stdout.splitlines():
        row = json.loads(line)
        if 'request' in row:
            jobs.setdefault(row['source'], []).append(row)
        else:
            seen.append(row)
    return jobs, seen


def drawn(jobs, n, r):
    "`n` jobs: a source is drawn, then one of its jobs, so that a large history does not fill the sheet."
    left, out = {k: r.sample(v, len(v)) for k, v in sorted(jobs.items())}, []
    while len(out) < n and any(left.values()):
        source = r.choice([k for k, v in left.items() if v])
        out.append(left[source].pop())
    return out


def excerpt(before, edits, context=8):
    "The lines of a file around its edits; three dots stand for the others."
    lines, text, wanted = before.split('\n'), before, set()
    for old, new in edits:
        at = before.find(old) if old else 0
        first = before.count('\n', 0, max(at, 0))
        wanted |= set(range(first - context, first + old.count('\n') + context + 1)) if at >= 0 else set()
        text = text.replace(old, new, 1)
    out, last = [], -1
    for k in sorted(k for k in wanted if 0 <= k < len(lines)):
        out += ['...'] if k != last + 1 else []
        out.append(lines[k])
        last = k
    return '\n'.join(out + (['...'] if last + 1 < len(lines) else []))


def fenced(text):
    fence = '~~~' if '```' in text else '```'
    return f'{fence}\n{text}\n{fence}\n' if text else '(nothing)\n'


def page(n, job):
    "One job of the reading sheet."
    out = [f'\n---\n\n## {n}\n\n**Request**\n\n', fenced(job['request'])]
    for path, moved, before, edits in job['files']:
        out += [f'\n**{path}**\n\n', fenced(excerpt(before, edits))]
        for k, (old, new) in enumerate(edits, 1):
            out += [f'\nedit {k} of {path}, old_string:\n\n', fenced(old), '\nnew_string:\n\n', fenced(new)]
        out += [f'\nThen the file is moved to {moved}.\n'] if moved != path else []
    return ''.join(out)


def name_of(source):
    return '/'.join(Path(source).resolve().parts[-2:])


def draw(a):
    "Write the reading sheet, an empty one for verdicts, and the key."
    r, out = random.Random(a.seed), Path(a.draw)
    if out.resolve().is_relative_to(Path(__file__).resolve().parents[1]):
        raise SystemExit(f'{out} lies in the project: the reading sheet holds foreign text, give a folder outside')
    rows = []
    for miner, code, n in (('new', Path(__file__).resolve().parents[1], a.number), ('old', a.old, a.old_number)):
        jobs, seen = mined(code, a.files, a.commits)
        for x in seen:
            per = f'{100 * x["edits"] / x["commits"]:.1f} per 100 commits' if x['commits'] else f'of {x["files"]} calls'
            print(f'{miner:4}{name_of(x["source"])[-40:]:41}{x["edits"]:5} edits in {x["jobs"]:4} jobs, {per}')
        rows += [(miner, job) for job in drawn(jobs, n, r)]
    r.shuffle(rows)
    out.mkdir(parents=True, exist_ok=True)
    (out / 'reading.md').write_text(CRITERIA + ''.join(page(k, job) for k, (_, job) in enumerate(rows, 1)))
    with (out / 'key.csv').open('w', newline='') as key, (out / 'reader.csv').open('w', newline='') as reader:
        keys, reads = csv.writer(key), csv.writer(reader)
        keys.writerow(['n', 'id', 'source', 'miner'])
        reads.writerow(['n', 'verdict', 'reason'])
        for k, (miner, job) in enumerate(rows, 1):
            keys.writerow([k, job['id'], hashlib.sha256(name_of(job['source']).encode()).hexdigest()[:8], miner])
            reads.writerow([k, '', ''])
    print(f'{len(rows)} jobs in {out / "reading.md"}')


def keep(a):
    "Join the verdicts of two readers with the key, into the sheet that is kept."
    keys = list(csv.DictReader((Path(a.keep) / 'key.csv').open()))
    readers = [{row['n']: row for row in csv.DictReader(Path(f).open())} for f in a.files]
    if len(readers) != 2:
        raise SystemExit('two readers are needed: --keep FOLDER READER1.csv READER2.csv')
    sheet = Path(a.worth)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    with sheet.open('w', newline='') as f:
        out = csv.writer(f)
        out.writerow(['id', 'source', 'miner', 'reader1', 'reader2', 'reason1', 'reason2'])
        for key in keys:
            verdicts = [x[key['n']]['verdict'].strip().lower() for x in readers]
            if bad := [v for v in verdicts if v not in ('keep', 'drop')]:
                raise SystemExit(f'{key["n"]}: {bad[0]!r} is no verdict, write keep or drop')
            reasons = [x[key['n']]['reason'].strip()[:80] for x in readers]
            out.writerow([key['id'], key['source'], key['miner'], *verdicts, *reasons])


def wilson(k, n, z=1.96):
    "The interval of a share."
    if not n:
        return 0.0, 1.0
    p, d = k / n, 1 + z * z / n
    middle, half = (p + z * z / 2 / n) / d, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n) / d
    return middle - half, middle + half


def kappa(pairs):
    "Cohen's kappa of pairs of verdicts: agreement beyond that of two who say yes as often, by chance."
    n = len(pairs)
    observed = sum(x == y for x, y in pairs) / n
    chance = sum(sum(x == v for x, _ in pairs) * sum(y == v for _, y in pairs) for v in ('keep', 'drop')) / n / n
    return 1.0 if chance == 1 else (observed - chance) / (1 - chance)


def worth(sheet):
    "The figures of a sheet, by miner."
    rows, out = list(csv.DictReader(Path(sheet).open())), {}
    for miner in sorted({row['miner'] for row in rows}):
        mine = [row for row in rows if row['miner'] == miner]
        counts = {f'reader {k}': sum(row[f'reader{k}'] == 'keep' for row in mine) for k in (1, 2)}
        counts['both'] = sum(row['reader1'] == row['reader2'] == 'keep' for row in mine)
        out[miner] = dict(n=len(mine), sources=len({row['source'] for row in mine}), keep=counts)
    return out, kappa([(row['reader1'], row['reader2']) for row in rows]), rows


def tell(sheet):
    found, agreement, rows = worth(sheet)
    for miner, x in found.items():
        for who, k in x['keep'].items():
            low, high = wilson(k, x['n'])
            print(
                f'{miner:4}{who:9}{k:4} of {x["n"]:3} jobs of {x["sources"]} sources worth keeping: '
                f'{k / x["n"]:.0%} ({low:.0%} to {high:.0%})'
            )
    print(f"agreement of the readers: Cohen's kappa {agreement:.2f} on {len(rows)} jobs")
    reasons = Counter(row[f'reason{k}'] for row in rows for k in (1, 2) if row['miner'] == 'new' and row[f'reason{k}'])
    for reason, n in reasons.most_common(8):
        print(f'{n:4} {reason}')


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('files', nargs='*', help='repositories; sources to draw from; the two sheets of the readers')
    p.add_argument('--worth', metavar='SHEET', help='the kept sheet, such as bench/sheets/edits.csv')
    p.add_argument('--draw', metavar='FOLDER', help='draw edits and write the reading sheet here')
    p.add_argument('--keep', metavar='FOLDER', help='join the key in this folder with two filled sheets')
    p.add_argument('--old', help='folder that holds the old code, `agentft` in it')
    p.add_argument('--number', type=int, default=60, help='jobs of this miner')
    p.add_argument('--old-number', type=int, default=30, help='jobs of the old one')
    p.add_argument('--commits', type=int, default=500, help='of each repository, the newest')
    p.add_argument('--seed', type=int, default=0)
    a = p.parse_args()
    if a.draw and not (a.old and a.worth and a.files):
        p.error('--draw needs --worth SHEET, --old CODE and sources')
    return a


if __name__ == '__main__':
    a = arguments()
    if not a.worth:
        main(a.files)
    elif a.draw:
        draw(a)
    elif a.keep:
        keep(a)
    else:
        tell(a.worth)
