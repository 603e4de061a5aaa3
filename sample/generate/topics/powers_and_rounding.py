"""Number: powers, roots, rounding, estimation, decimals, brackets and bounds."""

from collections.abc import Iterable
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal
from math import isqrt
from random import Random
from typing import Any

from sample.generate.topic import Topic
from sample.generate.topics.order_of_operations import ADDITION_FIRST, LEFT_TO_RIGHT

BASE_TIMES_INDEX = "Multiplies the base by its index in place of repeated multiplication"
ONE_FACTOR_MORE = "Counts multiplication signs, not factors, when reading an index, so uses the base once too often"
TRUNCATES = "Cuts off the unwanted digits without checking whether the last one kept should go up"
PLACES_OR_FIGURES = "Mixes up decimal places with significant figures"
DROPS_SIZE = "Does not fill with zeros after rounding a large number, so its size is lost"

NAMES = ("Anya", "Ben", "Carlos", "Demi", "Esme", "Finn", "Gita", "Harry", "Imran", "Jess")
MEASURED = {
    Decimal(10): (("length of a bridge", "m"), ("height of a tower", "m"), ("mass of a pony", "kg")),
    Decimal("0.1"): (("mass of a parcel", "kg"), ("length of a pencil", "cm"), ("width of a gate", "m")),
    Decimal("0.01"): (("height of a door", "m"), ("mass of a bag of flour", "kg"), ("length of a jump", "m")),
}
ACCURACIES = {
    Decimal(10): r"the nearest \( 10 \)",
    Decimal("0.1"): r"\( 1 \) decimal place",
    Decimal("0.01"): r"\( 2 \) decimal places",
}


def near(x: Decimal | int, places: int, mode: str = ROUND_HALF_UP) -> Decimal:
    """x to so many decimal places; -2 is the nearest hundred."""
    return Decimal(x).quantize(Decimal(1).scaleb(-places), mode)


def figures(x: Decimal | int, k: int, mode: str = ROUND_HALF_UP) -> Decimal:
    return near(x, k - 1 - Decimal(x).adjusted(), mode)


def shown(x: Decimal | int) -> str:
    """A decimal with all of its digits, zeros at the end included."""
    return rf"\( {x:f} \)"


def draw_root(r: Random) -> dict[str, Any]:
    x = r.randint(2, 9)
    return {"k": r.choice((2, 3, 5, 6, 7)), "x": x * x, "y": r.randint(x + 1, 13) ** 2 - x * x, "name": r.choice(NAMES)}


def draw_places(r: Random) -> dict[str, Any]:
    p = r.choice((1, 2))
    digits = [r.randint(1, 9), r.randint(1, 8), *(r.randint(1, 8) for _ in range(p)), r.randint(5, 9), r.randint(1, 9)]
    return {"x": Decimal(int("".join(map(str, digits)))).scaleb(-p - 2), "p": p, "name": r.choice(NAMES)}


def draw_figures(r: Random) -> dict[str, Any]:
    digits = [r.randint(1, 8), 0, r.randint(1, 4), r.randint(1, 8), r.randint(1, 9), r.randint(1, 9)]
    return {"n": int("".join(map(str, digits))), "name": r.choice(NAMES)}


def draw_estimate(r: Random) -> dict[str, Any]:
    return {
        "a": r.randint(1, 9) * 100 + r.randint(2, 48),
        "b": Decimal(r.randint(2, 7) * 10 + r.randint(6, 9)).scaleb(-1),
        "c": Decimal(r.choice((20, 40, 50)) + r.randint(1, 4)).scaleb(-2),
        "name": r.choice(NAMES),
    }


def estimate(a: int, b: Decimal, c: Decimal, mode: str = ROUND_HALF_UP, tens: int = 1) -> Decimal | None:
    found = figures(a, 1, mode) * figures(b, 1, mode) / figures(c, 1, mode)
    return found / tens if found == found.to_integral_value() else None


def as_whole_number(x: str) -> int:
    return int(x[2:])


def longest_first(x: str) -> tuple[int, Decimal]:
    return -len(x), Decimal(x)


