"""Git history becomes edits: everything left out has a reason, every edit works, nothing that was taken back is taught,
and no code from a repository is run."""

import json
import os
import re
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentft.arena.catalogue import make_task
from agentft.arena.faults import Faulty
from agentft.arena.players import Expert, play
from agentft.arena.workspace import Workspace
from agentft.checks.execution import check_execution
from agentft.checks.rules import check_rules, example_task
from agentft.checks.splits import groups
from agentft.core.records import Job, Message, ToolCall, Turn, from_dict, read_jsonl, to_dict, write_jsonl
from agentft.core.replacements import edit_cost, minimal_edit, readable_edit
from agentft.data.histories import compact_example, to_example, to_task, wishes
from agentft.evidence.changes import KINDS, REASONS, clean_message, file_edits, is_told, message_reason, told
from agentft.evidence.edits import Edit, Tally, code_base, stream_edits, stream_job_edits
from agentft.evidence.memory import compact_pairs, compact_summary, compare_versions, git_compact_pairs
from agentft.evidence.repositories import _git_env, write_repo
from agentft.evidence.selection import (
    balance,
    collect_edits,
    distinct,
    join_code_bases,
    mark_reverted,
    split_edits,
)

BASE = ''.join(f'name_{i} = {i * 7}\n' for i in range(12))


def quick(n=100):
    return settings(
        deadline=None, max_examples=n, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    )


line = st.sampled_from(
    ['a = 1', 'b = 2', 'b = 20', '', '    return a', 'def f(a, b):', 'x', 'xx', '}', 'total total', 'é = "ü"', '# \t']
)
text = st.lists(line, min_size=1, max_size=14).map(lambda ls: '\n'.join(ls) + '\n')


def once(before, edits):
    for old, new in edits:
        starts = [i for i in range(len(before)) if before.startswith(old, i)]
        assert len(starts) == 1, (before, old)
        before = before[: starts[0]] + new + before[starts[0] + len(old) :]
    return before


def hist(tmp_path, *steps, name='r'):
    "A repository: each step is (message, files) or a dict."
    return tmp_path / name, write_repo(
        tmp_path / name, [s if isinstance(s, dict) else dict(message=s[0], files=s[1]) for s in steps]
    )


def mined(repo, **kw):
    t = Tally()
    es = list(stream_edits(repo, t, **kw))
    assert t.adds_up(), (t, t.left_out)
    return es, t


# ---- the edits themselves


@quick(150)
@given(text, text)
def test_edits_lead_from_before_to_after_and_each_old_string_occurs_once(before, after):
    for edits in (minimal_edit(before, after), file_edits(before, after, large=0)):
        assert once(before, edits) == after and all(old for old, _ in edits)


odd_line = st.one_of(
    line,
    st.sampled_from(['a = 1', 'a = 1', '💡 ü', 'e\u0301', 'é', '\t', '漢字 = 漢字', '\u2028', '\x0c']),
    st.text(max_size=6),
)
odd_text = st.one_of(
    st.just(''),
    st.builds(
        lambda ls, sep, end: sep.join(ls) + end,
        st.lists(odd_line, max_size=10),
        st.sampled_from(['\n', '\r\n', '\r']),
        st.sampled_from(['', '\n', '\r\n']),
    ),
)


@quick(300)
@given(odd_text, odd_text)
def test_any_text_at_all(before, after):
    "Unicode, CRLF, no newline at the end, an empty file, the same line again and again."
    for edits in (minimal_edit(before, after), file_edits(before, after), file_edits(before, after, large=0)):
        if before:
            assert once(before, edits) == after and all(old for old, _ in edits)
        else:
            assert edits == ([('', after)] if after else [])


@quick(100)
@given(text, text)
def test_an_edit_that_stays_on_its_line_costs_no_more(before, after):
    plain, mine = minimal_edit(before, after), file_edits(before, after)

    def ends(edits):
        return sum((o + n).count('\n') for o, n in edits)

    assert edit_cost(mine) <= edit_cost(plain) and ends(mine) <= ends(plain)


@quick(60)
@given(st.lists(line, min_size=30, max_size=80), st.data())
def test_a_large_file_gets_the_same_cost_as_a_search_of_the_whole(lines, data):
    lines = [f'{text} {i % 5}' for i, text in enumerate(lines)]
    new = list(lines)
    for i in data.draw(st.lists(st.integers(0, len(lines) - 1), min_size=1, max_size=3)):
        new[i] = data.draw(line)
    before, after = ('\n'.join(x) + '\n' for x in (lines, new))
    edits = file_edits(before, after, large=0)
    assert once(before, edits) == after
    assert edit_cost(edits) <= edit_cost(minimal_edit(before, after)) * 1.5 + 4


@quick(20)
@given(st.lists(text, min_size=2, max_size=6))
def test_any_history_adds_up_and_every_edit_of_it_can_be_executed(tmp_path_factory, states):
    repo = tmp_path_factory.mktemp('h') / 'r'
    write_repo(
        repo, [dict(message=f'Change number {i} of the file', files={'a.py': BASE + s}) for i, s in enumerate(states)]
    )
    es, t = mined(repo)
    assert t.commits == len(states)
    for e in es:
        assert once(e.before, e.edits) == e.after
        ws = Workspace({e.path_before: e.before})
        try:
            assert ws.run(ToolCall('read_file', dict(path=e.path_before)))[1]
            for o, n in e.edits:
                assert ws.run(ToolCall('edit_file', dict(path=e.path_before, old_string=o, new_string=n)))[1]
            assert ws.files() == {e.path_after: e.after}
        finally:
            ws.close()


def test_an_excerpt_of_a_large_file_keeps_its_old_strings_unique_in_the_whole(tmp_path):
    big = ''.join(f'key_{i}: {i % 9}\n' for i in range(3000))
    new = big.replace('key_1500: 6\n', 'key_1500: 60\n')
    repo, _ = hist(tmp_path, ('First', {'a.yaml': big}), ('Set key_1500 to 60', {'a.yaml': new}))
    (e,), _ = mined(repo)
    first, n = e.window
    assert len(e.before) < 2000 and e.before == ''.join(big.splitlines(keepends=True)[first - 1 : first - 1 + n])
    assert once(e.before, e.edits) == e.after and once(big, e.edits) == new


def test_records_survive_the_disk(tmp_path):
    repo, _ = hist(tmp_path, ('First', {'a.py': BASE}), ('Set name_3 to 5', {'a.py': BASE.replace('21', '5')}))
    es, _ = mined(repo)
    write_jsonl(tmp_path / 'edits.jsonl', es)
    assert read_jsonl(tmp_path / 'edits.jsonl', Edit) == es


def test_the_same_history_gives_the_same_edits(tmp_path):
    steps = [('First', {'a.py': BASE}), ('Set name_3 to 5', {'a.py': BASE.replace('21', '5')})]
    a, b = (mined(hist(tmp_path, *steps, name=n)[0], name='x')[0] for n in 'ab')
    assert [replace(e, keys=[]) for e in a] == [replace(e, keys=[]) for e in b]  # the folder alone is another one


# ---- what is left out


