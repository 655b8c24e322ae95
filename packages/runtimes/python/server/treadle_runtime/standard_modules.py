"""Names of the standard library's modules: what an import need not be installed for."""

from . import PRISTINE as __builtins__  # noqa: A004

import posix
import sys


def standard_modules():
    names = getattr(sys, "stdlib_module_names", None)
    if names is None:
        # Python 3.9 has no such list: what lies in the folder of the standard library.
        folder = next(entry for entry in sys.path if not entry.endswith(".zip"))
        names = {entry.partition(".")[0] for entry in posix.listdir(folder)} | set(sys.builtin_module_names)
    return names
