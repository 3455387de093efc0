"""Pages of the operators' console about prices: price books with their versions, and contracts."""

from django.urls import URLPattern, path

from billing.views.console.books import book_page, books_page, new_book, publish_page
from billing.views.console.contracts import contract_page, contract_withdraw, contracts_page

urlpatterns: list[URLPattern] = [
    path("price-books/", books_page, name="operator-books"),
    path("price-books/new/", new_book, name="operator-book-new"),
    path("price-books/<uuid:book_id>/", book_page, name="operator-book"),
    path("price-books/<uuid:book_id>/versions/new/", publish_page, name="operator-publish"),
    path("contracts/", contracts_page, name="operator-contracts"),
    path("contracts/<uuid:tenant_id>/", contract_page, name="operator-contract"),
    path("contracts/<uuid:tenant_id>/withdraw/", contract_withdraw, name="operator-contract-withdraw"),
]
