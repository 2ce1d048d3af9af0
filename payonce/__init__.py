"""payonce: the library behind a payment gateway that charges once."""
