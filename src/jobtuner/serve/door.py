"""The door of a server: shut for new connections before those that the kernel has already taken are lost.

A listening socket that is closed resets each connection that waits to be accepted, and between the last `accept` and
the `close` there is always time for one more. So the kernel is told to drop what asks for a new connection (SYN), while
handshakes under way end and their connections are accepted. Who was dropped asks again after a second (RFC 6298, 2.1)
and is refused then: nothing was sent, so another server can be asked.
"""

import ctypes
import socket
import struct
import sys

__all__ = ["shut"]

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h: x86 and ARM alike
_LOAD_BYTE, _AND, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06  # linux/bpf_common.h
_FLAGS, _SYN, _SYN_OR_ACK = 13, 0x02, 0x12  # TCP's flags: their byte in the header, and bits (RFC 9293, 3.1)
_NO_NEW_CONNECTIONS = (
    # code, steps forward if true, if false, operand
    (_LOAD_BYTE, 0, 0, _FLAGS),
    (_AND, 0, 0, _SYN_OR_ACK),
    (_JUMP_IF_EQUAL, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),  # dropped
    (_RETURN, 0, 0, 0xFFFF_FFFF),  # let in whole
)


def shut(listener: socket.socket) -> None:
    """Let no new connection in; those on their way can still be accepted.

    Where the kernel is not Linux, or refuses the filter, the queue of waiting connections is cut to its shortest: then
    the last one can still be reset.
    """
    try:
        _attach(listener)
    except OSError:
        listener.listen(0)


def _attach(listener: socket.socket) -> None:
    if sys.platform != "linux":
        raise OSError("BPF filters of sockets are Linux's")
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in _NO_NEW_CONNECTIONS))
    filter_ = struct.pack("@HP", len(_NO_NEW_CONNECTIONS), ctypes.addressof(program))  # struct sock_fprog
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
