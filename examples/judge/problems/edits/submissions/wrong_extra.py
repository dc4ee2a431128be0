# Wrong: a question for the user is part of the output too.
a = input("first word: ")
b = input("second word: ")
print(3)
