"""What bad data costs: the laptop's model trained with 0, 5, 20 and 50 % of the rows corrupted, without and with the
verification that turns bad rows away, and evaluated on the same held-out jobs. Rows that were turned away leave fewer to
train on; a third arm fills them up with as many other clean ones, as a team with a teacher would.

    python bench/bench_corruption.py                 all cells that are missing in bench/tables/corruption.jsonl
    python bench/bench_corruption.py --minutes 60    begin none that is not expected to end within an hour
    python bench/bench_corruption.py --seeds 3       three trainings of each cell, with other corrupted rows
    python bench/bench_corruption.py --commit        commit every finished cell as it comes
    python bench/bench_corruption.py --draw          nothing but the figure, nbs/images/corruption.png

The rows are simulated jobs of four families, played by the arena's expert and verified; the errors are those of
`agentft.checks.planted`, one in each corrupted row, all kinds in turn. The clean rows have passed the same verification
when they were made, so that it turns none of them away later says nothing. A cell takes four minutes on two quiet cores;
the cells without corruption have the same rows in all three arms, and are trained once. What is said
is said of new jobs of these four families: other families are not drawn.
A cell that was stopped goes on where it was. A finished one is never done again, whatever the code does by then: each
cell says of which rows, jobs and commit it is, and the summary says where cells are of different ones.
"""

import argparse
import math
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / 'bench' / 'tables' / 'corruption.jsonl'
FIGURE = ROOT / 'nbs' / 'images' / 'corruption.png'
SHARES = (0.0, 0.05, 0.2, 0.5)
FAMILIES = 'config,rename,facts,compact'
ARMS = dict(off='as they are', on='verified first', refilled='verified, then filled up')
MAX_LEN = 1536


# --- the cells ---


def make_rows(work, n, model, seed=0):
    "Verified rows to train on and to validate with, made once; the same on every machine."
    from agentft.core.records import Example, read_jsonl
    from agentft.phases.synthesize import synthesize
    from agentft.workbench.runs import is_finished

    folder = work / (f'rows-{n}' + f'-seed-{seed}' * bool(seed)) / '2-synthesize'
    if not is_finished(folder):
        kind = dict(families=FAMILIES, n_examples=n, even_share=1.0, spelled_share=0.0, evolve_share=0.1)
        limits = dict(model=model, max_len=MAX_LEN, n_preferences=0, valid_fraction=0.1)
        synthesize(out=str(folder), collect_dir='none', seed=seed, **kind, **limits)
    rows = read_jsonl(folder / 'examples.jsonl', Example)
    return [e for e in rows if e.split == 'train'], [e for e in rows if e.split == 'valid']


def verify(rows, model):
    "Per row: '' where the three layers let it through, else the layer that turns it away."
    from agentft.checks.gate import Gate, Reserved, row_length
    from agentft.model.chat import ChatFormat
    from agentft.model.loading import load_tokenizer

    gate = Gate(Reserved(), MAX_LEN, row_length(ChatFormat(load_tokenizer(model))))
    return [refused.layer if (refused := gate(e)) else '' for e in rows]


def what_was_caught(names, layers):
    "Counts of a verification: `names` of the planted errors per row, and the layer that turned each row away."
    bad = [(name, layer) for name, layer in zip(names, layers) if name]
    return dict(
        corrupted=len(bad),
        of_rows=len(names),
        caught=sum(bool(layer) for _, layer in bad),
        clean=len(names) - len(bad),
        clean_lost=sum(bool(layer) for name, layer in zip(names, layers) if not name),
        caught_by=dict(Counter(layer for _, layer in bad if layer)),
        missed=dict(sorted(Counter(name for name, layer in bad if not layer).items())),
    )


