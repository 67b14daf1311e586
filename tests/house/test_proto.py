"""The API's own lint, after the rules that buf made common: what clients generate from it has to last."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

FLOATS = {FieldDescriptorProto.TYPE_FLOAT, FieldDescriptorProto.TYPE_DOUBLE}


def compile_proto(folder: Path, target: Path) -> list[FileDescriptorProto]:
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.proto"))
    output = target / "descriptors.bin"
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I.",
        "--include_source_info",
        f"--descriptor_set_out={output}",
    ]
    subprocess.run([*command, *names], cwd=folder, check=True)
    return list(FileDescriptorSet.FromString(output.read_bytes()).file)


def findings(file: FileDescriptorProto) -> list[str]:
    """What is wrong with one file; empty if nothing is."""
    found = []
    if not re.fullmatch(r"[a-z]+\.v[0-9]+", file.package):
        found.append(f"package {file.package!r} must end in a version, such as harmonia.v1")
    if Path(file.name).parent != Path(file.package.replace(".", "/")):
        found.append(f"package {file.package!r} must lie in the folder of its name")
    comments = {tuple(at.path): at.leading_comments.strip() for at in file.source_code_info.location}
    for number, service in enumerate(file.service):
        if not service.name.endswith("Service"):
            found.append(f"service {service.name} must be called {service.name}Service")
        if not comments.get((6, number)):
            found.append(f"service {service.name} needs a comment: who may call it, and for what")
        for method in service.method:
            for kind, used in (("Request", method.input_type), ("Response", method.output_type)):
                if used != f".{file.package}.{method.name}{kind}":
                    found.append(f"{service.name}.{method.name} needs {method.name}{kind}, not {used}")
    for message in file.message_type:
        if not re.fullmatch(r"([A-Z][a-z0-9]+)+", message.name):
            found.append(f"message {message.name} must be UpperCamelCase")
        for field in message.field:
            where = f"{message.name}.{field.name}"
            if not re.fullmatch(r"[a-z]+[0-9]*(_[a-z0-9]+)*", field.name):
                found.append(f"{where} must be lower_snake_case")
            if field.type in FLOATS and field.name.endswith("_ns"):
                found.append(f"{where} is a time: an integer, in nanoseconds")
    for enum in file.enum_type:
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
        if enum.value[0].number != 0 or enum.value[0].name != f"{prefix}_UNSPECIFIED":
            found.append(f"enum {enum.name} must begin with {prefix}_UNSPECIFIED = 0")
        found += [
            f"{value.name} must begin with {prefix}_" for value in enum.value if not value.name.startswith(prefix)
        ]
    return [f"{file.name}: {text}" for text in found]


def test_the_api_is_lint_clean(root: Path, tmp_path: Path) -> None:
    files = compile_proto(root / "proto", tmp_path)
    assert [finding for file in files for finding in findings(file)] == []


def test_every_call_has_its_own_request_and_response(root: Path, tmp_path: Path) -> None:
    methods = [
        method
        for file in compile_proto(root / "proto", tmp_path)
        for service in file.service
        for method in service.method
    ]
    uses = Counter([method.input_type for method in methods] + [method.output_type for method in methods])
    assert [name for name, count in uses.items() if count > 1] == []
    assert len(methods) >= 20


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("package toy;", "must end in a version"),
        ("package toy.v2;", "must lie in the folder"),
        ("package toy.v1; // A.\nservice Toys {}", "must be called ToysService"),
        ("package toy.v1; service ToyService {}", "needs a comment"),
        ("package toy.v1; message Ask {}\nservice ToyService { rpc Get(Ask) returns (Ask); }", "needs GetRequest"),
        ("package toy.v1; message A { int32 delayNs = 1; }", "lower_snake_case"),
        ("package toy.v1; message A { double delay_ns = 1; }", "an integer"),
        ("package toy.v1; enum Colour { RED = 0; }", "must begin with COLOUR_UNSPECIFIED"),
        ("package toy.v1; enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; }", "RED must begin"),
        ("package toy.v1; message lower {}", "UpperCamelCase"),
    ],
)
def test_the_lint_finds(tmp_path: Path, text: str, finding: str) -> None:
    (tmp_path / "toy/v1").mkdir(parents=True)
    (tmp_path / "toy/v1/toy.proto").write_text(f'syntax = "proto3"; {text}')
    (file,) = compile_proto(tmp_path, tmp_path)
    assert any(finding in line for line in findings(file)), findings(file)
