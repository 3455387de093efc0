"""The probe that `doctor` runs in place of a training: lock down, print the missing layers, exit."""

from compute.sandbox import sandbox

if __name__ == "__main__":
    sandbox.lock_down()
