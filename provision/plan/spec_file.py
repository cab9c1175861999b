"""Reading ``fabric.yaml``: strict, all errors at once, each with its line. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from provision.domain.spec import AUTO, Install, Spec
from provision.errors import InvalidInputError, did_you_mean

MAX_BYTES = 1 << 16
_KNOWN = get_type_hints(Spec)
_INSTALL = get_type_hints(Install)


def parse_spec(data: bytes, name: str) -> Spec:
    """Return the spec in ``data``. Raises ``InvalidInputError`` that lists everything that is wrong with it."""
    values, errors = _read(data)
    if errors:
        listed = "".join(f"\n  {error}" for error in errors)
        count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
        raise InvalidInputError(f"{name} has {count}:{listed}", f"Known keys: {', '.join(_KNOWN)}.")
    return Spec(**values)


def _read(data: bytes) -> tuple[dict[str, Any], list[str]]:
    import yaml

    if len(data) > MAX_BYTES:
        return {}, [f"it is larger than {MAX_BYTES} bytes"]
    try:
        loader = yaml.SafeLoader(data.decode("utf-8-sig"))
        root = loader.get_single_node()
    except UnicodeDecodeError as error:
        return {}, [f"byte {error.start} is not UTF-8"]
    except RecursionError:
        return {}, ["it is nested too deeply"]
    except yaml.reader.ReaderError as error:
        line = data.decode("utf-8-sig").count("\n", 0, error.position) + 1
        return {}, [f"line {line}: {error.reason} (U+{error.character:04X})"]
    except yaml.YAMLError as error:
        return {}, [_yaml_error(error)]
    if root is None:
        return {}, []
    if not isinstance(root, yaml.MappingNode):
        return {}, [f"line {root.start_mark.line + 1}: expected `key: value` lines"]
    return _entries(loader, root, _KNOWN, _read_key)


_ReadKey = Callable[[Any, str, Any], tuple[Any, list[str]]]


def _entries(loader: Any, root: Any, known: Mapping[str, Any], read: _ReadKey) -> tuple[dict[str, Any], list[str]]:
    """Read the pairs of a mapping with ``read``, each key once and only those that are ``known``."""
    import yaml

    values: dict[str, Any] = {}
    errors: list[str] = []
    for key_node, value_node in root.value:
        line = f"line {key_node.start_mark.line + 1}"
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
        if key not in known:
            errors.append(f"{line}: unknown key {key!r}.{did_you_mean(str(key), list(known))}")
        elif key in values:
            errors.append(f"{line}: {key} is given twice")
        else:
            values[key], wrong = read(loader, key, value_node)
            errors += [each if each.startswith("line ") else f"{line}: {each}" for each in wrong]
    return values, errors


def _read_key(loader: Any, key: str, node: Any) -> tuple[Any, list[str]]:
    import yaml

    if key == "install" and isinstance(node, yaml.MappingNode):
        values, errors = _entries(loader, node, _INSTALL, _read_install)
        return Install(**values) if not errors else Install(), errors
    if not isinstance(node, yaml.ScalarNode):
        return None, [f"{key} takes one value"]
    value, error = _value(loader, key, node)
    return value, [error] if error else []


def _read_install(loader: Any, key: str, node: Any) -> tuple[Any, list[str]]:
    """Read one key below ``install``: a list, a value, or a mapping of names to values."""
    import msgspec
    import yaml

    shape = {"sources": yaml.SequenceNode, "mirrors": yaml.MappingNode}.get(key, yaml.ScalarNode)
    if not isinstance(node, shape) or not all(isinstance(each, yaml.ScalarNode) for each in _inside(node)):
        takes = {"sources": "a list of names", "mirrors": "`name: address` lines"}.get(key, "one value")
        return None, [f"install.{key} takes {takes}"]
    try:
        return msgspec.convert(loader.construct_object(node, deep=True), _INSTALL[key]), []
    except (msgspec.ValidationError, yaml.YAMLError, ValueError, TypeError) as error:
        return None, [f"install.{key}: {str(error)[:1].lower()}{str(error)[1:]}"]


def _inside(node: Any) -> Iterator[Any]:
    """Yield the nodes directly inside one: the items of a list, the keys and values of a mapping."""
    import yaml

    for each in node.value if isinstance(node, yaml.CollectionNode) else ():
        yield from each if isinstance(each, tuple) else (each,)


def _value(loader: Any, key: str, node: Any) -> tuple[Any, str | None]:
    import msgspec
    import yaml

    try:
        value = loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return None, f"{key}: {node.value!r} makes no sense as {node.tag}"
    default = next(field.default for field in fields(Spec) if field.name == key)
    if value == AUTO and default is None:
        return None, None
    try:
        checked = msgspec.convert(value, _KNOWN[key])
    except msgspec.ValidationError as error:
        return None, f"{key}: {str(error)[0].lower()}{str(error)[1:]}"
    if key == "version" and checked != Spec.version:
        return None, f"version {checked} is not known; this fabric reads version {Spec.version}"
    return checked, None


def _yaml_error(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "not YAML"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)
