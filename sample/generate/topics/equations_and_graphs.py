"""Algebra: equations, inequalities, formulae, sequences and straight lines."""

from fractions import Fraction
from math import gcd
from random import Random
from typing import Any

from sample.generate.topic import Answer, Topic, tex
from sample.generate.topics.expressions import (
    FIRST_TERM_ONLY,
    IGNORES_MINUS,
    NAMES,
    READS_AS_ADDED,
    TWO_NEGATIVES,
    drawn,
    line,
    maths,
)

SAME_OPERATION = "Takes a term to the other side of an equation or formula without using the inverse operation"
STOPS_SHORT = "Stops one step early, giving the value of a multiple of the unknown as the answer"
ONE_TERM_UNDIVIDED = "Divides only one of the terms on a side by the coefficient, leaving the other as it was"
MULTIPLIES_BACK = "Multiplies by the coefficient of the unknown where it should divide"
DIVIDES_UPSIDE_DOWN = "Carries out a division the wrong way round, dividing the coefficient by the other number"

FLIPPED = {"<": ">", ">": "<", r"\leq": r"\geq", r"\geq": r"\leq"}
STRICTNESS = {"<": r"\leq", ">": r"\geq", r"\leq": "<", r"\geq": ">"}
IN_WORDS = {"<": "less than", ">": "more than", r"\leq": "at most", r"\geq": "at least"}
FORMULAE = (
    ("C", "h", "the cost of hiring a boat, \\( C \\) pounds, to the number of hours \\( h \\)"),
    ("L", "w", "the length of a spring, \\( L \\) cm, to the weight \\( w \\) newtons hung from it"),
    ("T", "k", "the cooking time of a joint of meat, \\( T \\) minutes, to its mass \\( k \\) kg"),
    ("H", "t", "the height of a plant, \\( H \\) mm, to its age \\( t \\) days"),
    ("P", "n", "the price of a party, \\( P \\) pounds, to the number of guests \\( n \\)"),
)


def draw_both_sides(r: Random) -> dict[str, Any]:
    c, gap, k = r.randint(2, 6), r.randint(2, 4), r.randint(2, 9)
    a, b = c + gap, gap * r.randint(1, 3)
    return drawn(r, a=a, b=b, c=c, d=a * (k + b) - c * k)


def draw_inequality(r: Random) -> dict[str, Any]:
    a, k = r.randint(2, 8), r.randint(2, 9)
    c = a * r.randint(1, 5)
    return drawn(r, a=a, b=a * k + c, c=c, sign=r.choice(list(FLIPPED)))


def draw_formula(r: Random) -> dict[str, Any]:
    subject, letter, meaning = r.choice(FORMULAE)
    a, b = r.sample(range(2, 16), 2)
    return {"a": a, "b": b, "p": subject, "q": letter, "meaning": meaning, "name": r.choice(NAMES)}


def draw_sequence(r: Random) -> dict[str, Any]:
    d = r.choice((-5, -4, -3, -2, 2, 3, 4, 5, 6, 7))
    a = r.choice([a for a in range(2, 40) if a not in (d, 2 * d)]) + (20 if d < 0 else 0)
    return {"a": a, "d": d, "name": r.choice(NAMES)}


def draw_geometric(r: Random) -> dict[str, Any]:
    a, n = r.randint(2, 25), r.choice((3, 4))
    k = r.randint(3, 5 if n == 4 else 12)
    return {"t": tuple(a * k**i for i in range(n)), "name": r.choice(NAMES)}


def draw_points(r: Random) -> dict[str, Any]:
    p, w, m = r.randint(-7, -1), r.randint(2, 6), r.choice((-5, -4, -3, -2, 2, 3, 4, 5))
    q = r.randint(-9, 9)
    if 2 * p + w == 0:
        w += 1
    return {"p": p, "q": q, "s": p + w, "t": q + m * w, "name": r.choice(NAMES)}


