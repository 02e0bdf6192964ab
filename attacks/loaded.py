"""A step's programs, loaded anew into this process: with empty stores, a clock to turn, and rules to take out."""

import functools
import importlib
import itertools
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from unittest import mock

from cryptography.hazmat.primitives.asymmetric import rsa

from tools.catalogue import Step
from tools.clock import Clock

numbers = itertools.count()
one_key = functools.cache(rsa.generate_private_key)
Rule = Callable[..., object]


def cheap_keys() -> AbstractContextManager:
    """While it is entered, every RSA key is the same one."""
    return mock.patch.object(rsa, "generate_private_key", one_key)


class Loaded:
    """The modules of one step as a package of their own, so that nothing is shared with any other copy."""

    def __init__(self, step: Step):
        self.step = step
        self.clock = Clock()
        self.name = f"loaded_{next(numbers)}"
        package = ModuleType(self.name)
        package.__path__ = [str(step.path)]
        sys.modules[self.name] = package

    def __enter__(self) -> "Loaded":
        return self

    def __exit__(self, *_: object) -> None:
        for name in [name for name in sys.modules if name == self.name or name.startswith(f"{self.name}.")]:
            del sys.modules[name]

    def module(self, name: str) -> ModuleType:
        """One module, and with it those that it imports. Making an RSA key each time would only take time."""
        with cheap_keys():
            found = importlib.import_module(f"{self.name}.{name}")
        for module in self.modules():
            if getattr(module, "time", None) is time:
                module.time = self.clock
        return found

    def modules(self) -> list[ModuleType]:
        return [module for name, module in sys.modules.items() if name.startswith(f"{self.name}.")]

    def all_modules(self) -> list[ModuleType]:
        return [self.module(name.removesuffix(".py").replace("/", ".")) for name in self.step.files]

    def rules(self) -> dict[str, tuple[str, Rule]]:
        """Every rule by its name, with the name of the tuple that it stands in."""
        found: dict[str, tuple[str, Rule]] = {}
        for module in self.all_modules():
            for name, value in vars(module).items():
                if is_policy(name, value):
                    found |= {rule.__name__: (name, rule) for rule in value}
        return found

    def change_policies(self, change: Callable[[tuple[Rule, ...]], tuple[Rule, ...]]) -> None:
        """Put another tuple in the place of every policy, wherever it has been imported."""
        for module in self.all_modules():
            for name, value in list(vars(module).items()):
                if is_policy(name, value):
                    setattr(module, name, change(value))

    def without(self, rule_name: str) -> None:
        self.change_policies(lambda rules: tuple(rule for rule in rules if rule.__name__ != rule_name))


def is_policy(name: str, value: object) -> bool:
    """A tuple in capitals that holds nothing but functions: what each of them checks is all that is checked."""
    return name.isupper() and isinstance(value, tuple) and bool(value) and all(map(is_function, value))


def is_function(value: object) -> bool:
    return callable(value) and hasattr(value, "__name__") and not isinstance(value, type)