def without_zeros(x: str) -> Decimal:
    return Decimal("0." + x[2:].replace("0", ""))


def last_digit(x: str) -> str:
    return x[-1]


def draw_decimals(r: Random) -> dict[str, Any]:
    while True:
        a, b, c, d, e, f = r.sample(range(1, 10), 6)
        xs = r.sample([f"0.{a}", f"0.{b}{c}", f"0.{d}0{e}", f"0.0{f}"], 4)
        keys = (Decimal, as_whole_number, longest_first, without_zeros, last_digit)
        if len({ordered(sorted(xs, key=key)) for key in keys}) >= 4:
            return {"xs": tuple(xs), "name": r.choice(NAMES)}


def ordered(xs: Iterable[str]) -> str:
    return rf"\( {', '.join(xs)} \)"


def draw_power_of_ten(r: Random) -> dict[str, Any]:
    return {"x": Decimal(r.randint(1, 48) * 100 + r.randint(1, 9) * 10 + r.randint(1, 9)).scaleb(-2),
            "n": r.randint(2, 5), "name": r.choice(NAMES)}


def draw_brackets(r: Random) -> dict[str, Any]:
    d = r.randint(2, 6)
    return {"a": r.randint(2, 20), "b": r.randint(2, 6), "c": d + r.randint(3, 6), "d": d, "name": r.choice(NAMES)}


def draw_bounds(r: Random) -> dict[str, Any]:
    u = r.choice(tuple(MEASURED))
    steps = r.randint(11, 98) if u != Decimal("0.01") else r.randint(112, 298)
    return {"v": (steps + (steps % 10 == 0)) * u, "u": u, "what": r.choice(MEASURED[u]), "name": r.choice(NAMES)}


