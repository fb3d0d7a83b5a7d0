"""A set restored into an empty database that plain SQL can read (P7, P14; design section 8)."""
