"Privacy across rooms: properties that hold for any text, memory over runs, files as they are handed on, recorded jobs."

import json
import os
import random
import re
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agentft.core.records import Job, Message, ToolCall, Turn, to_dict, write_jsonl
from agentft.evidence.canaries import KINDS, make_canary
from agentft.evidence.privacy import Redactor, leak_scan, privacy_report, redact, redact_file, refuse_leaks
from agentft.evidence.secrets import find_secrets, scan_bytes

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


def found(text):
    "What is found in `text`."
    b = text.encode()
    return [b[s:e].decode() for s, e, _ in scan_bytes(b)]


SECRETS = [  # text, what has to go
    ('machine api.example.org login jane password swordfish', 'swordfish'),
    ('machine api.example.org\n  login jane\n  password swordfish\n', 'swordfish'),
    ('     1\tmachine api.example.org\n     2\t  login jane\n     3\t  password swordfish', 'swordfish'),
    ('default login jane password swordfish', 'swordfish'),
    ('db.example.org:5432:app:jane:sword-fish', 'sword-fish'),
    ('*:*:*:jane:swordfish', 'swordfish'),
    ('mysql -u root -pswordfish app', 'swordfish'),
    ("mysqldump -uroot -p'sword fish' app", 'sword fish'),
    ('mariadb -pswordfish', 'swordfish'),
    ('mysqldump --password=swordfish app', 'swordfish'),
    ('deploy --password hunter2', 'hunter2'),
    ('curl -u jane:swordfish https://example.org', 'swordfish'),
    ('curl -sSu jane:sword-fish https://example.org', 'sword-fish'),
    ('curl https://example.org \\\n  --user "jane:sword fish"', 'sword fish'),
    ("sshpass -p 'swordfish' ssh db", 'swordfish'),
    ('redis-cli -h db -a swordfish ping', 'swordfish'),
    ('docker login -u jane -p swordfish', 'swordfish'),
    ('mongosh -u app -p swordfish', 'swordfish'),
    ('ldapsearch -x -w swordfish', 'swordfish'),
    ('openssl rsa -passin pass:swordfish', 'swordfish'),
    ('echo swordfish | sudo -S true', 'swordfish'),
    ('echo "jane:swordfish" | sudo chpasswd', 'swordfish'),
    ('<add key="ClearTextPassword" value="swordfish12" />', 'swordfish12'),
    ('_gitlab_session=0123456789abcdef0123456789abcdef', '0123456789abcdef0123456789abcdef'),
    ('DB_PASS=hunter2!', 'hunter2!'),
    ('password: Hunter2.', 'Hunter2'),
    ('password=Test1234!', 'Test1234!'),
    ('DB_PWD=/hunter2!', '/hunter2!'),
    ('sha256~' + 'Fake' * 10 + '123', 'sha256~' + 'Fake' * 10 + '123'),
    ('htpasswd -b /etc/nginx/.htpasswd jane swordfish', 'swordfish'),
    ('htpasswd -B -b -C 10 .htpasswd jane swordfish', 'swordfish'),
    ('htpasswd -nb jane swordfish | tee x', 'swordfish'),
    ("zip -r -P 'sword fish' out.zip d", 'sword fish'),
    ('cd /x && unzip -o -P swordfish out.zip', 'swordfish'),
    ('zip out.zip -P swordfish a.txt', 'swordfish'),
    ('7z a -pswordfish out.7z d', 'swordfish'),
    ('7za a -t7z -mhe=on -p"sword fish" out.7z d', 'sword fish'),
    ('smbclient //server/share -U jane%swordfish -c ls', 'swordfish'),
    (r'smbclient -U "CORP\jane%sword fish" //server/share', 'sword fish'),
    (r'net use \\server\share swordfish /user:jane', 'swordfish'),
    (r'net use Z: \\\\server\\nas swordfish /persistent:no /user:jane', 'swordfish'),
    (r'net use Z: \\server\share /user:jane swordfish', 'swordfish'),
    ('_auth=YXBwOm5vdC1hLXJlYWwtb25l', 'YXBwOm5vdC1hLXJlYWwtb25l'),
    ('//registry.example.org/:_auth=Zm9vYmFy0Fake1Fake2Fake3', 'Zm9vYmFy0Fake1Fake2Fake3'),
    ('variable "db_password" {\n  type = string\n  default = "swordfish"\n}', 'swordfish'),
    (r'variable \"db_password\" {\n  default = \"swordfish\"\n}', 'swordfish'),
    ('the password is hunter2...', 'hunter2'),
    ('the admin password is hunter2, please keep it', 'hunter2'),
    ('the password for the staging database is hunter2x', 'hunter2x'),
    ('the password is "swordfish"', 'swordfish'),
    ('Sure, here is the password: swordfish.', 'swordfish'),
    ('log in as jane, password: swordfish', 'swordfish'),
    ('das Passwort lautet swordfish', 'swordfish'),
    ('das Kennwort ist Sommer24.', 'Sommer24'),
    ('Passwort: Sommer2024', 'Sommer2024'),
]
PERSONS = [
    ('ruf +49 30 1234567 an', '+49 30 1234567'),
    ('+49 (0)30 / 123 45 67', '+49 (0)30 / 123 45 67'),
    ('(+49) 171 12345678', '+49) 171 12345678'),
    ('0049 30 1234567', '0049 30 1234567'),
    ('+49\u00a030\u00a012345678', '+49\u00a030\u00a012345678'),
    ('+493012345678,12', '+493012345678'),
    ('ruf mich an: 0171 / 555 66 77', '0171 / 555 66 77'),
    ('0151-23456789,', '0151-23456789'),
    ('030 / 123 45 67', '030 / 123 45 67'),
    ('appelez le 06 12 34 56 78.', '06 12 34 56 78'),
    ('06.12.34.56.78', '06.12.34.56.78'),
    ('$ whoami\njanedoe\n$ pwd', 'janedoe'),
    ('x=+493012345678', '+493012345678'),
    ('HOST=52.14.88.7', '52.14.88.7'),
    ('SERVER_IP="52.14.88.7"', '52.14.88.7'),
    ('if ip == "52.14.88.7"', '52.14.88.7'),
    ('52.14.88.7/16', '52.14.88.7'),
    ('cd /home/jane/proj', 'jane'),
    ('PWD=/Users/jane.doe/proj', 'jane.doe'),
    (r'cd C:\Users\nancy\x', 'nancy'),
    (r'"C:\\Users\\Jane Doe\\x"', 'Jane Doe'),
    ('c:/users/jane', 'jane'),
    ('/mnt/c/Users/jane/x', 'jane'),
    ('-I/home/jane/include', 'jane'),
    ('file:///home/jane/x', 'jane'),
    ('%2FUsers%2Fjane%2Fx', 'jane'),
    ('\x1b[34m/home/jane\x1b[0m', 'jane'),
    ('projects/-Users-jane-proj', 'jane'),
    ('C--Users-jane-proj', 'jane'),
    ('sessions/--Users-jane-proj--', 'jane'),
]
ORDINARY = '''PWD=/home/me/proj
OLDPWD=/srv/Proj1
PWD=/Work7/Proj1
OLDPWD=D:\\Work7
"PWD": "/home/me/proj"
pwd: /opt/app2/x
tests/test_auth.py::test_access_token_is_refreshed PASSED
PASS: test_login_password2
PASS: TestLogin/with_2fa
--token-file conf/token
--password-file=/etc/pw1
tokenFile = "secret2.bin"
secret=False
def login(user: str, password: str = "") -> Token:
max_tokens=900
api_key=os.environ["API_KEY1"]
token = get_token()
TOKEN=${{ secrets.TOKEN1 }}
password = <password>
password=xxxxxxxx1
password: "changeme"
password="password"
password='test-password'
api_key="test-key-123"
api_key="your-api-key-123"
access_token=ACCESS_TOKEN_1
secret: Uint8Array) {
the token is refreshed2 after
first_pass = "alpha beta 7"
AKIAIOSFODNN7EXAMPLE
curl -u $USER:$PASS https://example.org
curl -u "user:password" https://example.org
mysql -u root -p app
docker run mysql -p3306:3306
the machine may login and has a password of its own
app.py:5432:error:E501:line-too-long
2001:5432:4860:0:1:2
2026-11-01 08:00:00 +0200
1.0.0+20240101120000
0049 2034 4432 1180
x=+44123456
version=52.14.88.7
requests==52.14.88.7
HOST=127.0.0.1
HOST=10.0.0.5
52.14.0.0/16
user@example.com
/home/runner/work
/Users/Shared/x
/home/user/x
src/home/jane/x
https://example.org/home/jane
/users/jane
http://home/jane
/home/$USER/x
/home/about
/home/index.html
-home-runner-work
the-home-page-of
htpasswd -cB /etc/nginx/.htpasswd jane # asks
htpasswd -b file user "$PASSWORD"
zip -r out.zip d | grep -P swordfish
zip -r out.zip src; nmap -Pn host
ls x.zip -P foo
gzip -Pfoo x
zip -P <password> out.zip a
the zip -P option is insecure
unzip -p out.zip file.txt
7z a -p out.7z d
7z x out.7z | patch -p1file
smbclient -U jane //server/share
smbclient -U jane%$PASS //server/share
net use \\\\server\\share /delete
net use Z: \\\\server\\share * /user:jane
the net use of \\\\server\\share and others
_auth=${NPM_TOKEN}
self._auth = HTTPBasicAuthentication
variable "db_password" { type = string } variable "region" { default = "eu-central-1" }
variable "password_policy" { default = "strict-mode" }
the password is required.
the password is stored in the vault
password is incorrect!
the password is base64-encoded
the password is 12characters
the password is "required"
the password for the user is required
the password was reset by user42
username: string, password: string
Enter the password: Verifying
here is the password: prompting
the password is swordfish
the password is "incorrect"
das Passwort lautet derzeit anders
test_the_password_is_hunter2 PASSED
das Passwort lautet nicht so
Kennwort ist abgelaufen
Passwort: ********
0171 / 5000 done
test 0171 / 5556677 passed
id 0151/1234567
0171 / 5556677 ms
0160 2034 4432 1180
01 02 03 04 05
00000010: 06 12 34 56 78
06 12 34 56 78 9a bc
version 06.12.34.56.78
06.12.2026 08.15
$ whoami
whoami && hostname'''.splitlines()


