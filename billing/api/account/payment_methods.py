"""REST endpoints of payment methods: what is saved at the payment provider, and whether invoices are charged to it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.collecting import methods
from billing.models import PaymentAccount
from billing.payments.chosen import payment_gateway
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.web.body_fields import checked
from tenants.web.views import ApiView


class MethodSerializer(serializers.Serializer[Any]):
    """A payment method. Numbers of cards stay at the provider."""

    id = serializers.CharField(source="external_id", help_text="of the provider")
    brand = serializers.CharField()
    last4 = serializers.CharField()
    expires = serializers.CharField(help_text="month and year, if it expires")
    default = serializers.BooleanField(help_text="whether invoices are charged to it")


class MethodsSerializer(serializers.Serializer[Any]):
    """What is saved, as it was read last."""

    provider = serializers.BooleanField(help_text="false: invoices are paid as they state")
    automatic_charges = serializers.BooleanField(help_text="to the default one, when an invoice is finalised")
    payment_methods = MethodSerializer(many=True)


class AddAtSerializer(serializers.Serializer[Any]):
    """Where a payment method is saved."""

    url = serializers.URLField(help_text="the page of the payment provider, for a browser")


class OneMethodSerializer(serializers.Serializer[Any]):
    """A saved payment method."""

    id = serializers.CharField(max_length=120)


class _Account(ApiView):
    """Base: the provider is asked with no transaction open."""

    own_transaction = True

    def shown(self) -> Response:
        """Answer with what is saved now."""
        with tenant_scope(self.actor.tenant_id):
            account = PaymentAccount.objects.first()
        found = {
            "provider": payment_gateway().collects,
            "automatic_charges": bool(account and account.autopay),
            "payment_methods": account.methods if account else [],
        }
        return Response(MethodsSerializer(found).data)


class PaymentMethods(_Account):
    """Payment methods."""

    permissions = {"GET": "invoices.view", "POST": "invoices.manage"}

    @extend_schema(responses=MethodsSerializer)
    def get(self, request: Request) -> Response:
        """Return the saved payment methods, as they were read last."""
        return self.shown()

    @extend_schema(request=None, responses=AddAtSerializer)
    def post(self, request: Request) -> Response:
        """Return the page of the provider at which a person saves a payment method. It is listed seconds after that."""
        with tenant_scope(self.actor.tenant_id):
            slug = Tenant.objects.values_list("slug", flat=True).get(pk=self.actor.tenant_id)
        back = f"{settings.EXCHEQUER.effective_public_url}{reverse('payment-methods', args=[slug])}"
        return Response(AddAtSerializer({"url": methods.page_to_add(actor=self.actor, back=back)}).data)


class DefaultMethod(_Account):
    """The payment method that invoices are charged to."""

    permissions = {"PUT": "invoices.manage"}

    @extend_schema(request=OneMethodSerializer, responses=MethodsSerializer)
    def put(self, request: Request) -> Response:
        """Choose the payment method for invoices."""
        data = checked(OneMethodSerializer(data=request.data))
        methods.choose_default(actor=self.actor, method=data["id"])
        return self.shown()


class RemovedMethod(_Account):
    """A payment method to remove."""

    permissions = {"POST": "invoices.manage"}

    @extend_schema(request=OneMethodSerializer, responses=MethodsSerializer)
    def post(self, request: Request) -> Response:
        """Remove a payment method. Without a default one no invoice is charged by itself any more."""
        data = checked(OneMethodSerializer(data=request.data))
        methods.remove(actor=self.actor, method=data["id"])
        return self.shown()


class AutomaticCharges(_Account):
    """Whether invoices are charged to the default payment method."""

    permissions = {"PUT": "invoices.manage", "DELETE": "invoices.manage"}

    @extend_schema(request=None, responses=MethodsSerializer)
    def put(self, request: Request) -> Response:
        """Have each invoice charged to the default payment method when it is finalised."""
        methods.set_autopay(actor=self.actor, wanted=True)
        return self.shown()

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """Have no further invoice charged by itself."""
        methods.set_autopay(actor=self.actor, wanted=False)
        return Response(status=204)
