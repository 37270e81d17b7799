"""The addresses of the shop."""

from django.urls import path

from sample_apps.django_shop import views
from sample_apps.shop import pages

urlpatterns = [
    path("", views.sharing(pages.front)),
    path("products/<int:id>", views.sharing(pages.product)),
    path("products/<int:id>/edit", views.both(views.showing(pages.editing), views.posting(pages.edit))),
    path("me", views.showing(pages.me)),
    path("cart", views.showing(pages.basket)),
    path("cart/items", views.posting(pages.change_cart)),
    path("cart/delivery", views.posting(pages.quote)),
    path("checkout", views.posting(pages.checkout)),
    path("login", views.both(views.showing(pages.door), views.enter)),
    path("logout", views.posting(pages.logout)),
    path("account/orders", views.showing(pages.bought)),
    path("account/sessions", views.sessions),
    path("account/sessions/revoke", views.revoke),
    path("healthz", views.healthz),
]
