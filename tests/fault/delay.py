"""Holds every packet of NFQUEUE 7 for a time of its own, up to the given milliseconds: packets overtake one another."""
import heapq
import random
import select
import sys
import time

import netfilterqueue

held, longest = [], int(sys.argv[1]) / 1000


def take(packet):
    packet.retain()
    heapq.heappush(held, (time.monotonic() + random.uniform(0, longest), id(packet), packet))


queue = netfilterqueue.NetfilterQueue()
queue.bind(7, take, 8192)
while True:
    wait = max(0, held[0][0] - time.monotonic()) if held else 1
    if select.select([queue.get_fd()], [], [], wait)[0]:
        queue.run(block=False)
    while held and held[0][0] <= time.monotonic():
        heapq.heappop(held)[2].accept()
