"""Documents per second of phase 1 against plain BSON decoding of the same documents, side by side in one run; and its
memory.

    python bench/bench_collect.py                        # simulated jobs of the arena, from a dump and from a server
    python bench/bench_collect.py --dump FOLDER          # the same on a mongodump folder of your own
    python bench/bench_collect.py --memory 1000000       # peak memory of a collect of so many documents

Plain decoding is `bson.decode_all` of the dump's files, and `list(collection.find())` of every collection of the
server. "read" is
what turns documents into `Job`s (find the jobs, decode, join, judge each call); "collect" is all of phase 1: that,
and redaction,
failure detection, metrics, near-duplicates, writing and the leak scan.

The jobs are simulated: scripted experts and scripted faults under production's rules (`FULL`), each from another
seed. Their prompts
are shorter than a production agent's; `--prompt` pads the system prompt to the given number of characters, so that a
document is as
large as the recorded ones (about 15 kB). For `--memory` the same jobs are written again and again under new ids and
with other texts.
"""

import argparse
import contextlib
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.filterwarnings('ignore')

from agentft.traces.dumps import COLLECTIONS, DATABASE


def filler(n, rng):
    "About `n` characters of rules, different for each job."
    words = 'always never read write plan file workspace phase todo before after keep note check result each list section small exact name path'.split()
    out = []
    while sum(map(len, out)) < n:
        out.append('- ' + ' '.join(rng.choices(words, k=14)) + f' ({rng.randrange(10**6)}).\n')
    return ''.join(out)[:n]


def simulated(n_jobs, prompt, start=0):
    "Audit documents of `n_jobs` jobs, by collection; every other one with a fault."
    from agentft.arena.catalogue import FAMILIES, make_task
    from agentft.arena.faults import FAULTS, Faulty
    from agentft.arena.players import Expert, play
    from agentft.core.agent import FULL
    from agentft.traces.audit_writer import to_documents

    names, kinds = [f for f in FAMILIES if FAMILIES[f].seen], list(FAULTS)
    for k in range(start, start + n_jobs):
        task = make_task(names[k % len(names)], k)
        task.id = f'{task.id}-{k:08d}'
        docs = to_documents(play(task, Faulty(kinds[k % len(kinds)]) if k % 2 else Expert(), FULL))
        pad = '\n' + filler(prompt, random.Random(k)) if prompt else ''
        for d in docs['llm_requests']:
            d['request']['messages'][0]['content'] += pad
        yield docs


def dump(folder, jobs):
    "Write a mongodump folder; gives the number of documents and bytes."
    import bson

    at = Path(folder) / DATABASE
    at.mkdir(parents=True)
    files, n = {c: (at / f'{c}.bson').open('wb') for c in COLLECTIONS}, 0
    for docs in jobs:
        for c in COLLECTIONS:
            for d in docs[c]:
                files[c].write(bson.encode(d))
                n += 1
    for f in files.values():
        f.close()
    return n, sum(p.stat().st_size for p in at.iterdir())


def clones(folder, n_docs, prompt):
    "A dump of at least `n_docs` documents: 40 played jobs again and again, each time with other ids and texts."
    import bson

    made = list(simulated(40, prompt))
    raw = [{c: b''.join(map(bson.encode, docs[c])) for c in COLLECTIONS} for docs in made]
    per = sum(len(v) for docs in made for v in docs.values())
    at = Path(folder) / DATABASE
    at.mkdir(parents=True)
    files, n, jobs = {c: (at / f'{c}.bson').open('wb') for c in COLLECTIONS}, 0, 0
    while n < n_docs:
        for k, parts in enumerate(
            raw
        ):  # an id such as config-0-00000012-...: eight digits of the same length, wherever they stand
            for c in COLLECTIONS:
                files[c].write(parts[c].replace(b'%08d' % k, b'%08d' % jobs))
            jobs += 1
        n += per
    for f in files.values():
        f.close()
    return n, jobs, sum(p.stat().st_size for p in at.iterdir())


@contextlib.contextmanager
def server():
    "SecantusDB in a process of its own, as a server is."
    code = "from agentft.traces.documents import embedded_server\nwith embedded_server() as uri: print(uri, flush=True); input()"
    p = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield p.stdout.readline().strip()
    finally:
        p.kill()


