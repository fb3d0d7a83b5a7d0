"""A customer's content from a folder: `import_content(customer, folder)`.

folder     what lies in it, opened safely             csvrows    the rows of one CSV file, with every problem named
liverows   what is live already, in little memory     tables     one CSV file against the live rows of its kind
jsonrows   those of one NDJSON file, any value as it is
uploads    the files                                  content    all of it, part by part
report     what was done, refused and found missing

Lists of customers, from a spreadsheet or from billing: sheets (the file), cells (what one says), customers (`import_customers`).
"""

from subscriptions.importing.content import import_content
from subscriptions.importing.report import ImportReport, NothingToImport, Outcome, Refusal

__all__ = ["ImportReport", "NothingToImport", "Outcome", "Refusal", "import_content"]
