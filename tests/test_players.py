"Who stands in an evaluation's tables: the told base, expert and floor, endpoints; and what is kept when a run stops."

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason="PyTorch is not installed (pip install 'agentft[embedded]')")
sys.path.insert(0, str(Path(__file__).parent / 'helpers'))
from chat_server import ChatServer

import agentft.evaluation.playing as playing
from agentft.arena.catalogue import EVAL_SEED, make_task
from agentft.arena.faults import FAULTS, Faulty
from agentft.arena.players import FLOORS, Expert, Floor, expert_script, play
from agentft.arena.sessions import Session
from agentft.arena.tasks import read_call
from agentft.core.agent import FULL, SHORT, tool_schemas
from agentft.core.metrics import five
from agentft.core.records import Message, Reference, Usage, content_hash
from agentft.evaluation.answers import answer_all
from agentft.evaluation.pages import ending
from agentft.evaluation.playing import fingerprint, play_all
from agentft.model.chat import ChatFormat, said_text
from agentft.model.endpoints import Endpoint, EndpointError
from agentft.model.engine import Engine
from agentft.model.loading import load_tokenizer, tiny_model
from agentft.model.players import TOO_LONG, Forced, Model, Script, expert_replies, play_many
from agentft.model.told import Told, tell, worked_examples

torch.set_num_threads(1)
NAMES = ('config', 'rename', 'facts')


def held(n=1, start=0):
    return [make_task(f, EVAL_SEED + start + i) for i in range(n) for f in NAMES]


@pytest.fixture(scope='module')
def tiny():
    return tiny_model(seed=2)


@pytest.fixture(scope='module')
def fmt():
    return ChatFormat(load_tokenizer())


class Renamed(Session):
    "A job that offers the usual tools under other names."

    def __init__(self, *args):
        super().__init__(*args)
        self.tools = json.loads(json.dumps(self.tools))
        for schema in self.tools:
            schema['function']['name'] = 'my_' + schema['function']['name']

    def spoken(self, message):
        return replace(message, tool_calls=[replace(c, name='my_' + c.name) for c in message.tool_calls])


# --- the base that is told how


@pytest.mark.parametrize('rules, most', [(SHORT, 1400), (FULL, 4096)])
def test_what_is_told_fits_and_shows_two_jobs_that_are_no_evaluation(fmt, rules, most):
    for task in held():
        with Session(task, rules) as s:
            shown = tell(s.pending, s.tools, rules, but=task.id)
            extra = len(fmt.prompt(shown, s.tools)) - len(fmt.prompt(s.pending, s.tools))
            assert shown[-len(s.pending) + 1 :] == s.pending[1:] and s.pending[0].content in shown[0].content
        assert 300 < extra <= most
        ends = [m for m in shown if any(c.name == 'job_complete' for c in m.tool_calls)]
        assert len(ends) == 2  # two whole jobs
    shown = worked_examples(rules)
    assert all(t.seed < EVAL_SEED for t, _ in shown) and len({t.id for t, _ in shown}) == 2
    used = [{c.name for m in messages for c in m.tool_calls} for _, messages in shown]
    assert 'write_file' in used[0] and 'edit_file' in used[1]
    assert all(m.ok is not False for _, messages in shown for m in messages)  # no call of an example fails


def test_an_example_is_never_the_job_that_is_played():
    for task, _ in worked_examples():
        assert task.id not in {t.id for t, _ in worked_examples(but=task.id)}


def test_what_is_told_speaks_the_words_of_the_job():
    with Renamed(make_task('config', EVAL_SEED)) as s:
        shown = tell(s.pending, s.tools, SHORT, s.spoken)
    calls = {c.name for m in shown for c in m.tool_calls}
    assert len(shown) > 20 and all(name.startswith('my_') for name in calls)
    assert '{"name":"my_read_file"' in shown[0].content and ' read_file' not in shown[0].content