def test_every_reason_is_counted(tmp_path):
    b = BASE
    gen = '// Code generated by x. DO NOT EDIT.\n' + BASE
    repo, ids = hist(
        tmp_path,
        dict(
            message='Start the project here',
            files={
                'a.py': b,
                'l.py': 'x',
                'w.py': b.replace('\n', '\r\n'),
                'u.txt': 'Grüße\n'.encode('latin-1'),
                'g.go': gen,
                'n.dat2': b'a\0b',
                'big.txt': b * 300,
                'uv.lock': b,
                'vendor/x.py': b,
                'logo.png': b'\x89',
                'f.py': b,
                'm.sh': b,
                's': 'a.py',
                'sub': 'a' * 40,
                'gone.py': ''.join(f'g{i}\n' for i in range(30)),
            },
            mode={'s': '120000', 'sub': '160000'},
        ),
        (
            'Change a lot of odd files',
            {
                'uv.lock': b + 'z',
                'vendor/x.py': b + 'z\n',
                'logo.png': b'\x88',
                'gone.py': None,
                'new.py': b,
                's': 'l.py',
                'sub': 'b' * 40,
                'm.sh': b,
            },
        ),
        dict(message='Make the script executable', files={'m.sh': b}, mode={'m.sh': '100755'}),
        (
            'Edit windows and latin files',
            {
                'w.py': b.replace('\n', '\r\n').replace('21', '5'),
                'u.txt': 'Grüße!\n'.encode('latin-1'),
                'g.go': gen.replace('21', '5'),
                'n.dat2': b'a\0c',
                'big.txt': b * 300 + 'end\n',
            },
        ),
        ('Reformat the file with blanks', {'f.py': b.replace(' = ', '=')}),
        dict(message='Give the file another name', rename={'f.py': 'f2.py'}, files={}),
        ('', {'a.py': b + 'u = 1\n'}),
        ('wip', {'a.py': b + 'v = 1\n'}),
        dict(message='Bump requests to 2.4', files={'a.py': b + 'w = 1\n'}, author='dependabot[bot]'),
        ('Touch many files at once', {f'many{i}.py': b for i in range(9)}),
        ('Touch many files once more', {f'many{i}.py': b + 'q = 1\n' for i in range(9)}),
        ('Rewrite it all from nothing', {'a.py': ''.join(f'other {i}\n' for i in range(40))}),
        dict(message='Merge branch x', files={}, parents=[11, 5]),
        dict(message='An empty commit for the build', files={}),
    )
    es, t = mined(repo, max_file_bytes=40_000)
    want = dict(
        merge=1,
        no_message=1,
        weak_message=1,
        bot=1,
        too_many_files=1,
        empty=1,
        lock=1,
        vendored=1,
        binary=2,
        deleted=1,
        symlink=2,
        submodule=2,
        mode_only=1,
        line_ends=1,
        not_utf8=1,
        generated=1,
        huge=1,
        format_only=1,
        rename_only=1,
        rewrite=1,
    )
    got = {k: n for k, n in t.left_out.items() if k != 'added'}
    assert got == want and not es
    assert set(REASONS) >= set(t.left_out)


def test_a_subject_with_a_prefix_is_a_request_and_a_trailer_is_none():
    for m in (
        'refactor: one loop for both',
        'Seeds: longer files',
        'Bugfix: count empty rows',
        'reflow: wrap at 90',
        'Issues page: sort by date',
        'Fixes: count the rows of empty files',
        '修复登录页面的超时错误',
        'ログイン画面の待ち時間を直す',
        '로그인 시간 제한 수정',
    ):
        assert message_reason(clean_message(m)) == '', m
    assert (
        clean_message(
            'Raise the limit\n\nFixes: #12\nReviewed-by: Zoe <z@x.invalid>\nSee https://x.invalid/12\nCloses ABC-7.'
        )
        == 'Raise the limit'
    )
    assert message_reason(clean_message('Signed-off-by: Zoe <z@x.invalid>')) == 'no_message'


def test_a_person_who_is_called_like_a_program_is_none(tmp_path):
    repo, _ = hist(
        tmp_path,
        ('First', {'a.py': BASE}),
        dict(
            message='Set name_3 to 5',
            author='Kate Jenkins',
            email='kate@x.invalid',
            files={'a.py': BASE.replace('21', '5')},
        ),
        dict(
            message='Set name_4 to 5',
            author='CI',
            email='jenkins@x.invalid',
            files={'a.py': BASE.replace('21', '5').replace('28', '5')},
        ),
    )
    es, t = mined(repo)
    assert [e.message for e in es] == ['Set name_3 to 5'] and t.left_out['bot'] == 1


def test_a_secret_leaves_with_its_edit(tmp_path):
    key = 'AKIA' + 'Q7TESTCANARY0042'
    repo, _ = hist(
        tmp_path,
        ('First', {'a.py': BASE}),
        ('Add the key to the module', {'a.py': BASE + f'key = "{key}"\n'}),
        ('Remove the key from the module', {'a.py': BASE + 'key = None\n'}),
    )
    es, t = mined(repo, scan=lambda s: [key] if key in s else [])
    assert not es and t.left_out['secret'] == 2


def test_a_change_seen_before_counts_once_even_across_repositories(tmp_path):
    steps = [('First', {'a.py': BASE}), ('Set name_3 to 5', {'a.py': BASE.replace('21', '5')})]
    r1, _ = hist(tmp_path, *steps, name='r1')
    r2, _ = hist(tmp_path, ('Another first', {'z.txt': 'z\n'}), *steps, name='r2')
    es, report = collect_edits([r1, r2])
    assert len(es) == 1 and report['left_out']['duplicate'] == 1


def test_people_stay_unnamed(tmp_path):
    repo, _ = hist(
        tmp_path,
        ('First', {'a.py': BASE}),
        dict(
            message='Set name_3 to 5\n\nSigned-off-by: Zoe Quill <zoe@corp.example>\n'
            'Co-authored-by: Max <max@corp.example>',
            author='Zoe Quill',
            email='zoe@corp.example',
            files={'a.py': BASE.replace('21', '5')},
        ),
    )
    (e,), _ = mined(repo)
    s = str(to_dict(e)) + str(to_dict(to_example(e)))
    assert 'Zoe' not in s and 'corp.example' not in s and len(e.author) == 8


# ---- taken back

A, B = BASE, BASE.replace('name_3 = 21', 'name_3 = 500')


def test_named_by_id_in_a_later_message(tmp_path):
    repo, ids = hist(tmp_path, ('First', {'a.py': A}), ('Set name_3 to 500', {'a.py': B}))
    write_repo(
        tmp_path / 'q',
        [
            dict(message='First', files={'a.py': A}),
            dict(message='Set name_3 to 500', files={'a.py': B}),
            dict(message='Keep going with other things', files={'b.py': A}),
            dict(message=f'Go back to small names\n\nThis reverts commit {ids[1][:10]}.', files={'a.py': A}),
        ],
    )
    es, t = mined(tmp_path / 'q')
    assert not es and t.left_out['reverted_commit'] == t.left_out['revert'] == 1