class Cell:
    "The rows of one cell, corrupted and perhaps verified, with what is known about them."

    def __init__(self, rows, share, verification, seed, model, spare=()):
        from agentft.checks.planted import corrupt

        spoiled, names = corrupt(rows, share, seed)
        layers = verify(spoiled, model)
        self.counts = what_was_caught(names, layers) | dict(by_error=dict(sorted(Counter(filter(None, names)).items())))
        self.rows = [e for e, layer in zip(spoiled, layers) if not (verification != 'off' and layer)]
        if verification == 'refilled':
            self.rows += spare[: len(rows) - len(self.rows)]


def conditions(valid, args):
    from dataclasses import replace

    from agentft.data.suites import suite_tasks
    from agentft.evaluation.trials import Conditions
    from agentft.training.training import LoraRecipe

    tasks = suite_tasks('seen', args.jobs, families=tuple(FAMILIES.split(',')))
    tasks = [replace(t, max_turns=min(t.max_turns, 20)) for t in tasks]
    recipe = LoraRecipe(rank=16, alpha=32, lr=8e-4, batch_size=1, max_len=MAX_LEN)
    return Conditions(args.model, recipe, valid, tasks, max_new_tokens=128, threads=args.threads)


def wanted_cells(args):
    "Parameters of every cell, all of a seed before those of the next one."
    same = dict(rows=args.rows, jobs=args.jobs, model=args.model)
    kinds = [(k, s, v) for k in range(args.seeds) for v in ARMS for s in args.shares]
    return [dict(share=s, verification=v, seed=k) | same for k, s, v in kinds]


def fill(args):
    "Do the cells that are missing."
    from agentft.core.records import content_hash
    from agentft.evaluation.standings import refuse_copies
    from agentft.evaluation.trials import run_trial
    from agentft.workbench.experiments import Experiments

    rows, valid = make_rows(args.work, args.rows, args.model)
    known = {e.id for e in (*rows, *valid)}
    spare = [e for e in make_rows(args.work, args.rows, args.model, seed=1)[0] if e.id not in known]
    c = conditions(valid, args)
    refuse_copies(c.tasks, [*rows, *spare])
    base = dict(base=content_hash([e.id for e in rows]), conditions=c.key)

    def work(p):
        cell = Cell(rows, p['share'], p['verification'], p['seed'], args.model, spare)
        data = content_hash([e.id for e in cell.rows])
        folder = args.work / 'trials' / f'{data}-{c.key}-{p["seed"]}'  # the same rows are trained once
        return base | cell.counts | run_trial(cell.rows, c, folder, p['seed'])

    command = ' '.join(['python', 'bench/bench_corruption.py', *sys.argv[1:]])
    table = Experiments(args.table, command, args.commit)
    return table.fill(wanted_cells(args), work, args.minutes, done=lambda row: print(said(row), flush=True))


def said(row):
    "A finished cell in one line."
    p, r = row['parameters'], row['results']
    won = sum(job['task_success'][0] for job in r['jobs'])
    return (
        f'  {100 * p["share"]:g} % corrupted, verification {p["verification"]}, seed {p["seed"]}: {won:g} of {len(r["jobs"])} jobs '
        f'succeed; {r["rows"]} rows trained, {r["caught"]} of {r["corrupted"]} corrupted rows caught, '
        f'{r["clean_lost"]} of {r["clean"]} clean rows lost; held-out loss {r.get("held_out_loss")}'
    )


# --- what the table says ---

NO_HARM = 0.02  # more jobs of all fail by so much: nothing that is worth a law
POWERS = [0.25 * 2 ** (k / 8) for k in range(41)]  # 0.25 to 8


def failures(rows):
    "Failed and all jobs `(jobs, cells, 2)` of some rows of the table, and the places of the jobs of each family."
    import numpy as np

    first = rows[0]['results']['jobs']
    places = {}
    for k, job in enumerate(first):
        places.setdefault(job['family'], []).append(k)
    won = [[job['task_success'] for job in row['results']['jobs']] for row in rows]
    won = np.array(won, float).transpose(1, 0, 2)
    return np.stack([won[:, :, 1] - won[:, :, 0], won[:, :, 1]], axis=-1), [np.array(k) for k in places.values()]


