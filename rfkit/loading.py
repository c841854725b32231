"""A network out of somebody's own file, named MODULE:FACTORY on a command line."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rfkit._checks import unknown_name

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_network"]


def load_network(source: str, options: Mapping[str, Any] | None = None, *, seed: int | None = None) -> nn.Module:
    """The network that `source` means. Its file is run, like any module that is imported.

    Args:
        source: "MODULE:FACTORY". MODULE is a path to a .py file, or the name of a module that can be imported, also
            from the current folder; FACTORY a function, a class or a network in it, with dots for what is inside.
        options: arguments of the factory.
        seed: of the initial weights; the global generator is left as it was. None draws from the global generator.

    Raises:
        ValueError: there is no such module or factory, the factory needs or refuses an argument, the file or the
            factory fails, or what comes back is no `torch.nn.Module`.
        FileNotFoundError: there is no such file.

    Example:
        ``load_network("my_net.py:make", {"width": 32})``
    """
    import torch

    place, separator, name = source.rpartition(":")
    place, name = (place, name) if separator and not name.endswith(".py") else (source, "")
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        module = _module(place)
        if not name:
            known = ", ".join(_candidates(module)) or "nothing that makes a network"
            raise ValueError(f"{source!r} is not of the form MODULE:FACTORY; {place} has {known}.")
        return _built(_factory(module, place, name), source, dict(options or {}))


def _module(place: str) -> ModuleType:
    """The module that a path or a name means."""
    if place.endswith(".py") and not Path(place).is_file():
        raise FileNotFoundError(f"{place}: no such file.")
    if not place.endswith(".py") and not all(part.isidentifier() for part in place.split(".")):
        raise ValueError(
            f"{place!r} is neither a .py file nor the name of a module; a network is given as FILE.py:FACTORY."
        )
    try:
        if place.endswith(".py"):
            return _from_file(Path(place))
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        importlib.invalidate_caches()
        return importlib.import_module(place)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (place == error.name or place.startswith(f"{error.name}.")):
            raise ValueError(
                f"there is no module {error.name!r} here or installed; a file is given as FILE.py:FACTORY."
            ) from error
        raise _failed(place, "cannot be imported", error) from error


def _from_file(path: Path) -> ModuleType:
    # A name of its own, so that a file called random.py takes the place of no other module.
    name = f"_rfkit_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _factory(module: ModuleType, place: str, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{place}: {unknown_name('FACTORY', name, _candidates(module))}")
        found = getattr(found, part)
    return found


def _candidates(module: ModuleType) -> list[str]:
    """Names in a module that may mean a network: networks, and what the module itself defines that can be called."""
    from torch import nn

    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or (callable(value) and getattr(value, "__module__", "") == module.__name__))
    ]


def _built(factory: Any, source: str, options: dict[str, Any]) -> nn.Module:
    from torch import nn

    if isinstance(factory, nn.Module):
        if options:
            raise ValueError(f"{source} is a network already and takes no options; got {', '.join(options)}.")
        return factory
    if not callable(factory):
        raise ValueError(f"{source} is of type {type(factory).__name__}; it must be a network or what makes one.")
    _check_arguments(factory, source, options)
    try:
        model = factory(**options)
    except Exception as error:
        raise _failed(source, "failed", error) from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{source} returned an object of type {type(model).__name__}; it must be a torch.nn.Module.")
    return model


def _check_arguments(factory: Callable[..., Any], source: str, options: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return  # Some built-in callables do not tell.
    kinds = {parameter.kind for parameter in parameters.values()}
    named = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    for option in options:
        if option not in named and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise ValueError(f"{source}: {unknown_name('option', option, named)}")
    missing = [
        name for name, parameter in named.items() if parameter.default is parameter.empty and name not in options
    ]
    if missing:
        given = " ".join(f"--option {name}=..." for name in missing)
        raise ValueError(f"{source} needs {', '.join(missing)}; give {given}.")


def _failed(what: str, verb: str, error: Exception) -> ValueError:
    return ValueError(f"{what} {verb}: {type(error).__name__}: {error}")