def test_taken_back_without_a_word(tmp_path):
    other = B.replace('name_9 = 63', 'name_9 = 64')
    for i, steps in enumerate(
        [
            [('Use the old value', {'a.py': A})],  # the very state
            [
                ('Set name_9 to 64', {'a.py': other}),
                ('Lower the number', {'a.py': other.replace('500', '21')}),
            ],  # the hunk, among other changes
            [
                ('Set name_9 to 64', {'a.py': other}),
                ('wip', {'a.py': other.replace('500', '21')}),
            ],  # by a commit that is itself left out
            [('Grow it further to 600', {'a.py': A.replace('= 21', '= 600')}), ('Small again for now', {'a.py': A})],
        ]
    ):  # in two steps
        repo, _ = hist(tmp_path, ('First', {'a.py': A}), ('Set name_3 to 500', {'a.py': B}), *steps, name=f'r{i}')
        es, t = mined(repo)
        assert 'Set name_3 to 500' not in [e.message for e in es], i
        assert t.left_out['reverted'] >= 1


def test_taken_back_after_the_file_got_another_name(tmp_path):
    repo, _ = hist(
        tmp_path,
        ('First', {'a.py': A}),
        ('Set name_3 to 500', {'a.py': B}),
        dict(message='Move it to the package', rename={'a.py': 'pkg/a.py'}, files={}),
        ('Small again for now', {'pkg/a.py': A}),
    )
    es, t = mined(repo)
    assert [e.path_after for e in es] == ['pkg/a.py'] and t.left_out['reverted'] == 1


def test_a_revert_that_was_reverted_takes_nothing_back(tmp_path):
    repo, _ = hist(
        tmp_path,
        ('First', {'a.py': A}),
        ('Set name_3 to 500', {'a.py': B}),
        ('Revert "Set name_3 to 500"', {'a.py': A}),
        ('Revert "Revert "Set name_3 to 500""', {'a.py': B}),
    )
    es, _ = mined(repo)
    assert [e.message for e in es] == ['Set name_3 to 500']


def test_moving_a_block_does_not_take_back_the_commit_that_wrote_it(tmp_path):
    fn = 'def helper(x):\n    return x + 1\n'
    repo, _ = hist(
        tmp_path,
        ('First', {'a.py': A}),
        ('Add the function helper', {'a.py': fn + A}),
        ('Move helper to the end', {'a.py': A + fn}),
    )
    es, _ = mined(repo)
    assert [e.kind for e in es] == ['move', 'insert']


def test_an_edit_that_was_taken_back_is_refused_as_an_example(tmp_path):
    repo, _ = hist(tmp_path, ('First', {'a.py': A}), ('Set name_3 to 500', {'a.py': B}))
    (e,), _ = mined(repo)
    e.reverted = True
    with pytest.raises(ValueError, match='taken back'):
        to_example(e)


# ---- repositories as they come


def test_renames_are_followed(tmp_path):
    repo, _ = hist(
        tmp_path,
        ('First', {'a.py': A}),
        dict(message='Move to a package and grow name_3', rename={'a.py': 'pkg/b.py'}, files={'pkg/b.py': B}),
    )
    (e,), _ = mined(repo)
    assert (e.path_before, e.path_after) == ('a.py', 'pkg/b.py')
    x = to_example(e)
    assert [c.name for m in x.messages for c in m.tool_calls][2:-2] == ['read_file', 'edit_file', 'move_file']
    assert not check_rules(x) and not check_execution(x, example_task(x))


def test_odd_names_and_messages(tmp_path):
    p = 'döc/ spaced  "file".py'.replace('"', '')
    repo, _ = hist(
        tmp_path, ('First', {p: A}), ('Sétze name_3 auf 500\n\n:100644 100644 looks like a diff line\n\x01odd', {p: B})
    )
    (e,), _ = mined(repo)
    assert e.path_after == p and e.message.startswith('Sétze')


def test_bare_shallow_and_empty_repositories(tmp_path):
    repo, _ = hist(
        tmp_path,
        ('First', {'a.py': A}),
        ('Set name_3 to 500', {'a.py': B}),
        ('Set name_9 to 64', {'a.py': B.replace('63', '64')}),
    )

    def git(*args):
        env = _git_env() | {'GIT_ALLOW_PROTOCOL': 'file'}
        subprocess.run(['git', *args], check=True, capture_output=True, env=env, cwd=tmp_path)

    git('clone', '-q', '--bare', str(repo), 'bare.git')
    git('clone', '-q', '--depth', '2', f'file://{repo}', 'shallow')
    git('init', '-q', 'empty')
    assert len(mined(tmp_path / 'bare.git')[0]) == 2 and mined(tmp_path / 'bare.git')[0][0].repo == 'bare'
    assert len(mined(tmp_path / 'shallow')[0]) == 1
    with pytest.raises(ValueError, match='is it a git repository with commits'):
        mined(tmp_path / 'empty')
    git('-C', str(repo), 'checkout', '-q', 'main')
    (repo / 'sub').mkdir()
    with pytest.raises(ValueError, match="repository's own folder"):
        mined(repo / 'sub')
    with pytest.raises(FileNotFoundError, match='give the folder'):
        mined(tmp_path / 'nowhere')
    with pytest.raises(ValueError):
        mined(repo, rev='--output=/tmp/x')


def test_a_clone_without_its_blobs_is_counted_and_not_fetched(tmp_path):
    repo, _ = hist(
        tmp_path,
        ('First', {'a.py': A}),
        ('Set name_3 to 500', {'a.py': B}),
        ('Set name_9 to 64', {'a.py': B.replace('63', '64')}),
    )
    env = _git_env() | {'GIT_ALLOW_PROTOCOL': 'file'}
    subprocess.run(['git', '-C', str(repo), 'config', 'uploadpack.allowFilter', 'true'], check=True, env=env)
    subprocess.run(
        ['git', 'clone', '-q', '--bare', '--filter=blob:none', f'file://{repo}', str(tmp_path / 'part')],
        check=True,
        env=env,
        capture_output=True,
    )
    es, t = mined(tmp_path / 'part')
    assert not es and t.left_out['missing'] == 2


def test_nothing_that_a_repository_names_is_run(tmp_path):
    repo, _ = hist(
        tmp_path,
        ('First', {'a.py': A, '.gitattributes': '*.py diff=evil filter=evil\n'}),
        ('Set name_3 to 500', {'a.py': B}),
    )
    mark = tmp_path / 'ran'
    evil = tmp_path / 'evil.sh'
    evil.write_text(f'#!/bin/sh\necho "$0 $@" >> {mark}\ncat\n')
    evil.chmod(0o755)
    keys = [
        'core.fsmonitor',
        'core.pager',
        'pager.log',
        'core.editor',
        'core.sshCommand',
        'gpg.program',
        'diff.external',
        'diff.evil.textconv',
        'diff.evil.command',
        'filter.evil.smudge',
        'filter.evil.clean',
        'core.askPass',
        'credential.helper',
        'core.alternateRefsCommand',
        'uploadpack.packObjectsHook',
        'alias.log',
        'alias.cat-file',
        'core.gitProxy',
    ]
    for k in keys:
        subprocess.run(
            ['git', '-C', str(repo), 'config', k, f'!{evil}' if k.startswith('alias') else str(evil)],
            check=True,
            env=_git_env(),
        )
    for k, v in {
        'log.showSignature': 'true',
        'core.hooksPath': str(tmp_path / 'hooks'),
        'log.diffMerges': 'on',
        'format.pretty': 'evil %H',
        'color.ui': 'always',
        'diff.noprefix': 'true',
        'log.date': 'human',
    }.items():
        subprocess.run(['git', '-C', str(repo), 'config', k, v], check=True, env=_git_env())
    (tmp_path / 'hooks').mkdir()
    for h in 'post-checkout post-index-change reference-transaction pre-auto-gc'.split():
        (tmp_path / 'hooks' / h).symlink_to(evil)
    old = dict(os.environ)
    os.environ.update(GIT_DIR='/nonexistent', GIT_EXTERNAL_DIFF=str(evil), GIT_PAGER=str(evil), PAGER=str(evil))
    try:
        es, _ = mined(repo)
    finally:
        os.environ.clear()
        os.environ.update(old)
    assert len(es) == 1 and not mark.exists(), mark.read_text() if mark.exists() else ''