def laws(shares, places=61):
    "Every error law `e0 + (e1 - e0) * (share / largest) ** power` on a grid: its parameters and its errors at `shares`."
    import numpy as np

    at = np.linspace(0.005, 0.995, places)
    power, e0, e1 = (x.ravel() for x in np.meshgrid(POWERS, at, at, indexing='ij'))
    keep = e1 >= e0  # bad data helps nobody
    power, e0, e1 = power[keep], e0[keep], e1[keep]
    x = np.asarray(shares) / max(shares)
    return power, e0, e1, e0[:, None] + (e1 - e0)[:, None] * x ** power[:, None]


def best(counts, grid):
    "Log-likelihood of the best law of each power, and the law: `counts` are failed and all jobs per cell."
    import numpy as np

    power, e0, e1, errors = grid
    failed, n = counts.T
    score = np.log(errors) @ failed + np.log1p(-errors) @ (n - failed)
    out = {}
    for p in POWERS:
        k = np.flatnonzero(power == p)
        top = k[np.argmax(score[k])]
        out[p] = float(score[top]), float(e0[top]), float(e1[top])
    return out


def law_of_harm(rows, draws=200, seed=0, level=0.95):
    """The power with which failures grow in the share of corrupted rows, over rows of the table without verification.

    1 is linear, 2 quadratic. The families are those that were chosen, so what is said is said of them: jobs are drawn
    with replacement within each family, the same ones for all cells, and where there are three seeds or more, seeds too."""
    import numpy as np

    rng, (table, families) = np.random.default_rng(seed), failures(rows)
    shares, seeds = [r['parameters']['share'] for r in rows], [r['parameters']['seed'] for r in rows]
    grid = laws(shares)
    fits = best(table.sum(0), grid)
    top = max(fits, key=lambda p: fits[p][0])
    powers, harms = [], []
    for _ in range(draws):
        drawn = table[np.concatenate([rng.choice(k, len(k)) for k in families])].sum(0)
        kinds = sorted(set(seeds))
        if len(kinds) > 2:
            weight = Counter(rng.choice(kinds, len(kinds)).tolist())
            drawn = drawn * np.array([[weight[s]] for s in seeds])
        found = best(drawn, grid)
        p = max(found, key=lambda p: found[p][0])
        powers.append(p)
        harms.append(found[p][2] - found[p][1])
    ends = [(1 - level) / 2, (1 + level) / 2]
    (low, high), (harm_low, harm_high) = (np.quantile(x, ends).tolist() for x in (powers, harms))
    out = dict(power=top, low=low, high=high, harm=fits[top][2] - fits[top][1], harm_low=harm_low, harm_high=harm_high)
    out |= {f'{name}_loglik': fits[p][0] for name, p in (('linear', 1.0), ('quadratic', 2.0))}
    out |= dict(
        linear=fits[1.0][1:], quadratic=fits[2.0][1:], families=len(families), jobs=len(table), seeds=len(set(seeds))
    )
    return out | dict(verdict=verdict(out))


def verdict(law):
    "What may be said of the guide's claim that errors in the data cause quadratic increases in the errors of the model."
    if law['harm_low'] <= NO_HARM:
        return 'no harm is shown, so its law cannot be told'
    holds = {name: law['low'] <= p <= law['high'] for name, p in (('linear', 1), ('quadratic', 2))}
    if all(holds.values()):
        return 'the data cannot tell linear from quadratic'
    if any(holds.values()):
        fits, other = sorted(holds, key=holds.get, reverse=True)
        return f'{fits} fits, {other} does not'
    return f'neither linear nor quadratic fits: the power is {law["low"]:.2f} to {law["high"]:.2f}'


def of_verification(rows, v):
    return [r for r in rows if r['parameters']['verification'] == v]


def shares_of(rows):
    return sorted({r['parameters']['share'] for r in rows})


