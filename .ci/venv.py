"""Makes a virtual environment of the interpreter that runs this; says plainly what that interpreter lacks.

Kept readable to old interpreters, so that they get the message instead of a syntax error. An environment of another
version is replaced.
"""

import subprocess
import sys

LEAST = (3, 11)
REMEDY = "choose another interpreter, as in make setup PYTHON=python3.13"


def main(folder):  # noqa: D103 - annotations would be a syntax error in the oldest
    if sys.version_info[:2] < LEAST:
        sys.exit("Python %d.%d or newer is needed, this is %d.%d: %s" % (LEAST + sys.version_info[:2] + (REMEDY,)))
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian splits it off
        import venv  # noqa: F401, PLC0415 - likewise
    except ImportError as error:
        sys.exit("%s: install your system's python3-venv, or %s" % (error, REMEDY))
    config = folder + "/pyvenv.cfg"
    try:
        with open(config) as file:  # noqa: PTH123 - as above
            same = "\nversion = %d.%d." % sys.version_info[:2] in file.read()
    except OSError:
        same = False
    if not same:
        subprocess.check_call([sys.executable, "-m", "venv", "--clear", folder])


if __name__ == "__main__":
    main(sys.argv[1])
