"Phase 4: the door runs end to end on a tiny random model, goes on after a stop, and claims nothing it cannot show."

import inspect
import shutil
from pathlib import Path

import pytest

import agentft.phases.evaluate as ev
from agentft.arena.catalogue import EVAL_SEED, FAMILIES
from agentft.core.records import Job, read_jsonl
from agentft.model.loading import tiny_model
from agentft.workbench.recipes import notebook_of
from agentft.workbench.runs import read_result, write_result

SMALL = dict(jobs_per_family=1, jobs_per_unseen_family=1, max_new_tokens=6, max_turns=4, batch=4)


def door(**kw):
    f = getattr(ev.evaluate, '__wrapped__', ev.evaluate)
    return f(**SMALL | kw)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run folder whose phase 3 holds a real adapter of the tiny random model. It is drawn with a seed and drowns what
    the model says without it, so that the two never say the same on any machine."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp('run')
    d = folder / '3-train'
    model, _ = tiny_model()
    lora = get_peft_model(model, LoraConfig(r=2, target_modules=['down_proj']))
    draw = torch.Generator().manual_seed(0)
    for name, weight in lora.named_parameters():
        if 'lora_' in name:
            weight.data = 30 * torch.randn(weight.shape, generator=draw)
    lora.save_pretrained(d / 'adapter', safe_serialization=True)
    write_result(d, 'train', {}, dict(model='tiny-random'))
    return folder


def test_end_to_end(run):
    out = run / '4-evaluate'
    door(out=str(out))
    res = read_result(out)
    n = res['numbers']
    base, tuned = (read_jsonl(out / f'jobs-{k}.jsonl', Job) for k in ('base', 'tuned'))
    assert [j.meta['task'] for j in base] == [j.meta['task'] for j in tuned] and len(base) == len(FAMILIES)
    assert all(j.meta['seed'] >= EVAL_SEED and j.turns and j.turns[0].usage.prompt_tokens > 0 for j in base + tuned)
    assert [j.turns[0].said.content for j in base] != [j.turns[0].said.content for j in tuned]  # the adapter was used
    assert {r['families'] for r in res['summary']} == {'seen', 'unseen'} and len(res['summary']) == 12
    assert sum(r['metric'] == '· marked without work' for r in res['summary']) == 2  # beside todo completion
    for k in ('seen', 'unseen'):
        m = n['metrics'][k]['tuned']['task_success']
        assert m['denominator'] == sum(FAMILIES[j.family].seen == (k == 'seen') for j in tuned)
        assert n['compare'][k]['task_success'].get('verdict', 'not enough evidence') == 'not enough evidence'
    assert not n['real'] and res['verdict'].startswith('A trial run')  # random weights are no evaluation
    assert not list(out.glob('.*.part.jsonl'))


def test_it_goes_on_after_a_stop(run, tmp_path, monkeypatch):
    whole = run / '4-evaluate'
    if not (whole / 'result.json').exists():
        door(out=str(whole))
    out = tmp_path / '4-evaluate'
    seen = []
    play = ev.Model.play

    def stopped(self, tasks, name, on_job, engine=None):
        def some(job):
            on_job(job)
            seen.append(job.meta['task'])
            if len(seen) == 3:
                raise KeyboardInterrupt

        return play(self, tasks, name, some, engine)

    monkeypatch.setattr(ev.Model, 'play', stopped)
    with pytest.raises(KeyboardInterrupt):
        door(out=str(out), train_dir=str(run / '3-train'))
    assert not (out / 'result.json').exists() and not (out / 'jobs-base.jsonl').exists()
    part = out / '.jobs-base.part.jsonl'
    part.write_text(part.read_text() + '{"id": "torn')  # and the machine went down while writing
    played = []

    def count(self, tasks, name, on_job, engine=None):
        played.append((name, len(tasks)))
        return play(self, tasks, name, on_job, engine)

    monkeypatch.setattr(ev.Model, 'play', count)
    door(out=str(out), train_dir=str(run / '3-train'))
    assert played == [('base', len(FAMILIES) - 3), ('tuned', len(FAMILIES))]
    for k in ('base', 'tuned'):
        a, b = (read_jsonl(d / f'jobs-{k}.jsonl', Job) for d in (whole, out))
        assert [(j.meta['task'], j.turns, j.outcome) for j in a] == [
            (j.meta['task'], j.turns, j.outcome) for j in b
        ]  # as if it had never been stopped
    played.clear()
    door(out=str(out), train_dir=str(run / '3-train'))
    assert not played  # nothing is played twice
    door(out=str(out), train_dir=str(run / '3-train'), max_new_tokens=5)
    assert [n for _, n in played] == [len(FAMILIES)] * 2  # other limits, other jobs


def test_missing_phase_3(tmp_path):
    (tmp_path / '3-train').mkdir()
    with pytest.raises(FileNotFoundError, match='has not finished'):
        door(out=str(tmp_path / '4-evaluate'))
    write_result(tmp_path / '3-train', 'train', {}, dict(model='tiny-random'))
    with pytest.raises(FileNotFoundError, match='--from train'):
        door(out=str(tmp_path / '4-evaluate'))
    with pytest.raises(ValueError, match='at least 1 job'):
        door(out=str(tmp_path / 'x'), train_dir='none', jobs_per_family=0)


def test_held_out_tasks():
    a, b = ev.held_out(5, 2), ev.held_out(5, 2, seed=1)
    assert len(a) == 5 * sum(f.seen for f in FAMILIES.values()) + 2 * sum(not f.seen for f in FAMILIES.values())
    assert len({t.id for t in a + b}) == len(a) + len(b) and all(t.seed >= EVAL_SEED for t in a + b)


def test_notebook_and_function_have_the_same_parameters():
    import papermill as pm

    nb = pm.inspect_notebook(str(notebook_of('evaluate')))
    sig = inspect.signature(getattr(ev.evaluate, '__wrapped__', ev.evaluate)).parameters
    assert {k: (v['inferred_type_name'], v['default']) for k, v in nb.items()} == {
        k: (p.annotation.__name__, repr(p.default)) for k, p in sig.items()
    }


def test_another_checker_plays_the_jobs_again(tmp_path, monkeypatch):
    "Jobs that an older checker judged are not taken over: the code that decides them is part of their fingerprint."
    from agentft.workbench import runs

    library = tmp_path / 'agentft'
    shutil.copytree(Path(runs.__file__).parents[1], library, ignore=shutil.ignore_patterns('__pycache__'))
    monkeypatch.setattr('agentft.__file__', str(library / '__init__.py'))
    before = runs.code_hash('core', 'arena', 'model')
    family = library / 'arena' / 'families' / 'config.py'
    family.write_text(family.read_text() + '\n# another checker\n')
    assert runs.code_hash('core', 'arena', 'model') != before
