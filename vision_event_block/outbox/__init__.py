"""The outbox: events on disk until the API has them. Files are the truth; there is no database.

On disk
-------

    <outbox>/                              mode 0700, see `settings.outbox_folder`
      slots/<boot>-<pid>-<n>/              one for each process, under its lock
        .lock                              held for life; the kernel frees it however it dies
        journal                            what was stored and delivered, for the counts
        journal-<slot>                     a journal taken over, until it is added to ours
        status.json                        what the owner last said about itself
        <UTC ms>-<event id>.tar            an entry: one event with its pictures
        <UTC ms>-<event id>.state.json     pictures that are up already, after a failed try
        *.tmp                              being written, or left over and swept soon
        release.json                       another process asks for entries
      dead/<entry>.tar, <entry>.json       what the API refused for good, and why
      corrupt/<entry>.tar                  what cannot be read
      key.salt                             for the digests of keys; each entry also holds its own
      ballast                              given back when the disk has no byte left

An entry is a plain tar in the bundle layout version 1 of the Vision Events API: `payload.json`
and `images/<id>.jpg`, readable with `tar tf`. The CRC-32 of each member and the delivery metadata
(where the event goes, the clock when it was taken) are in PAX headers. A key is never there, only
a salted digest of one.

The life of an entry
--------------------

    storing    write .tmp, fdatasync, rename, fsync the folder; only now it is called stored
    delivered  the API said 201: a line in the journal, then unlink. If a power cut brings the
               file back, the event is sent once more and overwrites itself by its id
    shed       when room gets short: rewritten without pictures, by the same commit
    dead       the API refused this event: reason beside it, renamed into dead/
    adopted    its process is gone (lock free): renamed into the slot of a live process

Only the owner of a slot changes what is in it. Whoever else wants an entry asks for it with
`release.json`, and the owner renames it into the slot of the one who asked. What is in dead/ and
corrupt/ belongs to nobody: whoever does something with it renames it into its own slot first.

Whatever the disk refuses on the way is owed: the entry is out of the queue and counted, and the
housekeeping asks again.
"""
