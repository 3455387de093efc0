"""How the API describes itself: who may call, and what a page of a list looks like."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.plumbing import build_bearer_security_scheme_object
from rest_framework import serializers


class ActorScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """An API key as bearer token; a browser session works too, with the CSRF header."""

    target_class = "tenants.authentication.ActorAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the bearer scheme."""
        scheme: dict[str, Any] = build_bearer_security_scheme_object(header_name="Authorization", token_prefix="Bearer")  # noqa: S106
        return scheme


def page_of(row: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """Return the serializer of a page: `results` and the address of the next page, or null."""
    name = row.__name__.removesuffix("Serializer") + "PageSerializer"
    fields = {
        "__doc__": f"A page of a list: {row.__doc__}",
        "results": row(many=True),
        "next": serializers.URLField(allow_null=True),
    }
    return type(name, (serializers.Serializer,), fields)
