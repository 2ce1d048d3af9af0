"""Every interleaving of what may happen to one key, over the domain's own decisions: an explicit-state explorer.

The rules of `design.md` §2 (1 to 4, 6, 8) say who may send, what a COMMIT proves, what is answered and what may be
undone. Each is simple; what they do together is not, once two servers, two processes, a lost answer and a fail-over
are in play. Here all of that is one small world (`world`), every step that may happen next is listed (`database`,
`requests`, `acquirer`, `inquirer`), and `search` takes every step in every order. What is decided in a step is asked
of `payonce.domain.claiming` and `payonce.domain.settlement` through `rules`; nothing is decided here.

Who there is: the requests of one key, in the order in which a client sends them, in two processes; a run that may
claim as well where no card lives in memory; a worker that inquires, reverses and records; the sweeper; a primary and
its standby; an acquirer that charges whatever arrives, as often as it arrives. A COMMIT ends acknowledged, with a
warning, clean without any standby being named, local and unanswered, rolled back or forgotten; its connection may
break while it waits on. Time is three ages of a claim: its owner may send; no more; what was sent in time has
arrived or never will. Each kind of fault has a number that says how often it may come (`world.Left`).

What must hold in every world:

I1  At most one live charge of the key, and at the end Postgres knows of it.
I2  Who was answered 503 is never charged; nor is the key by anybody, while none of its requests is unanswered.
I3  Every world can still come to an end in which nothing is pending but a create that was given back; and what was
    answered 503 is never closed as lost.
I4  No charge without a row.
I5  An outcome that was answered is never contradicted; no good charge is reversed; nothing succeeds too late.

Two exceptions are those of rule 9, and each is a switch: `Left.stops` (a process stands still between its last look
at the clock and the socket: then a success may come too late, and is reversed) and `empties="window"` (the HA
manager un-names the standby before any process has looked: then even I1 does not hold, which a test shows).

`mutants` holds the old rules and the mistakes that are near, one at a time, each with the smallest setting in which
it does harm: the tests show that it is found there, and that the domain's own rules are clean there. `python -m
tests.explorer --big` goes through larger bounds in some minutes.

Not modelled: captures and refunds, amounts, events and webhooks, Redis, an old primary that goes on taking writes,
more than one fail-over, clocks that disagree by more than is allowed for, an acquirer that answers inquiries wrongly.
"""
