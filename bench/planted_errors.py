"""How many planted errors does each layer of verification find, and how many right rows does it turn away?

    python bench/planted_errors.py [--each 6]                                   # jobs of held-out families
    agentft collect --out found --source samples/own-history/trail --sessions samples/own-history/sessions
    python bench/planted_errors.py --found found [--found ...]                  # windows of recorded jobs
    python bench/planted_errors.py --traces FOLDER                              # windows of other people's agents
    ... --show 20                                                               # right rows that were turned away, to read

Every error of `agentft.checks.planted` is put into every row that offers it a place, one at a time, at most `--most` rows
for each error. A layer has found it when it speaks against the spoiled row; rows against which it speaks before the error
is planted are false alarms, and are left out of what it can find. Precision is told for a set in which half of the rows
are spoiled (`corrupt(rows, 0.5, seed)`): found spoiled rows / all rows that are turned away. Intervals are Wilson's
at 95 %, over rows; rows of one family or one job hang together, so they are a little too narrow.

Jobs are whole jobs of families that may never be trained on, with seeds that no test uses. What was said against right rows
of them was read while the judges were built, and three kinds of it mended (version numbers taken for paths, examples in a
request taken for files, guessed paths that do no harm); what is found was not tuned on them.

Windows are what phase 2 would train on: turns that break a rule are context there already, so rules say nothing against right
windows by construction; how many turns that takes is told. No window can be executed: it is held against the record that it was
cut from, which finds what was changed since, and nothing that the recorded agent got wrong. Whether a part of a job serves the
request is left unclear. The first version of the judges spoke against 16 of the 416 windows of the project's samples and of a
second trail: a reader found 6 of the 16 right (a path that the window does not show), and 10 wrong (a note named by its title,
a result cut by the window, the words of another agent's tools). Other people's traces added 2, both wrong (a listing taken for
a change; a Chinese answer to a Chinese request full of English terms). All 12 were mended, and looks at unshown paths were made
unclear, so these rows are no longer new to the judges."""

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from agentft.arena.catalogue import FAMILIES, make_task
from agentft.arena.players import Expert, play
from agentft.checks.execution import check_record, check_replay
from agentft.checks.judges import OfflineJudges, as_text, verdict_problems
from agentft.checks.planted import PLANTED, corrupt
from agentft.checks.rules import check_rules, rule_problems, untrain
from agentft.core.intervals import wilson
from agentft.core.records import Example, Job, read_jsonl
from agentft.data.windows import offered_to, window_example, windows
from agentft.evidence.right_turns import judge_turns
from agentft.history.own_history import is_simulated
from agentft.model.chat import ChatFormat
from agentft.model.loading import load_tokenizer
from agentft.workbench.figures import markdown_table

RECORDS = {}  # id -> recorded job
LAYERS = dict(
    rules=check_rules,
    execution=lambda e: check_replay(e) or check_record(e, RECORDS) or [],
    judges=lambda e: verdict_problems(OfflineJudges().verdicts(e)),
)
FIRST = 5000  # number of the first job of each family


def arena_rows(each):
    "Jobs of families that are held out, played by the expert."
    out = []
    for name in sorted(n for n, f in FAMILIES.items() if not f.seen):
        for number in range(FIRST, FIRST + each):
            job = play(make_task(name, number), Expert())
            meta = dict(rules='short', arena=[[name, number]])
            out.append(Example(job.messages(), job.tools, family=name, parents=[job.id], meta=meta))
    return out


def window_rows(jobs, max_len=1536):
    "Windows of recorded jobs as phase 2 makes them; and how many of their trained turns break a rule."
    fmt, out, broken = ChatFormat(load_tokenizer()), [], Counter()
    tools = offered_to(jobs, fmt, max_len)
    RECORDS.update({job.id: job for job in jobs})
    for job in jobs:
        verdicts = judge_turns(job)
        for w in windows(job, fmt, max_len, verdicts, tools[job.id]):
            if w.trained:
                e = window_example(job, w, verdicts[w.trained[0]].basis)
                broken['trained turns'] += len(w.trained)
                broken.update({k: p.kind for k, p in rule_problems(e) if k is not None and e.weights[k]}.values())
                e = untrain(e)
                out += [e] if any(e.weights) else []
    return out, broken


def spoken(e):
    "Layer -> what it says against a row."
    return {name: layer(e) for name, layer in LAYERS.items()}


def told(found):
    "Which layers speak, and whether any does."
    hits = {name: bool(problems) for name, problems in found.items()}
    return hits | dict(all=any(hits.values()))


