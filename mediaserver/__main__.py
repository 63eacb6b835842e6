"""`python -m mediaserver`: the same as the `mediaserver` command."""

from mediaserver.cli import main

main()
