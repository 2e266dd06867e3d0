"Kinds of rows of their own, on the project's samples and on data that nobody developed on."

import json
import os
import subprocess
from collections import Counter
from dataclasses import replace
from functools import lru_cache, partial
from math import ceil
from pathlib import Path

import pytest

from agentft.arena.players import expert_script
from agentft.checks.gate import Gate, Reserved, row_length
from agentft.core.records import ToolCall, to_dict
from agentft.data.histories import wishes
from agentft.data.seeds import Seed, seed_task
from agentft.evidence.found import Found, read_found
from agentft.evidence.memory import compare_versions
from agentft.generation.plays import play_agreed, with_style
from agentft.history.decisions import ALREADY, decision_problems, take_decisions
from agentft.history.explained_edits import (
    explained_example,
    explanation_problems,
    unexplained,
    values_in,
    why_not_said,
)
from agentft.history.handovers import NOT_ALL_WORKED, hand_over_decisions, hand_overs, take_hand_overs
from agentft.history.long_files import long_task, part_problems, take_deep, take_long_files
from agentft.history.memory_versions import budget_example, check_version, expand_memory, memory_sources
from agentft.history.own_history import OwnRows, take_edits, take_own_history
from agentft.history.tool_sequences import sequence_decisions, take_sequences, tool_steps, transition_table
from agentft.model.chat import ChatFormat
from agentft.model.loading import load_tokenizer
from agentft.phases.collect import collect
from agentft.phases.synthesize import synthesize
from agentft.teachers.prompts import read_prompts
from agentft.teachers.questions import Answer, Teacher
from agentft.traces.job_logs import read_log
from agentft.workbench.runs import read_result

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / 'samples' / 'own-history'
AUDIT = Path(os.environ.get('AGENTFT_AUDIT') or ROOT.parent / 'shared' / 'audit')
MAX_LEN = 1536


@lru_cache
def fmt():
    return ChatFormat(load_tokenizer())


def new_gate(max_len=MAX_LEN):
    return Gate(Reserved(per_suite=2), max_len, row_length(fmt()))


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    "Phase 1 on the samples, without pages."
    folder = tmp_path_factory.mktemp('kinds') / '1-collect'
    with pytest.MonkeyPatch.context() as m:
        m.setenv('AGENTFT_PAGES', '0')
        collect(
            out=str(folder),
            source=str(SAMPLES / 'trail'),
            repos=str(SAMPLES / 'repository.bundle'),
            sessions=str(SAMPLES / 'sessions'),
        )
    return read_found(folder)


@pytest.fixture(scope='module')
def taken(found):
    "Few windows, then the kinds of their own on top."
    gate = new_gate()
    own = take_own_history(found, gate, fmt(), jobs=60, edits=10, memory=3, held_share=0.25)
    before = {key for key, why in own.turns.items() if not why}
    start = len(own.examples)
    take_hand_overs(found, gate, fmt(), 16, own)
    take_sequences(found, gate, fmt(), 20, own)
    return own, own.examples[start:], before


def flow(own, kind):
    return next(f for f in own.flows if f.kind == kind)


def test_hand_overs_end_with_a_plan_that_was_worked(found, taken):
    own, rows, _ = taken
    jobs = {j.id: j for j in found.jobs}
    mine = [e for e in rows if e.meta['kind'] in ('hand-over', 'take-up')]
    assert {e.meta['kind'] for e in mine} == {'hand-over', 'take-up'} and len(mine) >= 10
    for e in mine:
        about, job = e.meta['about_decision'], jobs[e.parents[0]]
        assert about['worked'] == len(about['todos']) > 0 and sum(about['rules'].values()) == about['worked']
        assert e.weights[-1] == 1 and sum(e.weights) == 1 and decision_problems(e, job) == []
        names = [c.name for c in e.messages[-1].tool_calls]
        if e.meta['kind'] == 'take-up':
            assert 'next_phase_todos' not in names and e.agent_phase != 'strategic'
        elif job.source == 'export':
            assert names == ['next_phase_todos'] and e.agent_phase == 'strategic'


def test_no_decision_is_taught_twice_and_each_is_counted_once(taken):
    own, rows, before = taken
    keys = [(e.parents[0], e.meta['window']['first']) for e in rows]
    assert len(set(keys)) == len(keys) and not set(keys) & before
    for f in own.flows:
        f.check()
    assert flow(own, 'hand-overs').reasons[ALREADY] + flow(own, 'first turns after a hand-over').reasons[ALREADY]
    trained = sum(not why for why in own.turns.values())
    assert trained == flow(own, 'turns of recorded jobs').kept == len(before) + len(rows)