TOPICS = [
    Topic(
        construct="Calculate with cubes and squares of positive whole numbers",
        subject="Powers and Roots",
        draw=lambda r: {"a": r.randint(3, 10), "b": r.randint(3, 12), "name": r.choice(NAMES)},
        phrasings=(
            r"What is the value of \( $a^{3}+$b^{2} \)?",
            "Calculate\n\\[\n$a^{3}+$b^{2}\n\\]",
            r"Which of these is \( $a^{3}+$b^{2} \), the cube of \( $a \) plus the square of \( $b \)?",
            r"$name builds a solid cube that is \( $a \) small blocks along each edge. With more small blocks $name "
            r"makes a flat square with \( $b \) along each side. How many small blocks, \( $a^{3}+$b^{2} \), is that?",
            r"![A cube with edges of $a cm and a square with sides of $b cm]() The number of cubic centimetres in the "
            r"cube is added to the number of square centimetres in the square. What is \( $a^{3}+$b^{2} \)?",
        ),
        correct=(lambda a, b, **_: a**3 + b**2, 89),
        rules={
            BASE_TIMES_INDEX: (lambda a, b, **_: 3 * a + 2 * b, 22),
            ONE_FACTOR_MORE: (lambda a, b, **_: a**4 + b**3, 381),
            LEFT_TO_RIGHT: (lambda a, b, **_: (a**3 + b) ** 2, 4761),
            "Swaps the roles of the base and the index": (lambda a, b, **_: 3**a + 2**b, 113),
            "When adding powers, adds the bases together and adds the indices together": (
                lambda a, b, **_: (a + b) ** 5, 59049),
        },
        example={"a": 4, "b": 5, "name": "Ben"},
    ),
    Topic(
        construct="Evaluate a multiple of the square root of a sum",
        subject="Powers and Roots",
        draw=draw_root,
        phrasings=(
            r"What is the value of \( $k \sqrt{$x+$y} \)?",
            "\\[\n$k \\sqrt{$x+$y}=\n\\]\nWhich of these completes the statement?",
            r"$name has to work out \( $k \sqrt{$x+$y} \) in a test without a calculator, using the positive root. "
            r"What should the answer be?",
            r"![A square whose area is labelled ($x + $y) square centimetres]() \( $k \) squares like this one are "
            r"placed side by side in a row. How long is the row, \( $k \sqrt{$x+$y} \), in centimetres?",
        ),
        correct=(lambda k, x, y, **_: k * isqrt(x + y), 36),
        rules={
            "Thinks that taking a square root means halving": (lambda k, x, y, **_: Decimal(k * (x + y)) / 2, 216),
            "Squares a number when asked for its square root": (lambda k, x, y, **_: k * (x + y) ** 2, 62208),
            "Believes the root of a total is the total of the separate roots": (
                lambda k, x, y, **_: k * (isqrt(x) + isqrt(y)) if isqrt(y) ** 2 == y
                else rf"\( {k * isqrt(x)}+{k} \sqrt{{{y}}} \)", r"\( 15+3 \sqrt{119} \)"),
            "Takes the radical sign to cover only the first number beneath it": (
                lambda k, x, y, **_: k * isqrt(x) + y, 134),
            "Adds a number written in front of a radical to the root, not seeing that it multiplies": (
                lambda k, x, y, **_: k + isqrt(x + y), 15),
            "Moves a multiplier inside a radical without squaring it first": (
                lambda k, x, y, **_: rf"\( \sqrt{{{k * (x + y)}}} \)", r"\( \sqrt{432} \)"),
        },
        example={"k": 3, "x": 25, "y": 119, "name": "Esme"},
    ),
    Topic(
        construct="Evaluate powers of negative numbers",
        subject="Powers and Roots",
        draw=lambda r: {"a": r.randint(2, 8), "b": r.randint(2, 12), "name": r.choice(NAMES)},
        phrasings=(
            r"What is the value of \( (-$a)^{3}+(-$b)^{2} \)?",
            "\\[\n(-$a)^{3}+(-$b)^{2}\n\\]\nWhich of these is equal to the calculation above?",
            r"$name cubes \( -$a \), squares \( -$b \) and adds the two results, writing \( (-$a)^{3}+(-$b)^{2} \). "
            r"What total should $name get?",
            r"In the expression \( p^{3}+q^{2} \), \( p=-$a \) and \( q=-$b \). Find its value.",
            r"![A function machine: p goes in at one side, q at the other, and p cubed plus q squared comes out]() "
            r"What comes out of the machine for \( p=-$a \) and \( q=-$b \)?",
        ),
        correct=(lambda a, b, **_: b**2 - a**3, 17),
        rules={
            "Believes a negative number stays negative however often it is multiplied by itself": (
                lambda a, b, **_: -(a**3) - b**2, -33),
            "Believes that any power of a negative number is positive, whether the index is odd or even": (
                lambda a, b, **_: a**3 + b**2, 33),
            BASE_TIMES_INDEX: (lambda a, b, **_: -3 * a - 2 * b, -16),
            ONE_FACTOR_MORE: (lambda a, b, **_: a**4 - b**3, -109),
            LEFT_TO_RIGHT: (lambda a, b, **_: (-(a**3) - b) ** 2, 169),
        },
        example={"a": 2, "b": 5, "name": "Gita"},
    ),
    Topic(
        construct="Round a number to a given number of decimal places",
        subject="Rounding and Estimating",
        draw=draw_places,
        phrasings=(
            r"What is \( $x \) rounded to \( $p \) $places?",
            r"$name's calculator shows \( $x \). $name has to give the answer correct to \( $p \) $places. "
            r"What should $name write?",
            "Round the number below to \\( $p \\) $places.\n\\[\n$x\n\\]",
            r"![The display of a set of laboratory scales reads $x grams]() Which of these is the reading correct to "
            r"\( $p \) $places?",
            r"A sprinter's time is recorded as \( $x \) seconds. A newspaper prints times to \( $p \) $places. "
            r"Which of these times will be printed?",
        ),
        words=lambda p, **_: {"places": "decimal place" + "s" * (p > 1)},
        correct=(lambda x, p, **_: shown(near(x, p)), r"\( 36.48 \)"),
        rules={
            TRUNCATES: (lambda x, p, **_: shown(near(x, p, ROUND_DOWN)), r"\( 36.47 \)"),
            PLACES_OR_FIGURES: (lambda x, p, **_: shown(figures(x, p)), r"\( 36 \)"),
            "Takes the digit just before the point as the first of the decimal places": (
                lambda x, p, **_: shown(near(x, p - 1)), r"\( 36.5 \)"),
            "Puts zeros in all the decimal places removed, as one would with a whole number": (
                lambda x, p, **_: shown(near(near(x, p), p + 2)), r"\( 36.4800 \)"),
            "Raises the digit being rounded by one but keeps all of the digits after it": (
                lambda x, p, **_: shown(x + Decimal(1).scaleb(-p)), r"\( 36.4862 \)"),
        },
        example={"x": Decimal("36.4762"), "p": 2, "name": "Demi"},
        slips=lambda x, p, **_: [shown(near(x, p) + Decimal(1).scaleb(-p)), shown(near(x, p + 1))],
    ),
    Topic(
        construct="Round a large whole number to two significant figures",
        subject="Rounding and Estimating",
        draw=draw_figures,
        phrasings=(
            r"What is \( $n \) rounded to \( 2 \) significant figures?",
            "Which of these gives the number below correct to \\( 2 \\) significant figures?\n\\[\n$n\n\\]",
            r"There were \( $n \) people at a music festival. A reporter rounds the attendance to "
            r"\( 2 \) significant figures. What number does the reporter use?",
            r"$name says, 'I bought a house for £\( $n \).' What is this price in pounds, "
            r"correct to \( 2 \) significant figures?",
            r"![A road sign for a town, population $n]() Write the population to two significant figures.",
        ),
        correct=(lambda n, **_: figures(n, 2), 400000),
        rules={
            "Thinks that rounding down makes the last digit kept one less": (
                lambda n, **_: figures(n, 2) - Decimal("1E4"), 390000),
            "Always rounds up, however small the next digit is": (lambda n, **_: figures(n, 2, ROUND_UP), 410000),
            PLACES_OR_FIGURES: (lambda n, **_: shown(near(n, 2)), r"\( 402862.00 \)"),
            "Believes that a zero is never significant, even between other digits": (
                lambda n, **_: near(n, -3), 403000),
            "Takes the number of significant figures to be how many zeros there must be at the end": (
                lambda n, **_: near(n, -2), 402900),
            DROPS_SIZE: (lambda n, **_: figures(n, 2) / 10000, 40),
        },
        example={"n": 402862, "name": "Finn"},
    ),
    Topic(
        construct="Estimate a calculation by rounding each number to one significant figure",
        subject="Rounding and Estimating",
        draw=draw_estimate,
        phrasings=(
            r"By rounding each number to \( 1 \) significant figure, estimate \( \frac{$a \times $b}{$c} \).",
            "$name rounds every number in the calculation to \\( 1 \\) significant figure to get an estimate.\n"
            "\\[\n\\frac{$a \\times $b}{$c}\n\\]\nWhat estimate should $name obtain?",
            r"A factory fills \( $a \) jars with \( $b \) litres of paint each and then pours all of the paint into "
            r"tubs of \( $c \) litres. Round each number to \( 1 \) significant figure. "
            r"About how many tubs are needed?",
            r"Which of these is the best estimate for \( ($a \times $b) \div $c \), "
            r"if each number is first rounded to one significant figure?",
        ),
        correct=(lambda a, b, c, **_: estimate(a, b, c), 14000),
        rules={
            TRUNCATES: (lambda a, b, c, **_: estimate(a, b, c, ROUND_DOWN), 12000),
            DROPS_SIZE: (lambda a, b, c, **_: estimate(a, b, c, tens=100), 140),
            "Ignores the decimal point in a divisor below one, dividing by its digit as a whole number": (
                lambda a, b, c, **_: estimate(a, b, c, tens=10), 1400),
            "Multiplies by a decimal where a division is called for, believing that dividing must make numbers "
            "smaller": (lambda a, b, c, **_: figures(a, 1) * figures(b, 1) * figures(c, 1), 560),
            "Rounds any positive decimal below one up to one, so as not to be left with nought": (
                lambda a, b, **_: figures(a, 1) * figures(b, 1), 2800),
        },
        example={"a": 412, "b": Decimal("6.8"), "c": Decimal("0.21"), "name": "Imran"},
    ),
    Topic(
        construct="Put decimals with different numbers of digits in order of size",
        subject="Decimals",
        draw=draw_decimals,
        phrasings=(
            r"Which of these lists \( $row \) in order, with the smallest first?",
            "\\[\n$row\n\\]\nWrite the decimals in ascending order.",
            r"$name measures the heights of four seedlings in metres: \( $row \). "
            r"$name then lists them, from the shortest seedling to the tallest. Which list is correct?",
            r"![A number line from 0 to 1 with nothing marked in between]() $name marks \( $row \) on the line. "
            r"In what order do they appear, reading from left to right?",
            r"Four parcels have masses, in kilograms, of \( $row \). They are to be stacked from lightest to heaviest. "
            r"In which order should they be taken?",
        ),
        words=lambda xs, **_: {"row": ", ".join(xs)},
        correct=(lambda xs, **_: ordered(sorted(xs, key=Decimal)), r"\( 0.07, 0.2, 0.35, 0.608 \)"),
        rules={
            "Reads the digits after the point as if they made a whole number": (
                lambda xs, **_: ordered(sorted(xs, key=as_whole_number)), r"\( 0.2, 0.07, 0.35, 0.608 \)"),
            "Thinks that the more decimal places there are, the smaller the number": (
                lambda xs, **_: ordered(sorted(xs, key=longest_first)),
                r"\( 0.608, 0.07, 0.35, 0.2 \)"),
            "Confuses ascending order with descending order": (
                lambda xs, **_: ordered(sorted(xs, key=Decimal, reverse=True)), r"\( 0.608, 0.35, 0.2, 0.07 \)"),
            "Skips over noughts after the decimal point, as though they held no place": (
                lambda xs, **_: ordered(sorted(xs, key=without_zeros)),
                r"\( 0.2, 0.35, 0.608, 0.07 \)"),
            "Compares decimals by looking only at the digit furthest to the right": (
                lambda xs, **_: ordered(sorted(xs, key=last_digit)), r"\( 0.2, 0.35, 0.07, 0.608 \)"),
        },
        example={"xs": ("0.35", "0.608", "0.2", "0.07"), "name": "Jess"},
        slips=lambda xs, **_: [
            ordered(sorted(xs, key=Decimal)[i] for i in turn) for turn in ((1, 0, 3, 2), (0, 2, 1, 3), (0, 1, 3, 2))],
    ),
    Topic(
        construct="Multiply a decimal by a power of ten",
        subject="Decimals",
        draw=draw_power_of_ten,
        phrasings=(
            r"Work out \( $x \times 10^{$n} \).",
            "What goes on the right-hand side?\n\\[\n$x \\times 10^{$n}=\n\\]",
            r"The distance between two space probes is given as \( $x \times 10^{$n} \) kilometres. "
            r"Which of these is the distance written as an ordinary number?",
            r"$name's calculator displays \( $x \times 10^{$n} \). What number is this?",
            r"![A function machine that multiplies by 10 to the power of $n]() "
            r"The number \( $x \) goes into the machine. What comes out?",
        ),
        correct=(lambda x, n, **_: x * 10**n, 3450),
        rules={
            BASE_TIMES_INDEX: (lambda x, n, **_: x * 10 * n, Decimal("103.5")),
            ONE_FACTOR_MORE: (lambda x, n, **_: x * 10 ** (n + 1), 34500),
            "Writes zeros at the end of a decimal instead of moving its digits to higher columns": (
                lambda x, n, **_: shown(near(x, n + 2)), r"\( 3.45000 \)"),
            "Moves the digits to lower columns, as for a division": (
                lambda x, n, **_: x.scaleb(-n), Decimal("0.00345")),
            "Makes only the part in front of the decimal point bigger and leaves the rest as it was": (
                lambda x, n, **_: int(x) * 10**n + x % 1, Decimal("3000.45")),
            "Takes out the decimal point and then puts zeros after all of the digits": (
                lambda x, n, **_: x * 100 * 10**n, 345000),
        },
        example={"x": Decimal("3.45"), "n": 3, "name": "Anya"},
    ),
    Topic(
        construct="Use the order of operations with brackets and a power",
        subject="Order of Operations",
        draw=draw_brackets,
        phrasings=(
            r"What is the value of \( $a+$b \times($c-$d)^{2} \)?",
            "Calculate\n\\[\n$a+$b\\times($c-$d)^{2}\n\\]",
            r"$name types \( $a+$b \times($c-$d)^{2} \) into a scientific calculator, exactly as it is written here. "
            r"What result does the calculator give?",
            r"![A square with sides of ($c - $d) cm]() \( $b \) squares like this one and a rectangle with an area of "
            r"\( $a \mathrm{~cm}^{2} \) are cut from a sheet of card. How many square centimetres of card, "
            r"\( $a+$b \times($c-$d)^{2} \), are cut out?",
        ),
        correct=(lambda a, b, c, d, **_: a + b * (c - d) ** 2, 23),
        rules={
            ADDITION_FIRST: (lambda a, b, c, d, **_: (a + b) * (c - d) ** 2, 63),
            BASE_TIMES_INDEX: (lambda a, b, c, d, **_: a + b * (c - d) * 2, 17),
            ONE_FACTOR_MORE: (lambda a, b, c, d, **_: a + b * (c - d) ** 3, 59),
            "Multiplies a bracket by the number in front of it before dealing with the index": (
                lambda a, b, c, d, **_: a + (b * (c - d)) ** 2, 41),
            "Squares each term in a bracket separately": (lambda a, b, c, d, **_: a + b * (c**2 - d**2), 71),
            "Carries on as if the brackets had not been written": (lambda a, b, c, d, **_: a + b * c - d**2, 3),
        },
        example={"a": 5, "b": 2, "c": 7, "d": 4, "name": "Carlos"},
    ),
    Topic(
        construct="Find the upper bound of a rounded measurement",
        subject="Rounding and Estimating",
        draw=draw_bounds,
        phrasings=(
            r"The $thing is \( $v \mathrm{~$unit} \), correct to $accuracy. What is its upper bound, in $unit?",
            r"$name gives the $thing as \( $v \mathrm{~$unit} \), rounded to $accuracy. Which of these is the upper "
            r"bound of the true value, in $unit?",
            "The error interval for the $thing, in $unit, is written as\n\\[\nL \\leq x<U\n\\]\n"
            "The value \\( $v \\) was obtained by rounding to $accuracy. What is \\( U \\)?",
            r"![A label that reads: $thing $v $unit, to $accuracy_plain]() $name wants to be certain, and needs the "
            r"upper bound of this measurement. What is it, in $unit?",
        ),
        words=lambda u, what, **_: {
            "thing": what[0], "unit": what[1], "accuracy": ACCURACIES[u],
            "accuracy_plain": ACCURACIES[u].replace(r"\( ", "").replace(r" \)", "")},
        correct=(lambda v, u, **_: v + u / 2, Decimal("4.75")),
        rules={
            "Adds the whole of the degree of accuracy, not half of it": (lambda v, u, **_: v + u, Decimal("4.8")),
            "Mixes up the two ends of an error interval, going down instead of up": (
                lambda v, u, **_: v - u / 2, Decimal("4.65")),
            "Goes half of one unit either way, regardless of how accurately the value was given": (
                lambda v, **_: v + Decimal("0.5"), Decimal("5.2")),
            "Stops at a value whose next digit is four, because a five there would already round up": (
                lambda v, u, **_: v + u / 2 - u / 10, Decimal("4.74")),
            "Believes that a measured amount cannot really be more than the figure stated for it": (
                lambda v, **_: v, Decimal("4.7")),
        },
        example={"v": Decimal("4.7"), "u": Decimal("0.1"), "what": ("mass of a parcel", "kg"), "name": "Harry"},
    ),
]
