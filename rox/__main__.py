"""``python -m rox``."""

from rox.cli import main

raise SystemExit(main())
