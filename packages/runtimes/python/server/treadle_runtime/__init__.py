"""The runtime server for Python.

Start-up time counts, so nothing here imports more than the interpreter's own C modules before a call needs it:
no os, json, re, threading, asyncio, inspect or traceback. User code shares the process; what the server needs of
builtins and the system is bound at import, so that code which replaces them does not break the channel.
"""

FOLDER = __file__[: __file__.rindex("/") + 1]