def test_held_out_jobs_give_no_row(taken):
    own, rows, _ = taken
    assert own.held_jobs and not own.held_jobs & {p for e in rows for p in e.parents}


def test_rows_of_decisions_pass_the_gate_again_and_fit(taken):
    _, rows, _ = taken
    gate = new_gate()
    for e in rows:
        assert not [p for p in gate.find(e)[1] if p.kind not in ('duplicate', 'near_duplicate')]
        assert e.meta['tokens'] <= MAX_LEN


def test_a_plan_whose_todo_was_left_is_no_example(found):
    job = next(j for j in found.jobs if hand_overs(j) and j.outcome.status == 'success')
    good, _ = hand_over_decisions([job])
    assert good[0].reason == ''
    left = replace(job, todos=[replace(t) for t in job.todos])
    staged = next(t for t in left.todos if t.staged_turn == good[0].turn)
    turns = [replace(t) for t in left.turns]
    for i, turn in enumerate(turns):  # everything that served this todo is gone
        if staged.completed_turn is not None and good[0].turn < i <= staged.completed_turn:
            kept = [c for c in turn.said.tool_calls if c.name == 'todo_complete']
            ids = {c.id for c in kept}
            turns[i] = replace(
                turn,
                said=replace(turn.said, tool_calls=kept),
                results=[r for r in turn.results if r.tool_call_id in ids],
            )
    bad, _ = hand_over_decisions([replace(left, turns=turns)])
    assert bad[0].reason == NOT_ALL_WORKED


def test_a_changed_plan_or_tool_is_refused(found, taken):
    _, rows, _ = taken
    jobs = {j.id: j for j in found.jobs}
    for e in rows[:6]:
        call = e.messages[-1].tool_calls[0]
        for wrong in (
            replace(call, name='list_files'),
            replace(call, arguments=call.arguments | dict(path='other.md')),
        ):
            said = replace(e.messages[-1], tool_calls=[wrong, *e.messages[-1].tool_calls[1:]])
            found_problems = decision_problems(replace(e, messages=[*e.messages[:-1], said]), jobs[e.parents[0]])
            assert [p.kind for p in found_problems] == ['not_as_recorded']


def test_hand_overs_of_a_job_log(tmp_path):
    lines = [
        'Starting job j-41',
        '[j-41] Task: Set the limit in a.yaml to 5',
        '[j-41] Calling tool read_file with args {"path": "a.yaml"}',
        '[j-41] Tool read_file returned: limit: 3',
        '[j-41] Calling tool next_phase_todos with args {"todos": ["Set the limit in a.yaml to 5"]}',
        '[j-41] Tool next_phase_todos returned: Staged 1 todos for the next tactical phase.',
        '[j-41] Transitioning to tactical phase: Work (1 todos)',
        '[j-41] Calling tool edit_file with args {"path": "a.yaml", "old_string": "limit: 3", "new_string": "limit: 5"}',
        '[j-41] Tool edit_file returned: Edited: a.yaml (8 bytes)',
        '[j-41] Calling tool todo_complete with args {}',
        '[j-41] Tool todo_complete returned: Completed: Set the limit in a.yaml to 5',
        '[j-41] JOB FROZEN for review: done',
    ]
    log = tmp_path / 'agent.log'
    log.write_text(''.join(f'2026-03-01 10:00:{n:02},000 - agent - INFO - {x}\n' for n, x in enumerate(lines)))
    (job,) = read_log(log, Counter())
    staging, taking = hand_over_decisions([job])
    assert [(d.reason, d.about['todos']) for d in staging] == [('', ['Set the limit in a.yaml to 5'])]
    own = OwnRows()
    for what, decisions in (('plans', staging), ('first turns', taking)):
        take_decisions(what, decisions, [job], new_gate(), fmt(), 5, own)
    assert [e.messages[-1].tool_calls[0].name for e in own.examples] == ['next_phase_todos', 'edit_file'], own.flows


def test_transition_counts_add_up_to_their_denominators(found):
    steps = [s for j in found.jobs for s in tool_steps(j)]
    sums = Counter()
    for row in transition_table(steps):
        assert 0 < row['n'] <= row['of'] and row['low'] <= row['share'] <= row['high']
        sums[row['source'], row['agent_phase'], row['place'], row['of']] += row['n']
    assert all(n == of for (*_, of), n in sums.items())
    assert len({place for _, _, place, _ in sums}) > 5