# ---- as training data


def test_examples_pass_the_gate_of_phase_two(tmp_path):
    steps = [
        ('First', {'a.py': A, 'b.yaml': 'host: x\nport: 80\nport_b: 80\n'}),
        ('Set name_3 to 500', {'a.py': B}),
        ('Serve on another port', {'b.yaml': 'host: x\nport: 8080\nport_b: 80\n'}),
        ('Add a helper that doubles', {'a.py': B + '\ndef double(x):\n    return 2*x\n'}),
    ]
    es, _ = mined(hist(tmp_path, *steps)[0])
    assert len(es) == 3
    for e in es:
        x = to_example(e)
        assert not check_rules(x) and not check_execution(x, example_task(x)) and x.behaviour == 'edit' and x.parents
    told = next(e for e in es if e.message == 'Serve on another port')
    assert told.grounded < 1 and '8080' in to_task(told).instruction  # nothing has to be guessed


edit = st.builds(
    lambda i, r, kind, language, author, tokens: Edit(
        f'{i:04x}',
        f'r{r}',
        f'id{r}',
        'c',
        'p',
        'a',
        'a',
        'x',
        'y',
        [['x', 'y']],
        'm',
        'e',
        kind=kind,
        language=language,
        author=author,
        tokens=tokens,
    ),
    st.integers(0, 10**6),
    st.integers(0, 6),
    st.sampled_from(list(KINDS)),
    st.sampled_from(['python', 'go', 'yaml']),
    st.sampled_from('abc'),
    st.integers(1, 200),
)


@quick()
@given(st.lists(edit, max_size=60, unique_by=lambda e: e.id), st.integers(0, 5))
def test_splits_hold_out_whole_repositories_and_kinds(edits, seed):
    split_edits(edits, heldout_kinds=('move', 'rename'), seed=seed)
    sides = {
        r: {e.split for e in edits if e.repo_id == r and e.kind not in ('move', 'rename')}
        for r in {e.repo_id for e in edits}
    }
    assert all(len(s) <= 1 for s in sides.values())
    assert all(e.split == 'test' for e in edits if e.kind in ('move', 'rename'))
    if len(sides) > 1:
        n = Counter(e.repo_id for e in edits)
        split_edits(edits, heldout_kinds=(), seed=seed)
        assert {e.split for e in edits} == {'train', 'test'}, n


@quick()
@given(st.lists(edit, max_size=60, unique_by=lambda e: e.id), st.integers(0, 5))
def test_balance_caps_shares_and_counts_what_it_cuts(edits, seed):
    kept, out = balance(edits, dict(language=0.5), seed, at_least=0)
    assert len(kept) + sum(out.values()) == len(edits)
    n = Counter(e.language for e in kept)
    assert len(n) < 2 or max(n.values()) <= len(kept) / 2
    assert balance(edits, dict(language=0.5), seed, at_least=0)[0] == kept


# ---- edits of a job


def session(*calls, asked='Set name 9, name 11 and name 4', cwd='/w/shop'):
    from agentft.core.records import Job, Todo

    turns = [
        Turn(
            '',
            Message('assistant', tool_calls=[ToolCall('edit_file', dict(path=p, old_string=o, new_string=n), f't{k}')]),
            results=[
                Message('tool', 'Edited.' if ok else 'Error: not found', tool_call_id=f't{k}', name='edit_file', ok=ok)
            ],
        )
        for k, (p, o, n, ok) in enumerate(calls)
    ]
    return Job(
        's1',
        'claude_code',
        asked,
        asked,
        turns=turns,
        todos=[Todo('1', 'Raise name_3 for the new pager', staged_turn=None, completed_turn=0)],
        files_before={'a.py': A, 'uv.lock': A},
        meta=dict(cwd=cwd),
    )


def test_an_edit_of_a_session_that_the_user_did_not_ask_for_is_left_out():
    "The user names a value, and the agent changes another one: no script makes a request of it."
    owner = ('a.py', 'name_6 = 42', 'name_6 = 666', True)
    limit = ('a.py', 'name_9 = 63', 'name_9 = 70', True)
    t = Tally()
    assert list(stream_job_edits(session(owner, asked='Please set limit_wombat in a.py to 70'), t)) == []
    assert t.left_out == dict(not_asked_for=1) and t.adds_up()
    (told,) = stream_job_edits(session(limit, asked='Set name_9 in a.py to 70'))
    (vague,) = stream_job_edits(session(owner, asked='Tune the pager'))
    assert told.message and vague.request_by == 'completed' and to_example(vague).meta['asked'] == 'Tune the pager'
    assert 'asked' not in to_example(replace(vague, source='git')).meta


def test_edits_that_an_agent_made_pass_the_same_checks():
    job = session(
        ('a.py', '= 21', '= 500', True),
        ('a.py', 'nowhere', 'x', False),
        ('a.py', '= 63', '= 64', True),
        ('a.py', '= 64', '= 63', True),
        ('uv.lock', '= 21', '= 5', True),
        ('a.py', '= 77', '= 8080', True),
    )
    t = Tally()
    es = list(stream_job_edits(job, t))
    # four calls for one wish are one edit; what was tried and undone on the way leaves no trace in it
    assert [(e.kind, e.changes, e.turns) for e in es] == [('multi_place', 4, [0, 2, 3, 5])]
    assert [n for _, n in es[0].edits] == ['name_3 = 500', 'name_11 = 8080'] and es[0].request_by == 'completed'
    assert t.left_out == dict(lock=1) and t.adds_up() and t.files == 5
    assert len({e.repo_id for e in es}) == 1 and {e.repo for e in es} == {'shop'} and {e.source for e in es} == {'job'}
    for e in es:
        assert once(e.before, e.edits) == e.after
        x = to_example(e)
        assert not check_rules(x) and not check_execution(x, example_task(x)) and x.meta['origin'] == 'session'
    (mute,) = stream_job_edits(session(('a.py', '= 21', '= 500', True), asked='go'))
    assert (mute.request_by, mute.message) == ('completed', '') and '500' in mute.details
    from agentft.core.records import Label

    wrong = session(('a.py', '= 21', '= 500', True))
    wrong.turns[0].labels = [Label('blind_edit', '', '')]
    assert not list(stream_job_edits(wrong, t := Tally())) and t.left_out == dict(mistake=1)
    other = list(stream_job_edits(session(('a.py', '= 28', '= 29', True), cwd='/w/other')))
    assert other[0].repo_id != es[0].repo_id


