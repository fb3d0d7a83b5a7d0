"""Alarms: what is not as promised is told to people, by mail and to a webhook, grouped, with what to do (P13).

`looking` compares how every control stands, and which findings are open, with the alarms that are open; `deciding` (pure) says what
changes; `telling` sends whatever nobody was told of, each way for itself. All is state-based: killed anywhere, the next minute goes on.

What is never done: a message that quotes content or a customer's name (ids and counts alone); a second alarm for what an open one tells;
an alarm that is forgotten because a way was down. What can happen: a process that is killed after a message left and before that was
recorded sends it once more, with the same id, so that the receiver knows it.
"""
