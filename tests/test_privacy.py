"Privacy across rooms: properties that hold for any text, memory over runs, files as they are handed on, recorded jobs."

import json
import os
import re
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agentft.core.records import Job, Message, ToolCall, Turn, to_dict, write_jsonl
from agentft.evidence.privacy import Redactor, leak_scan, privacy_report, redact, redact_file, refuse_leaks
from agentft.evidence.secrets import find_secrets

AUDIT = Path(os.environ.get('AGENTFT_AUDIT') or Path(__file__).parents[2] / 'shared' / 'audit')
recorded = pytest.mark.skipif(
    not (AUDIT / 'jobs.json').exists(), reason=f'no recorded audit documents at {AUDIT} (set AGENTFT_AUDIT)'
)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

WORD = string.ascii_letters + string.digits


def made(prefix, n, alphabet=WORD):
    return st.text(alphabet, min_size=n, max_size=n).map(lambda s: prefix + s)


secrets = st.one_of(
    made('AKIA', 16, string.ascii_uppercase + string.digits),
    made('ghp_', 36),
    made('glpat-', 20),
    made('hf_', 34),
    made('sk_live_', 24),
    made('github_pat_', 40),
    st.builds('{}@{}.example'.format, made('a', 6, string.ascii_lowercase), made('b', 5, string.ascii_lowercase)),
    made('postgresql://app:x9', 12).map(lambda s: s + '@db.example.invalid/app'),
    st.sampled_from(
        ['+49 30 1234 5678', '4111 1111 1111 1111', 'DE89 3704 0044 0532 0130 00', '52.14.88.7', '536-22-1234']
    ),
)
pieces = st.sampled_from(
    [
        'password = ',
        'token: ',
        '"',
        "'",
        '\n',
        '\\n',
        '\t',
        ' ',
        '<EMAIL_1>',
        '<SECRET_2>',
        '@',
        '://',
        '?a=',
        '... [truncated]',
        'é',
        '雪',
        '\0',
        '\\',
        '"api_key": "',
        'Bearer ',
        'x',
        '7',
        'A1b2C3d4E5f6',
        '1234 ',
        '+',
        'phone ',
        '.',
        ':',
    ]
)
text = st.lists(st.one_of(pieces, st.text(max_size=12), secrets), max_size=14).map(''.join)
edge = st.sampled_from(['', ' ', '\n', '"', "'", '(', ', ', 'see ', '\t', '\\n', '{"a": "', 'naïve 雪 '])
prose = st.lists(
    st.sampled_from(
        (
            'the token count is max_tokens 4096 of version 1.2.3 line 17: def f(key=None): return key.name '
            '# 2026-11-01 08:00 9f86d081884c7d65 a591729e0f3b2d16 07734\n\t'
        ).split(' ')
    ),
    max_size=40,
).map(' '.join)


@quick
@given(text)
def test_redaction_is_idempotent(t):
    r = Redactor()
    once = r(t)
    assert r(once) == once
    assert Redactor()(once) == once


@quick
@given(edge, secrets, edge.map(lambda s: s[::-1] if s.strip('\\n') else s), st.booleans())
def test_a_planted_secret_never_survives(before, s, after, in_key):
    job = Job(
        'j',
        'x',
        turns=[
            Turn(
                'tactical',
                Message(
                    'assistant',
                    tool_calls=[ToolCall('t', {s: 1} if in_key else {'a': [before + s + (after or ' ')]}, 'c')],
                ),
            )
        ],
        description='later: ' + s,
    )
    r = Redactor()
    clean, n = redact(job, r)
    assert s not in json.dumps(to_dict(clean), ensure_ascii=False) and sum(n.values()) >= 2 and s in r.names
    assert all(s not in row['example'] for row in privacy_report(r))


@quick
@given(
    st.recursive(
        st.one_of(text, st.integers(), st.none(), st.booleans(), st.floats(allow_nan=False)),
        lambda x: st.one_of(
            st.lists(x, max_size=4),
            st.dictionaries(st.one_of(text, st.sampled_from(['password', 'api_key', 'n'])), x, max_size=4),
        ),
        max_leaves=12,
    )
)
def test_redacted_json_stays_json_and_passes_the_leak_scan(tmp_path_factory, x):
    r = Redactor()
    clean, _ = redact(x, r)
    assert json.loads(json.dumps(clean)) == clean
    p = tmp_path_factory.mktemp('leak') / 'x.jsonl'
    p.write_text(json.dumps(clean, ensure_ascii=False).encode('utf-8', 'replace').decode() + '\n')
    redact_file(p, r)
    json.loads(p.read_text())
    for leak in leak_scan(p, r):
        assert leak.kind != 'KNOWN', leak


@quick
@given(prose)
def test_text_without_secrets_is_unchanged(t):
    assume(not re.search(r'token is [0-9a-f]{16}', t))  # these words name a secret
    job = Job('j', 'x', description=t, files_after={'a': t})
    clean, n = redact(job)
    assert clean is job and not n and Redactor()(t) == t


@quick
@given(st.lists(secrets, min_size=1, max_size=8, unique=True), st.randoms())
def test_names_stay_the_same_over_runs(tmp_path_factory, some, rnd):
    memory = tmp_path_factory.mktemp('memory') / 'm.json'
    assume(not any(a in b for a in some for b in some if a != b))
    first = Redactor(memory=memory)
    want = {s: first(s) for s in some}
    first.save()
    rnd.shuffle(some)
    new = 'AKIA' + 'NEWFAKENEWFAKE00'
    second = Redactor(memory=memory)
    second(new)
    got = {s: second(s) for s in some}
    second.save()
    assume(new not in some)
    assert got == want and len({*got.values(), second.names[new]}) == len({*want.values()}) + 1
    assert not [s for s in some if s in memory.read_text()] and memory.stat().st_mode & 0o777 == 0o600