def failed(rows, share):
    "Failed jobs of the cells with this share, over their seeds: a `SeedSpread`, and counts `(failed, all)`."
    from agentft.evaluation.statistics import over_seeds

    cells = [r['results']['jobs'] for r in rows if r['parameters']['share'] == share]
    spread = over_seeds([[[n - won, n] for won, n in (j['task_success'] for j in jobs)] for jobs in cells])
    return spread, [sum(x) for x in zip(*spread.counts)]


def summary(rows):
    "The table in a few lines."
    from agentft.core.intervals import counted

    order = ('seed', 'share', 'verification')
    lines = [said(r).strip() for r in sorted(rows, key=lambda r: [r['parameters'][k] for k in order])]
    off, made_of = (
        of_verification(rows, 'off'),
        {(r['results'].get('base'), r['results'].get('conditions')) for r in rows},
    )
    if len(made_of) > 1:
        lines.append(f'the cells are of {len(made_of)} different sets of rows or jobs: compare them with care')
    if len(shares_of(off)) < 3:
        return lines
    law = law_of_harm(off)
    over = [counted(law[f'{k}s' if k != 'family' else 'families'], k) for k in ('job', 'family', 'seed')]
    said_of_law = (
        f'with {max(shares_of(off)):.0%} of the rows corrupted {100 * law["harm"]:.0f} points more jobs fail '
        f'({100 * law["harm_low"]:.0f} to {100 * law["harm_high"]:.0f}, 95 %, {", ".join(over)})'
    )
    if law['harm_low'] > NO_HARM:
        said_of_law += (
            f', growing with the share to the power of {law["power"]:.2f} ({law["low"]:.2f} to {law["high"]:.2f}); '
            f'linear against quadratic: log-likelihood {law["linear_loglik"]:.1f} against {law["quadratic_loglik"]:.1f}'
        )
    said_of_law += f'; {law["verdict"]}'
    said_of_law += '; the luck of the trainings is not in the interval' * (law['seeds'] < 3)
    return [*lines, arms_line(rows), said_of_law]


def arms_line(rows):
    "Failed jobs of each arm where most rows are corrupted."
    top, parts = max(shares_of(rows)), []
    for v, name in ARMS.items():
        mine = [r for r in of_verification(rows, v) if r['parameters']['share'] == top]
        if mine:
            left = sum(r['results']['rows'] for r in mine) / len(mine)
            n_failed, n = failed(mine, top)[1]
            parts.append(f'{n_failed:g} of {n:g} {name} ({left:.0f} rows)')
    return f'with {top:.0%} of the rows corrupted these jobs fail: {", ".join(parts)}'


def place(share):
    "Where a share stands on the axis, whose scale is of square roots: small shares lie close together."
    return math.sqrt(100 * share)


def draw_failures(ax, rows, v, color, mark, line, name):
    "Failed jobs by share, with counts and intervals."
    places = dict(off=(-0.25, (-4, 4), 'right'), on=(0.25, (6, -4), 'left'), refilled=(0, (0, -13), 'center'))
    values, (aside, shift, side) = [], places[v]
    for s in shares_of(rows):
        spread, (n_failed, n) = failed(rows, s)
        at, value = place(s) + aside, 100 * spread.value
        ends = [[value - 100 * spread.low], [100 * spread.high - value]]
        ax.errorbar([at], [value], yerr=ends, color=color, fmt=mark, capsize=4, markersize=7)
        text = dict(textcoords='offset points', color=color, fontsize=9, ha=side)
        beside = value - ends[0][0] if v == 'refilled' else value
        ax.annotate(f'{n_failed:g}/{n:g}', (at, beside), shift, **text)
        values.append((at, value))
    ax.plot(*zip(*values), line, color=color, label=name)


