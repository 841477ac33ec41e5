"""Writes `src/retune_client/types.py` from the program's OpenAPI document.

    python generate.py path/to/retune            # make python-types
    python generate.py path/to/retune --check    # exits with 1 where the file is not of this program
"""

import json
import keyword
import subprocess
import sys
from pathlib import Path

TARGET = Path(__file__).parent / "src/retune_client/types.py"
# What the client's methods take and give; all that these name comes along.
ROOTS = ["Spec", "Transfer", "Plan", "Report", "Event", "Problem", "Evaluation", "QueuePosition", "FeedEvent", "Me"]
ROOTS += ["BaseModel", "NewBaseModel", "BaseVersion", "NewBaseVersion", "BaseAlias"]
ROOTS += ["FineTune", "NewFineTune", "FineTuneVersion", "FineTuneAlias", "Retune", "NewRetune"]
HEAD = '''"""The values of the HTTP API. Written by `python/generate.py` from the OpenAPI document."""

from typing import Any, Literal, NotRequired, TypedDict

'''
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def named(schema):
    """The schemas that one names."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for part in schema.values():
            yield from named(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from named(part)


def reached(schemas):
    found, todo = set(), list(ROOTS)
    while todo:
        if (name := todo.pop()) not in found:
            found.add(name)
            todo += named(schemas[name])
    return sorted(found)


def expression(schema):
    """A schema as a type. Names of classes are quoted: they may come later."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "enum" in schema:
        return f"Literal[{', '.join(map(json.dumps, schema['enum']))}]"
    if parts := schema.get("oneOf") or schema.get("anyOf") or schema.get("allOf"):
        return " | ".join(dict.fromkeys(map(expression, parts)))
    kinds = schema.get("type", [])
    if isinstance(kinds, list):
        return " | ".join(expression(schema | {"type": kind}) for kind in kinds) or "Any"
    if kinds == "array":
        return f"list[{expression(schema.get('items', {}))}]"
    if kinds == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {expression(values) if isinstance(values, dict) else 'Any'}]"
    return PLAIN[kinds]


def fields(schema, schemas):
    """Properties and required names of an object, with those of the objects that it is made of."""
    schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    properties, required = dict(schema.get("properties", {})), set(schema.get("required", []))
    for part in schema.get("allOf", []):
        # A part that may be absent has no required names.
        choices = [one for one in part.get("oneOf", [part]) if one.get("type") != "null"]
        for choice in choices:
            more, needed = fields(choice, schemas)
            properties |= more
            required |= needed if len(part.get("oneOf", [part])) == 1 else set()
    return properties, required


def class_of(name, schema, schemas):
    properties, required = fields(schema, schemas)
    # A field whose name is no identifier needs the functional form.
    if any(keyword.iskeyword(field) or not field.isidentifier() for field in properties):
        return f"{name} = dict[str, Any]\n"
    lines = [f"class {name}(TypedDict):"]
    text = schema.get("description", "").split("\n")[0].replace("`", "")
    if text:
        lines.append(f'    """{text}"""\n')
    for field, one in properties.items():
        kind = expression(one)
        kind = kind if field in required else f"NotRequired[{kind}]"
        lines.append(f'    {field}: "{kind}"' if '"' not in kind else f"    {field}: '{kind}'")
    return "\n".join(lines if properties else [*lines, "    pass"]) + "\n"


def written(document):
    schemas = document["components"]["schemas"]
    names = reached(schemas)
    objects = [name for name in names if "properties" in schemas[name] or "allOf" in schemas[name]]
    enums = [name for name in names if "enum" in schemas[name]]
    rest = [name for name in names if name not in objects and name not in enums]
    lines = [f"{name} = {expression(schemas[name])}\n" for name in enums]
    # The others name enumerations, or classes of which no union can be made before they are there.
    classes = [class_of(name, schemas[name], schemas) for name in objects]
    later = [f"{name} = {expression(schemas[name])}\n" for name in rest]
    return HEAD + "".join(lines) + "\n\n" + "\n\n".join(classes) + "\n\n" + "".join(later)


def main():
    program, *flags = sys.argv[1:]
    text = subprocess.run([program, "openapi"], check=True, stdout=subprocess.PIPE, text=True).stdout
    found = written(json.loads(text))
    if "--check" in flags:
        if TARGET.read_text() != found:
            sys.exit(f"{TARGET} is of another program: run `make python-types`")
    else:
        TARGET.write_text(found)


if __name__ == "__main__":
    main()
