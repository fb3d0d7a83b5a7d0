"""The end of a customer: everything of it goes, and it is proved (P12; design section 9)."""
