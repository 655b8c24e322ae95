"""Ties the work given to a thread pool to the execution that gave it, not to the one that made the pool's threads."""

from . import PRISTINE as __builtins__  # noqa: A004

import sys
from _contextvars import copy_context

_POOLS = "concurrent.futures.thread"


class _Finder:
    """First in sys.meta_path, so that the module is amended when user code imports it, and costs nothing before."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != _POOLS:
            return None
        for finder in sys.meta_path:
            if finder is not _Finder:
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    _amend(spec.loader)
                    return spec
        return None


def _amend(loader):
    execute = loader.exec_module

    def exec_module(module):
        execute(module)
        submit = module.ThreadPoolExecutor.submit

        def submit_tied(self, function, /, *args, **kwargs):
            return submit(self, copy_context().run, function, *args, **kwargs)

        module.ThreadPoolExecutor.submit = submit_tied

    loader.exec_module = exec_module


def install():
    sys.meta_path.insert(0, _Finder)
