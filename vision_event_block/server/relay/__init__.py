"""The local server as a relay: what it takes in goes on to the cloud as soon as there is a route.

    client -> server -> outbox -> store -> 201
                           courier -> API

An event that the server has answered with 201 lies in the relay's outbox and in its store, both
synced, and came there in this order: what is in the store is on its way. The outbox, the courier
and the dead letters are those of the block, so `vision-events status`, `list`, `requeue` and
`export` work on the relay's folder as well.

An entry in the outbox says that an event has to go. What goes is what the store holds at that
moment, with pictures from the entry or, where they were shed, from the store. So an event that
was changed meanwhile goes as it is now, whichever of its entries comes first; two requests about
one event are never under way at the same time; and a dead letter that is put back into the line
does not bring an old version back. Only an event that the store has deleted goes as its entry
has it.

Limits: a request that timed out may be carried out by the API later than its own retry, and then
an old version stays there. `vision-events drain`, `export` and `upload`
know no store and send entries as they lie, in any order. Names and metadata of pictures stay
behind, since an entry, which is an official bundle, has no place for them.
"""
