a = input()
b = input()
if a = b:
    print(0)