def plain_dump(folder):
    import gzip

    import bson

    n = 0
    for p in Path(folder).rglob('*.bson*'):
        if p.name.split('.')[0] in COLLECTIONS:
            n += len(bson.decode_all((gzip.open(p) if p.suffix == '.gz' else p.open('rb')).read()))
    return n


def plain_server(uri):
    from pymongo import MongoClient

    with MongoClient(uri) as client:
        return sum(len(list(client[DATABASE][c].find(batch_size=1000))) for c in COLLECTIONS)


def read(source):
    from agentft.traces.wanted_jobs import read_jobs

    return sum(sum(j.meta['documents'].values()) for j in read_jobs(source))


def collected(source):
    import io
    import json

    from agentft.phases.collect import collect

    with tempfile.TemporaryDirectory() as d, contextlib.redirect_stdout(io.StringIO()):
        collect(out=d, source=str(source))
        return json.loads((Path(d) / 'result.json').read_text())['numbers']['documents']


def timed(f, *a):
    t = time.perf_counter()
    n = f(*a)
    return n / (time.perf_counter() - t)


def compare(name, source, plain, rounds):
    rates = dict(plain=[], read=[], collect=[])
    for _ in range(rounds):
        for k, f in dict(plain=plain, read=read, collect=collected).items():
            rates[k].append(timed(f, source))
    m = {k: statistics.median(v) for k, v in rates.items()}
    print(
        f'{name:28}{m["plain"]:12,.0f}{m["read"]:12,.0f}{m["read"] / m["plain"]:8.2f}{m["collect"]:12,.0f}{m["collect"] / m["plain"]:8.2f}',
        flush=True,
    )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        '--jobs', type=int, default=120, help='simulated jobs, about 110 documents each (default: %(default)s)'
    )
    p.add_argument(
        '--prompt',
        type=int,
        default=14000,
        help='characters that the system prompt is padded with (default: %(default)s)',
    )
    p.add_argument(
        '--rounds', type=int, default=3, help='measurements of which the median is shown (default: %(default)s)'
    )
    p.add_argument('--dump', help='a mongodump folder to measure on instead')
    p.add_argument('--memory', type=int, metavar='N', help='measure peak memory on N documents instead')
    a = p.parse_args()
    os.environ.setdefault('TQDM_DISABLE', '1')
    os.environ.setdefault('AGENTFT_PAGES', '0')  # the page of a phase by hand is not what is measured
    with tempfile.TemporaryDirectory() as d:
        if a.memory:
            n, jobs, size = clones(f'{d}/dump', a.memory, 0)
            code = f"from agentft.phases.collect import collect; collect(out={d + '/out'!r}, source={d + '/dump'!r})"
            t = time.perf_counter()
            subprocess.run([sys.executable, '-c', code], check=True)
            t = time.perf_counter() - t
            print(
                f'{n:,} documents of {jobs:,} simulated jobs ({size / 1e9:.1f} GB): peak memory {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6:.2f} GB, {t:.0f} s, {n / t:,.0f} documents/s'
            )
            return
        print(f'{"documents per second":28}{"plain":>12}{"read":>12}{"ratio":>8}{"collect":>12}{"ratio":>8}')
        if a.dump:
            compare('dump', a.dump, plain_dump, a.rounds)
            return
        from pymongo import MongoClient

        jobs = list(simulated(a.jobs, a.prompt))
        n, size = dump(f'{d}/dump', jobs)
        print(f'({n:,} documents of {a.jobs} simulated jobs, {size / n / 1000:.1f} kB each)')
        compare('dump', f'{d}/dump', plain_dump, a.rounds)
        with server() as uri:
            for c in COLLECTIONS:
                MongoClient(uri)[DATABASE][c].create_index([('job_id', 1), ('timestamp', 1)])
                for docs in jobs:
                    MongoClient(uri)[DATABASE][c].insert_many(docs[c])
            compare('server (SecantusDB)', uri, plain_server, a.rounds)


if __name__ == '__main__':
    main()
