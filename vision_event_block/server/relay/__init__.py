"""The local server as a relay: what it receives is sent to the cloud as soon as there is a route.

    client -> server -> outbox -> store -> 201
                           courier -> API

Once the server has answered an event with 201, the event is in the relay's outbox and in its store,
both synced, and written in this order: whatever is in the store is being forwarded. The outbox, the
courier and the dead letters are those of the block, so `vision-events status`, `list` and `requeue`
work on the relay's folder as well.

An entry in the outbox says that an event has to be sent, and keeps it as received. What is sent is
what the store received last, with the pictures that the store has of it. So an event that has
changed meanwhile is sent in its present form, whichever of its entries comes first; two requests
about one event are never in progress at the same time; and requeuing a dead letter does not bring
an old version back.

The store notes in the event's own transaction that the event is waiting; until it is sent, neither
the event nor its pictures are cleaned up. Before each clean-up the notes are compared with the
files of the outbox, which are authoritative: a note is removed only after its entry is gone.

Limits: the API may carry out a request that timed out after its retry, and then keeps an old
version. `vision-events drain` and `export` cannot read the store and leave these entries alone.
Names and metadata of uploads are not forwarded.
"""
