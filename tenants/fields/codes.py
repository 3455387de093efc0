"""Form fields of codes that standards write in capital letters."""

from __future__ import annotations

from typing import Any

from django import forms


class CapitalField(forms.CharField):
    """A currency or a country; small letters mean the same."""

    def to_python(self, value: Any) -> Any:
        """Return the code in capital letters."""
        return str(super().to_python(value) or "").upper()