def test_a_recorded_job_with_other_tools_gets_no_foreign_examples():
    window = [Message('system', 'You keep the books.'), Message('user', 'How many orders are open?')]
    shown = tell(window, tool_schemas(['sql_query', 'read_file']))
    assert len(shown) == 2 and shown[1] == window[1]
    assert 'todo' not in shown[0].content and 'edit' not in shown[0].content


def test_what_is_told_is_billed_in_every_answer_and_computed_once(fmt):
    who, jobs = Told('tiny-random', max_new_tokens=4, batch=4), []
    engine = who.engine()
    who.play(held(2), 'told', jobs.append, engine)
    for job in jobs:
        with Session(make_task(job.family, job.meta['seed'])) as s:
            assert job.turns[0].usage.prompt_tokens > len(fmt.prompt(s.pending, s.tools)) + 300
    assert engine.stats['billed'] == sum(t.usage.prompt_tokens for j in jobs for t in j.turns)
    assert engine.stats['computed'] < engine.stats['billed'] / 4


def test_in_a_small_context_examples_stay_out(tiny):
    model, tok = tiny
    who, jobs = Told('tiny-random', max_new_tokens=4), []
    who.play(held(), 'told', jobs.append, Engine(model, tok, slots=2, max_len=1100))
    assert all(j.turns[0].said.content or j.turns[0].said.tool_calls for j in jobs)  # it had room for an answer


# --- expert and floor


@pytest.mark.parametrize('rules', [SHORT, FULL])
@pytest.mark.parametrize('name', FLOORS)
def test_the_floor_keeps_the_books_and_does_nothing(name, rules):
    jobs = [play(task, FLOORS[name], rules) for task in held(2)]
    assert {j.outcome.status for j in jobs} == {'failed'} and {j.meta['end'] for j in jobs} == {'job_complete'}
    assert not [r for j in jobs for t in j.turns for r in t.results if r.ok is False]
    assert all(t.completed_turn is not None for j in jobs for t in j.todos if t.agent_phase == 'tactical')
    n = five(jobs)
    assert n['phase_adherence'].value == 1 and n['task_success'].value == 0


def test_where_nothing_is_to_be_done_the_floor_is_right():
    task = make_task('config', EVAL_SEED)
    look = task.items[0]
    task.items, task.deliverables = [replace(look, calls=look.calls[:1], want={})], []
    assert play(task, Floor()).outcome.status == 'success'


def with_parallel_reads(seed=EVAL_SEED):
    task = make_task('config', seed)
    task.files['more.md'] = 'Be careful.\n'
    item = task.items[0]
    item.calls = [(read_call('more.md'), item.calls[0]), *item.calls[1:]]
    return task


@pytest.mark.parametrize('rules', [SHORT, FULL])
def test_the_expert_says_calls_together(rules):
    task = with_parallel_reads()
    job = play(task, Expert(), rules)
    assert job.outcome.status == 'success' and max(len(t.said.tool_calls) for t in job.turns) == 2
    assert all(r.ok for t in job.turns for r in t.results)


@pytest.mark.parametrize('mode', FAULTS)
def test_no_fault_stumbles_over_calls_that_are_said_together(mode):
    assert play(with_parallel_reads(), Faulty(mode)).turns


def test_scripts_speak_the_words_of_the_job():
    task = make_task('rename', EVAL_SEED)
    for player in (Expert(), Floor(), Faulty('failed_edit')):
        with Renamed(task) as session:
            player.start(session)
            assert all(c.name.startswith('my_') for c in player(session).tool_calls)


# --- batches


@pytest.mark.parametrize('temperature', [0.0, 0.9])
def test_a_job_is_the_same_in_every_batch(tiny, temperature):
    model, tok = tiny
    tasks = held(2)
    tasks[1].rules, tasks[2].max_turns = FULL, 2
    limits = dict(max_new_tokens=5, temperature=temperature, progress=False)

    def said(tasks, slots):
        jobs = play_many(tasks, Engine(model, tok, slots=slots, max_len=2048), **limits)
        return {j.meta['task']: [said_text(t.said) for t in j.turns] for j in jobs}

    whole = said(tasks, 6)
    assert said(tasks, 1) == whole and said(tasks[::-1], 4) == whole
    rest = said(tasks[4:], 2)  # as after an interruption
    assert rest == {i: whole[i] for i in rest}
    assert len(whole[tasks[2].id]) == 2 and max(map(len, whole.values())) > 2


