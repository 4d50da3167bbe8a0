#!/usr/bin/env python3
"""A call center's tool. See docs/guides/call-center.md.

pip install -r examples/python/requirements.txt -r examples/call_center/requirements.txt
examples/python/generate.sh
export CONTACT_SERVICE_TOKEN="$(contact-service token --sub agent-7 --scope "customers.find ...")"
python3 examples/call_center
"""

from __future__ import annotations

import os
import pathlib
import sys

# Its C library would write into the screen.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "python" / "generated"))
try:
    import contact.v1.phone_order_pb2  # noqa: F401
except ImportError:
    sys.exit("there are no stubs yet, or old ones: run examples/python/generate.sh")

import settings
import texts


def main() -> None:
    values = settings.read()
    texts.use(values.language)
    # The key hints of its screens are texts.
    from app import CallCenter

    CallCenter(values).run()


if __name__ == "__main__":
    main()
