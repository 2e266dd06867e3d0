"""How many questions of BFCL that were put into rows are found, how many honest rows are taken for such, and how long it takes.

python bench/bench_contamination.py WHEEL_OR_FOLDER [examples.jsonl]...     WHEEL: pip download --no-deps bfcl-eval"""

import random
import re
import sys
import time
from dataclasses import replace

from agentft.core.intervals import wilson
from agentft.core.records import Example, Message, read_jsonl
from agentft.sets.contamination import decontaminate, plain_words, read_bfcl

NAMES = dict(first='Anna', name='label', find='look up', give='hand', calculate='work out', please='', what='which')


def rate(k, n):
    low, high = wilson(k, n)
    return f'{k}/{n} = {k / max(n, 1):.1%} [{low:.1%}, {high:.1%}]'


def ways(rng):
    "Ways in which a question gets into a row."
    number = lambda m: str(rng.randint(2, 99))
    drop = lambda text, n: ' '.join(w for k, w in enumerate(text.split()) if k % n != n - 1)
    other = lambda text: ' '.join(NAMES.get(w.lower(), w) for w in text.split())
    return {
        'as it is': lambda x: x,
        'other case and marks': lambda x: x.upper().replace('.', ' !').replace(',', ' -'),
        'in a longer request': lambda x: f'Two things today. {x} Then write the answer into notes.md and end the job.',
        'other numbers': lambda x: re.sub(r'\d+', number, x),
        'one word in twelve gone': lambda x: drop(x, 12),
        'one word in six gone': lambda x: drop(x, 6),
        'common words exchanged': other,
    }


def main(where, *files):
    t = time.time()
    bench = read_bfcl(where)
    print(
        f'{len(bench.questions):,} questions, {sum(map(len, bench.calls.values())):,} calls, read in {time.time() - t:.1f} s'
    )
    rng = random.Random(7)
    chosen = rng.sample(bench.questions, 300)
    for name, way in ways(rng).items():
        long = [q for q in chosen if len(plain_words(q.text)) >= 8]
        rows = [Example([Message('user', way(q.text)), Message('assistant', 'Done.')]) for q in long]
        print(f'  {name:26} {rate(sum(bench.find(e) is not None for e in rows), len(rows))}')
    for file in files:
        rows = [e for e in read_jsonl(file, Example)]
        t = time.time()
        kept, refused, done = decontaminate([replace(e) for e in rows], where)
        print(f'{file}: {done}; {time.time() - t:.1f} s')
        for x in refused:
            print('  ', x.detail)


if __name__ == '__main__':
    main(*sys.argv[1:])
