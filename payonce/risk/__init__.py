"""Who says, before money moves, whether it may: the contract of a risk provider, and those that come with payonce."""