def test_one_batch_holds_tasks_under_different_rules(tiny):
    model, tok = tiny
    tasks = held()
    tasks[0].rules = FULL
    engine = Engine(model, tok, slots=3, max_len=4096)
    with Forced(engine, expert_replies(tasks, tok)):
        jobs = play_many(tasks, engine, max_new_tokens=10**6, progress=False)
    assert [j.outcome.status for j in jobs] == ['success'] * 3 and len(jobs[0].turns) > 20 > len(jobs[1].turns)


def test_a_reply_that_repeats_itself_is_ended_for_everybody(tiny):
    model, tok = tiny
    line = ChatFormat(tok).ids('- The document was rewritten.\n')
    engine = Engine(model, tok, slots=3, max_len=4096, repeats=48)
    with Forced(engine, lambda request: line * 40):
        jobs = play_many(held(), engine, max_new_tokens=160, progress=False)
    turns = [t for j in jobs for t in j.turns]
    assert {t.finish_reason for t in turns} == {'repeats'} and {t.usage.completion_tokens for t in turns} < {*range(64)}
    assert Model('tiny-random', batch=1).engine().repeats == 48 == Told('tiny-random', batch=1).engine().repeats


# --- what is kept


def rows(url):
    small = dict(max_new_tokens=4, batch=3)
    return dict(
        base=Model('tiny-random', **small),
        told=Told('tiny-random', **small),
        tuned=Script('tiny-random', batch=3),
        expert=Expert(),
        floor=Floor(),
        endpoint=Endpoint(url, 'script', concurrency=3),
    )


@pytest.mark.parametrize('name', ['base', 'told', 'tuned', 'expert', 'floor', 'endpoint'])
def test_after_a_kill_only_the_rest_is_played(tmp_path, monkeypatch, name):
    tasks, path, real, seen = held(2)[:4], tmp_path / 'jobs.jsonl', playing._play, []
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))

    def killed(who, tasks, name, on_job, load):
        def some(job):
            on_job(job)
            seen.append(job.meta['task'])
            if len(seen) == 2:
                raise KeyboardInterrupt

        real(who, tasks, name, some, load)

    with ChatServer(tasks) as server:
        monkeypatch.setattr(playing, '_play', killed)
        with pytest.raises(KeyboardInterrupt):
            play_all(tasks, rows(server.url)[name], path, name)
        assert not path.exists() and not list(tmp_path.glob('agentft-*'))  # no scratch folder is left
        asked = []

        def counted(who, tasks, name, on_job, load):
            asked.extend(t.id for t in tasks)
            real(who, tasks, name, on_job, load)

        monkeypatch.setattr(playing, '_play', counted)
        jobs, played = play_all(tasks, rows(server.url)[name], path, name)
        assert [j.meta['task'] for j in jobs] == [t.id for t in tasks]
        assert played == 2 and set(asked) == {t.id for t in tasks} - set(seen)
        assert play_all(tasks, rows(server.url)[name], path, name) == (jobs, 0)
        whole, _ = play_all(tasks, rows(server.url)[name], tmp_path / 'whole.jsonl', name)
        assert [content_hash(j.turns) for j in whole] == [content_hash(j.turns) for j in jobs]
        if name in ('expert', 'endpoint'):
            assert {j.outcome.status for j in jobs} == {'success'}


