"""What copying wins: the jobs of an evaluation, played by taking the training row whose instruction is nearest and
exchanging the values, beside the tuned model of the same run and the best of the scripts without content.

    python bench/bench_copying.py runs/evidence            a run whose four phases have finished
    python bench/bench_copying.py runs/evidence --rows 10  a job counts, in hindsight, if one of the ten nearest rows wins

The player reads for no meaning. It aligns the instruction of the row with that of the job, and each result in the row
with the one that it gets, word by word; what differs is exchanged in the calls of the row. Prints a line per suite, then
one per family of the first suite, and the paired test of the tuned model against the copy, over families.
"""

import argparse
import re
import warnings
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path

warnings.filterwarnings('ignore')

CANDIDATES = 20  # rows with most words of the instruction, of which the most similar are taken
READS = ('read_file', 'search_files', 'list_files')


def words(text):
    "Paths and numbers whole, then every other sign."
    return re.findall(r'[\w./#-]+|\s+|.', text, re.S)


def parts(text):
    return re.findall(r'[A-Za-z]+|\d+|\s+|.', text, re.S)


def exchanged(old, new) -> list:
    "What stands in `new` in the place of what in `old`."
    out = []
    for split in (words, parts):
        a, b = split(old), split(new)
        for tag, i, j, k, n in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
            if tag == 'replace':
                out.append((''.join(a[i:j]), ''.join(b[k:n])))
                out += [pair for pair in zip(a[i:j], b[k:n]) if j - i == n - k and pair[0] != pair[1]]
    return out


def fill(value, pairs):
    "A call's argument with the values of the job."
    if isinstance(value, list):
        return [fill(x, pairs) for x in value]
    known = {}
    for old, new in pairs:
        if old.strip() and old == old.strip():
            known.setdefault(old, new)
    if not known or not isinstance(value, str):
        return value
    edge = [(r'(?<![A-Za-z0-9])' * k[0].isalnum(), re.escape(k), r'(?![A-Za-z0-9])' * k[-1].isalnum()) for k in known]
    pattern = '|'.join(''.join(x) for x in sorted(edge, key=lambda x: -len(x[1])))
    return re.sub(pattern, lambda m: known[m[0]], value)


class Copier:
    "Plays one training row with the values of the job."

    name = 'copy'

    def __init__(self, row):
        self.row = row

    def start(self, session):
        self.pairs = exchanged(self.row.asks, session.task.instruction)
        self.left = list(self.row.messages)
        return self

    def __call__(self, session):
        from agentft.arena.players import say
        from agentft.core.records import ToolCall

        got = [m for m in session.pending if m.role == 'tool']
        while self.left and self.left[0].role != 'assistant':
            m = self.left.pop(0)
            if m.role == 'tool' and got:
                result = got.pop(0)
                self.pairs += exchanged(m.content, result.content) if m.name in READS else []
        if not self.left:
            return say(text='I am done.')
        m = self.left.pop(0)
        calls = [ToolCall(c.name, {k: fill(v, self.pairs) for k, v in c.arguments.items()}) for c in m.tool_calls]
        return say(*calls, text=m.content)


def usable(path) -> list:
    "Rows without a wrong turn, with the instruction that each begins with."
    from agentft.core.records import Example, read_jsonl

    out = []
    for row in read_jsonl(path, Example):
        if not row.meta.get('wrong_turns'):
            row.asks = next(m.content for m in row.messages if m.role == 'user').split('\n[STRATEGIC')[0]
            row.words = set(re.findall(r'\w+', row.asks.lower()))
            out.append(row)
    return out


def nearest(rows, task, n) -> list:
    "The `n` rows whose instruction is most similar to that of the job."
    asked = set(re.findall(r'\w+', task.instruction.lower()))
    top = sorted(rows, key=lambda r: -len(r.words & asked) / len(r.words | asked))[:CANDIDATES]
    b = parts(task.instruction)
    return sorted(top, key=lambda r: -SequenceMatcher(None, parts(r.asks), b, autojunk=False).ratio())[:n]


def wins(row, task) -> bool:
    from agentft.arena.players import play

    return play(task, Copier(row)).outcome.status == 'success'


def judged(path) -> dict:
    "Task -> did it end right?"
    from agentft.core.records import Job, read_jsonl

    return {j.meta['task']: j.outcome.status == 'success' for j in read_jsonl(path, Job)}


def tested(tasks, copy, tuned) -> float:
    "p of the paired test over families."
    from agentft.core.intervals import clusters_of
    from agentft.evaluation.statistics import paired_test

    a, b = ([[int(x[t.id]), 1] for t in tasks] for x in (copy, tuned))
    return paired_test(a, b, clusters=clusters_of([t.family for t in tasks]))[0]


def main():
    from tqdm import tqdm

    from agentft.data.suites import suite_tasks
    from agentft.workbench.runs import phase_dir, read_result

    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument('run', type=Path, help='folder of a run')
    parse.add_argument('--rows', type=int, default=1, help='nearest rows, one of which has to win')
    args = parse.parse_args()
    made, asked = (phase_dir(args.run, phase) for phase in ('synthesize', 'evaluate'))
    result, families = read_result(asked), tuple(read_result(made)['numbers']['families'])
    rows = usable(made / 'examples.jsonl')
    played = {p.stem.removeprefix('jobs-'): judged(p) for p in sorted(asked.glob('jobs-*.jsonl'))}
    tuned = sorted((name for name in played if name.startswith('tuned')), key=len)
    floors = [name for name in played if name.startswith('floor')]
    print(f'{len(rows)} training rows; of jobs that ended right:')
    first, copied = None, {}
    for suite, stand in result['numbers']['standings'].items():
        tasks = suite_tasks(suite, stand['jobs'], seed=result['parameters']['seed'], families=families)
        copied |= {
            t.id: any(wins(r, t) for r in nearest(rows, t, args.rows))
            for t in tqdm(tasks, desc=suite, leave=False, mininterval=1)
        }
        won = {name: sum(played[name].get(t.id, False) for t in tasks) for name in (*tuned, *floors)}
        said = ', '.join(str(won[name]) for name in tuned)
        copies, best = sum(copied[t.id] for t in tasks), max(won[name] for name in floors)
        print(f'{suite:10} copy {copies:3}   tuned {said:12} best script {best:3}   of {len(tasks)}')
        first = first or tasks
    print()
    jobs = Counter(t.family for t in first)
    for family in sorted(jobs):
        mine = [t for t in first if t.family == family]
        said = ', '.join(str(sum(played[name][t.id] for t in mine)) for name in tuned)
        print(f'{family:14} copy {sum(copied[t.id] for t in mine)}   tuned {said:10} of {len(mine)}')
    ps = ', '.join(f'{tested(first, copied, played[name]):.3f}' for name in tuned)
    print(f'tuned against copy in the first suite, paired test over {len(jobs)} families, uncorrected: p {ps}')


if __name__ == '__main__':
    main()
