"""Which job gets which devices, and what gives way: pure, so that a simulation runs the very rules of production."""

from compute.policy.decide import decide
from compute.policy.work import WHOLE, Action, Assign, Device, Preempt, Reclaim, Room, Scope, Work

__all__ = ["WHOLE", "Action", "Assign", "Device", "Preempt", "Reclaim", "Room", "Scope", "Work", "decide"]
