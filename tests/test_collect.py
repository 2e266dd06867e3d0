"Phase 1: audit trails in every form they come in, read into jobs."

import gzip
import io
import json
import os
import random
import re
import subprocess
import sys
import tarfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentft.arena.catalogue import EVAL_SEED, FAMILIES, make_task, trained_on
from agentft.arena.faults import FAULTS, Faulty
from agentft.arena.players import Expert, play
from agentft.core.agent import FULL
from agentft.core.metrics import five, job_counts
from agentft.core.records import Job, from_dict, read_jsonl, to_dict
from agentft.evidence.failures import detect
from agentft.evidence.privacy import redact
from agentft.phases.collect import collect, simulate
from agentft.traces.audit import from_documents
from agentft.traces.audit_writer import to_documents, write_audit
from agentft.traces.documents import embedded_server, open_source
from agentft.traces.dumps import COLLECTIONS, DATABASE, json_records
from agentft.traces.wanted_jobs import collect_jobs, read_jobs
from agentft.workbench.runs import read_result

AUDIT = Path(os.environ.get('AGENTFT_AUDIT') or Path(__file__).parents[2] / 'shared' / 'audit')
recorded = pytest.mark.skipif(
    not (AUDIT / 'jobs.json').exists(), reason=f'no recorded audit documents at {AUDIT} (set AGENTFT_AUDIT)'
)
secantus = pytest.importorskip(
    'secantus', reason="the embedded server is not installed (pip install 'agentft[embedded]')"
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    "What a collect remembers of placeholders is not left in the user's cache."
    monkeypatch.setenv('AGENTFT_CACHE', str(tmp_path_factory.mktemp('cache')))


def truths():
    return {x['job_id']: x for x in json.loads((AUDIT / 'jobs.json').read_text())}


@pytest.fixture(scope='module')
def server():
    "The recorded dump, loaded into the embedded server."
    import bson
    import pymongo

    with embedded_server() as uri:
        db = pymongo.MongoClient(uri)[DATABASE]
        for c in COLLECTIONS:
            p = AUDIT / 'dump' / DATABASE / f'{c}.bson'
            raw = p.read_bytes() if p.exists() else gzip.decompress(p.with_suffix('.bson.gz').read_bytes())
            db[c].insert_many(bson.decode_all(raw))
        yield uri


def check(jobs, want):
    assert {j.id for j in jobs} == set(want)
    for j in jobs:
        x = want[j.id]
        tact, strat = ([t for t in j.todos if t.agent_phase == p] for p in ('tactical', 'strategic'))
        assert (j.description, j.instructions) == (x['description'], x['instructions'])
        assert j.outcome.status == x['expected_outcome'], (x['key'], j.outcome)
        assert len(tact) == x['tactical_todos_planned']
        assert sum(t.completed_turn is not None for t in tact) == x['tactical_todos_marked_complete']
        assert sum(t.completed_turn is not None for t in strat) == x['strategic_todos_completed']
        assert Counter(c.name for _, c, _ in j.calls()) == Counter(x['counts']['by_tool'])
        assert all(t.text for t in tact)
        assert len(j.turns) == x['counts']['llm_requests']
        assert any(t.said.reasoning for t in j.turns) == x['has_reasoning']
        assert all(m.role != 'tool' and not m.content.startswith('# Workspace Memory') for t in j.turns for m in t.seen)
        assert from_dict(Job, json.loads(json.dumps(to_dict(j)))) == j


@recorded
@pytest.mark.parametrize('form', ['dump', 'dump/graphrag_logs', 'export'])
def test_recorded_forms(form):
    jobs, rejected = collect_jobs(AUDIT / form)
    check(jobs, truths())
    assert not rejected
    assert not any('arguments' in t.meta for j in jobs for t in j.turns)  # full arguments everywhere
    assert all('results' not in t.meta for j in jobs for t in j.turns[:-1])  # only last results may be previews


@recorded
@pytest.mark.parametrize('form,missing', [('one_job/dump', False), ('one_job/export_canonical', True)])
def test_recorded_one_job(form, missing):
    jobs, rejected = collect_jobs(AUDIT / form)
    check(jobs, {k: x for k, x in truths().items() if x['key'] == 'changelog-forgot-todos'})
    assert rejected == (Counter({'llm_requests: collection missing': 1}) if missing else Counter())


@recorded
def test_recorded_server(server):
    jobs, rejected = collect_jobs(server)
    check(jobs, truths())
    assert not rejected and {j.source for j in jobs} == {'mongodb'}
    dump = {j.id: j for j in collect_jobs(AUDIT / 'dump')[0]}
    for j in jobs:
        assert (
            j.provenance == dump[j.id].provenance
            and j.todos == dump[j.id].todos
            and j.tools == dump[j.id].tools
            and j.meta == dump[j.id].meta
        )


@recorded
def test_filters(server):
    done, rejected = collect_jobs(server, outcomes=['success'])
    assert len(done) == 5 and rejected['jobs: other outcome'] == 3
    dump = AUDIT / 'dump'
    assert {j.meta['agent_type'] for j in read_jobs(dump, agent_types=['coder'])} == {'coder'}
    assert not list(read_jobs(dump, models=['no-such-model'])) and len(list(read_jobs(dump, max_jobs=2))) == 2
    assert len(list(read_jobs(dump, agent_phase='tactical'))) == 8 and not list(
        read_jobs(dump, since=datetime(2027, 1, 1))
    )


@recorded
def test_replayed_files_are_the_real_ones():
    "Files rebuilt from arguments and results equal the recorded workspaces."
    same = 0
    for j in read_jobs(AUDIT / 'dump'):
        with tarfile.open(AUDIT / 'workspaces' / f'{j.id}.tar.gz') as tar:
            real = {
                n.split('/', 1)[1]: tar.extractfile(n).read().decode('utf-8', 'replace')
                for n in tar.getnames()
                if tar.getmember(n).isfile()
            }
        for p, text in j.files_after.items():
            if p in real:
                assert text.rstrip('\n') == real[p].rstrip('\n'), (j.id, p)
                same += 1
    assert same > 20


@recorded
def test_every_document_may_be_missing():
    "Whatever single document is lost, the job is still read."
    with open_source(AUDIT / 'one_job/dump') as src:
        docs = src.of(next(iter(src.jobs())))
    rnd = random.Random(0)
    for _ in range(40):
        c = rnd.choice(COLLECTIONS)
        i = rnd.randrange(len(docs[c]))
        job = from_documents({**docs, c: docs[c][:i] + docs[c][i + 1 :]})
        assert 24 <= len(job.turns) <= 26
    for c in COLLECTIONS:
        job = from_documents({k: v for k, v in docs.items() if k != c})
        assert len(job.turns) == 26, c


@recorded
@pytest.mark.parametrize('cut', [1, 7, 1000, 20000])
def test_truncated_dump(tmp_path, cut):
    for c in COLLECTIONS:
        (tmp_path / f'{c}.bson').write_bytes((AUDIT / 'one_job/dump' / DATABASE / f'{c}.bson').read_bytes())
    p = tmp_path / 'agent_audit.bson'
    p.write_bytes(p.read_bytes()[:-cut])
    jobs, rejected = collect_jobs(tmp_path)
    assert len(jobs) == 1 and len(jobs[0].turns) == 26 and rejected['agent_audit: truncated end'] == 1
    z = gzip.compress((AUDIT / 'one_job/dump' / DATABASE / 'llm_requests.bson').read_bytes())
    (tmp_path / 'llm_requests.bson').unlink()
    (tmp_path / 'llm_requests.bson.gz').write_bytes(z[: len(z) // 2])
    jobs, rejected = collect_jobs(tmp_path)
    assert len(jobs[0].turns) == 26 and rejected['llm_requests: truncated end'] == 1


def test_old_shapes():
    "Documents of older agent versions: event_type, llm_call/llm_response, tool_call/tool_result."
    a = lambda n, **k: dict(job_id='old', _id=n, step_number=n, phase='tactical', phase_number=1, **k)
    docs = [
        a(1, event_type='phase_transition', from_phase='strategic', to_phase='tactical'),
        a(2, event_type='tool_call', tool_name='read_file', inputs={'path': 'a.md'}, output='hello'),
        a(3, step_type='llm_call', llm=dict(model='m')),
        a(
            4,
            step_type='llm_response',
            llm=dict(model='m', response_content_preview='ok', tool_calls=[dict(name='write_file', call_id='c1')]),
        ),
        a(
            5,
            step_type='tool_call',
            tool=dict(name='write_file', call_id='c1', arguments=dict(path='b.md', content='x')),
        ),
        a(
            6,
            step_type='tool_result',
            tool=dict(name='write_file', call_id='c1', result_preview='Written: b.md (1 bytes)'),
        ),
        a(7, step_type='routing'),
        a(8, step_type='mystery'),
        a(9, step_type='llm_call', llm=dict(model='m')),
        a(9, step_type='llm_call'),
    ]
    bad = Counter()
    job = from_documents({'agent_audit': docs}, rejected=bad)
    assert [(c.name, r.ok) for _, c, r in job.calls()] == [('read_file', True), ('write_file', True)]
    assert job.turns[1].said.content == 'ok' and job.files_after['b.md'] == 'x' and job.meta['unanswered'] == 1
    assert bad == {"agent_audit: unknown step type 'mystery'": 1, 'agent_audit: repeated document': 1}


def test_resumed_with_feedback():
    "A frozen job that is sent back is no success until it is frozen again; iteration goes back on resume."
    a = lambda n, **k: dict(job_id='r', _id=n, step_number=n, phase='strategic', phase_number=2, **k)
    llm = lambda n, i: a(
        n, step_type='llm', iteration=i, llm=dict(model='m', request_id=None, response_content_preview='working')
    )
    docs = [
        llm(1, 5),
        a(2, step_type='check', check=dict(decision='frozen')),
        a(3, step_type='feedback_resume', feedback_length=9),
        llm(4, 0),
    ]
    job = from_documents({'agent_audit': docs})
    assert (job.outcome.status, job.outcome.source, job.meta['resumed']) == ('failed', 'none', 1)
    job = from_documents({'agent_audit': docs + [a(5, step_type='check', check=dict(decision='frozen'))]})
    assert (job.outcome.status, job.outcome.source) == ('success', 'frozen')


@pytest.mark.parametrize(
    'junk',
    [
        None,
        3,
        'x',
        [],
        {},
        {'job_id': 'a'},
        {'job_id': 'a', 'step_type': 7},
        {'job_id': 'a', 'step_type': 'llm', 'llm': 'x'},
        {'job_id': 'a', 'step_type': 'llm', 'llm': {'request_id': 'r', 'tool_calls': 5}},
        {'job_id': 'a', 'step_type': 'tool', 'tool': {'arguments': 'no', 'result_preview': 5}},
        {'job_id': 'a', 'step_type': 'check', 'check': 1},
        {'job_id': 'a', 'step_type': 'error', 'error': None},
        {'job_id': 'a', 'step_type': 'phase_complete', 'phase': {}},
        {'job_id': 'a', '_id': 'r', 'request': None, 'response': None},
        {
            'job_id': 'a',
            '_id': 'r',
            'request': {'messages': [1, {'role': 9}]},
            'response': {'tool_calls': [1, {'args': 2}]},
        },
        {
            'job_id': 'a',
            'request_id': 'r',
            'inputs': 4,
            'response': {'tool_calls': 'x'},
            'phase': {},
            'phase_number': 'one',
        },
    ],
)
def test_one_bad_document_never_stops_an_import(junk):
    good = dict(
        job_id='a',
        _id='l',
        step_number=1,
        step_type='llm',
        phase='tactical',
        llm=dict(request_id='r0', response_content_preview='hi'),
    )
    for c in COLLECTIONS:
        docs = {k: [] for k in COLLECTIONS}
        docs['agent_audit'] = [good]
        docs[c] = docs[c] + [junk]
        jobs, _ = collect_jobs(docs)
        assert any(t.said.content == 'hi' for j in jobs for t in j.turns)


def test_unreachable_server_says_what_to_do():
    with pytest.raises(ConnectionError, match='mongodump') as e:
        open_source('mongodb://user:secret@127.0.0.1:1/', timeout_s=0.2)
    assert 'secret' not in str(e.value)


# what jobs.json calls a failure -> our mode; secrets in tool outputs are found by agentft.evidence.privacy
NAMES = dict(
    edit_without_read='blind_edit',
    edit_not_unique='ambiguous_edit',
    forgets_todo_complete='todo_not_completed',
    todos_never_completed='todo_not_completed',
    text_only_answers='text_only',
    edits_plan_in_tactical_loop='plan_loop',
    skeleton_output='skeleton_output',
    overconfident_job_complete='overconfident_complete',
    batch_todo_complete_without_work='todo_without_work',
    hallucinated_tool='unknown_tool',
    malformed_json_arguments='malformed_arguments',
    blank_answer='empty_turn',
    job_complete_in_tactical='phase_violation',
    next_phase_todos_without_guide='todos_refused',
    no_terminal_state='no_job_complete',
)


@recorded
def test_detectors_against_recorded_truth(capsys):
    want = {(i, NAMES[m]) for i, x in truths().items() for m in [*x['failure_modes'], x['end_state']] if m in NAMES}
    jobs = collect_jobs(AUDIT / 'dump')[0]
    found = {(f.job_id, f.mode) for j in jobs for f in detect(j)}
    with capsys.disabled():
        print(
            f'\ndetectors on {len(jobs)} recorded jobs: '
            f'precision {len(found & want)}/{len(found)}, recall {len(found & want)}/{len(want)}'
        )
    assert found == want
    assert all(label.evidence and label.rule for j in jobs for t in j.turns for label in t.labels)


@pytest.mark.parametrize('family', list(FAMILIES))
def test_arena_jobs_survive_the_round_trip(family):
    "Job -> documents -> Job: the same decisions, results, todos, outcome and metrics."
    for player in [Expert(), *map(Faulty, FAULTS)]:
        job = play(make_task(family, 5), player)
        back = from_documents(to_documents(job), 'mongodb')
        for a, b in zip(job.turns, back.turns, strict=True):
            b.meta = {}
            assert a == b
        for k in 'id source description instructions model family tools todos outcome files_before files_after'.split():
            assert getattr(job, k) == getattr(back, k), k
        assert job_counts(job) == job_counts(back)


def test_server_round_trip_of_full_rules():
    "The real agent's rules, over a socket; writing twice leaves one copy."
    jobs = [play(make_task(f, 1), Expert(), FULL) for f in ('config', 'notes')]
    with embedded_server() as uri:
        write_audit(jobs, uri)
        n = write_audit(jobs, uri)
        back, rejected = collect_jobs(uri)
    assert not rejected and n['llm_requests'] == sum(len(j.turns) for j in jobs) and len(back) == 2
    for a, b in zip(sorted(jobs, key=lambda j: j.id), sorted(back, key=lambda j: j.id)):
        assert job_counts(a) == job_counts(b) and [t.said for t in a.turns] == [t.said for t in b.turns]


@recorded
def test_collect_command_leaves_no_secret(tmp_path):
    "`agentft collect --source DUMP --out DIR`, as a user runs it."
    r = subprocess.run(
        [
            sys.executable,
            '-c',
            'import sys; from agentft.cli import main; sys.exit(main())',
            'collect',
            '--source',
            str(AUDIT / 'dump'),
            '--out',
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
    )
    assert r.returncode == 0, r.stderr
    result = read_result(tmp_path)
    jobs = read_jsonl(tmp_path / 'jobs.jsonl', Job)
    check(jobs, truths())
    assert (
        result['numbers']['jobs'] == 8
        and result['numbers']['documents'] == 593 + 264 + 264
        and result['numbers']['metrics']['task_success']['numerator'] == 5
    )
    canaries = [c for x in truths().values() for c in x['canaries']]
    assert len(canaries) == 5
    for p in tmp_path.rglob('*'):
        if p.is_file():
            assert not [c for c in canaries if c.encode() in p.read_bytes()], p
    same = {m for j in jobs for _, c, r in j.calls() if r for m in re.findall(r'<AWS_KEY_\d+>', r.content)}
    assert same == {'<AWS_KEY_1>'}  # one secret, one placeholder
    hashes = re.compile(r'\b[0-9a-f]{7,40}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+\b')
    plain = {j.id: j for j in collect_jobs(AUDIT / 'dump')[0]}
    for j in jobs:
        assert hashes.findall(json.dumps(to_dict(j.turns))) == hashes.findall(json.dumps(to_dict(plain[j.id].turns)))
    assert not list(tmp_path.glob('.coll*'))


def test_collect_arena_over_the_socket(tmp_path):
    "Simulated jobs: played, written to the embedded server, read back; never a held-out family."
    collect(out=str(tmp_path / 'a'), jobs_per_family=2, faulty_share=0.5, seed=3)
    jobs, n = read_jsonl(tmp_path / 'a' / 'jobs.jsonl', Job), read_result(tmp_path / 'a')['numbers']
    seen = ('config', 'rename', 'facts', 'compact')
    assert (
        Counter(j.family for j in jobs) == {f: 2 for f in seen}
        and n['kind'] == 'mongodb'
        and all(j.outcome.source == 'checker' for j in jobs)
    )
    assert sum(j.model.startswith('faulty') for j in jobs) == len(seen) and all(
        j.meta['seed'] < EVAL_SEED for j in jobs
    )
    played = {j.id: j for j in simulate(2, 0.5, 3, ('config', 'rename', 'facts', 'compact'))}
    for j in jobs:
        assert [t.said for t in j.turns] == [t.said for t in played[j.id].turns]
    assert five(list(played.values()))['edit_precision'].value == pytest.approx(n['metrics']['edit_precision']['value'])
    failures, seeds = (read_jsonl(tmp_path / 'a' / f'{x}.jsonl') for x in ('failures', 'seeds'))
    assert (
        failures
        and all(f['evidence'] and f['rule'] for f in failures)
        and not {f['job_id'] for f in failures} & {p for s in seeds for p in s['parents']}
    )
    collect(out=str(tmp_path / 'b'), jobs_per_family=2, faulty_share=0.5, seed=3)
    assert (tmp_path / 'a' / 'jobs.jsonl').read_bytes() == (tmp_path / 'b' / 'jobs.jsonl').read_bytes()


def test_collect_says_what_is_wrong(tmp_path):
    for kw, what in [
        (dict(source=str(tmp_path / 'none')), 'does not exist'),
        (dict(since='yesterday'), 'date or time'),
        (dict(outcomes='won'), 'outcomes are'),
        (dict(faulty_share=2.0), 'share from 0 to 1'),
        (dict(source='mongodb://u:secret@127.0.0.1:1/?serverSelectionTimeoutMS=100'), 'mongodump'),
    ]:
        with pytest.raises((ValueError, OSError), match=what) as e:
            collect(out=str(tmp_path / 'o'), **kw)
        assert 'secret@' not in str(e.value)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'agent_audit.jsonl').write_text('{"job_id": \n')
    with pytest.raises(ValueError, match='no job'):
        collect(out=str(tmp_path / 'o'), source=str(tmp_path / 'empty'))
    assert not [p for p in (tmp_path / 'o').rglob('*') if p.is_file()]


def test_stopped_collect_leaves_nothing_half_written(tmp_path, monkeypatch):
    "Nothing that phase 2 would read; the next collect goes on with the fourth job."
    import agentft.phases.collect as c

    calls = []

    def stop(job, **kw):
        calls.append(job.id)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return detect(job, **kw)

    monkeypatch.setattr(c, 'detect', stop)
    with pytest.raises(KeyboardInterrupt):
        collect(out=str(tmp_path / 'o'), jobs_per_family=2)
    assert not [p for p in (tmp_path / 'o').iterdir() if p.is_file()]
    collect(out=str(tmp_path / 'o'), jobs_per_family=2)
    assert (
        len(calls) == 9 and calls[3] == calls[4] and len(set(calls)) == 8
    )  # only the one that was cut off is read twice
    collect(out=str(tmp_path / 'p'), jobs_per_family=2)
    assert (tmp_path / 'o' / 'jobs.jsonl').read_bytes() == (tmp_path / 'p' / 'jobs.jsonl').read_bytes()
    assert read_result(tmp_path / 'o')['numbers'] | dict(new=0, notes=[]) == read_result(tmp_path / 'p')[
        'numbers'
    ] | dict(new=0, notes=[])


def test_killed_collect_goes_on(tmp_path):
    "kill -9 in the middle; what was written before is not read again."
    code = f"""import agentft.phases.collect as c, os, signal
n, detect = 0, c.detect
def slow(job, **kw):
    global n; n += 1
    if n == 6: os.kill(os.getpid(), signal.SIGKILL)
    return detect(job, **kw)
c.detect = slow
c.collect(out={str(tmp_path)!r}, jobs_per_family=2)"""
    assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == -9
    with (tmp_path / '.collecting' / 'jobs.jsonl').open('ab') as f:
        f.write(b'{"id": "half a li')
    collect(out=str(tmp_path), jobs_per_family=2)
    n = read_result(tmp_path)['numbers']
    assert n['jobs'] == len(read_jsonl(tmp_path / 'jobs.jsonl', Job)) == 8 and any(
        '5 jobs of a collect that was stopped' in x for x in n['notes']
    )
    assert not (tmp_path / '.collecting').exists()


def test_next_collect_reads_only_what_is_new(tmp_path, monkeypatch):
    "A new job, a job that went on, and one that left the server: only the first two are read; nothing that was collected is lost."
    import agentft.phases.collect as c

    read = []
    monkeypatch.setattr(c, 'detect', lambda job, **kw: read.append(job.id) or detect(job, **kw))
    jobs = [play(make_task('config', n), Expert()) for n in range(4)]
    cut = from_dict(Job, to_dict(jobs[1]))
    cut.turns = cut.turns[:3]
    cut.outcome = type(cut.outcome)()
    out = str(tmp_path / 'o')
    with embedded_server() as uri:
        import pymongo

        write_audit([jobs[0], cut, jobs[3]], uri)
        collect(out=out, source=uri)
        assert len(read) == 3
        read.clear()
        collect(out=out, source=uri)
        assert read == [] and read_result(out)['numbers']['jobs'] == 3 and read_result(out)['numbers']['new'] == 0
        write_audit([jobs[1], jobs[2]], uri)
        for name in COLLECTIONS:
            pymongo.MongoClient(uri)[DATABASE][name].delete_many({'job_id': jobs[3].id})
        collect(out=out, source=uri)
        assert sorted(read) == sorted([jobs[1].id, jobs[2].id])
        found = {j.id: j for j in read_jsonl(tmp_path / 'o' / 'jobs.jsonl', Job)}
        assert set(found) == {j.id for j in jobs} and len(found[jobs[1].id].turns) == len(jobs[1].turns)
        read.clear()
        collect(out=out, source=uri, outcomes='success')  # another question: all are asked again
        assert len(read) == 3 and read_result(out)['numbers']['jobs'] == 3
        read.clear()
        collect(out=out, source=uri, outcomes='success', fresh=True)
        assert len(read) == 3
    with_rows = read_jsonl(tmp_path / 'o' / 'failures.jsonl')
    assert {f['job_id'] for f in with_rows} <= set(found)


def test_secret_that_a_later_job_gives_away(tmp_path):
    "The first job holds it bare, the second with its name: it is taken out of the first job's line, and that job is not read again for it."
    jobs = [play(make_task('config', n), Expert()) for n in range(2)]
    secret = 'Tr0ub4dor-canary'
    jobs[0].turns[1].said.content = f'It answers to {secret} only.'
    jobs[1].turns[1].said.content = f'export DB_PASSWORD={secret}'
    with embedded_server() as uri:
        write_audit(jobs, uri)
        for _ in range(2):
            collect(out=str(tmp_path / 'o'), source=uri)
    assert not [p for p in (tmp_path / 'o').rglob('*') if p.is_file() and secret.encode() in p.read_bytes()]
    said = [j.turns[1].said.content for j in read_jsonl(tmp_path / 'o' / 'jobs.jsonl', Job)]
    assert re.findall('<.*>', said[0]) == re.findall('<.*>', said[1]) != []  # one secret, one placeholder
    assert read_result(tmp_path / 'o')['numbers']['new'] == 0


def test_placeholders_stay_the_same_after_a_kill(tmp_path, monkeypatch):
    "Two jobs with a secret each and one with both; killed before the third, which then names both as the first two do."
    monkeypatch.setenv('AGENTFT_CACHE', str(tmp_path / 'cache'))
    import agentft.phases.collect as c

    jobs = [play(make_task('config', n), Expert()) for n in range(3)]
    keys = ['AKIA' + 'CANARYCANARY000' + x for x in '12']
    for j, k in zip(jobs, (keys[0], keys[1], ' and '.join(reversed(keys)))):
        j.turns[1].said.content = f'The key is {k}.'
    n = []

    def stop(job, **kw):
        n.append(1)
        if len(n) == 3:
            raise KeyboardInterrupt
        return detect(job, **kw)

    with embedded_server() as uri:
        write_audit(jobs, uri)
        monkeypatch.setattr(c, 'detect', stop)
        with pytest.raises(KeyboardInterrupt):
            collect(out=str(tmp_path / 'o'), source=uri)
        collect(out=str(tmp_path / 'o'), source=uri)
    said = [re.findall('<.*?>', j.turns[1].said.content) for j in read_jsonl(tmp_path / 'o' / 'jobs.jsonl', Job)]
    assert len(n) == 4 and said[2] == said[1] + said[0] and said[0] != said[1]
    assert not [p for p in tmp_path.rglob('*') if p.is_file() and any(k.encode() in p.read_bytes() for k in keys)]


def test_upgrade_keeps_what_the_source_has_forgotten(tmp_path, monkeypatch):
    "Old documents expire in many a MongoDB: a job that is gone there is judged again from jobs.jsonl."
    import pymongo

    import agentft.phases.collect as c

    jobs = [play(make_task('config', n), Faulty('blind_edit') if n else Expert()) for n in range(3)]
    out = str(tmp_path / 'o')
    with embedded_server() as uri:
        write_audit(jobs, uri)
        collect(out=out, source=uri)
        before = read_jsonl(tmp_path / 'o' / 'failures.jsonl')
        for name in COLLECTIONS:
            pymongo.MongoClient(uri)[DATABASE][name].delete_many({'job_id': jobs[2].id})
        monkeypatch.setattr(c, '_version', lambda: 'another')
        monkeypatch.setattr(c, 'detect', lambda job, **kw: [f for f in detect(job, **kw) if f.mode == 'blind_edit'])
        collect(out=out, source=uri)
    after = read_jsonl(tmp_path / 'o' / 'failures.jsonl')
    assert {j.id for j in read_jsonl(tmp_path / 'o' / 'jobs.jsonl', Job)} == {j.id for j in jobs}
    assert {f['job_id'] for f in after} == {jobs[1].id, jobs[2].id} and {f['mode'] for f in after} == {'blind_edit'} < {
        f['mode'] for f in before
    }
    assert any('judged again' in x for x in read_result(out)['numbers']['notes'])


def test_running_jobs_and_reviews():
    "A trail that ends a moment ago is no failure yet; a person's word is the last one."
    from datetime import timedelta

    now = datetime.now(UTC)
    job = lambda i, ago: [
        dict(
            _id=f'{i}{n}',
            job_id=i,
            step_number=n,
            step_type='llm',
            phase='tactical',
            timestamp=now - ago,
            llm=dict(request_id=None, response_content_preview='working'),
        )
        for n in (1, 2)
    ]
    docs = {
        'agent_audit': job('a', timedelta(minutes=5)) + job('b', timedelta(hours=5)) + job('c', timedelta(hours=5)),
        'llm_requests': [],
        'chat_history': [],
    }
    status = {j.id: (j.outcome.status, j.outcome.source) for j in read_jobs(docs, reviews={'c': True})}
    assert status == {'a': ('unknown', 'running'), 'b': ('failed', 'none'), 'c': ('success', 'review')}


@recorded
def test_running_job_is_read_again_and_reviews_count(tmp_path):
    (tmp_path / 'r.csv').write_text(
        'job_id,verdict\n' + ''.join(f'{i},rejected\n' for i, x in list(truths().items())[:2])
    )
    collect(out=str(tmp_path / 'o'), source=str(AUDIT / 'dump'))
    before = read_result(tmp_path / 'o')['numbers']
    collect(out=str(tmp_path / 'o'), source=str(AUDIT / 'dump'), reviews=str(tmp_path / 'r.csv'))
    after = read_result(tmp_path / 'o')['numbers']
    assert after['outcomes'].get('failed (review)') == 2 and after['jobs'] == before['jobs'] == 8
    assert sum('kept as they are' in x for x in after['notes']) == 1


@recorded
@pytest.mark.parametrize('packed', [False, True])
def test_archive_says_what_the_dump_says(tmp_path, packed):
    "mongodump --archive: documents of several collections in turn, another database among them; cut short, the rest is read."
    import bson

    docs = {
        c: bson.decode_all(
            gzip.decompress(p.with_suffix('.bson.gz').read_bytes())
            if not (p := AUDIT / 'dump' / DATABASE / f'{c}.bson').exists()
            else p.read_bytes()
        )
        for c in COLLECTIONS
    }
    end, head = b'\xff' * 4, lambda db, c, eof: bson.encode(dict(db=db, collection=c, EOF=eof, CRC=Int64(0)))
    from bson import Int64

    raw = (
        bytes.fromhex('6de29981')
        + bson.encode(dict(concurrent_collections=4, version='0.1', server_version='8', tool_version='100'))
        + bson.encode(dict(db=DATABASE, collection='agent_audit', metadata='{}', size=0, type='collection'))
        + end
    )
    for k in range(3):
        for c in COLLECTIONS:
            raw += head(DATABASE, c, False) + b''.join(map(bson.encode, docs[c][k::3])) + end
        raw += head('other', 'agent_audit', False) + bson.encode(dict(job_id='not ours')) + end
    (tmp_path / 'a').write_bytes(gzip.compress(raw) if packed else raw)
    jobs, rejected = collect_jobs(tmp_path / 'a')
    check(jobs, truths())
    assert not rejected
    (tmp_path / 'a').write_bytes(raw[:-5000])
    jobs, rejected = collect_jobs(tmp_path / 'a')
    assert len(jobs) == 8 and sum(rejected.values()) >= 1


def test_missing_index_is_named():
    with embedded_server() as uri:
        import pymongo

        pymongo.MongoClient(uri)[DATABASE].agent_audit.insert_one(dict(job_id='a', step_number=1))
        with open_source(uri) as src:
            assert src.notes == [
                'agent_audit has no index on job_id and timestamp: every question reads the whole collection; db.agent_audit.createIndex({job_id: 1, timestamp: 1}) helps'
            ]


def test_time_span_is_settled_without_reading(monkeypatch):
    import agentft.traces.documents as d

    read, of = [], d.MongoDocuments.read
    with embedded_server() as uri:
        write_audit([play(make_task('config', n), Expert()) for n in range(2)], uri)
        monkeypatch.setattr(d.MongoDocuments, 'read', lambda self, ids: read.append(list(ids)) or of(self, ids))
        rejected = Counter()
        assert (
            not list(read_jobs(uri, rejected, since=datetime(2026, 6, 1)))
            and read == [[]]
            and rejected == {'jobs: started outside the time span': 2}
        )


def test_two_collects_into_one_folder(tmp_path):
    from agentft.evidence.ledger import Ledger

    with Ledger(tmp_path, {}):
        with pytest.raises(RuntimeError, match='another collect'):
            collect(out=str(tmp_path), jobs_per_family=1)


@pytest.mark.parametrize(
    'place',
    ['content', 'reasoning', 'argument', 'result', 'file', 'path', 'description', 'tool', 'meta', 'todo', 'detail'],
)
def test_canary_in_every_kind_of_field(place):
    s = 'ghp_' + 'FAKEcanary0123456789abcdefghijklmnop'
    job = play(make_task('config', 1), Expert())
    t = job.turns[2]
    if place == 'content':
        t.said.content = f'The key is {s}.'
    if place == 'reasoning':
        t.said.reasoning = s
    if place == 'argument':
        t.said.tool_calls[0].arguments['path'] = {'deep': [s]}
    if place == 'result':
        t.results[0].content = f'1\t{s}'
    if place == 'file':
        job.files_after['x'] = f'k={s}\n'
    if place == 'path':
        job.files_after[f'{s}.txt'] = ''
    if place == 'description':
        job.description = s
    if place == 'tool':
        job.tools[0]['function']['description'] = s
    if place == 'meta':
        job.meta['note'] = s
    if place == 'todo':
        job.todos[0].text = s
    if place == 'detail':
        job.outcome.detail = s
    clean, report = redact(job)
    assert (
        s not in json.dumps(to_dict(clean))
        and '<GITHUB_TOKEN_1>' in json.dumps(to_dict(clean))
        and report['GITHUB_TOKEN'] == 1
    )


def test_arena_jobs_hold_nothing_that_looks_secret():
    jobs = [play(make_task(f, s), Expert()) for f in trained_on() for s in range(4)]
    assert not sum((redact(j)[1] for j in jobs), Counter())


def test_collect_sessions_and_repositories(tmp_path):
    "Beside the audit trail: chat rows become jobs, git history becomes edits, all of it redacted."
    key = 'AKIA' + 'FAKEFAKEFAKE0002'
    row = dict(
        messages=[
            dict(role='user', content=f'Is {key} still in app.yaml?'),
            dict(
                role='assistant',
                content='',
                tool_calls=[
                    dict(id='c1', type='function', function=dict(name='read_file', arguments='{"path": "app.yaml"}'))
                ],
            ),
            dict(role='tool', tool_call_id='c1', content=f'key: {key}'),
            dict(role='assistant', content='Yes.'),
        ]
    )
    (tmp_path / 'chat.jsonl').write_text(json.dumps(row) + '\n')
    repo = tmp_path / 'repo'
    repo.mkdir()
    git = lambda *a: subprocess.run(
        ['git', '-c', 'user.name=a', '-c', 'user.email=a@example.invalid', *a],
        cwd=repo,
        check=True,
        capture_output=True,
    )
    git('init', '-q')
    text = '# service\n' + ''.join(f'option_{i} = {i}\n' for i in range(12)) + f'key = "{key}"\n'
    for n, t in enumerate(
        [
            text,
            text.replace('option_3 = 3', 'option_3 = 30'),
            text.replace('option_3 = 3', 'option_3 = 30').replace('option_7 = 7', 'option_seven = 7'),
        ]
    ):
        (repo / 'app.py').write_text(t)
        git('add', '-A')
        git(
            'commit',
            '-qm',
            ['Add the service options', 'Raise option_3 from 3 to 30', 'Rename option_7 to option_seven'][n],
        )
    collect(out=str(tmp_path / 'o'), source='none', sessions=str(tmp_path / 'chat.jsonl'), repos=str(repo))
    n = read_result(tmp_path / 'o')['numbers']
    assert n['jobs'] == 1 and n['edits'] == len(read_jsonl(tmp_path / 'o' / 'edits.jsonl')) > 0
    assert (
        all(key not in p.read_text() for p in (tmp_path / 'o').rglob('*') if p.is_file())
        and '<AWS_KEY_1>' in (tmp_path / 'o' / 'jobs.jsonl').read_text()
    )


def test_a_character_across_two_pieces_of_an_export(tmp_path):
    "An array over several lines is read in pieces of a megabyte; a character may stand across two of them."
    text = 'é' * 1_200_000
    for pad in ('', 'x'):
        doc = dict(job_id='a', step_number=1, step_type='llm', note=pad + text)
        (tmp_path / 'agent_audit.json').write_text(
            '[\n' + json.dumps(doc, ensure_ascii=False) + '\n]', encoding='utf-8'
        )
        with (tmp_path / 'agent_audit.json').open('rb') as f:
            [(raw, problem)] = json_records(f)
        assert not problem and json.loads(raw)['note'] == pad + text


def test_damage_between_two_documents_is_counted():
    "An array that breaks off exactly between two items has lost what followed."

    class Damaged(io.BytesIO):
        def peek(self, n):
            return self.getvalue()[:n]

        def read1(self, n=-1):
            data = super().read1(n)
            if not data:
                raise EOFError('damaged')
            return data

    records = list(json_records(Damaged(b'[{"n": 1},\n{"n": 2},\n')))
    assert records == [(b'{"n": 1}\n', ''), (b'{"n": 2}\n', ''), (b'', 'truncated end')]


def test_a_source_of_another_kind_is_refused_by_name(tmp_path):
    (tmp_path / 'chat.jsonl').write_text('{"messages": []}\n')
    with pytest.raises(FileNotFoundError, match='chat.jsonl is no file of a mongodump.*`sessions`'):
        collect(out=str(tmp_path / 'o'), source=str(tmp_path / 'chat.jsonl'))
    with pytest.raises(FileNotFoundError, match='nope is no folder: `repos`'):
        collect(out=str(tmp_path / 'o'), source='none', repos=str(tmp_path / 'nope'))
