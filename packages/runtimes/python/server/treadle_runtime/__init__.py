"""The runtime server for Python.

Start-up time counts, so nothing here imports more than the interpreter's own C modules before a call needs it:
no os, json, re, threading, asyncio, inspect or traceback. User code shares the process; what the server needs of
builtins and the system is bound at import, so that code which replaces them does not break the channel.
"""

import builtins

FOLDER = __file__[: __file__.rindex("/") + 1]

# The builtins as they were before user code could change them. Each module takes this as its own `__builtins__`, where
# Python looks up the names of its functions.
PRISTINE = dict(vars(builtins))