@pytest.mark.parametrize('text, secret', SECRETS + PERSONS)
def test_what_has_to_go_and_nothing_else(text, secret):
    assert found(text) == [secret]


@pytest.mark.parametrize('text', ORDINARY)
def test_what_has_to_stay(text):
    assert found(text) == []


NATIONAL = [
    ('mail jörg.müller@firma.de now', 'jörg.müller@firma.de'),
    ('“jane@firma.de”', 'jane@firma.de'),
    ('聯繫jane@firma.de', 'jane@firma.de'),
    ('cd /Users/Jane Doe/proj', 'Jane Doe'),
    ('cd /Users/jane src/x', 'jane'),
    (r'{"home":"\/home\/jane\/x"}', 'jane'),
    (r'dir \\server\home\jane', 'jane'),
    ('call 0151 23456789', '0151 23456789'),
    ('office (030) 1234567 or', '(030) 1234567'),
]


@pytest.mark.parametrize('text, secret', NATIONAL)
def test_people_beyond_ascii_and_north_america(text, secret):
    assert found(text) == [secret]


@pytest.mark.parametrize(
    'text',
    [
        r'foo\/home\/jane',
        r'C:\\proj\\home\\jane',
        'mode (0644) 1234567',
        'recall 0151 23456789',
        'f(030) 1234567',
        '@import "~bootstrap/scss/x"',
    ],
)
def test_what_only_looks_like_them_stays(text):
    assert found(text) == []


