"""Prints the pages made from the table of settings:

python -m service.settings env  > .env.example
python -m service.settings docs > docs/settings.md
"""

import sys

from service.settings import pages

PAGES = {"env": pages.env_example, "docs": pages.docs_page}

if len(sys.argv) != 2 or sys.argv[1] not in PAGES:
    sys.exit("usage: python -m service.settings env|docs")
sys.stdout.write(PAGES[sys.argv[1]]())
