"""The outbox: events on disk until the API has them. Files are the truth; there is no database.

On disk
-------

    <outbox>/                              mode 0700, see `settings.outbox_folder`
      slots/<boot>-<pid>-<n>/              one for each process, under its lock
        .lock                              held for life; the kernel frees it in any case
        journal                            what was stored and delivered, for the counts
        journal-<slot>                     a journal taken over, until it is added to ours
        status.json                        what the owner last reported about itself
        <UTC ms>-<event id>.tar            an entry: one event with its pictures
        <UTC ms>-<event id>.state.json     pictures that are up already, after a failed try
        *.tmp                              being written, or left over and swept soon
        release.json                       another process asks for entries
      dead/<entry>.tar, <entry>.json       what the API rejected for good, and why
      corrupt/<entry>.tar                  what cannot be read
      key.salt                             for the digests of keys; each entry also holds its own
      ballast                              freed when the disk is completely full

An entry is a plain tar in the bundle layout version 1 of the Vision Events API: `payload.json`
and `images/<id>.jpg`, readable with `tar tf`. The CRC-32 of each member and the delivery metadata
(where the event goes, the clock when it was taken) are in PAX headers. A key is never stored, only
a salted digest of it.

The life of an entry
--------------------

    storing    write .tmp, fdatasync, rename, fsync the folder; only now does it count as stored
    delivered  the API said 201: a line in the journal, then unlink. If a power cut brings the
               file back, the event is sent once more and overwrites itself by its id
    shed       when space runs short: rewritten without pictures, with the same commit
    dead       the API rejected this event: reason next to it, renamed into dead/
    adopted    its process is gone (lock free): renamed into the slot of a live process

Only the owner of a slot changes what is in it. Another process that wants an entry asks for it with
`release.json`, and the owner renames it into that process's slot. What is in dead/ and corrupt/
has no owner: a process that does something with it first renames it into its own slot.

A step that the disk refuses is owed: the entry is out of the queue and counted, and housekeeping
tries the step again.
"""