def test_an_edit_is_named_after_where_it_came_from(tmp_path):
    repo, _ = hist(tmp_path, ('First', {'a.py': A}), ('Set name_3 to 500', {'a.py': B}))
    (committed,), _ = mined(repo)
    (by_agent,) = stream_job_edits(session(('a.py', '= 63', '= 64', True)))
    for e, name in ((committed, 'git'), (by_agent, 'session')):
        x, task = to_example(e), to_task(e)
        seed = x.meta['seed']
        assert (task.family, task.id) == (name, f'{name}-{e.id}')
        assert (x.family, x.meta['origin'], seed['family'], seed['author'], seed['id']) == (*[name] * 4, task.id)
        assert example_task(x).id == task.id and not check_execution(x, example_task(x))


# ---- memory


def test_memory_of_a_workspace_repository(tmp_path):
    full = (
        '# W\n## Rules\n- Never touch billing/total.py\n- ticket TAX-118 is open\n'
        '## Log\n- read the readme\n- looked around for a while\n'
    )
    repo, ids = hist(
        tmp_path,
        ('phase_0_start', {'workspace.md': full, 'README.md': 'x\n'}),
        (
            'phase_1_end',
            {'workspace.md': '# W\n- Never touch billing/total.py\n- ticket TAX-118 is open\n', 'README.md': 'y\n'},
        ),
        ('phase_2_end', {'workspace.md': '# W\n- Never touch billing/total.py\n'}),
    )
    last, first = git_compact_pairs(repo)
    assert (first.good, first.lost, first.job) == (True, [], ids[1]) and (last.good, last.lost) == (
        False,
        ['- ticket TAX-118 is open'],
    )
    s = compact_summary([first, last])
    assert s['good'] == 1 and s['load_bearing']['lost'] == 1 and s['tokens_shrunk'][1] < s['tokens_shrunk'][0]


def test_an_experts_rewrites_are_good_and_a_skeleton_is_not():
    for s in range(20):
        (p,) = compact_pairs([play(make_task('compact', s), Expert())])
        assert p.good and not p.lost, p
        x = compact_example(p)
        assert not check_rules(x) and not check_execution(x, example_task(x))
        (q,) = compact_pairs([play(make_task('compact', s), Faulty('skeleton_output'))])
        assert not q.good
        with pytest.raises(ValueError, match='no example'):
            compact_example(q)


bearing = st.sampled_from(
    [
        '- Never touch billing/total.py',
        '- [pinned] answer in English',
        '- Decided on DuckDB because the export is 4 GB',
        '- ticket TAX-118 is open',
        '- limit is 30 ms',
        '- see [[Pricing]]',
    ]
)
loose = st.sampled_from(
    ['- [x] step one', '- read the readme', '- Done: looked around', 'Status: busy', '- looked at it']
)


@quick()
@given(
    st.lists(bearing, min_size=1, unique=True),
    st.lists(loose, min_size=1, unique=True),
    st.randoms(use_true_random=False),
)
def test_dropping_what_is_over_is_good_and_dropping_what_carries_is_not(need, over, rnd):
    lines = need + over
    rnd.shuffle(lines)
    text = '# W\n' + '\n'.join(lines) + '\n'
    assert compare_versions(text, '# W\n' + '\n'.join(need) + '\n').good
    p = compare_versions(text, '# W\n' + '\n'.join(need[1:]) + '\n')
    assert not p.good and p.lost == [need[0]]


def test_memory_versions_of_the_real_audit_trail():
    root = Path(os.environ.get('AGENTFT_AUDIT', Path(__file__).resolve().parents[2] / 'shared' / 'audit'))
    if not (root / 'dump').exists():
        pytest.skip('needs the recorded audit documents (set AGENTFT_AUDIT)')
    from agentft.traces.wanted_jobs import read_jobs

    jobs = read_jobs(root / 'dump')
    jobs = jobs[0] if isinstance(jobs, tuple) else list(jobs)
    pairs = compact_pairs(jobs)
    assert Counter(p.change for p in pairs) == {
        'filled': 8,
        'shrank': 6,
    }  # eight templates filled in, six later rewrites
    for p in pairs:
        if p.change == 'shrank':  # each kept what was pinned and replaced the one decision by "none new"
            assert len(p.kept) == 3 and p.lost == ['- Work in small phases of five todos.'] and not p.good


@pytest.mark.parametrize('outside', ['../a.py', '.git/config'])
def test_an_edit_outside_the_workspace_stops_nothing(outside):
    "A recorded edit of a file that the agent's tools may not touch is counted, and the others go on."
    job = play(make_task('rename', 7), Expert())
    inside = [c.arguments['path'] for t in job.turns for c in t.said.tool_calls if c.name == 'edit_file']
    text = json.dumps(to_dict(job)).replace(f'"{inside[0]}"', f'"{outside}"')
    tally = Tally()
    edits = list(stream_job_edits(from_dict(Job, json.loads(text)), tally))
    assert {e.path_after for e in edits} == {inside[-1]} and tally.left_out['not_executable'] == 1


# ---- the request


NO_REQUESTS = [
    'fix tests', 'vault backup: 2025-05-01', 'clean up docs', 'wip', 'update', 'Merge branch main', 'Bump version to 2.4',
    'Found it! The pager drops the last row', 'Now let me raise name_3 to 500', 'Now do the same for name_4', 'Fix typo',
    'I\'ll set name_3 to 500', 'Set name_3 to 500 as the', 'Should name_3 be 500?', 'Update README', 'fixes from review',
]  # fmt: skip


@pytest.mark.parametrize('text', NO_REQUESTS)
def test_what_is_no_request_is_never_asked_alone(text, tmp_path):
    assert message_reason(clean_message(text)) == 'weak_message'
    es, t = mined(hist(tmp_path, ('First', {'a.py': A}), (text, {'a.py': B}))[0])
    es += stream_job_edits(session(('a.py', '= 21', '= 500', True), asked=text))
    for e in es:
        ask = to_task(e).instruction
        assert (e.request_by, e.message) == ('completed', '') and text not in ask and 'name_3 = 500' in ask


def test_a_request_that_was_cut_in_the_middle_of_a_word_is_none():
    whole = (
        'Set name_3 to 500, because the pager asks for that many rows at once and waits for all of them before it goes'
    )
    cut = (whole + ' on ' + 'and on ' * 100)[:255]
    assert cut[-1].isalnum() and message_reason(clean_message(cut)) == 'weak_message'
    assert message_reason(clean_message(whole)) == ''


@pytest.mark.parametrize(
    'ask, old, new, determined',
    [
        ('Set name_3 to 500', 'name_3 = 21', 'name_3 = 500', True),
        ('Raise name_3', 'name_3 = 21', 'name_3 = 500', False),  # to what?
        ('Use 500', 'name_3 = 21', 'name_3 = 500', False),  # where?
        ('Remove name_3', 'name_3 = 21\n', '', True),
        ('Remove what nobody reads', 'name_3 = 21\n', '', False),  # a deletion is not told by itself
        ('Rename name_3 to depth_3', 'name_3', 'depth_3', True),
        ('Raise all names', 'name_3 = 21', 'name_3 = 22', False),
    ],
)
def test_a_request_determines_an_edit_when_it_names_what_changes(ask, old, new, determined):
    assert is_told(told(ask, A, A.replace(old, new, 1))[0]) == determined


