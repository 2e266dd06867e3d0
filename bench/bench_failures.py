"""How right are the detectors on agents that are not ours? Precision from a sheet that people kept, recall on planted
faults, and the first failing step of another agent's labelled runs.

    python bench/bench_failures.py --traces FOLDER [--audit FOLDER]          # the three tables
    python bench/bench_failures.py --traces FOLDER --audit FOLDER --show     # the drawn hits with context, for a reader
    python bench/bench_failures.py --traces FOLDER --show --code old         # hits of an older agentft (see below)
    python bench/bench_failures.py --held-out FOLDER [--show]                # traces that no rule was written on

`bench/sheets/failures.csv` holds a line per hit: its id (12 hex of sha256 over file name, job id, turn and mode), the
kind of trace, the mode, whose code found it (`old` or `new`), the verdict of a reader (right, wrong, unsure), the
reason in the reader's words, and who read it. No text of a trace is in it. A hit is *right* when a person who reads
the turn would call that a failure of the agent, of that mode. Precision is right / (right + wrong); unsure hits are
counted beside it, and once more as if they were all wrong.

Hits of the kinds `held-out …` are from traces that no rule was written on; they are counted apart. A folder of them
holds one folder per kind, `FOLDER/sessions` say, and the kind is `held-out sessions`; the file name of an id starts
below it. At most `--per-mode` hits of a mode are drawn from each kind, by `--seed`; the same evidence counts once, and
so do hits that the sheet has already. A hit stays in the sheet, as it was found, when a rule is mended later: what was
read before the mend is then in sample for that rule, and other traces measure it (kinds `… after second mend`).
Three tables follow: all hits as they were found, which speaks of the code of their day; hits on which no rule of their
mode was mended, which leaves out what had failed and is too kind where a mended rule has few hits since; and, given the
folder, the hits that the code of today still reports.

To draw the hits of an older version, put that version's checkout on PYTHONPATH: the readers of foreign formats are
this bench's own, so that both see the same jobs."""

import argparse
import csv
import hashlib
import json
import random
import sys
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from foreign_traces import foreign_jobs

SHEET = Path(__file__).parent / 'sheets' / 'failures.csv'
KINDS = ('coding sessions', 'code agents', 'customer service', 'chat rows', 'audit trail')


def hit_id(file, job, failure):
    return hashlib.sha256(f'{file}|{job.id}|{failure.turn}|{failure.mode}'.encode()).hexdigest()[:12]


def all_hits(traces, audit):
    "`id -> (file, kind, job, failure)`, the first of each id; and how many jobs and turns were looked at."
    from agentft.evidence.failures import detect

    hits, seen = {}, Counter()
    for file, kind, job in foreign_jobs(traces, audit):
        seen[kind, 'jobs'] += 1
        seen[kind, 'turns'] += len(job.turns)
        for failure in detect(job):
            hits.setdefault(hit_id(file, job, failure), (file, kind, job, failure))
    return hits, seen


def draw(hits, n, seed):
    "`n` ids: from each kind alike as far as it has hits, and within a kind from each mode alike."
    groups = defaultdict(lambda: defaultdict(list))
    for id, (_, kind, _, failure) in sorted(hits.items()):
        groups[kind][failure.mode].append(id)
    rng, queues = random.Random(seed), {}
    for kind in sorted(groups):
        modes = [rng.sample(ids, len(ids)) for _, ids in sorted(groups[kind].items())]
        queues[kind] = [ids[k] for k in range(max(map(len, modes))) for ids in modes if k < len(ids)]
    out = []
    while len(out) < n and any(queues.values()):
        for kind in queues:
            if queues[kind] and len(out) < n:
                out.append(queues[kind].pop(0))
    return out


def held_out_hits(folder):
    "`all_hits` of each folder in `folder`, with kinds named after them; the same evidence counts once."
    hits, seen, told = {}, Counter(), set()
    for sub in sorted(p for p in Path(folder).iterdir() if p.is_dir()):
        kind = f'held-out {sub.name.replace("-", " ")}'
        mine, counts = all_hits(sub, None)
        for (_, what), n in counts.items():
            seen[kind, what] += n
        for id, (file, _, job, failure) in sorted(mine.items()):
            key = (kind, failure.mode, failure.evidence)
            if key not in told:
                told.add(key)
                hits[id] = (file, kind, job, failure)
    return hits, seen


def draw_apart(hits, per_mode, seed, known=()):
    "At most `per_mode` ids of each mode and kind that are not `known`."
    groups = defaultdict(list)
    for id, (_, kind, _, failure) in sorted(hits.items()):
        if id not in known:
            groups[kind, failure.mode].append(id)
    rng = random.Random(seed)
    return [id for _, ids in sorted(groups.items()) for id in rng.sample(ids, min(per_mode, len(ids)))]


def short(x, limit):
    text = x if isinstance(x, str) else json.dumps(x, ensure_ascii=False, default=str)
    text = ' '.join(text.split())
    return text if len(text) <= limit else f'{text[: limit // 2]} […] {text[-limit // 2 :]}'