def draw_line(r: Random) -> dict[str, Any]:
    a, m = r.sample(range(2, 8), 2)
    c = m * r.choice((-6, -5, -4, -3, -2, 2, 3, 4, 5, 6))
    return {"a": a, "m": m, "c": c, "name": r.choice(NAMES)}


def draw_roots(r: Random) -> dict[str, Any]:
    a, b = r.choice([(a, b) for a in range(2, 8) for b in range(2, 10) if gcd(a, b) == 1])
    return drawn(r, a=a, b=b, c=r.choice([c for c in range(2, 10) if c != b]))


def inequality(x: str, sign: str, value: int) -> str:
    return rf"\( {x} {sign} {value} \)"


def formula(letter: str, top: str, bottom: int, after: str = "") -> str:
    return rf"\( {letter} = \frac{{{top}}}{{{bottom}}}{after} \)"


def point(x: Answer, y: Answer) -> str:
    return rf"\( ({tex(x)[3:-3]}, {tex(y)[3:-3]}) \)"


def roots(x: str, first: Answer, second: Answer) -> str:
    return rf"\( {x} = {tex(first)[3:-3]} \) or \( {x} = {tex(second)[3:-3]} \)"


def quotient(top: int, bottom: int) -> Fraction | None:
    return Fraction(top, bottom) if bottom else None


