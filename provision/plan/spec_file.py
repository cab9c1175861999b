"""Reading ``fabric.yaml``: strict, all errors at once, each with its line. Pure."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

from provision.domain.spec import AUTO, Spec
from provision.errors import InvalidInputError, did_you_mean

MAX_BYTES = 1 << 16
_KNOWN = get_type_hints(Spec)


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
    except yaml.YAMLError as error:
        return {}, [_yaml_error(error)]
    if root is None:
        return {}, []
    if not isinstance(root, yaml.MappingNode):
        return {}, [f"line {root.start_mark.line + 1}: expected `key: value` lines"]
    return _entries(loader, root)


def _entries(loader: Any, root: Any) -> tuple[dict[str, Any], list[str]]:
    import yaml

    values: dict[str, Any] = {}
    errors: list[str] = []
    for key_node, value_node in root.value:
        line = f"line {key_node.start_mark.line + 1}"
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
        if key not in _KNOWN:
            errors.append(f"{line}: unknown key {key!r}.{did_you_mean(str(key), list(_KNOWN))}")
        elif key in values:
            errors.append(f"{line}: {key} is given twice")
        elif not isinstance(value_node, yaml.ScalarNode):
            errors.append(f"{line}: {key} takes one value")
        else:
            values[key], error = _value(loader, key, value_node)
            errors += [f"{line}: {error}"] if error else []
    return values, errors


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
