"A real JupyterLab in a subprocess, and a page of Chromium that has a notebook of it open."

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
ROOT = Path(__file__).parents[2]
QUIET = dict(fetchNews='false', checkForUpdates=False, doNotDisturbMode=True)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def notebook(path, *sources):
    "A notebook with these code cells, not run."
    import nbformat

    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(x) for x in sources])
    nb.metadata.kernelspec = dict(name='python3', display_name='python3', language='python')
    path.write_text(nbformat.writes(nb))
    return path


@contextmanager
def jupyter_lab(folder):
    "The address of a JupyterLab on `folder`, and its token; it keeps to folders of its own."
    own = folder / '.lab'
    settings = own / 'settings' / '@jupyterlab' / 'apputils-extension'
    settings.mkdir(parents=True)
    (settings / 'notification.jupyterlab-settings').write_text(json.dumps(QUIET))
    port, token = free_port(), 'secret-of-the-test'
    names = dict(CONFIG_DIR='config', DATA_DIR='data', RUNTIME_DIR='runtime')
    env = {k: v for k, v in os.environ.items() if not k.startswith('JPY_')}
    env |= {f'JUPYTER_{k}': str(own / v) for k, v in names.items()} | dict(IPYTHONDIR=str(own / 'ipython'))
    env |= dict(JUPYTERLAB_SETTINGS_DIR=str(own / 'settings'), JUPYTERLAB_WORKSPACES_DIR=str(own / 'workspaces'))
    env |= dict(PYTHONPATH=str(ROOT), PATH=f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')
    options = [f'--port={port}', '--ip=127.0.0.1', '--no-browser', '--allow-root', f'--IdentityProvider.token={token}']
    command = [sys.executable, '-m', 'jupyterlab', *options, f'--ServerApp.root_dir={folder}']
    with (folder / 'lab.log').open('wb') as log:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    url = f'http://127.0.0.1:{port}'
    try:
        wait_for(
            lambda: answers(f'{url}/api?token={token}', server), 120, f'JupyterLab did not start, see {folder}/lab.log'
        )
        yield url, token
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def answers(url, server):
    if server.poll() is not None:
        raise RuntimeError(f'JupyterLab ended with {server.returncode}')
    try:
        with urllib.request.urlopen(url, timeout=5) as r:
            return r.status == 200
    except OSError:
        return False


def wait_for(condition, seconds=30, what='it did not happen'):
    "Ask until `condition` holds."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise TimeoutError(what)


@contextmanager
def chromium(width=1280, height=1000, failed=None):
    "A page in a browser of the machine; nothing is downloaded. Where a test fails, `failed` is a picture of the page."
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=BROWSER, args=['--no-sandbox', '--disable-gpu'])
        page = browser.new_page(viewport=dict(width=width, height=height))
        page.set_default_timeout(60_000)
        try:
            yield page
        except BaseException:
            if failed:
                page.screenshot(path=str(failed))
            raise
        finally:
            browser.close()
