"""What payonce is compared with: the engine alone, the textbook, and no engine at all."""
