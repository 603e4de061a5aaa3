"""Algebra: expressions, brackets, factors and indices."""

from fractions import Fraction
from math import gcd
from random import Random
from typing import Any

from sample.generate.topic import Topic
from sample.generate.topics.order_of_operations import LEFT_TO_RIGHT

JOINS_UNLIKE = "Joins unlike terms into one, combining their numbers and writing all the letters after the total"
IGNORES_MINUS = "Pays no attention to minus signs, working as if everything were positive"
TWO_NEGATIVES = "Believes that two negatives multiplied or divided give a negative"
FIRST_TERM_ONLY = "Multiplies only the first term inside a bracket by the number in front"
TIMES_INDEX = "Multiplies by the index, as if raising to a power were the same as multiplying"
READS_AS_ADDED = "Reads a number written beside a letter as being added to it, not multiplying it"

LETTERS = "xypqmnktwr"
NAMES = ("Bea", "Carlos", "Dina", "Ewan", "Fatima", "Grace", "Hugo", "Jamal", "Keira", "Leo", "Mina", "Noor", "Priya")


def line(*terms: tuple[int, str]) -> str:
    """A sum of terms as it is written: `(3, "x"), (-1, "y"), (2, "")` is `3x - y + 2`."""
    text = ""
    for number, letters in terms:
        if number:
            sign = (" - " if number < 0 else " + ") if text else "-" if number < 0 else ""
            text += sign + ("" if abs(number) == 1 and letters else str(abs(number))) + letters
    return text or "0"


def maths(*terms: tuple[int, str]) -> str:
    return rf"\( {line(*terms)} \)"


def power(letter: str, index: int) -> str:
    return letter if index == 1 else f"{letter}^{{{index}}}"


def product(number: int, x: str, m: int, y: str, k: int) -> str:
    return maths((number, power(x, m) + power(y, k)))


def quadratic(a: int, b: int, c: int, x: str) -> str:
    return maths((a, x + "^{2}"), (b, x), (c, ""))


def brackets(x: str, p: int, q: int) -> str:
    return rf"\( ({line((1, x), (p, ''))})({line((1, x), (q, ''))}) \)"


def factorised(outside: str, a: int, first: str, b: int, last: str = "") -> str:
    return rf"\( {outside}({line((a, first), (b, last))}) \)"


def drawn(r: Random, **values: Any) -> dict[str, Any]:
    x, y = sorted(r.sample(LETTERS, 2))
    return {**values, "x": x, "y": y, "name": r.choice(NAMES)}


def several(r: Random, names: str, low: int, high: int) -> dict[str, int]:
    """Different numbers from `low` to `high`, one for each of the names."""
    return dict(zip(names, r.sample(range(low, high + 1), len(names)), strict=True))


def draw_negative_index(r: Random) -> dict[str, Any]:
    n = r.choice((2, 3))
    b = r.randint(3, 10) if n == 2 else r.randint(2, 5)
    a = r.choice([a for a in range(2, 40) if gcd(a, b) == 1])
    return {"a": a, "b": b, "n": n, "name": r.choice(NAMES)}


