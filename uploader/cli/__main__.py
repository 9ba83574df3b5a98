"""Run the command line as `python -m uploader.cli`."""

from uploader.cli import main

raise SystemExit(main())