def test_memory_knows_a_bare_password_again(tmp_path):
    m = tmp_path / 'm.json'
    r = Redactor(memory=m)
    assert r('ADMIN_PASSWORD=Tr0ub4dor-fake') == 'ADMIN_PASSWORD=<SECRET_1>'
    r.save()
    r = Redactor(memory=m)
    assert r('login admin Tr0ub4dor-fake') == 'login admin <SECRET_1>'
    assert Redactor()('login admin Tr0ub4dor-fake') == 'login admin Tr0ub4dor-fake'  # without it nobody could know


@pytest.mark.parametrize('broken', ['', '[]', '{"key": 1}', '{"key": "zz", "names": {}}'])
def test_a_broken_memory_is_refused_by_name(tmp_path, broken):
    m = tmp_path / 'm.json'
    m.write_text(broken)
    m.chmod(0o600)
    with pytest.raises(ValueError, match='no memory of a Redactor'):
        Redactor(memory=m)


def test_thousands_of_known_secrets_are_all_found():
    r, names = Redactor(), [f'user{i:04}.fake@example.invalid' for i in range(3000)]
    r.learn('\n'.join(names))
    assert len(r.names) == 3000
    out = r('x\n' + '\n'.join(f'{n[:14]}... [truncated]' if i % 2 else f'<{n}>' for i, n in enumerate(names)))
    assert 'user' not in out and out.count('<EMAIL_') == 3000


def test_a_known_number_inside_a_longer_one_stays():
    r = Redactor()
    r.learn('from 52.14.88.71, phone +49 30 1234 5678')
    assert r('152.14.88.712 a+49 30 1234 56789') == '152.14.88.712 a+49 30 1234 56789'


def test_leak_scan_sees_through_escapes_and_says_where(tmp_path):
    key = 'AKIA' + 'FAKEFAKEFAKE0003'
    lines = [
        '{"a": "fine"}',
        json.dumps({'a': f'line\n{key}'}),
        '{"a": "\\u0041KIAFAKEFAKEFAKE0003"}',
        json.dumps({'a': json.dumps({'b': f'x\n{key}'})}),
        f'no json {key}',
        '{"password": "hunter2-fake"}',
    ]
    (tmp_path / 'x.jsonl').write_text('\n'.join(lines) + '\n')
    assert [(k.line, k.kind) for k in sorted(leak_scan(tmp_path), key=lambda k: k.line)] == [
        (2, 'AWS_KEY'),
        (3, 'AWS_KEY'),
        (4, 'AWS_KEY'),
        (5, 'AWS_KEY'),
        (6, 'SECRET'),
    ]
    assert not leak_scan(tmp_path, allow=['^AKIAFAKE', 'hunter2'])
    with pytest.raises(ValueError, match='line') as e:
        refuse_leaks(tmp_path)
    assert key not in str(e.value)


def test_kinds_to_leave_alone():
    r = Redactor(skip=('IP',))
    assert r('52.14.88.7 ann@example.invalid') == '52.14.88.7 <EMAIL_1>'
    with_ip = json.dumps('from 52.14.88.7')
    assert [k for *_, k in find_secrets(with_ip)] == ['IP'] and not find_secrets(with_ip, skip=('IP',))


def test_what_redact_leaves_the_leak_scan_lets_pass(tmp_path):
    "Also for what only the serialised bytes show: keys beside values, whole numbers."
    x = dict(
        password='hunt3r2',
        card=4111111111111111,
        nested=[{'api_key': 'abc123def456'}],
        note='password "hunt3r2"',
        when=1_760_000_000_000,
        AWS_SECRET_ACCESS_KEY='a' * 20 + 'B/c+' + '9' * 16,
    )
    r = Redactor()
    clean, n = redact(x, r)
    write_jsonl(tmp_path / 'x.jsonl', [clean])
    refuse_leaks(tmp_path, r)
    assert (
        clean['password'].startswith('<SECRET_') and clean['when'] == 1_760_000_000_000 and clean['card'] == '<CARD_1>'
    )


@recorded
def test_recorded_jobs_keep_their_meaning():
    from collections import Counter

    from agentft.evidence.failures import detect
    from agentft.traces.documents import open_source
    from agentft.traces.wanted_jobs import read_jobs

    r, canaries = Redactor(), [c for x in json.loads((AUDIT / 'jobs.json').read_text()) for c in x['canaries']]
    with open_source(str(AUDIT / 'dump'), 'graphrag_logs') as src:
        jobs = list(read_jobs(src, Counter()))
    hashes = re.compile(r'\b[0-9a-f]{7,40}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+\b')
    for job in jobs:
        clean, _ = redact(job, r)
        a, b = json.dumps(to_dict(job)), json.dumps(to_dict(clean))
        assert hashes.findall(a) == hashes.findall(b) and [(f.mode, f.turn) for f in detect(job)] == [
            (f.mode, f.turn) for f in detect(clean)
        ]
        assert len(a) - len(b) < 2000 and not [c for c in canaries if c in b]
    assert {row['kind'] for row in privacy_report(r)} <= {
        'AWS_KEY',
        'GITHUB_TOKEN',
        'CONNECTION_STRING',
        'EMAIL',
        'SECRET',
        'CUT_TOKEN',
    }
