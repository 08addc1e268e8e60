"""`python -m perdura.local.tape serve …`"""

from perdura.local.tape.cli import tape

tape(prog_name="perdura tape")
