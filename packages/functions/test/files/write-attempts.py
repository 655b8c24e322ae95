"""Ways to change a file that was laid out read-only, or its folder. `attempt(path)` gives the names of those that worked."""

import ctypes
import mmap
import os
import socket
import struct

libc = ctypes.CDLL(None, use_errno=True)


def attempt(path):
    folder = os.path.dirname(path)
    above = os.path.dirname(folder)
    reader = os.open(path, os.O_RDONLY)
    listing = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    by_descriptor = "/proc/self/fd/" + str(reader)

    def checked(result):
        if result != 0:
            raise OSError(ctypes.get_errno(), "refused")

    def opened(flags, where=path):
        os.close(os.open(where, flags, 0o666))

    def mapped():
        with mmap.mmap(reader, 0, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_SHARED) as view:
            view[0:1] = b"X"

    def protected():
        # Mapped for reading and made writable afterwards.
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
        address = libc.mmap(None, 4096, 1, 1, reader, 0)
        libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        checked(libc.mprotect(address, 4096, 3))

    def through_memory():
        # /proc/self/mem writes past page protections, but into a private copy at most.
        view = mmap.mmap(reader, 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
        address = None
        with open("/proc/self/maps") as maps:
            for line in maps:
                if line.rstrip().endswith(path):
                    address = int(line.split("-")[0], 16)
        memory = os.open("/proc/self/mem", os.O_RDWR)
        os.lseek(memory, address, os.SEEK_SET)
        os.write(memory, b"X")
        with open(path, "rb") as again:
            changed = again.read(1) == b"X"
        view.close()
        if not changed:
            raise OSError("only our own view changed")

    def map_files():
        view = mmap.mmap(reader, 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
        try:
            opened(os.O_RDWR, "/proc/self/map_files/" + os.listdir("/proc/self/map_files")[-1])
        finally:
            view.close()

    def sent():
        # A descriptor that went through a socket is the same open file.
        ours, theirs = socket.socketpair()
        socket.send_fds(ours, [b"x"], [reader])
        _, received, _, _ = socket.recv_fds(theirs, 1, 1)
        opened(os.O_RDWR, "/proc/self/fd/" + str(received[0]))

    def new_namespace():
        checked(libc.unshare(0x10000000 | 0x00020000))
        checked(libc.mount(b"none", b"/files", None, 32 | 4096, None))

    def in_child_root():
        opened(os.O_RDWR, "/proc/1/root" + path)

    def handle():
        buffer = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
        mount_id = ctypes.c_int()
        checked(libc.name_to_handle_at(-100, path.encode(), buffer, ctypes.byref(mount_id), 0))
        checked(0 if libc.open_by_handle_at(listing, buffer, os.O_RDWR) >= 0 else -1)

    writer = os.memfd_create("source") if hasattr(os, "memfd_create") else reader
    attempts = {
        "open for writing": lambda: opened(os.O_WRONLY),
        "open for reading and writing": lambda: opened(os.O_RDWR),
        "open for appending": lambda: opened(os.O_WRONLY | os.O_APPEND),
        "open and truncate": lambda: opened(os.O_RDONLY | os.O_TRUNC),
        "open again through /proc/self/fd": lambda: opened(os.O_RDWR, by_descriptor),
        "open again through the folder's descriptor": lambda: os.close(os.open(os.path.basename(path), os.O_RDWR, dir_fd=listing)),
        "open through a descriptor that was sent": sent,
        "open through /proc/1/root": in_child_root,
        "open through /proc/self/map_files": map_files,
        "write to the descriptor": lambda: os.write(reader, b"X"),
        "truncate": lambda: os.truncate(path, 0),
        "truncate the descriptor": lambda: os.ftruncate(reader, 0),
        "allocate": lambda: os.posix_fallocate(reader, 0, 1 << 20),
        "punch a hole": lambda: checked(libc.fallocate(reader, 3, ctypes.c_long(0), ctypes.c_long(4))),
        "copy_file_range": lambda: os.copy_file_range(writer, reader, 1) if writer != reader else checked(-1),
        "map for writing": mapped,
        "map and protect": protected,
        "/proc/self/mem": through_memory,
        "chmod": lambda: os.chmod(path, 0o666),
        "chmod of the descriptor": lambda: os.fchmod(reader, 0o666),
        "chmod through /proc/self/fd": lambda: os.chmod(by_descriptor, 0o666),
        "chmod of the folder": lambda: os.chmod(folder, 0o777),
        "chmod of /files": lambda: os.chmod("/files", 0o777),
        "chown": lambda: os.chown(path, os.getuid(), os.getgid()),
        "chown of the descriptor": lambda: os.fchown(reader, os.getuid(), -1),
        "utimes": lambda: os.utime(path, (1, 1)),
        "utimes of the descriptor": lambda: os.utime(reader, (1, 1)),
        "utimes to now": lambda: os.utime(path),
        "setxattr": lambda: os.setxattr(path, "user.x", b"x"),
        "setxattr of the descriptor": lambda: os.setxattr(reader, "user.x", b"x"),
        "flags of the inode": lambda: checked(libc.ioctl(reader, ctypes.c_ulong(0x40086602), struct.pack("l", 0x20))),
        "link beside it": lambda: os.link(path, path + ".link"),
        "link into scratch": lambda: os.link(path, "/tmp/link"),
        "link of the descriptor into scratch": lambda: os.link(by_descriptor, "/tmp/link2", follow_symlinks=True),
        "symlink beside it": lambda: os.symlink("/tmp", path + ".symlink"),
        "rename": lambda: os.rename(path, path + ".renamed"),
        "rename into scratch": lambda: os.rename(path, "/tmp/renamed"),
        "rename the folder": lambda: os.rename(above, above + ".renamed"),
        "exchange": lambda: checked(libc.renameat2(-100, path.encode(), -100, folder.encode(), 2)),
        "unlink": lambda: os.unlink(path),
        "rmdir": lambda: os.rmdir(folder),
        "create beside it": lambda: opened(os.O_CREAT | os.O_WRONLY, folder + "/new"),
        "create in /files": lambda: opened(os.O_CREAT | os.O_WRONLY, "/files/new"),
        "mkdir in /files": lambda: os.mkdir("/files/new"),
        "mkfifo": lambda: os.mkfifo(folder + "/fifo"),
        "nameless file": lambda: os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR)),
        "mount again, writable": lambda: checked(libc.mount(b"none", b"/files", None, 32 | 4096, None)),
        "mount over it": lambda: checked(libc.mount(b"/tmp", folder.encode(), None, 4096, None)),
        "unmount": lambda: checked(libc.umount2(b"/files", 2)),
        "a namespace of its own": new_namespace,
        "open by handle": handle,
    }
    worked = []
    for name, run in attempts.items():
        try:
            run()
        except (OSError, ValueError, AttributeError, TypeError):
            continue
        worked.append(name)
    with open(path, "rb") as file:
        return {"attempts": len(attempts), "worked": worked, "content": file.read().decode(), "entries": sorted(os.listdir(folder))}
