"""Does: one acquirer call or one step of bookkeeping each, safe to run twice."""
