"""The public interface, read from the source: what each door exports, and the types in it.

A *door* is a module of which ``__all__`` is documented. Nothing is imported here, so LiteLLM need
not be installed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
TOPS: Final = (ROOT, ROOT / "adapters")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A name, and the module that defines it."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Module:
    """What a module defines, what it imports from where, and its ``__all__``."""

    definitions: dict[str, list[ast.stmt]]  # several for overloads
    imported: dict[str, Name]
    exported: tuple[str, ...]


def exports(door: str) -> set[Name]:
    """What *door* exports, by the modules of ours that define it."""
    return set(filter(None, (home(Name(door, name)) for name in module(door).exported)))


def types_in(name: Name, *, without: frozenset[str] = frozenset()) -> set[Name]:
    """The types of ours in the signature of *name*: a class, a function, an alias or a value.

    Of a class the methods named in *without* do not count.
    """
    statements = module(name.module).definitions[name.name]
    words = {word for each in statements for word in _words(each, without)}
    found = filter(None, (home(Name(name.module, word)) for word in words))
    return {each for each in found if _is_a_type(module(each.module).definitions[each.name][0])}


def home(name: Name) -> Name | None:
    """Where *name* is defined; None when that is in a package of others."""
    found = module(name.module)
    if name.name in found.definitions:
        return name
    origin = found.imported.get(name.name)
    if origin is None or path_of(origin.module) is None:
        return None
    return home(origin)


@cache
def module(name: str) -> Module:
    """The module of ours called *name*."""
    path = path_of(name)
    assert path is not None, name
    tree = ast.parse(path.read_text("utf-8"))
    definitions: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for word in _defined_by(statement):
            definitions.setdefault(word, []).append(statement)
    imported = {
        alias.asname or alias.name: Name(node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    value = getattr(definitions.get("__all__", [None])[0], "value", None)
    return Module(definitions, imported, ast.literal_eval(value) if value else ())


def path_of(module: str) -> Path | None:
    """The file of a *module* of ours."""
    for top in TOPS:
        place = top.joinpath(*module.split("."))
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.exists():
                return path
    return None


def _defined_by(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            yield name
        case ast.If(body=body):
            for inner in body:
                yield from _defined_by(inner)


def _is_a_type(statement: ast.stmt) -> bool:
    """Whether it defines a class or an alias, and neither a type variable nor a constant."""
    match statement:
        case ast.ClassDef():
            return True
        case ast.AnnAssign(annotation=ast.Name("TypeAlias")):
            return True
        case ast.Assign(value=value) | ast.AnnAssign(value=value):
            return not isinstance(value, ast.Call | ast.Constant)
    return False


def _words(statement: ast.stmt, without: frozenset[str]) -> Iterator[str]:
    """The words in the signature that a statement defines."""
    match statement:
        case ast.ClassDef():
            yield from _of_class(statement, without)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from _of_function(statement)
        case ast.AnnAssign(annotation=ast.Name("TypeAlias"), value=ast.expr() as value):
            yield from _of_annotation(value)
        case ast.AnnAssign(annotation=annotation, value=value):
            yield from _of_annotation(annotation)
            yield from _of_value(value)
        case ast.Assign(value=value):
            yield from _of_value(value)


def _of_class(statement: ast.ClassDef, without: frozenset[str]) -> Iterator[str]:
    for base in statement.bases:
        yield from _of_annotation(base)
    for member in statement.body:
        match member:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if _is_public(member.name) and member.name not in without:
                    yield from _of_function(member)
                yield from _of_attributes(member)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                if _is_public(name):
                    yield from _of_annotation(annotation)


def _of_attributes(method: Function) -> Iterator[str]:
    """The types of the public attributes that *method* gives to its object."""
    for node in ast.walk(method):
        match node:
            case ast.AnnAssign(target=ast.Attribute(value=ast.Name("self"), attr=attribute)):
                if _is_public(attribute):
                    yield from _of_annotation(node.annotation)
            case ast.Assign(targets=[ast.Attribute(value=ast.Name("self"), attr=attribute)]):
                if _is_public(attribute):
                    yield from _of_value(node.value)


def _of_function(function: Function) -> Iterator[str]:
    if function.name.startswith("test_"):
        return  # its parameters are fixtures, which pytest passes
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    for parameter in every:
        if parameter is not None and parameter.annotation is not None:
            yield from _of_annotation(parameter.annotation)
    if function.returns is not None:
        yield from _of_annotation(function.returns)


def _of_annotation(annotation: ast.expr) -> Iterator[str]:
    """Each word in it, also in quotes, but no values of a ``Literal`` and no metadata."""
    match annotation:
        case ast.Name(id=word):
            yield word
        case ast.Constant(value=str(text)):
            yield from _of_annotation(ast.parse(text, mode="eval").body)
        case ast.Subscript(value=ast.Name("Literal")):
            pass
        case ast.Subscript(value=ast.Name("Annotated"), slice=ast.Tuple(elts=[first, *_])):
            yield from _of_annotation(first)
        case _:
            for inner in ast.iter_child_nodes(annotation):
                if isinstance(inner, ast.expr):
                    yield from _of_annotation(inner)


def _of_value(value: ast.expr | None) -> Iterator[str]:
    """The words of an alias, or the class that a value is made of."""
    match value:
        case ast.Call(func=ast.Name(id=word)):
            yield word
        case ast.Subscript() | ast.BinOp():
            yield from _of_annotation(value)


def _is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))