def test_no_tool_dominates(found, taken):
    _, rows, _ = taken
    taught = Counter(e.meta['about_decision']['tool'] for e in rows if e.meta['kind'] in ('first tool', 'next tool'))
    assert taught.total() >= 15 and len(taught) >= 4
    assert max(taught.values()) <= ceil(0.34 * taught.total())
    assert 'todo_complete' not in taught
    common = Counter(d.about['tool'] for d in sequence_decisions(found.jobs))
    assert max(common.values()) > 0.34 * common.total()  # without the cap one would


def test_every_edit_is_explained_or_refused(found):
    jobs, by, n = {j.id: j for j in found.jobs}, Counter(), 0
    for edits in wishes(found.edits):
        try:
            e = explained_example(edits, jobs)
        except ValueError:
            continue
        n, by = n + 1, by + Counter(e.meta['explained'])
        assert explanation_problems(e.messages, e.weights) == [] and e.verified == ['execution']
        wrong = [replace(m, content=m.content.replace(' in ', ' in 4711 or ')) for m in e.messages]
        if any(' in ' in m.content for m in e.messages if m.role == 'assistant'):
            assert explanation_problems(wrong, e.weights)
    assert n >= 0.9 * len(wishes(found.edits)) and min(by['author'], by['script'], by['agent']) > 0


@pytest.mark.parametrize(
    'text, why',
    [
        ('I set `retries` to 5 in a.yaml because the line is bad.', ''),
        ('I set retries to 6 in a.yaml.', 'value_not_in_edit'),
        ('I set retries as agreed in notes.md.', 'value_not_in_edit'),
        ('I set max_retries to 5.', 'value_not_in_edit'),
        ('I set retries. Then I look.', 'not_one_sentence'),
        ('Shall I set retries?', 'not_one_sentence'),
        ('你說得對，retries 不需要保留。讓我修改：', 'not_one_sentence'),
        ('Here it comes.', 'not_of_this_edit'),
        (' ', 'no_explanation'),
    ],
)
def test_what_a_sentence_may_say(text, why):
    edit = ToolCall('edit_file', dict(path='a.yaml', old_string='retries: 3', new_string='retries: 5'))
    assert why_not_said(text, edit) == why


class Reciter(Teacher):
    "Says what the expert says; with a sentence before edits where its system text asks for one. Simulated."

    name, offline = 'reciter', False

    def __init__(self, path, task, heeds):
        super().__init__(path)
        self.lines, self.heeds = expert_script(task), heeds

    def answers(self, questions):
        for q in questions:
            said = self.lines[sum(m.role == 'assistant' for m in q.messages)]
            edits = [c for c in said.tool_calls if c.name == 'edit_file']
            if edits and self.heeds and 'Say one sentence before each call of edit_file' in q.system:
                said = replace(said, content=f'I change the value in {edits[0].arguments["path"]}.')
            yield Answer(self.key(q), self.name, value={'message': to_dict(said)}, prompt=q.prompt)


def test_a_play_without_explanations_is_not_right_when_they_are_asked_for(tmp_path):
    prompts = read_prompts()
    task, player = seed_task(Seed('c', 'edit', 'config', 1)), with_style(prompts['play'], prompts['explain'])
    assert player.id == '+'.join(['play', 'explain']) + f'@{prompts["play"].version}+{prompts["explain"].version}'
    (kept, why, tried), *_ = play_agreed(
        [task], Reciter(tmp_path / 'a.sqlite', task, True), player, plays=1, more=0, check=unexplained
    )
    assert why == '' and kept.good and values_in(kept.messages[-1].content) is not None
    silent = Reciter(tmp_path / 'b.sqlite', task, False)
    kept, why, tried = play_agreed([task], silent, player, plays=1, more=1, check=unexplained)[0]
    assert kept is None and why == 'never_right' and 'no_explanation' in tried[0].problems[0]
    assert 'no_explanation' in tried[1].hint
    kept, why, _ = play_agreed([task], silent, prompts['play'], plays=1, more=0)[0]
    assert why == '' and unexplained(kept)  # the switch is off


BEFORE = """# Workspace

## Rules
- Never change prices.csv before Lena has agreed
- The report goes to output/report.md
- [pinned] At most 3 files may be changed

## Decisions
- Prices are rounded to 5 cents, because the till has no smaller coins
- The old list stays in archive/2025.csv

## Log
- [x] read prices.csv
- [x] looked for an older report and found none at all
- tried to open the archive, which took a while, and went on without it
- read the instructions again, to be sure that nothing was left out
"""


