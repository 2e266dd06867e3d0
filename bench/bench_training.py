"""Training speed on a CPU, side by side in one run, on the real SmolLM2-135M and simulated jobs of the arena.

    python bench/bench_training.py

Each way of training does `--rounds` optimizer steps, in turn, so that a busy moment hits all of them; a short warm-up
is not counted.
A job is a job however it is cut into rows: a row that holds one of a job's 8 turns counts as an eighth of a job.
"""

import argparse
import statistics
import time
import warnings

warnings.filterwarnings('ignore')


def jobs(n):
    "Simulated jobs of the seen families."
    from agentft.phases.train import arena_examples

    return arena_examples(n, seed=1000)


def per_turn(example, fmt):
    "One row per assistant turn: everything before it as context, only that turn trained."
    turns = [i for i, m in enumerate(example.messages) if m.role == 'assistant']
    for i in turns:
        ids, labels = fmt.encode(example.messages[: i + 1], example.tools, [float(k == i) for k in range(i + 1)])
        yield dict(input_ids=ids, labels=labels, jobs=1 / len(turns))


def per_job(example, fmt):
    "One row per job: every assistant turn trained."
    ids, labels = fmt.encode(example.messages, example.tools)
    yield dict(input_ids=ids, labels=labels, jobs=1.0)


class Way:
    "One way of training: a trainer, its batches, and the times that were measured."

    def __init__(self, name, rows, batch, tmp, defaults, fast=False, threads=2):
        import torch
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        from agentft.model.loading import load_model
        from agentft.training.kernels import fast_cpu
        from agentft.training.training import add_lora

        self.name, self.rows, self.batch, self.times = name, rows, batch, []
        model, tok = load_model('smollm2-135m', threads=threads)
        self.model = add_lora(model, rank=16, alpha=32)
        kw = dict(
            output_dir=f'{tmp}/{name}',
            report_to='none',
            use_cpu=True,
            max_length=None,
            dataset_kwargs=dict(skip_prepare_dataset=True),
            disable_tqdm=True,
        )
        if not defaults:
            kw |= dict(bf16=False, gradient_checkpointing=False)
        elif not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            kw |= dict(bf16=False)
            self.name += ' (fp32)'  # without it a step takes minutes
        data = Dataset.from_list([{k: r[k] for k in ('input_ids', 'labels')} for r in rows[:2]])
        self.trainer = SFTTrainer(model=self.model, args=SFTConfig(**kw), train_dataset=data, processing_class=tok)
        self.collate = self.trainer.data_collator
        self.trainer.accelerator.gradient_accumulation_steps = 1
        self.model = self.trainer.accelerator.prepare(self.model)
        self.optimizer = torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], lr=1e-4)
        self.fast = fast_cpu(self.model) if fast else None
        if self.fast:
            self.fast.__enter__()
            self.model.get_base_model().__dict__.pop('forward', None)  # without TRL's head

    def micro(self, rows, count):
        "Forward and backward of `rows` in one pass; `count` trained tokens in the whole step."
        from agentft.training.kernels import answer_loss

        batch = self.collate([{k: r[k] for k in ('input_ids', 'labels')} for r in rows])
        if self.fast:
            answer_loss(self.model, batch['input_ids'], batch['labels'], count).backward()
        else:
            self.trainer.training_step(self.model, batch, count)

    def step(self, rows):
        import torch

        count = torch.tensor(sum(x >= 0 for r in rows for x in r['labels'][1:]))
        for part in [[r] for r in rows] if self.fast else [rows]:
            self.micro(part, count)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def timed(self, k):

        rows = self.rows[k * self.batch : (k + 1) * self.batch]
        t = time.perf_counter()
        self.step(rows)
        t = time.perf_counter() - t
        self.times.append(
            (
                t,
                sum(len(r['input_ids']) for r in rows),
                sum(x >= 0 for r in rows for x in r['labels']),
                sum(r['jobs'] for r in rows),
            )
        )

    def rates(self):
        "Medians of tokens/s, trained tokens/s, jobs/min."
        return [statistics.median(x[i] / x[0] * (60 if i == 3 else 1) for x in self.times) for i in (1, 2, 3)]


