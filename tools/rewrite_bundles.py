"""Write bundles' descriptions again in the present schema; the other files stay byte for byte, the hash changes.

python tools/rewrite_bundles.py BUNDLE...
"""

from __future__ import annotations

import sys

from spedge.model.bundle import FILES, Bundle, write_bundle

if __name__ == "__main__":
    for folder in sys.argv[1:]:
        bundle = Bundle.load(folder)
        files = {name: bundle.file(name).read_bytes() for name in FILES}
        print(write_bundle(folder, bundle.plain(), files).hash)
