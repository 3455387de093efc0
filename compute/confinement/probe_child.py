"""What the probe's child does: lock itself down, which prints the missing layers, and go."""

from compute import sandbox

sandbox.lock_down()
