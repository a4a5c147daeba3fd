"""The local server as a relay: what it takes in is sent to the cloud as soon as there is a route.

    client -> server -> outbox -> store -> 201
                           courier -> API

An event that the server has answered with 201 is in the relay's outbox and in its store, both
synced, and came there in this order: what is in the store is on its way. The outbox, the courier
and the dead letters are those of the block, so `vision-events status`, `list` and `requeue` work on
the relay's folder as well.

An entry in the outbox says that an event has to go, and keeps it as it came. What goes is what the
store holds at that moment, as that came, with the pictures that the store has of it. So an event
that was changed meanwhile goes as it is now, whichever of its entries comes first; two requests
about one event are never under way at the same time; and a dead letter that is requeued does not
bring an old version back.

What waits is noted in the store in the event's own transaction, and is not cleaned up, nor are its
pictures. Before each clean-up the notes are compared with the files of the outbox, which are the
truth: whatever happened to an entry, its note is gone by then, and never before it.

Limits: a request that timed out may be carried out by the API later than its own retry, and then
an old version stays there. `vision-events drain` and `export` know no store and leave these entries
alone. Names and metadata of uploads stay behind.
"""
