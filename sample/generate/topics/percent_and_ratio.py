"""Number: percentages, ratio and proportion, compound measures, units and standard form."""

from decimal import Decimal
from fractions import Fraction
from math import gcd, lcm
from random import Random
from typing import Any

from sample.generate.topic import Topic
from sample.generate.topics.fractions import DOUBLES, ONE_PART, WHAT_IS_LEFT

PLAIN_NUMBER = "Treats a percentage as a fixed number of units, the same whatever it is a percentage of"
DIVIDES_BY_IT = "Divides an amount by the percentage figure to find that percentage of it"
ONE_PLACE = "Moves the digits one place instead of two when turning a percentage into a decimal"
CHANGE_ONLY = "Works out how much the amount changes by and gives that instead of the amount asked for"
WRONG_WAY = "Changes the amount in the wrong direction, adding where it should take away or the other way round"

NAMES = ("Amara", "Beth", "Caleb", "Dina", "Elif", "Finn", "Gita", "Harry", "Ines", "Jomo", "Keira", "Leo")
GOODS = ("coat", "bike", "tablet", "lamp", "tent", "guitar", "desk", "phone", "jacket", "camera", "skateboard")


def _exact(amount: int | Fraction) -> Decimal | None:
    """The amount as a decimal, where two places are enough."""
    hundredths = Fraction(amount) * 100
    return Decimal(hundredths.numerator) / 100 if hundredths.denominator == 1 else None


def _pounds(amount: int | Fraction) -> str | None:
    exact = _exact(amount)
    return None if exact is None else rf"\( £ {exact:.{0 if exact == int(exact) else 2}f} \)"


def _grown(p: int, rate: Fraction, n: int) -> str | None:
    return _pounds(p * (1 + rate) ** n)


def _area(number: Decimal, unit: str) -> str:
    text = format(number, "f")
    return rf"\( {text.rstrip('0').rstrip('.') if '.' in text else text} \mathrm{{~{unit}}}^{{2}} \)"


def _standard(first: str, power: int) -> str:
    return rf"\( {first} \times 10^{{{power}}} \)"


def _proper(digits: str, power: int) -> str:
    return _standard(f"{digits[0]}.{digits[1:]}", power)


