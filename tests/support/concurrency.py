"""Several sessions that do the same thing at once."""

import threading
from collections.abc import Callable
from typing import TypeVar

from django.db import connection

T = TypeVar("T")


def as_controllers(act: Callable[[], T], number: int) -> list[T]:
    """Have so many controllers do something at once, each in a session of its own; return what each got."""
    got: list[T] = []

    def controller() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE exchequer_control")
        got.append(act())
        connection.close()

    threads = [threading.Thread(target=controller) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got