TOPICS = [
    Topic(
        construct="Simplify an expression in two letters by collecting like terms, one of them subtracted",
        subject="Simplifying Expressions by Collecting Like Terms",
        draw=lambda r: drawn(r, a=r.randint(9, 16), b=r.randint(2, 9), c=r.randint(2, 7)),
        phrasings=(
            r"Simplify the following expression by collecting like terms: \( $expr \)",
            "Simplify, if possible:\n\\[\n$expr\n\\]",
            r"A café charges \( $x \) pence for a tea and \( $y \) pence for a cake. It sells \( $a \) teas and "
            r"\( $b \) cakes, gives back the money for \( $c \) of the teas and then sells one more cake, so it has "
            r"taken \( $expr \) pence. What is the simplest way of writing this amount?",
            r"$name's homework has the expression \( $expr \) in it, with the instruction to write it as simply as "
            r"possible. What should $name write?",
            r"Which of these is equivalent to \( $expr \)?",
        ),
        words=lambda a, b, c, x, y, **_: {"expr": line((a, x), (b, y), (-c, x), (1, y))},
        correct=(lambda a, b, c, x, y, **_: maths((a - c, x), (b + 1, y)), r"\( 5x + 4y \)"),
        rules={
            IGNORES_MINUS: (lambda a, b, c, x, y, **_: maths((a + c, x), (b + 1, y)), r"\( 9x + 4y \)"),
            JOINS_UNLIKE: (lambda a, b, c, x, y, **_: maths((a - c + b + 1, x + y)), r"\( 9xy \)"),
            "Lets a minus sign act on every term that comes after it, as though those terms were in a bracket": (
                lambda a, b, c, x, y, **_: maths((a - c, x), (b - 1, y)),
                r"\( 5x + 2y \)",
            ),
            "Counts a letter with no number in front of it as nothing at all": (
                lambda a, b, c, x, y, **_: maths((a - c, x), (b, y)),
                r"\( 5x + 3y \)",
            ),
            "Writes a letter as squared whenever two terms containing it are put together": (
                lambda a, b, c, x, y, **_: maths((a - c, x + "^{2}"), (b + 1, y + "^{2}")),
                r"\( 5x^{2} + 4y^{2} \)",
            ),
            "When subtracting like terms, takes the letter away too and leaves just a number": (
                lambda a, b, c, y, **_: maths((a - c, ""), (b + 1, y)),
                r"\( 5 + 4y \)",
            ),
        },
        example={"a": 7, "b": 3, "c": 2, "x": "x", "y": "y", "name": "Bea"},
        slips=lambda a, b, c, x, y, **_: [maths((a - c + 1, x), (b + 1, y)), maths((a - c, x), (b + 2, y))],
    ),
    Topic(
        construct="Expand a single bracket with a negative number in front of it",
        subject="Expanding Single Brackets",
        draw=lambda r: drawn(r, **several(r, "abc", 2, 10)),
        phrasings=(
            r"Expand \( $expr \)",
            "Multiply out the bracket:\n\\[\n$expr\n\\]",
            r"In a game each blue card is worth \( $inside \) points. $name has to hand back \( $a \) blue cards, so "
            r"the score changes by \( $expr \) points. Which expression shows this change without brackets?",
            r"Which of the following is always equal to \( $expr \), whatever the value of \( $x \)?",
            r"$name wants to rewrite \( $expr \) so that there is no bracket in it. What should the result be?",
        ),
        words=lambda a, b, c, x, **_: {"expr": f"-{a}({b}{x} - {c})", "inside": f"{b}{x} - {c}"},
        correct=(lambda a, b, c, x, **_: maths((-a * b, x), (a * c, "")), r"\( -6x + 15 \)"),
        rules={
            FIRST_TERM_ONLY: (lambda a, b, c, x, **_: maths((-a * b, x), (-c, "")), r"\( -6x - 5 \)"),
            TWO_NEGATIVES: (lambda a, b, c, x, **_: maths((-a * b, x), (-a * c, "")), r"\( -6x - 15 \)"),
            IGNORES_MINUS: (lambda a, b, c, x, **_: maths((a * b, x), (a * c, "")), r"\( 6x + 15 \)"),
            JOINS_UNLIKE: (lambda a, b, c, x, **_: maths((a * c - a * b, x)), r"\( 9x \)"),
            "Adds the number in front of a bracket to each number inside, rather than multiplying by it": (
                lambda a, b, c, x, **_: maths((b - a, x), (-c - a, "")),
                r"\( -x - 8 \)",
            ),
        },
        example={"a": 3, "b": 2, "c": 5, "x": "x", "name": "Leo"},
        slips=lambda a, b, c, x, **_: [maths((-a * b, x), (a * c + a, "")), maths((-a * b - a, x), (a * c, ""))],
    ),
    Topic(
        construct="Expand two brackets that each contain a subtraction",
        subject="Expanding Double Brackets",
        draw=lambda r: drawn(r, **several(r, "ab", 2, 12)),
        phrasings=(
            r"Expand and simplify \( $expr \)",
            "Multiply out the brackets and simplify your answer:\n\\[\n$expr\n\\]",
            r"A square sheet of card has sides of \( $x \) cm. $name cuts a strip \( $a \) cm wide off one side, and a "
            r"strip \( $b \) cm wide off the side next to it. The area left, in square centimetres, is \( $expr \). "
            r"Which expression is the same area without brackets?",
            r"![A rectangle with its base labelled \( $x - $a \) and its height labelled \( $x - $b \)]() "
            r"Which expression gives the area of this rectangle?",
            r"Which of these is equivalent to \( $expr \)?",
        ),
        words=lambda a, b, x, **_: {"expr": brackets(x, -a, -b)[3:-3]},
        correct=(lambda a, b, x, **_: quadratic(1, -a - b, a * b, x), r"\( x^{2} - 7x + 10 \)"),
        rules={
            TWO_NEGATIVES: (lambda a, b, x, **_: quadratic(1, -a - b, -a * b, x), r"\( x^{2} - 7x - 10 \)"),
            IGNORES_MINUS: (lambda a, b, x, **_: quadratic(1, a + b, a * b, x), r"\( x^{2} + 7x + 10 \)"),
            "When two brackets are multiplied, finds only first times first and last times last": (
                lambda a, b, x, **_: quadratic(1, 0, a * b, x),
                r"\( x^{2} + 10 \)",
            ),
            "Adds the constants of two brackets to get the constant term, where it should multiply them": (
                lambda a, b, x, **_: quadratic(1, -a - b, -a - b, x),
                r"\( x^{2} - 7x - 7 \)",
            ),
            "Mixes up sum and product: multiplies the constants for the middle coefficient and adds them for the end": (
                lambda a, b, x, **_: quadratic(1, a * b, -a - b, x),
                r"\( x^{2} + 10x - 7 \)",
            ),
            "Thinks a letter multiplied by itself makes twice the letter": (
                lambda a, b, x, **_: maths((2 - a - b, x), (a * b, "")),
                r"\( -5x + 10 \)",
            ),
        },
        example={"a": 2, "b": 5, "x": "x", "name": "Dina"},
        slips=lambda a, b, x, **_: [quadratic(1, -a - b, a * b + a, x), quadratic(1, -a - b - 1, a * b, x)],
    ),
    Topic(
        construct="Square a bracket whose letter has a coefficient",
        subject="Expanding Double Brackets",
        draw=lambda r: drawn(r, a=r.randint(2, 6), b=r.randint(3, 11)),
        phrasings=(
            r"Expand and simplify \( $expr \)",
            "Which expression should replace the star?\n\\[\n$expr \\equiv \\bigstar\n\\]",
            r"![A square with each side labelled \( ${a}$x + $b \) cm]() What is the area of the square in "
            r"\( \mathrm{cm}^{2} \), written without brackets?",
            r"A square lawn is \( ${a}$x + $b \) metres long on every side. $name works out that its area is "
            r"\( $expr \) square metres and then removes the bracket. Which expression should $name get?",
            r"Which of these is \( $expr \) in expanded form?",
        ),
        words=lambda a, b, x, **_: {"expr": f"({a}{x} + {b})^{{2}}"},
        correct=(lambda a, b, x, **_: quadratic(a * a, 2 * a * b, b * b, x), r"\( 9x^{2} + 24x + 16 \)"),
        rules={
            TIMES_INDEX: (lambda a, b, x, **_: maths((2 * a, x), (2 * b, "")), r"\( 6x + 8 \)"),
            "Squares the letter in a term but leaves its coefficient unchanged": (
                lambda a, b, x, **_: quadratic(a, 2 * a * b, b * b, x),
                r"\( 3x^{2} + 24x + 16 \)",
            ),
            "Thinks a sum is squared by squaring each of its parts separately": (
                lambda a, b, x, **_: quadratic(a * a, 0, b * b, x),
                r"\( 9x^{2} + 16 \)",
            ),
            "Counts the product of the two different terms only once when a bracket is multiplied by itself": (
                lambda a, b, x, **_: quadratic(a * a, a * b, b * b, x),
                r"\( 9x^{2} + 12x + 16 \)",
            ),
            "Applies the power outside a bracket to nothing but the last term inside": (
                lambda a, b, x, **_: maths((a, x), (b * b, "")),
                r"\( 3x + 16 \)",
            ),
        },
        example={"a": 3, "b": 4, "x": "x", "name": "Owen"},
        slips=lambda a, b, x, **_: [
            quadratic(a * a, 2 * a * b + a, b * b, x),
            quadratic(a * a, 2 * a * b, b * b + b, x),
        ],
    ),
    Topic(
        construct="Factorise an expression fully by taking out a number and a letter",
        subject="Factorising into a Single Bracket",
        draw=lambda r: drawn(
            r, g=r.choice((4, 6, 8, 9, 10, 12)), a=r.choice((2, 4)), b=r.choice((-7, -5, -3, 3, 5, 7))
        ),
        phrasings=(
            r"Factorise fully \( $expr \)",
            "Write this expression in its fully factorised form:\n\\[\n$expr\n\\]",
            r"A rectangle has an area of \( $expr \) square metres. $name wants to write the area as length times "
            r"width, taking out as much as possible as one of the two sides. What should $name write?",
            r"$name puts \( $expr \) into a bracket, with the highest common factor outside. What should $name write?",
        ),
        words=lambda g, a, b, x, **_: {"expr": quadratic(g * a, g * b, 0, x)[3:-3]},
        correct=(lambda g, a, b, x, **_: factorised(f"{g}{x}", a, x, b), r"\( 6x(2x + 3) \)"),
        rules={
            JOINS_UNLIKE: (lambda g, a, b, x, **_: maths((g * (a + b), x + "^{3}")), r"\( 30x^{3} \)"),
            "Takes out a common factor that is not the highest, so the numbers in the bracket still share one": (
                lambda g, a, b, x, **_: factorised(f"{g // (d := 3 if g % 2 else 2)}{x}", d * a, x, d * b),
                r"\( 3x(4x + 6) \)",
            ),
            "Looks for a common factor among the numbers only, overlooking a letter that the terms share": (
                lambda g, a, b, x, **_: factorised(f"{g}", a, x + "^{2}", b, x),
                r"\( 6(2x^{2} + 3x) \)",
            ),
            "Divides just the first term by the factor taken outside and copies the other term as it was": (
                lambda g, a, b, x, **_: factorised(f"{g}{x}", a, x, g * b, x),
                r"\( 6x(2x + 18x) \)",
            ),
            "Subtracts the common number from each coefficient, where factorising needs division": (
                lambda g, a, b, x, **_: factorised(f"{g}{x}", g * a - g, x, g * b - g),
                r"\( 6x(6x + 12) \)",
            ),
        },
        example={"g": 6, "a": 2, "b": 3, "x": "x", "name": "Noor"},
        slips=lambda g, a, b, x, **_: [factorised(f"{g}{x}", a + 1, x, b), factorised(f"{g}{x}", a, x, b + 1)],
    ),
    Topic(
        construct="Factorise a quadratic expression whose constant term is negative",
        subject="Factorising into a Double Bracket",
        draw=lambda r: drawn(r, **several(r, "pq", 2, 10)),
        phrasings=(
            r"Factorise \( $expr \)",
            "Factorise this quadratic expression:\n\\[\n$expr\n\\]",
            r"A rectangular field has an area of \( $expr \) square metres. Each of its sides can be written as "
            r"\( $x \) plus or minus a whole number of metres. Which product gives the area of the field?",
            r"$name is asked to write \( $expr \) as a product of two brackets. Which answer should $name give?",
            r"Which of these, when expanded, gives \( $expr \)?",
        ),
        words=lambda p, q, x, **_: {"expr": quadratic(1, p - q, -p * q, x)[3:-3]},
        correct=(lambda p, q, x, **_: brackets(x, p, -q), r"\( (x + 5)(x - 3) \)"),
        rules={
            "Finds the correct pair of numbers for a quadratic but gives each of them the other's sign": (
                lambda p, q, x, **_: brackets(x, -p, q),
                r"\( (x - 5)(x + 3) \)",
            ),
            "Thinks a negative constant term means that both brackets contain a subtraction": (
                lambda p, q, x, **_: brackets(x, -p, -q),
                r"\( (x - 5)(x - 3) \)",
            ),
            "Finds a factor pair of the constant without regard to its sign, so puts a plus in both brackets": (
                lambda p, q, x, **_: brackets(x, p, q),
                r"\( (x + 5)(x + 3) \)",
            ),
            "Takes the letter out of the first two terms and leaves the constant hanging outside the bracket": (
                lambda p, q, x, **_: rf"\( {x}({line((1, x), (p - q, ''))}) - {p * q} \)",
                r"\( x(x + 2) - 15 \)",
            ),
            "Copies the middle coefficient and the constant of a quadratic straight into the two brackets": (
                lambda p, q, x, **_: brackets(x, p - q, -p * q),
                r"\( (x + 2)(x - 15) \)",
            ),
        },
        example={"p": 5, "q": 3, "x": "x", "name": "Hugo"},
        slips=lambda p, q, x, **_: [brackets(x, p * q, -1), brackets(x, p + 1, -q - 1)],
    ),
    Topic(
        construct="Multiply two terms that contain powers of the same letters",
        subject="Laws of Indices",
        draw=lambda r: drawn(r, **several(r, "ab", 2, 7), n=r.randint(2, 4), m=r.randint(5, 8), k=r.randint(2, 6)),
        phrasings=(
            r"Simplify \( $expr \)",
            "Write the following as a single term:\n\\[\n$expr\n\\]",
            r"![A rectangle with its length labelled \( $first \) and its width labelled \( $second \)]() "
            r"Which expression gives the area of the rectangle in its simplest form?",
            r"$name multiplies \( $first \) by \( $second \). What should the answer be?",
            r"Which of these is equivalent to \( $expr \), for all values of \( $x \) and \( $y \)?",
        ),
        words=lambda a, b, m, n, k, x, y, **_: {
            "first": (first := product(a, x, m, y, k)[3:-3]),
            "second": (second := product(b, x, n, y, 1)[3:-3]),
            "expr": rf"{first} \times {second}",
        },
        correct=(lambda a, b, m, n, k, x, y, **_: product(a * b, x, m + n, y, k + 1), r"\( 6x^{7}y^{5} \)"),
        rules={
            "Multiplies the indices when powers of the same letter are multiplied": (
                lambda a, b, m, n, k, x, y, **_: product(a * b, x, m * n, y, k),
                r"\( 6x^{10}y^{4} \)",
            ),
            "Treats the coefficients in the same way as the indices, adding them in a product": (
                lambda a, b, m, n, k, x, y, **_: product(a + b, x, m + n, y, k + 1),
                r"\( 5x^{7}y^{5} \)",
            ),
            "Believes that a letter written without an index has index 0": (
                lambda a, b, m, n, k, x, y, **_: product(a * b, x, m + n, y, k),
                r"\( 6x^{7}y^{4} \)",
            ),
            "Adds up the indices of different letters as though they shared one base": (
                lambda a, b, m, n, k, x, y, **_: maths((a * b, f"({x}{y})^{{{m + n + k + 1}}}")),
                r"\( 6(xy)^{12} \)",
            ),
            "Confuses the rule for a product of powers with the rule for a quotient, and subtracts": (
                lambda a, b, m, n, k, x, y, **_: product(a * b, x, m - n, y, k - 1),
                r"\( 6x^{3}y^{3} \)",
            ),
        },
        example={"a": 3, "b": 2, "m": 5, "n": 2, "k": 4, "x": "x", "y": "y", "name": "Mina"},
        slips=lambda a, b, m, n, k, x, y, **_: [product(a * b, x, m + n + i, y, k + 2) for i in (0, 1)],
    ),
    Topic(
        construct="Evaluate the product of a whole number and a negative power",
        subject="Laws of Indices",
        draw=draw_negative_index,
        phrasings=(
            r"Work out the exact value of \( $expr \)",
            "What number should replace the question mark?\n\\[\n$expr = \\, ?\n\\]",
            r"After \( t \) hours the mass of a sample is \( $a \times $b^{-t} \) grams. What is its mass, in grams, "
            r"when \( t = $n \)?",
            r"$name types \( $expr \) into a calculator, which shows the result as a fraction or a whole number. What "
            r"does it show?",
            r"Which of these is equal to \( $expr \)?",
        ),
        words=lambda a, b, n, **_: {"expr": rf"{a} \times {b}^{{-{n}}}"},
        correct=(lambda a, b, n, **_: Fraction(a, b**n), Fraction(3, 16)),
        rules={
            IGNORES_MINUS: (lambda a, b, n, **_: a * b**n, 48),
            TIMES_INDEX: (lambda a, b, n, **_: -a * b * n, -24),
            LEFT_TO_RIGHT: (lambda a, b, n, **_: Fraction(1, (a * b) ** n), Fraction(1, 144)),
            "Thinks a minus sign on the index makes the power a negative number of the usual size": (
                lambda a, b, n, **_: -a * b**n,
                -48,
            ),
            "Uses the reciprocal for a negative index but then makes the result negative as well": (
                lambda a, b, n, **_: Fraction(-a, b**n),
                Fraction(-3, 16),
            ),
            "Turns a whole product upside down although only one factor has a negative index": (
                lambda a, b, n, **_: Fraction(1, a * b**n),
                Fraction(1, 48),
            ),
        },
        example={"a": 3, "b": 4, "n": 2, "name": "Grace"},
    ),
    Topic(
        construct="Substitute a negative number into an expression that contains a square",
        subject="Substitution into Expressions and Formulae",
        draw=lambda r: drawn(r, a=r.randint(2, 6), b=r.randint(2, 9), c=r.randint(3, 8)),
        phrasings=(
            r"What is the value of \( $expr \) when \( $x = -$c \)?",
            "Work out the value of\n\\[\n$expr\n\\]\nwhen \\( $x = -$c \\).",
            r"A curve is drawn from the formula \( h = $expr \). $name wants to plot the point of the curve where "
            r"\( $x = -$c \). Which value of \( h \) is needed?",
            r"A spreadsheet takes a number \( $x \) and shows the value of \( $expr \) beside it. What will it show "
            r"beside the number \( -$c \)?",
            r'$name says, "If \( $x \) is equal to \( -$c \), I can find \( $expr \) in my head." What is the value?',
        ),
        words=lambda a, b, x, **_: {"expr": quadratic(a, b, 0, x)[3:-3]},
        correct=(lambda a, b, c, **_: a * c * c - b * c, 28),
        rules={
            TWO_NEGATIVES: (lambda a, b, c, **_: -a * c * c - b * c, -68),
            IGNORES_MINUS: (lambda a, b, c, **_: a * c * c + b * c, 68),
            TIMES_INDEX: (lambda a, b, c, **_: -2 * a * c - b * c, -44),
            READS_AS_ADDED: (lambda a, b, c, **_: a + c * c + b - c, 20),
            "Squares the coefficient together with the number put in for the letter": (
                lambda a, b, c, **_: (a * c) ** 2 - b * c,
                124,
            ),
        },
        example={"a": 3, "b": 5, "c": 4, "x": "x", "name": "Priya"},
    ),
]
