"The bench of what bad data costs: its cells, what it says of the law of harm, its figure."

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def bench():
    spec = importlib.util.spec_from_file_location('bench_corruption', ROOT / 'bench' / 'bench_corruption.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(power, e0=0.1, e1=0.7, families=10, each=4, seeds=1, shares=(0.0, 0.05, 0.2, 0.5), seed=0):
    "Rows of the table as they would be where failures grow with the share to this power."
    rng, out = np.random.default_rng(seed), []
    for k in range(seeds):
        for s in shares:
            p = e0 + (e1 - e0) * (s / max(shares)) ** power
            jobs = [
                dict(family=f'f{j % families}', task_success=[float(rng.random() >= p), 1.0])
                for j in range(families * each)
            ]
            for v in ('off', 'on'):
                counts = dict(corrupted=round(92 * s), caught=round(92 * s), clean=92 - round(92 * s), clean_lost=0)
                results = counts | dict(jobs=jobs, rows=92, held_out_loss=0.1 + s)
                out.append(dict(parameters=dict(share=s, verification=v, seed=k), results=results))
    return out


def off(rows):
    return [r for r in rows if r['parameters']['verification'] == 'off']


@pytest.mark.parametrize('power,said', [(1, 'linear fits, quadratic does not'), (2, 'quadratic fits, linear does not')])
def test_a_law_is_recovered_where_there_are_jobs_enough(bench, power, said):
    law = bench.law_of_harm(off(table(power, each=200)), draws=60)
    assert abs(law['power'] - power) < 0.35 and law['verdict'] == said
    better = law['linear_loglik'] - law['quadratic_loglik']
    assert better > 2 if power == 1 else better < -2


def test_few_jobs_cannot_tell(bench):
    told = Counter(bench.law_of_harm(off(table(1, 0.3, 0.6, each=2, seed=k)), draws=60)['verdict'] for k in range(8))
    assert sum(n for v, n in told.items() if 'cannot' in v) >= 6, told


def test_no_harm_has_no_law(bench):
    assert 'no harm is shown' in bench.law_of_harm(off(table(1, 0.3, 0.3, each=8)), draws=60)['verdict']


def test_a_fitted_law_is_a_share_and_never_falls(bench):
    power, e0, e1, errors = bench.laws([0, 0.05, 0.2, 0.5])
    assert (errors > 0).all() and (errors < 1).all() and (np.diff(errors, axis=1) >= -1e-12).all()


def test_what_was_caught_is_counted_by_error_and_layer(bench):
    found = bench.what_was_caught(['', 'cut_off', 'wrong_path', 'wrong_path', ''], ['rules', 'rules', '', 'judges', ''])
    assert (found['corrupted'], found['caught'], found['clean'], found['clean_lost']) == (3, 2, 2, 1)
    assert found['missed'] == dict(wrong_path=1) and found['caught_by'] == dict(rules=1, judges=1)


def test_the_figure_shows_the_counts(bench):
    rows = table(1, seeds=2)
    ax = bench.figure(rows).axes[0]
    drawn = {t.get_text() for t in ax.texts}
    for s in (0.0, 0.05, 0.2, 0.5):
        jobs = [j for r in off(rows) if r['parameters']['share'] == s for j in r['results']['jobs']]
        assert f'{sum(1 - j["task_success"][0] for j in jobs):g}/{len(jobs)}' in drawn
    assert len(ax.containers) == 8


def test_the_cells_of_a_tiny_model(bench, tmp_path, capsys):
    "The whole way with random weights: a cell is done once, and the same rows are trained once."
    pytest.importorskip('torch')
    options = ['--rows', '8', '--jobs', '1', '--shares', '0,0.5', '--model', 'tiny-random', '--threads', '1']
    options += [
        '--work',
        f'{tmp_path}/work',
        '--table',
        f'{tmp_path}/t.jsonl',
        '--figure',
        f'{tmp_path}/corruption.png',
    ]
    bench.main(options)
    from agentft.workbench.experiments import Experiments

    rows = Experiments(tmp_path / 't.jsonl').rows()
    assert [(r['parameters']['share'], r['parameters']['verification']) for r in rows] == [
        (s, v) for v in ('off', 'on', 'refilled') for s in (0.0, 0.5)
    ]
    spoiled, kept, filled = (r['results'] for r in rows if r['parameters']['share'])
    n = spoiled['rows']
    assert spoiled['corrupted'] == round(n / 2) and spoiled['caught']
    assert kept['rows'] == n - spoiled['caught'] - spoiled['clean_lost'] and filled['rows'] == n
    assert len(list((tmp_path / 'work' / 'trials').iterdir())) == 4  # without corruption there is nothing to turn away
    assert (tmp_path / 'corruption.png').exists()
    bench.main(options)
    assert Experiments(tmp_path / 't.jsonl').rows() == rows and '0 % corrupted' in capsys.readouterr().out