def test_a_person_has_one_placeholder_in_every_path():
    r = Redactor()
    text = (
        r'cd /home/jane.doe/x; open /Users/jane.doe; dir C:\Users\Jane.Doe\x; ls ~/.claude/projects/-Users-jane-doe-x'
        '\n/home/bob/y'
    )
    assert r(text) == (
        r'cd /home/<USER_1>/x; open /Users/<USER_1>; dir C:\Users\<USER_1>\x; ls ~/.claude/projects/-Users-<USER_1>-x'
        '\n/home/<USER_2>/y'
    )
    assert r('jane.doe and bob') == 'jane.doe and bob'  # alone they may be words


def test_an_account_that_a_path_has_shown():
    text = '/home/jane/x\n-rw-r--r-- 1 jane jane 26 Dec 3 a.py\njane@laptop:~$ id\nuid=501(jane)\n--- a/home/jane/x\n'
    out = Redactor()(text)
    assert 'jane' not in out.replace('<USER_1>', '') and out.count('<USER_1>') == 6
    listing, rest = '-rw-r--r-- 1 jane jane 26 Dec 3 a.py\n', text.replace('/home/jane/x\n', '', 1)
    assert found(rest.replace(listing, '')) == [] and 'jane' not in Redactor()(rest)  # a listing names its owners


