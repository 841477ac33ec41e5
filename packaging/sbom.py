"""The software bill of materials of the program, as CycloneDX, from `cargo tree` and Cargo.lock.

Tests and benches are left out. What only builds the program has the scope `excluded`.
"""

import datetime
import json
import re
import subprocess
import tomllib
import uuid
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

REPOSITORY = Path(__file__).resolve().parents[1]
ROOT = "retune"


@dataclass
class Packages:
    """The packages of the program by name and version, as `cargo metadata` describes them."""

    described: dict
    # Those that each depends on.
    edges: dict
    # Those whose code is in the program; the others only build it.
    linked: set


def packages(target, features):
    """What the program is built from for one target. `features` is comma-separated, as for cargo."""
    every, linked = tree(target, features, "normal,build"), tree(target, features, "normal")
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--locked"))
    described = {(one["name"], one["version"]): one for one in metadata["packages"]}
    return Packages({one: described[one] for one in every}, every, set(linked))


def tree(target, features, kinds):
    """`cargo tree` as edges. `cargo metadata` has the features of tests and of other targets, and so packages that no
    build compiles."""
    text = cargo("tree", "--locked", "--package", ROOT, "--target", target, "--features", features,
                 "--edges", kinds, "--prefix", "depth")
    edges, above = defaultdict(set), []
    for depth, name, version in re.findall(r"^(\d+)(\S+) v(\S+)", text, re.MULTILINE):
        one = (name, version)
        del above[int(depth):]
        if above:
            edges[above[-1]].add(one)
        edges[one] |= set()
        above.append(one)
    return edges


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout


def checksums():
    """SHA-256 of each package's archive, by name and version."""
    locked = tomllib.loads((REPOSITORY / "Cargo.lock").read_text())["package"]
    return {(one["name"], one["version"]): one["checksum"] for one in locked if "checksum" in one}


def component(package, is_linked, checksum):
    licences = LicenseFactory()
    name, version = package["name"], package["version"]
    reference = PackageURL("cargo", None, name, version)
    return Component(
        name=name,
        version=version,
        type=ComponentType.APPLICATION if name == ROOT else ComponentType.LIBRARY,
        bom_ref=str(reference),
        purl=reference,
        description=package["description"],
        scope=ComponentScope.REQUIRED if is_linked else ComponentScope.EXCLUDED,
        licenses=[licences.make_from_string(package["license"].replace("/", " OR "))] if package["license"] else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else [],
    )


def bill(target, features, epoch):
    """The document as text, checked against CycloneDX's schema. `epoch` is its time, in seconds."""
    used, sums = packages(target, features), checksums()
    components = {
        one: component(package, one in used.linked, sums.get(one)) for one, package in sorted(used.described.items())
    }

    root = next(made for (name, _), made in components.items() if name == ROOT)
    bom = Bom()
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(epoch, datetime.UTC)
    bom.components = [made for made in components.values() if made is not root]
    for one, made in components.items():
        bom.register_dependency(made, [components[other] for other in used.edges[one]])
    # The same program has the same document.
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"{root.purl}?target={target}&features={features}&{epoch}")

    text = JsonV1Dot6(bom).output_as_string(indent=2)
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault:
        raise RuntimeError(f"the bill of materials is not valid: {fault}")
    return text