def share(k, n):
    "`k/n` with its interval."
    if not n:
        return '–'
    low, high = wilson(k, n)
    return f'{100 * k / n:.0f} % ({k}/{n}; {100 * low:.0f} to {100 * high:.0f})'


def recall(rows, clean, most, seed):
    "For each error and layer, how many of the spoiled rows are found among those that were not spoken against before."
    table = []
    for name, error in PLANTED.items():
        rng, hits, of = random.Random(f'bench/{name}/{seed}'), Counter(), Counter()
        order = list(range(len(rows)))
        rng.shuffle(order)
        made = 0
        for at in order:
            spoiled = error.spoil(rows[at], rng) if made < most else None
            if spoiled is None or spoiled.messages == rows[at].messages:
                continue
            made += 1
            for layer, hit in told(spoken(spoiled)).items():
                if not clean[at][layer]:
                    of[layer] += 1
                    hits[layer] += hit
        table.append(dict(error=name, rows=made) | {k: share(hits[k], of[k]) for k in (*LAYERS, 'all')})
    return table


def precision(rows, clean, seed):
    "Precision and recall of each layer on a set in which half of the rows are spoiled."
    spoiled, names = corrupt(rows, 0.5, seed)
    found = [told(spoken(e)) if name else clean[k] for k, (e, name) in enumerate(zip(spoiled, names))]
    table, bad = [], sum(map(bool, names))
    for layer in (*LAYERS, 'all'):
        away = [bool(name) for f, name in zip(found, names) if f[layer]]
        table.append(
            {
                'layer': layer,
                'precision': share(sum(away), len(away)),
                'recall': share(sum(away), bad),
                'false alarms, of right rows': share(len(away) - sum(away), len(rows) - bad),
            }
        )
    return table


def alarms(rows):
    "What each layer says against right rows; and which verdicts are unclear."
    says, unclear, clean = Counter(), Counter(), []
    for e in rows:
        found = spoken(e)
        clean.append(told(found))
        for layer, problems in found.items():
            says.update({(layer, p.kind) for p in problems})
        unclear.update(f'{v.question}: {v.verdict}' for v in OfflineJudges().verdicts(e))
    return clean, says, unclear


def show(rows, most):
    "Right rows that were turned away, and why: for a reader."
    shown = 0
    for e in rows:
        for layer, problems in spoken(e).items():
            for p in problems[:1]:
                if shown < most:
                    shown += 1
                    print(f'\n=== {shown}. {layer}: {p.kind}: {p.message}\n{as_text(e)[:3000]}')


def report(name, rows, a):
    "All tables of one kind of rows."
    start = time.time()
    clean, says, unclear = alarms(rows)
    print(f'\n## {name}: {len(rows)} right rows\n')
    print(
        markdown_table(
            [dict(layer=x, turned_away=share(sum(c[x] for c in clean), len(rows))) for x in (*LAYERS, 'all')]
        )
    )
    print('\nagainst right rows:', {f'{layer}/{kind}': n for (layer, kind), n in says.most_common()} or 'nothing')
    print('verdicts on right rows:', dict(sorted(unclear.items())))
    print('\nFound, of spoiled rows:\n')
    print(markdown_table(recall(rows, clean, a.most, a.seed), limit=40))
    print('\nHalf of the rows spoiled:\n')
    print(markdown_table(precision(rows, clean, a.seed)))
    print(f'\n{time.time() - start:.0f} s')
    show(rows, a.show)


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--each', type=int, default=6, help='jobs of each held-out family')
    p.add_argument('--most', type=int, default=100, help='spoiled rows for each error')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--found', action='append', default=[], help='folder of a finished phase 1')
    p.add_argument('--traces', help='folder of other people\'s traces')
    p.add_argument('--show', type=int, default=0, help='print so many right rows that were turned away')
    a = p.parse_args(argv)
    if not (a.found or a.traces):
        report('jobs of held-out families', arena_rows(a.each), a)
    jobs = [j for folder in a.found for j in read_jsonl(Path(folder) / 'jobs.jsonl', Job) if not is_simulated(j)]
    if a.traces:
        from foreign_traces import foreign_jobs

        jobs += [job for _, _, job in foreign_jobs(a.traces)]
    if jobs:
        rows, broken = window_rows(jobs)
        print(
            f'rules take from {broken.pop("trained turns", 0)} trained turns:',
            json.dumps(dict(broken)) if broken else 0,
        )
        report(f'windows of {len(jobs)} recorded jobs', rows, a)


if __name__ == '__main__':
    main()
