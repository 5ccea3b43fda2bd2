"""Prices that a run is made of, in USD, of us-east-1 in November 2026, each with the page it comes from.

Every number lives here once. Free tiers are left out: they don't grow with a run.
"""

from __future__ import annotations

from typing import Final

# https://aws.amazon.com/step-functions/pricing/
STANDARD_TRANSITION: Final = 25e-6
"""One state transition; a retry is one too. The start of each child of a Distributed Map is one of its parent's, for
Express children too: AWS's workshop counts it so, the price page doesn't say it."""
EXPRESS_REQUEST: Final = 1e-6
EXPRESS_GB_SECOND: Final = 16.67e-6
EXPRESS_ROUNDING_SECONDS: Final = 0.1
EXPRESS_CHUNK_MB: Final = 64

# https://aws.amazon.com/lambda/pricing/
LAMBDA_REQUEST: Final = 0.2e-6
LAMBDA_GB_SECOND: Final = {"arm64": 13.3334e-6, "x86_64": 16.6667e-6}

# https://aws.amazon.com/s3/pricing/
S3_PUT: Final = 5e-6
"""A PUT, COPY, POST or LIST request."""
S3_GET: Final = 0.4e-6
