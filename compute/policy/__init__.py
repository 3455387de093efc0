"""Which job gets which devices, and what gives way: pure, so that a simulation runs the very rules of production."""

from billing.rating.quantity import WHOLE
from compute.policy.decide import decide, decide_and_explain
from compute.policy.work import Action, Assign, Device, Preempt, Reclaim, Room, Scope, Wait, Why, Work

__all__ = [
    "WHOLE",
    "Action",
    "Assign",
    "Device",
    "Preempt",
    "Reclaim",
    "Room",
    "Scope",
    "Wait",
    "Why",
    "Work",
    "decide",
    "decide_and_explain",
]
