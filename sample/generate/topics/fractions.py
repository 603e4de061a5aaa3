"""Number: calculating with fractions, comparing them and converting them."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from math import gcd
from random import Random
from typing import Any

from sample.generate.topic import Answer, Topic, fraction

SEPARATELY = "Adds or subtracts top with top and bottom with bottom, as though a fraction were two unrelated numbers"
UNCHANGED_TOP = "Changes a denominator without making the matching change to its numerator"
ADDS_TO_BOTH = "Makes an equivalent fraction by adding the same number to the top and the bottom"
ACROSS = "Multiplies the tops and multiplies the bottoms even though the fractions are to be added or subtracted"
BAR_AS_POINT = "Replaces the fraction bar with a decimal point, keeping the top before it and the bottom after it"
ONE_PART = "Divides to find the size of one part and then stops, without multiplying up"
WHAT_IS_LEFT = "Goes one step too far and takes the part away from the whole, giving what is left over"
DOUBLES = "Doubles whenever something has to be scaled up, whatever the scale factor really is"

NAMES = ("Aisha", "Ben", "Chloe", "Dev", "Ewan", "Farida", "Grace", "Hugo", "Isla", "Jakub", "Kofi", "Lena")


def _two_fractions(r: Random) -> dict[str, Any]:
    """Two proper fractions whose sum and product do not cancel."""
    while True:
        b, d = r.randint(3, 12), r.randint(3, 12)
        a, c = r.randint(1, b - 1), r.randint(1, d - 1)
        if gcd(b, d) == gcd(a, b) == gcd(c, d) == gcd(a, d) == gcd(b, c) == 1 and (a, b) != (c, d):
            return {"a": a, "b": b, "c": c, "d": d, "who": r.choice(NAMES)}


def _to_subtract(r: Random) -> dict[str, Any]:
    while True:
        b, k = r.randint(3, 12), r.randint(2, 5)
        a, c, e = r.randint(2, b - 1), r.randint(1, b - 1), b * k
        if a > c and e <= 48 and gcd(a, b) == gcd(c, e) == gcd(k * a - c, e) == 1:
            return {"a": a, "b": b, "c": c, "e": e, "who": r.choice(NAMES)}


def _to_divide(r: Random) -> dict[str, Any]:
    while True:
        c, d = r.randint(2, 5), r.randint(3, 11)
        a = c * r.randint(2, 4)
        b = a + r.randint(1, 9)
        if c < d and gcd(c, d) == gcd(a, b) == gcd(b, d) == 1:
            return {"a": a, "b": b, "c": c, "d": d, "who": r.choice(NAMES)}


def _in_lowest_terms(r: Random, tops: range, bottoms: range) -> tuple[int, int]:
    while True:
        a, b = r.choice(tops), r.choice(bottoms)
        if a < b and gcd(a, b) == 1:
            return a, b


def _mixed(r: Random) -> dict[str, Any]:
    n, d = _in_lowest_terms(r, range(1, 12), range(3, 13))
    return {"w": r.randint(2, 9), "n": n, "d": d, "who": r.choice(NAMES)}


def _of_an_amount(r: Random) -> dict[str, Any]:
    a, b = _in_lowest_terms(r, range(2, 8), range(3, 10))
    return {"a": a, "b": b, "n": a * b * r.randint(2, 720 // (a * b)), "who": r.choice(NAMES)}


def _equivalent(r: Random) -> dict[str, Any]:
    a, b = _in_lowest_terms(r, range(2, 12), range(3, 13))
    return {"a": a, "b": b, "e": b * r.randint(3, 9), "who": r.choice(NAMES)}


def _to_decimal(r: Random) -> dict[str, Any]:
    b = r.choice((4, 5, 5, 8, 8, 16, 20, 25, 40, 50))
    return {"a": r.choice([n for n in range(1, b) if gcd(n, b) == 1]), "b": b, "who": r.choice(NAMES)}


def _to_order(r: Random) -> dict[str, Any]:
    """Four fractions that every way of comparing them puts in an order of its own."""
    while True:
        pairs = [_in_lowest_terms(r, range(1, 12), range(2, 17)) for _ in range(4)]
        untied = len({n for n, _ in pairs}) == len({d for _, d in pairs}) == len({d - n for n, d in pairs}) == 4
        if untied and len(_orders(pairs)) == 6:
            return {"pairs": pairs, "who": r.choice(NAMES)}


def _size(pair: tuple[int, int]) -> Fraction:
    return Fraction(*pair)


def _in_order(pairs: list[tuple[int, int]], key: Callable[[tuple[int, int]], Any]) -> str:
    return r"\( " + ", ".join(rf"\frac{{{n}}}{{{d}}}" for n, d in sorted(pairs, key=key)) + r" \)"


def _orders(pairs: list[tuple[int, int]]) -> set[str]:
    ways = (_size, lambda f: -_size(f), lambda f: f[0], lambda f: f[1], lambda f: -f[1], lambda f: f[0] - f[1])
    return {_in_order(pairs, key) for key in ways}


def _muddled(pairs: list[tuple[int, int]]) -> Sequence[Answer]:
    """Orders near the right one to which no misconception leads."""
    w, x, y, z = sorted(pairs, key=_size)
    rows = ((w, y, x, z), (x, w, z, y), (w, x, z, y), (x, w, y, z), (w, y, z, x), (w, z, x, y), (y, w, x, z))
    return [order for order in (_in_order(pairs, row.index) for row in rows) if order not in _orders(pairs)][:3]


def _near(n: int, d: int) -> list[Answer]:
    """The right fraction but for a slip of one."""
    return [fraction(n, d + 1), fraction(n, d - 1), fraction(n + 1, d + 1)]


TOPICS = [
    Topic(
        construct="Add two fractions whose denominators have no common factor",
        subject="Adding and Subtracting Fractions",
        draw=_two_fractions,
        phrasings=(
            r"What is \( \frac{$a}{$b} + \frac{$c}{$d} \) ?",
            "Calculate\n\\[\n\\frac{$a}{$b}+\\frac{$c}{$d}\n\\]\nand give your answer as a single fraction.",
            r"$who walks \( \frac{$a}{$b} \) of a mile to the bus stop and, after getting off the bus, another "
            r"\( \frac{$c}{$d} \) of a mile to school. How many miles does $who walk altogether?",
            r"![Two bars of the same length, one above the other. The first is split into $b equal pieces and $a of "
            r"them are shaded. The second is split into $d equal pieces and $c of them are shaded]() Each bar is one "
            r"metre long. $who cuts out the two shaded lengths and lays them end to end. How long is the result, "
            r"in metres?",
            r"Which of these fractions makes the statement true? \[ \frac{$a}{$b}+\frac{$c}{$d}=\square \]",
            r"$who says, “I cannot add \( \frac{$a}{$b} \) and \( \frac{$c}{$d} \) until I have written them with the "
            r"same denominator.” What should $who get as the final answer?",
        ),
        correct=(lambda a, b, c, d, **_: fraction(a * d + b * c, b * d), fraction(13, 15)),
        rules={
            SEPARATELY: (lambda a, b, c, d, **_: fraction(a + c, b + d), fraction(3, 8)),
            UNCHANGED_TOP: (lambda a, b, c, d, **_: fraction(a + c, b * d), fraction(3, 15)),
            ACROSS: (lambda a, b, c, d, **_: fraction(a * c, b * d), fraction(2, 15)),
            "Cross-multiplies correctly to find the new top but puts it over the sum of the two bottoms":
                (lambda a, b, c, d, **_: fraction(a * d + b * c, b + d), fraction(13, 8)),
            "Thinks the larger of two denominators can serve for both, with the numerators left as they are":
                (lambda a, b, c, d, **_: fraction(a + c, max(b, d)), fraction(3, 5)),
            "Multiplies each numerator by its own denominator when rewriting fractions over a common one":
                (lambda a, b, c, d, **_: fraction(a * b + c * d, b * d), fraction(11, 15)),
        },
        example={"a": 2, "b": 3, "c": 1, "d": 5},
        slips=lambda a, b, c, d, **_: _near(a * d + b * c, b * d),
    ),
    Topic(
        construct="Subtract fractions when one denominator is a multiple of the other",
        subject="Adding and Subtracting Fractions",
        draw=_to_subtract,
        phrasings=(
            r"Work out \( \frac{$a}{$b} - \frac{$c}{$e} \).",
            "\\[\n\\frac{$a}{$b}-\\frac{$c}{$e}=\n\\]\nWhat should replace the blank on the right-hand side?",
            r"A jug is \( \frac{$a}{$b} \) full of orange juice. $who pours out some of it, and the amount poured out "
            r"would fill \( \frac{$c}{$e} \) of the jug. What fraction of the jug is still full?",
            r"$who has two sticks. The first is \( \frac{$a}{$b} \) of a metre long and the second is "
            r"\( \frac{$c}{$e} \) of a metre long. By how many metres is the first stick longer than the second?",
            r"![A number line from 0 to 1 with two arrows, one marked \( \frac{$c}{$e} \) and the other, further to "
            r"the right, marked \( \frac{$a}{$b} \)]() What is the distance between the two arrows?",
            r"Which of these is the result when \( \frac{$c}{$e} \) is subtracted from \( \frac{$a}{$b} \) ?",
        ),
        correct=(lambda a, b, c, e, **_: fraction(a * e // b - c, e), fraction(5, 8)),
        rules={
            SEPARATELY: (lambda a, b, c, e, **_: fraction(a - c, e - b), fraction(2, 4)),
            UNCHANGED_TOP: (lambda a, b, c, e, **_: fraction(a - c, e), fraction(2, 8)),
            ADDS_TO_BOTH: (lambda a, b, c, e, **_: fraction(a + e - b - c, e), fraction(6, 8)),
            ACROSS: (lambda a, b, c, e, **_: fraction(a * c, b * e), fraction(3, 32)),
            "Scales up the numerators of both fractions although one already has the common denominator":
                (lambda a, b, c, e, **_: fraction((a - c) * e // b, e), fraction(4, 8)),
        },
        example={"a": 3, "b": 4, "c": 1, "e": 8},
        slips=lambda a, b, c, e, **_: _near(a * e // b - c, e),
    ),
    Topic(
        construct="Multiply a fraction by another fraction",
        subject="Multiplying and Dividing Fractions",
        draw=_two_fractions,
        phrasings=(
            r"Calculate \( \frac{$a}{$b} \times \frac{$c}{$d} \).",
            "What is the answer to this calculation?\n\\[\n\\frac{$a}{$b} \\times \\frac{$c}{$d}\n\\]",
            r"In a school, \( \frac{$a}{$b} \) of the pupils walk to school. Of those who walk, \( \frac{$c}{$d} \) "
            r"live less than a mile away. What fraction of all the pupils walk and live less than a mile away?",
            r"![A rectangle with its base labelled \( \frac{$a}{$b} \mathrm{~m} \) and its height labelled "
            r"\( \frac{$c}{$d} \mathrm{~m} \)]() How many square metres is the area of this rectangle?",
            r"Which of these fractions is equal to \( \frac{$a}{$b} \) of \( \frac{$c}{$d} \) ?",
            r"$who eats \( \frac{$a}{$b} \) of what is left of a cake. Before that, \( \frac{$c}{$d} \) of the cake "
            r"was left. What fraction of the whole cake does $who eat?",
        ),
        correct=(lambda a, b, c, d, **_: fraction(a * c, b * d), fraction(8, 15)),
        rules={
            "Turns the second fraction upside down before multiplying, a step that belongs to division":
                (lambda a, b, c, d, **_: fraction(a * d, b * c), fraction(10, 12)),
            "When finding a product of fractions, multiplies the denominators but adds the numerators":
                (lambda a, b, c, d, **_: fraction(a + c, b * d), fraction(6, 15)),
            "When finding a product of fractions, multiplies the numerators but adds the denominators":
                (lambda a, b, c, d, **_: fraction(a * c, b + d), fraction(8, 8)),
            "Thinks fractions need a common denominator before multiplying, and that the product keeps it":
                (lambda a, b, c, d, **_: fraction(a * d * c * b, b * d), fraction(120, 15)),
            "Uses the method for a sum of fractions, common denominator and all, where a product is needed":
                (lambda a, b, c, d, **_: fraction(a * d + b * c, b * d), fraction(22, 15)),
        },
        example={"a": 2, "b": 3, "c": 4, "d": 5},
        slips=lambda a, b, c, d, **_: _near(a * c, b * d),
    ),
    Topic(
        construct="Divide a fraction by another fraction",
        subject="Multiplying and Dividing Fractions",
        draw=_to_divide,
        phrasings=(
            r"Work out \( \frac{$a}{$b} \div \frac{$c}{$d} \), giving your answer in its simplest form.",
            "\\[\n\\frac{$a}{$b} \\div \\frac{$c}{$d}\n\\]\nWhat is the answer in its lowest terms?",
            r"A rectangular flower bed has an area of \( \frac{$a}{$b} \) of a square metre. One of its sides is "
            r"\( \frac{$c}{$d} \) of a metre long. How many metres long is the other side? Simplify your answer.",
            r"Which of these is the value of \( \frac{$a}{$b} \) divided by \( \frac{$c}{$d} \), fully simplified?",
            r"$who gets \( \frac{$a}{$b} \) after multiplying a secret number by \( \frac{$c}{$d} \). "
            r"What is the secret number, in its simplest form?",
        ),
        correct=(lambda a, b, c, d, **_: Fraction(a * d, b * c), Fraction(15, 7)),
        rules={
            "Turns the first fraction upside down, rather than the one that is being divided by":
                (lambda a, b, c, d, **_: Fraction(b * c, a * d), Fraction(7, 15)),
            "Changes the division sign to a multiplication but leaves both fractions as they were":
                (lambda a, b, c, d, **_: Fraction(a * c, b * d), Fraction(12, 35)),
            "Takes the reciprocal of both fractions before multiplying them":
                (lambda a, b, c, d, **_: Fraction(b * d, a * c), Fraction(35, 12)),
            "Inverts the divisor as needed but then adds the two fractions instead of multiplying them":
                (lambda a, b, c, d, **_: Fraction(a * c + b * d, b * c), Fraction(47, 14)),
            "Divides one numerator by the other but multiplies the denominators together":
                (lambda a, b, c, d, **_: Fraction(a // c, b * d), Fraction(3, 35)),
        },
        example={"a": 6, "b": 7, "c": 2, "d": 5},
    ),
    Topic(
        construct="Write a mixed number as an improper fraction",
        subject="Understanding Fractions",
        draw=_mixed,
        phrasings=(
            r"Which of these is the same as \( $w \frac{$n}{$d} \) ?",
            "\\[\n$w \\frac{$n}{$d}=\\frac{\\square}{\\square}\n\\]\nWrite this mixed number as an improper fraction.",
            r"$who has cut some identical pizzas into \( $d \) equal slices each. There are \( $w \) whole pizzas and "
            r"\( \frac{$n}{$d} \) of another one. What is this amount of pizza as an improper (top-heavy) fraction?",
            r"![Some circles, each divided into $d equal sectors. The first $w circles are fully shaded and in the "
            r"last circle the number of shaded sectors is $n]() Each circle stands for one whole. Which improper "
            r"fraction is shaded in total?",
            r"Before multiplying, $who needs to change \( $w \frac{$n}{$d} \) into an improper fraction. "
            r"What should $who write?",
        ),
        correct=(lambda w, n, d, **_: fraction(w * d + n, d), fraction(17, 5)),
        rules={
            "Adds the whole number straight on to the numerator, as if it counted parts and not wholes":
                (lambda w, n, d, **_: fraction(w + n, d), fraction(5, 5)),
            "Reads a mixed number as its whole part multiplied by its fraction part":
                (lambda w, n, d, **_: fraction(w * n, d), fraction(6, 5)),
            "Writes the whole number as an extra digit in front of the numerator":
                (lambda w, n, d, **_: fraction(int(f"{w}{n}"), d), fraction(32, 5)),
            "Mixes up top and bottom, multiplying the whole number by the top and then adding on the bottom":
                (lambda w, n, d, **_: fraction(w * n + d, d), fraction(11, 5)),
            "Converts the wholes into parts correctly but leaves out the parts that were there already":
                (lambda w, n, d, **_: fraction(w * d, d), fraction(15, 5)),
            "Adds on the denominator only once, no matter how many wholes there are":
                (lambda w, n, d, **_: fraction(d + n, d), fraction(7, 5)),
        },
        example={"w": 3, "n": 2, "d": 5},
        slips=lambda w, n, d, **_: _near(w * d + n, d),
    ),
    Topic(
        construct="Find a fraction of an amount",
        subject="Fractions and Percentages of an Amount",
        draw=_of_an_amount,
        phrasings=(
            r"What is \( \frac{$a}{$b} \) of \( $n \) ?",
            "Find the value of\n\\[\n\\frac{$a}{$b} \\text { of } $n\n\\]",
            r"There are \( $n \) seats in a theatre. On Friday evening \( \frac{$a}{$b} \) of the seats are taken. "
            r"How many seats are taken?",
            r"![A bar divided into $b equal sections, $a of which are shaded. A bracket over the whole bar is "
            r"labelled $n]() The whole bar stands for \( $n \). What number does the shaded part stand for?",
            r"$who is reading a book of \( $n \) pages and has finished exactly \( \frac{$a}{$b} \) of it. "
            r"How many pages has $who read so far?",
            r"Which of these numbers is equal to \( \frac{$a}{$b} \times $n \) ?",
        ),
        correct=(lambda a, b, n, **_: n // b * a, 36),
        rules={
            "Swaps the jobs of top and bottom, dividing by the numerator and multiplying by the denominator":
                (lambda a, b, n, **_: n // a * b, 100),
            ONE_PART: (lambda a, b, n, **_: n // b, 12),
            WHAT_IS_LEFT: (lambda a, b, n, **_: n - n // b * a, 24),
            BAR_AS_POINT: (lambda a, b, n, **_: n * Decimal(f"{a}.{b}"), 210),
            "Thinks the top of a fraction tells how many equal parts to split the amount into":
                (lambda a, n, **_: n // a, 20),
            "Multiplies by the numerator but never divides by the denominator": (lambda a, b, n, **_: n * a, 180),
        },
        example={"a": 3, "b": 5, "n": 60},
    ),
    Topic(
        construct="Find the missing numerator in a pair of equivalent fractions",
        subject="Understanding Fractions",
        draw=_equivalent,
        phrasings=(
            "\\[\n\\frac{$a}{$b}=\\frac{\\bigstar}{$e}\n\\]\nWhat number does the star stand for?",
            r"What is the missing numerator if \( \frac{$a}{$b} \) is written as a fraction with denominator \( $e \)?",
            r"![Two bars of equal length. The first is split into $b equal parts with $a of them shaded. The second "
            r"is split into $e equal parts and nothing is shaded yet]() How many parts of the second bar must be "
            r"shaded so that both bars show the same fraction?",
            r"In a test out of \( $b \) marks, $who scores \( $a \). The teacher wants to rewrite this score as a mark "
            r"out of \( $e \) that stands for the same fraction. What mark should the teacher write?",
            r"Which of these values of \( n \) makes \( \frac{n}{$e} \) equivalent to \( \frac{$a}{$b} \) ?",
        ),
        correct=(lambda a, b, e, **_: a * e // b, 12),
        rules={
            ADDS_TO_BOTH: (lambda a, b, e, **_: a + e - b, 18),
            UNCHANGED_TOP: (lambda a, b, e, **_: a, 3),
            "Finds what one denominator was multiplied by and takes that multiplier itself as the answer":
                (lambda a, b, e, **_: e // b, 4),
            "Subtracts one denominator from the other and gives the difference as the missing numerator":
                (lambda a, b, e, **_: e - b, 15),
            DOUBLES: (lambda a, b, e, **_: 2 * a, 6),
        },
        example={"a": 3, "b": 5, "e": 20},
    ),
    Topic(
        construct="Convert a fraction to a terminating decimal",
        subject="Fractions, Decimals and Percentages",
        draw=_to_decimal,
        phrasings=(
            r"What is \( \frac{$a}{$b} \) as a decimal?",
            "\\[\n\\frac{$a}{$b}=\n\\]\nWhich of these decimals should replace the blank?",
            r"$who wants to enter \( \frac{$a}{$b} \) into a spreadsheet that only accepts decimals. "
            r"Which number should $who type in?",
            r"A bottle is \( \frac{$a}{$b} \) full, and a full bottle holds exactly one litre of water. "
            r"How many litres of water are in the bottle? Write your answer as a decimal.",
            r"![A number line from 0 to 1, divided into $b equal intervals, with an arrow at the mark numbered $a "
            r"counting from 0]() Which decimal is the arrow pointing at?",
        ),
        correct=(lambda a, b, **_: Decimal(a) / b, Decimal("0.375")),
        rules={
            BAR_AS_POINT: (lambda a, b, **_: rf"\( {a}.{b} \)", r"\( 3.8 \)"),
            "Writes the digits of the numerator and then those of the denominator after “nought point”":
                (lambda a, b, **_: rf"\( 0.{a}{b} \)", r"\( 0.38 \)"),
            "Believes the digits after the decimal point are simply those of the numerator":
                (lambda a, b, **_: rf"\( 0.{a} \)", r"\( 0.3 \)"),
            "Thinks one nth is written as nought point n, then multiplies that decimal by the numerator":
                (lambda a, b, **_: a * Decimal(f"0.{b}"), Decimal("2.4")),
            "Does not tell a decimal apart from a percentage, giving the number of hundredths as the answer":
                (lambda a, b, **_: Decimal(100 * a) / b, Decimal("37.5")),
        },
        example={"a": 3, "b": 8},
    ),
    Topic(
        construct="Put fractions with different denominators in order of size",
        subject="Understanding Fractions",
        draw=_to_order,
        words=lambda pairs, **_: {f"f{i}": rf"\( \frac{{{n}}}{{{d}}} \)" for i, (n, d) in enumerate(pairs)},
        phrasings=(
            r"Which list shows the fractions $f0, $f1, $f2 and $f3 in order, starting with the smallest?",
            r"Put these fractions in ascending order: $f0, $f1, $f2, $f3",
            r"$who has four identical glasses. They are filled with water as follows: the first is $f0 full, the "
            r"second $f1 full, the third $f2 full and the fourth $f3 full. In which order should $who place the "
            r"glasses so that they go from the least water to the most?",
            r"![Four cards lying on a table, showing the fractions $f0, $f1, $f2 and $f3]() $who picks up the cards "
            r"one at a time, always taking the card with the lowest value that is left. In which order are the cards "
            r"picked up?",
            r"$f0 of the pupils in Year 7 go swimming every week. In Year 8 it is $f1 of the pupils, in Year 9 $f2 and "
            r"in Year 10 $f3. Write these fractions in order of size, from smallest to largest.",
        ),
        correct=(
            lambda pairs, **_: _in_order(pairs, _size),
            r"\( \frac{1}{4}, \frac{5}{9}, \frac{3}{5}, \frac{2}{3} \)",
        ),
        rules={
            "Believes the larger the denominator, the larger the fraction must be": (
                lambda pairs, **_: _in_order(pairs, lambda f: f[1]),
                r"\( \frac{2}{3}, \frac{1}{4}, \frac{3}{5}, \frac{5}{9} \)",
            ),
            "Looks at the numerators alone when comparing fractions, taking no account of the denominators": (
                lambda pairs, **_: _in_order(pairs, lambda f: f[0]),
                r"\( \frac{1}{4}, \frac{2}{3}, \frac{3}{5}, \frac{5}{9} \)",
            ),
            "Judges a fraction by the difference between its top and bottom: the smaller the gap, the bigger it is": (
                lambda pairs, **_: _in_order(pairs, lambda f: f[0] - f[1]),
                r"\( \frac{5}{9}, \frac{1}{4}, \frac{3}{5}, \frac{2}{3} \)",
            ),
            "Thinks fewer parts always means a bigger fraction, however many of the parts are taken": (
                lambda pairs, **_: _in_order(pairs, lambda f: -f[1]),
                r"\( \frac{5}{9}, \frac{3}{5}, \frac{1}{4}, \frac{2}{3} \)",
            ),
            "Compares correctly but starts at the wrong end, confusing ascending with descending order": (
                lambda pairs, **_: _in_order(pairs, lambda f: -_size(f)),
                r"\( \frac{2}{3}, \frac{3}{5}, \frac{5}{9}, \frac{1}{4} \)",
            ),
        },
        example={"pairs": [(2, 3), (1, 4), (5, 9), (3, 5)]},
        slips=lambda pairs, **_: _muddled(pairs),
    ),
]
