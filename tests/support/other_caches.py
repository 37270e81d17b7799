"""What other caches are told by Vary, of a page with a policy and a Vary of its own: the same under every framework."""

import pytest

told_by_vary = pytest.mark.parametrize(
    ("policy", "own", "told"),
    [
        ({"vary": ["Accept-Language", "X-Theme"]}, None, "Accept-Language, X-Theme"),
        ({"vary": ["Accept-Language"]}, "accept-language, Origin", "accept-language, Origin"),
        ({"vary": ["X-Theme"]}, "Origin", "Origin, X-Theme"),
        ({"cookies": ["lang"]}, "Origin", "Origin, Cookie"),
        ({"cookies": "all"}, None, "Cookie"),
        ({}, "Origin", "Origin"),
        ({}, None, None),
    ],
)
