"""What a customer, its account manager and an auditor take home: the audit trail report and the customer statement.

Making is apart from whoever asks: `trail.trail_of` and `statement.statement_of` read; `trail_csv`, `trail_pdf`, `statement_pdf` and
`statement_csv` write; `making` lets the file go, with an `Export` row and an event, in one transaction (P5, P8, P13).
"""
