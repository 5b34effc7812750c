"""Build script: the tools and flags of a board, from its manifest; PlatformIO compiles and links.

`build.toolchain` is the prefix of the tools ("" for the system's own), `build.cpu`, `build.fpu` and `build.float_abi`
("hard") go to the compiler of an Arm target, `build.march` and `build.mabi` to that of a RISC-V target,
`build.extra_flags` to any; `build.ldscript` is a linker script in the board's port folder.
"""

from pathlib import Path

from SCons.Script import AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
prefix = board.get("build.toolchain", "")

env.Replace(
    CC=f"{prefix}gcc" if prefix else "cc",
    CXX=f"{prefix}g++" if prefix else "c++",
    AS=f"{prefix}as",
    AR=f"{prefix}gcc-ar" if prefix else "ar",
    OBJCOPY=f"{prefix}objcopy",
    RANLIB=f"{prefix}gcc-ranlib" if prefix else "ranlib",
    SIZETOOL=f"{prefix}size",
    SIZEPRINTCMD="$SIZETOOL -d $SOURCES",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPROGREGEXP=r"^(?:\.vectors|\.text|\.rodata|\.data|\.ARM\.exidx)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss|\.noinit|\.stack|\.heap)\s+(\d+).*",
    PROGNAME="firmware",
    PROGSUFFIX="" if board.get("spedge.run.how") == "process" else ".elf",
)

if not prefix:
    env.Append(CCFLAGS=["-march=native"])  # the program runs where it is built
if board.get("build.core") == "posix":
    env.Append(CCFLAGS=["-pthread"], LINKFLAGS=["-pthread"])  # compiled models have threads

if prefix.startswith("arm-"):
    machine = ["-mthumb", f"-mcpu={board.get('build.cpu')}", f"-mfloat-abi={board.get('build.float_abi', 'hard')}"]
    if board.get("build.fpu", ""):
        machine.append(f"-mfpu={board.get('build.fpu')}")  # from Armv8.1-M on, the core's name says it
    env.Append(CCFLAGS=machine, ASPPFLAGS=["-x", "assembler-with-cpp"], LINKFLAGS=machine)
    env.Append(LINKFLAGS=["-nostartfiles", "-specs=nano.specs", "-specs=nosys.specs"])  # the port starts itself

elif prefix.startswith("riscv"):
    machine = [f"-march={board.get('build.march')}", f"-mabi={board.get('build.mabi')}", "-mcmodel=medany"]
    machine.append("-specs=picolibc.specs")
    env.Append(CCFLAGS=machine, LINKFLAGS=[*machine, "-nostartfiles"])

elif prefix.startswith("aarch64-"):
    env.Append(CCFLAGS=[f"-march={board.get('build.cpu')}"])
    env.Append(LINKFLAGS=["-static"])  # runs on any Linux of that machine, and needs no libraries to be emulated

script = board.get("build.ldscript", "")
if script:
    port = Path(env.subst("$PROJECT_DIR")) / "port" / board.get("spedge.port")
    env.Replace(LDSCRIPT_PATH=str(port / script))
    env.Append(LIBPATH=[str(port)], LINKFLAGS=["-Wl,--build-id=sha1"])  # the script keeps it in the image
env.Append(LINKFLAGS=["-Wl,-Map,${BUILD_DIR}/firmware.map"], LIBS=["m"])

program = env.BuildProgram()
AlwaysBuild(env.Alias("size", program, env.VerboseAction("$SIZEPRINTCMD", "Calculating size $SOURCE")))

# What `pio run -t upload` does is what `spedge flash` does.
upload = f"$PYTHONEXE -m spedge flash --board {env['PIOENV']} --image $SOURCE"
if env.subst("$UPLOAD_PORT"):
    upload += " --device $UPLOAD_PORT"
AlwaysBuild(env.Alias("upload", program, env.VerboseAction(upload, "Writing $SOURCE")))
Default([program, "size"])
