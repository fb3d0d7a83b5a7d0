"""The data goes back to the customer (P10; design section 9): what was returned = what is backed up = what is destroyed.

In this order, each step repeatable, so that a killed worker goes on at the next look:

freezing      nobody changes the customer's data any more; what was begun before is in it
shipped       its last changes and files are durable at every required location
final_set     a set of what is there now, at every required location and proved
payload       the package's content, read from that set: tables, importable, files, audit trail
beside        what lies beside it: how to read and verify it, and the signed head
packing       the bag in a zip, at its own place until it is whole
checking      reopened from the disk and verified: zip, bag, digests, counts, signature
encrypting    for the customer's own key, if it gave one, and opened again with a key that is then forgotten
carrying_out  all of that for one request, by one process; `returned` in the transaction that gives the file its name
handing_over  to a member of staff or by a signed link, each time recorded
packages      where packages lie, and their removal

Never here: a package made from live rows; a file under the package's name that was not verified; a request that is `returned` without it.
Nothing that stands in the way loses anything: the request stays `returning`, and its `ReturnWork` says what it waits for.
"""
