"""What vendors publish about their interfaces, taken from their packages at test time, as judges of both sides."""
