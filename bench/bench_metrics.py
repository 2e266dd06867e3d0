"""Seconds for minimal edits and for detectors, the plain search (tests/helpers/plain_edits.py) beside the quick one,
in one run.

    python bench/bench_metrics.py [AUDIT]

AUDIT: a mongodump folder, such as ../shared/audit/dump; without it only made-up files are measured. Medians of CPU
seconds."""

import random
import statistics
import sys
import time
from pathlib import Path

from agentft.core import replacements as metrics
from agentft.core.metrics import job_counts, job_edits
from agentft.core.replacements import count_tokens, edit_cost, fewest_tokens
from agentft.evidence.failures import detect

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests' / 'helpers'))
from plain_edits import minimal_edit as plain


def cpu(f, runs=3):
    out = []
    for _ in range(runs):
        t = time.process_time()
        f()
        out.append(time.process_time() - t)
    return statistics.median(out)


def made_up(lines, changed, seed=1):
    "A file of assignments, simulated, and the same with some lines new."
    r = random.Random(seed)
    word = 'timeout retries total amount price order user page token report build parse send load check store'.split()
    row = lambda: (
        f'    {r.choice(word)} = {r.randint(1, 999)}  # {r.choice(word)} {r.choice(word)} {r.randint(1, 9999)}\n'
    )
    a = [row() for _ in range(lines)]
    b = a[:]
    for i in r.sample(range(lines), changed):
        b[i] = row()
    return ''.join(a), ''.join(b)


def edits(name, pairs, runs):
    fewest_tokens(*made_up(60, 3))  # what is imported on first use
    same = all(edit_cost(fewest_tokens(a, b)) == edit_cost(plain(a, b)) for a, b in pairs)
    before, after = (
        cpu(lambda: [plain(a, b, count_tokens) for a, b in pairs], runs),
        cpu(lambda: [fewest_tokens(a, b) for a, b in pairs], runs),
    )
    print(
        f'{name:34}{len(pairs):6}{before:10.3f}{after:10.3f}{before / after:8.1f}x   {"same cost" if same else "COSTS DIFFER"}'
    )


def main(audit=''):
    print(f'{"minimal edits of":34}{"pairs":>6}{"plain s":>10}{"quick s":>10}{"ratio":>9}')
    for lines, changed in ((60, 3), (300, 5), (600, 20), (2000, 40), (300, 300)):
        edits(f'{changed} of {lines} lines new', [made_up(lines, changed)], 3)
    if not audit:
        return
    from agentft.traces.wanted_jobs import collect_jobs

    jobs, _ = collect_jobs(Path(audit))
    docs = sum(sum(j.meta.get('documents', {}).values()) for j in jobs)
    known = [job_edits(j) for j in jobs]
    edits('the recorded jobs', [(e.before, e.after) for es, _ in known for e in es], 3)

    def cold():
        metrics._KNOWN.clear()
        return [job_edits(j) for j in jobs]

    for name, f in {
        'job_edits': cold,
        'job_counts, edits known': lambda: [job_counts(j, edits=e) for j, e in zip(jobs, known)],
        'detect, edits known': lambda: [detect(j, edits=e[0]) for j, e in zip(jobs, known)],
    }.items():
        t = cpu(f, 5)
        print(f'{name:34}{t:10.4f} s for {docs} documents: {docs / t:9,.0f} documents per second')


if __name__ == '__main__':
    main(*sys.argv[1:])