def test_a_job_is_played_again_when_what_decides_it_has_changed(tmp_path):
    tasks, path = held(), tmp_path / 'jobs.jsonl'
    assert play_all(tasks, Expert(), path, 'expert')[1] == 3
    tasks[0].rules = FULL
    tasks[1].items[0].want |= {'more.md': 'x'}
    assert play_all(tasks, Expert(), path, 'expert')[1] == 2
    assert play_all(tasks, Expert(), path, 'expert')[1] == 0
    assert play_all(tasks, Floor(), path, 'expert')[1] == 3
    a, b = Endpoint('http://x/v1', 'm'), Endpoint('http://x/v1', 'm', concurrency=1, timeout_s=1, retries=9)
    assert fingerprint(a) == fingerprint(b) != fingerprint(Endpoint('http://x/v1', 'm', told=True))


# --- endpoints


@pytest.mark.parametrize('told', [False, True])
def test_an_endpoint_plays_many_jobs(told):
    tasks = [*held(3), make_task('config', EVAL_SEED + 70)]
    tasks[-1].rules = FULL
    with ChatServer(tasks) as server:
        jobs = []
        Endpoint(server.url, 'script', concurrency=4, told=told).play(tasks, 'endpoint', jobs.append)
    assert {j.meta['task'] for j in jobs} == {t.id for t in tasks}
    assert {j.outcome.status for j in jobs} == {'success'}
    assert {(t.usage.prompt_tokens, t.usage.completion_tokens) for j in jobs for t in j.turns} == {(100, 7)}
    first = server.requests[0]
    assert first['tools'][0]['function']['name'] and first['temperature'] == 0 and first['model'] == 'script'
    assert (len(first['messages']) > 20) == told


def test_what_passes_is_tried_again():
    tasks = held()
    faults = {0: 'busy', 1: 'broken', 2: 'slow', 3: 'cut', 5: 'no_usage', 6: 'busy', 7: 'busy', 9: 'hollow', 11: 'torn'}
    with ChatServer(tasks, faults) as server:
        jobs = []
        Endpoint(server.url, 'script', concurrency=1, timeout_s=1.0).play(tasks, 'endpoint', jobs.append)
    assert {j.outcome.status for j in jobs} == {'success'}
    turns = [t for j in jobs for t in j.turns]
    assert len(server.requests) == len(turns) + 8  # each failed request once more
    assert sum(t.usage == Usage() for t in turns) == 1


def test_malformed_arguments_cost_a_turn():
    tasks = held()[:1]
    with ChatServer(tasks, {0: 'malformed', 1: 'malformed', 2: 'malformed'}) as server:
        jobs = []
        Endpoint(server.url, 'script').play(tasks, 'endpoint', jobs.append)
    (job,) = jobs
    assert (job.outcome.status, job.meta['end'], len(job.turns)) == ('failed', 'stuck', 3)
    assert job.turns[0].said.tool_calls[0].malformed == '{"todos": ["one'
    sent = server.requests[1]['messages'][-2:]
    assert (
        json.loads(sent[0]['tool_calls'][0]['function']['arguments']) == {} and 'no JSON object' in sent[1]['content']
    )


def test_an_error_that_stays_names_the_url_and_keeps_what_is_finished(tmp_path):
    tasks, path = held(2), tmp_path / 'jobs.jsonl'
    steps = len(expert_script(tasks[0])) + 2
    with ChatServer(tasks, {n: 'broken' for n in range(steps, 10_000)}) as server:
        who = Endpoint(server.url, 'script', concurrency=1, retries=1)
        with pytest.raises(EndpointError, match=f'{server.url} gave no answer for script.*run again'):
            play_all(tasks, who, path, 'endpoint')
        server.faults.clear()
        jobs, played = play_all(tasks, who, path, 'endpoint')
    assert played == 5 and {j.outcome.status for j in jobs} == {'success'}
    with ChatServer(tasks, always='empty') as server:
        with pytest.raises(EndpointError, match='no answer'):
            Endpoint(server.url, 'script', retries=1).play(tasks, 'endpoint', print)


