"The engine against transformers' own generate, under interruption, and with the real small model."

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip('torch', reason="PyTorch is not installed (pip install 'agentft[embedded]')")
from agentft.arena.catalogue import FAMILIES, make_task
from agentft.core.records import Message
from agentft.model.chat import ChatFormat
from agentft.model.engine import Engine, Request, draw_token
from agentft.model.loading import load_model, tiny_model
from agentft.model.players import Forced, expert_replies, play_many

torch.set_num_threads(1)


@pytest.fixture(scope='module')
def tiny():
    return tiny_model(seed=2)


def alone(model, ids, n):
    return model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=n, do_sample=False, pad_token_id=0
    )[0, len(ids) :].tolist()


def agree(model, ids, got, want, tol):
    "The same tokens; where they part, both choices are within `tol` in the logits (rounding may decide a tie)."
    k = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), None)
    if k is None:
        return len(got) == len(want)
    with torch.inference_mode():
        logits = model(torch.tensor([ids + want[:k]])).logits[0, -1]
    return abs(float(logits[got[k]] - logits[want[k]])) < tol


@pytest.mark.parametrize('slots,prefill', [(1, 7), (3, 16), (9, 500), (20, 64)])
def test_ragged_prompts_over_several_turns_are_answered_as_one_at_a_time(tiny, slots, prefill):
    model, tok = tiny
    rnd, fmt = random.Random(slots), ChatFormat(tok)
    shared = [rnd.randrange(20, 49000) for _ in range(30)]
    prompts = [
        (shared if rnd.random() < 0.6 else [])
        + [rnd.randrange(20, 49000) for _ in range(rnd.choice([1, 2, 9, 40, 90]))]
        for _ in range(14)
    ]
    left, replies = {i: rnd.randrange(3) for i in range(14)}, []  # follow-ups of each conversation
    total = 14 + sum(left.values())

    def more(r):
        replies.append(r)
        left[r.request.key] -= 1
        if left[r.request.key] >= 0:
            new = [Message('tool', 'x' * rnd.randrange(60))]
            return Request(r.request.ids + r.ids + fmt.extend(new, r.stopped), 3 + r.request.key % 4, key=r.request.key)

    engine = Engine(model, tok, slots=slots, max_len=512, prefill_tokens=prefill)
    engine.run([Request(p, 1 + i % 6, key=i) for i, p in enumerate(prompts)], more)
    assert len(replies) == total
    for r in replies:
        assert agree(model, r.request.ids, r.ids, alone(model, r.request.ids, r.request.max_new_tokens), 1e-3)
    assert any(r.reused for r in replies)


def test_a_stop_token_ends_the_reply(tiny):
    model, tok = tiny
    engine = Engine(model, tok, slots=2, max_len=64, stop_ids=(72,))
    with Forced(engine, lambda request: [70, 71, 72, 73]):
        r = engine.generate([Request(list(range(50, 80)), 20)])[0]
    assert r.finish_reason == 'stop' and r.ids == [70, 71, 72] and r.stopped


def test_requests_without_room_do_not_end_the_run(tiny):
    "More requests than slots have no room, one after the other: those behind them are answered all the same."
    model, tok = tiny
    engine = Engine(model, tok, slots=2, max_len=64)
    replies = engine.generate([Request([50] * n, 4) for n in (64, 70, 80, 90, 5, 64, 64, 64, 6)])
    assert [bool(r.ids) for r in replies] == [False] * 4 + [True] + [False] * 3 + [True]
    assert not engine.run([])


def drawn(model, reply, eps=1e-5):
    "Does each draw of a request point at its token, up to `eps`, in the probabilities of transformers alone?"
    request, rng = reply.request, random.Random(reply.request.seed)
    with torch.inference_mode():
        logits = model(torch.tensor([request.ids + reply.ids])).logits[0, len(request.ids) - 1 : -1]
    cdf = (logits.double() / request.temperature).softmax(-1).cumsum(-1)
    for token, row in zip(reply.ids, cdf):
        below = row[token - 1] if token else 0.0
        if not below - eps <= rng.random() <= row[token] + eps:
            return False
    return True


