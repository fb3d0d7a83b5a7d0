"""The addresses that need no sign-in."""

from __future__ import annotations

from django.urls import path

from l2l.door import receipt

urlpatterns = [
    path("receipt/<str:token>/", receipt.receipt_page, name="receipt"),
    path("receipt/<str:token>/package/", receipt.package_file, name="receipt_package"),
]
