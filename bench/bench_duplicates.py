"""Near-duplicate search over 100,000 turns: ours beside datasketch, and its recall against all pairs.

    python bench/bench_duplicates.py [TURNS]

The turns are simulated: arena jobs played by the scripted expert, with remarks and tool output made of random words
added, and a
share of them retried (a turn said again, exactly or with a few words exchanged). Both sides get the same texts, the
same shingles
of five words, 128 permutations and the same bands; datasketch is timed on fewer turns where it would take minutes,
and its rate is
what is compared. Without datasketch (`pip install datasketch`) a MinHash of the same parameters in numpy takes its
place."""

import importlib.util
import random
import resource
import statistics
import sys
import time

from agentft.arena.catalogue import FAMILIES, make_task
from agentft.arena.players import Expert, play
from agentft.evidence.duplicates import _PERM, _rows, jaccard, near_duplicates, shingles, turn_text


def made_up(n, retried=0.15, seed=0):
    "`n` simulated turns as (id, text), of which a share says nearly what an earlier one said."
    r, texts = random.Random(seed), []
    pool = [turn_text(t) for f in FAMILIES for s in range(60) for t in play(make_task(f, s), Expert()).turns]
    words = sorted(
        {w for t in pool for w in t.split()}
        | {f'{a}_{b}' for a in 'load parse send check build'.split() for b in range(400)}
    )
    for _ in range(n):
        if texts and r.random() < retried:
            w = r.choice(texts).split(' ')
            for _ in range(r.choice([0, 0, 1, 1, 2, 4])):
                w[r.randrange(len(w))] = r.choice(words)
            texts.append(' '.join(w))
        else:
            texts.append(f'{r.choice(pool)}\n{" ".join(r.choices(words, k=r.randint(20, 150)))}')
    return list(enumerate(texts))


def templates(n, k=5, length=80, seed=1):
    "The hard case: `n` texts from `k` templates, each with one or two words exchanged, so that most pairs lie just below the threshold."
    r = random.Random(seed)
    words = [f'w{i}' for i in range(2000)]
    base = [r.choices(words, k=length) for _ in range(k)]
    for i in range(n):
        w = list(r.choice(base))
        for _ in range(r.choice([1, 2])):
            w[r.randrange(length)] = r.choice(words)
        yield i, ' '.join(w)


def other(items, threshold=0.8, n=5):
    "The same search with datasketch, else with a plain numpy MinHash: sketch, insert, query, exact check."
    sets, rows = {}, _rows(threshold)
    if importlib.util.find_spec('datasketch'):
        from datasketch import MinHash, MinHashLSH

        lsh = MinHashLSH(num_perm=_PERM, params=(_PERM // rows, rows))

        def sketch(s):
            m = MinHash(num_perm=_PERM, seed=1)
            m.update_batch([x.encode() for x in s])
            return m

        query, insert = lsh.query, lsh.insert
    else:
        from zlib import crc32

        import numpy as np

        rng = np.random.default_rng(1)
        p = np.uint64((1 << 61) - 1)
        a, b = (rng.integers(1, 1 << 31, _PERM, dtype=np.uint64)[:, None] for _ in 'ab')
        bands = {}
        sketch = lambda s: ((a * np.fromiter((crc32(x.encode()) for x in s), np.uint64, len(s)) + b) % p).min(1)
        cells = lambda m: [(k, m[k * rows : (k + 1) * rows].tobytes()) for k in range(_PERM // rows)]
        query = lambda m: {i for c in cells(m) for i in bands.get(c, ())}

        def insert(i, m):
            for c in cells(m):
                bands.setdefault(c, []).append(i)

    up = {}

    def root(i):
        while up[i] != i:
            i = up[i]
        return i

    for i, t in items:
        s = shingles(t, n)
        m = sketch(s)
        up[i] = i
        for j in query(m):
            x, y = sorted((root(i), root(j)))
            if x != y and jaccard(s, sets[j]) >= threshold:
                up[y] = x
        sets[i] = s
        insert(i, m)
    out = {}
    for i, _ in items:
        out.setdefault(root(i), []).append(i)
    return [g for g in out.values() if len(g) > 1]


def recall(items, threshold=0.8):
    "Share of all pairs at or above `threshold`, by exact comparison of all with all, that ours puts into one group."
    sets, where = (
        {i: shingles(t) for i, t in items},
        {i: k for k, g in enumerate(near_duplicates(items, threshold)) for i in g},
    )
    ids, hit, all_ = [i for i, _ in items], 0, 0
    for k, i in enumerate(ids):
        a = sets[i]
        for j in ids[:k]:
            b = sets[j]
            if min(len(a), len(b)) >= threshold * max(len(a), len(b)) and jaccard(a, b) >= threshold:
                all_ += 1
                hit += i in where and where[i] == where.get(j)
    return hit, all_


def timed(f, runs):
    out = []
    for _ in range(runs):
        w, c = time.perf_counter(), time.process_time()
        got = f()
        out.append((time.perf_counter() - w, time.process_time() - c))
    return got, *(statistics.median(x) for x in zip(*out))


def main(n=100_000, runs=3, small=4000, subset=3000):
    items = made_up(n)
    size = sum(len(t) for _, t in items)
    print(
        f'{n:,} simulated turns, {size / 1e6:.0f} MB, {size / n:.0f} characters each; threshold 0.8, shingles of 5 words, {_PERM} permutations in {_PERM // _rows(0.8)} bands of {_rows(0.8)}; median of {runs} (templates: 1)\n'
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    groups, wall, cpu = timed(lambda: near_duplicates(items), runs)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    name = 'datasketch' if importlib.util.find_spec('datasketch') else 'numpy MinHash'
    print(f'{"":28}{"turns":>9}{"wall s":>9}{"CPU s":>9}{"turns/s":>10}{"groups":>8}')
    row = lambda what, k, w, c, g: print(f'{what:28}{k:9,}{w:9.2f}{c:9.2f}{k / c:10,.0f}{len(g):8,}')
    row('near_duplicates', n, wall, cpu, groups)
    hard = list(templates(n // 5))
    g0, w0, c0 = timed(lambda: near_duplicates(hard), 1)
    row('the same, five templates', n // 5, w0, c0, g0)
    part = items[:small]
    g1, w1, c1 = timed(lambda: near_duplicates(part), runs)
    row('near_duplicates', small, w1, c1, g1)
    g2, w2, c2 = timed(lambda: other(part), runs)
    row(name, small, w2, c2, g2)
    print(
        f'\nratio of turns per CPU second on the same {small:,} turns: {c2 / c1:.0f}x; groups that both found: {len({tuple(g) for g in g1} & {tuple(g) for g in g2}):,}'
    )
    print(f'peak memory grew by {grown:.0f} MB over the texts themselves')
    for what, some in dict(turns=items[:subset], templates=hard[: subset // 2]).items():
        hit, all_ = recall(some)
        print(f'recall against all pairs of {len(some):,} {what}: {hit:,} of {all_:,} ({hit / max(all_, 1):.4f})')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
