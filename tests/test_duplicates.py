"""Near-duplicate search: the same answer as comparing all with all, from a stream, in bounded memory."""

import random
import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agentft.arena.catalogue import make_task
from agentft.arena.players import Expert, play
from agentft.core.records import Message, ToolCall, Turn
from agentft.evidence.duplicates import (
    NearIndex,
    hashed_shingles,
    jaccard,
    near_duplicates,
    repeated_jobs,
    repeated_turns,
    shingles,
    turn_text,
)

quick = settings(max_examples=150, deadline=None)
word = st.one_of(st.sampled_from('a b foo_1 été 漢字 x9 — . , ( 💡 \u0301 ² ٣ \ud800'.split(' ')), st.text(max_size=4))
text = st.builds(
    lambda ws, sep: sep.join(ws), st.lists(word, max_size=14), st.sampled_from([' ', '', '\n', '\u3000', '\x1c'])
)


@quick
@given(st.lists(text, max_size=6), st.integers(1, 6))
def test_hashed_shingles_are_the_shingles(texts, n):
    "Same number of distinct ones per text, and the same similarity for each pair."
    flat, at = hashed_shingles(texts, n)
    got = [set(flat[at[i] : at[i + 1]].tolist()) for i in range(len(texts))]
    want = [shingles(t, n) for t in texts]
    for a, x in zip(got, want):
        for b, y in zip(got, want):
            assert jaccard(a, b) == jaccard(x, y)


def test_long_texts_are_cut_only_at_blanks():
    long = 'word and some more, ' * 200_000
    flat, at = hashed_shingles([long, 'word and some more, ' * 3])
    assert len(np.unique(flat[: at[1]])) == len(shingles(long)) == 5 and at[1] == 5 * 200_000 - 4
    assert near_duplicates([('a', long), ('b', 'x ' + long)]) == [['a', 'b']]


def varied(r, n, vocabulary, length, changes):
    base = [r.choices(vocabulary, k=length) for _ in range(max(n // 10, 1))]
    for i in range(n):
        w = list(r.choice(base))
        for _ in range(r.choice(changes)):
            w[r.randrange(len(w))] = r.choice(vocabulary)
        yield i, ' '.join(w)


def all_pairs(items, threshold):
    "Groups by comparing all with all."
    sets, up = [shingles(t) for _, t in items], list(range(len(items)))

    def root(i):
        while up[i] != i:
            i = up[i]
        return i

    for i in range(len(items)):
        for j in range(i):
            if jaccard(sets[i], sets[j]) >= threshold:
                a, b = sorted((root(i), root(j)))
                up[b] = a
    out = {}
    for i in range(len(items)):
        out.setdefault(root(i), []).append(items[i][0])
    return [g for g in out.values() if len(g) > 1]


def pairs(groups):
    return {(a, b) for group in groups for a in group for b in group if a < b}


def test_groups_are_those_of_comparing_all_with_all():
    vocabulary = [f'w{i}' for i in range(500)]
    for seed, threshold in ((0, 0.8), (1, 0.8), (2, 0.6), (3, 0.95)):
        items = list(varied(random.Random(seed), 500, vocabulary, 60, [0, 1, 1, 2, 3, 5]))
        got, want = near_duplicates(iter(items), threshold), all_pairs(items, threshold)
        assert pairs(got) <= pairs(want), 'nobody is grouped who is not connected'
        assert len(pairs(got)) >= 0.999 * len(pairs(want))


def test_groups_do_not_depend_on_the_process():
    code = """
import random
from agentft.evidence.duplicates import near_duplicates
r = random.Random(5)
w = [f'w{i}' for i in range(50)]
print(near_duplicates((i, ' '.join(r.choices(w[i % 5*10:][:10], k=12))) for i in range(400)))
"""

    def run(seed):
        env = {'PYTHONHASHSEED': seed, 'PATH': ''}
        return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env=env).stdout

    assert run('1') == run('2')


def test_odd_texts_and_ids():
    odd = [(('x', 1), ''), (None, ''), ('a', ' \n'), ('b', '\ud800'), ('c', '\0'), ('d', 'word'), ('e', ' word ')]
    got = near_duplicates(odd)
    assert got == [[('x', 1), None, 'a'], ['d', 'e']]


def test_what_is_the_same_everywhere_does_not_count():
    t = Turn(
        'tactical',
        Message('assistant', tool_calls=[ToolCall('read_file', {'path': 'a.md'}, 'call-1')]),
        [Message('system', 'You are an agent.'), Message('user', 'Read a.md')],
    )
    u = Turn(
        'strategic',
        Message('assistant', tool_calls=[ToolCall('read_file', {'path': 'a.md'}, 'call-2')]),
        [Message('system', 'Another prompt.'), Message('user', 'Read a.md')],
    )
    assert (
        turn_text(t)
        == turn_text(u)
        != turn_text(
            Turn('', Message('assistant', tool_calls=[ToolCall('read_file', malformed='{"path": "a')]), t.seen)
        )
    )


def test_retried_jobs_are_one_piece_of_evidence_and_stay_together():
    jobs = [play(make_task('notes', s), Expert()) for s in (1, 2, 3)]
    again = play(make_task('notes', 2), Expert())
    again.id = 'again'
    whole, turns = repeated_jobs(iter(jobs + [again])), repeated_turns(iter(jobs + [again]))
    assert whole.groups == [[jobs[1].id, 'again']] and whole.distinct == 3 and whole.first()['again'] == jobs[1].id
    assert turns.n == sum(len(j.turns) for j in jobs + [again]) and turns.repeated + turns.distinct == turns.n
    for k, t in enumerate(again.turns):
        grouped = any(('again', k) in g for g in turns.groups)
        assert grouped or len(turn_text(t).split()) < 20


def test_index_finds_what_was_added_and_nothing_else():
    ix = NearIndex(0.8)
    base = ' '.join(f'w{i}' for i in range(80))
    ix.add('a', base)
    assert ix.find(base.replace('w40 ', 'other '))[0] == 'a' and ix.find(base.replace('w4', 'v4'))[0] is None
