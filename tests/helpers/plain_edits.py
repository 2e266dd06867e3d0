"""The minimal edit as it was first written: every cell of the alignment, every window, no early end. Slow, and what
the quick one is held against."""

import difflib
import heapq
import re
from functools import cache
from itertools import accumulate

from agentft.core.replacements import count_tokens

_ATOM = re.compile(r'\w+|\s|[^\w\s]')


def _occurs_once(s: str, text: str) -> bool:
    p = text.find(s)
    return bool(s) and p >= 0 and text.find(s, p + 1) < 0


def _common(a: str, b: str) -> int:
    "Length of the common prefix of `a` and `b`."
    lo, hi = 0, min(len(a), len(b))
    while lo < hi:
        mid = (lo + hi + 1) // 2
        if a[:mid] == b[:mid]:
            lo = mid
        else:
            hi = mid - 1
    return lo


def single_edit(
    before: str,
    after: str,
    count=count_tokens,  # text -> number of tokens
) -> tuple[int, str, str]:  # cost, old, new
    "The cheapest single replacement of a unique string that turns `before` into `after`."
    if not before:
        return count(after), '', after
    n, m = len(before), len(after)
    short, pre, suf = min(n, m), _common(before, after), _common(before[::-1], after[::-1])
    core = max(0, short - suf)  # left of this nothing can differ
    starts, ends = [x.start() for x in _ATOM.finditer(before)], [x.end() for x in _ATOM.finditer(before)]
    whole = {*starts, *ends}
    lefts = [i for i in range(pre, min(core, pre) - 1, -1)][:200] + [i for i in reversed(starts) if i < min(core, pre)]
    best = (count(before) + count(after), 0, before, after)  # cost, ends that cut a word, old, new
    floor = (
        count(before[pre : n - suf]) + count(after[pre : m - suf]) - 4
    )  # what really changes, less what cutting a token can win
    for i in lefts:
        if 2 * count(before[i : min(core, pre)]) + floor > best[0]:
            break
        j0 = n - min(suf, short - i)  # the window must reach at least here
        rights = [j0] + ends[_bisect(ends, lambda e: e > j0) :]
        k = _bisect(rights, lambda j: j > i and _occurs_once(before[i:j], before))
        for j in rights[k : k + 2]:
            old, new = before[i:j], after[i : m - (n - j)]
            best = min(
                best, (count(old) + count(new), (i not in whole) + (j not in whole), old, new), key=lambda x: x[:2]
            )
    return best[0], *best[2:]


def _bisect(xs, ok) -> int:
    "First index of `xs` where `ok` holds, given that it goes on holding from there."
    lo, hi = 0, len(xs)
    while lo < hi:
        mid = (lo + hi) // 2
        if ok(xs[mid]):
            hi = mid
        else:
            lo = mid + 1
    return lo


_MAX_CELLS = 60_000  # size of the exact alignment table; larger differences are cut by lines first
_MAX_EXACT = 6  # hunks; more are worked through in one direction
_MAX_HUNKS = 30  # more are joined across the smallest gaps


def _align(a: list, b: list) -> list[tuple]:
    "Hunks `(a0, a1, b0, b1)` of the cheapest alignment of two token lists; a pure insertion pays 2 for its anchor."
    n, m, INF = len(a), len(b), float('inf')
    if n * m > _MAX_CELLS:
        return _difflib(a, b)
    # states: 0 outside a hunk, 1 inside with insertions only, 2 inside with deletions
    prev, back = None, [[None] * (m + 1) for _ in range(n + 1)]
    for i in range(n + 1):
        row = [[INF] * 3 for _ in range(m + 1)]
        for j in range(m + 1):
            c, frm = row[j], [None] * 3
            if i == j == 0:
                c[0] = 0

            def relax(s, cost, f):
                if cost < c[s]:
                    c[s] = cost
                    frm[s] = f

            if i and j and a[i - 1] == b[j - 1]:
                relax(0, prev[j - 1][0], (1, 1, 0))
            if j:
                p = row[j - 1]
                relax(1, p[0] + 1.01, (0, 1, 0))
                relax(1, p[1] + 1, (0, 1, 1))
                relax(2, p[2] + 1, (0, 1, 2))
            if i:
                p = prev[j]
                relax(
                    2,
                    min(p[0] + 1.01, p[1] + 1, p[2] + 1),
                    (1, 0, min(range(3), key=lambda s: p[s] + (0.01 if s == 0 else 0))),
                )
            for s in (1, 2):
                relax(0, c[s] + (2 if s == 1 else 0), (0, 0, s))  # close the hunk
            back[i][j] = frm
        prev = row
    hunks, i, j, s, end = [], n, m, 0, None
    while i or j or s:
        di, dj, f = back[i][j][s]
        if (di, dj) == (0, 0):
            end = (i, j)
        i, j = i - di, j - dj
        if s and f == 0 and di + dj == 1:
            hunks.append((i, end[0], j, end[1]))
        s = f
    return hunks[::-1]


def _align_back(a, b):
    "The same from the end: it settles ties the other way."
    return [(len(a) - i1, len(a) - i0, len(b) - j1, len(b) - j0) for i0, i1, j0, j1 in _align(a[::-1], b[::-1])][::-1]


