"""Paid teachers against a local server that speaks the Claude API and misbehaves on purpose, with the real client.

This proves the plumbing: budget, store, retries, batches, kills. It says nothing about prompts or about any model.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip('anthropic')
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'tests' / 'helpers'))

import killing
from claude_server import claude_server, dummy

from agentft.core.records import Message
from agentft.teachers.asking import PaidTeacher, Reply, TeacherStopped, Unanswered
from agentft.teachers.bill import bill
from agentft.teachers.budget import BudgetReached
from agentft.teachers.claude import Claude
from agentft.teachers.endpoint import EndpointTeacher, teacher_of
from agentft.teachers.prices import Price, find_price
from agentft.teachers.questions import Question, Store, Tokens

SCHEMA = dict(
    type='object',
    required=['title', 'steps'],
    properties=dict(
        title=dict(type='string', minLength=3), steps=dict(type='array', items=dict(type='string'), minItems=2)
    ),
)
READ = dict(
    type='function',
    function=dict(
        name='read_file', description='Read.', parameters=dict(type='object', properties=dict(path=dict(type='string')))
    ),
)


def asked(text, system='You write plans.', **more):
    return Question(system, [Message('user', text)], **{**dict(schema=SCHEMA, max_tokens=300, prompt='plan@1'), **more})


def many(n, tag='plan', **more):
    return [asked(f'{tag} {i}', **more) for i in range(n)]


def claude(folder, server, mode='never', max_usd=5.0, name='answers.sqlite', **more):
    t = Claude(
        Path(folder, name), 'sonnet', max_usd, mode, base_url=server.url, **{**dict(timeout_s=5, concurrency=4), **more}
    )
    t.back_off_s, t.poll_s, t.poll_most_s, t.grace_s = 0.01, 0.02, 0.1, 0.5
    return t


def no_quarrel(folder, server, questions, max_usd=5.0):
    "Our books and the server's agree."
    wrong = killing.audit(str(Path(folder, 'answers.sqlite')), server.ledger(), questions, max_usd)
    assert not wrong, wrong


@pytest.fixture(scope='module')
def well():
    "A server that behaves."
    with claude_server() as server:
        yield server


# ---- asking directly


def test_questions_are_answered_once_and_a_second_run_asks_nothing(tmp_path, well):
    questions = many(12, 'first')
    got = claude(tmp_path, well).ask(questions)
    assert all(a.value['title'].startswith('text') and len(a.value['steps']) >= 2 for a in got), got[0]
    assert got[0].tokens.output > 0 and 0 < got[0].cost_usd < 0.01
    before = len(well.ledger()['rows'])
    assert claude(tmp_path, well).ask(questions[::-1]) == got[::-1]
    assert len(well.ledger()['rows']) == before
    no_quarrel(tmp_path, well, questions)


def test_text_and_calls_come_back_as_messages_and_a_whole_talk_is_taken(tmp_path):
    (tmp_path / 'caller.py').write_text(
        'def answer(params):\n'
        '    results = [b for m in params["messages"] for b in m["content"] if b["type"] == "tool_result"]\n'
        '    if results:\n'
        '        return f"{len(results)} read, failed: {[b.get(\'is_error\', False) for b in results]}"\n'
        '    call = dict(type="tool_use", id="toolu_7", name="read_file", input={"path": "a.md"})\n'
        '    return [dict(type="text", text="I look."), call, dict(call, id="toolu_8")]\n'
    )
    with claude_server(answers='caller:answer', path=tmp_path) as server:
        t = claude(tmp_path, server)
        first = asked('Read a.md twice.', schema={}, tools=[READ])
        said = t.ask([first])[0].message
        assert (said.content, [c.arguments for c in said.tool_calls]) == ('I look.', [{'path': 'a.md'}] * 2)
        results = [
            Message('tool', '', tool_call_id='toolu_8', ok=False),
            Message('tool', 'alpha', tool_call_id='toolu_7', ok=True),
        ]
        talk = asked('', schema={}, tools=[READ])
        talk.messages = [*first.messages, said, *results, Message('user', 'Well?')]
        assert t.ask([talk])[0].message.content == '2 read, failed: [True, False]'


def test_the_hook_for_answers_fills_any_schema():
    deep = {
        'type': 'object',
        'properties': {'a': {'$ref': '#/$defs/x'}},
        '$defs': {'x': {'anyOf': [{'type': 'integer'}, {'type': 'null'}]}},
    }
    assert dummy(deep) == {'a': 1}


@pytest.mark.parametrize('mode', ['never', 'always'])
def test_answers_of_the_local_server_that_fail_are_heard_of(tmp_path, mode):
    (tmp_path / 'wrong.py').write_text('def answer(params):\n    return params["nothing"]\n')
    with claude_server(answers='wrong:answer', path=tmp_path) as server:
        with pytest.raises(TeacherStopped, match="the answers of this server failed: KeyError: 'nothing'"):
            claude(tmp_path, server, mode).ask(many(3))


def test_a_system_prompt_that_several_share_is_cached(tmp_path, well):
    claude(tmp_path, well, concurrency=1).ask(many(3, 'cached', system='A long prompt. ' * 50))
    rows = [r for r in well.ledger()['rows'] if r['question'].startswith('cached')]
    assert [bool(r['cache_read_input_tokens']) for r in rows] == [False, True, True]
    assert 0.3 < bill(Store(tmp_path / 'answers.sqlite')).cache_share < 0.7


@pytest.mark.parametrize('seed', [1, 2, 3])
def test_a_server_that_misbehaves_is_outlived_and_the_books_agree(tmp_path, seed):
    questions = many(40)
    with claude_server(misbehave=0.3, seed=seed) as server:
        t = claude(tmp_path, server, retries=10)
        for _ in range(4):
            try:
                got = t.ask(questions)
                break
            except Unanswered as e:
                assert 'run again' in str(e)
        assert sum(not a.error for a in got) >= 36
        assert {a.error for a in got} <= {'', 'invalid_json', 'not_of_schema', 'empty', 'max_tokens'}
        assert t.told['overloaded_error'] and (t.told['cut_off'] or t.told['status_502'])
        no_quarrel(tmp_path, server, questions)


def fault_rows(server, text):
    return [r for r in server.ledger()['rows'] if text in r['question']]


@pytest.mark.parametrize(
    'fault, billed, lost',
    [
        ('rate_limit', 1, 0),
        ('overloaded', 1, 0),
        ('api_error', 1, 0),
        ('cut_before', 1, 1),  # nobody can know that it was not billed
        ('cut_after', 2, 1),
        ('torn', 2, 1),
        ('bad_gateway', 2, 1),
        ('timeout', 1, 1),
    ],
)
def test_what_may_have_been_billed_counts_at_its_maximum(tmp_path, well, fault, billed, lost):
    t = claude(tmp_path, well)
    q = asked(f'one [[fault: {fault}]]')
    assert not t.ask([q])[0].error
    assert sum(r['billed'] for r in fault_rows(well, f'fault: {fault}]]')) == billed
    b = bill(t.store)
    assert (b.lost, b.requests) == (lost, 2)
    assert b.lost_usd == pytest.approx(lost * t.most(q) / 1e6)
    no_quarrel(tmp_path, well, [q])


def test_a_rate_limit_makes_everybody_wait(tmp_path):
    with claude_server() as server:
        t = claude(tmp_path, server)
        t.ask([asked('x [[fault: rate_limit, rate_limit]]'), *many(3)])
        assert t.told == {'rate_limit_error': 2}


@pytest.mark.parametrize(
    'faults, error, asked_n',
    [
        ('refusal', 'refusal', 1),
        ('context', 'model_context_window_exceeded', 1),
        ('max_tokens', '', 2),
        ('max_tokens, max_tokens', 'max_tokens', 2),
        ('invalid_json', '', 2),
        ('not_of_schema, invalid_json', 'invalid_json', 2),
        ('empty, empty', 'empty', 2),
    ],
)
def test_spoiled_answers_are_asked_once_more_and_errors_are_kept(tmp_path, well, faults, error, asked_n):
    t = claude(tmp_path, well)
    q = asked(f'spoiled [[fault: {faults}]]')
    got = t.ask([q])[0]
    rows = fault_rows(well, f'spoiled [[fault: {faults}]]')
    assert (got.error, len(rows)) == (error, asked_n)
    assert got.tokens.output == sum(r['output_tokens'] for r in rows)  # both tries
    if 'max_tokens' in faults:
        assert [r['max_tokens'] for r in rows] == [300, 600]
    assert t.ask([q]) == [got] and len(fault_rows(well, f'spoiled [[fault: {faults}]]')) == asked_n
    assert bill(t.store).errors == ({error: 1} if error else {})


def test_a_refused_request_is_an_answer_only_where_the_teacher_has_answered(tmp_path, well):
    t, bad = claude(tmp_path, well), many(8, 'refused [[fault: invalid_request, invalid_request]]')
    with pytest.raises(TeacherStopped, match='5 requests so far refused: invalid_request_error'):
        t.ask(bad)
    assert not t.store.all()
    got = t.ask([asked('good one'), *bad])
    assert [a.error for a in got] == ['', *['invalid_request_error'] * 8]
    assert bill(t.store).spent_usd == pytest.approx(got[0].cost_usd)


def test_a_question_that_cannot_be_one_is_an_answer_with_an_error(tmp_path, well):
    t = claude(tmp_path, well)
    q = Question('', [Message('assistant', 'Hello.')], prompt='p@1')
    assert [a.error for a in t.ask([q, asked('fine')])] == ['bad_question', '']


def test_a_schema_that_the_server_cannot_compile_is_told_in_words(tmp_path, well):
    for mode in ('never', 'always'):
        t = claude(tmp_path, well, mode, name=f'{mode}.sqlite')
        assert [a.error for a in t.ask([asked(f'schema {mode} [[fault: schema]]'), asked(f'other {mode}')])] == ['', '']


@pytest.mark.parametrize(
    'options, words', [(dict(key='right'), 'ANTHROPIC_API_KEY'), (dict(models='claude-x'), 'name of the model')]
)
@pytest.mark.parametrize('mode', ['never', 'always'])
def test_a_wrong_key_or_model_stops_at_once(tmp_path, monkeypatch, options, words, mode):
    monkeypatch.setenv('ANTHROPIC_API_KEY', 'wrong')
    with claude_server(**options) as server:
        t = claude(tmp_path, server, 'never' if 'models' in options else mode)
        with pytest.raises(TeacherStopped, match=f'{words}.*--trial 20 --max_usd 2'):
            t.ask(many(50))
        assert len(server.ledger()['rows']) <= 4 and not t.store.all()
        assert t.budget.sums().held == 0


def test_no_credit_stops_at_once(tmp_path, well):
    t = claude(tmp_path, well)
    with pytest.raises(TeacherStopped, match='credit balance'):
        t.ask([asked('poor [[fault: no_credit]]')])


def test_without_a_key_nothing_is_sent(tmp_path, monkeypatch):
    for name in ('ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN', 'ANTHROPIC_BASE_URL'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    with pytest.raises(TeacherStopped, match='put a valid key into ANTHROPIC_API_KEY'):
        Claude(tmp_path / 'a.sqlite', 'sonnet', 5).ask(many(2))


def test_a_server_that_answers_nobody_is_left(tmp_path):
    t = Claude(tmp_path / 'a.sqlite', 'sonnet', 5, base_url='http://127.0.0.1:9', retries=2)
    t.back_off_s = 0.01
    with pytest.raises((TeacherStopped, Unanswered), match='unreachable'):
        t.ask(many(20))
    assert t.budget.sums().held == 0  # nothing was sent


def test_an_interrupt_waits_for_what_is_in_flight_and_keeps_it(tmp_path):
    script = (
        'import sys; sys.path[:0] = ["tests/helpers", "tests"]; import killing\n'
        'from test_teachers import many\n'
        'killing.teacher(sys.argv[1], sys.argv[2], "never", 5.0).ask(many(40))'
    )
    with claude_server(slow_s=3) as server:
        db = str(tmp_path / 'answers.sqlite')
        env = {**os.environ, 'PYTHONPATH': str(ROOT)}
        p = subprocess.Popen(
            [sys.executable, '-c', script, db, server.url],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell ignores it in the background
        )
        while not server.ledger()['rows']:
            time.sleep(0.05)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=120)
        assert 'on the way, which will be billed' in out + err and 'KeyboardInterrupt' in err, out + err
        b = bill(Store(db))
        assert (b.lost, b.open) == (0, 0) and b.answers == sum(server.billed().values()) < 40
        no_quarrel(tmp_path, server, [])


# ---- the budget


@pytest.mark.parametrize('mode', ['never', 'always'])
def test_the_budget_is_never_exceeded_by_the_servers_own_books(tmp_path, mode):
    "The server bills as many tokens as a request can have."
    questions = many(30)
    with claude_server(dear=True) as server:
        budget = dict(never=0.10, always=0.05)[mode]
        t = claude(tmp_path, server, mode, max_usd=budget)
        with pytest.raises(BudgetReached, match=r'budget of \$0\.\d+ is reached.* questions remain.*larger max_usd'):
            t.ask(questions)
        some = len(t.store.all())
        assert 5 < some < 30
        no_billed = sum(killing.micro_usd(r) for r in server.ledger()['rows'] if r['billed'])
        assert 0.5e6 * budget < no_billed <= t.budget.sums().spent <= 1e6 * budget
        before = [(len(server.ledger()['rows']), killing.stored(tmp_path / 'answers.sqlite'))]
        got = claude(tmp_path, server, mode, max_usd=5).ask(questions)
        assert len(got) == 30
        assert not killing.audit(str(tmp_path / 'answers.sqlite'), server.ledger(), questions, 5, before)


def test_a_budget_of_nothing_still_gives_what_is_stored(tmp_path, well):
    got = claude(tmp_path, well).ask([asked('kept')])
    assert claude(tmp_path, well, max_usd=0).ask([asked('kept')]) == got
    with pytest.raises(BudgetReached):
        claude(tmp_path, well, max_usd=0).ask([asked('new')])


def test_only_as_many_go_into_a_batch_as_the_budget_holds(tmp_path, well):
    t = claude(tmp_path, well, 'always')
    each = t.most(asked('plan 0'), batch=True)
    t = claude(tmp_path, well, 'always', max_usd=each * 7.5 / 1e6)
    got = t.ask(many(20, 'part'))
    assert len(got) == 20  # they cost less than they could have
    sizes = [b.n for b in t.budget.batches('ended')]
    assert sizes[0] == 7 and len(sizes) > 2 and sum(sizes) == 20


def test_threads_and_processes_share_one_budget_and_pay_for_no_question_twice(tmp_path):
    questions = many(24)
    script = (
        'import sys; sys.path.insert(0, "tests/helpers"); import killing\n'
        't = killing.teacher(sys.argv[1], sys.argv[2], sys.argv[3], 5.0)\n'
        'from test_teachers import many\n'
        'print(len(t.ask(many(24))))'
    )
    with claude_server(slow_s=0.1) as server:
        db = str(tmp_path / 'answers.sqlite')
        env = {**os.environ, 'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}'}
        command = [sys.executable, '-c', script, db, server.url, 'never']
        others = [
            subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        one = claude(tmp_path, server)
        teachers = [one, one, claude(tmp_path, server)]
        got = [None, None, None]
        threads = [
            threading.Thread(target=lambda i=i: got.__setitem__(i, teachers[i].ask(questions))) for i in range(3)
        ]
        [x.start() for x in threads]
        [x.join() for x in threads]
        for p in others:
            out, err = p.communicate(timeout=120)
            assert out.strip() == '24', err
        assert got[0] == got[1] == got[2] and len(got[0]) == 24
        assert set(server.billed().values()) == {1}
        no_quarrel(tmp_path, server, questions)


# ---- batches


def test_a_batch_is_half_the_price_and_results_in_any_order_find_their_questions(tmp_path):
    (tmp_path / 'echo.py').write_text(
        'from claude_server import last_text\ndef answer(p):\n    return last_text(p).upper()\n'
    )
    with claude_server(answers='echo:answer', path=tmp_path) as server:
        questions = many(30, schema={})
        t = claude(tmp_path, server, 'auto', batch_from=30)
        got = t.ask(questions)
        assert [a.message.content for a in got] == [q.messages[0].content.upper() for q in questions]
        assert {a.batch for a in got} == {server.ledger()['batches'][0]['id']}
        direct = claude(tmp_path, server, 'auto', name='other.sqlite', batch_from=31).ask(questions)
        assert not any(a.batch for a in direct)
        assert sum(a.cost_usd for a in got) < 0.75 * sum(a.cost_usd for a in direct)


@pytest.mark.parametrize('seed', [1, 2, 3, 4, 5, 6])
def test_batches_that_misbehave_are_outlived_and_the_books_agree(tmp_path, seed):
    questions = many(40)
    with claude_server(misbehave=0.3, seed=seed) as server:
        t = claude(tmp_path, server, 'always')
        t.batch_retries = 10
        got = t.ask(questions)
        assert sum(not a.error for a in got) >= 34
        assert t.told['expired'] + t.told['api_error'] + t.told['overloaded_error'] > 3
        no_quarrel(tmp_path, server, questions)


@pytest.mark.parametrize('fault', ['rate_limit', 'cut_before', 'cut_after', 'error_before', 'error_after'])
def test_a_batch_that_nobody_confirmed_is_looked_for_and_not_sent_again(tmp_path, fault):
    with claude_server() as server:
        for i in range(5):  # of somebody else, as large, and more than a page of the list
            claude(tmp_path, server, 'always', name=f'other{i}.sqlite').ask(many(6, f'other {i}'))
        questions = [*many(5), asked(f'last [[create: {fault}]]')]
        t = claude(tmp_path, server, 'always')
        assert len(t.ask(questions)) == 6
        assert len(server.ledger()['batches']) == 6 and set(server.billed().values()) == {1}
        notes = [b.note for b in t.budget.batches()]
        assert notes == dict(
            rate_limit=[''], cut_before=['never_sent', ''], error_before=['never_sent', ''],
            cut_after=['found again'], error_after=['found again'],
        )[fault]  # fmt: skip
        no_quarrel(tmp_path, server, questions)


def test_a_batch_that_somebody_is_sending_now_is_waited_for(tmp_path):
    questions = many(6)
    with claude_server() as server:
        slow, other = (claude(tmp_path, server, 'always') for _ in range(2))
        create = slow.client.messages.batches.create

        def late(**given):
            time.sleep(1.5)  # longer than `grace_s`
            return create(**given)

        slow.client.messages.batches.create = late
        got = []
        threads = [threading.Thread(target=lambda t=t: got.append(t.ask(questions))) for t in (slow, other)]
        for x in threads:
            x.start()
            time.sleep(0.4)
        [x.join() for x in threads]
        assert got[0] == got[1] and len(got[0]) == 6
        assert len(server.ledger()['batches']) == 1


def test_batches_of_others_with_as_many_requests_are_told_apart(tmp_path):
    with claude_server() as server:
        t = claude(tmp_path, server, 'always')
        questions = many(6)
        create = t.client.messages.batches.create

        def cut(**given):
            create(**given)
            for i in range(4):
                claude(tmp_path, server, 'always', name=f'other{i}.sqlite').ask(many(6, f'other {i}'))
            raise ValueError('the answer could not be read')

        t.client.messages.batches.create = cut
        assert len(t.ask(questions)) == 6
        assert [b.note for b in t.budget.batches()] == ['found again']
        assert set(server.billed().values()) == {1} and len(t.others) == 4


@pytest.mark.parametrize(
    'fault, error, rounds',
    [
        ('expired', '', 2),
        ('errored', '', 2),
        ('not_of_schema', '', 2),
        ('refusal', 'refusal', 1),
        ('invalid_request', 'invalid_request_error', 1),
    ],
)
def test_items_of_a_batch_are_asked_again_only_where_that_helps(tmp_path, well, fault, error, rounds):
    t = claude(tmp_path, well, 'always')
    got = t.ask([asked(f'item [[fault: {fault}]]'), *many(5, f'with {fault}')])
    assert [a.error for a in got] == [error, '', '', '', '', '']
    assert [b.n for b in t.budget.batches()] == [6, 1][:rounds]


def test_a_whole_batch_that_expired_is_sent_again(tmp_path):
    with claude_server() as server:
        t = claude(tmp_path, server, 'always')
        got = t.ask(many(5, 'plan [[batch: expires]]'))
        assert [a.error for a in got] == [''] * 5
        assert bill(t.store).retried == {'expired': 5}
        assert len(server.ledger()['batches']) == 2 and set(server.billed().values()) == {1}


def test_a_canceled_batch_is_told_and_left(tmp_path):
    with claude_server() as server:
        t = claude(tmp_path, server, 'always')

        def cancel():
            while not (found := t.budget.batches('sent')):
                time.sleep(0.02)
            t.client.messages.batches.cancel(found[0].batch)

        threading.Thread(target=cancel, daemon=True).start()
        with pytest.raises(Unanswered, match='4 questions unanswered .4 canceled.*run again'):
            t.ask(many(4, 'x [[batch: never]]'))
        assert t.budget.sums().held == 0


def test_half_a_file_of_results_is_fetched_again(tmp_path):
    (tmp_path / 'marked.py').write_text('def answer(p):\n    return "[[results: half]]"\n')
    with claude_server(answers='marked:answer', path=tmp_path) as server:
        t = claude(tmp_path, server, 'always')
        got = t.ask(many(20, schema={}))
        assert len(got) == 20 and set(server.billed().values()) == {1}
        assert bill(t.store).lost == 0
        assert list(server.ledger()['reads'].values())[0] > 4


def test_a_result_that_never_comes_counts_as_lost_and_is_asked_again(tmp_path):
    (tmp_path / 'gone.py').write_text(
        'from claude_server import last_text\ndef answer(p):\n    return "[[missing]]" if last_text(p).endswith("3") else "here"\n'
    )
    with claude_server(answers='gone:answer', path=tmp_path) as server:
        t = claude(tmp_path, server, 'always')
        assert len(t.ask(many(6, schema={}))) == 6
        b = bill(t.store)
        assert (b.lost, b.retried, [x.n for x in t.budget.batches()]) == (1, {'missing_result': 1}, [6, 1])
        assert t.budget.sums().spent >= sum(killing.micro_usd(r) for r in server.ledger()['rows'])


def test_batches_are_cut_at_the_limits_of_the_api(tmp_path, well):
    t = claude(tmp_path, well, 'always')
    t.most_requests = 10
    t.ask(many(25, 'limits'))
    assert [b.n for b in t.budget.batches()] == [10, 10, 5]
    t.most_requests, t.most_bytes = 100, 3_000
    t.ask(many(10, 'bytes'))
    assert all(b.n < 6 for b in t.budget.batches()[3:]) and len(t.store.all()) == 35


def test_an_interrupt_leaves_a_batch_running_and_the_next_run_collects_it(tmp_path):
    script = (
        'import sys; sys.path[:0] = ["tests/helpers", "tests"]; import killing\n'
        'from test_teachers import many\n'
        'killing.teacher(sys.argv[1], sys.argv[2], "always", 5.0).ask(many(6))'
    )
    with claude_server(batch_s=6) as server:
        db = str(tmp_path / 'answers.sqlite')
        env = {**os.environ, 'PYTHONPATH': str(ROOT)}
        p = subprocess.Popen(
            [sys.executable, '-c', script, db, server.url],
            cwd=ROOT,
            env=env,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        while not Path(db).exists() or bill(Store(db)).batches != {'sent': 1}:
            time.sleep(0.05)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=120)
        assert '1 batch with 6 questions at the server; the next run collects' in err, err
        b = bill(Store(db))
        assert (b.open, b.batches, b.lost) == (6, {'sent': 1}, 0) and b.reserved_usd > 0
        t = claude(tmp_path, server, 'never')
        got = t.ask([asked('plan 2'), asked('another')])  # other questions collect it, too
        assert [bool(a.batch) for a in got] == [True, False]
        assert len(t.store.all()) == 7 and len(server.ledger()['batches']) == 1
        assert set(server.billed().values()) == {1}


def test_a_batch_that_the_server_does_not_know_stops_with_a_way_on(tmp_path, well):
    t = claude(tmp_path, well, 'always')
    with t.budget.session() as me:
        from agentft.teachers.budget import BatchCall

        q = asked('gone')
        t.budget.open_batch(me, 'x1', t.name, [BatchCall('x1-0', t.key(q), 500, q.prompt, q)])
        t.budget.mark_batch('x1', 'sent', 'msgbatch_gone')
    with pytest.raises(TeacherStopped, match="key of the workspace.*forget_batch.'msgbatch_gone'"):
        t.ask([asked('gone')])
    t.forget_batch('msgbatch_gone')
    assert not t.ask([asked('gone')])[0].error
    assert bill(t.store).lost == 1


# ---- kills


@pytest.mark.parametrize(
    'mode, more',
    [('direct', []), ('batch', []), ('direct', ['--sweep', '--n', '2']), ('batch', ['--sweep', '--n', '2'])],
)
def test_killed_anywhere_nothing_is_lost_and_nothing_paid_twice(mode, more):
    "SIGKILL at random points (30 of each), and at every single statement that the books make."
    misbehave = 0.0 if more else 0.15
    with claude_server(misbehave=misbehave, seed=7, slow_s=0.05) as server:
        command = [
            sys.executable,
            'tests/helpers/killing.py',
            '--url',
            server.url,
            '--mode',
            mode,
            '--kills',
            '30',
            '--seed',
            '3',
            *more,
        ]
        r = subprocess.run(
            command, cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True, timeout=400
        )
        assert r.returncode == 0, r.stderr[-3000:]
        out = json.loads(r.stdout.splitlines()[-1])
        assert out['wrong'] == {}, r.stderr[-3000:]
        assert out['kills'] >= 25 and out['stored'] == out['asked']
        assert out['server_usd'] <= out['spent_usd']


def test_the_comparison_of_the_books_finds_what_is_wrong(tmp_path):
    questions = many(6)
    with claude_server() as server:
        claude(tmp_path, server, 'always').ask(questions)
        book, db = server.ledger(), str(tmp_path / 'answers.sqlite')
    row = book['rows'][0]
    twice = dict(book, rows=[*book['rows'], dict(row, n=99)])
    found = killing.audit(db, twice, questions, 5, before=[(50, {row['question']})])
    assert found == {
        'stored answer asked again': 1, 'billed oftener than booked': 1, 'good batch item paid twice': 1, 'server billed more than we booked': 1,
    }  # fmt: skip
    assert killing.audit(db, dict(book, batches=book['batches'] * 2), questions, 5) == {'batch sent twice': 1}
    assert killing.audit(db, book, [*questions, asked('never asked')], 5) == {'nothing stored': 1}
    assert killing.audit(db, book, questions, 0.0001) == {'budget exceeded': 2}


# ---- what it will cost, and what it did


def test_an_estimate_holds_and_learns_from_stored_answers(tmp_path, well):
    t, questions = claude(tmp_path, well), many(60, 'estimated')
    first = t.estimate(questions)
    assert (
        (first.n, first.stored) == (60, 0)
        and 'counted on 20 questions' in first.basis
        and '25% of max_tokens' in first.basis
    )
    assert not fault_rows(well, 'estimated')  # counting asks nothing
    t.ask(questions[:30])
    second = t.estimate(questions)
    assert (second.n, second.stored) == (30, 30) and '30 stored answers' in second.basis
    got = t.ask(questions)
    spent = sum(a.cost_usd for a in got[30:])
    assert second.usd_low <= second.usd <= second.usd_max and abs(second.usd - spent) < 0.5 * spent
    assert 'about' in str(second) and 'of the budget is left' in str(second)
    b = bill(t.store)
    assert b.planned_spent_usd == pytest.approx(b.spent_usd) and b.planned_usd > 0
    assert (b.answers, b.good, b.requests) == (60, 60, 60)
    assert 'answers without an error: 100.0 % (60 of 60)' in str(b)


def test_an_unknown_model_names_the_file(tmp_path):
    with pytest.raises(ValueError, match='prices.yaml has no price for .claude-opus-9.'):
        teacher_of('claude:claude-opus-9', tmp_path / 'a.sqlite')
    assert teacher_of('claude:claude-opus-9', tmp_path / 'a.sqlite', price='5/25').price.output == 25
    assert find_price('opus').as_of >= '2026-11-01'


# ---- OpenAI-compatible servers


class ChatServer:
    "Speaks /v1/chat/completions; `faults` are met in order, `forms` are the response formats that it takes."

    def __init__(self, faults=(), forms=('json_schema', 'json_object'), usage=True, text=None):
        self.faults, self.forms, self.usage, self.text, self.bodies = list(faults), forms, usage, text, []

    def __enter__(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *_):
                pass

            def send(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                for k, v in (
                    ('content-type', 'application/json'),
                    ('content-length', str(len(data))),
                    ('retry-after', '0.01'),
                ):
                    self.send_header(k, v)
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                self.send(200, dict(object='list', data=[]))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers['content-length'])))
                server.bodies.append(body)
                form = body.get('response_format', {}).get('type')
                if form and form not in server.forms:
                    return self.send(
                        400,
                        dict(error=dict(message=f'response_format {form} is not supported', type='BadRequestError')),
                    )
                fault = server.faults.pop(0) if server.faults else ''
                if isinstance(fault, int):
                    return self.send(fault, dict(error=dict(message='on purpose', type='server_error')))
                if fault == 'cut':
                    return self.connection.close()
                text = fault or server.text or json.dumps(dummy(SCHEMA))
                out = dict(id='c', object='chat.completion', created=0, model=body['model'])
                out['choices'] = [dict(index=0, finish_reason='stop', message=dict(role='assistant', content=text))]
                if server.usage:
                    out['usage'] = dict(prompt_tokens=50, completion_tokens=20, total_tokens=70)
                self.send(200, out)

        self.http = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.http.server_port}/v1'
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


def endpoint(folder, server, **more):
    t = EndpointTeacher(Path(folder, 'answers.sqlite'), server.url, 'some-model', **{**dict(timeout_s=5), **more})
    t.back_off_s = 0.01
    return t


@pytest.mark.parametrize(
    'forms, kept', [(('json_schema',), 'json_schema'), (('json_object',), 'json_object'), ((), None)]
)
def test_an_endpoint_is_asked_in_the_strongest_form_that_it_takes(tmp_path, forms, kept):
    pytest.importorskip('openai')
    with ChatServer(forms=forms) as server:
        t = endpoint(tmp_path, server)
        got = t.ask(many(6))
        assert all(a.value['title'] for a in got)
        assert server.bodies[-1].get('response_format', {}).get('type') == kept
        assert ('Its JSON schema' in server.bodies[-1]['messages'][-1]['content']) == (kept != 'json_schema')
        assert got[0].tokens == Tokens(50, 20) and got[0].cost_usd == 0
        assert 'nothing: unpriced' in str(bill(t.store))
        n = len(server.bodies)
        assert t.ask(many(6)) == got and len(server.bodies) == n


def test_an_endpoint_with_a_price_has_a_budget_and_the_same_rules(tmp_path):
    pytest.importorskip('openai')
    with ChatServer(faults=[429, 500, 'cut', '{"title": ""}', 'no json']) as server:
        t = endpoint(tmp_path, server, max_usd=1, price='2/10', concurrency=1)
        got = t.ask(many(4))
        assert [a.error for a in got] == [''] * 4
        b = bill(t.store)
        assert b.lost == 1 and b.retried.keys() == {'server_error', 'cut_off', 'not_of_schema', 'invalid_json'}
        assert b.spent_usd - b.lost_usd == pytest.approx(6 * (50 * 2 + 20 * 10) / 1e6)
        small = endpoint(tmp_path, server, max_usd=b.spent_usd + 0.003, price='2/10')
        with pytest.raises(BudgetReached):
            small.ask(many(4, 'more'))


def test_an_endpoint_that_does_not_say_what_it_used_is_counted_at_its_maximum(tmp_path):
    pytest.importorskip('openai')
    with ChatServer(usage=False) as server:
        t = endpoint(tmp_path, server, max_usd=1, price='2/10')
        t.ask([asked('one')])
        assert t.budget.sums().paid == t.most(asked('one')) and t.told['no_usage'] == 1


def test_nobody_at_a_url_is_said_at_once(tmp_path):
    pytest.importorskip('openai')
    t = teacher_of('http://127.0.0.1:9/v1 some-model', tmp_path / 'a.sqlite')
    with pytest.raises(ConnectionError, match='cannot be reached'):
        t.ask([asked('one')])


class Dear(PaidTeacher):
    "Bills three times the most that a request may cost."

    def send(self, question, room):
        return Reply(value=dict(text='X'), paid=round(3 * self.most(question, room) / self.over))


def test_a_server_that_bills_too_much_is_known_after_its_first_bill(tmp_path):

    price = Price('dear', Decimal(2), Decimal(10))
    asked = [
        Question('Count.', [Message('user', f'number {k}')], max_tokens=2_000, prompt='count@1') for k in range(30)
    ]
    for flight in (1, 4):
        teacher = Dear(tmp_path / f'{flight}.sqlite', 'dear', price, max_usd=0.30, concurrency=flight)
        one = teacher.most(asked[0])
        teacher.ask(asked, partial=True)
        spent = teacher.budget.sums().paid
        assert 0 < spent <= 300_000 + flight * 2 * one
        assert teacher.over == pytest.approx(3, abs=0.01) and teacher.most(asked[0]) == pytest.approx(3 * one, rel=0.01)
        before = spent
        later = Dear(tmp_path / f'{flight}.sqlite', 'dear', price, max_usd=0.30)
        later.ask(asked, partial=True)
        assert later.budget.sums().paid == before or later.budget.sums().paid <= 300_000
        assert 'up to 3.0 times' in str(bill(later.store))
