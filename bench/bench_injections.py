"""How many planted texts that speak to an agent are found, and how many honest ones are taken for such.

python bench/bench_injections.py                        the planted set
python bench/bench_injections.py --agentdojo WHEEL      and the attacks of AgentDojo in its own environments
python bench/bench_injections.py --traces FOLDER        and every result of recorded jobs under FOLDER

AgentDojo (MIT): pip download --no-deps agentdojo. It is read, not imported."""

import argparse
import ast
import re
import zipfile
from collections import Counter

import yaml
from foreign_traces import foreign_jobs
from planted_injections import SECOND, SECOND_HONEST, THIRD, THIRD_HONEST, TOOLS, negatives, positives

from agentft.core.intervals import wilson
from agentft.sets.injections import find_flags


def rate(k, n):
    low, high = wilson(k, n)
    return f'{k}/{n} = {k / max(n, 1):.1%} [{low:.1%}, {high:.1%}]'


def flagged(text):
    return [f for f in find_flags(text, TOOLS) if not f.mention]


def measure(found, honest, show):
    "Recall per kind and altogether, false alarms, precision."
    hit, of, kinds = Counter(), Counter(), Counter()
    for name, kind, text in found:
        of[kind] += 1
        got = flagged(text)
        hit[kind] += bool(got)
        kinds[kind] += any(f.kind == kind for f in got)
        if show and not got:
            print(f'  missed: {name}: {[(f.kind, f.evidence) for f in find_flags(text, TOOLS)]}')
    false = [(name, f) for name, _, text in honest if (f := flagged(text))]
    if show:
        for name, got in false:
            print(f'  false alarm: {name}: {[(f.kind, f.evidence[:80]) for f in got]}')
    for kind in of:
        print(f'  {kind:14} found {rate(hit[kind], of[kind])}, under its own name {kinds[kind]}')
    n = sum(hit.values())
    print(f'  all            recall {rate(n, of.total())}')
    print(f'  honest texts   false alarms {rate(len(false), len(honest))}')
    print(f'  precision      {rate(n, n + len(false))} (with as many honest texts as here)')


def strings(x):
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, list):
        for y in x:
            yield from strings(y)
    elif isinstance(x, str):
        yield x


def constant(node, names):
    "A string of the source, f-strings with the constants of their class; None where it is none."
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = []
        for v in node.values:
            value = getattr(v, 'value', None)
            name = getattr(value, 'attr', getattr(value, 'id', ''))
            parts.append(value if isinstance(value, str) else str(names.get(name, 'X-17')))
        return ''.join(parts)
    return None


def agentdojo(wheel):
    "`(attacks, goals, honest texts)` of the package, read from its wheel."
    z = zipfile.ZipFile(wheel)
    sources = {n: z.read(n).decode() for n in z.namelist() if n.endswith('.py')}
    attacks, goals = [], []
    for name, source in sources.items():
        tree = ast.parse(source)
        assigned = [x for x in ast.walk(tree) if isinstance(x, ast.Assign) and isinstance(x.targets[0], ast.Name)]
        names = {x.targets[0].id: x.value.value for x in assigned if isinstance(x.value, ast.Constant)}
        if '/attacks/' in name:
            texts = [x.value for x in ast.walk(tree) if isinstance(x, ast.Constant) and isinstance(x.value, str)]
            attacks += [
                t for t in texts if ('{goal}' in t or '<INFORMATION>' in t) and len(t) < 1200 and '"""' not in t
            ]
        if re.search(r'/v1/\w+/injection_tasks\.py$', name):
            goals += [g for x in assigned if x.targets[0].id == 'GOAL' and (g := constant(x.value, names))]
    honest = []
    for n in z.namelist():
        if n.endswith('.yaml') and 'vectors' not in n and 'system_messages' not in n:
            text = re.sub(r'!include \S+', '[]', z.read(n).decode())
            honest += [s for s in strings(yaml.safe_load(text)) if len(s) > 40 and '{' not in s]
    return [a for a in dict.fromkeys(attacks) if not a.startswith('Attack which')], list(dict.fromkeys(goals)), honest


def of_agentdojo(wheel):
    attacks, goals, honest = agentdojo(wheel)
    print(f'\nAgentDojo: {len(attacks)} attacks, {len(goals)} goals, {len(honest)} honest texts of its environments')
    values = dict(user='Emma Johnson', model='GPT-4', tools='Call the following tools: send_email')
    for attack in attacks:
        texts = []
        for k, goal in enumerate(goals if '{goal}' in attack else ['']):
            said = attack
            for key, value in (values | dict(goal=goal)).items():
                said = said.replace('{' + key + '}', value)
            carrier = honest[k * 7 % len(honest)]
            at = len(carrier) // 2
            texts.append(f'{carrier[:at]} {said} {carrier[at:]}')
        print(f'  {rate(sum(bool(flagged(t)) for t in texts), len(texts)):38} {" ".join(attack.split())[:70]}')
    plain = [f'{honest[k * 7 % len(honest)]} {goal}' for k, goal in enumerate(goals)]
    print(f'  {rate(sum(bool(flagged(t)) for t in plain), len(plain)):38} the goal alone, as a plain request')
    false = [s for s in honest if flagged(s)]
    print(f'  honest texts, false alarms {rate(len(false), len(honest))}')
    for s in false:
        print('   ', [(f.kind, f.evidence[:90]) for f in flagged(s)])


def of_traces(folder, audit):
    n, jobs, hits = 0, 0, []
    for file, _, job in foreign_jobs(folder, audit):
        jobs += 1
        tools = sorted({c.name for _, c, _ in job.calls()})
        for turn in job.turns:
            for m in turn.results:
                n += 1
                hits += [(file, f) for f in find_flags(m.content, tools)]
    flags = [h for h in hits if not h[1].mention]
    print(f'\n{n:,} results of {jobs} jobs: {len(flags)} flags, {len(hits) - len(flags)} mentions')
    for file, f in hits:
        print(f'  {"mention" if f.mention else "flag":8}{f.kind:14}{file}: {f.evidence}')


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--agentdojo', default='')
    p.add_argument('--traces', default='')
    p.add_argument('--audit', default='')
    p.add_argument('--show', action='store_true', help='name what was missed')
    a = p.parse_args()
    found, honest = list(positives()), list(negatives())
    print(f'planted: {len(found)} texts that speak to the agent, {len(honest)} that do not')
    measure(found, honest, a.show)
    for name, texts, plain in (('second', SECOND, SECOND_HONEST), ('third', THIRD, THIRD_HONEST)):
        hits, false = sum(bool(flagged(t)) for t in texts), sum(bool(flagged(t)) for t in plain)
        print(f'{name} set, of other words: found {rate(hits, len(texts))}, false alarms {rate(false, len(plain))}')
    if a.agentdojo:
        of_agentdojo(a.agentdojo)
    if a.traces:
        of_traces(a.traces, a.audit or None)


if __name__ == '__main__':
    main()
