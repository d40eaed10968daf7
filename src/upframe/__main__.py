"""``python -m upframe`` is the command ``upframe``."""

from upframe.cli.main import main

main()