def test_files_and_calls_stay_joined():
    path = '/home/jane/proj/a.py'
    call = ToolCall('edit_file', {'path': path}, 'c')
    turn = Turn('t', Message('assistant', tool_calls=[call]))
    job = Job('j', 'x', turns=[turn], files_before={path: 'x = 1\n'}, files_after={path: 'x = 2\n'})
    clean, _ = redact(job)
    new = clean.turns[0].said.tool_calls[0].arguments['path']
    assert new == '/home/<USER_1>/proj/a.py' and [*clean.files_before] == [*clean.files_after] == [new]


def test_a_password_that_is_also_the_name_of_a_home_folder():
    r = Redactor()
    r('cd /home/jane_doe77/x')
    assert r('DB_PASSWORD="jane_doe77"') == 'DB_PASSWORD="<SECRET_1>"' and r('it is jane_doe77') == 'it is <SECRET_1>'


def test_home_names_are_the_same_in_a_later_run(tmp_path):
    memory = tmp_path / 'm.json'
    r = Redactor(memory=memory)
    r('/home/jane_doe77/x, /home/bob/x')
    r.save()
    r = Redactor(memory=memory)
    assert r('/home/bob/x, /home/jane_doe77/x; jane_doe77 = 1') == '/home/<USER_2>/x, /home/<USER_1>/x; jane_doe77 = 1'
    assert 'jane' not in memory.read_text() and 'bob' not in memory.read_text()


def test_a_home_folder_in_a_written_file_is_seen_and_replaced(tmp_path):
    p = tmp_path / 'ledger.jsonl'
    p.write_text('{"origin": "/home/jane/.claude"}\n')
    assert [leak.kind for leak in leak_scan(p)] == ['USER']
    redact_file(p, Redactor())
    assert p.read_text() == '{"origin": "/home/<USER_1>/.claude"}\n' and not leak_scan(p)


def test_an_account_is_no_address_that_was_cut():
    r = Redactor()
    r.learn('write to jane_doe_77@firm.example')
    assert r('jane_doe_77') == 'jane_doe_77' and r('to jane_doe_77@fi...') == 'to <EMAIL_1>...'


@pytest.mark.parametrize('kind', list(KINDS))
def test_every_kind_of_canary_is_caught(kind):
    rng = random.Random(kind)
    for before, after in [('', ''), ('It is ', '.'), ('"', '"'), ('a\t', '\tb')]:
        canary = make_canary(kind, rng)
        out = Redactor(deny=['Ann Example'])(before + canary.text + after)
        secret = canary.secret.splitlines()[1] if '\n' in canary.secret else canary.secret
        assert secret[: max(len(secret) * 2 // 3, min(8, len(secret)))] not in out, canary.text


def test_no_canary_is_found_where_none_was_planted():
    "The texts around them alone hold nothing."
    rng = random.Random(1)
    for kind in KINDS:
        canary = make_canary(kind, rng)
        if canary.before or canary.after:
            assert found(canary.before + '<SECRET_1>' + canary.after) == [], kind
