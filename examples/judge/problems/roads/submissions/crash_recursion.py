# Dies of its own recursion: the stack of the interpreter ends before the chain of towns does.
import sys


def walk(v):
    return walk(v + 1) + 1


print(walk(0))
