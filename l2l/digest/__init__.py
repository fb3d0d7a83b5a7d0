"""The weekly digest: how all promises stand, also when all is well, for silence must not look like health; and the week's signed heads over
all chains, for somebody outside who keeps them (P13)."""
