"""Nights of random people against the real engine, in virtual time, each judged after every event by a second opinion.

A tested path is one that somebody thought of. Here people join in storms, toggle what they allow, leave and come back,
all opt out at once; disks fill up, answers of the disk get lost, the power fails in the middle of a write, clocks come
back as other clocks; hosts move circles on, change rhythm and mode; some listen in. `plot` draws such a night from a
seed, `stage` plays it with the engine that runs in a sanctuary (only sockets, disk and clock are the project's public
fakes), and `oracle` says, written a second time and from what people said alone, what may sound. It is asked at every
call of the data plane and after every event.

A seed gives the same night to the byte: time is trio's mock clock, tasks run in a seeded order, identifiers are
counted, and nothing is iterated in the order of a hash. Its digest is over all that was seen and written.
`mistakes` puts five known bugs into the engine, to see that the nights find them.
"""