def draw_laws(ax, off):
    "The best linear and the best quadratic law through the cells without verification."
    import numpy as np

    law, x, top = law_of_harm(off), np.linspace(0, 1, 50), max(shares_of(off))
    for name, power, style in (('linear', 1, ':'), ('quadratic', 2, '-.')):
        e0, e1 = law[name]
        y = 100 * (e0 + (e1 - e0) * x**power)
        ax.plot([place(top * at) for at in x], y, style, color='#555555', linewidth=1.3, label=f'{name}, best fit')


def figure(rows):
    "Failures by the share of corrupted rows, without and with verification, and the held-out loss beside them."
    from agentft.workbench.figures import PALETTE, use_style

    fig, (ax, side) = use_style().subplots(1, 2, figsize=(10, 4))
    looks = dict(
        off=(PALETTE['vermillion'], 'o', '-'), on=(PALETTE['blue'], 's', '--'), refilled=(PALETTE['green'], '^', '-.')
    )
    for v, name in ARMS.items():
        color, mark, line = looks[v]
        if mine := of_verification(rows, v):
            draw_failures(ax, mine, v, color, mark, line, name)
            losses = [(place(r['parameters']['share']), r['results']['held_out_loss']) for r in mine]
            side.plot(*zip(*sorted(losses)), mark, color=color, linestyle=line, markersize=7, label=name)
    if len(shares_of(of_verification(rows, 'off'))) >= 3:
        draw_laws(ax, of_verification(rows, 'off'))
    shares, top = shares_of(rows), place(max(shares_of(rows)))
    ticks = dict(xticks=[place(s) for s in shares], xticklabels=[f'{100 * s:g}' for s in shares])
    x = dict(xlabel='% of the rows corrupted (square-root scale)', xlim=(-0.15 * top, 1.15 * top)) | ticks
    ax.set(ylim=(-3, 103), ylabel='% of held-out jobs that fail', title='What bad data costs', **x)
    side.set(ylabel='nats per token on clean held-out rows', title='Held-out loss', **x)
    ax.legend(loc='upper left')
    side.legend(loc='upper left')
    return fig


def draw(args):
    "Draw the figure of the finished cells, and say what they say; those of other rows, jobs or models are left out."
    from agentft.workbench.experiments import Experiments
    from agentft.workbench.figures import plot_save

    path, same = args.figure, {k: getattr(args, k) for k in ('rows', 'jobs', 'model')}
    rows = [r for r in Experiments(args.table).rows() if same.items() <= r['parameters'].items()]
    if not rows:
        sys.exit(f'{args.table} has no row of {same} yet')
    lines = summary(rows)
    print(*lines, sep='\n')
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as d:
        plot_save(figure(rows), d, path.stem, lines[-1]).replace(path)
    print(path)


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        '--rows', type=int, default=104, help='rows that are made; nine in ten are trained (default: %(default)s)'
    )
    p.add_argument('--jobs', type=int, default=60, help='held-out jobs (default: %(default)s)')
    p.add_argument('--seeds', type=int, default=1, help='trainings of each cell (default: %(default)s)')
    p.add_argument(
        '--shares',
        type=lambda s: [float(x) for x in s.split(',')],
        default=list(SHARES),
        help='of the rows that are corrupted (default: 0,0.05,0.2,0.5)',
    )
    p.add_argument('--model', default='smollm2-135m', help='(default: %(default)s)')
    p.add_argument(
        '--minutes',
        type=float,
        default=0.0,
        help='begin no cell that is not expected to end within so many; 0: no limit',
    )
    p.add_argument('--threads', type=int, default=0, help='CPU threads; 0: the free cores')
    p.add_argument('--commit', action='store_true', help='git commit of every finished cell')
    p.add_argument('--draw', action='store_true', help='draw the figure of what is there, and nothing else')
    p.add_argument('--work', type=Path, default=ROOT / 'runs' / 'bench-corruption', help='folder of rows and adapters')
    p.add_argument('--table', type=Path, default=TABLE)
    p.add_argument('--figure', type=Path, default=FIGURE)
    args = p.parse_args(argv)
    if not args.draw:
        fill(args)
    draw(args)


if __name__ == '__main__':
    main()