TOPICS = [
    Topic(
        construct="Solve a two-step linear equation",
        subject="Solving Linear Equations",
        draw=lambda r: drawn(r, a=(a := r.randint(2, 9)), b=(b := a * r.randint(1, 6)), c=a * r.randint(2, 15) + b),
        phrasings=(
            r"Solve \( ${a}$x + $b = $c \)",
            "What is the value of \\( $x \\) in this equation?\n\\[\n${a}$x + $b = $c\n\\]",
            r"$name thinks of a number \( $x \), multiplies it by \( $a \) and adds \( $b \). The result is \( $c \), "
            r"so $name writes \( ${a}$x + $b = $c \). What was the number?",
            r"A taxi company charges £\( $b \) for every journey and £\( $a \) for each mile. A journey of \( $x \) "
            r"miles costs £\( $c \). By solving \( ${a}$x + $b = $c \), find how many miles long the journey is.",
        ),
        correct=(lambda a, b, c, **_: (c - b) // a, 5),
        rules={
            SAME_OPERATION: (lambda a, b, c, **_: Fraction(c + b, a), 9),
            STOPS_SHORT: (lambda b, c, **_: c - b, 15),
            READS_AS_ADDED: (lambda a, b, c, **_: c - b - a, 12),
            ONE_TERM_UNDIVIDED: (lambda a, b, c, **_: Fraction(c, a) - b, 1),
            MULTIPLIES_BACK: (lambda a, b, c, **_: a * (c - b), 45),
            DIVIDES_UPSIDE_DOWN: (lambda a, b, c, **_: Fraction(a, c - b), Fraction(1, 5)),
        },
        example={"a": 3, "b": 6, "c": 21, "x": "x", "name": "Leo"},
    ),
    Topic(
        construct="Solve a linear equation with a bracket and with the unknown on both sides",
        subject="Solving Linear Equations",
        draw=draw_both_sides,
        phrasings=(
            r"Solve \( $a($x + $b) = ${c}$x + $d \)",
            "Which value of \\( $x \\) makes this equation true?\n\\[\n$a($x + $b) = ${c}$x + $d\n\\]",
            r"$name has \( $a \) bags with \( $x + $b \) sweets in each. A friend has \( $c \) bags of \( $x \) "
            r"sweets and \( $d \) loose ones. They have the same number of sweets. What is the value of \( $x \)?",
            r"![An isosceles triangle with equal sides labelled \( $a($x + $b) \) cm and \( ${c}$x + $d \) cm]() "
            r"What is the value of \( $x \)?",
        ),
        correct=(lambda a, b, c, d, **_: Fraction(d - a * b, a - c), 6),
        rules={
            FIRST_TERM_ONLY: (lambda a, b, c, d, **_: Fraction(d - b, a - c), 14),
            SAME_OPERATION: (lambda a, b, c, d, **_: Fraction(d + a * b, a + c), Fraction(13, 2)),
            STOPS_SHORT: (lambda a, b, d, **_: d - a * b, 12),
            "Adds the two terms in the unknown together although they stand on opposite sides": (
                lambda a, b, c, d, **_: Fraction(d - a * b, a + c),
                Fraction(3, 2),
            ),
            "Leaves the unknown out of one side of an equation and solves what remains": (
                lambda a, b, d, **_: Fraction(d - a * b, a),
                Fraction(12, 5),
            ),
        },
        example={"a": 5, "b": 4, "c": 3, "d": 32, "x": "x", "name": "Noor"},
    ),
    Topic(
        construct="Solve a linear inequality in which the unknown is subtracted",
        subject="Solving Inequalities",
        draw=draw_inequality,
        phrasings=(
            r"Solve the inequality \( $b - ${a}$x $sign $c \)",
            "Which of these gives all the solutions of the inequality below?\n\\[\n$b - ${a}$x $sign $c\n\\]",
            r"$name starts with £\( $b \) and buys \( $x \) cinema tickets at £\( $a \) each. After this $name has "
            r"$words £\( $c \), so \( $b - ${a}$x $sign $c \). What does this say about \( $x \)?",
            r"A tank holds \( $b \) litres of water and loses \( $a \) litres every minute. To find the times "
            r"\( $x \), in minutes, at which $words \( $c \) litres are left, solve \( $b - ${a}$x $sign $c \).",
        ),
        words=lambda sign, **_: {"words": IN_WORDS[sign]},
        correct=(lambda a, b, c, x, sign, **_: inequality(x, FLIPPED[sign], (b - c) // a), r"\( x \leq 4 \)"),
        rules={
            SAME_OPERATION: (
                lambda a, b, c, x, sign, **_: inequality(x, FLIPPED[sign], -(b + c) // a),
                r"\( x \leq -8 \)",
            ),
            STOPS_SHORT: (lambda b, c, x, sign, **_: inequality(x, FLIPPED[sign], b - c), r"\( x \leq 12 \)"),
            TWO_NEGATIVES: (
                lambda a, b, c, x, sign, **_: inequality(x, FLIPPED[sign], -(b - c) // a),
                r"\( x \leq -4 \)",
            ),
            "Keeps the direction of an inequality the same when dividing by a negative number": (
                lambda a, b, c, x, sign, **_: inequality(x, sign, (b - c) // a),
                r"\( x \geq 4 \)",
            ),
            "Replaces an inequality by an equation and gives a single value as the only solution": (
                lambda a, b, c, x, **_: inequality(x, "=", (b - c) // a),
                r"\( x = 4 \)",
            ),
            "Does not distinguish between inequality signs that allow the end value and signs that do not": (
                lambda a, b, c, x, sign, **_: inequality(x, STRICTNESS[FLIPPED[sign]], (b - c) // a),
                r"\( x < 4 \)",
            ),
        },
        example={"a": 3, "b": 18, "c": 6, "x": "x", "sign": r"\geq", "name": "Keira"},
        slips=lambda a, b, c, x, sign, **_: [inequality(x, FLIPPED[sign], (b - c) // a + i) for i in (1, -1)],
    ),
    Topic(
        construct="Change the subject of a formula that takes two steps to rearrange",
        subject="Rearranging Formulae",
        draw=draw_formula,
        phrasings=(
            r"Make \( $q \) the subject of the formula \( $p = ${a}$q + $b \)",
            "Rearrange this formula to begin with \\( $q = \\)\n\\[\n$p = ${a}$q + $b\n\\]",
            r"The formula \( $p = ${a}$q + $b \) connects $meaning. $name knows \( $p \) and needs a formula for "
            r"\( $q \). Which formula should $name use?",
            r"Which of these is a correct rearrangement of \( $p = ${a}$q + $b \)?",
        ),
        correct=(lambda a, b, p, q, **_: formula(q, f"{p} - {b}", a), r"\( q = \frac{p - 7}{4} \)"),
        rules={
            SAME_OPERATION: (lambda a, b, p, q, **_: formula(q, f"{p} + {b}", a), r"\( q = \frac{p + 7}{4} \)"),
            ONE_TERM_UNDIVIDED: (lambda a, b, p, q, **_: formula(q, p, a, f" - {b}"), r"\( q = \frac{p}{4} - 7 \)"),
            MULTIPLIES_BACK: (lambda a, b, p, q, **_: rf"\( {q} = {a}({p} - {b}) \)", r"\( q = 4(p - 7) \)"),
            READS_AS_ADDED: (lambda a, b, p, q, **_: rf"\( {q} = {p} - {a + b} \)", r"\( q = p - 11 \)"),
            "Believes the subject of a formula is changed simply by letting the two letters trade places": (
                lambda a, b, p, q, **_: rf"\( {q} = {a}{p} + {b} \)",
                r"\( q = 4p + 7 \)",
            ),
            "Subtracts in the wrong order, taking the letter away from the number": (
                lambda a, b, p, q, **_: formula(q, f"{b} - {p}", a),
                r"\( q = \frac{7 - p}{4} \)",
            ),
        },
        example={"a": 4, "b": 7, "p": "p", "q": "q", "meaning": "two lengths", "name": "Dina"},
        slips=lambda a, b, p, q, **_: [formula(q, f"{p} - {b + 1}", a), formula(q, f"{p} - {a}", b)],
    ),
    Topic(
        construct="Find the nth term of a linear sequence",
        subject="Sequences",
        draw=draw_sequence,
        phrasings=(
            r"What is the \( n \)th term rule of the sequence \( $terms, \ldots \)?",
            "Here are the first four terms of a linear sequence:\n\\[\n$terms, \\ldots\n\\]\n"
            "Which expression gives the term in position \\( n \\)?",
            r"Each morning $name counts the books on a charity stall, and finds that the number changes by the same "
            r"amount every day. On days 1 to 4 there are \( $terms \) books. How many will there be on day \( n \)?",
            r"![A row of four numbered cards showing the numbers $terms]() The cards follow a rule, and the next cards "
            r"go on in the same way. Which rule gives the number on card \( n \)?",
        ),
        words=lambda a, d, **_: {"terms": ", ".join(str(a + i * d) for i in range(4))},
        correct=(lambda a, d, **_: maths((d, "n"), (a - d, "")), r"\( 3n + 2 \)"),
        rules={
            "Adds the first term of the sequence to a multiple of n without adjusting it to fit": (
                lambda a, d, **_: maths((d, "n"), (a, "")),
                r"\( 3n + 5 \)",
            ),
            "Takes n plus the common difference as a rule": (lambda d, **_: maths((1, "n"), (d, "")), r"\( n + 3 \)"),
            "Uses the first term of a sequence as the coefficient of n and the common difference as the constant": (
                lambda a, d, **_: maths((a, "n"), (d, "")),
                r"\( 5n + 3 \)",
            ),
            "Thinks the common difference times n is the whole rule": (lambda d, **_: maths((d, "n")), r"\( 3n \)"),
            "Compares a sequence with a times table the wrong way round, so the constant has the wrong sign": (
                lambda a, d, **_: maths((d, "n"), (d - a, "")),
                r"\( 3n - 2 \)",
            ),
            "Gives the next term in place of a general rule": (lambda a, d, **_: maths((a + 4 * d, "")), r"\( 17 \)"),
        },
        example={"a": 5, "d": 3, "name": "Amir"},
        slips=lambda a, d, **_: [
            maths((d + 1, "n"), (a - d - 1, "")),
            maths((d, "n"), (a - d + (1 if a > d else -1), "")),
        ],
    ),
    Topic(
        construct="Find the next term of a geometric sequence",
        subject="Sequences",
        draw=draw_geometric,
        phrasings=(
            r"What is the next term of the geometric sequence \( $terms, \ldots \)?",
            "The terms of this sequence go up by the same factor each time. What is the missing number?\n\\[\n"
            "$terms, \\square\n\\]",
            r"$name counts the cells in a dish every hour and finds \( $terms \) at the first few counts. If "
            r"the pattern of multiplication goes on, how many cells will there be at the next count?",
            r"![A row of boxes containing $terms, each joined to the next by an arrow marked with the same "
            r"multiplication, and at the end of the row an empty box]() Which number belongs in the empty box?",
            r"Which number continues this geometric progression: \( $terms, \ldots \)?",
        ),
        words=lambda t, **_: {"terms": ", ".join(map(str, t))},
        correct=(lambda t, **_: t[-1] * t[1] // t[0], 162),
        rules={
            "Adds the latest difference again, as if the steps did not grow": (lambda t, **_: 2 * t[-1] - t[-2], 90),
            "Takes the first difference to be the step all through a sequence": (
                lambda t, **_: t[-1] + t[1] - t[0],
                58,
            ),
            "Finds the common ratio correctly but adds it to the last term": (lambda t, **_: t[-1] + t[1] // t[0], 57),
            "Assumes that a fast-growing sequence always doubles": (lambda t, **_: 2 * t[-1], 108),
            "Thinks each term is the sum of the two before it": (lambda t, **_: t[-1] + t[-2], 72),
        },
        example={"t": (2, 6, 18, 54), "name": "Hugo"},
    ),
    Topic(
        construct="Calculate the gradient of a line from two points",
        subject="Gradient of a Line",
        draw=draw_points,
        phrasings=(
            r"What is the gradient of the line through \( ($p, $q) \) and \( ($s, $t) \)?",
            r"![A set of axes with a straight line passing through two marked points, \( A($p, $q) \) and "
            r"\( B($s, $t) \)]() Work out the gradient of the line \( AB \).",
            r"$name joins the points \( P($p, $q) \) and \( Q($s, $t) \) with a ruler. Which of these is the gradient "
            r"of the line segment?",
            "A line passes through these two points. Find its gradient.\n\\[\n($p, $q) \\quad ($s, $t)\n\\]",
        ),
        correct=(lambda p, q, s, t, **_: Fraction(t - q, s - p), 3),
        rules={
            IGNORES_MINUS: (lambda p, q, s, t, **_: quotient(abs(t) - abs(q), abs(s) - abs(p)), 5),
            "Divides the change in x by the change in y to get a gradient": (
                lambda p, q, s, t, **_: quotient(s - p, t - q),
                Fraction(1, 3),
            ),
            "Thinks a gradient is just how far the line goes up or down": (lambda q, t, **_: t - q, 15),
            "Takes the points in one order for the vertical change and in the other for the horizontal change": (
                lambda p, q, s, t, **_: Fraction(t - q, p - s),
                -3,
            ),
            "Adds coordinates of the two points where it needs to find the differences": (
                lambda p, q, s, t, **_: quotient(q + t, p + s),
                Fraction(19, 3),
            ),
            "Takes the run away from the rise to get a gradient": (lambda p, q, s, t, **_: (t - q) - (s - p), 10),
        },
        example={"p": -1, "q": 2, "s": 4, "t": 17, "name": "Mina"},
    ),
    Topic(
        construct="Find where a line crosses the y-axis when its equation must first be rearranged",
        subject="Straight Line Graphs",
        draw=draw_line,
        phrasings=(
            r"Where does the line \( $eqn \) cross the \( y \)-axis?",
            "A line has the equation\n\\[\n$eqn\n\\]\nWhat are the coordinates of its \\( y \\)-intercept?",
            r"$name is sketching the graph of \( $eqn \) and begins by marking the point where it meets the vertical "
            r"axis. Which point should $name mark?",
            r"![A straight line drawn on axes without a scale, crossing the y-axis at a point labelled \( P \)]() The "
            r"equation of the line is \( $eqn \). What are the coordinates of \( P \)?",
        ),
        words=lambda a, m, c, **_: {"eqn": f"{a}y = {line((a * m, 'x'), (a * c, ''))}"},
        correct=(lambda c, **_: point(0, c), r"\( (0, 12) \)"),
        rules={
            "Reads the numbers off the equation of a line without first making y the subject": (
                lambda a, c, **_: point(0, a * c),
                r"\( (0, 24) \)",
            ),
            "Writes the coordinates of a point with the vertical one first": (
                lambda c, **_: point(c, 0),
                r"\( (12, 0) \)",
            ),
            "Mistakes the gradient of a line for its intercept": (lambda m, **_: point(0, m), r"\( (0, 3) \)"),
            "Puts y equal to 0, and not x, to find where a graph crosses the y-axis": (
                lambda m, c, **_: point(Fraction(-c, m), 0),
                r"\( (-4, 0) \)",
            ),
            "Pairs the gradient with the intercept as coordinates": (lambda m, c, **_: point(m, c), r"\( (3, 12) \)"),
            "Reverses the sign of the constant to get the intercept": (lambda c, **_: point(0, -c), r"\( (0, -12) \)"),
        },
        example={"a": 2, "m": 3, "c": 12, "name": "Ewan"},
        slips=lambda a, m, c, **_: [point(0, a * c - a), point(0, c + 1)],
    ),
    Topic(
        construct="Solve a quadratic equation that is given in factorised form",
        subject="Solving Quadratic Equations",
        draw=draw_roots,
        phrasings=(
            r"Solve \( $expr = 0 \)",
            "Find all the solutions of this equation:\n\\[\n$expr = 0\n\\]",
            r"The graph of \( $expr \) is drawn, with \( $x \) on the horizontal axis. For which values of \( $x \) "
            r"does the graph meet the horizontal axis?",
            r'$name says, "I multiplied \( ${a}$x + $b \) by \( $x - $c \) and got zero." What can \( $x \) be?',
            r"Which of these gives the values of \( $x \) for which \( $expr \) is equal to zero?",
        ),
        words=lambda a, b, c, x, **_: {"expr": f"({a}{x} + {b})({x} - {c})"},
        correct=(lambda a, b, c, x, **_: roots(x, Fraction(-b, a), c), r"\( x = -\frac{2}{3} \) or \( x = 5 \)"),
        rules={
            DIVIDES_UPSIDE_DOWN: (
                lambda a, b, c, x, **_: roots(x, Fraction(-a, b), c),
                r"\( x = -\frac{3}{2} \) or \( x = 5 \)",
            ),
            "Takes solutions from the brackets with the same signs as the constants have there": (
                lambda a, b, c, x, **_: roots(x, Fraction(b, a), -c),
                r"\( x = \frac{2}{3} \) or \( x = -5 \)",
            ),
            "Reads a solution from each bracket by changing the sign of its constant, whatever the coefficient is": (
                lambda b, c, x, **_: roots(x, -b, c),
                r"\( x = -2 \) or \( x = 5 \)",
            ),
            "Rejects negative solutions, keeping only the positive one": (
                lambda c, x, **_: rf"\( {x} = {c} \) only",
                r"\( x = 5 \) only",
            ),
            "Adds the contents of the brackets together and solves the single equation this makes": (
                lambda a, b, c, x, **_: rf"{tex(Fraction(c - b, a + 1)).replace('( ', f'( {x} = ')} only",
                r"\( x = \frac{3}{4} \) only",
            ),
        },
        example={"a": 3, "b": 2, "c": 5, "x": "x", "name": "Priya"},
        slips=lambda a, b, c, x, **_: [roots(x, Fraction(-b, a), c + 1), roots(x, Fraction(-b - a, a), c)],
    ),
]
