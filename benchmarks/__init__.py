"""redis-mw beside its peers, in one run on one machine. Not shipped; ``make bench`` installs the peers and runs it.

Only ratios taken within one run are worth comparing: what is absolute belongs to the machine. A program per room
(``limits``), which prints tables; what they share stands beside them: ``server``, ``rounds``, ``table``.
"""
