"""What a process of the product calls while it is told to listen; `bench.walk` puts this into its start.

Imports the standard library only: whatever it imported would be there before the product.
"""

import json
import socket
import sys
import threading
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FrameType

CHECKOUT = Path(__file__).resolve().parents[1]
PRODUCT = ("activities", "api", "payonce", "workers", "workflows")
PROCESSES = {("-m", "api"): "api", ("-m", "workers", "relay"): "relay"}  # by how it was started
BEGIN, END = b"b", b"e"


def trace(folder: Path) -> None:
    """A socket in the folder, named after the process, begins and ends a trace; no other process is touched."""
    name = PROCESSES.get(tuple(sys.orig_argv[1:]))
    if name is None:
        return
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / name))
    listener.listen()
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()  # before the others are watched
    threading.setprofile(
        _note
    )  # of every thread that starts from now on: workflows have threads of their own
    sys.setprofile(_note)


_called: set[CodeType] = set()


def _note(frame: FrameType, event: str, _argument: object) -> None:
    if event == "call":  # a coroutine that goes on is called again
        _called.add(frame.f_code)


def _serve(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    while command := connection.recv(1):
        if command == BEGIN:
            _called.clear()
        answer = json.dumps([] if command == BEGIN else _functions(_called.copy())).encode()
        connection.sendall(len(answer).to_bytes(4, "big") + answer)


def _functions(called: set[CodeType]) -> list[tuple[str, str]]:
    """The product's own, as file and name: no modules, bodies of classes or comprehensions."""
    found = set()
    for code in called:
        path = Path(code.co_filename)
        if (
            code.co_flags & CO_OPTIMIZED
            and not code.co_name.startswith("<")
            and path.is_relative_to(CHECKOUT)
        ):
            file = path.relative_to(CHECKOUT)
            if file.parts[0] in PRODUCT:
                found.add((str(file), code.co_qualname if sys.version_info >= (3, 11) else code.co_name))
    return sorted(found)
