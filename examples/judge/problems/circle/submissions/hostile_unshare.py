# Makes a user namespace of its own, where it would be root and half the kernel opens up.
import ctypes

CLONE_NEWUSER = 0x10000000
if ctypes.CDLL(None).unshare(CLONE_NEWUSER) == 0:
    print("DONE unshare", open("/proc/self/status").read())