def tidy(text):
    return text.split('\n\n## Log')[0] + '\n'


class Rewriter(Teacher):
    "Rewrites memory by rule; `wrong` says what it does wrong at first, and for how many tries. Simulated."

    name, offline = 'rewriter', False

    def __init__(self, path, wrong=str, tries=0):
        super().__init__(path)
        self.wrong, self.tries, self.asked = wrong, tries, []

    def answers(self, questions):
        for q in questions:
            asked = q.messages[0].content
            self.asked.append(asked)
            text = asked.split('<file>\n')[1].split('\n</file>')[0]
            if asked.startswith('Rewrite'):
                text = tidy(text)
                text = self.wrong(text) if q.number < self.tries else text
            else:
                text = text.replace('prices', 'routes').replace('Lena', 'Mo').replace('output/report', 'out/sum')
                text = (
                    text.replace('5 cents', '7 metres')
                    .replace('archive/2025', 'old/list')
                    .replace('3 files', '9 files')
                )
            yield Answer(self.key(q), self.name, value=dict(text=text), prompt=q.prompt)


WRONG = dict(
    lost_line=lambda t: t.replace('- The report goes to output/report.md\n', ''),
    invented_fact=lambda t: t + '- Ask in room 114\n',
    over_budget=lambda t: t + '- one more word on what was done here today\n' * 30,
    empty=lambda t: '',
)


def sources():
    out, flow = memory_sources(Found(memory=[compare_versions(BEFORE, tidy(BEFORE), job='j1')]))
    flow.check()
    return out


@pytest.mark.parametrize('reason', WRONG)
def test_a_wrong_rewrite_is_refused_by_name_and_mended_when_asked_again(tmp_path, reason):
    prompts = read_prompts()
    never = OwnRows()
    teacher = Rewriter(tmp_path / 'never.sqlite', WRONG[reason], 9)
    flow = expand_memory(sources(), teacher, prompts, new_gate(), 4, never, like=0, shares=(0.8,))
    assert flow.kept == 0 and dict(flow.reasons) == {reason: 1} and [r.reason for r in never.rejected] == [reason]
    assert any('it was refused: ' + reason in asked for asked in teacher.asked)
    mended = OwnRows()
    teacher = Rewriter(tmp_path / 'once.sqlite', WRONG[reason], 1)
    flow = expand_memory(sources(), teacher, prompts, new_gate(), 4, mended, like=0, shares=(0.8,))
    assert flow.kept == 1 and mended.examples[0].meta['tries'] == 2


def test_memory_rows_name_their_budget_and_keep_to_it(tmp_path):
    own, prompts = OwnRows(), read_prompts()
    teacher = Rewriter(tmp_path / 'a.sqlite')
    flow = expand_memory(sources(), teacher, prompts, new_gate(), 9, own, ['a bakery'], like=1)
    assert flow.kept >= 2 and {e.meta['source'] for e in own.examples} == {'recorded', 'written'}
    for e in own.examples:
        seed = e.meta['seed']
        before, after = seed['files']['workspace.md'], seed['steps'][0]['want']['workspace.md']
        assert str(e.meta['budget']) in e.messages[1].content and 'token' in e.messages[1].content.lower()
        assert check_version(before, after, e.meta['budget'], e.meta['shorter']) == ('', '')
        assert 'j1' in e.parents and 'execution' in e.verified and len(e.meta['prompts']) >= 1
        wrong = json.loads(json.dumps(to_dict(e.messages)).replace('output/report.md', 'output/other.md'))
        assert wrong != to_dict(e.messages) or 'out/sum' in before
    asked = len(teacher.asked)
    expand_memory(sources(), Rewriter(tmp_path / 'a.sqlite'), prompts, new_gate(), 9, OwnRows(), ['a bakery'], like=1)
    assert len(teacher.asked) == asked  # everything was in the store


def test_an_offline_teacher_is_asked_nothing(tmp_path):
    teacher, own = Rewriter(tmp_path / 'a.sqlite'), OwnRows()
    teacher.offline = True
    flow = expand_memory(sources(), teacher, read_prompts(), new_gate(), 4, own)
    assert not teacher.asked and flow.kept == 0 and list(flow.reasons) == ['an offline teacher rewrites no memory']
    assert budget_example(compare_versions(BEFORE, tidy(BEFORE), job='j1')).meta['budget'] > 0