def test_a_name_that_fits_two_places_determines_neither():
    twice = 'web:\n  timeout: 30\nqueue:\n  timeout: 31\n'
    score, why = told('Set the timeout to 60', twice, twice.replace('30', '60'))
    assert not is_told(score) and why == 'other places fit as well'


def test_the_request_says_all_that_has_to_be_written(tmp_path):
    after = B.replace('name_9 = 63\n', '') + 'last = "never guessed"\n'
    (e,), _ = mined(hist(tmp_path, ('First', {'a.py': A}), ('Tune the pager', {'a.py': after}))[0])
    ask = to_task(e).instruction
    assert e.request_by == 'completed' and ask.startswith('Tune the pager')
    assert all(piece in ask for piece in ('name_3 = 500', 'name_9 = 63', 'last = "never guessed"'))


def test_a_message_that_led_to_more_than_the_job_does_is_not_its_request(tmp_path):
    (e,), t = mined(hist(tmp_path, ('First', {'a.py': A}), ('Set name_3 to 500', {'a.py': B, 'uv.lock': 'x\n'}))[0])
    assert t.left_out['added'] >= 1 and (e.request_by, e.message) == ('completed', '')


# ---- one wish, one job


def test_files_of_one_commit_are_one_job(tmp_path):
    files = {f'{c}.py': A for c in 'abc'}
    es, t = mined(hist(tmp_path, ('First', files), ('Set name_3 to 500', {p: B for p in files}))[0])
    assert (len(es), t.left_out['duplicate']) == (1, 2)  # the same change counts once
    changed = {f'{c}.py': A.replace('= 21', f'= 50{k}') for k, c in enumerate('abc')}
    es, t = mined(hist(tmp_path, ('First', files), ('Tune the pager', changed), name='s')[0])
    assert len(es) == 3 and len(wishes(es)) == 1 and {e.parts for e in es} == {3}
    x = to_example(es)
    assert not check_rules(x) and not check_execution(x, example_task(x))
    made = [c.arguments['path'] for m in x.messages for c in m.tool_calls if c.name == 'edit_file']
    assert sorted(made) == ['a.py', 'b.py', 'c.py']
    assert x.parents == [f'{es[0].repo_id}/{es[0].commit}', es[0].repo_id]  # the commit, and its code base
    with pytest.raises(ValueError, match='all edits of one wish, 3 here'):
        to_example(es[:2])


def test_a_wish_that_is_too_large_is_split_by_file_and_completed(tmp_path):
    base = ''.join(f'name_{i} = {i * 7}\n' for i in range(60))
    old = {f'{c}.py': base for c in 'abc'}
    long = {p: base + ''.join(f'{p[0]}_{i} = "{i} of many lines that are added"\n' for i in range(9)) for p in old}
    es, t = mined(hist(tmp_path, ('First', old), ('Add the many lines', long))[0])
    assert len(wishes(es)) == 3 and {(e.parts, e.request_by, e.message) for e in es} == {(1, 'completed', '')}


def test_a_dozen_edits_for_one_wish_are_one_example():
    calls = [('a.py', f'name_{i} = {7 * i}\n', f'name_{i} = {7 * i + 1}\n', True) for i in (1, 3, 4, 6, 8, 9)]
    calls += [('a.py', f'name_{i} = {7 * i + 1}\n', f'name_{i} = {7 * i + 2}\n', True) for i in (1, 3, 4, 6, 8, 9)]
    job = session(*calls)
    job.files_before['a.py'] = ''.join(f'name_{i} = {i * 7}\n' for i in range(60))
    es = list(stream_job_edits(job, t := Tally()))
    assert len(wishes(es)) == 1 and sum(e.changes for e in es) == t.taken == t.files == 12
    x = to_example(es)
    assert not check_execution(x, example_task(x)) and es[0].job in x.parents


def test_another_message_of_the_user_is_another_wish_and_going_on_is_none():
    job = session(*[('a.py', f'name_{i} = {7 * i}\n', f'name_{i} = {i}00\n', True) for i in (1, 3, 5, 7)])
    for k, said in enumerate(
        ['Set name_1 to 100', 'continue', 'Set name_5 to 500', '<system-reminder>x</system-reminder>']
    ):
        job.turns[k].seen = [Message('user', said)]
    es = list(stream_job_edits(job))
    assert [e.turns for e in es] == [[2, 3], [0, 1]] and len(wishes(es)) == 2


def test_each_successful_call_is_taken_or_counted():
    def call(name, ok=True, **arguments):
        said = Message('assistant', tool_calls=[ToolCall(name, arguments, 'c')])
        answer = Message('tool', 'Done.' if ok else 'Error: no', tool_call_id='c', name=name, ok=ok)
        return Turn('', said, results=[answer])

    turns = [
        call('write_file', path='new.py', content=A),  # nobody knows what stood there
        call('edit_file', path='seen.py', old_string='name_3 = 21', new_string='name_3 = 500'),
        call('edit_file', path='unseen.py', old_string='x', new_string='y'),
        call('edit_file', ok=False, path='seen.py', old_string='nowhere', new_string='y'),
        call('edit_file', path='seen.py', old_string='name_5 = 35', new_string='name_5=35'),
        call('edit_file', path='back.py', old_string='name_3 = 21', new_string='name_3 = 2'),
        call('edit_file', path='back.py', old_string='name_3 = 2\n', new_string='name_3 = 21\n'),
        call('write_file', path='made.png', content='x'),
        call('read_file', path='seen.py'),
    ]
    job = Job('s', 'claude_code', turns=turns, files_before={'seen.py': A, 'back.py': A})
    es = list(stream_job_edits(job, t := Tally()))
    successful = sum(x.results[0].ok and x.results[0].name in ('write_file', 'edit_file') for x in turns)
    assert t.files == successful == 7 and t.adds_up() and t.taken == sum(e.changes for e in es) == 2
    assert t.left_out == dict(unknown_text=3, reverted=2)


# ---- as a person writes it


def cuts_a_word(text, edits):
    for old, new in edits:
        i = text.find(old)
        for k in (i, i + len(old)):
            if 0 < k < len(text) and re.match(r'\w\w', text[k - 1 : k + 1]):
                return True
        text = text.replace(old, new, 1) if old else new
    return False


@quick(200)
@given(text, text)
def test_a_readable_edit_leads_there_and_cuts_no_word(before, after):
    edits = readable_edit(before, after)
    assert once(before, edits) == after and not cuts_a_word(before, edits)


@quick(100)
@given(odd_text, odd_text)
def test_a_readable_edit_of_any_text_at_all(before, after):
    edits = readable_edit(before, after)
    if before:
        assert once(before, edits) == after and not cuts_a_word(before, edits)
    else:
        assert edits == ([('', after)] if after else [])


