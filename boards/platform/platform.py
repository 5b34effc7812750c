"""PlatformIO development platform that uses the compilers found on PATH; no package of PlatformIO's registry."""

from platformio.public import PlatformBase


class SpedgePlatform(PlatformBase):  # type: ignore[misc]
    def is_embedded(self) -> bool:
        return True
