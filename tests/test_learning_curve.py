"Learning curves: parts of the rows, tables that continue, a fit that knows what it does not know, and one command."

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.curves import ROWS, simulated
from hypothesis import given, settings
from hypothesis import strategies as st

import agentft.evaluation.curves as C
import agentft.evaluation.learning_curve as L
from agentft.checks.splits import groups
from agentft.core.intervals import Clusters
from agentft.core.records import Example, Message, write_jsonl
from agentft.workbench.experiments import Experiments
from agentft.workbench.runs import phase_dir, write_result

ROOT = Path(__file__).parents[1]
SHARES = [1 / 8, 1 / 4, 1 / 2, 1]


# --- parts ---


def example(k, behaviour='edit', family='config', parents=()):
    said = [Message('user', f'{behaviour} {family} {k}'), Message('assistant', 'Done.')]
    return Example(said, behaviour=behaviour, family=family, parents=list(parents))


some_groups = st.lists(
    st.tuples(st.sampled_from(['edit', 'todo', 'phase']), st.sampled_from(['config', 'rename']), st.integers(1, 3)),
    min_size=30,
    max_size=60,
)


@settings(max_examples=20, deadline=None)
@given(some_groups, st.randoms(use_true_random=False))
def test_parts_are_nested_and_keep_related_rows_together(kinds, random):
    examples = [example(f'{g}.{k}', b, f, [f'seed {g}']) for g, (b, f, size) in enumerate(kinds) for k in range(size)]
    parts = L.nested_parts(examples, SHARES)
    ids = [{e.id for e in part} for part in parts]
    assert all(a < b for a, b in zip(ids, ids[1:])) and len(ids[-1]) == len(examples)
    group = groups({e.id: e.parents for e in examples})
    for part in ids:
        inside = {group[i] for i in part}
        assert {i for i in group if group[i] in inside} == part
    random.shuffle(examples)
    assert [{e.id for e in part} for part in L.nested_parts(examples, SHARES)] == ids


@settings(max_examples=20, deadline=None)
@given(st.integers(30, 90), st.integers(10, 60), st.integers(1, 3))
def test_every_part_has_a_like_share_of_every_behaviour(edits, todos, size):
    examples = [example(k, 'edit', 'config', [f'e{k // size}']) for k in range(edits)]
    examples += [example(k, 'todo', 'rename', [f't{k // size}']) for k in range(todos)]
    for share, part in zip(SHARES, L.nested_parts(examples, SHARES)):
        by = Counter(e.behaviour for e in part)
        assert abs(by['edit'] - share * edits) <= 2 * size and abs(by['todo'] - share * todos) <= 2 * size


def test_families_take_turns_within_a_behaviour():
    examples = [example(k, 'edit', f'family {k // 10}', [f's{k}']) for k in range(80)]
    eighth = L.nested_parts(examples, [1 / 8])[0]
    assert len({e.family for e in eighth}) == 8


def test_rows_that_hang_together_cannot_be_cut():
    examples = [example(k, parents=['one']) for k in range(30)] + [example(99, parents=['two'])]
    with pytest.raises(ValueError, match='31 rows in 2 groups'):
        L.nested_parts(examples, SHARES)
    with pytest.raises(ValueError, match='shares are different numbers'):
        L.nested_parts(examples, [1 / 2, 2])


# --- tables ---

FILL = """
import sys, time
from agentft.workbench.experiments import Experiments
table, log, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])

def work(p):
    time.sleep(pause)
    open(log, 'a').write(f"{p['n']} ")
    return dict(right=p['n'], of=20)

Experiments(table).fill([dict(n=n, seed=0) for n in range(8)], work, progress=False)
"""


