"""Kills a teacher at random points, starts it again until it is done, and compares its books with the server's.

    python tests/helpers/killing.py --url http://127.0.0.1:PORT --mode direct --kills 40 --seed 1

The process is single-threaded and forks a child for each run, so that a run costs milliseconds and not the seconds of
an import. A story is a store of its own with questions of its own, killed a few times and then left to end. Prints a
JSON object with what was counted. The server (claude_server.py) runs in another process and outlives every child.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
import urllib.request
from collections import Counter
from pathlib import Path

from agentft.core.records import Message
from agentft.teachers.claude import Claude
from agentft.teachers.questions import Question, Store

SCHEMA = dict(
    type='object',
    required=['title', 'steps'],
    properties=dict(
        title=dict(type='string', minLength=1), steps=dict(type='array', items=dict(type='string'), minItems=2)
    ),
)
PRICES = dict(input=2.0, output=10.0, write_5m=2.5, write_1h=4.0, read=0.1)  # claude-sonnet-5-5, written anew here


def questions(tag, n):
    return [
        Question(
            'You write plans.', [Message('user', f'{tag} plan {i}')], schema=SCHEMA, max_tokens=300, prompt='plan@1'
        )
        for i in range(n)
    ]


def teacher(db, url, mode, max_usd):
    t = Claude(db, 'sonnet', max_usd, batch=mode, concurrency=4, base_url=url, timeout_s=5, retries=12)
    t.back_off_s, t.poll_s, t.poll_most_s, t.grace_s, t.batch_retries = 0.01, 0.02, 0.1, 0.4, 12
    return t


def micro_usd(row) -> float:
    "What the server bills for a row of its ledger."
    write = PRICES['write_1h'] if row['mode'] == 'batch' else PRICES['write_5m']
    total = row['input_tokens'] * PRICES['input'] + row['output_tokens'] * PRICES['output']
    total += row['cache_creation_input_tokens'] * write + row['cache_read_input_tokens'] * PRICES['read']
    return total * (0.5 if row['mode'] == 'batch' else 1)


def ledger(url) -> dict:
    with urllib.request.urlopen(f'{url}/ledger', timeout=60) as r:
        return json.load(r)


def stored(db) -> set:
    "Texts of the questions that have an answer."
    if not Path(db).exists():
        return set()
    with Store(db) as s:
        return {json.loads(q)['messages'][-1]['content'] for (q,) in s.db.execute('select question from answers')}


def audit(db, book, asked, max_usd, before=()) -> dict:
    "What is wrong between our books and the server's: name -> how many. `before`: (rows of the ledger, stored then)."
    bad = Counter()
    wanted = {q.messages[0].content for q in asked}
    rows = [r for r in book['rows'] if r['question'] in wanted]
    billed = Counter(r['question'] for r in rows if r['billed'])
    con = sqlite3.connect(db)
    have = {json.loads(q)['messages'][-1]['content'] for (q,) in con.execute('select question from answers')}
    bad['nothing stored'] = len(wanted - have)
    bad['stored answer asked again'] = sum(r['question'] in then and r['n'] >= n for n, then in before for r in rows)
    text_of = {k: json.loads(q)['messages'][-1]['content'] for k, q in con.execute('select key, question from answers')}
    ours = Counter(text_of.get(k) for (k,) in con.execute("select key from calls where state in ('paid', 'lost')"))
    bad['billed oftener than booked'] = sum(max(n - ours[q], 0) for q, n in billed.items())
    good = Counter(r['question'] for r in rows if r['mode'] == 'batch' and r['kind'] == 'good')
    bad['good batch item paid twice'] = sum(n - 1 for n in good.values())
    spent = con.execute("select sum(case state when 'reserved' then most else paid end) from calls").fetchone()[0] or 0
    server = sum(micro_usd(r) for r in rows if r['billed'])
    bad['server billed more than we booked'] = int(server > spent)
    bad['budget exceeded'] = int(server > max_usd * 1e6) + int(spent > max_usd * 1e6)
    bad['still reserved'] = con.execute("select count(*) from calls where state = 'reserved'").fetchone()[0]
    mine = {i for (i,) in con.execute('select intent from batches')}
    sent = Counter(b['ids'][0].rpartition('-')[0] for b in book['batches'])
    bad['batch sent twice'] = sum(n - 1 for i, n in sent.items() if i in mine)
    con.close()
    return {k: v for k, v in bad.items() if v}


def die_at(t, n):
    "Kill this process before the n-th statement that the books make."
    made = [0]

    def count(_):
        made[0] += 1
        if made[0] >= n:
            os.kill(os.getpid(), signal.SIGKILL)

    t.budget.db.set_trace_callback(count)


def run_child(db, url, mode, asked, max_usd, statement=0):
    "Fork; the child answers all questions and ends with 0, or says why not and ends with 1."
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        t = teacher(db, url, mode, max_usd)
        if statement:
            die_at(t, statement)
        t.ask(asked)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait_for(pid, seconds):
    "Exit code of a child, None where it still runs after `seconds`."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def story(folder, url, mode, n, kills, max_usd, rng, tag, statement=0) -> tuple[dict, dict]:
    "One store: killed up to `kills` times (or once, at a `statement` of the books), then left to end."
    db, asked, before, done = str(Path(folder, f'{tag}.sqlite')), questions(tag, n), [], 0
    length = 0.5  # seconds that a run takes, as far as we know
    code = None
    for _ in range(kills):
        before.append((len(ledger(url)['rows']), stored(db)))
        began = time.monotonic()
        pid = run_child(db, url, mode, asked, max_usd, statement)
        code = wait_for(pid, 60 if statement else rng.uniform(0.0, length))
        if code == -signal.SIGKILL:
            done += 1
            continue
        if code is not None:
            length = max(0.7 * (time.monotonic() - began), 0.05)
            break
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        done += 1
    tries = 0
    while code != 0 and tries < 5:  # a server that misbehaves may leave questions for another run
        before.append((len(ledger(url)['rows']), stored(db)))
        code = wait_for(run_child(db, url, mode, asked, max_usd), 120)
        tries += 1
    book = ledger(url)
    bad = audit(db, book, asked, max_usd, before)
    if code != 0:
        bad['did not end well'] = 1
    wanted = {q.messages[0].content for q in asked}
    rows = [r for r in book['rows'] if r['question'] in wanted]
    con = sqlite3.connect(db)
    count = lambda q: con.execute(q).fetchone()[0]
    out = dict(
        kills=done, asked=n, requests=len(rows), billed=sum(r['billed'] for r in rows),
        stored=count('select count(*) from answers'), lost=count("select count(*) from calls where state = 'lost'"),
        batches=count("select count(*) from batches where batch != ''"), found_again=count("select count(*) from batches where note = 'found again'"),
        never_sent=count("select count(*) from batches where note = 'never_sent'"),
        server_usd=sum(micro_usd(r) for r in rows if r['billed']) / 1e6, spent_usd=count('select sum(paid) from calls') / 1e6,
    )  # fmt: skip
    con.close()
    return out, bad


def warm_up(url):
    "Everything that is loaded at a first request, before the first fork; in this thread, so that a fork is safe."
    import jsonschema  # noqa: F401
    import psutil  # noqa: F401
    import tqdm  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        t = teacher(str(Path(folder, 'a.sqlite')), url, 'never', 1.0)
        q = questions('warm up', 1)[0]
        t._share([q, q])
        for _ in range(20):
            if t.send(q, 1).then == 'answer':
                break
        requests = [dict(custom_id='warm-up', params=t.request(q, 1, batch=True))]
        for _ in range(20):
            try:
                made = t.client.messages.batches.create(requests=requests)
                while t.client.messages.batches.retrieve(made.id).processing_status != 'ended':
                    time.sleep(0.02)
                list(t.client.messages.batches.list(limit=1))
                list(t.client.messages.batches.results(made.id))
                break
            except Exception:
                continue
        t.hang_up()


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--url', required=True)
    p.add_argument('--mode', default='direct', choices=('direct', 'batch'))
    p.add_argument('--kills', type=int, default=40)
    p.add_argument('--each', type=int, default=6, help='kills of a story at most')
    p.add_argument('--n', type=int, default=16, help='questions of a story')
    p.add_argument('--max_usd', type=float, default=2.0)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--progress', action='store_true')
    p.add_argument(
        '--sweep',
        action='store_true',
        help='kill at the first, second, ... statement of the books, until a run needs no more',
    )
    a = p.parse_args()
    rng, total, bad, stories = random.Random(a.seed), Counter(), Counter(), 0
    warm_up(a.url)
    with tempfile.TemporaryDirectory() as folder:
        mode = dict(direct='never', batch='always')[a.mode]
        got = dict(kills=1)
        while got['kills'] if a.sweep else total['kills'] < a.kills:
            each, statement = (1, stories + 1) if a.sweep else (a.each, 0)
            tag = f's{a.seed} {a.mode} {stories}'
            got, wrong = story(folder, a.url, mode, a.n, each, a.max_usd, rng, tag, statement)
            stories += 1
            total.update(got)
            bad.update(wrong)
            if wrong:
                print('wrong in story', stories, wrong, file=sys.stderr, flush=True)
            if a.progress and stories % 20 == 0:
                print(stories, 'stories', dict(total), dict(bad), file=sys.stderr, flush=True)
    print(json.dumps(dict(stories=stories, mode=a.mode, **total, wrong=dict(bad))))


if __name__ == '__main__':
    main()
