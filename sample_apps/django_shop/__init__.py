"""The shop on Django: served as ``sample_apps.django_shop.wsgi`` by gunicorn, as ``...asgi:application`` by uvicorn."""