def _difflib(a, b):
    "Hunks by Python's own heuristic, quick on long lists."
    return [
        (i0, i1, j0, j1)
        for op, i0, i1, j0, j1 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
        if op != 'equal'
    ]


def _hunks(before: str, after: str) -> list[list[tuple]]:
    "Ways to see where two texts differ: lists of character offsets `(b0, b1, a0, a1)`, each trimmed to what really changes."
    pre = _common(before, after)
    suf = min(_common(before[::-1], after[::-1]), min(len(before), len(after)) - pre)
    while pre and before[pre - 1].isalnum():
        pre -= 1  # keep whole words for the alignment
    while suf and before[len(before) - suf].isalnum():
        suf -= 1

    def cut(x, y, pat, b0, a0, align=_align):
        A, B = ([t.group() for t in pat.finditer(z)] for z in (x, y))
        ob, oa = ([*accumulate(map(len, z), initial=0)] for z in (A, B))
        return [(b0 + ob[p], b0 + ob[q], a0 + oa[r], a0 + oa[s]) for p, q, r, s in align(A, B)]

    def trim(b0, b1, a0, a1):
        p = _common(before[b0:b1], after[a0:a1])
        s = _common(before[b0 + p : b1][::-1], after[a0 + p : a1][::-1])
        return b0 + p, b1 - s, a0 + p, a1 - s

    x, y = before[pre : len(before) - suf], after[pre : len(after) - suf]
    if len(_ATOM.findall(x)) * len(_ATOM.findall(y)) > _MAX_CELLS:
        lines = cut(x, y, re.compile(r'[^\n]*\n|[^\n]+'), pre, pre, _difflib)
        ways = [[h for b0, b1, a0, a1 in lines for h in cut(before[b0:b1], after[a0:a1], _ATOM, b0, a0)]]
    else:
        ways = [cut(x, y, _ATOM, pre, pre, f) for f in (_align, _align_back, _difflib)]
    out = []
    for w in ways:
        w = [trim(*h) for h in w]
        while len(w) > _MAX_HUNKS:
            i = min(range(len(w) - 1), key=lambda i: w[i + 1][0] - w[i][1])
            w[i : i + 2] = [(w[i][0], w[i + 1][1], w[i][2], w[i + 1][3])]
        if w not in out:
            out.append(w)
    return out


def minimal_edit(before, after, count=count_tokens):
    "What agentft.core.replacements.minimal_edit must cost."
    if before == after:
        return ()
    if not before:
        return (('', after),)
    c, old, new = single_edit(before, after, count)
    found = [(c, ((old, new),))]
    for hunks in _hunks(before, after):
        if len(hunks) > 1:
            found += _orders(before, after, hunks, count)
    return min(found, key=lambda x: x[0])[1]


def _orders(before, after, hunks, count) -> list[tuple]:
    "The cheapest way to work through `hunks`, as `(cost, edits)`; a set of hunks is a bit mask."
    k = len(hunks)
    full = (1 << k) - 1

    @cache
    def text(done):
        out, at = [], 0
        for h, (b0, b1, a0, a1) in enumerate(hunks):
            out += [before[at:b0], after[a0:a1] if done >> h & 1 else before[b0:b1]]
            at = b1
        return ''.join(out) + before[at:]

    def left(done):
        return [h for h in range(k) if not done >> h & 1]

    def mask(hs):
        return sum(1 << h for h in hs)

    def exact(done):
        t = left(done)
        return [mask(t[x : y + 1]) for x in range(len(t)) for y in range(x, len(t))]

    def forth(done):
        t = left(done)
        return [mask(t[: y + 1]) for y in range(min(4, len(t)))]

    def back(done):
        t = left(done)[::-1]
        return [mask(t[: y + 1]) for y in range(min(4, len(t)))]

    least = [count(before[b0:b1]) + count(after[a0:a1]) for b0, b1, a0, a1 in hunks]
    gaps = [2 * max(0, count(before[x[1] : y[0]]) - 2) for x, y in zip(hunks, hunks[1:])]

    def floor(g):  # no replacement that covers `g` can be cheaper
        hs = [h for h in range(k) if g >> h & 1]
        return sum(least[h] for h in hs) + sum(gaps[hs[0] : hs[-1]])

    rest = sum(least)

    def search(moves):  # A*: an edge is priced only when its lower bound is the smallest
        heap, seen, n = [(rest, 0, 0, 0, (), 0)], set(), 0
        while True:
            f, _, cost, done, path, g = heapq.heappop(heap)
            if g:
                c, old, new = single_edit(text(done), text(done | g), count)
                cost, done, path = cost + c, done | g, path + ((old, new),)
                n += 1
                heapq.heappush(
                    heap, (cost + sum(l for h, l in enumerate(least) if not done >> h & 1), n, cost, done, path, 0)
                )
            elif done == full:
                return cost, path
            elif done not in seen:
                seen.add(done)
                for m in moves(done):
                    n += 1
                    heapq.heappush(
                        heap,
                        (
                            cost + floor(m) + sum(l for h, l in enumerate(least) if not (done | m) >> h & 1),
                            n,
                            cost,
                            done,
                            path,
                            m,
                        ),
                    )

    return [search(exact)] if k <= _MAX_EXACT else [search(forth), search(back)]
