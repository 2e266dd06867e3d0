"""How the notebooks read: sizes of export cells, long lines, prose, and how often an example follows.

    python tools/reading.py            totals, and the notebooks furthest from the aim
    python tools/reading.py FOLDER     the same for the notebooks of another project

An *example* is a visible cell without an export directive that follows an export cell, before the next one.
"""

import json
import re
import statistics as st
import sys
from pathlib import Path


def read(path):
    "`(export cells, export lines, long lines, prose words, export cells with an example)` of a notebook."
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    sources = [(c['cell_type'], ''.join(c['source'])) for c in cells]
    is_export = [kind == 'code' and bool(re.match(r'#\|\s*exports?\b', s)) for kind, s in sources]
    sizes, lines, words, shown = [], [], 0, 0
    for i, (kind, s) in enumerate(sources):
        if kind == 'markdown':
            words += len(s.split())
        if not is_export[i]:
            continue
        body = re.sub(r'^#\|.*\n?', '', s, flags=re.M)
        if re.match(r'(import|from) ', body):
            continue
        sizes.append((len(body.splitlines()), len(body)))
        lines += body.splitlines()
        for j in range(i + 1, len(sources)):
            if is_export[j]:
                break
            if sources[j][0] == 'code' and not sources[j][1].startswith(('#| hide', '#|hide')):
                shown += 1
                break
    return sizes, lines, words, shown


def main(folder='nbs'):
    rows = []
    for p in sorted(Path(folder).rglob('*.ipynb')):
        sizes, lines, words, shown = read(p)
        if sizes:
            rows.append((str(p), sizes, lines, words, shown))
    cells = [x for r in rows for x in r[1]]
    lines = [x for r in rows for x in r[2]]
    print(f'{len(rows)} notebooks, {len(cells)} export cells, {len(lines)} exported lines')
    lines_each, characters_each = zip(*cells)
    print(f'export cell: {st.median(lines_each):g} lines, {st.median(characters_each):g} characters (medians)')
    print(f'lines over 120 characters: {sum(len(x) > 120 for x in lines) / len(lines):.1%}')
    print(f'cells over 30 lines: {sum(n > 30 for n, _ in cells)}')
    print(f'prose words per exported line: {sum(r[3] for r in rows) / len(lines):.1f}')
    print(f'export cells followed by a visible example: {sum(r[4] for r in rows) / len(cells):.0%}\n')
    for p, sizes, ls, words, shown in rows:
        size, long = st.median(n for n, _ in sizes), sum(n > 30 for n, _ in sizes)
        print(f'{p:44} cells {len(sizes):3}  lines {size:5g}  over 30: {long:2}', end='')
        print(f'  words/line {words / len(ls):4.1f}  examples {shown / len(sizes):4.0%}')


if __name__ == '__main__':
    main(*sys.argv[1:])
