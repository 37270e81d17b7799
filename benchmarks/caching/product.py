"""A product's page as a shop renders it: the layout with its menu, the product, its reviews and what goes with it.

About 12 kB of HTML by jinja2, autoescaped, from plain dicts: what a handler does once it has its data. That it fetched
these from nowhere makes it faster than a real one.
"""

from typing import Any

from jinja2 import DictLoader, Environment

LAYOUT = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{% block title %}{% endblock %} | {{ shop.name }}</title>
  <link rel="stylesheet" href="/static/shop.css"><script src="/static/shop.js" defer></script>
</head>
<body>
  <header>
    <a class="logo" href="/">{{ shop.name }}</a>
    <nav><ul>{% for category in shop.categories %}
      <li><a href="/category/{{ category.slug }}">{{ category.name }}</a> <small>({{ category.number }})</small></li>
    {%- endfor %}</ul></nav>
  </header>
  <main>{% block main %}{% endblock %}</main>
  <footer><p>{{ shop.name }}, {{ shop.address }}</p></footer>
</body>
</html>
"""

PRODUCT = """{% extends "layout" %}
{% macro stars(number) %}<span class="stars" title="{{ number }} of 5">
  {%- for each in range(5) %}{{ "&#9733;"|safe if each < number else "&#9734;"|safe }}{% endfor -%}</span>{% endmacro %}
{% macro price(cents) %}{{ "%.2f"|format(cents / 100) }} &euro;{% endmacro %}
{% block title %}{{ product.name }}{% endblock %}
{% block main %}
  <article itemscope itemtype="https://schema.org/Product">
    <h1 itemprop="name">{{ product.name }}</h1>
    <p class="price">{{ price(product.cents) }}</p>
    {% if product.stock < 5 %}<p><em>only {{ product.stock }} left</em></p>{% endif %}
    {% for paragraph in product.text %}<p>{{ paragraph }}</p>
    {% endfor %}
    <table>{% for name, value in product.details %}
      <tr><th>{{ name }}</th><td>{{ value }}</td></tr>
    {%- endfor %}</table>
  </article>
  <section><h2>{{ product.reviews|length }} reviews</h2>
    {% for review in product.reviews %}
    <blockquote>{{ stars(review.stars) }} <cite>{{ review.author }}</cite> <p>{{ review.text }}</p></blockquote>
    {%- endfor %}
  </section>
  <section><h2>Goes well with</h2><ul class="grid">{% for other in product.related %}
    <li><a href="/product/{{ other.id }}"><img src="/static/{{ other.id }}.webp" alt="{{ other.name }}" loading="lazy">
      {{ other.name }}</a> {{ stars(other.stars) }} {{ price(other.cents) }}</li>
  {%- endfor %}</ul></section>
{% endblock %}
"""

_SENTENCE = "Made by hand from oak & brass, it is as good on the first day as in its tenth year. "

DATA: dict[str, Any] = {
    "shop": {
        "name": "Nuts & Bolts",
        "address": "1 Market Street",
        "categories": [{"slug": f"c-{each}", "name": f"Category {each}", "number": each * 7} for each in range(12)],
    },
    "product": {
        "name": 'A 12" <solid> stool',
        "cents": 12900,
        "stock": 3,
        "text": [_SENTENCE * 3] * 3,
        "details": [(f"Detail {each}", f"{each * 3} cm") for each in range(12)],
        "reviews": [{"author": f"Visitor {each}", "stars": each % 5 + 1, "text": _SENTENCE * 2} for each in range(8)],
        "related": [
            {"id": each, "name": f"Stool no. {each}", "stars": each % 5 + 1, "cents": 900 + each} for each in range(16)
        ],
    },
}


class Renderer:
    """An origin that renders the page each time."""

    def __init__(self) -> None:
        loader = DictLoader({"layout": LAYOUT, "product": PRODUCT})
        self._template = Environment(loader=loader, autoescape=True).get_template("product")

    async def make(self) -> str:
        return self.make_in_thread()

    def make_in_thread(self) -> str:
        return self._template.render(DATA)
