"""`python -m bench [--only GOAL] [--rounds N]`."""

from bench.run import main

raise SystemExit(main())