def fill(tmp_path, pause):
    command = [sys.executable, '-c', FILL, tmp_path / 'table.jsonl', tmp_path / 'log', str(pause)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def rows_in(path):
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize('when', [2, 5])
def test_a_killed_table_continues_and_repeats_nothing(tmp_path, when):
    "Kill -9 in the midst: every line that is there is whole, and the second process does the rest only."
    path, first = tmp_path / 'table.jsonl', fill(tmp_path, 0.2)
    while rows_in(path) < when and first.poll() is None:
        time.sleep(0.01)
    first.kill()
    first.wait()
    kept = Experiments(path).rows()
    assert when <= len(kept) < 8
    begun = len((tmp_path / 'log').read_text().split())
    assert fill(tmp_path, 0).wait() == 0
    rows = Experiments(path).rows()
    assert [r['parameters']['n'] for r in rows] == list(range(8)) and rows[: len(kept)] == kept
    done = (tmp_path / 'log').read_text().split()
    assert len(done) - begun == 8 - len(kept)  # at most the one that was in work is done again
    assert all(r['results'] == dict(right=r['parameters']['n'], of=20) and r['commit'] and r['command'] for r in rows)


def test_two_processes_do_not_fill_one_table(tmp_path):
    first = fill(tmp_path, 1)
    while not (tmp_path / '.table.jsonl.lock').exists() and first.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    second = fill(tmp_path, 0)
    assert second.wait() == 1 and 'is being filled by another process' in second.stderr.read()
    first.kill()
    first.wait()
    assert fill(tmp_path, 0).wait() == 0  # a lock does not outlive its process


def git(folder, *args):
    who = dict(GIT_AUTHOR_NAME='A', GIT_AUTHOR_EMAIL='a@b', GIT_COMMITTER_NAME='A', GIT_COMMITTER_EMAIL='a@b')
    done = subprocess.run(['git', *args], cwd=folder, capture_output=True, text=True, check=True, env=os.environ | who)
    return done.stdout


def test_every_row_is_committed_as_it_comes_and_nothing_else(tmp_path, monkeypatch):
    for k in ('AUTHOR', 'COMMITTER'):
        monkeypatch.setenv(f'GIT_{k}_NAME', 'A')
        monkeypatch.setenv(f'GIT_{k}_EMAIL', 'a@b')
    git(tmp_path, 'init', '-q')
    (tmp_path / 'other.py').write_text('x = 1\n')
    git(tmp_path, 'add', 'other.py')
    seen = []
    table = Experiments(tmp_path / 'tables' / 'bad.jsonl', 'python bench', commit=True)

    def work(p):
        seen.append(rows_in(table.path))
        return dict(right=1, of=2)

    table.fill([dict(share=s, seed=0) for s in (0.0, 0.5)], work, progress=False)
    log = git(tmp_path, 'log', '--name-only', '--format=%s').split()
    assert seen == [0, 1] and ' '.join(log).count('tables/bad.jsonl') == 2 and 'other.py' not in log
    assert git(tmp_path, 'status', '--porcelain', '--untracked-files=no').split() == ['A', 'other.py']


def test_a_commit_that_git_refuses_costs_no_row(tmp_path, capfd):
    table = Experiments(tmp_path / 'bad.jsonl', 'python bench', commit=True)  # no repository
    table.fill([dict(n=1)], lambda p: dict(right=1, of=2), progress=False)
    assert len(table.rows()) == 1 and 'was not committed' in capfd.readouterr().err


# --- the fit ---


def test_the_fit_is_that_of_statsmodels():
    import statsmodels.api as sm

    right, of, x = np.array([1, 4, 11, 20]), np.array([20, 20, 20, 20]), np.array([-3.0, -2, -1, 0])
    glm = sm.GLM(np.c_[right + 0.5, of - right + 0.5], sm.add_constant(x), family=sm.families.Binomial()).fit()
    assert np.allclose(C._fit(x, right, of), glm.params, atol=1e-6)


@pytest.mark.parametrize('right', [[0, 0, 0, 20], [0, 0, 20, 20], [20, 20, 20, 20], [20, 0, 20, 0], [0, 1, 0, 0]])
def test_the_fit_ends_whatever_the_counts_are(right):
    a, b = C._fit([-3, -2, -1, 0], right, [20] * 4)
    assert np.isfinite([a, b]).all() and abs(b) < 20


def test_a_known_curve_is_recovered():
    c, gain = simulated(1.0, 1.0, families=60, each=20, spread=0, luck=0)
    a, b = c.fit()
    d = C.doubling(c)
    assert abs(a - 1) < 0.15 and abs(b - 1) < 0.15
    assert d.low <= gain <= d.high and abs(d.gain - gain) < 0.02 and d.verdict == 'helps'


@pytest.mark.parametrize('a,b,families,luck', [(1, 1, 10, 0.3), (0, 0, 10, 0.3), (-1, 0.5, 20, 0.3), (3, 1.5, 10, 0.3)])
def test_coverage_of_what_doubling_buys(a, b, families, luck):
    held = []
    for seed in range(60):
        c, gain = simulated(a, b, families, luck=luck, seed=seed)
        d = C.doubling(c)
        held += [d.low <= gain <= d.high] if d.gain is not None else []
    assert len(held) > 50 and np.mean(held) >= 0.93


def test_noise_cannot_be_said():
    "Success that does not depend on the rows: hardly ever called a help, and mostly not to be told."
    verdicts = Counter(C.doubling(simulated(0, 0, luck=0.3, seed=seed)[0]).verdict for seed in range(80))
    assert verdicts['cannot say'] >= 64 and sum(n for v, n in verdicts.items() if v.startswith('helps')) <= 4


def test_a_clear_curve_is_told():
    verdicts = Counter(C.doubling(simulated(0.5, 1.2, 12, 6, luck=0.2, seed=seed)[0]).verdict for seed in range(40))
    assert sum(n for v, n in verdicts.items() if v.startswith('helps')) >= 28


def flat(jobs_right, jobs=40, families=10, rows=ROWS):
    right = [[float(j < jobs_right) for j in range(jobs)] for _ in rows]
    return C.Curve(
        'task success', rows, right, [[1.0] * jobs] * len(rows), Clusters([j % families for j in range(jobs)])
    )


@pytest.mark.parametrize('right', [0, 8, 20, 30])
def test_the_same_at_every_point_is_not_known_exactly(right):
    "Four points that agree to the job still leave room for the next one."
    d = C.doubling(flat(right))
    assert d.verdict == 'cannot say' and d.why
    assert d.gain is None or d.high - d.low > 0.03


def test_what_a_curve_takes():
    assert '2 numbers of rows' in C.doubling(flat(8, rows=[72, 144, 144])).why
    assert '3 jobs, an interval takes' in C.doubling(flat(8, families=3)).why
    many = C.doubling(flat(400, 400, 100))
    assert many.verdict == 'little' and many.high < 0.05


# --- figure and JSON ---


def points_of(c):
    for k, n in enumerate(c.rows):
        jobs = [
            dict(task=f't{j}', family=f, task_success=[r, 1.0])
            for j, (f, r) in enumerate(zip(c.clusters.labels, c.right[k]))
        ]
        results = dict(rows=n, steps=n, tokens=600 * n, held_out_loss=2 / n**0.6, held_out_rows=6, jobs=jobs)
        yield dict(
            parameters=dict(share=f'1/{c.top // n}', seed=0), results=results, commit='abc', dirty=False, code='1'
        )


def test_the_figure_shows_what_the_json_says(tmp_path):
    c, _ = simulated(1, 1, seed=3)
    written = L.write_curve(L.curve_numbers(list(points_of(c)), [example(k) for k in range(144)], model='m'), tmp_path)
    assert [p.name for p in written] == ['learning_curve.json', 'learning-curve.png']
    found = json.loads(written[0].read_text())
    axes = L.curve_figure(found).axes
    said, line = found['curves']['task success'], found['curves']['task success']['band']
    points = [b.lines[0].get_xydata()[0] for b in axes[0].containers]
    assert np.allclose(points, [(p['rows'], 100 * p['right'] / p['of']) for p in said['points']])
    bars = [b.lines[2][0].get_segments()[0][:, 1] for b in axes[0].containers]
    assert np.allclose(bars, [(100 * p['low'], 100 * p['high']) for p in said['points']])
    curve = np.concatenate([x.get_xydata() for x in axes[0].lines if len(x.get_xdata()) > 2])
    assert set(map(tuple, curve.round(4))) == {
        (round(n, 4), round(100 * v, 4)) for n, v in zip(line['rows'], line['value'])
    }
    edge = axes[0].collections[0].get_paths()[0].vertices
    assert np.isclose(edge[:, 1].max(), 100 * max(line['high'])) and np.isclose(
        edge[:, 1].min(), 100 * min(line['low'])
    )
    marks = [x.get_xdata()[0] for x in axes[0].lines if x.get_linestyle() == ':']
    assert marks == [found['minimum']] == [200]
    losses = next(x for x in axes[1].lines if x.get_marker() == 'o').get_xydata()
    assert np.allclose(losses, [(p['rows'], p['loss']) for p in found['loss']['points']])
    assert said['line'] == C.doubling_line('task success', C.Doubling(**said['doubling']))


def test_a_curve_that_is_not_complete_says_so(tmp_path):
    c, _ = simulated(1, 1, seed=3)
    some = list(points_of(c))
    for n in (0, 1, 2, 3):
        found = L.curve_numbers(some[:n], [example(k) for k in range(144)], ['1/2', '1'], 'm')
        L.write_curve(found, tmp_path)
        assert found['notes'][0].startswith('The curve is not complete: the points with 1/2 and 1')
    assert 'numbers of rows' in L.curve_numbers(some[:2], [])['curves']['task success']['line']


def test_own_turns_are_a_curve_too():
    points = list(points_of(simulated(1, 1, seed=3)[0]))
    for k, p in enumerate(points):
        groups_ = [dict(group=f'job {g}', right_action=[min(k, 2), 3]) for g in range(8 - (k == 0))]
        p['results'] |= dict(turns=groups_, unit='job')
    own = L.curves_of(points)['right actions in own turns']
    assert own.sums.tolist() == [[0, 21], [8, 24], [16, 24], [16, 24]] and len(own.table) == 8


def test_the_guides_numbers_stand_beside_the_rows():
    rows = [example(k, b) for k, b in enumerate(['edit'] * 120 + ['compact'] * 100 + ['mine'] * 5)]
    table = {r['task_type']: r for r in L.advice_rows(rows)}
    guide = ROOT.parent / 'shared' / 'guide.md'
    for name, low, high, more, _ in L.GUIDE:
        assert table[name]['guide'] == f'{low:,} to {high:,}{"+" * more}'
        if guide.exists():
            said = f'{low:,}-{high:,}{"+" * more}'.replace('1,000-5,000+', '1,000-5,000+')
            assert re.search(rf'\| {re.escape(name)} \| {re.escape(said)} ', guide.read_text())
    assert table['Tool calling patterns']['missing'] == '380 to reach 500'
    assert table['Output formatting, tone']['missing'] == 'reached'
    assert table['not in the guide']['of_which'] == 'mine 5' and table['all rows']['missing'] == 'reached'
    assert sum(r['rows'] for name, r in table.items() if name != 'all rows') == len(rows) == table['all rows']['rows']


# --- one command ---

pytest.importorskip('torch', reason="PyTorch is not installed (pip install 'agentft[embedded]')")
from agentft.phases.train import arena_examples, train  # noqa: E402


@pytest.fixture
def run(tmp_path):
    "A run whose first two phases are done: 24 rows to train and 4 to validate."
    examples = arena_examples(28, seed=100)
    for k, e in enumerate(examples):
        e.split, e.meta['tokens'] = ('valid' if k % 7 == 6 else 'train'), 1
    folder = phase_dir(tmp_path, 'synthesize')
    write_jsonl(folder / 'examples.jsonl', examples)
    write_result(folder, 'synthesize', dict(max_len=1536, families=['config', 'rename', 'facts', 'compact']), {})
    write_result(phase_dir(tmp_path, 'evaluate'), 'evaluate', {}, dict(max_new_tokens=8, max_turns=2, batch=8, seed=0))
    return tmp_path


def phase3(run, **options):
    options = dict(model='tiny-random', rank=4, threads=1, max_valid=3) | options
    train(out=str(phase_dir(run, 'train')), **options)


def test_a_curve_that_was_stopped_goes_on_and_trains_no_point_twice(run, monkeypatch, capsys):
    import agentft.evaluation.trials as T

    phase3(run)
    trained, sft = [], T.train_sft
    monkeypatch.setattr(T, 'train_sft', lambda rows, *a, **k: (trained.append(len(rows)), sft(rows, *a, **k))[1])
    play, calls = T._play, []

    def stop(*a):
        calls.append(a)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return play(*a)

    monkeypatch.setattr(T, '_play', stop)
    with pytest.raises(KeyboardInterrupt):
        L.learning_curve(str(run), jobs=6, threads=1)
    so_far = json.loads((run / 'curve' / 'learning_curve.json').read_text())
    assert trained == [3, 6] and so_far['missing'] == ['1/4', '1/2', '1'] and len(so_far['points']) == 1
    found = L.learning_curve(str(run), jobs=6, threads=1)
    assert trained == [3, 6, 12]  # the second was trained and not played; all rows were trained by phase 3
    assert [p['rows'] for p in found['points']] == [3, 6, 12, 24] and found['missing'] == []
    assert found == json.loads((run / 'curve' / 'learning_curve.json').read_text())
    assert (run / 'curve' / 'figures' / 'learning-curve.png').exists()
    again = L.learning_curve(str(run), jobs=6, threads=1)
    assert trained == [3, 6, 12] and len(calls) == 5 and again == found
    assert 'guide' in capsys.readouterr().out


def test_what_phase_3_trained_otherwise_is_not_taken(run, monkeypatch):
    import agentft.evaluation.trials as T

    phase3(run, n_examples=20)
    r = L.read_run(run)
    c = L._conditions(run, r, 'seen', 2, 1)
    assert len(r.train) == 20 and T.take_over(phase_dir(run, 'train'), r.train, c, run / 'all')
    assert not T.take_over(phase_dir(run, 'train'), r.train[:10], c, run / 'half')
    assert not T.take_over(phase_dir(run, 'train'), r.train, c, run / 'other', seed=1)
    c.recipe.lr *= 2
    assert not T.take_over(phase_dir(run, 'train'), r.train, c, run / 'faster')


def test_a_budget_leaves_points_for_the_next_session(run, capsys):
    phase3(run)
    found = L.learning_curve(str(run), jobs=2, minutes=1e-4, threads=1)
    assert len(found['points']) == 1 and 'stopped by the budget' in capsys.readouterr().out
    assert len(L.learning_curve(str(run), jobs=2, threads=1)['points']) == 4


def test_points_of_several_seeds_stand_at_the_same_rows(run):
    phase3(run)
    found = L.learning_curve(str(run), jobs=2, seeds=2, shares='1/2,1', threads=1)
    assert sorted((p['rows'], p['seed']) for p in found['points']) == [(12, 0), (12, 1), (24, 0), (24, 1)]


def test_what_is_missing_is_said(run, tmp_path):
    with pytest.raises(FileNotFoundError, match='neither a finished phase 3 nor a recipe'):
        L.learning_curve(str(run))
    phase3(run)
    for options, why in [
        (dict(suite='sene'), "did you mean 'seen'"),
        (dict(suite='none'), 'there is nothing to measure with'),
        (dict(shares='0,1'), 'shares are different numbers'),
        (dict(seeds=0), 'seeds and jobs are at least 1'),
    ]:
        with pytest.raises(ValueError, match=why):
            L.learning_curve(str(run), **options)


def test_the_command_explains_itself_without_torch():
    code = 'import sys; from agentft.cli import main\ntry: main(["curve", "--help"])\nexcept SystemExit: pass\nassert "torch" not in sys.modules'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and '--minutes' in done.stdout, done.stderr
