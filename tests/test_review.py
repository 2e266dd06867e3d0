"""A person looks at training data: what they decide is kept at once, honoured by the next run, and says how good the set is.

python tests/test_review.py                        takes nbs/images/reviewer.png, of jobs of the arena
python tests/test_review.py runs/x/2-synthesize    of a run
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from helpers.lab import BROWSER, ROOT, chromium, jupyter_lab, notebook, wait_for

from agentft.arena.catalogue import make_task
from agentft.arena.faults import Faulty
from agentft.arena.players import Expert, play
from agentft.checks.gate import Gate, Reserved
from agentft.checks.rules import untrain
from agentft.core.records import Example, Message, to_dict, write_jsonl
from agentft.data.expansion import job_example
from agentft.review.decisions import (
    Decision,
    Decisions,
    before_review,
    decision_file,
    fixed_example,
    honour,
    keep_decision,
    open_review,
    read_decisions,
    review_state,
)
from agentft.review.pages import sample_page
from agentft.review.reviewer import Desk
from agentft.review.samples import error_interval, estimate, make_plan, sample_order
from agentft.review.views import row_html
from agentft.workbench.reports import loads

ATTACK = '</pre></details><img src=x onerror="window.owned = 1"><script>window.owned = 1</script>'


def row(family, seed, player=None):
    e = untrain(job_example(play(make_task(family, seed), player or Expert())))
    return replace(e, verified=['rules', 'execution'])


def poisoned(e):
    "A row whose every text attacks the page of the reviewer."
    messages = [replace(m, content=m.content + ATTACK) for m in e.messages]
    for m in messages:
        for c in m.tool_calls:
            c.arguments = {k + ATTACK: v for k, v in c.arguments.items()} | c.arguments
    return replace(e, messages=messages, family=ATTACK, id='', meta=e.meta | dict(flags=[ATTACK], origin=ATTACK))


@pytest.fixture(scope='module')
def rows():
    faults = ('failed_edit', 'text_only', 'repeat_call')
    out = [row(f, seed) for f in ('config', 'rename', 'facts', 'remove') for seed in range(6)]
    return out + [row('config', 20 + n, Faulty(f)) for n, f in enumerate(faults)]


@pytest.fixture
def run(tmp_path, rows):
    out = tmp_path / 'run' / '2-synthesize'
    write_jsonl(out / 'examples.jsonl', rows)
    return out


# what a sample says


@pytest.mark.parametrize('rate', [0.0, 0.02, 0.05, 0.2, 0.5])
def test_the_interval_holds_the_truth_however_often_one_looks(rate):
    "Errors sit in one stratum, the reviewer looks after every row and may stop anywhere: 19 of 20 reviews are right."
    size, missed, reviews = 240, 0, 200
    strata = {f'r{i}': 'abcde'[i * 5 // size] for i in range(size)}
    wrong = {f'r{i}' for i in range(round(rate * size))}  # the first ones: all in one stratum, or in few
    for seed in range(reviews):
        errors = 0
        for seen, key in enumerate(sample_order(strata, seed)[:80], 1):
            errors += key in wrong
            low, high = error_interval(size, seen, errors)
            if not low <= len(wrong) / size <= high:
                missed += 1
                break
    assert missed <= 0.05 * reviews + 3, f'{missed} of {reviews}'


def test_every_row_has_the_same_chance_to_be_sampled():
    strata = {f'big{i}': 'big' for i in range(30)} | {f'small{i}': 'small' for i in range(3)} | {'only': 'only'}
    seen = Counter(k for seed in range(600) for k in sample_order(strata, seed)[:7])
    expected = 600 * 7 / 34
    for group in ('big', 'small', 'only'):
        keys = [k for k in strata if k.startswith(group)]
        mean = sum(seen[k] for k in keys) / len(keys)
        assert abs(mean - expected) < 0.25 * expected, (group, mean, expected)


def test_the_sample_stays_when_the_set_changes_a_little(rows):
    plan = make_plan(rows, least=10)
    gone, *rest = plan.sampled
    fewer = make_plan([r for r in rows if r.id != gone], least=10)
    assert len(set(rest) - set(fewer.sampled)) <= 2
    assert make_plan(list(reversed(rows)), least=10).queue == plan.queue


def test_putting_the_bad_ones_off_does_not_help():
    honest, clever = estimate(200, [False] * 26 + [True] * 4), estimate(200, [False] * 26 + ['defer'] * 4)
    assert clever.high >= honest.high and clever.deferred == 4
    stepping_over = estimate(200, [None] + [False] * 29)
    assert stepping_over.seen == 0 and stepping_over.high == 1


def test_suspicious_rows_do_not_count_for_the_set(rows):
    "A reviewer who has seen the suspicious rows only, and rejected all of them, has said nothing about the rest."
    plan = make_plan(rows, least=8, suspicious=3)
    said = {k: Decision(k, 'reject') for k in plan.suspicious if k not in plan.sampled}
    state = review_state(plan, Decisions(said))
    assert state.estimate.seen == 0 and str(state).startswith('unreviewed')
    assert state.suspicious_wrong == len(said) > 0


def test_rejecting_what_was_seen_does_not_make_the_rest_clean(rows):
    "After a run has honoured the decisions, the estimate for what nobody looked at is the same as before."
    plan = make_plan(rows, least=12)
    said = {k: Decision(k, 'reject' if n < 3 else 'accept') for n, k in enumerate(plan.sampled)}
    before = review_state(plan, Decisions(said))
    done = honour(rows, Decisions(said))
    after = review_state(make_plan(before_review(done.rows, done.rejected), least=12), Decisions(said))
    assert (after.estimate, str(after)) == (before.estimate, str(before))
    assert before.estimate.errors == 3


# decisions


def test_a_decision_survives_a_kill(tmp_path):
    "A process that decides and is killed at random: whoever saw `done` finds the decision, and nothing is unreadable twice."
    code = (
        'import sys\nfrom agentft.review.decisions import *\n'
        'for n in range(10_000):\n'
        '    keep_decision(sys.argv[1], Decision(f"row-{n}", "reject", "because " * 200))\n'
        '    print(n, flush=True)\n'
    )
    path, told = decision_file(tmp_path, 'anna'), set()
    for seed in range(4):
        p = subprocess.Popen([sys.executable, '-c', code, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        told |= {int(p.stdout.readline())}
        time.sleep(random.Random(seed).random() / 5)
        p.send_signal(signal.SIGKILL)
        told |= {int(x) for x in p.stdout.read().splitlines(True) if x.endswith('\n')}
        p.wait()
    with path.open('ab') as f:
        f.write(b'{"id": "half')
    keep_decision(path, Decision('after', 'accept'))
    found = read_decisions(tmp_path)
    assert {f'row-{n}' for n in told} <= set(found.last) and found.of('after').decision == 'accept'
    assert 1 <= found.unreadable.total() <= 5


def test_lines_that_are_no_decisions_are_counted(tmp_path):
    good = dict(id='a', decision='accept', v=1)
    lines = [
        json.dumps(good),
        '',
        'no JSON',
        '[]',
        json.dumps(good | dict(decision='perhaps')),
        json.dumps(good | dict(v=9)),
    ]
    lines += [json.dumps(good | dict(colour='red')), json.dumps(dict(id='b', decision='defer', note=7))]
    (tmp_path / 'x.jsonl').write_text('\n'.join(lines))
    found = read_decisions(tmp_path)
    assert set(found.last) == {'a'} and found.unreadable.total() == 6, found.unreadable


def test_two_reviewers_the_latest_word_counts_and_differences_are_told(tmp_path, rows):
    a, b = rows[0].id, rows[1].id
    keep_decision(tmp_path / 'anna.jsonl', Decision(a, 'accept', who='anna', when='2026-12-01T10:00:00.000Z'))
    keep_decision(tmp_path / 'ben.jsonl', Decision(a, 'reject', who='ben', when='2026-12-01T09:00:00.000Z'))
    keep_decision(tmp_path / 'ben.jsonl', Decision(b, 'reject', who='ben', when='2026-12-01T09:00:00.000Z'))
    found = read_decisions(tmp_path)
    assert (found.of(a).who, found.of(b).decision, found.disagree) == ('anna', 'reject', [a])
    state = review_state(make_plan(rows), found)
    assert (state.both, state.disagree) == (1, 1)


def test_the_next_run_honours_everything(run, rows):
    "Reject, fix, defer and accept through the desk; the next run, with its whole gate, does as it was told, twice."
    desk = Desk(open_review(run, str(run.parent / 'reviews')))
    desk.keys = [r.id for r in rows]
    desk.place = 0
    desk.decide('reject', 'the note names another file')
    desk.decide('accept')
    desk.decide('defer', 'ask Ben')
    e = desk.row
    k = next(i for i, m in enumerate(e.messages) if m.tool_calls and m.tool_calls[0].name == 'next_phase_todos')
    told = to_dict(e.messages[k].tool_calls[0].arguments)
    todos = ['Do first: ' + told['todos'][0], *told['todos'][1:]]
    assert desk.fix([dict(message=k, call=0, arguments=told | dict(todos=todos))])[0]
    decisions = read_decisions(run.parent / 'reviews')
    gate = Gate(Reserved(per_suite=2), max_len=4000)
    first = honour(rows, decisions, gate)
    again = honour(rows, decisions, Gate(gate.reserved, max_len=4000))
    assert [r.id for r in first.rows] == [r.id for r in again.rows]
    assert first.counts == Counter(
        {'not looked at': len(rows) - 4, 'rejected': 1, 'accepted': 1, 'deferred': 1, 'fixed': 1}
    )
    [out] = first.rejected
    assert (out.id, out.reason, out.detail) == (rows[0].id, 'review_rejected', 'the note names another file')
    new = next(r for r in first.rows if 'fixes' in r.meta)
    assert new.meta['fixes'] == [rows[3].id] and any(
        'Do first: ' in m.content for m in new.messages if m.role == 'user'
    )
    assert 'review' in new.verified and 'execution' in new.verified and 'no_duplicate' in new.verified
    later = honour(first.rows, decisions, gate)  # the next run begins where this one ended
    assert [r.id for r in later.rows] == [r.id for r in first.rows] and later.gone == [rows[0].id]


def test_a_fix_that_does_not_pass_is_turned_away(rows):
    e = rows[0]
    k = next(i for i, m in enumerate(e.messages) if m.tool_calls and m.tool_calls[0].name == 'edit_file')
    spoilt = to_dict(e.messages[k].tool_calls[0].arguments) | dict(old_string='stands nowhere')
    done = honour([e], Decisions({e.id: Decision(e.id, 'fix', changes=[dict(message=k, call=0, arguments=spoilt)])}))
    assert not done.rows and done.rejected[0].reason == 'review_fix_refused' and ':' in done.rejected[0].detail
    impossible = [[dict(message=999, content='x')], [dict(message=0, content='x')], [dict(message='1', content='x')]]
    impossible += [
        [dict(message=k, call=7, arguments={})],
        [dict(message=k, weight=1)],
        [dict(message=k)],
        [dict(content='x')],
    ]
    for changes in impossible:
        done = honour([e], Decisions({e.id: Decision(e.id, 'fix', changes=changes)}))
        assert not done.rows and done.rejected[0].reason == 'review_fix_refused', changes


def test_a_window_ends_with_the_turn_that_was_changed(rows):
    "What came after an action does not follow from another one."
    e = replace(rows[0], meta=rows[0].meta | dict(window=dict(first=0), basis='recorded_effect'), family='x', id='')
    e.meta.pop('arena')
    places = [i for i, w in enumerate(e.weights) if w]
    k = next(i for i in places if e.messages[i].tool_calls[0].name == 'edit_file')
    new = fixed_example(e, [dict(message=k, call=0, arguments=dict(path='a.md', old_string='1', new_string='2'))])
    assert len(new.messages) == k + 1 and new.messages[:k] == e.messages[:k]
    shorter = fixed_example(e, [dict(message=places[-1], weight=0)])
    assert len(shorter.messages) == places[-2] + 1


def test_undo_takes_back_step_by_step(run):
    desk = Desk(open_review(run, str(run / 'reviews')))
    first = desk.place
    for what in ('accept', 'reject', 'defer'):
        desk.decide(what)
    desk.undo(), desk.undo()
    assert len(read_decisions(run / 'reviews').last) == 1
    desk.undo()
    assert desk.place == first and not read_decisions(run / 'reviews').last and 'Nothing' in desk.undo()


# what a person sees


def test_nothing_of_a_row_becomes_markup(rows):
    from bs4 import BeautifulSoup

    e = poisoned(rows[0])
    clean, attacked = (BeautifulSoup(row_html(r), 'html.parser') for r in (rows[0], e))
    names = {t.name for t in attacked.find_all(True)}
    assert names <= {t.name for t in clean.find_all(True)} | {'i', 'b', 'ul', 'li', 'pre', 'p'}, names
    assert not [t for t in attacked.find_all(True) if set(t.attrs) - {'class', 'open'}]
    assert attacked.get_text().count('onerror=') >= len(e.messages)


def test_the_page_of_any_run_stands_alone(run, rows, tmp_path):
    write_jsonl(run / 'examples.jsonl', [poisoned(rows[0]), *rows[1:]])
    review = open_review(run, str(tmp_path / 'reviews'))
    keep_decision(decision_file(review.folder), Decision(review.plan.queue[0], 'reject', ATTACK, who=ATTACK))
    review.decisions = read_decisions(review.folder)
    shown = sample_page(review)
    assert loads(shown) == [] and shown.count('class="rv"') == len(review.plan.queue)
    write_jsonl(run / 'examples.jsonl', [])
    assert 'There are no rows' in sample_page(open_review(run, str(tmp_path / 'none')))


@pytest.mark.skipif(not (ROOT / '../shared/traces').exists(), reason='no foreign traces here')
def test_rows_of_foreign_histories_can_be_read():
    "Every message of other people's sessions is shown, whatever their tools are called."
    from agentft.traces.formats import read_any

    jobs, shown = [], 0
    for name in ('claude-code-log', 'claude-code-viewer', 'codex-sdk-elixir', 'gemini-cli', 'openhands'):
        jobs += islice(read_any(str(ROOT / '../shared/traces' / name))[0], 20)
    for job in jobs:
        messages = [
            Message(
                m.role if m.role in ('system', 'user', 'tool') else 'assistant',
                m.content,
                m.tool_calls,
                m.tool_call_id,
                m.name,
            )
            for m in job.messages()
        ]
        if messages:
            html = row_html(
                Example(messages, job.tools, [0.0] * len(messages), meta=dict(window={}, contract=job.contract))
            )
            shown += html.count('class="m ')
            assert html.count('class="m ') >= len(messages)
    assert shown > 300


# in a real browser

CELL = "from agentft.review.reviewer import review\nreview({!r}, {!r}, suspicious=3)"


def open_reviewer(page, url, token, name='look.ipynb'):
    "Open a notebook in JupyterLab, and run its first cell as a person does."
    page.goto(f'{url}/doc/tree/{name}?token={token}')
    page.locator('.jp-Cell .cm-content').first.click()
    wait_for(lambda: page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').count(), 90, 'no kernel')
    page.keyboard.press('Shift+Enter')
    page.locator('.agentft-review .rv').first.wait_for()
    return page.locator('.agentft-review')


@pytest.mark.skipif(not BROWSER, reason='no Chromium here (apt-get install chromium)')
def test_a_reviewer_in_jupyterlab(run, rows, tmp_path):
    """A person presses keys and buttons, writes notes, fixes a row. Letters in the note decide nothing, no key reaches
    the notebook, nothing of a poisoned row runs, and another sitting continues where this one stopped."""
    bad = poisoned(rows[5])
    write_jsonl(run / 'examples.jsonl', [bad, *rows[:5], *rows[6:]])
    folder = tmp_path / 'reviews'
    notebook(tmp_path / 'look.ipynb', CELL.format(str(run), str(folder)), '# a second cell')

    def kept(n):
        lines = (folder / 'decisions.jsonl').read_text().splitlines() if folder.exists() else []
        return [json.loads(x) for x in lines] if len(lines) >= n else None

    with jupyter_lab(tmp_path) as (url, token), chromium(failed=tmp_path / 'failed.png') as page:
        box = open_reviewer(page, url, token)
        front = box.locator('.where').inner_text()
        assert bad.id in front  # flagged: the gravest signal
        note = box.locator('.agentft-note textarea')
        note.click()
        page.keyboard.type('A draft: fix dates, and reject?', delay=15)
        assert kept(1) is None and box.locator('.where').inner_text() == front
        page.keyboard.press('Escape')
        page.keyboard.press('r')
        [first] = wait_for(lambda: kept(1))
        assert (first['id'], first['decision'], first['note']) == (bad.id, 'reject', 'A draft: fix dates, and reject?')
        wait_for(lambda: box.locator('.where').inner_text() != front)
        assert note.input_value() == ''

        note.fill('as asked')
        box.locator('button.agentft-do-accept').click()
        second = wait_for(lambda: kept(2))[1]
        assert (second['decision'], second['note']) == ('accept', 'as asked') and second['id'] != bad.id
        page.keyboard.press('d')  # the focus is on the button now
        assert wait_for(lambda: kept(3))[2]['decision'] == 'defer'
        box.locator('.rv').click(position=dict(x=8, y=8))  # a click into the row leaves the keys working
        for key in ('b', 'x', 'u'):
            page.keyboard.press(key)
        assert wait_for(lambda: kept(4))[3]['decision'] == 'open'

        page.keyboard.press('f')
        fields = box.locator('.agentft-fix')
        todos = fields.locator('textarea').first
        told = wait_for(todos.input_value)
        for broken, why in (('[no', 'is no JSON'), ('[]', 'another course')):
            todos.fill(broken)
            fields.get_by_role('button', name='Save the fix').click()
            wait_for(lambda why=why: why in box.locator('.said.not').inner_text(), what=why)
        todos.fill(told.replace('"', '"First: ', 1))
        fields.get_by_role('button', name='Save the fix').click()
        fifth = wait_for(lambda: kept(5))[4]
        assert fifth['decision'] == 'fix' and fifth['changes'][0]['arguments']['todos'][0].startswith('First: ')
        assert fifth['id'] == kept(5)[2]['id']
        page.keyboard.press('a')  # the panel has gone, and the keys are back
        assert wait_for(lambda: kept(6))[5]['decision'] == 'accept'
        wait_for(lambda: 'Accepted' in box.locator('.said').inner_text())

        assert page.locator('.jp-Cell').count() == 2 and page.evaluate('window.owned') is None
        state, place = box.locator('.state').inner_text(), box.locator('.where').inner_text()
        page.reload()
        again = open_reviewer(page, url, token)
        wait_for(lambda: again.locator('.where').inner_text() == place)
        assert again.locator('.state').inner_text() == state and len(kept(6)) == 6


SCROLL = """(() => {
  const row = document.querySelector(".agentft-row"), diff = row.querySelector(".trained .diff")
  if (diff) row.scrollTop = diff.getBoundingClientRect().top - row.getBoundingClientRect().top - row.clientHeight / 2
})()"""  # a comparison stands in the middle


def take_picture(run, target, narrow=''):
    "The reviewer on the rows of `run`, wide, and at the width of a phone where `narrow` names a file."
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        notebook(d / 'look.ipynb', CELL.format(str(Path(run).resolve()), str(d / 'reviews')))
        with jupyter_lab(d) as (url, token), chromium(1240, 1240) as page:
            box = open_reviewer(page, url, token)
            for n, key in enumerate('aaraaarda'):
                place = box.locator('.where').inner_text()
                page.keyboard.press(key)
                wait_for(lambda: box.locator('.where').inner_text() != place, what=f'key {n}')
            page.mouse.move(5, 5)
            page.evaluate(SCROLL)
            box.screenshot(path=str(target))
            if narrow:
                page.set_viewport_size(dict(width=430, height=1240))
                page.wait_for_timeout(1500)
                box.screenshot(path=str(narrow))


if __name__ == '__main__':
    made = tempfile.TemporaryDirectory()
    given = sys.argv[1:2] or [made.name]
    if not sys.argv[1:]:
        jobs = [row('config', 20 + n, Faulty(f)) for n, f in enumerate(('failed_edit', 'repeat_call'))]
        jobs += [row(f, seed) for f in ('facts', 'config', 'rename', 'remove') for seed in range(10)]
        write_jsonl(Path(made.name) / 'examples.jsonl', jobs)
    target = sys.argv[2] if sys.argv[2:] else ROOT / 'nbs' / 'images' / 'reviewer.png'
    take_picture(given[0], target, *sys.argv[3:4])
