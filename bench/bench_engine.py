"""Jobs per minute of the evaluation engine against one job at a time, side by side in one run, on the real
SmolLM2-135M.

    python bench/bench_engine.py

Both sides play the same simulated jobs of the arena, with the same tokens: the conversation follows the arena's
scripted expert, and
each reply costs the model as many generated tokens as the expert's reply has (the tokens themselves are replaced by
the expert's, so
that both sides see the same contexts). One at a time means `transformers.generate` with the whole prompt computed
anew for every turn
(with its usual key-value cache within a turn). The engine plays all jobs at once. Each run does both, one after the
other.
"""

import argparse
import statistics
import time
import warnings

warnings.filterwarnings('ignore')


def make_tasks(n):
    "Simulated jobs, the families in turn."
    from agentft.arena.catalogue import FAMILIES, make_task

    names = sorted(FAMILIES)
    return [make_task(names[i % len(names)], 5000 + i) for i in range(n)]


def with_engine(model, tok, tasks, slots, quantize):
    "Seconds, generated tokens, prompt tokens as billed."
    from agentft.model.engine import Engine
    from agentft.model.players import Forced, expert_replies, play_many

    engine = Engine(model, tok, slots=slots, quantize=quantize)
    t = time.perf_counter()
    with Forced(engine, expert_replies(tasks, tok)):
        jobs = play_many(tasks, engine, max_new_tokens=10**6, player='engine')
    t = time.perf_counter() - t
    assert all(j.outcome.status == 'success' for j in jobs)
    return (
        t,
        sum(u.usage.completion_tokens for j in jobs for u in j.turns),
        sum(u.usage.prompt_tokens for j in jobs for u in j.turns),
    )


def one_at_a_time(model, tok, tasks):
    "The same with `generate`, a turn at a time."
    import torch
    from tqdm import tqdm

    from agentft.arena.players import expert_script
    from agentft.arena.sessions import Session
    from agentft.core.agent import SHORT
    from agentft.model.chat import ChatFormat, said_text

    fmt, n, billed, t = ChatFormat(tok), 0, 0, time.perf_counter()
    for task in tqdm(tasks, desc='one at a time', unit='job'):
        lines = iter(expert_script(task, SHORT))
        with Session(task, SHORT) as s:
            ids = fmt.prompt(s.pending, s.tools)
            while not s.done:
                said = next(lines)
                reply = fmt.ids(said_text(said)) + [fmt.stop_id]
                out = model.generate(
                    torch.tensor([ids]),
                    attention_mask=torch.ones(1, len(ids)),
                    do_sample=False,
                    pad_token_id=tok.pad_token_id,
                    max_new_tokens=len(reply),
                    min_new_tokens=len(reply),
                )
                assert out.shape[1] == len(ids) + len(reply)
                n += len(reply)
                billed += len(ids)
                ids = ids + reply + fmt.extend(s.step(said))
            assert s.job().outcome.status == 'success'
    return time.perf_counter() - t, n, billed


def main(n_jobs, runs, slots, threads, quantize):
    import torch

    from agentft.model.loading import free_threads, load_model

    threads = threads or free_threads(1.0)
    model, tok = load_model(threads=threads)
    tasks, rates = make_tasks(n_jobs), dict(engine=[], alone=[])
    one = tasks[:1]
    with_engine(model, tok, one, slots, quantize)  # warm-up
    print(
        f'SmolLM2-135M{", engine in int8" if quantize else ""}, fp32, {torch.get_num_threads()} threads, {n_jobs} simulated jobs with the same forced tokens on both sides, {runs} runs',
        flush=True,
    )
    for k in range(runs):
        (te, ne, be), (ta, na, ba) = with_engine(model, tok, tasks, slots, quantize), one_at_a_time(model, tok, tasks)
        assert (ne, be) == (na, ba), 'the two sides must have the same tokens'
        rates['engine'].append(60 * n_jobs / te)
        rates['alone'].append(60 * n_jobs / ta)
        print(
            f'  run {k + 1} of {runs}: engine {te:.0f} s, one at a time {ta:.0f} s; {ne} tokens generated, {be} prompt tokens billed',
            flush=True,
        )
    e, a = (statistics.median(rates[x]) for x in ('engine', 'alone'))
    print(f'\n{"":38} {"jobs/min":>9} {"generated/s":>12} {"ratio":>6}')
    for name, r in (('one job at a time, generate', a), (f'engine, {min(slots, n_jobs)} jobs at once', e)):
        print(f'{name:38} {r:9.2f} {r * ne / n_jobs / 60:12.1f} {r / a:5.1f}x')
    print(
        f'\nMedians of {runs} runs. Wanted: at least 4x; measured {e / a:.1f}x (per run: {", ".join(f"{x / y:.1f}x" for x, y in zip(rates["engine"], rates["alone"]))}).'
    )


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--jobs', type=int, default=8, help='simulated jobs')
    p.add_argument('--runs', type=int, default=3, help='runs; medians are reported')
    p.add_argument('--slots', type=int, default=32, help='jobs at once in the engine')
    p.add_argument('--threads', type=int, default=0, help='CPU threads; 0: the free cores')
    p.add_argument('--quantize', default='', help="'int8': the engine with 8-bit weights")
    a = p.parse_args()
    main(a.jobs, a.runs, a.slots, a.threads, a.quantize)
