"""The console's API of prices: price books with their versions, and contracts."""

from django.urls import URLPattern, path

from billing.api.console.books import Books, OneBook, Preview, Versions
from billing.api.console.contracts import Contracts, ContractWithdrawn, TenantContracts

__all__ = ["urlpatterns"]

urlpatterns: list[URLPattern] = [
    path("price-books/", Books.as_view(), name="operator-api-books"),
    path("price-books/<uuid:book_id>/", OneBook.as_view(), name="operator-api-book"),
    path("price-books/<uuid:book_id>/versions/", Versions.as_view(), name="operator-api-versions"),
    path("price-books/<uuid:book_id>/preview/", Preview.as_view(), name="operator-api-preview"),
    path("contracts/", Contracts.as_view(), name="operator-api-contracts"),
    path("tenants/<uuid:tenant_id>/contracts/", TenantContracts.as_view(), name="operator-api-tenant-contracts"),
    path("tenants/<uuid:tenant_id>/contracts/withdraw/", ContractWithdrawn.as_view(), name="operator-api-withdraw"),
]