def test_no_fragment_of_a_name_is_taught():
    config = 'server:\n  apis: [a, b]\n  timeout: 30\n  DestinationPath: /tmp/out\n'
    for after in (
        config.replace('apis', ''),
        config.replace('DestinationPath', 'C'),
        config.replace('DestinationPath', 'DestinationPaths'),
        config.replace('30', '60'),
        config.replace('/tmp/out', '/tmp/in'),
    ):
        for old, new in readable_edit(config, after):
            words = re.findall(r'\w+', old)
            assert len(words) > 1 and new and old == old.strip(), (old, new)
    prose = 'Here is what that you may read in the evening\nand more\n'
    assert readable_edit(prose, prose.replace('that ', '')) == [
        ('is what that', 'is what')
    ]  # two words are hard to find
    assert cuts_a_word(config, [('Path', 'C')])  # the check can fail
    assert minimal_edit(config, config.replace('30', '60')) == [('30', '60')]  # the bar of the metric stays


# ---- which code base


def where(path, name='s', files=None):
    job = session(('a.py', '= 21', '= 500', True), cwd=str(path))
    job.id, job.files_before = name, files or job.files_before
    return job


def of_job(job):
    return list(stream_job_edits(job, where=code_base(job)))


def git_run(*args):
    subprocess.run(
        ['git', *map(str, args)], check=True, env=_git_env() | {'GIT_ALLOW_PROTOCOL': 'file'}, capture_output=True
    )


def test_one_code_base_is_one_group_however_it_comes(tmp_path):
    long = A + '# ' + 'a comment of this project, ' * 20 + '\n'
    repo, _ = hist(
        tmp_path, ('First', {'a.py': long}), ('Set name_3 to 500', {'a.py': long.replace('21', '500')}), name='shop'
    )
    other, _ = hist(
        tmp_path, ('Other', {'z.py': A}), ('Set name_9 to 64', {'z.py': A.replace('63', '64')}), name='other'
    )
    git_run('clone', '-q', f'file://{repo}', tmp_path / 'clone')
    git_run('-C', repo, 'worktree', 'add', '-q', tmp_path / 'tree')
    (tmp_path / 'clone' / 'sub').mkdir()
    jobs = [
        where(repo, 'in the repository'),
        where(tmp_path / 'clone' / 'sub', 'in a folder of a clone'),
        where(tmp_path / 'tree', 'in a worktree'),
        where(f'{repo}/.claude/worktrees/fix', 'in a worktree that is gone'),
        where('/home/ada/code/store', 'elsewhere, on the same file', {'a.py': long}),
    ]
    alone = where('/home/ada/code/unrelated', 'elsewhere')
    es = [e for r in (repo, tmp_path / 'clone') for e in mined(r)[0]] + [e for job in jobs for e in of_job(job)]
    apart = mined(other)[0] + of_job(alone)
    assert len({e.repo_id for e in es}) > 1  # not yet joined
    join_code_bases([*es, *apart], [repo, other])
    assert len({e.repo_id for e in es}) == 1 and len({e.repo_id for e in [*es, *apart]}) == 3
    for seed in range(20):
        split_edits([*es, *apart], seed=seed)
        assert len({e.split for e in es}) == 1


def test_the_identity_of_a_session_holds_no_name_and_stays_in_every_collect():
    a, b = (code_base(where('/home/ada/code/shop', name)) for name in ('one', 'two'))
    assert (a.id, a.keys) == (b.id, b.keys) and 'ada' not in str(a.keys) and 'shop' not in str(a.keys)
    assert code_base(where('/home/ada/code/shop2')).id != a.id
    e, inner = of_job(where('/home/ada/code/shop'))[0], of_job(where('/home/ada/code/shop/web'))[0]
    assert e.repo_id != inner.repo_id and join_code_bases([e, inner]) == 1
    home, shop = of_job(where('/home/ada'))[0], of_job(where('/home/ada/code/shop'))[0]
    assert join_code_bases([home, shop]) == 0  # a home folder is no project


def test_redaction_does_not_move_a_session_to_another_code_base(tmp_path):
    job = where('/home/ada/code/shop')
    redacted = where('/home/<NAME_7>/code/shop')
    assert {e.repo_id for e in stream_job_edits(redacted, where=code_base(job))} == {e.repo_id for e in of_job(job)}


def test_ids_are_unique(tmp_path):
    "The same turn of two versions of a session, a file that a commit renamed and changed, and the same job twice."
    grown = where('/w/shop')
    grown.turns[0].said.tool_calls[0].arguments['new_string'] = '= 501'
    es = of_job(where('/w/shop')) + of_job(grown)
    assert len({e.id for e in es}) == 2
    kept, left = distinct([*of_job(where('/w/shop')), *of_job(where('/w/shop'))])
    assert (len(kept), left) == (1, dict(duplicate=1))
    two = {'a.py': A, 'b.py': A.replace('name', 'label')}
    es, _ = mined(
        hist(tmp_path, ('First', two), ('Tune the pager', {p: x.replace('21', '5') for p, x in two.items()}))[0]
    )
    assert len({e.id for e in es}) == len(es) == 2


@quick(100)
@given(
    st.lists(edit, min_size=2, max_size=60, unique_by=lambda e: e.id),
    st.integers(0, 5),
    st.sampled_from([0.1, 0.2, 0.4]),
)
def test_never_more_than_half_of_the_edits_is_held_out(edits, seed, share):
    split_edits(edits, heldout_kinds=(), seed=seed, test_share=share)
    assert sum(e.split == 'test' for e in edits) <= len(edits) / 2


def test_of_a_small_and_a_large_code_base_the_small_one_is_held_out(tmp_path):
    (e,), _ = mined(hist(tmp_path, ('First', {'a.py': A}), ('Set name_3 to 500', {'a.py': B}))[0])
    es = [replace(e, id=str(k), wish=str(k), repo_id='small' if k < 8 else 'large') for k in range(60)]
    for seed in range(20):
        split_edits(es, seed=seed)
        assert {x.repo_id for x in es if x.split == 'test'} == {'small'}


# ---- taken back by another source


def test_what_a_later_session_undid_is_marked_and_left_out():
    first, second = (where('/w/shop', n, files) for n, files in (('one', {'a.py': A}), ('two', {'a.py': B})))
    second.turns[0].said.tool_calls[0].arguments |= dict(old_string='= 500', new_string='= 21')
    for job, day in ((first, 1), (second, 2)):
        job.meta['started'] = f'2025-05-0{day}T10:00:00Z'
    es = of_job(first) + of_job(second)
    assert mark_reverted(es) == 1 and [e.reverted for e in es] == [True, False]
    with pytest.raises(ValueError, match='taken back later'):
        to_example(es[0])
    kept, left = distinct(es)
    assert [e.job for e in kept] == ['two'] and left == dict(reverted=1)


def test_another_file_of_the_same_name_takes_nothing_back():
    (e,) = of_job(where('/w/shop'))
    x = replace(e, path_before='x/config.yml', path_after='x/config.yml', time=1)
    y = replace(e, id='y', wish='y', path_before='y/config.yml', path_after='y/config.yml', time=2)
    y.before, y.after = 'name_3 = 7', x.before
    assert mark_reverted([x, y]) == 0
    moved = replace(x, id='m', wish='m', before=x.after, after='other', path_after='conf.yml', time=2)
    back = replace(
        x, id='b', wish='b', before='other', after=x.before, path_before='conf.yml', path_after='conf.yml', time=3
    )
    assert mark_reverted([x, moved, back]) == 1 and x.reverted