def show(id, file, kind, job, failure, around=2, limit=420):
    "Print a hit as a reader needs it."
    print('=' * 100)
    print(f'{id}  {failure.mode}  ({kind})   {file}  job {job.id}  turn {failure.turn} of {len(job.turns)}')
    print(f'rule:     {failure.rule}')
    print(f'evidence: {failure.evidence}')
    if 'todo' in failure.mode:
        for t in job.todos:
            print(
                f'   todo {t.id} staged {t.staged_turn} marked {t.completed_turn} {t.done_rule!r}: {short(t.text, 110)}'
            )
        around = 9
    for i in range(max(0, failure.turn - around), min(len(job.turns), failure.turn + around)):
        turn = job.turns[i]
        print(f'-- {"THIS TURN" if i == failure.turn else "turn"} {i} {turn.agent_phase} {turn.finish_reason}')
        for m in turn.seen[-2:]:
            print(f'   saw {m.role}: {short(m.content, limit // 2)}')
        if turn.said.content:
            print(f'   said: {short(turn.said.content, limit)}')
        for call in turn.said.tool_calls:
            print(f'   call {call.name}({short(call.malformed or call.arguments, limit)})')
        for r in turn.results:
            print(f'   -> {r.name} ok={r.ok}: {short(r.content, limit)}')


def sheet():
    if not SHEET.exists():
        return []
    with SHEET.open(encoding='utf-8', newline='') as f:
        return list(csv.DictReader(f))


def percent(k, n):
    from agentft.core.intervals import wilson

    if not n:
        return '–'
    low, high = wilson(k, n)
    return f'{k}/{n} = {k / n:.0%} ({low:.0%} to {high:.0%})'


HELD_OUT = 'held-out '
MENDS = ('after mend', 'after second mend', 'after third mend', 'after fourth mend')  # how such kinds end
LAST_MEND = dict(  # mode -> the mend of its rule after which no hit of it was read that led to another one
    whole_file_rewrite=1, todo_not_completed=1, blind_edit=4, malformed_arguments=4, todo_without_work=5
)


def mends_before(kind):
    "How many times rules had been mended when hits of this kind were found."
    return next((n for n, end in enumerate(MENDS, 1) if kind.endswith(f' {end}')), 0)


def precision(rows, found, held_out=None):
    "Precision by code, kind and mode; in sample, of the present code only hits that it still reports; held-out apart."
    for code in ('old', 'new'):
        mine = [r for r in rows if r['code'] == code and not r['kind'].startswith(HELD_OUT)]
        if code == 'new' and found is not None:
            gone = [r for r in mine if r['id'] not in found]
            mine = [r for r in mine if r['id'] in found]
            print(f'\n{len(gone)} hits of the sheet are not reported any more, {len(found)} hits in all')
        tables(f'precision in sample, {code} code', mine)
    apart = [r for r in rows if r['code'] == 'new' and r['kind'].startswith(HELD_OUT)]
    tables('precision held out, new code, as the hits were found', apart)
    fresh = [r for r in apart if mends_before(r['kind']) >= LAST_MEND.get(r['mode'], 0)]
    tables('precision held out, only hits that no rule of their mode was mended on', fresh)
    if held_out is not None:
        left = [r for r in apart if r['id'] in held_out]
        tables('the held-out hits that the code of today still reports (partly in sample)', left)


def tables(title, rows):
    "Precision by kind, by mode, and of all."
    if not rows:
        return
    print(f'\n{title}, {len(rows)} hits read by hand')
    for key in ('kind', 'mode'):
        for value in sorted({r[key] for r in rows}):
            print_line(f'{key}: {value}', [r for r in rows if r[key] == value])
    print_line('all', rows)


def print_line(name, rows):
    n = Counter(r['verdict'] for r in rows)
    sure = n['right'] + n['wrong']
    print(
        f'  {name:36} {percent(n["right"], sure):30} unsure {n["unsure"]}; as wrong: {percent(n["right"], len(rows))}'
    )


def recall(audit=None):
    "Faults planted by a script that knows no detector, into simulated jobs and into recorded ones that succeeded."
    from planted_faults import planted

    from agentft.evidence.failures import detect
    from agentft.traces.wanted_jobs import collect_jobs

    jobs = collect_jobs(Path(audit) / 'dump')[0] if audit else []
    n, found, away, names, alarms = Counter(), Counter(), Counter(), {}, Counter()
    for fault, modes, before, after, turn in planted([j for j in jobs if j.outcome.status == 'success']):
        names[fault] = modes
        had = Counter(f.mode for f in detect(before))
        hits = [f for f in detect(after)]
        new = Counter(f.mode for f in hits) - had
        n[fault] += 1
        at = [f for f in hits if f.mode in modes and new[f.mode] and (turn is None or f.turn == turn)]
        found[fault] += bool(at)
        away[fault] += any(new[mode] for mode in modes)
        if not modes:
            alarms[fault] += bool(new)
    print('\nrecall on planted faults: found at the turn of the plant; anywhere in the job')
    for fault in [f for f in n if names[f]]:
        print(
            f'  {fault:28} {percent(found[fault], n[fault]):30} {away[fault]}/{n[fault]}  ({", ".join(names[fault])})'
        )
    faults = sum(n[f] for f in n if names[f])
    print(f'  {"all":28} {percent(found.total(), faults):30} {away.total()}/{faults}')
    for fault in [f for f in n if not names[f]]:
        print(f'  {fault:28} {alarms[fault]} false alarms in {n[fault]}')


