"""The customer's side: the only pages without a sign-in. A signed, expiring link stands in for it, and opens one package."""
