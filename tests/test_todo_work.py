"""What counts as work on a todo: commands that only look, runs that a todo asks for, and the list as the agent had it."""

import pytest

from agentft.core.records import Job, Message, Todo, ToolCall, Turn
from agentft.core.todo_work import only_looks, todo_work

LOOKS = r'''
ls -la src
cat a.py
head -20 a | tail -3
grep -rn "a > b; c" . | wc -l
rg 'x|y' src
find . -name '*.py' -not -path './x/*' 2>/dev/null
git status
git log --oneline --output-indicator-new=x -3
git diff HEAD~1 -- a.py
git --no-pager show --stat
git blame a.py
git ls-files
git branch
git branch -a
git branch -v
git branch --list 'x*'
pytest -q tests/test_a.py::test_b 2>&1
python -m pytest -q
python3 -m unittest discover
npm test
pnpm lint
yarn test
npm run lint
npx tsc --noEmit
npx jest
npx vitest run
npx eslint src
make test
make check lint
ruff check .
ruff check --output-format json
mypy src
go test ./...
go vet ./...
cargo test
cargo check
cargo clippy
cd app
echo done
pwd
tree -L 2
which python
file a.bin
stat a
du -sh .
diff a b
sort -k2,2n a
uniq -c
jq .name package.json
sudo ls /root
CI=1 pytest
(cd app && git diff) | head
diff <(sort a) <(sort b)
ls &>/dev/null'''.strip().splitlines()
CHANGES = r'''
rm -r x
cat x & rm -rf y
git branch -D main
git branch new
git tag v1
git log && git push origin status
git diff --output=x
git -c alias.x=!rm log
git grep -O x
ruff check --fix .
ruff check --add-noqa .
ruff format .
npx eslint --fix src
npx tsc
npx jest -u
npm test -- --updateSnapshot
sort -o a a
sort -uo a a
sort --output=a a
uniq a b
tree -o x
rg --pre rm x
make
make install
make test install
make test-deploy
npm run test:deploy
npm install
pytest --snapshot-update
pytest-watch
find-replace a b
cat a > b
cat a >> b
ls 2> err
ls >/dev/null2
ls `rm x`
ls $(rm x)
ls "$(rm x)"
echo "a`rm x`"
find . -delete
find . -exec rm {} ;
find . -execdir rm {} ;
find . -fprint x
find . "-delete"
ls | tee x
ls || rm x
ls; rm x
(ls; rm x)
diff <(ls) <(rm x)
ls $'\'' ; rm x '
ls "a
ls a#b && rm x
go test -c
go test -o x
mypy --install-types
cargo clippy --fix'''.strip().splitlines()


@pytest.mark.parametrize('command', [*LOOKS, 'ls \\\n -la', 'ls\npwd'])
def test_what_only_looks_or_checks(command):
    assert only_looks(command)


@pytest.mark.parametrize('command', [*CHANGES, '', 'ls\nrm x', 'ls # look\nrm x'])
def test_what_may_change_something(command):
    assert not only_looks(command)


def verdict(text, name, marked=None, **arguments):
    call = ToolCall(name, arguments, 'c')
    turn = Turn(
        '', Message('assistant', tool_calls=[call]), results=[Message('tool', 'done', tool_call_id='c', ok=True)]
    )
    job = Job(
        'j', 'x', turns=[turn, Turn('', Message('assistant', 'On.'))], todos=[Todo('t', text, completed_turn=marked)]
    )
    return todo_work(job)[0][1]


@pytest.mark.parametrize('marked', [None, 1])
@pytest.mark.parametrize('text', ['Run tests and lint', 'Run the test suite', 'Lint the code'])
def test_a_todo_that_asks_to_run_something_is_not_served_by_a_look(text, marked):
    assert verdict(text, 'search', marked, pattern='test') is None
    assert verdict(text, 'run_command', marked, command='grep -rn test .') is None
    assert verdict(text, 'edit_file', marked, path='a.py', old_string='1', new_string='2') is not True
    assert verdict(text, 'run_command', marked, command='cd app && pytest -q && ruff check .') is True
    assert verdict(text, 'run_command', marked, command='./ci.sh') is True


def test_a_todo_that_asks_to_read_is_served_by_a_look():
    assert verdict('Inspect the tests', 'run_command', command='grep -rn test .') is True


def in_session(*calls, todos=('Implement f', 'Implement g', 'Add docstrings')):
    "What becomes of todos that an agent without phases wrote down first and marked together after `calls`."
    turns = [Turn('', Message('assistant', '', [ToolCall('next_phase_todos', dict(todos=[*todos]), 'c0')]))]
    for n, (name, arguments) in enumerate(calls, 1):
        said = Message('assistant', '', [ToolCall(name, arguments, f'c{n}')])
        turns.append(Turn('', said, results=[Message('tool', 'done', tool_call_id=f'c{n}', ok=True)]))
    turns.append(Turn('', Message('assistant', '', [ToolCall('todo_complete', dict(todo_id='all'), 'last')])))
    listed = [Todo(f't{n}', x, staged_turn=0, completed_turn=len(turns) - 1) for n, x in enumerate(todos)]
    return [done for _, done, _ in todo_work(Job('j', 'session', turns=turns, todos=listed))]


def test_one_effect_serves_several_todos_of_an_agent_without_phases():
    write = ('write_file', dict(path='app/a.py', content='def f():\n    "f"\n\n\ndef g():\n    "g"\n'))
    assert in_session(write) == [True, True, True]
    assert in_session(('read_file', dict(path='app/a.py'))) == [False, False, False]
    assert in_session(write, todos=('Implement f', 'Add a test to tests/test_a.py')) == [True, False]


def test_a_command_that_writes_is_work():
    shell = ('run_command', dict(command="mkdir -p conf && cat > conf/app.yml <<'EOF'\nport: 80\nEOF"))
    assert in_session(shell, todos=('Write the config',)) == [True]
    assert in_session(('run_command', dict(command='cat conf/app.yml')), todos=('Write the config',)) == [False]