# Barke et al., AgentRx (arXiv 2602.02475): the abstract gives no accuracy for this data set. The repository's README
# says of its headline (23.6 points better localisation than the baselines) that no table cell holds it.
PUBLISHED = 'step accuracy published for tau-bench: not found (AgentRx, arXiv 2602.02475; its tables were not at hand)'


def first_steps(traces):
    "Our first failure in each labelled run against the labelled steps."
    from agentft.evidence.failures import detect

    truth = {}
    path = Path(traces) / 'agentrx' / 'tau_ground_truth.json'
    for x in json.loads(path.read_text(encoding='utf-8')):
        root = x['root_cause']['failure_id']
        steps = [f['step_number'] for f in x['failures']]
        (cause,) = [f for f in x['failures'] if f['failure_id'] == root][:1]
        truth[f'tau-{x["trajectory_id"]}'] = (cause['step_number'], steps, cause['failure_category'])
    distances, any_distances, refused, categories, seen = [], [], [], defaultdict(list), 0
    for _, _, job in foreign_jobs(Path(traces) / 'agentrx'):
        if job.id not in truth:
            continue
        cause, steps, category = truth[job.id]
        number, at = 0, []
        for turn in job.turns:  # messages are numbered from 1, as in the labels
            number += len(turn.seen) + 1
            at.append(number)
            number += len(turn.results)
        first = next((at[i] for i, t in enumerate(job.turns) if any(r.ok is False for r in t.results)), None)
        refused.append(None if first is None else abs(first - cause))
        failures = detect(job)
        seen += bool(failures)
        guess = at[failures[0].turn] if failures else None
        distance = None if guess is None else abs(guess - cause)
        distances.append(distance)
        any_distances.append(None if guess is None else min(abs(guess - s) for s in steps))
        categories[category].append(distance)
    print(
        f'\nfirst failing step of {len(distances)} labelled runs (tau-bench retail); {seen} of them have a finding at all'
    )
    compared = {
        'root cause': distances,
        'nearest labelled step': any_distances,
        'first refused call to root cause': refused,
    }
    for name, values in compared.items():
        for r in (0, 1, 3):
            hit = sum(d is not None and d <= r for d in values)
            print(f'  {name}, within ±{r} messages: {percent(hit, len(values))}')
    for category, values in sorted(categories.items()):
        hit = sum(d is not None and d <= 1 for d in values)
        print(f'  {category:34} within ±1: {hit}/{len(values)}')
    print(f'  {PUBLISHED}')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--traces', help='folder of foreign traces; without it only the sheet and the planted faults')
    p.add_argument('--audit', help='folder with a recorded audit trail (`dump/`)')
    p.add_argument('--show', action='store_true', help='print the drawn hits with context')
    p.add_argument('--code', default='new', choices=['old', 'new'])
    p.add_argument('--n', type=int, default=100)
    p.add_argument('--seed', type=int, default=9)
    p.add_argument('--held-out', help='folder of traces that no rule was written on, one folder per kind')
    p.add_argument('--per-mode', type=int, default=12, help='hits of one mode that are drawn from one kind at most')
    args = p.parse_args()
    if args.held_out:
        hits, seen = held_out_hits(args.held_out)
        known = {r['id'] for r in sheet() if r['code'] == 'new'}
        drawn = draw_apart(hits, args.per_mode, args.seed, known if args.show else ())
        for id in drawn if args.show else ():
            show(id, *hits[id])
        print(f'\n{len(hits)} hits in {dict(seen)}; {len(known & set(hits))} of them in the sheet; {len(drawn)} drawn')
        for (kind, mode), n in sorted(Counter((h[1], h[3].mode) for h in hits.values()).items()):
            print(f'  {kind:24} {mode:24} {n}')
        if args.show:
            return
        precision(sheet(), None, set(hits))
        return
    if args.show:
        hits, seen = all_hits(args.traces, args.audit)
        drawn = draw(hits, args.n, args.seed)
        for id in drawn:
            show(id, *hits[id])
        known = {r['id'] for r in sheet() if r['code'] == args.code}
        print(f'\n{len(hits)} hits in {dict(seen)}; {len(drawn)} drawn, {len(set(drawn) & known)} of them in the sheet')
        return
    found = set(all_hits(args.traces, args.audit)[0]) if args.traces else None
    precision(sheet(), found)
    recall(args.audit)
    if args.traces and (Path(args.traces) / 'agentrx').is_dir():
        first_steps(args.traces)


if __name__ == '__main__':
    main()
