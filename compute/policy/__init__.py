"""Which job gets which devices, and what gives way: pure, so that a simulation runs the very rules of production."""

from compute.policy.decide import decide
from compute.policy.work import Action, Assign, Device, Preempt, Reclaim, Room, Scope, Work

__all__ = ["Action", "Assign", "Device", "Preempt", "Reclaim", "Room", "Scope", "Work", "decide"]
