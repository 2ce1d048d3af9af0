"""The command `payonce`, with time enough: `python -m tests.support.command …`."""

from importlib import import_module

from tests.support.patience import be_patient

if __name__ == "__main__":
    be_patient("payonce")
    import_module("payonce.cli").main()
