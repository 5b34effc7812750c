"""What PlatformIO compiles: the library, the runtime, the program, the board's port and a compiled model.

A folder of the board's name beside its manifest holds what its port asks of it: board.h and memory.ld.

The program is the application (app/), or another folder that the environment variable SPEDGE_PROGRAM names.

The model is the folder that `spedge compile` wrote, named by the environment variable SPEDGE_MODEL_DIR; without
it the firmware has no model and only makes tokens. Runs inside SCons for every platform, ours or PlatformIO's.
"""

import os
from pathlib import Path

from SCons.Script import DefaultEnvironment

env = DefaultEnvironment()
project = Path(env.subst("$PROJECT_DIR"))
board = project.parent / "boards" / env["BOARD"]
port = env.BoardConfig().get("spedge.port")
model = os.environ.get("SPEDGE_MODEL_DIR")
program = os.environ.get("SPEDGE_PROGRAM", "app")

application = ["+<app/>", "-<app/main.c>"] if program == "bench/link" else []  # its pieces, under another main
env.Replace(SRC_FILTER=["-<*>", "+<lib/src/>", "+<runtime/>", *application, f"+<{program}/>", f"+<port/{port}/>"])
env.Append(
    CPPPATH=[
        *(str(project / folder) for folder in ("lib/include", "runtime/include", "app", "port", f"port/{port}")),
        str(board),
    ],
    LIBPATH=[str(board)],
    CPPDEFINES=[
        ("SP_BOARD_NAME", env.StringifyMacro(env["PIOENV"])),
        ("SP_FIRMWARE_VERSION", env.StringifyMacro(os.environ.get("SPEDGE_VERSION", "dev"))),
        ("SP_HAS_MODEL", 1 if model else 0),
    ],
)
if model:
    env.Append(CPPPATH=[model])
    env.BuildSources("$BUILD_DIR/model", model, src_filter=["+<*.c>"])
