"""Run by manifest.ts on a candidate interpreter: prints what it is, and compiles the server so that later starts need not.

The compiled files lie where Python itself looks for them (__pycache__); where that cannot be written, starts are slower.
"""

import sys

version = ".".join(map(str, sys.version_info[:3]))
print(version)
if sys.version_info < (3, 9):
    sys.exit()
folders = [folder for folder in sys.path if not folder.endswith(".zip")]
print("\n".join(folders))

import posix  # noqa: E402
from importlib.util import cache_from_source  # noqa: E402

package = __file__[: __file__.rindex("/")] + "/treadle_runtime"
for name in posix.listdir(package):
    if not name.endswith(".py"):
        continue
    source = package + "/" + name
    compiled = cache_from_source(source)
    stat = posix.stat(source)
    wanted = (0).to_bytes(4, "little") + int(stat.st_mtime).to_bytes(4, "little") + (stat.st_size & 0xFFFFFFFF).to_bytes(4, "little")
    try:
        with open(compiled, "rb") as file:
            if file.read(16)[4:] == wanted:
                continue
    except OSError:
        pass
    try:
        import py_compile

        mode = posix.umask(0o022)
        py_compile.compile(source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
        posix.umask(mode)
        posix.chmod(compiled, 0o644)
    except OSError:
        break