def test_simulated_long_files_are_searched_and_read_in_parts():
    own, gate = OwnRows(), new_gate()
    flow = take_deep(gate, fmt(), 4, own)
    assert flow.kept == 4
    for e in own.examples:
        assert e.meta['tokens'] <= MAX_LEN < e.meta['file_tokens'] and 'execution' in e.verified
        assert part_problems(e, MAX_LEN, fmt().count) == []
        names = [c.name for m in e.messages for c in m.tool_calls]
        assert names.index('search_files') < names.index('read_file') < names.index('edit_file')
        hidden = [replace(m, content='nothing of it') if m.role == 'tool' else m for m in e.messages]
        assert part_problems(replace(e, messages=hidden), MAX_LEN, fmt().count)[0].kind == 'unread_part'
        assert [p.kind for p in gate.find(replace(e, messages=hidden))[1]] == ['different_result']


def test_own_edits_in_long_files(found):
    own, edits = OwnRows(), []
    filler = ''.join(f'# note {n}: the gauge of day {n} was read at noon\n' for n in range(200))
    for e in found.edits:
        if e.source == 'git' and e.path_before.endswith(('.yaml', '.md')) and e.parts == 1:
            edits.append(replace(e, before=e.before + filler, after=e.after + filler))
    gate = new_gate()
    take_edits(Found(edits=edits), gate, 50, set(), own)
    assert own.rejected and all(r.reason == 'too_long' for r in own.rejected)
    flow = take_long_files(edits, gate, fmt(), 50, own)
    assert flow.came == len(edits) and flow.kept >= len(edits) // 2, flow
    for e in own.examples:
        assert e.meta['kind'] == 'long file' and e.meta['tokens'] <= MAX_LEN and e.meta['origin'] == 'git'
    with pytest.raises(ValueError, match='no word of the request'):
        long_task(replace(edits[0], message='Please correct it', details=''), 1000, fmt().count)


@pytest.mark.skipif(not AUDIT.exists(), reason='no shared traces beside the project')
def test_kinds_on_a_trail_that_nobody_developed_on(tmp_path, monkeypatch):
    monkeypatch.setenv('AGENTFT_PAGES', '0')
    collect(out=str(tmp_path / '1-collect'), source=str(AUDIT / 'dump' / 'graphrag_logs'))
    found = read_found(tmp_path / '1-collect')
    gate = new_gate()
    own = take_own_history(found, gate, fmt(), jobs=0, edits=0, memory=0, held_share=0.25)
    take_hand_overs(found, gate, fmt(), 50, own)
    take_sequences(found, gate, fmt(), 50, own)
    for f in own.flows:
        f.check()
    assert {e.meta['kind'] for e in own.examples} >= {'hand-over', 'first tool'}
    assert all(e.parents[0] not in own.held_jobs for e in own.examples)


def test_versions_of_a_memory_file_in_a_git_history_reach_phase_2(tmp_path):
    "A commit that rewrites MEMORY.md is no edit to learn from, but a version of the memory."
    before = '# Memory\n\n' + ''.join(f'- Decided: service {n} keeps port 80{n}0.\n' for n in range(1, 7))
    before += ''.join(f'- Looked at page {n} of the handbook once more, nothing new.\n' for n in range(8))
    after = '# Memory\n\n' + ''.join(f'- Decided: service {n} keeps port 80{n}0.\n' for n in range(1, 7))
    repo = tmp_path / 'repo'
    repo.mkdir()
    run = partial(subprocess.run, cwd=repo, check=True, capture_output=True)
    run(['git', 'init', '-q'])
    for text in (before, after):
        (repo / 'MEMORY.md').write_text(text)
        run(['git', 'add', '.'])
        run(['git', '-c', 'user.name=a', '-c', 'user.email=a@b.example', 'commit', '-qm', 'Shorten the memory'])
    found = tmp_path / 'own' / '1-collect'
    collect(out=str(found), source='none', repos=str(repo))
    (version,) = read_found(found).memory
    assert version.good and version.path == 'MEMORY.md' and version.repo_id and version.job.startswith(version.repo_id)
    out = tmp_path / 'own' / '2-synthesize'
    synthesize(out=str(out), n_examples=20, memory_share=0.2)
    flow = next(f for f in read_result(out)['numbers']['flows'] if f['kind'] == 'versions of memory files')
    assert (flow['came'], flow['kept'] + flow['held_out']) == (1, 1)
