"""Call all that the compiled modules define with wrong arguments: an error is right, and a crash is not."""
import functools
import importlib
import inspect
import itertools
import pkgutil
import warnings

import ad

WRONG = (None, 1.5, "x", [None], (None,), {}, object())
# What ends a process, or changes how all later calls behave.
LEFT_OUT = {"_forget_workers", "install", "install_lookup", "set_limits", "add_method", "set_num_threads", "specialise"}


def modules():
    for info in pkgutil.walk_packages(ad.__path__, "ad."):
        if not info.name.endswith("__main__"):
            module = importlib.import_module(info.name)
            if not module.__file__.endswith(".py"):
                yield module


def blank(cls):
    """An object on which no `__init__` ran, if there can be one."""
    try:
        return cls.__new__(cls)
    except Exception:
        return None


def callables():
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, type) and value.__module__ == module.__name__:
                yield f"{module.__name__}.{name}", value
                target = blank(value)
                for attribute in vars(value) if target is not None else ():
                    if attribute not in ("__new__", "__reduce__", "__reduce_ex__", "__init_subclass__"):
                        yield f"{module.__name__}.{name}.{attribute}", functools.partial(use, target, attribute)
            elif callable(value) and getattr(value, "__module__", None) == module.__name__ and name not in LEFT_OUT:
                yield f"{module.__name__}.{name}", value


def use(target, attribute, *args):
    found = getattr(target, attribute)
    return found(*args) if callable(found) else found


def main():
    count = 0
    warnings.simplefilter("ignore")
    for name, function in callables():
        print(name, flush=True)
        for n in range(6):
            same = [(wrong,) * n for wrong in WRONG]
            mixed = itertools.islice(itertools.product(WRONG, repeat=n), 60)
            for args in [*same, *mixed]:
                count += 1
                try:
                    found = function(*args)
                    if inspect.isgenerator(found):
                        found.close()
                except Exception:
                    pass
    print("calls", count)


if __name__ == "__main__":
    main()
