"""What PlatformIO compiles: the library, the program, the board's port and a compiled model.

A folder of the board's name beside its manifest holds what its port asks of it: board.h and memory.ld.

The program is the application (app/), or another folder that the environment variable SPEDGE_PROGRAM names.

The model is the folder that `spedge compile` wrote, named by the environment variable SPEDGE_MODEL_DIR; without
it, or where it is empty, the firmware has no model and only makes tokens. Nothing else is compiled in another way
for a model. Runs inside SCons for every platform, ours or PlatformIO's.
"""

import hashlib
import os
import sys
from pathlib import Path

from SCons.Script import DefaultEnvironment, SetOption

SetOption("max_drift", -1)  # every file is read: one that was replaced may be as old as the one before
env = DefaultEnvironment()
project = Path(env.subst("$PROJECT_DIR"))
board = project.parent / "boards" / env["BOARD"]
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
