# Carries the test data away: by the host's loopback, by the wide world, by an abstract socket of the host.
import socket

PORT = "@PORT@"

for family, address in [
    (socket.AF_INET, ("127.0.0.1", int(PORT) if PORT.isdigit() else 80)),
    (socket.AF_INET6, ("::1", int(PORT) if PORT.isdigit() else 80)),
    (socket.AF_INET, ("192.0.2.1", 53)),
    (socket.AF_UNIX, "\0@ABSTRACT@"),
]:
    try:
        with socket.socket(family) as s:
            s.settimeout(1)
            s.connect(address)
            s.sendall(b"LEAK")
            print("LEAK", address)
    except OSError as e:
        print(e)
