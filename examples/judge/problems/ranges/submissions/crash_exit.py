# Prints nothing wrong, but ends with a status that says it failed.
import sys

print(15)
sys.exit(1)
