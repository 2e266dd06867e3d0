"""Jobs per minute of an evaluation: suite by suite in batches of 16, as it was, against all suites in one batch of 32,
side by side in one run, on the real SmolLM2-135M.

    python bench/bench_playing.py            two players: the base as it is, and one that plays as the expert does
    python bench/bench_playing.py --int8     the same with 8-bit weights, and how many jobs stay the same
    python bench/bench_playing.py --told     what the base does when it is told how, as turns and as text

The jobs are simulated: seen families, other seeds of them, and jobs under the agent's full rules. The second player is
the same model, forced to write what the arena's expert says: what a tuned model costs that succeeds. Before: a batch of
16 per suite, tasks in their order, replies written to their limit. After: one batch of 32, the long jobs first, a reply
that repeats itself ended. Rates are per minute of processor time (this process and its git calls), which other work on the
machine changes least; seconds by the clock stand beside it. Seeds are neither of training nor of an evaluation.
"""

import argparse
import os
import statistics
import time
import warnings
from dataclasses import replace

warnings.filterwarnings('ignore')

FIRST = 5000  # seed


def make_suites(n):
    "About `n` simulated jobs in three suites; a sixth of them under the full rules."
    from agentft.arena.catalogue import FAMILIES, make_task
    from agentft.core.agent import FULL

    names = [f.name for f in FAMILIES.values() if f.seen]
    full = max(1, n // 6)
    sizes = dict(seen=(n - full + 1) // 2, seeds=(n - full) // 2, full=full)
    out, seed = {}, FIRST
    for suite, size in sizes.items():
        out[suite] = [make_task(names[i % len(names)], seed + i) for i in range(size)]
        seed += size
        if suite == 'full':
            out[suite] = [replace(task, rules=FULL) for task in out[suite]]
    return out


class Before:
    "A batch of 16 per suite, tasks in their order."

    slots, options = 16, {}

    def batches(self, suites):
        return list(suites.values())

    def length(self, *_):
        return 0


class After:
    "All suites in one batch of 32, long jobs first, loops ended."

    slots, options = 32, dict(repeats=48)

    def __init__(self):
        from agentft.model import players

        self.length = players._length

    def batches(self, suites):
        return [[t for tasks in suites.values() for t in tasks]]


def processor_s():
    "Processor time of this process and its children so far."
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def play_suites(way, suites, model, tok, forced, quantize=''):
    "Seconds of the processor and by the clock, the jobs, and what the engine counted."
    from agentft.model import players
    from agentft.model.engine import Engine

    mine, before = Engine(model, tok, way.slots, 4096, quantize=quantize, **way.options), players._length
    players._length, jobs, start, clock = way.length, [], processor_s(), time.perf_counter()
    try:
        for tasks in way.batches(suites):
            if not forced:
                jobs += players.play_many(tasks, mine, max_new_tokens=160, player='base', progress=False)
                continue
            with players.Forced(mine, players.expert_replies(tasks, tok)):
                jobs += players.play_many(tasks, mine, max_new_tokens=10**6, player='expert', progress=False)
    finally:
        players._length = before
    took = processor_s() - start, time.perf_counter() - clock
    assert not forced or all(j.outcome.status == 'success' for j in jobs)
    return took, {j.meta['task']: j for j in jobs}, mine.stats


def same(a, b) -> int:
    "Jobs of `a` in which the calls are those of `b`."

    def calls(job):
        return [[(c.name, c.arguments, c.malformed) for c in t.said.tool_calls] for t in job.turns]

    return sum(calls(a[i]) == calls(b[i]) for i in a)


def compare(n, runs, threads, int8):
    import torch

    from agentft.model.loading import free_threads, load_model

    model, tok = load_model(threads=threads or free_threads(1.0))
    suites = make_suites(n)
    sizes = ', '.join(f'{name} {len(tasks)}' for name, tasks in suites.items())
    print(
        f'SmolLM2-135M, fp32, {torch.get_num_threads()} threads, {n} simulated jobs ({sizes}), {runs} runs', flush=True
    )
    ways = dict(before=(Before(), ''), after=(After(), ''))
    if int8:
        ways['after, int8'] = After(), 'int8'
    for player in ('base', 'as the expert'):
        rates, last = {name: [] for name in ways}, {}
        for _ in range(runs):
            for name, (way, quantize) in ways.items():
                took, last[name], stats = play_suites(way, suites, model, tok, player != 'base', quantize)
                rates[name].append(60 * n / took[0])
                counts = ', '.join(f'{k} {stats[k]}' for k in ('billed', 'computed', 'generated', 'steps'))
                print(
                    f'  {player:14} {name:12} {took[0]:6.1f} s ({took[1]:.1f} by the clock); tokens: {counts}',
                    flush=True,
                )
        for name in ways:
            rate = statistics.median(rates[name])
            ratio = rate / statistics.median(rates['before'])
            equal = same(last[name], last['before'])
            print(f'{player:14} {name:12} {rate:6.1f} jobs/min {ratio:5.2f}x, {equal} of {n} jobs with the same calls')


def as_text(messages):
    "The examples of `messages` as text of the system message: the other way to tell."
    from agentft.model.chat import said_text

    users = [i for i, m in enumerate(messages) if m.role == 'user' and '[STRATEGIC 0]' in m.content]
    who = dict(user='User', tool='Result', assistant='You')
    lines = [f'{who[m.role]}: {said_text(m)}' for m in messages[1 : users[-1]]]
    head = replace(messages[0], content='\n'.join([messages[0].content, 'Examples:', *lines]))
    return [head, *messages[users[-1] :]]


def told(n, threads):
    from agentft.arena.catalogue import FAMILIES, make_task
    from agentft.model.loading import free_threads, load_model
    from agentft.model.players import play_many
    from agentft.model.told import Told

    model, tok = load_model(threads=threads or free_threads(1.0))
    names = [f.name for f in FAMILIES.values() if f.seen]
    tasks = [make_task(names[i % len(names)], FIRST + i) for i in range(n)]
    who = Told('smollm2-135m')

    def engine():
        from agentft.model.engine import Engine

        return who._measure(Engine(model, tok, 16, 8192, repeats=48))

    ways = {
        'as it is': None,
        'rules only': lambda s: [who.tell(s)[0], *s.pending[1:]],
        'told, as turns': who.tell,
        'told, as text': lambda s: as_text(who.tell(s)),
    }
    print(f'SmolLM2-135M, fp32, {n} simulated jobs')
    for name, tell in ways.items():
        mine = engine()
        jobs = play_many(tasks, mine, max_new_tokens=160, player=name, progress=False, tell=tell)
        turns = [t for j in jobs for t in j.turns]
        calls = [c for t in turns for c in t.said.tool_calls]
        right = sum(r.ok for t in turns for r in t.results)
        broken = sum(bool(c.malformed) for c in calls)
        silent = sum(not t.said.tool_calls for t in turns)
        success = sum(j.outcome.status == 'success' for j in jobs)
        first = statistics.mean(j.turns[0].usage.prompt_tokens for j in jobs)
        print(
            f'{name:15} first prompt {first:6.0f} tokens; {len(turns):4} turns, {silent} without a call; {len(calls):4} calls, '
            f'{broken} malformed, {right} carried out; {success} of {n} jobs succeed; '
            f'billed {mine.stats["billed"]}, computed {mine.stats["computed"]}',
            flush=True,
        )


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--jobs', type=int, default=48, help='simulated jobs; 12 with --told unless given')
    p.add_argument('--runs', type=int, default=1, help='runs; medians are reported')
    p.add_argument('--threads', type=int, default=0, help='CPU threads; 0: the free cores')
    p.add_argument('--int8', action='store_true', help='8-bit weights too')
    p.add_argument('--told', action='store_true', help='the base that is told how')
    a = p.parse_args()
    told(min(a.jobs, 12), a.threads) if a.told else compare(a.jobs, a.runs, a.threads, a.int8)