def test_a_reply_without_an_answer_and_half_a_character_end_no_run():
    tasks, jobs = held(2), []
    steps = len(expert_script(tasks[0]))
    hollow = {n: 'hollow' for n in range(steps, steps + 2)}  # the first request of the second job, and once more
    with ChatServer(tasks, {1: 'half'} | {n + 1: x for n, x in hollow.items()}) as server:
        Endpoint(server.url, 'script', concurrency=1, retries=1).play(tasks, 'endpoint', jobs.append)
    assert [j.meta['end'] for j in jobs].count('refused') == 1
    assert any('no answer' in j.meta.get('refusal', '') for j in jobs)
    sent = [m for r in server.requests for m in r['messages'] for c in m.get('tool_calls', ()) if 'a.md' in str(c)]
    assert sent and '"? x"' in sent[0]['tool_calls'][0]['function']['arguments']


def test_nobody_there_or_a_wrong_key_is_said_before_any_job_is_played(tmp_path, monkeypatch):
    tasks, path = held(), tmp_path / 'jobs.jsonl'
    with ChatServer(tasks) as server:
        gone = server.url
    with pytest.raises(ConnectionError, match=f'{gone} cannot be reached.*Next step'):
        play_all(tasks, Endpoint(gone, 'script', timeout_s=2), path, 'endpoint')
    with ChatServer(tasks, key='right') as server:
        monkeypatch.setenv('MY_KEY', 'wrong')
        with pytest.raises(PermissionError, match='MY_KEY'):
            play_all(tasks, Endpoint(server.url, 'script', api_key_env='MY_KEY'), path, 'endpoint')
        assert not server.requests
        monkeypatch.setenv('MY_KEY', 'right')
        assert play_all(tasks, Endpoint(server.url, 'script', api_key_env='MY_KEY'), path, 'endpoint')[1] == 3
    assert 'right' not in path.read_text()


def test_another_name_for_the_limit_and_a_conversation_that_is_too_long():
    tasks = held()[:1]
    with ChatServer(tasks, always='renamed') as server:
        jobs = []
        Endpoint(server.url, 'script').play(tasks, 'endpoint', jobs.append)
    assert jobs[0].outcome.status == 'success'
    assert sum('max_tokens' in r for r in server.requests) == 1
    with ChatServer(tasks, always='long') as server:
        jobs = []
        Endpoint(server.url, 'script').play(tasks, 'endpoint', jobs.append)
    assert jobs[0].meta['end'] == 'stuck' and {t.finish_reason for t in jobs[0].turns} == {'length'}


@pytest.mark.parametrize('fault', ['long', 'llama', 'tgi', 'large'])
def test_every_server_says_in_its_own_words_that_a_conversation_is_too_long(fault):
    tasks, jobs = held()[:1], []
    with ChatServer(tasks, always=fault) as server:
        Endpoint(server.url, 'script').play(tasks, 'endpoint', jobs.append)
        _, refs = recorded()
        got = []
        Endpoint(server.url, 'script').answer(refs[:1], lambda *x: got.append(x), 2048)
    assert jobs[0].meta['end'] == 'stuck' and {t.finish_reason for t in jobs[0].turns} == {'length'}
    assert [(said, reason) for _, said, _, reason in got] == [(None, TOO_LONG)]


@pytest.mark.parametrize('concurrency', [1, 4])
def test_a_job_that_is_refused_has_failed_and_the_others_go_on(tmp_path, concurrency):
    tasks, path = held(2), tmp_path / 'jobs.jsonl'
    with ChatServer(tasks) as server:
        server.refuses = tasks[0].instruction  # the very first request, when one comes after the other
        who = Endpoint(server.url, 'script', concurrency=concurrency)
        jobs, played = play_all(tasks, who, path, 'endpoint')
        assert played == 6 and [j.outcome.status for j in jobs] == ['failed'] + ['success'] * 5
        assert jobs[0].meta['end'] == 'refused' and 'takes no such message' in jobs[0].meta['refusal']
        assert ending(jobs[0]) == 'request refused'
        assert play_all(tasks, who, path, 'endpoint') == (jobs, 0)  # it is not asked again
        path.unlink()
        jobs, _ = play_all(tasks[:1], who, path, 'endpoint')  # the rest of a run may be this one job
        assert jobs[0].meta['end'] == 'refused'
        later = {2: 'refused'}  # a server may refuse a job that it has answered before
        server.refuses, server.faults, server.requests = '', later, []
        jobs, _ = play_all(
            tasks[:3], Endpoint(server.url, 'script', concurrency=1), tmp_path / 'later.jsonl', 'endpoint'
        )
    assert sorted(j.meta['end'] for j in jobs) == ['job_complete', 'job_complete', 'refused']
    assert len(jobs[0].turns) == 2


