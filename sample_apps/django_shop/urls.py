"""The addresses of the shop."""

from django.urls import path

from sample_apps.django_shop import views
from sample_apps.shop import pages

urlpatterns = [
    path("", views.showing(pages.front)),
    path("products/<int:id>", views.showing(pages.product)),
    path("cart", views.showing(pages.basket)),
    path("cart/items", views.posting(pages.change_cart)),
    path("cart/delivery", views.posting(pages.quote)),
    path("checkout", views.posting(pages.checkout)),
    path("login", views.login),
    path("logout", views.posting(pages.logout)),
    path("account/orders", views.showing(pages.bought)),
    path("account/sessions", views.sessions),
    path("account/sessions/revoke", views.revoke),
    path("healthz", views.healthz),
]
