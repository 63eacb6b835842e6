"""A second machine on this one: a network namespace joined to ours by cables (veth) that can be pulled.
Needs root, as the tests in a container have it.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from dataclasses import dataclass

_numbers = itertools.count(1)


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


@dataclass(frozen=True)
class Cable:
    """near: the interface and address on our side; far: over there."""

    near: str
    near_host: str
    far: str
    far_host: str

    def down(self) -> None:
        _ip("link", "set", self.near, "down")

    def up(self) -> None:
        _ip("link", "set", self.near, "up")

    def address(self, *, add: bool) -> None:
        """Gives our side its address, or takes it away. Neither again is an error."""
        _ip("address", "replace" if add else "delete", f"{self.near_host}/24", "dev", self.near, check=add)

    def route(self, host: str, metric: int) -> None:
        """An address over there that is reached by this cable too; of several ways the lowest metric is taken."""
        _ip("route", "replace", host, "via", self.far_host, "dev", self.near, "metric", str(metric))


class OtherMachine:
    """Use as a context manager. `prefix` before a command runs it over there."""

    def __init__(self) -> None:
        self.number = os.getpid() % 200 + 20
        self.name = f"ms{os.getpid()}x{next(_numbers)}"
        self.prefix = ("ip", "netns", "exec", self.name)
        self._cables: list[Cable] = []

    def __enter__(self) -> OtherMachine:
        _ip("netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for cable in self._cables:
            _ip("link", "delete", cable.near, check=False)
        _ip("netns", "delete", self.name)

    def run(self, *command: str) -> str:
        return subprocess.run([*self.prefix, *command], check=True, capture_output=True, text=True).stdout

    def cable(self) -> Cable:
        """A network of its own: 10.N.M.1 is us, 10.N.M.2 is there."""
        index = len(self._cables) + 1
        tag = self.name[2:]
        cable = Cable(
            f"n{index}{tag}"[:15], f"10.{self.number}.{index}.1", f"f{index}{tag}"[:15], f"10.{self.number}.{index}.2"
        )
        _ip("link", "add", cable.near, "type", "veth", "peer", "name", cable.far, "netns", self.name)
        _ip("address", "add", f"{cable.near_host}/24", "dev", cable.near)
        _ip("link", "set", cable.near, "up")
        self.run("ip", "address", "add", f"{cable.far_host}/24", "dev", cable.far)
        self.run("ip", "link", "set", cable.far, "up")
        self._cables.append(cable)
        return cable


class TwoRoads:
    """Two cables to the same machine, which has one address, `host`, by either. The second one is unplugged."""

    def __init__(self, machine: OtherMachine) -> None:
        self.host = f"10.{machine.number}.0.2"
        machine.run("ip", "address", "add", f"{self.host}/32", "dev", "lo")
        self.cables = (machine.cable(), machine.cable())
        self.join(self.cables[0])
        self.leave(self.cables[1])

    def join(self, cable: Cable) -> None:
        """The card is up, has its address and a way there; of two ways the first cable's is taken."""
        cable.up()
        cable.address(add=True)
        cable.route(self.host, 100 * (1 + self.cables.index(cable)))

    def leave(self, cable: Cable) -> None:
        cable.address(add=False)
        cable.down()


class HomeNetwork:
    """Phones at home: a network of private addresses behind a router that translates them and their ports (nftables).

    Use as a context manager. `prefix` runs a command at home, where one's own address is `inside`; we are `outside`.
    """

    def __init__(self) -> None:
        self._router, self._home = OtherMachine(), OtherMachine()
        number = self._home.number
        self.inside, self._gateway = f"192.168.{number}.2", f"192.168.{number}.1"
        self.prefix = self._home.prefix

    def __enter__(self) -> HomeNetwork:
        router, home = self._router.__enter__(), self._home.__enter__()
        cable = router.cable()
        self.outside = cable.near_host
        lan, port = f"lan{home.name[2:]}"[:15], f"eth{home.name[2:]}"[:15]
        _ip("link", "add", lan, "netns", router.name, "type", "veth", "peer", "name", port, "netns", home.name)
        for machine, interface, address in ((router, lan, self._gateway), (home, port, self.inside)):
            machine.run("ip", "address", "add", f"{address}/24", "dev", interface)
            machine.run("ip", "link", "set", interface, "up")
        home.run("ip", "route", "add", "default", "via", self._gateway)
        router.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        rules = f"""
            table ip nat {{
                chain out {{
                    type nat hook postrouting priority srcnat;
                    oifname "{cable.far}" counter masquerade random
                }}
            }}"""
        subprocess.run([*router.prefix, "nft", "-f", "-"], input=rules, check=True, capture_output=True, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._home.__exit__()
        self._router.__exit__()

    def flows(self) -> int:
        """How many flows the router has translated."""
        told = self._router.run("nft", "list", "chain", "ip", "nat", "out")
        return int(told.partition("counter packets ")[2].split()[0])
