"What all tests share."

import os

os.environ.setdefault('AGENTFT_PAGES', '0')  # a page costs seconds; test_runner.py asks for some
