"""In how many judged turns of a replay suite is the judgement debatable? Read by hand, counted from the kept sheet.

    python bench/bench_replay.py --show RUN_FOLDER [--n 50] [--seed 0]    judged turns to read, drawn by a seed
    python bench/bench_replay.py --blank RUN_FOLDER [--n 50] [--seed 0]   the same turns as rows for the sheet
    python bench/bench_replay.py [--sheet FILE]                           what the readers said (bench/sheets/replay.csv)

RUN_FOLDER is the folder of a run, or of its phase 4. A reader says of each judgement whether it is right, wrong or
debatable, and why. The sheet holds ids, judgements and verdicts, and no text of anybody's jobs."""

import argparse
import csv
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

from agentft.evaluation.replay import FILES, read_fold

SHEET = Path(__file__).parent / 'sheets' / 'replay.csv'
COLUMNS = ['reference', 'player', 'judgement', 'verdict', 'reason']
JUDGEMENTS = {True: 'right', False: 'not right', None: 'not judged'}
VERDICTS = ('right', 'wrong', 'debatable')


def drawn(folder, n, seed):
    "`n` pairs of a judged turn and a player, drawn by `seed`; the same on every machine."
    folder = Path(folder)
    if not (folder / FILES['references']).exists() and (folder / '4-evaluate').exists():
        folder = folder / '4-evaluate'
    turns = {t.ref.id: t for t in read_fold(folder) if t.by}
    pairs = sorted((i, player) for i in turns for player in ('base', 'tuned'))
    random.Random(seed).shuffle(pairs)
    return [(turns[i], player) for i, player in pairs[:n]]


def cut(text, most=600):
    return text if len(text) <= most else f'{text[:most]} ... ({len(text) - most:,} more characters)'


def action(said):
    "A message as a reader wants it."
    calls = [f'{c.name} {c.malformed or json.dumps(c.arguments, ensure_ascii=False)}' for c in said.tool_calls]
    return '\n'.join(cut(x, 1200) for x in [said.content, *calls] if x) or '(said nothing)'


def show(number, turn, player):
    "One judged turn on paper."
    r, j = turn.ref, turn.by[player]
    head = f'{number}. {r.id}, {player}; {turn.kind}, {r.agent_phase or "no phase"}, turn {r.turn} of {r.job}'
    parts = [head, '=' * len(head)]
    if r.todo:
        parts.append(f'todo: {cut(r.todo, 200)} (work done: {r.todo_done})')
    for m in [m for m in r.messages if m.role != 'system'][-3:]:
        parts.append(f'-- {m.role}\n{action(m) if m.role == "assistant" else cut(m.content)}')
    parts += [f'-- recorded\n{action(r.said)}', f'-- {player}\n{action(turn.answers[player].said)}']
    fields = {k: v for k, v in vars(j).items() if v is not None and k not in ('effect', 'why')}
    parts.append(f'-- judged: {JUDGEMENTS[j.effect]} ({j.why})\n   {fields}')
    return '\n'.join(parts) + '\n'


def read_sheet(path):
    "The rows that a reader filled in; a clear error for what is no verdict."
    with open(path, encoding='utf-8', newline='') as f:
        reader = csv.DictReader(f)
        if reader.fieldnames != COLUMNS:
            raise ValueError(f'{path}: the columns are {reader.fieldnames}, and should be {COLUMNS}')
        rows = list(reader)
    seen = set()
    for n, row in enumerate(rows, 2):
        key = row['reference'], row['player']
        if not re.fullmatch(r'[0-9a-f]{16}', row['reference'] or ''):
            raise ValueError(f'{path}, line {n}: {row["reference"]!r} is no id of a reference')
        if row['player'] not in ('base', 'tuned') or row['judgement'] not in JUDGEMENTS.values():
            raise ValueError(f'{path}, line {n}: player or judgement is unknown')
        if row['verdict'] not in VERDICTS:
            raise ValueError(f'{path}, line {n}: the verdict is {row["verdict"]!r}, and should be one of {VERDICTS}')
        if key in seen:
            raise ValueError(f'{path}, line {n}: {" ".join(key)} was read before')
        seen.add(key)
    return rows


def summary(rows):
    "Lines that say in how many turns the judgement is debatable or wrong."
    if not rows:
        return ['No judged turn was read yet: draw some with --show, and keep the verdicts in the sheet.']
    lines = []
    for name in ['all', *JUDGEMENTS.values()]:
        mine = [r for r in rows if name in ('all', r['judgement'])]
        verdicts, n = Counter(r['verdict'] for r in mine), len(mine)
        if n:
            share = ', '.join(f'{verdicts[v]} {v} ({verdicts[v] / n:.0%})' for v in VERDICTS)
            lines.append(f'{name:10} {n:3} judged turns: {share}')
    return lines


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--show', metavar='RUN_FOLDER')
    p.add_argument('--blank', metavar='RUN_FOLDER')
    p.add_argument('--sheet', default=SHEET)
    p.add_argument('--n', type=int, default=50)
    p.add_argument('--seed', type=int, default=0)
    a = p.parse_args(argv)
    if a.show:
        for number, (turn, player) in enumerate(drawn(a.show, a.n, a.seed), 1):
            print(show(number, turn, player))
    elif a.blank:
        out = csv.writer(sys.stdout, lineterminator='\n')
        out.writerow(COLUMNS)
        for turn, player in drawn(a.blank, a.n, a.seed):
            out.writerow([turn.ref.id, player, JUDGEMENTS[turn.by[player].effect], '', ''])
    else:
        print('\n'.join(summary(read_sheet(a.sheet))))


if __name__ == '__main__':
    main()
