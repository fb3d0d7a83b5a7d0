"""For whom customers' keys are wrapped: changed by two people, carried to every location, listed truly, and drilled (design section 5).

Never here: a customer's key in a file, a log or the database; a former wrapping removed where the new one was not read back and opened; a
name used for a second content. Order is safety: the ring's file changes first, so that whatever is wrapped from then on is for the new
recipients; then every key is wrapped anew, at every location that answers (`rewrapping`); then former wrappings go, by the destroyer, at
locations that have the new one (`former`); the retired master goes last, when nothing needs it any more (`retired`). Killed anywhere, the
next look goes on: all of it is found by comparing what stands with what should. A change is undone by another change, never by putting
files back.
"""