def _share(r: Random) -> dict[str, Any]:
    """A total that each part of the ratio, and their sum, divides."""
    while True:
        a, b = r.randint(2, 8), r.randint(2, 8)
        step = lcm(a, b, a + b)
        if gcd(a, b) == 1 and step <= 600:
            who, other = r.sample(NAMES, 2)
            return {"a": a, "b": b, "n": step * r.randint(1, 1200 // step), "who": who, "other": other}


def _recipe(r: Random) -> dict[str, Any]:
    while True:
        s, t = r.randint(2, 9), r.randint(3, 16)
        if s < t != 2 * s and lcm(s, t) <= 240:
            food = r.choice(("flour", "rice", "pasta", "sugar", "oats", "potatoes", "lentils", "butter"))
            g = lcm(s, t) * r.randint(1, 720 // lcm(s, t))
            return {"s": s, "t": t, "g": g, "food": food, "who": r.choice(NAMES)}


def _journey(r: Random) -> dict[str, Any]:
    while True:
        v, h, m = r.randint(10, 40) * 3, r.randint(1, 4), r.choice((12, 15, 20, 30, 30, 40, 45, 48))
        if v * m % 60 == 0:
            return {"v": v, "h": h, "m": m, "who": r.choice(NAMES)}


def _savings(r: Random) -> dict[str, Any]:
    n = r.choice((2, 2, 3))
    p = r.randint(4, 90) * 100 if n == 2 else r.randint(1, 9) * 10000
    return {"p": p, "r": r.randint(2, 9), "n": n, "who": r.choice(NAMES)}


def _tiny(r: Random) -> dict[str, Any]:
    digits = f"{r.randint(1, 9)}{r.choice(('', '', '0', '4', '7'))}{r.randint(1, 9)}"
    return {"digits": digits, "e": r.randint(3, 7), "who": r.choice(NAMES)}


TOPICS = [
    Topic(
        construct="Find a percentage of an amount",
        subject="Fractions and Percentages of an Amount",
        draw=lambda r: {
            "p": r.choice((15, 20, 20, 25, 25, 30, 35, 40, 45, 65)), "n": r.randint(4, 60) * 20,
            "who": r.choice(NAMES),
        },
        phrasings=(
            r"What is \( $p \% \) of \( $n \)?",
            "Find the value of\n\\[\n$p \\% \\text { of } $n\n\\]\nwithout using a calculator.",
            r"A school has \( $n \) pupils. In a survey, \( $p \% \) of them say that they have a pet at home. "
            r"How many pupils have a pet?",
            r"![A bar model. The whole bar is labelled $n and 100%, and the shaded part at its left end is labelled "
            r"$p%]() What number should be written under the shaded part of the bar?",
            r"$who is walking a trail that is \( $n \) metres long. A sign says, “You have come \( $p \% \) of the "
            r"way.” How many metres has $who walked?",
            r"Which of these numbers is \( $p \% \) of \( $n \)?",
        ),
        correct=(lambda p, n, **_: n * p // 100, 49),
        rules={
            DIVIDES_BY_IT: (lambda p, n, **_: _exact(Fraction(n, p)), 4),
            PLAIN_NUMBER: (lambda p, **_: p, 35),
            ONE_PLACE: (lambda p, n, **_: n * p // 10, 490),
            WHAT_IS_LEFT: (lambda p, n, **_: n - n * p // 100, 91),
            "Believes any percentage is found by dividing by ten, as ten per cent is": (lambda n, **_: n // 10, 14),
            "Builds a percentage up from lots of ten per cent, then adds what is left of it on as plain units":
                (lambda p, n, **_: p // 10 * n // 10 + p % 10 if p % 10 else None, 47),
        },
        example={"p": 35, "n": 140},
    ),
    Topic(
        construct="Decrease an amount by a percentage",
        subject="Percentage Change",
        draw=lambda r: {
            "p": r.choice((5, 15, 20, 20, 25, 30, 35, 40)), "n": r.randint(4, 45) * 20,
            "thing": r.choice(GOODS), "who": r.choice(NAMES),
        },
        phrasings=(
            r"Decrease \( £ $n \) by \( $p \% \).",
            r"A $thing normally costs \( £ $n \). In a sale all prices are reduced by \( $p \% \). "
            r"What is the sale price of the $thing?",
            r"$who bought a $thing for \( £ $n \). A year later it has lost \( $p \% \) of its value. "
            r"How much is it worth now?",
            r"![A price tag on a $thing. The old price of £$n is crossed out and a sticker says: $p% off today]() "
            r"How much does the $thing cost today?",
            r"$who has \( £ $n \) in the bank and spends \( $p \% \) of it on a $thing. "
            r"Which of these is the amount still in the bank?",
            "An online shop shows this at the checkout:\n\\[\n\\text { Price: } £ $n \\qquad "
            "\\text { Discount: } $p \\%\n\\]\nHow much is there to pay?",
        ),
        correct=(lambda p, n, **_: _pounds(Fraction(n * (100 - p), 100)), r"\( £ 64 \)"),
        rules={
            PLAIN_NUMBER: (lambda p, n, **_: _pounds(n - p), r"\( £ 60 \)"),
            CHANGE_ONLY: (lambda p, n, **_: _pounds(Fraction(n * p, 100)), r"\( £ 16 \)"),
            WRONG_WAY: (lambda p, n, **_: _pounds(Fraction(n * (100 + p), 100)), r"\( £ 96 \)"),
            DIVIDES_BY_IT: (lambda p, n, **_: _pounds(n - Fraction(n, p)), r"\( £ 76 \)"),
            "Converts the percentage to a decimal and takes that decimal itself away from the amount":
                (lambda p, n, **_: _pounds(n - Fraction(p, 100)), r"\( £ 79.80 \)"),
        },
        example={"p": 20, "n": 80, "thing": "lamp"},
        slips=lambda p, n, **_: [_pounds(Fraction(n * (100 - p), 100) + slip) for slip in (2, 10)],
    ),
    Topic(
        construct="Find the original amount before a percentage decrease",
        subject="Percentage Change",
        draw=lambda r: {
            "p": r.choice((10, 15, 20, 25, 30, 40, 60)), "o": r.randint(1, 20) * 60,
            "thing": r.choice(GOODS), "who": r.choice(NAMES),
        },
        words=lambda o, p, **_: {"s": o * (100 - p) // 100},
        phrasings=(
            r"After a reduction of \( $p \% \), a price is \( £ $s \). What was it before the reduction?",
            r"In a sale, everything is \( $p \% \) cheaper than usual. $who pays \( £ $s \) for a $thing in the sale. "
            r"What is the usual price of the $thing?",
            r"The value of a $thing has fallen by \( $p \% \) since $who bought it. It is now worth \( £ $s \). "
            r"How much was the $thing worth when $who bought it?",
            r"![A poster next to a $thing says: $p% off! Now only £$s]() What did the $thing cost before the offer?",
            "\\[\n$p \\% \\text { off the original price } \\longrightarrow £ $s\n\\]\n"
            "Which of these is the original price?",
        ),
        correct=(lambda o, **_: _pounds(o), r"\( £ 120 \)"),
        rules={
            "Takes the percentage of the new amount when it refers to the original one":
                (lambda o, p, **_: _pounds(Fraction(o * (100 - p) * (100 + p), 10000)), r"\( £ 112.50 \)"),
            PLAIN_NUMBER: (lambda o, p, **_: _pounds(Fraction(o * (100 - p), 100) + p), r"\( £ 115 \)"),
            "Carries out the percentage change a second time instead of undoing it":
                (lambda o, p, **_: _pounds(Fraction(o * (100 - p) ** 2, 10000)), r"\( £ 67.50 \)"),
            "Takes the amount that remains to be the stated percentage of the whole, and scales that up":
                (lambda o, p, **_: _pounds(Fraction(o * (100 - p), p)), r"\( £ 360 \)"),
            CHANGE_ONLY: (lambda o, p, **_: _pounds(Fraction(o * p, 100)), r"\( £ 30 \)"),
        },
        example={"p": 25, "o": 120, "thing": "desk"},
        slips=lambda o, **_: [_pounds(o + 5), _pounds(o - 10)],
    ),
    Topic(
        construct="Share an amount in a given ratio",
        subject="Ratio and Proportion",
        draw=_share,
        phrasings=(
            r"$who and $other share \( £ $n \) in the ratio \( $a: $b \). How many pounds does $who get?",
            "\\[\n\\text { $who } : \\text { $other } = $a : $b\n\\]\nThis is the ratio in which two friends share "
            "\\( $n \\) stickers. How many of the stickers are for $who?",
            r"In a mixed salad the ratio of the mass of beans to the mass of rice is \( $a: $b \). $who makes "
            r"\( $n \mathrm{~g} \) of the salad, with nothing else in it. What mass of beans, in grams, is needed?",
            r"![A bar divided into equal blocks. The first $a blocks are labelled $who, the remaining $b blocks are "
            r"labelled $other, and the whole bar is labelled $n]() The bar shows how \( $n \) football cards are "
            r"shared out. How many cards does $who have?",
            r"There are \( $n \) people at a concert. The ratio of adults to children is \( $a: $b \). "
            r"Which of these is the number of adults?",
        ),
        correct=(lambda a, b, n, **_: n // (a + b) * a, 45),
        rules={
            ONE_PART: (lambda a, b, n, **_: n // (a + b), 15),
            "Matches the numbers of a ratio to the wrong parts, disregarding the order in which they are written":
                (lambda a, b, n, **_: n // (a + b) * b, 75),
            "Divides the total by one number of the ratio only, without first adding the parts":
                (lambda a, n, **_: n // a, 40),
            "Splits a total into equal shares, paying no attention to the ratio":
                (lambda n, **_: n // 2, 60),
            "Reads the two numbers of a ratio as top and bottom of a fraction of the total":
                (lambda a, b, n, **_: n * a // b if a < b else None, 72),
        },
        example={"a": 3, "b": 5, "n": 120},
    ),
    Topic(
        construct="Scale a recipe for a different number of people",
        subject="Ratio and Proportion",
        draw=_recipe,
        phrasings=(
            r"A recipe for \( $s \) people needs \( $g \mathrm{~g} \) of $food. How many grams of $food are needed "
            r"for \( $t \) people?",
            r"![A recipe card. Heading: serves $s. The list of ingredients includes $g g of $food]() $who wants to "
            r"cook this for \( $t \) people. How much $food should $who use, in grams?",
            "\\[\n\\begin{array}{c|c}\n\\text { people } & \\text { grams of $food } \\\\\n\\hline $s & $g \\\\\n"
            "$t & \\square\n\\end{array}\n\\]\nThe amount of $food is in direct proportion to the number of people. "
            "What number goes in the box?",
            r"$who says, “I used \( $g \mathrm{~g} \) of $food when \( $s \) of us had dinner. Tomorrow there will be "
            r"\( $t \) of us, and everybody should get as much as before.” How many grams of $food will $who need?",
            r"\( $s \) identical bags hold \( $g \mathrm{~g} \) of $food altogether. "
            r"Which of these is the number of grams of $food in \( $t \) of the bags?",
        ),
        correct=(lambda s, t, g, **_: g // s * t, 360),
        rules={
            "Keeps quantities in proportion by adding the same number to both rather than multiplying both":
                (lambda s, t, g, **_: g + t - s, 242),
            ONE_PART: (lambda s, g, **_: g // s, 60),
            "Multiplies by the new quantity without first finding the amount for a single one":
                (lambda t, g, **_: g * t, 1440),
            "Confuses direct with inverse proportion, so that one quantity goes down as the other goes up":
                (lambda s, t, g, **_: g * s // t, 160),
            DOUBLES: (lambda g, **_: 2 * g, 480),
            "Finds only the extra that is needed and does not add it to the amount already there":
                (lambda s, t, g, **_: g // s * (t - s), 120),
        },
        example={"s": 4, "t": 6, "g": 240, "food": "rice"},
    ),
    Topic(
        construct="Convert an area from a larger metric unit to a smaller one",
        subject="Units of Measurement",
        draw=lambda r: {
            "a": Decimal(r.choice([n for n in range(3, 250) if n % 10])) / 10, "who": r.choice(NAMES),
            "units": r.choice((("m", "cm", 100), ("m", "cm", 100), ("cm", "mm", 10))),
        },
        words=lambda units, **_: {
            "big": units[0], "small": units[1], "f": units[2],
            "thing": "a computer chip" if units[0] == "cm" else "a rug",
        },
        phrasings=(
            r"What is \( $a \mathrm{~$big}^{2} \) in \( \mathrm{$small}^{2} \)?",
            "\\[\n$a \\mathrm{~$big}^{2}=\\square \\mathrm{~$small}^{2}\n\\]\nWhich area completes this statement?",
            r"A plan gives the area of $thing as \( $a \mathrm{~$big}^{2} \). $who needs this area in "
            r"\( \mathrm{$small}^{2} \). What should $who write?",
            r"![A rectangle with the label $a square $big written inside it]() The area of the rectangle is shown in "
            r"\( \mathrm{$big}^{2} \). What is its area in \( \mathrm{$small}^{2} \)?",
            r"$who knows that \( 1 \mathrm{~$big}=$f \mathrm{~$small} \). Using this fact, which of these areas is "
            r"equal to \( $a \mathrm{~$big}^{2} \)?",
        ),
        correct=(lambda a, units, **_: _area(a * units[2] ** 2, units[1]), r"\( 35000 \mathrm{~cm}^{2} \)"),
        rules={
            "Converts areas with the conversion factor for lengths":
                (lambda a, units, **_: _area(a * units[2], units[1]), r"\( 350 \mathrm{~cm}^{2} \)"),
            "Knows what links two units of area but divides by it when changing to the smaller unit":
                (lambda a, units, **_: _area(a / units[2] ** 2, units[1]), r"\( 0.00035 \mathrm{~cm}^{2} \)"),
            "Doubles the factor for lengths instead of squaring it":
                (lambda a, units, **_: _area(a * 2 * units[2], units[1]), r"\( 700 \mathrm{~cm}^{2} \)"),
            "Cubes the factor for lengths, mixing up units of area with units of volume":
                (lambda a, units, **_: _area(a * units[2] ** 3, units[1]), r"\( 3500000 \mathrm{~cm}^{2} \)"),
            "Squares the measurement rather than the conversion factor and then multiplies the two":
                (lambda a, units, **_: _area(a * a * units[2], units[1]), r"\( 1225 \mathrm{~cm}^{2} \)"),
            "Renames the unit but leaves the number as it was":
                (lambda a, units, **_: _area(a, units[1]), r"\( 3.5 \mathrm{~cm}^{2} \)"),
        },
        example={"a": Decimal("3.5"), "units": ("m", "cm", 100)},
        slips=lambda a, units, **_: [_area(a * 4 * units[2], units[1]), _area((a + 1) * units[2] ** 2, units[1])],
    ),
    Topic(
        construct="Calculate a distance from a speed and a time in hours and minutes",
        subject="Units of Measurement",
        draw=_journey,
        phrasings=(
            r"A car moves at \( $v \mathrm{~km} / \mathrm{h} \) for \( $h \) h \( $m \) min. "
            r"How many kilometres does it travel?",
            "\\[\n\\text { speed: } $v \\mathrm{~km} / \\mathrm{h} \\qquad \\text { time: } $h \\text { h } $m "
            "\\text { min }\n\\]\nWhat is the distance in kilometres?",
            r"$who takes a train at 9:00 am and gets off again \( $h \) h \( $m \) min later. On average the train "
            r"goes at \( $v \mathrm{~km} / \mathrm{h} \). How far, in kilometres, is $who's journey?",
            r"![A straight line on a distance–time graph, starting at the origin. It is labelled $v km/h and ends at "
            r"the time $h h $m min]() Which distance in kilometres should the line reach at its end?",
            r"“Our coach drove for \( $h \) h \( $m \) min without a stop, at an average speed of "
            r"\( $v \mathrm{~km} / \mathrm{h} \),” says $who. How many kilometres did the coach cover in this time?",
        ),
        correct=(lambda v, h, m, **_: v * (60 * h + m) // 60, 100),
        rules={
            "Takes minutes for hundredths of an hour, writing them straight after the decimal point":
                (lambda v, h, m, **_: v * Decimal(f"{h}.{m}"), 92),
            "Divides the speed by the time, misremembering how they combine to give a distance":
                (lambda v, h, m, **_: _exact(Fraction(60 * v, 60 * h + m)), 16),
            "Changes the whole time into minutes but then uses it with a speed that is per hour":
                (lambda v, h, m, **_: v * (60 * h + m), 6000),
            "Uses only the complete hours of a time and leaves the rest of it out": (lambda v, h, **_: v * h, 80),
            "Multiplies by the whole hours and adds the minutes on as though they were distance":
                (lambda v, h, m, **_: v * h + m, 110),
        },
        example={"v": 40, "h": 2, "m": 30},
    ),
    Topic(
        construct="Find the value of an investment that earns compound interest",
        subject="Percentage Change",
        draw=_savings,
        phrasings=(
            r"\( £ $p \) is invested at \( $r \% \) compound interest per year. What is it worth after \( $n \) years?",
            r"$who puts \( £ $p \) into a savings account that pays \( $r \% \) compound interest a year, and leaves "
            r"the money there for \( $n \) years. How much is in the account at the end?",
            r"![An advertisement for a bank: save with us and get $r% compound interest, paid every year]() $who opens "
            r"an account with \( £ $p \) and does not take anything out. What is the balance after \( $n \) years?",
            "\\[\n\\text { Start: } £ $p \\qquad \\text { Growth: } $r \\% \\text { per year, compound }\n\\]\n"
            "Which of these is the value after \\( $n \\) years?",
            r"A painting was bought for \( £ $p \). Each year its value goes up by \( $r \% \) of what it was worth at "
            r"the start of that year. How much is the painting worth \( $n \) years later?",
        ),
        correct=(lambda p, r, n, **_: _grown(p, Fraction(r, 100), n), r"\( £ 2205 \)"),
        rules={
            "Works out interest on the starting sum alone every year, so that the interest never earns any":
                (lambda p, r, n, **_: _pounds(p + Fraction(p * r * n, 100)), r"\( £ 2200 \)"),
            CHANGE_ONLY: (lambda p, r, n, **_: _pounds(p * (1 + Fraction(r, 100)) ** n - p), r"\( £ 205 \)"),
            "Applies repeated growth once only, overlooking for how long it goes on":
                (lambda p, r, **_: _grown(p, Fraction(r, 100), 1), r"\( £ 2100 \)"),
            ONE_PLACE: (lambda p, r, n, **_: _grown(p, Fraction(r, 10), n), r"\( £ 4500 \)"),
            PLAIN_NUMBER: (lambda p, r, n, **_: _pounds(p + r * n), r"\( £ 2010 \)"),
            WRONG_WAY: (lambda p, r, n, **_: _grown(p, -Fraction(r, 100), n), r"\( £ 1805 \)"),
        },
        example={"p": 2000, "r": 5, "n": 2},
        slips=lambda p, r, n, **_: [_pounds(p * (1 + Fraction(r, 100)) ** n + slip) for slip in (10, -1)],
    ),
    Topic(
        construct="Write a number between 0 and 1 in standard form",
        subject="Powers and Standard Form",
        draw=_tiny,
        words=lambda digits, e, **_: {"x": f"0.{'0' * (e - 1)}{digits}"},
        phrasings=(
            r"Write \( $x \) in standard form.",
            "\\[\n$x=\\square \\times 10^{\\square}\n\\]\nHow is this number written in standard form?",
            r"The mass of a grain of pollen is \( $x \) grams. $who wants to enter this mass into a computer program "
            r"that only takes numbers in standard form. What should $who type?",
            r"![A microscope picture of a cell with a scale that gives its width as $x metres]() "
            r"Which of these is the width of the cell in metres, in standard form?",
            r"$who's calculator shows the answer \( $x \). The homework asks for all answers to be given in the form "
            r"\( a \times 10^{n} \) with \( 1 \leq a<10 \). What should $who write?",
        ),
        correct=(lambda digits, e, **_: _proper(digits, -e), r"\( 4.7 \times 10^{-4} \)"),
        rules={
            "Counts only the noughts between the decimal point and the first other digit to get the power":
                (lambda digits, e, **_: _proper(digits, 1 - e), r"\( 4.7 \times 10^{-3} \)"),
            "Does not see that small numbers need a negative power and leaves out the minus sign":
                (lambda digits, e, **_: _proper(digits, e), r"\( 4.7 \times 10^{4} \)"),
            "Gathers the digits into a whole number at the front, though only one should come before the point":
                (lambda digits, e, **_: _standard(digits, 1 - e - len(digits)), r"\( 47 \times 10^{-5} \)"),
            "Starts standard form with nought point something, though its first part must be at least one":
                (lambda digits, e, **_: _standard(f"0.{digits}", 1 - e), r"\( 0.47 \times 10^{-3} \)"),
            "Takes the number of all the digits after the decimal point as the power of ten":
                (lambda digits, e, **_: _proper(digits, 1 - e - len(digits)), r"\( 4.7 \times 10^{-5} \)"),
        },
        example={"digits": "47", "e": 4},
        slips=lambda digits, e, **_: [_proper(digits, n) for n in (-e - 3, e - 1)],
    ),
]
