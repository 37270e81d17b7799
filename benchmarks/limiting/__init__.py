"""Rate limits: the contenders, each behind one small shape, and what is measured of them.

``limiter`` is that shape, ``contenders`` the list of who takes part; ``ours`` and ``with_*`` fit each library into it,
in the way its own documentation shows. ``speed``, ``crowd``, ``attacks``, ``pace`` and ``memory`` measure one thing
each; ``windows`` is the counting behind ``attacks`` and ``pace``, pure; ``report`` holds figures and targets together.
"""
