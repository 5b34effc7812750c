"""What PlatformIO compiles: the library, the program, the board's port and a compiled model.

A folder of the board's name beside its manifest holds what its port asks of it: board.h and memory.ld.

The program is the application (app/), or another folder that the environment variable SPEDGE_PROGRAM names.

The model is the folder that `spedge compile` wrote, named by the environment variable SPEDGE_MODEL_DIR; without
it, or where it is empty, the firmware has no model and only makes tokens. Nothing else is compiled in another way
for a model. Runs inside SCons for every platform, ours or PlatformIO's.

A manifest's `parts` are sources of others: the port's parts.json says which, parts.json here where from; `spedge build`
fetches them, and SPEDGE_PARTS says where they are. `build.folder` is the board's folder, where that has another name.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from SCons.Script import DefaultEnvironment, SetOption

SetOption("max_drift", -1)  # every file is read: one that was replaced may be as old as the one before
env = DefaultEnvironment()
project = Path(env.subst("$PROJECT_DIR"))
board = project.parent / "boards" / env.BoardConfig().get("build.folder", env["BOARD"])
port = env.BoardConfig().get("spedge.port")
model = os.environ.get("SPEDGE_MODEL_DIR")
has_model = bool(model) and any(Path(model).glob("*.c"))
program = os.environ.get("SPEDGE_PROGRAM", "app")

application = ["+<app/>", "-<app/main.c>"] if program == "bench/link" else []  # its pieces, under another main
stand_in = ["-<app/no_model.c>"] if has_model else []
sources = ["+<lib/src/>", *application, f"+<{program}/>", *stand_in, f"+<port/{port}/>"]
env.Replace(SRC_FILTER=["-<*>", *sources])
env.Append(
    CPPPATH=[
        *(str(project / folder) for folder in ("lib/include", "runtime/include", "app", "port", f"port/{port}")),
        str(board),
    ],
    LIBPATH=[str(board)],
    CPPDEFINES=[
        ("SP_BOARD_NAME", env.StringifyMacro(env["PIOENV"])),
        ("SP_FIRMWARE_VERSION", env.StringifyMacro(os.environ.get("SPEDGE_VERSION", "dev"))),
    ],
)
if has_model and Path(model, "weights.bin").is_file():
    weights = Path(model, "weights.bin").read_bytes()
    tag = hashlib.sha256(weights[16:]).digest()[:16]
    if tag != weights[:16] or tag.hex() not in Path(model, "weights.c").read_text():
        sys.exit(f"error: {model}/weights.bin is not what the compiler wrote: compile the model again")
if model:
    env.Append(CPPPATH=[model])
if has_model:
    env.BuildSources("$BUILD_DIR/model", model, src_filter=["+<*.c>", "+<rows/*.c>"])


def with_parts(wanted: dict) -> None:
    """Sources of others, compiled as they come: what they warn of is theirs. {mcu} in paths is the board's chip."""
    folders = json.loads(os.environ.get("SPEDGE_PARTS", "{}"))
    if not folders.keys() >= wanted.keys():
        sys.exit(f"error: {env['PIOENV']} is built with {', '.join(wanted)}, which 'spedge build' fetches: use that")
    chip = env.BoardConfig().get("build.mcu")
    for name, about in wanted.items():
        env.Append(CCFLAGS=[f"-isystem{path}" for path in found(Path(folders[name]), about["include"], chip)])
        only = [f"+<{source.replace('{mcu}', chip)}>" for source in about["sources"]]
        env.BuildSources(f"$BUILD_DIR/parts/{name}", folders[name], src_filter=only)
    more = project / "port" / port / "SConscript"
    if more.is_file():
        env.SConscript(str(more), exports={"env": env, "folders": folders, "chip": chip})


def found(folder: Path, patterns: list, chip: str) -> list:
    """Folders, by patterns below another; "." is that one itself."""
    named = [pattern.replace("{mcu}", chip) for pattern in patterns]
    return [path for name in named for path in ([folder] if name == "." else sorted(folder.glob(name)))]


parts = env.BoardConfig().get("spedge.parts", [])
if parts:
    glue = [folder for folder in ("usb", f"usb_{port}") if (project / "port" / folder).is_dir()]
    env.Append(CPPPATH=[str(project / "port" / folder) for folder in glue])
    env.Append(SRC_FILTER=[f"+<port/{folder}/>" for folder in glue])
    known = json.loads((project / "port" / port / "parts.json").read_text())
    with_parts({name: known[name] for name in parts})
