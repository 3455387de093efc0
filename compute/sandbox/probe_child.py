"""What the probe's child does: lock itself down, which prints the missing layers, and go."""

from compute.sandbox import sandbox

if __name__ == "__main__":
    sandbox.lock_down()