def test_a_server_that_refuses_everything_ends_the_run(tmp_path):
    tasks, path = held(4), tmp_path / 'jobs.jsonl'
    for many in (12, 3, 1):
        with ChatServer(tasks, always='refused') as server:
            with pytest.raises(EndpointError, match=f'{server.url} refuses every request to script: .*no such message'):
                play_all(tasks[:many], Endpoint(server.url, 'script', concurrency=2), path, 'endpoint')
            assert len(server.requests) < 12
            server.always = ''
            jobs, played = play_all(tasks[:many], Endpoint(server.url, 'script'), path, 'endpoint')
        assert played == many and {j.outcome.status for j in jobs} == {'success'}  # no refusal was kept
        path.unlink()
    with ChatServer(tasks, {9: 'model'}) as server:
        with pytest.raises(EndpointError, match='Invalid model name'):
            play_all(tasks, Endpoint(server.url, 'script', concurrency=1), path, 'endpoint')


def test_a_recorded_turn_that_is_refused_is_answered_wrongly(tmp_path):
    job, refs = recorded()
    with ChatServer([make_task('config', 1)]) as server:
        server.faults = {1: 'refused'}
        who = Endpoint(server.url, 'script', concurrency=1)
        answers, _ = answer_all(refs, who, None, tmp_path / 'answers.jsonl', 'endpoint', 2048)
    assert [a.finish_reason == 'refused' for a in answers] == [i == 1 for i in range(len(refs))]
    assert answers[1].said is not None and not answers[1].said.tool_calls


def recorded():
    job = play(make_task('config', 1), Expert())
    seen, refs = [], []
    for i, t in enumerate(job.turns):
        seen = [*seen, *t.seen]
        refs.append(Reference(list(seen), t.said, t.results, job.tools, job.id, turn=i))
        seen += [t.said, *t.results]
    return job, refs


@pytest.mark.parametrize('name', ['base', 'told', 'tuned', 'endpoint'])
def test_every_player_with_a_model_answers_recorded_turns(tmp_path, name):
    job, refs = recorded()
    path = tmp_path / 'answers.jsonl'
    with ChatServer([make_task('config', 1)]) as server:
        who = rows(server.url)[name]
        answers, asked = answer_all(refs, who, None, path, name, 2048)
        assert asked == len(refs) and [a.reference for a in answers] == [r.id for r in refs]
        assert all(a.said is not None and a.prompt_tokens for a in answers)
        assert answer_all(refs, who, None, path, name, 2048) == (answers, 0)
    if name == 'endpoint':
        assert [[(c.name, c.arguments) for c in a.said.tool_calls] for a in answers] == [
            [(c.name, c.arguments) for c in r.said.tool_calls] for r in refs
        ]


def test_told_and_base_are_asked_the_same_turns(tmp_path):
    _, refs = recorded()
    small = dict(max_new_tokens=4, batch=3)
    for limit in (280, 2048):
        asked = []
        for who in (Model('tiny-random', **small), Told('tiny-random', **small)):
            answers, _ = answer_all(refs, who, None, tmp_path / f'{type(who).__name__}-{limit}.jsonl', 'x', limit)
            asked.append([a.finish_reason == TOO_LONG for a in answers])
        assert asked[0] == asked[1] and any(asked[0]) == (limit < 2048)