def rows_of(way, n_jobs):
    "The rows that a way of training gets, in a fixed order."
    import random

    from agentft.model.chat import ChatFormat
    from agentft.model.loading import load_tokenizer

    fmt = ChatFormat(load_tokenizer())
    rows = [r for e in jobs(n_jobs) for r in (per_turn if way == 'defaults' else per_job)(e, fmt)]
    random.Random(0).shuffle(rows)
    return rows


WAYS = dict(
    defaults='TRL defaults, a row per turn',
    trl='TRL in fp32, no checkpoints, a row per job',
    agentft='agentft, a row per job',
)


def worker(pipe, way, n_jobs, threads):
    "A process of its own for each way, so that none changes the settings of another."
    import tempfile

    import torch

    from agentft.model.loading import quiet

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as tmp, quiet():
        w = Way(
            WAYS[way],
            rows_of(way, n_jobs),
            dict(defaults=8, trl=2, agentft=4)[way],
            tmp,
            way == 'defaults',
            fast=way == 'agentft',
            threads=threads,
        )
        torch.set_num_threads(threads)
        w.step([min(w.rows, key=lambda r: len(r['input_ids']))])  # warm-up, not counted
        pipe.send(w.name)
        while (k := pipe.recv()) is not None:
            w.timed(k)
            pipe.send((w.times[-1], w.rates()))


def main(rounds, n_jobs, threads):
    import multiprocessing as mp

    from agentft.model.loading import free_threads

    threads = threads or free_threads(1.0)
    whole, turns = rows_of('agentft', n_jobs), rows_of('defaults', n_jobs)
    n = sum(len(r['input_ids']) for r in whole)
    print(
        f'SmolLM2-135M, LoRA rank 16 on all linear layers, {threads} threads. {len(whole)} simulated jobs, {n / len(whole):.0f} tokens each, '
        f'{sum(x >= 0 for r in whole for x in r["labels"]) / n:.0%} of them trained; as one row per turn {sum(len(r["input_ids"]) for r in turns) / len(whole):.0f} tokens per job.',
        flush=True,
    )
    ctx, running = mp.get_context('spawn'), {}
    for way in WAYS:
        here, there = ctx.Pipe()
        p = ctx.Process(target=worker, args=(there, way, n_jobs, threads), daemon=True)
        p.start()
        there.close()
        running[way] = here, here.recv()
    rates = {}
    for k in range(rounds):
        for way, (pipe, name) in running.items():
            pipe.send(k)
            (seconds, tokens, _, done), rates[way] = pipe.recv()
            print(
                f'  round {k + 1} of {rounds}: {name}: {seconds:.1f} s for {done:.2f} jobs ({tokens} tokens)',
                flush=True,
            )
    for pipe, _ in running.values():
        pipe.send(None)
    base = rates['defaults'][2]
    print(f'\n{"":44} {"tokens/s":>9} {"trained/s":>10} {"jobs/min":>9} {"ratio":>6}')
    for way, (_, name) in running.items():
        t, s, j = rates[way]
        print(f'{name:44} {t:9.0f} {s:10.0f} {j:9.2f} {j / base:5.1f}x')
    print(
        f'\nMedians of {rounds} steps each. Wanted: at least 2x the jobs per minute of TRL\'s defaults; measured {rates["agentft"][2] / base:.1f}x.'
    )


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rounds', type=int, default=3, help='optimizer steps per way')
    p.add_argument('--jobs', type=int, default=24, help='simulated jobs to draw from')
    p.add_argument('--threads', type=int, default=0, help='CPU threads; 0: the free cores')
    a = p.parse_args()
    main(a.rounds, a.jobs, a.threads)
