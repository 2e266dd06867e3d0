"""How many of the last turns shall a new window show again? Rows, trained turns and their price for several shares.

    agentft collect --out found --source samples/own-history/trail --sessions samples/own-history/sessions
    python bench/bench_windows.py found [--max_len 1536] [--model smollm2-135m]

A window that begins inside a phase shows the last turns again, as far as they fill a share of the room that its head
leaves (`Room.refill`), and in any case back to the last one that did some work. More of them cost room for decisions;
fewer may hide what a decision uses. Both are counted here on the jobs of a finished phase 1, in all windows, with no
limit on rows."""

import argparse
from collections import Counter
from pathlib import Path

from agentft.core.records import Job, read_jsonl
from agentft.data.lean_context import Room
from agentft.data.windows import NO_WORK_SHOWN, TOO_LONG, UNSEEN, offered_to, windows
from agentft.evidence.right_turns import judge_turns
from agentft.model.chat import ChatFormat
from agentft.model.loading import load_tokenizer
from agentft.workbench.figures import markdown_table

SHARES = (0, 0.15, 0.25, 0.5)


def count(judged, fmt, tools, max_len) -> Counter:
    "Windows of all jobs, their trained turns and tokens, and the right turns that they lose."
    out = Counter()
    for job, verdicts in judged:
        for w in windows(job, fmt, max_len, verdicts, tools[job.id]):
            out.update(w.whys.values())
            if w.trained:
                out.update(rows=1, turns=len(w.trained), tokens=w.tokens)
    return out


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('folder', help='of a finished phase 1')
    p.add_argument('--max_len', type=int, default=1536)
    p.add_argument('--model', default='smollm2-135m')
    a = p.parse_args(argv)
    jobs = list(read_jsonl(Path(a.folder) / 'jobs.jsonl', Job))
    judged = [(job, judge_turns(job)) for job in jobs]
    judged = [(job, verdicts) for job, verdicts in judged if any(v.right for v in verdicts)]
    fmt, rows, now = ChatFormat(load_tokenizer(a.model)), [], Room.refill
    tools = offered_to(jobs, fmt, a.max_len)
    for share in SHARES:
        Room.refill = lambda self, head, share=share: head + int(max(self.prompt - head, 0) * share)
        n = count(judged, fmt, tools, a.max_len)
        price = round(n['tokens'] / n['turns']) if n['turns'] else None
        row = {'share': share, 'rows': n['rows'], 'trained turns': n['turns'], 'tokens per trained turn': price}
        rows.append(row | {why: n[why] for why in (UNSEEN, NO_WORK_SHOWN, TOO_LONG)})
    Room.refill = now
    print(markdown_table(rows))


if __name__ == '__main__':
    main()
