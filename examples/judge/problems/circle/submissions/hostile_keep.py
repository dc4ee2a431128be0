# Leaves notes for its next run wherever it may write, and so would know in the second case what it learnt in the first.
import os
import sys

first = True
for folder in {"/box", "/tmp", "/dev/shm", "/var/tmp", os.getcwd()}:
    note = os.path.join(folder, "note-@NAME@")
    if os.path.exists(note):
        print("LEAK", note)
        first = False
    try:
        with open(note, "w") as f:
            f.write(sys.stdin.readline())
    except OSError:
        pass
if first:
    print("no note")
