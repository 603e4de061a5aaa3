"""Number: whole numbers, negative numbers, primes and multiples, money and time."""

from math import gcd, lcm, prod
from random import Random
from typing import Any

from sample.generate.topic import Topic

SMALLER_FROM_LARGER = "Always takes the smaller figure from the larger one, even when the larger is being subtracted"
NO_EXCHANGE = "When exchanging for smaller units, forgets that there is now one fewer of the larger unit"
HCF_AND_LCM = "Confuses the lowest common multiple with the highest common factor"
ONCE_EACH = "Uses each different prime factor only once, however many times it is needed"

NAMES = ("Amir", "Bethan", "Chloe", "Dev", "Ewa", "Femi", "Grace", "Hugo", "Isla", "Jamal")
PACKING = (
    ("eggs", "box", "boxes"), ("pupils", "minibus", "minibuses"), ("photos", "page of an album", "pages"),
    ("guests", "table", "tables"), ("bottles", "crate", "crates"), ("books", "shelf", "shelves"),
)


def draw_digit(r: Random) -> dict[str, Any]:
    digits = r.sample(range(2, 10), r.choice((5, 6)))
    return {"n": int("".join(map(str, digits))), "k": r.choice((1, 2, 3, 4)), "name": r.choice(NAMES)}


def digit(n: int, k: int) -> int:
    return int(n // 10**k % 10)


def draw_subtraction(r: Random) -> dict[str, Any]:
    a, c = r.randint(4, 9), r.randint(1, 7)
    return {"a": a, "c": c, "d": r.randint(1, a - 2), "e": r.randint(1, 9), "f": r.randint(c + 1, 9)}


def by_digit_without_carrying(a: int, d: int) -> int:
    return a // 10 * d * 10 + a % 10 * d % 10


def draw_packing(r: Random) -> dict[str, Any]:
    k = r.randint(6, 15)
    q, left = r.randint(4, 28), r.randint(1, k - 1)
    return {"n": k * q + left, "k": k, "things": r.choice(PACKING), "name": r.choice(NAMES)}


def factors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def primes_of(n: int) -> list[int]:
    return [d for d in factors(n) if len(factors(d)) == 2]


def draw_cards(r: Random) -> dict[str, Any]:
    prime = r.choice((11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53))
    cards = [1, 2, prime, r.choice((9, 25, 49)), r.choice((39, 51, 57, 69, 87, 91)), r.choice((12, 18, 24, 30, 36, 42))]
    r.shuffle(cards)
    return {"cards": tuple(cards), "name": r.choice(NAMES)}


def listed(numbers: Any) -> str:
    return rf"\( {', '.join(map(str, sorted(numbers)))} \)"


def outside_tables(n: int) -> bool:
    return n > 1 and not any(n == i * j for i in range(2, 13) for j in range(2, 13))


def draw_multiples(r: Random, shared: tuple[int, ...], limit: int) -> dict[str, Any]:
    while True:
        g, (x, y) = r.choice(shared), r.sample(range(2, 10), 2)
        if gcd(x, y) == 1 and g * x * y <= limit:
            return {"a": g * x, "b": g * y, "name": r.choice(NAMES)}


def draw_purchase(r: Random) -> dict[str, Any]:
    while True:
        values = {"note": r.choice((20, 50)), "n": r.randint(2, 6), "price": r.randint(115, 1495)}
        cost = values["n"] * values["price"]
        if values["price"] % 100 > 9 and cost % 100 > 9 and cost < 100 * values["note"] - 100:
            thing = r.choice(("sandwiches", "notebooks", "candles", "posters", "plants", "tickets"))
            return {**values, "thing": thing, "name": r.choice(NAMES)}


def pounds(pence: int) -> str:
    return rf"\( £ {pence // 100}.{pence % 100:02d} \)"


def draw_times(r: Random) -> dict[str, Any]:
    m = r.randint(1, 10) * 5
    start, end = r.randint(8, 11) * 60 + m + 5, r.randint(13, 17) * 60 + r.randint(1, m // 5) * 5
    return {"start": start, "end": end, "name": r.choice(NAMES)}


def clock(minutes: int) -> str:
    return rf"\( {(minutes // 60 - 1) % 12 + 1}:{minutes % 60:02d} \) {'pm' if minutes >= 720 else 'am'}"


def spell(hours: int, minutes: int) -> str:
    return rf"\( {hours} \) hour{'s' * (hours != 1)} \( {minutes} \) minutes"


def length(minutes: int) -> str:
    return spell(*divmod(minutes, 60))


TOPICS = [
    Topic(
        construct="State the value of a digit in a large whole number",
        subject="Place Value",
        draw=draw_digit,
        phrasings=(
            r"What is the value of the \( $d \) in the number \( $n \)?",
            r"$name writes down the number \( $n \). How much is the digit \( $d \) worth in $name's number?",
            r"The counter at the gate of a theme park shows \( $n \) visitors this year. "
            r"Which of these does the digit \( $d \) stand for?",
            "\\[\n$n\n\\]\nWhich of these is the value represented by the digit \\( $d \\)?",
            r"By how much would \( $n \) go down if its digit \( $d \) were changed to a \( 0 \)?",
        ),
        words=lambda n, k, **_: {"d": digit(n, k)},
        correct=(lambda n, k, **_: digit(n, k) * 10**k, 7000),
        rules={
            "Gives a digit at face value, whichever column it stands in": (lambda n, k, **_: digit(n, k), 7),
            "Names the columns from the left, calling the first digit ones, the next tens, and so on": (
                lambda n, k, **_: digit(n, k) * 10 ** (len(str(n)) - 1 - k), 70),
            "Reads a digit together with everything that follows it as its worth": (
                lambda n, k, **_: n % 10 ** (k + 1), 7382),
            "Starts the column headings at tens instead of ones, so everything is ten times too big": (
                lambda n, k, **_: digit(n, k) * 10 ** (k + 1), 70000),
            "Says how many of that column's unit there are in the whole number": (lambda n, k, **_: n // 10**k, 47),
            "Gives the heading of the column and leaves out how many of them there are": (
                lambda n, k, **_: 10**k, 1000),
        },
        example={"n": 47382, "k": 3, "name": "Ewa"},
    ),
    Topic(
        construct="Subtract three-digit numbers where an exchange has to cross a zero",
        subject="Written Methods",
        draw=draw_subtraction,
        phrasings=(
            r"Work out \( $top - $bottom \).",
            "What number completes the calculation?\n\\[\n$top-$bottom=\n\\]",
            r"A library has \( $top \) crime novels and \( $bottom \) of them are out on loan. "
            r"How many crime novels are still on the shelves?",
            r"The difference between two numbers is wanted. The larger number is \( $top \) and the smaller is "
            r"\( $bottom \). Which of these is the difference?",
            r"![A column subtraction with $top written above $bottom and an empty answer line]() "
            r"What should be written on the answer line?",
        ),
        words=lambda a, c, d, e, f: {"top": 100 * a + c, "bottom": 100 * d + 10 * e + f},
        correct=(lambda a, c, d, e, f: 100 * (a - d) + c - 10 * e - f, 236),
        rules={
            SMALLER_FROM_LARGER: (lambda a, c, d, e, f: 100 * (a - d) + 10 * e + f - c, 364),
            NO_EXCHANGE: (lambda a, c, d, e, f: 100 * (a - d) + 10 * (10 - e) + 10 + c - f, 346),
            "Writes nought in any column where the top digit is too small to take from": (
                lambda a, c, d, e, f: 100 * (a - d), 300),
            "When exchanging through a nought, makes it ten but does not then pass one of those on": (
                lambda a, c, d, e, f: 100 * (a - d - 1) + 10 * (10 - e) + 10 + c - f, 246),
            "Changes a zero to nine when exchanging, but takes nothing from the column further left": (
                lambda a, c, d, e, f: 100 * (a - d) + 10 * (9 - e) + 10 + c - f, 336),
        },
        example={"a": 5, "c": 3, "d": 2, "e": 6, "f": 7},
    ),
    Topic(
        construct="Multiply two two-digit numbers with a written method",
        subject="Written Methods",
        draw=lambda r: {"a": r.randint(2, 9) * 10 + r.randint(3, 9), "b": r.randint(2, 9) * 10 + r.randint(2, 9)},
        phrasings=(
            r"Work out \( $a \times $b \) using any written method.",
            "\\[\n$a \\times $b=\n\\]",
            r"A hall is set out with \( $a \) rows of \( $b \) chairs. How many chairs are there in the hall?",
            r"One box of tiles weighs \( $b \mathrm{~kg} \). Which of these is the weight in kilograms "
            r"of a delivery of \( $a \) such boxes?",
            r"![A rectangle $a m long and $b m wide]() How many square metres does this lawn cover?",
        ),
        correct=(lambda a, b: a * b, 1692),
        rules={
            "Multiplies the tens by the tens and the ones by the ones only, leaving out the cross products": (
                lambda a, b: a // 10 * (b // 10) * 100 + a % 10 * (b % 10), 1242),
            "Leaves out the placeholder zero in the row for the tens digit, so treats those tens as ones": (
                lambda a, b: a * (b % 10) + a * (b // 10), 423),
            "Thinks that tens multiplied by tens make tens again, not hundreds": (
                lambda a, b: a * b - 90 * (a // 10) * (b // 10), 612),
            "Never adds the carried figures in the rows of a long multiplication": (
                lambda a, b: by_digit_without_carrying(a, b % 10) + 10 * by_digit_without_carrying(a, b // 10), 1452),
            "Puts a placeholder zero at the end of every row of a long multiplication": (
                lambda a, b: 10 * a * (b % 10) + 10 * a * (b // 10), 4230),
        },
        example={"a": 47, "b": 36},
    ),
    Topic(
        construct="Interpret the remainder of a division in a practical problem",
        subject="Written Methods",
        draw=draw_packing,
        phrasings=(
            r"One $one has room for \( $k \) $many. What is the smallest number of $ones needed for \( $n \) $many?",
            r"$name has to find places for \( $n \) $many. Each $one takes \( $k \) $many at most. "
            r"How many $ones must $name have so that nothing and nobody is left out?",
            r"No $one can take more than \( $k \) $many. Which of these is the least number of $ones "
            r"that is enough for \( $n \) $many?",
            r"![A sign that reads: At most $k $many to each $one]() "
            r"\( $n \) $many have to be fitted in. How many $ones are required?",
        ),
        words=lambda things, **_: dict(zip(("many", "one", "ones"), things, strict=True)),
        correct=(lambda n, k, **_: n // k + 1, 14),
        rules={
            "Throws away whatever is left over when a division is not exact": (lambda n, k, **_: n // k, 13),
            "Answers with what is left over from the division": (lambda n, k, **_: n % k, 3),
            "Uses one more container for each single item in the remainder": (lambda n, k, **_: n // k + n % k, 16),
            "Writes a remainder straight after the decimal point, as if it counted tenths or hundredths": (
                lambda n, k, **_: rf"\( {n // k}.{n % k} \)", r"\( 13.3 \)"),
            "Leaves the calculation as a quotient with a remainder, without going back to the situation": (
                lambda n, k, **_: rf"\( {n // k} \) remainder \( {n % k} \)", r"\( 13 \) remainder \( 3 \)"),
            "Subtracts the group size once rather than sharing into groups": (lambda n, k, **_: n - k, 99),
        },
        example={"n": 107, "k": 8, "things": PACKING[1], "name": "Dev"},
    ),
    Topic(
        construct="Subtract a negative number from a negative number",
        subject="Negative Numbers",
        draw=lambda r: dict(zip("ab", r.sample(range(2, 26), 2), strict=True)),
        phrasings=(
            r"What is \( -$a-(-$b) \)?",
            "\\[\n-$a-(-$b)=\n\\]\nWhich of these numbers makes the statement true?",
            r"Today it is \( -$a^{\circ} \mathrm{C} \) on a mountain. Yesterday it was "
            r"\( -$b^{\circ} \mathrm{C} \). Work out today's temperature minus yesterday's temperature, "
            r"in degrees Celsius.",
            r"![A number line with an arrow marking -$a]() Starting at the arrow, Kim subtracts \( -$b \). "
            r"At which number does Kim finish?",
            r"In a card game the score is the total of the cards held. Ravi's score is \( -$a \). "
            r"He then gives away a card worth \( -$b \). What is his score now?",
        ),
        correct=(lambda a, b: b - a, 4),
        rules={
            "Drops both minus signs from the numbers and adds, because two negatives make a positive": (
                lambda a, b: a + b, 10),
            "Does not see that taking away a negative has the effect of adding, so goes further down": (
                lambda a, b: -a - b, -10),
            "Finds how far apart the sizes of the numbers are but gives the result the wrong sign": (
                lambda a, b: a - b, -4),
            "Counts the starting number as the first step when moving along a number line": (
                lambda a, b: b - a - 1, 3),
            "Leaves out zero when counting on from a negative number to a positive one": (
                lambda a, b: b - a + 1 if b > a else None, 5),
        },
        example={"a": 3, "b": 7},
    ),
    Topic(
        construct="Identify the prime numbers in a set of numbers",
        subject="Factors, Multiples and Primes",
        draw=draw_cards,
        phrasings=(
            r"Which of the numbers \( $row \) are prime?",
            "\\[\n$row\n\\]\nSelect the option that lists all of the prime numbers above and no others.",
            r"$name has six number cards: \( $row \). $name keeps every card that shows a prime number and "
            r"throws the rest away. Which cards does $name keep?",
            r"![Six cards that show the numbers $row]() Which of these cards belong in the region for primes "
            r"of a Venn diagram?",
            r"A teacher asks $name to find all the primes among \( $row \). What should $name write?",
        ),
        words=lambda cards, **_: {"row": ", ".join(map(str, cards))},
        correct=(lambda cards, **_: listed(n for n in cards if len(factors(n)) == 2), r"\( 2, 17 \)"),
        rules={
            "Counts one as a prime because only one and itself go into it": (
                lambda cards, **_: listed(n for n in cards if len(factors(n)) <= 2), r"\( 1, 2, 17 \)"),
            "Believes that no even number whatever can be a prime": (
                lambda cards, **_: listed(n for n in cards if len(factors(n)) == 2 and n % 2), r"\( 17 \)"),
            "Confuses being prime with being odd": (
                lambda cards, **_: listed(n for n in cards if n % 2), r"\( 1, 9, 17, 51 \)"),
            "Thinks a number must be prime when it does not come up in the times tables up to twelve": (
                lambda cards, **_: listed(n for n in cards if outside_tables(n)), r"\( 2, 17, 51 \)"),
            "Accepts a square as prime if nothing but its root goes into it apart from one and itself": (
                lambda cards, **_: listed(n for n in cards if len(factors(n)) in (2, 3)), r"\( 2, 9, 17 \)"),
            "Mixes up primes with composites, choosing what has more than two factors": (
                lambda cards, **_: listed(n for n in cards if len(factors(n)) > 2), r"\( 9, 24, 51 \)"),
        },
        example={"cards": (51, 2, 24, 17, 1, 9), "name": "Isla"},
        slips=lambda cards, **_: [listed(n for n in cards if n == 2 or n % 6 == 0), listed((1, 2))],
    ),
    Topic(
        construct="Find the lowest common multiple of two numbers",
        subject="Factors, Multiples and Primes",
        draw=lambda r: draw_multiples(r, (4, 6, 8, 9, 10, 12, 14, 15), 700),
        phrasings=(
            r"What is the lowest common multiple of \( $a \) and \( $b \)?",
            r"Which of these is the LCM of \( $a \) and \( $b \)?",
            r"Two lighthouses flash together at midnight. One then flashes every \( $a \) seconds and the other "
            r"every \( $b \) seconds. After how many seconds do they next flash together?",
            r"Burgers come in packs of \( $a \) and buns in packs of \( $b \). $name wants exactly as many burgers as "
            r"buns. What is the least number of burgers that $name can buy?",
            r"![A Venn diagram with one circle for the prime factors of $a and one for those of $b]() "
            r"$name uses the diagram to find the LCM of \( $a \) and \( $b \). What should the answer be?",
        ),
        correct=(lambda a, b, **_: lcm(a, b), 60),
        rules={
            HCF_AND_LCM: (lambda a, b, **_: gcd(a, b), 4),
            "Believes that a shared multiple is always found by multiplying the numbers together": (
                lambda a, b, **_: a * b, 240),
            ONCE_EACH: (lambda a, b, **_: prod(primes_of(a * b)), 30),
            "Looks for the least number, other than one, that divides into both": (
                lambda a, b, **_: factors(gcd(a, b))[1], 2),
            "Multiplies only the prime factors outside the overlap, leaving out those that are shared": (
                lambda a, b, **_: a * b // gcd(a, b) ** 2, 15),
        },
        example={"a": 12, "b": 20, "name": "Jamal"},
    ),
    Topic(
        construct="Find the highest common factor of two numbers",
        subject="Factors, Multiples and Primes",
        draw=lambda r: draw_multiples(r, (12, 18, 20, 24, 28), 1100),
        phrasings=(
            r"What is the highest common factor of \( $a \) and \( $b \)?",
            "Find the HCF of the two numbers below.\n\\[\n$a \\quad \\text { and } \\quad $b\n\\]",
            r"$name cuts one ribbon of length \( $a \mathrm{~cm} \) and another of length \( $b \mathrm{~cm} \) into "
            r"pieces that are all the same whole number of centimetres long, with none left over. "
            r"What is the greatest possible length of a piece, in centimetres?",
            r"\( $a \) pens and \( $b \) pencils are shared out so that all of the gift bags are alike and nothing is "
            r"left over. Which of these is the greatest number of gift bags that can be made?",
        ),
        correct=(lambda a, b, **_: gcd(a, b), 12),
        rules={
            HCF_AND_LCM: (lambda a, b, **_: lcm(a, b), 120),
            ONCE_EACH: (lambda a, b, **_: prod(primes_of(gcd(a, b))), 6),
            "Stops at the first factor found that goes into both numbers, without looking for others": (
                lambda a, b, **_: factors(gcd(a, b))[1], 2),
            "Subtracts the smaller number from the larger to find out what they share": (
                lambda a, b, **_: abs(a - b), 36),
            "Gives the largest factor of the smaller number, not checking that it divides the other": (
                lambda a, b, **_: min(a, b), 24),
        },
        example={"a": 24, "b": 60, "name": "Grace"},
    ),
    Topic(
        construct="Work out the change from a note after buying several items at the same price",
        subject="Money and Time",
        draw=draw_purchase,
        phrasings=(
            r"$name buys \( $n \) $thing at $each each and pays with a \( £ $note \) note. "
            r"How much change should $name get?",
            r"One of the $thing on a stall costs $each. What is left of \( £ $note \) after buying \( $n \) of them?",
            r"![A shop sign with the words: $thing, $each each]() $name hands over \( £ $note \) for \( $n \) $thing. "
            r"Which of these is the correct change?",
            r"A till is told: \( $n \) $thing, $each each, cash received \( £ $note \). What does it show as change?",
        ),
        words=lambda price, **_: {"each": pounds(price)},
        correct=(lambda note, n, price, **_: pounds(100 * note - n * price), r"\( £ 6.35 \)"),
        rules={
            "Gives the amount that was spent, not what is handed back": (
                lambda n, price, **_: pounds(n * price), r"\( £ 13.65 \)"),
            "Works with a single item only, overlooking how many were bought": (
                lambda note, price, **_: pounds(100 * note - price), r"\( £ 15.45 \)"),
            NO_EXCHANGE: (lambda note, n, price, **_: pounds(100 * note - n * price + 100), r"\( £ 7.35 \)"),
            "Subtracts the pounds and then just copies down the pence of the amount taken away": (
                lambda note, n, price, **_: pounds(100 * (note - n * price // 100) + n * price % 100),
                r"\( £ 7.65 \)"),
            "Multiplies the whole pounds by the quantity but counts the pence only once": (
                lambda note, n, price, **_: pounds(100 * (note - n * (price // 100)) - price % 100), r"\( £ 7.45 \)"),
        },
        example={"note": 20, "n": 3, "price": 455, "thing": "candles", "name": "Hugo"},
        slips=lambda note, n, price, **_: [
            pounds(100 * note - n * price + 10), pounds(100 * note - n * price + 1), pounds((note - n) * 100)],
    ),
    Topic(
        construct="Find how long something lasts from its start and finish times",
        subject="Money and Time",
        draw=draw_times,
        phrasings=(
            r"How long is it from $from to $to on the same day?",
            r"A coach leaves Leeds at $from and gets to Bristol at $to the same day. How long does the journey take?",
            r"$name starts painting a fence at $from and puts the brush away at $to. Which of these is the length "
            r"of time between?",
            r"![A poster for a school fair: opens $from, closes $to]() For how long is the fair open?",
            r"$name's ticket for a car park was printed at $from. The car leaves at $to that day. "
            r"How long was it parked?",
        ),
        words=lambda start, end, **_: {"from": clock(start), "to": clock(end)},
        correct=(lambda start, end, **_: length(end - start), r"\( 3 \) hours \( 35 \) minutes"),
        rules={
            SMALLER_FROM_LARGER: (
                lambda start, end, **_: spell(end // 60 - start // 60, start % 60 - end % 60),
                r"\( 4 \) hours \( 25 \) minutes"),
            NO_EXCHANGE: (lambda start, end, **_: length(end - start + 60), r"\( 4 \) hours \( 35 \) minutes"),
            "Exchanges one hour for a hundred minutes, treating clock times like decimals": (
                lambda start, end, **_: spell((end - start) // 60, (end - start) % 60 + 40),
                r"\( 3 \) hours \( 75 \) minutes"),
            "Pays no attention to am and pm, comparing the figures as if both were in the same half of the day": (
                lambda start, end, **_: length(abs(start - end + 720)), r"\( 8 \) hours \( 25 \) minutes"),
            "Counts on from the next whole hour and leaves out the minutes before it": (
                lambda start, end, **_: length(end - start // 60 * 60 - 60), r"\( 3 \) hours \( 20 \) minutes"),
            "Writes minutes as the decimal part of a number of hours": (
                lambda start, end, **_: rf"\( {(end - start) // 60}.{(end - start) % 60:02d} \) hours",
                r"\( 3.35 \) hours"),
        },
        example={"start": 585, "end": 800, "name": "Chloe"},
        slips=lambda start, end, **_: [length(end - start + 10), length(end - start - 10), length(end - start + 5)],
    ),
]
