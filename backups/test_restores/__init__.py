"""Test restores prove that what is kept can be had back (P7; design section 8).

What is owed: each stream (every customer, and the system's own) x tier x location, within the policy's `test_days`. A night's plan takes
as many as keep that from ever being late, the soonest due first. A test takes one set, and one random second, from one location alone
into a scratch database that nobody else sees, judges what it reads back from there, times it, removes it, and signs what it found.
"""