# ---- where an example came from


def test_commits_of_one_code_base_stand_on_one_side(tmp_path):
    repo, _ = hist(
        tmp_path,
        ('First', {'a.py': A}),
        ('Set name_3 to 500', {'a.py': B}),
        ('Set name_3 to 9', {'a.py': B.replace('500', '9')}),
    )
    es, _ = mined(repo)
    assert len({e.commit for e in es}) == len(es) == 2
    xs = [to_example(e) for e in es]
    ids = groups({x.id: x.parents for x in xs} | {'a window of a session there': [es[0].repo_id, 'session-1']})
    assert len(set(ids.values())) == 1
    assert [x.parents[0] for x in xs] == [f'{e.repo_id}/{e.commit}' for e in es]


def test_an_example_stands_with_the_other_examples_of_its_job(tmp_path):
    (e,) = of_job(where('/w/shop', 'session-1'))
    x = to_example(e)
    ids = groups({x.id: x.parents, 'a window of the same job': ['session-1'], 'of another': ['session-2']})
    assert ids[x.id] == ids['a window of the same job'] != ids['of another']


def test_origins_are_true(tmp_path):
    repo, _ = hist(tmp_path, ('First', {'a.py': A}), ('Set name_3 to 500', {'a.py': B}))
    (by_person,), (by_agent,) = mined(repo)[0], of_job(where('/w/shop'))
    notes = '# W\n- Never touch billing/total.py\n## Log\n- read the readme\n- looked around\n'
    noted, _ = hist(
        tmp_path,
        ('a', {'workspace.md': notes}),
        ('b', {'workspace.md': '# W\n- Never touch billing/total.py\n'}),
        name='n',
    )
    (pair,) = git_compact_pairs(noted)
    origins = [x.meta['origin'] for x in (to_example(by_person), to_example(by_agent), compact_example(pair))]
    assert origins == ['git', 'session', 'memory']


def write_session(path, cwd, before, old, new, ask):
    "A session in the form of Claude Code: a request, a file that is read, an edit."
    base = dict(sessionId='s-1', cwd=str(cwd), version='2.0', isSidechain=False)
    numbered = '\n'.join(f'{k:6}\t{x}' for k, x in enumerate(before.rstrip('\n').split('\n'), 1))
    file = f'{cwd}/a.py'

    def use(i, name, **arguments):
        said = dict(
            role='assistant',
            id=f'm{i}',
            model='m',
            content=[dict(type='tool_use', id=f't{i}', name=name, input=arguments)],
        )
        return dict(
            type='assistant',
            uuid=f'u{2 * i}',
            parentUuid=f'u{2 * i - 1}',
            message=said,
            timestamp=f'2025-05-01T10:0{i}:00Z',
        )

    def answer(i, text):
        block = dict(type='tool_result', tool_use_id=f't{i}', content=text)
        return dict(
            type='user', uuid=f'u{2 * i + 1}', parentUuid=f'u{2 * i}', message=dict(role='user', content=[block])
        )

    lines = [
        dict(type='user', uuid='u1', parentUuid=None, message=dict(role='user', content=ask)),
        use(1, 'Read', file_path=file),
        answer(1, numbered),
        use(2, 'Edit', file_path=file, old_string=old, new_string=new),
        answer(2, f'The file {file} has been updated.'),
    ]
    path.write_text(''.join(json.dumps(base | x) + '\n' for x in lines))


def test_a_repository_and_a_session_in_it_stay_on_one_side_of_a_collect(tmp_path):
    from agentft.phases.collect import collect

    repo, _ = hist(tmp_path, ('First', {'a.py': A}), ('Set name_3 to 500', {'a.py': B}), name='shop')
    other, _ = hist(
        tmp_path, ('Other', {'z.py': A}), ('Set name_9 to 64', {'z.py': A.replace('63', '64')}), name='other'
    )
    folder = tmp_path / 'sessions'
    folder.mkdir()
    write_session(folder / 's-1.jsonl', repo, B, 'name_4 = 28', 'name_4 = 29', 'Set name_4 to 29')
    collect(out=str(tmp_path / 'o'), source='none', sessions=str(folder), repos=f'{repo},{other}')
    es = read_jsonl(tmp_path / 'o' / 'edits.jsonl', Edit)
    assert sorted(e.source for e in es) == ['git', 'git', 'job'] and len({e.id for e in es}) == 3
    here = [e for e in es if e.path_after == 'a.py']
    assert {e.source for e in here} == {'git', 'job'} and len({e.repo_id for e in here}) == len(
        {e.split for e in here}
    ) == 1
    assert len({e.repo_id for e in es}) == 2 and {e.split for e in es} == {'train', 'test'}


# ---- the sheet of two readers


def bench():
    import importlib.util

    spec = importlib.util.spec_from_file_location('bench_edits', Path(__file__).parents[1] / 'bench' / 'bench_edits.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_agreement_of_readers_is_that_beyond_chance():
    kappa = bench().kappa
    assert kappa([('keep', 'keep'), ('drop', 'drop')]) == 1
    assert kappa([('keep', 'keep'), ('keep', 'drop'), ('drop', 'keep'), ('drop', 'drop')]) == 0
    # 20 both keep, 15 both drop, 10 and 5 disagree: observed 0.7, by chance 0.5 (Cohen's usual example)
    pairs = [('keep', 'keep')] * 20 + [('keep', 'drop')] * 5 + [('drop', 'keep')] * 10 + [('drop', 'drop')] * 15
    assert kappa(pairs) == pytest.approx(0.4)


def test_a_sheet_keeps_verdicts_and_no_text(tmp_path):
    b = bench()
    (tmp_path / 'key.csv').write_text('n,id,source,miner\n1,git-a,f00,new\n2,git-b,f00,old\n3,git-c,ba4,new\n')
    readers = [tmp_path / f'r{k}.csv' for k in (1, 2)]
    readers[0].write_text('n,verdict,reason\n1,keep,\n2,drop,fragment\n3,keep,\n')
    readers[1].write_text('n,verdict,reason\n1,keep,\n2,Drop,vague\n3,drop,not told\n')
    sheet = tmp_path / 'sheets' / 'edits.csv'
    a = type('A', (), dict(worth=str(sheet), keep=str(tmp_path), files=[str(r) for r in readers]))
    b.keep(a)
    found, agreement, rows = b.worth(sheet)
    assert found['new'] == dict(n=2, sources=2, keep={'reader 1': 2, 'reader 2': 1, 'both': 1})
    assert found['old']['keep']['both'] == 0 and agreement == pytest.approx(0.4) and len(rows) == 3
    readers[1].write_text('n,verdict,reason\n1,perhaps,\n2,drop,\n3,drop,\n')
    with pytest.raises(SystemExit, match='is no verdict'):
        b.keep(a)


def test_the_reading_sheet_does_not_tell_the_miner():
    b = bench()
    job = dict(request='Set name_3 to 500', files=[['a.py', 'a.py', A, [['name_3 = 21', 'name_3 = 500']]]], id='git-1')
    text = b.page(1, job)
    assert 'name_3 = 500' in text and 'name_0 = 0' in text and 'git-1' not in text
    assert not re.search(r'(?i)miner|\bold\b(?!_)|\bnew\b(?!_)', text)
