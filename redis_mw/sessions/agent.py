"""Who a session was given to, as far as a page that lists sessions may tell: user agent and shortened address."""

import msgspec

from redis_mw.sessions import values
from redis_mw.sessions.values import DamagedValue

LONGEST_AGENT = 256


class Agent(msgspec.Struct, frozen=True, gc=False):
    """The browser's own words, cut at 256 characters, and the network (not the address) it called from."""

    user_agent: str = ""
    address: str = ""

    def encode(self) -> bytes:
        return values.encode([self.user_agent[:LONGEST_AGENT], self.address], "agent")

    @staticmethod
    def decode(data: bytes) -> "Agent":
        match values.decode(data):
            case [str(user_agent), str(address)]:
                return Agent(user_agent, address)
            case _:
                raise DamagedValue("the agent field has another shape")
