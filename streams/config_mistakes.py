"""What is wrong with settings: every mistake at once, in sentences, each with its place and what would be right.

    config, errors = examine(Config, raw, context)

Sections are checked as wholes only when each of their keys is right. So what is wrong is taken out and the rest looked at
again, until nothing new is found: two links of one name are told although a third has a misspelt key. Knows no section; what
keys mean is streams/config.py's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from streams.config_types import KeyProblem, Section
from streams.errors import ConfigError, nearest
from streams.settings import KeyPath, RawSettings

__all__ = ["STAND_INS", "describe_error", "examine"]

S = TypeVar("S", bound=Section)

# Every time, what is wrong is taken out; more often than this nobody reads on.
PASSES_MAX = 20
# In the place of keys that must be there and are missing or wrong, while the others are looked at.
STAND_INS: dict[str, Any] = {
    "name": "unnamed-{}", "codec": "cadu", "url": "http://localhost/", "metric": "unnamed", "op": "le", "value": 0.0,
}
# What one might call a key that has another name.
OTHER_WORDS = {"rate": "rate_limit"}


def examine(root: type[S], raw: RawSettings, context: Mapping[str, Any]) -> tuple[S, list[ConfigError]]:
    """The settings, and every mistake in the order of the file; with mistakes, what is right of them."""
    values, wrong, errors = raw.values, set[KeyPath](), list[ConfigError]()
    made: S | None = None
    for _ in range(PASSES_MAX):
        try:
            made = root.model_validate(values, context=dict(context))
            break
        except ValidationError as error:
            # Without pydantic's own input, url and context: they may hold secrets.
            found = error.errors(include_url=False)
        new: set[KeyPath] = set()
        wrong |= {key for entry in found for key in meant_by(root, entry)}
        for entry in found:
            path, *_ = describe_error(root, entry)
            others = {(*path[:-1], other) for other in others_of(entry)}
            if not others & wrong and key_of(path) not in wrong:
                errors.append(config_error(root, raw, entry))
            new |= {key_of(path)} if is_there(values, key_of(path)) or not others else others
        values, wrong = without(values, new), wrong | new
    return made or root(), sorted(errors, key=lambda error: (error.line is None, error.line or 0))


def others_of(error: Any) -> tuple[str, ...]:
    cause = error.get("ctx", {}).get("error")
    return cause.others if isinstance(cause, KeyProblem) else ()


def meant_by(root: type[Section], error: Any) -> set[KeyPath]:
    """The key that a misspelt one was probably meant to be. That it is missing is then the same mistake."""
    path, *_ = describe_error(root, error)
    meant = similar_key(root, path) if error["type"] == "extra_forbidden" else None
    return {(*path[:-1], meant)} if meant else set()


def key_of(path: KeyPath) -> KeyPath:
    """The key of its section that a path is in, or below; of a table that is none, the whole section."""
    if len(path) > 1 and isinstance(path[1], int):
        return path[:3] if len(path) > 2 else path[:1]
    return path[:2]


def is_there(values: Any, path: KeyPath) -> bool:
    for part in path:
        if not (part in values if isinstance(values, dict) else isinstance(values, list)):
            return False
        values = values[part]
    return True


def without(values: Any, keys: set[KeyPath], path: KeyPath = ()) -> Any:
    """A copy in which these keys are gone, or have a stand-in."""
    if isinstance(values, list):
        return [without(value, keys, (*path, index)) for index, value in enumerate(values)]
    if not isinstance(values, dict):
        return values
    kept = {key: without(value, keys, (*path, key)) for key, value in values.items() if (*path, key) not in keys}
    for key in (each[-1] for each in keys if len(each) == 3 and each[:-1] == path and each[-1] in STAND_INS):
        kept[key] = str(STAND_INS[key]).format(path[-1]) if key == "name" else STAND_INS[key]
    return kept


def config_error(root: type[Section], raw: RawSettings, error: Any) -> ConfigError:
    path, what, hint = describe_error(root, error)
    file, line = raw.place(path)
    return ConfigError(what, file=file, line=line, path=dotted(path) if len(path) > 1 else None, hint=hint)


def describe_error(root: type[Section], error: Any) -> tuple[KeyPath, str, str | None]:
    """(the key's path, what is wrong with it, hint) of one entry of pydantic's `errors()` on a `root`."""
    cause = error.get("ctx", {}).get("error")
    path: KeyPath = tuple(error["loc"]) + (cause.key if isinstance(cause, KeyProblem) else ())
    path = tuple(part for part in path if part != "[key]")
    return path, *describe(root, path, error, cause)


def describe(root: type[Section], path: KeyPath, error: Any, cause: Exception | None) -> tuple[str, str | None]:
    key, kind = path[-1] if path else "", error["type"]
    if kind == "extra_forbidden":
        return f"unknown {'section' if isinstance(error['input'], dict) else 'key'} '{key}'", unknown_key_hint(root, path)
    if kind == "literal_error" and error["loc"][-1] == "[key]":
        return f"unknown key '{key}'", choice_hint(str(key), error)
    if kind == "missing":
        return f"'{key}' is missing", None
    if cause is not None:
        text = str(cause)
        return (text if text.startswith(("'", "there", "the ")) else f"'{key}' {text}"), None
    if kind == "literal_error":
        return f"'{key}' cannot be {error['input']!r}", choice_hint(str(error["input"]), error)
    if kind == "list_type" and isinstance(error["input"], dict):
        return f"'{key}' is a list of tables", f"write [[{key}]]"
    if kind == "model_type":
        is_list = isinstance(error["input"], list)
        return f"'{key}' is {'one' if is_list else 'a'} table", f"write [{key}]" + ("" if is_list else " and its keys below")
    found = "" if key in ("secret", "password", "dsn") else f" {error['input']!r}"
    if kind == "string_pattern_mismatch":
        return f"'{key}' cannot be{found[:80]}", "letters, digits and . _ - only, at most 64"
    return f"'{key}' cannot be{found[:80]}", error["msg"][:1].lower() + error["msg"][1:]


def choice_hint(word: str, error: Any) -> str:
    expected: str = error["ctx"]["expected"]
    match = nearest(word, [part.strip("'") for part in expected.replace(" or ", ", ").split(", ")])
    return f"did you mean '{match}'?" if match else f"one of {expected}"


def unknown_key_hint(root: type[Section], path: KeyPath) -> str:
    word = str(path[-1])
    if match := similar_key(root, path):
        return f"did you mean '{match}'?"
    owners = [f"[[{name}]]" if is_list else f"[{name}]" for name, is_list, other in sections(root) if word in keys(other)]
    if owners:
        return f"that is a key of {' and '.join(owners)}"
    return f"known here: {', '.join(keys(section_at(root, path[:-1])))}"


def similar_key(root: type[Section], path: KeyPath) -> str | None:
    word, known = str(path[-1]), keys(section_at(root, path[:-1]))
    other = OTHER_WORDS.get(word)
    return other if other in known else nearest(word, known)


def keys(section: type[Section] | None) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()] if section else []


def sections(root: type[Section]) -> Iterator[tuple[str, bool, type[Section]]]:
    for name, field in root.model_fields.items():
        is_list = bool(get_args(field.annotation))
        inner = get_args(field.annotation)[0] if is_list else field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield field.alias or name, is_list, inner


def section_at(root: type[Section], path: KeyPath) -> type[Section] | None:
    if not path:
        return root
    return next((section for name, _, section in sections(root) if name == path[0]), None)


def dotted(path: KeyPath) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".")
