"""Number: the order of operations."""

from sample.generate.topic import Topic

LEFT_TO_RIGHT = "Works through a calculation strictly from left to right, whatever the operations are"
ADDITION_FIRST = "Believes addition is always done before any other operation"

TOPICS = [
    Topic(
        construct="Use the order of operations in a sum that contains a multiplication",
        subject="Order of Operations",
        draw=lambda r: {"a": r.randint(2, 12), "b": r.randint(3, 9), "c": r.randint(2, 9)},
        phrasings=(
            r"What is the value of \( $a + $b \times $c \)?",
            "\\[\n$a + $b \\times $c=\n\\]\nWhat number should replace the blank on the right-hand side?",
            r"Work out \( $a + $b \times $c \) without a calculator.",
            r"Amir buys one pen for £\( $a \) and \( $b \) books for £\( $c \) each. "
            r"He writes \( $a + $b \times $c \). How many pounds does he pay altogether?",
        ),
        correct=(lambda a, b, c: a + b * c, 23),
        rules={
            LEFT_TO_RIGHT: (lambda a, b, c: (a + b) * c, 32),
            "Adds every number in sight, reading the multiplication sign as a plus": (lambda a, b, c: a + b + c, 12),
            "Multiplies all of the numbers together, ignoring the addition": (lambda a, b, c: a * b * c, 60),
            "Stops after the multiplication and forgets to add the remaining number": (lambda a, b, c: b * c, 20),
        },
        example={"a": 3, "b": 5, "c": 4},
    ),
]
