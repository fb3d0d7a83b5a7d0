"""Up to the second: the shipper that takes every committed change to all locations at once (P2; design section 4).

`numbering` gives changes their numbers, `sections` and `segments` are what is written, `lanes` write it to each location, `files` are new
uploads, `shipper` leads and ticks, `loss_window` measures, `timelines` stops when the database went back in time.
"""
