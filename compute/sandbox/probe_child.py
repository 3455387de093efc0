"""The probe's child: lock itself down, which prints the missing layers, and exit."""

from compute.sandbox import sandbox

if __name__ == "__main__":
    sandbox.lock_down()