@pytest.mark.parametrize('slots', [1, 3, 12])
def test_a_sampled_reply_depends_on_its_own_seed_only(tiny, slots):
    "Alone or in company, each token is the one at which the request's own draw points."
    model, tok = tiny
    rnd = random.Random(5)
    prompts = [[rnd.randrange(20, 49_000) for _ in range(n)] for n in (3, 40, 9, 1, 77, 12, 5, 30, 8, 2, 60, 21)]
    engine = Engine(model, tok, slots=slots, max_len=256, prefill_tokens=50)
    replies = engine.generate([Request(p, 10, 0.7 + i / 20, seed=i % 4) for i, p in enumerate(prompts)])
    assert all(drawn(model, r) for r in replies)


@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.3, 0.9, 1.0]), st.sampled_from([0.05, 0.5, 0.95]))
@settings(deadline=None, max_examples=60)
def test_a_draw_stays_in_the_nucleus(seed, temperature, top_p):
    "Logits with many ties: less than `top_p` is more probable than what is drawn."
    numbers = random.Random(seed)
    logits = torch.tensor([numbers.randrange(40) / 10 for _ in range(50)], dtype=torch.float64)
    p = (logits / temperature).softmax(-1)
    token = draw_token(logits, random.Random(seed), temperature, top_p)
    assert p[p > p[token]].sum() < top_p + 1e-9


@given(st.integers(0, 10_000), st.sampled_from([1e-9, 1e-6, 1e-3, 0.1]))
@settings(deadline=None, max_examples=60)
def test_noise_changes_a_draw_only_near_a_border(seed, size):
    "A draw that lies further from each border than any border moved gives the same token."
    numbers = random.Random(seed)
    logits = torch.tensor([numbers.uniform(0, 3) for _ in range(500)], dtype=torch.float64)
    noisy = logits + torch.tensor([numbers.uniform(-size, size) for _ in range(500)], dtype=torch.float64)
    before, after = (x.softmax(-1).cumsum(0) for x in (logits, noisy))
    distance = (before - random.Random(seed).random()).abs().min()
    if distance > (before - after).abs().max() + 1e-12:
        assert draw_token(logits, random.Random(seed)) == draw_token(noisy, random.Random(seed))


def test_after_an_interruption_no_folder_is_left_and_the_engine_goes_on(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    model, tok = tiny
    engine, tasks = Engine(model, tok, slots=4, max_len=1024), [make_task(f, 1) for f in sorted(FAMILIES)]

    def stop(job):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play_many(tasks, engine, max_new_tokens=4, on_job=stop, progress=False)
    assert not list(tmp_path.iterdir())
    assert len(play_many(tasks[:2], engine, max_new_tokens=4, progress=False)) == 2


def test_a_job_that_outgrows_the_context_is_counted_as_failed(tiny):
    model, tok = tiny
    engine = Engine(model, tok, slots=2, max_len=300)
    with Forced(engine, lambda request: [50] * 64):
        jobs = play_many([make_task('config', 1)], engine, max_new_tokens=64, progress=False)
    assert jobs[0].outcome.status == 'failed' and jobs[0].turns[-1].finish_reason == 'length'


def test_forced_experts_succeed_and_most_of_the_bill_is_reused(tiny):
    model, tok = tiny
    engine, tasks = (
        Engine(model, tok, slots=5, max_len=1024),
        [make_task(f, s) for s in (7, 8) for f in ('compact', 'config', 'facts', 'find_file', 'rename')],
    )
    with Forced(engine, expert_replies(tasks, tok)):
        jobs = play_many(tasks, engine, max_new_tokens=10**6, progress=False)
    assert all(j.outcome.status == 'success' for j in jobs)
    assert engine.stats['billed'] == sum(t.usage.prompt_tokens for j in jobs for t in j.turns)
    assert engine.stats['computed'] < engine.stats['billed'] / 4


def test_the_engine_refuses_what_it_cannot_do(tiny):
    model, tok = tiny
    with pytest.raises(ValueError, match='int8'):
        Engine(model, tok, slots=1, quantize='int3')


def test_the_real_model_answers_as_with_generate():
    model, tok = load_model(threads=1)
    fmt = ChatFormat(tok)
    tasks = [make_task(f, 3) for f in sorted(FAMILIES)[:3]]
    from agentft.arena.sessions import Session

    prompts = []
    for t in tasks:
        with Session(t) as s:
            prompts.append(fmt.prompt(s.pending, s.tools))
    prompts.append(fmt.prompt([Message('user', 'What is the capital of France?')]))
    replies = Engine(model, tok, slots=4, max_len=512).generate([Request(p, 16) for p in prompts])
    for p, r in zip(prompts, replies):
        assert agree(model, p, r.ids, alone(model, p, 16), 1e-3)
    assert 'Paris' in tok.decode(replies[-1].ids)
