"""LOAD: environment, limits and dependencies, then the functions of the contract."""

from . import PRISTINE as __builtins__  # noqa: A004

import posix
import sys

from .channel import MAXIMUM_FRAME
from .execution import Limits


def load(request):
    """(contract, LoadReport)."""
    limits = request.get("limits") or {}
    Limits.result_bytes = min(limits.get("resultBytes", Limits.result_bytes), MAXIMUM_FRAME - 64)
    Limits.log_bytes = limits.get("logBytes", Limits.log_bytes)
    Limits.log_entry_characters = limits.get("logEntryCharacters", Limits.log_entry_characters)
    set_environment(request.get("environment") or {})
    if posix.environ.get(b"TREADLE_EGRESS") == b"1":
        from .egress import open_way_out

        set_environment(open_way_out())
    if request.get("dependencies"):
        add_dependencies(request["dependencies"])
    if request["contract"] == "inline":
        from .inline import InlineContract

        contract = InlineContract(request)
    elif request["contract"] == "script":
        from .script import ScriptContract

        contract = ScriptContract(request["directory"], request["entrypoint"])
    else:
        from .handler import HandlerContract

        contract = HandlerContract(request["directory"], request["entrypoint"])
    return contract, {"errors": contract.errors, "imports": contract.imports}


def set_environment(variables):
    for name, value in variables.items():
        if name and "=" not in name and "\0" not in name and "\0" not in value:
            key, data = name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")
            posix.putenv(key, data)
            if "os" in sys.modules:
                sys.modules["os"].environ[name] = value
            else:
                # The module os, once imported, copies this.
                posix.environ[key] = data


def add_dependencies(folder):
    if any(name.endswith(".pth") for name in _list(folder)):
        import site

        site.addsitedir(folder)
    else:
        sys.path.append(folder)


def _list(folder):
    try:
        return posix.listdir(folder)
    except OSError:
        return ()
