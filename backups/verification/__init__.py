"""Every stored byte is read again within its location's period; what is not as it should be is found, mended, or named (P4)."""
