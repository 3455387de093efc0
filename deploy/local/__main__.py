"""`python -m deploy.local`."""

from deploy.local.local import main

raise SystemExit(main())
