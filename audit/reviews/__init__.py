"""Who may do what, looked at each quarter and signed off; who reaches the data from outside, attested (P5)."""
