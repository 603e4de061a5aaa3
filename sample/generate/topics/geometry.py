"""Geometry: angles, areas, surface area, Pythagoras, similar shapes, reflection and translation."""

from decimal import Decimal
from math import isqrt
from random import Random

from sample.generate.topic import Topic

FULL_TURN = "Thinks the three angles of a triangle make a full turn rather than a half turn"
NO_HALVING = "Forgets to halve after multiplying by the height"
SLANTED = "Uses the length of a sloping side where the perpendicular height is needed"
PERIMETER = "Confuses area with perimeter and adds up the lengths of all the sides"
DOUBLES = "Doubles a quantity that needs to be squared"
REVERSED = "Writes the vertical coordinate before the horizontal one"

NAMES = ("Aisha", "Ben", "Chloe", "Dev", "Ewan", "Freya", "Grace", "Hamza", "Imogen", "Jonah", "Kofi", "Lena")
TRIANGLES = ("ABC", "PQR", "XYZ", "DEF", "KLM", "RST", "UVW", "LMN")
APEX = [*range(20, 60, 2), *range(62, 90, 2)]
UNITS = ("cm", "m", "mm")
TRIPLES = ((3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25), (20, 21, 29))


def degrees(size: int) -> str:
    return rf"\( {size}^{{\circ}} \)"


def length(size: object, unit: str) -> str:
    return rf"\( {size} \mathrm{{~{unit}}} \)"


def area(size: object, unit: str) -> str:
    return rf"\( {size} \mathrm{{~{unit}}}^{{2}} \)"


def point(x: int, y: int) -> str:
    return rf"\( ({x}, {y}) \)"


def half(n: int) -> int | Decimal:
    return n // 2 if n % 2 == 0 else Decimal(n) / 2


def root(n: int) -> str:
    return str(isqrt(n)) if isqrt(n) ** 2 == n else rf"\sqrt{{{n}}}"


def triple(r: Random) -> tuple[int, int, int]:
    """The sides of a right-angled triangle, the longest last."""
    a, b, c = r.choice(TRIPLES)
    k = r.randint(1, 4 if c < 20 else 2)
    return r.choice(((a * k, b * k, c * k), (b * k, a * k, c * k)))


def trapezium(r: Random) -> dict[str, object]:
    overhang, h, s = triple(r)
    a = r.randint(3, 20)
    return {"a": a, "b": a + overhang, "h": h, "s": s, "u": r.choice(UNITS)}


def isosceles(r: Random) -> dict[str, object]:
    half_base, h, s = triple(r)
    return {"b": 2 * half_base, "h": h, "s": s, "who": r.choice(NAMES)}


def right_angled(r: Random) -> dict[str, object]:
    a, _, c = triple(r)
    if r.random() < 0.6:
        c = r.randint(6, 30)
        a = r.randint(3, c - 2)
    return {"a": a, "c": c, "u": r.choice(("m", "ft"))}


def similar(r: Random) -> dict[str, object]:
    p = r.randint(2, 9)
    thing = r.choice(("pentagon", "kite", "triangle", "parallelogram", "rectangle", "trapezium"))
    return {"size": r.randint(p * p // 2 + 2, 2 * p * p + 5), "p": p, "k": r.randint(3, 6), "thing": thing}


TOPICS = [
    Topic(
        construct="Find a base angle of an isosceles triangle from the angle between its equal sides",
        subject="Angles in Triangles and Parallel Lines",
        draw=lambda r: {"a": r.choice(APEX), "t": r.choice(TRIANGLES), "who": r.choice(NAMES)},
        phrasings=(
            r"Triangle \( $t \) is isosceles, with \( $p$q=$p$r \) and angle \( $q$p$r=${a}^{\circ} \). "
            r"What is the size of angle \( $p$q$r \)?",
            "![A triangle with a dash on each of its two sloping sides. The angle between those two sides is $a "
            "degrees. The angle at the bottom left is labelled x]()\nFind the size of the angle marked \\( x \\).",
            r"The front of $who's tent is a triangle. Its two sloping edges are equally long and meet at the top "
            r"at an angle of \( ${a}^{\circ} \). What angle does each sloping edge make with the level ground?",
            r"The equal sides of an isosceles triangle meet at \( ${a}^{\circ} \). "
            r"Which of these is the size of one of the other angles?",
            r"$who says, “In my triangle \( $t \) the sides \( $p$q \) and \( $p$r \) are the same length, and the "
            r"angle where they meet is \( ${a}^{\circ} \).” How big is the angle at \( $r \)?",
        ),
        words=lambda t, **_: {"p": t[0], "q": t[1], "r": t[2]},
        correct=(lambda a, **_: degrees((180 - a) // 2), r"\( 70^{\circ} \)"),
        rules={
            FULL_TURN: (lambda a, **_: degrees((360 - a) // 2), r"\( 160^{\circ} \)"),
            "Finds how much is left over for two equal angles but does not share it between them":
                (lambda a, **_: degrees(180 - a), r"\( 140^{\circ} \)"),
            "Assumes the unknown angle equals the known one without checking which sides match":
                (lambda a, **_: degrees(a), r"\( 40^{\circ} \)"),
            "Takes the given angle to be one of the equal pair, removes it twice and gives the third angle":
                (lambda a, **_: degrees(180 - 2 * a), r"\( 100^{\circ} \)"),
            "Does not distinguish between isosceles and equilateral": (lambda a, **_: degrees(60), r"\( 60^{\circ} \)"),
            "Believes the two base angles add up to the angle at the top":
                (lambda a, **_: degrees(a // 2), r"\( 20^{\circ} \)"),
        },
        slips=lambda a, **_: [degrees((180 - a) // 2 + 10), degrees((180 - a) // 2 - 5)],
        example={"a": 40, "t": "ABC", "who": "Ben"},
    ),
    Topic(
        construct="Use alternate angles to find an angle of a triangle drawn between parallel lines",
        subject="Angles in Triangles and Parallel Lines",
        draw=lambda r: {"b": (b := r.randint(25, 65)), "a": r.randint(b + 6, 85)},
        phrasings=(
            "![Two horizontal parallel lines, AB above and CD below. A triangle has its top corner E on AB and its "
            "other corners on CD, F on the left and G on the right. Angle AEF is $a degrees, angle FGE is $b degrees "
            "and angle FEG is labelled x]()\nWhat is the value of \\( x \\)?",
            r"\( AB \) is parallel to \( CD \), with \( A \) directly above \( C \). Triangle \( EFG \) has \( E \) on "
            r"\( AB \), and \( F \) and \( G \) on \( CD \) with \( F \) nearer to \( C \). Angle \( AEF=${a}^{\circ} "
            r"\) and angle \( FGE=${b}^{\circ} \). How many degrees is angle \( FEG \)?",
            r"Road \( AB \) runs parallel to road \( CD \), both from west to east. Two straight paths leave a gate "
            r"\( E \) on \( AB \) and meet \( CD \) at \( F \) and, further east, at \( G \). Angle \( AEF \) is "
            r"\( ${a}^{\circ} \) and angle \( FGE \) is \( ${b}^{\circ} \). What is the angle between the paths, "
            r"in degrees?",
            "![Parallel lines AB (top) and CD (bottom) with a triangle EFG between them: E on AB, F and then G on CD, "
            "reading from left to right]()\nAngle \\( AEF=${a}^{\\circ} \\), angle \\( EGF=${b}^{\\circ} \\) and angle "
            "\\( FEG=y^{\\circ} \\). Which of these is the value of \\( y \\)?",
        ),
        correct=(lambda a, b: 180 - a - b, 75),
        rules={
            FULL_TURN: (lambda a, b: 360 - a - b, 255),
            "Thinks alternate angles add up to a straight line instead of being equal": (lambda a, b: a - b, 25),
            "Transfers an angle across the parallel lines and then stops, giving that as the answer":
                (lambda a, b: a, 65),
            "Assumes a triangle that stands on a parallel line must have equal base angles":
                (lambda a, b: 180 - 2 * b, 100),
            "Adds the known angles but forgets to take their sum from the total": (lambda a, b: a + b, 105),
            "Disregards the angle marked outside the triangle, subtracting only the one inside it":
                (lambda a, b: 180 - b, 140),
        },
        example={"a": 65, "b": 40},
    ),
    Topic(
        construct="Calculate the area of a trapezium",
        subject="Area of Simple Shapes",
        draw=trapezium,
        phrasings=(
            "![A trapezium with two right angles. The parallel sides are $a $u and $b $u, the side at right angles to "
            "them is $h $u and the sloping side is $s $u]()\nWhat is the area of the trapezium?",
            r"In trapezium \( PQRS \), \( PQ \) is parallel to \( SR \) and angle \( PSR \) is a right angle. "
            r"\( PQ=$a \mathrm{~$u}, SR=$b \mathrm{~$u}, PS=$h \mathrm{~$u} \) and \( QR=$s \mathrm{~$u} \). "
            r"Calculate its area.",
            r"A piece of metal is cut in the shape of a trapezium. Going round it, the sides are "
            r"\( $a \mathrm{~$u}, $s \mathrm{~$u}, $b \mathrm{~$u} \) and \( $h \mathrm{~$u} \). The first and third "
            r"of these are parallel, and the last meets both of them at right angles. What is the area of the metal?",
            r"The parallel sides of a trapezium are \( $a \mathrm{~$u} \) and \( $b \mathrm{~$u} \) long. One of its "
            r"other sides is perpendicular to them and measures \( $h \mathrm{~$u} \); the remaining one measures "
            r"\( $s \mathrm{~$u} \). Which of these is its area?",
        ),
        correct=(lambda a, b, h, u, **_: area(half((a + b) * h), u), r"\( 27 \mathrm{~cm}^{2} \)"),
        rules={
            NO_HALVING: (lambda a, b, h, u, **_: area((a + b) * h, u), r"\( 54 \mathrm{~cm}^{2} \)"),
            SLANTED: (lambda a, b, s, u, **_: area(half((a + b) * s), u), r"\( 45 \mathrm{~cm}^{2} \)"),
            PERIMETER: (lambda a, b, h, s, u: area(a + b + h + s, u), r"\( 26 \mathrm{~cm}^{2} \)"),
            "Multiplies the longer base by the height, as if the shape were a rectangle":
                (lambda b, h, u, **_: area(b * h, u), r"\( 33 \mathrm{~cm}^{2} \)"),
            "Multiplies the two parallel sides together in the formula where they should be added":
                (lambda a, b, h, u, **_: area(half(a * b * h), u), r"\( 115.5 \mathrm{~cm}^{2} \)"),
            "Takes half of the longer base times the height, as for a triangle":
                (lambda b, h, u, **_: area(half(b * h), u), r"\( 16.5 \mathrm{~cm}^{2} \)"),
        },
        slips=lambda a, b, h, u, **_: [area(half((a + b) * h) + 10, u), area(half((a + b + 1) * h), u)],
        example={"a": 7, "b": 11, "h": 3, "s": 5, "u": "cm"},
    ),
    Topic(
        construct="Calculate the area of a triangle from its base and perpendicular height",
        subject="Area of Simple Shapes",
        draw=isosceles,
        phrasings=(
            "![A triangle with base $b cm. Each of the other two sides is $s cm. A dashed line of $h cm runs from the "
            "top corner down to the base, which it meets at a right angle]()\nHow many square centimetres is the area?",
            r"An isosceles triangle has sides of \( $b \mathrm{~cm}, $s \mathrm{~cm} \) and \( $s \mathrm{~cm} \). "
            r"Measured from the \( $b \mathrm{~cm} \) side, it is \( $h \mathrm{~cm} \) high. "
            r"Work out its area in \( \mathrm{cm}^{2} \).",
            r"$who makes a triangular flag with a bottom edge of \( $b \mathrm{~cm} \) and two other edges of "
            r"\( $s \mathrm{~cm} \) each. The top corner is \( $h \mathrm{~cm} \) vertically above the middle of the "
            r"bottom edge. How many square centimetres of cloth does $who need?",
            r"The end wall of a loft is a triangle \( $b \) feet wide and \( $h \) feet high. "
            r"Each sloping edge is \( $s \) feet long. Which of these is the area of the wall in square feet?",
        ),
        correct=(lambda b, h, **_: b // 2 * h, 12),
        rules={
            NO_HALVING: (lambda b, h, **_: b * h, 24),
            SLANTED: (lambda b, s, **_: b // 2 * s, 20),
            PERIMETER: (lambda b, s, **_: b + 2 * s, 18),
            "Halves the base and the height separately and then multiplies": (lambda b, h, **_: half(b // 2 * h), 6),
            "Adds base and height before halving instead of multiplying them":
                (lambda b, h, **_: half(b + h), Decimal("5.5")),
            "Doubles the product of base and height rather than halving it": (lambda b, h, **_: 2 * b * h, 48),
        },
        example={"b": 8, "h": 3, "s": 5, "who": "Lena"},
    ),
    Topic(
        construct="Find the area of a circle in terms of pi when its diameter is given",
        subject="Circles",
        draw=lambda r: {
            "n": r.randint(3, 25), "u": "cm", "who": r.choice(NAMES),
            "thing": r.choice(("badge", "rug", "mirror", "lid", "target", "tray", "plate", "cake tin")),
        },
        phrasings=(
            r"A circle has a diameter of \( $d \mathrm{~$u} \). What is its area in terms of \( \pi \)?",
            "![A circle with centre O. A straight line through O joins two points of the circle and is labelled $d "
            "$u]()\nWhich of these is the area of the circle?",
            r"$who measures a circular $thing straight across through its centre and gets \( $d \mathrm{~$u} \). "
            r"Find the area of the $thing, leaving \( \pi \) in your answer.",
            r"A square of side \( $d \mathrm{~$u} \) has the largest possible circle drawn inside it. "
            r"Work out the exact area of this circle.",
        ),
        words=lambda n, **_: {"d": 2 * n},
        correct=(lambda n, u, **_: area(rf"{n * n} \pi", u), r"\( 25 \pi \mathrm{~cm}^{2} \)"),
        rules={
            "Substitutes the diameter for the radius in the formula":
                (lambda n, u, **_: area(rf"{4 * n * n} \pi", u), r"\( 100 \pi \mathrm{~cm}^{2} \)"),
            "Mixes up the rule for the distance round a circle with the rule for the space inside":
                (lambda n, u, **_: area(rf"{2 * n} \pi", u), r"\( 10 \pi \mathrm{~cm}^{2} \)"),
            "Halves after squaring, when the radius should be found before it is squared":
                (lambda n, u, **_: area(rf"{2 * n * n} \pi", u), r"\( 50 \pi \mathrm{~cm}^{2} \)"),
            "Multiplies pi by the radius and leaves out the power":
                (lambda n, u, **_: area(rf"{n} \pi", u), r"\( 5 \pi \mathrm{~cm}^{2} \)"),
            "Believes the radius is twice as long as the diameter":
                (lambda n, u, **_: area(rf"{16 * n * n} \pi", u), r"\( 400 \pi \mathrm{~cm}^{2} \)"),
            "Squares the whole product, pi included, and not just the radius":
                (lambda n, u, **_: area(rf"{n * n} \pi^{{2}}", u), r"\( 25 \pi^{2} \mathrm{~cm}^{2} \)"),
        },
        slips=lambda n, u, **_: [area(rf"{n * n + 2} \pi", u), area(rf"{n * n - 1} \pi", u)],
        example={"n": 5, "u": "cm", "who": "Dev", "thing": "lid"},
    ),
    Topic(
        construct="Calculate the surface area of a cuboid",
        subject="Surface Area and Volume",
        draw=lambda r: dict(zip("awh", r.sample(range(2, 16), 3), strict=True)),
        phrasings=(
            "![A cuboid standing on a base of length $a cm and width $w cm. Its height is $h cm]()\n"
            "What is the surface area of the cuboid in square centimetres?",
            r"A cuboid is \( $a \mathrm{~cm} \) long, \( $w \mathrm{~cm} \) wide and \( $h \mathrm{~cm} \) high. "
            r"What is its total surface area in \( \mathrm{cm}^{2} \)?",
            r"A closed gift box has a rectangular base of \( $a \mathrm{~cm} \) by \( $w \mathrm{~cm} \) and a height "
            r"of \( $h \mathrm{~cm} \). It is covered exactly with paper on every side, with no overlaps. "
            r"How many square centimetres of paper are used?",
            r"A solid wooden block lies on a face that measures \( $a \mathrm{~cm} \) by \( $w \mathrm{~cm} \) and "
            r"stands \( $h \mathrm{~cm} \) tall. Every part of its outside is to be painted. "
            r"Which of these is the area to be painted, in square centimetres?",
        ),
        correct=(lambda a, w, h: 2 * (a * w + a * h + w * h), 108),
        rules={
            "Multiplies the three dimensions, finding the space inside a solid and not the area of its faces":
                (lambda a, w, h: a * w * h, 72),
            "Counts only the three faces that can be seen in a drawing of the solid":
                (lambda a, w, h: a * w + a * h + w * h, 54),
            "Adds the lengths of all twelve edges": (lambda a, w, h: 4 * (a + w + h), 52),
            "Believes all the faces of a box are the same size as the one it stands on":
                (lambda a, w, h: 6 * a * w, 144),
            "Leaves out the face underneath because it is hidden": (lambda a, w, h: a * w + 2 * h * (a + w), 84),
            "Includes the upright faces but neither the top nor the bottom": (lambda a, w, h: 2 * h * (a + w), 60),
        },
        example={"a": 6, "w": 4, "h": 3},
    ),
    Topic(
        construct="Use Pythagoras' theorem to find a shorter side of a right-angled triangle",
        subject="Pythagoras and Similarity",
        draw=right_angled,
        phrasings=(
            "![A right-angled triangle. The side opposite the right angle is $c $u, one of the other sides is $a $u "
            "and the third side is labelled x]()\nWhat is the exact length of side \\( x \\)?",
            r"Triangle \( ABC \) has a right angle at \( B \). \( AC=$c \mathrm{~$u} \) and \( AB=$a \mathrm{~$u} \). "
            r"Find the exact length of \( BC \).",
            r"A straight wire of length \( $c \mathrm{~$u} \) is stretched tight from the top of an upright post to a "
            r"peg in level ground. The peg is \( $a \mathrm{~$u} \) from the foot of the post. Find the exact "
            r"height of the post.",
            r"One side of a rectangle is \( $a \mathrm{~$u} \) long and its diagonal is \( $c \mathrm{~$u} \) long. "
            r"Which of these is the length of the other side?",
        ),
        correct=(lambda a, c, u: length(root(c * c - a * a), u), r"\( 12 \mathrm{~m} \)"),
        rules={
            "Adds the squares whichever side is unknown, as though it were always the hypotenuse":
                (lambda a, c, u: length(root(c * c + a * a), u), r"\( \sqrt{194} \mathrm{~m} \)"),
            "Subtracts the lengths themselves, without squaring":
                (lambda a, c, u: length(c - a, u), r"\( 8 \mathrm{~m} \)"),
            "Stops at the square of the length and does not find its root":
                (lambda a, c, u: length(c * c - a * a, u), r"\( 144 \mathrm{~m} \)"),
            "Divides by two in order to undo a square":
                (lambda a, c, u: length(half(c * c - a * a), u), r"\( 72 \mathrm{~m} \)"),
            DOUBLES: (lambda a, c, u: length(root(2 * c - 2 * a), u), r"\( 4 \mathrm{~m} \)"),
            "Assumes the two sides that form the right angle are equally long":
                (lambda a, c, u: length(a, u), r"\( 5 \mathrm{~m} \)"),
        },
        slips=lambda a, c, u: [length(root(c * c - a * a + 1), u), length(root(c * c - a * a - 4), u)],
        example={"a": 5, "c": 13, "u": "m"},
    ),
    Topic(
        construct="Find the area of an enlarged shape from a pair of corresponding lengths",
        subject="Pythagoras and Similarity",
        draw=similar,
        phrasings=(
            "![Two similar ${thing}s. A side of the smaller one is $p cm and the matching side of the larger one is "
            "$q cm. The area of the smaller $thing is $size square centimetres]()\n"
            r"What is the area of the larger $thing in \( \mathrm{cm}^{2} \)?",
            r"Two ${thing}s are similar. Their shortest sides are \( $p \mathrm{~cm} \) and \( $q \mathrm{~cm} \) "
            r"long. If the area of the smaller $thing is \( $size \mathrm{~cm}^{2} \), what is the area of the "
            r"larger one in square centimetres?",
            r"A logo in the shape of a $thing covers \( $size \mathrm{~cm}^{2} \) on a letter, where its shortest "
            r"side is \( $p \mathrm{~cm} \). On a poster, a similar logo has a shortest side of \( $q \mathrm{~cm} \). "
            r"How many square centimetres of the poster does it cover?",
            r"A $thing with area \( $size \mathrm{~cm}^{2} \) is enlarged so that a side of \( $p \mathrm{~cm} \) "
            r"becomes \( $q \mathrm{~cm} \). Which of these is the new area in \( \mathrm{cm}^{2} \)?",
        ),
        words=lambda p, k, **_: {"q": p * k},
        correct=(lambda size, k, **_: size * k * k, 90),
        rules={
            DOUBLES: (lambda size, k, **_: size * 2 * k, 60),
            "Believes areas grow by the same scale factor as lengths": (lambda size, k, **_: size * k, 30),
            "Adds on the difference between the lengths, not seeing enlargement as multiplying":
                (lambda size, p, k, **_: size + p * k - p, 18),
            "Cubes the scale factor, as would be right for volumes": (lambda size, k, **_: size * k**3, 270),
            "Takes the difference of matching sides, not their ratio, as the scale factor to be squared":
                (lambda size, p, k, **_: size * (p * k - p) ** 2, 640),
            "Squares the original measurement along with the scale factor": (lambda size, k, **_: (size * k) ** 2, 900),
        },
        example={"size": 10, "p": 4, "k": 3, "thing": "kite"},
    ),
    Topic(
        construct="Reflect a point in a vertical line",
        subject="Transformations",
        draw=lambda r: dict(zip("xym", r.sample([n for n in range(-7, 9) if n != 0], 3), strict=True)),
        phrasings=(
            r"The point \( ($x, $y) \) is reflected in the line \( x=$m \). What are the coordinates of its image?",
            "![A coordinate grid with the point P marked at ($x, $y) and the line x = $m drawn as a dashed line]()\n"
            r"\( P \) is reflected in the dashed line. Where does it end up?",
            r"On a map with coordinates, a straight fence follows the line \( x=$m \). A tree stands at \( ($x, $y) "
            r"\). A second tree is planted so that it is the mirror image of the first in the fence. "
            r"What are the coordinates of the second tree?",
            r"One corner of a triangle is at \( ($x, $y) \). The whole triangle is reflected in the line with equation "
            r"\( x=$m \). Which of these is the new position of that corner?",
        ),
        correct=(lambda x, y, m: point(2 * m - x, y), r"\( (5, 4) \)"),
        rules={
            REVERSED: (lambda x, y, m: point(y, 2 * m - x), r"\( (4, 5) \)"),
            "Believes an equation of the form x equals a number describes a horizontal line":
                (lambda x, y, m: point(x, 2 * m - y), r"\( (1, 2) \)"),
            "Always uses the y-axis as a vertical mirror, wherever the mirror line really is":
                (lambda x, y, m: point(-x, y), r"\( (-1, 4) \)"),
            "Moves a point up to the mirror line but not the same distance beyond it":
                (lambda x, y, m: point(m, y), r"\( (3, 4) \)"),
            "Also changes the sign of the coordinate that the reflection leaves alone":
                (lambda x, y, m: point(2 * m - x, -y), r"\( (5, -4) \)"),
            "Slides the point across by the number in the equation of the mirror line":
                (lambda x, y, m: point(x + m, y), r"\( (4, 4) \)"),
        },
        slips=lambda x, y, m: [point(x, 2 * m + y), point(2 * m - x, y - 1)],
        example={"x": 1, "y": 4, "m": 3},
    ),
    Topic(
        construct="Translate a point by a column vector",
        subject="Transformations",
        draw=lambda r: {
            "x": r.randint(1, 9), "y": r.randint(1, 9), "u": r.choice((-8, -5, -3, 2, 4, 7)), "v": r.randint(-9, -2),
        },
        phrasings=(
            r"What are the coordinates of the image of \( ($x, $y) \) after a translation by $vector?",
            "![A coordinate grid with a triangle. One of its corners is labelled A and lies at ($x, $y)]()\n"
            r"The triangle is translated by the vector $vector. Where is the image of corner \( A \)?",
            r"A robot stands at the point \( ($x, $y) \) of a grid. It is programmed to make a single move along the "
            r"vector $vector. At which point does it stop?",
            r"Point \( B \) has coordinates \( ($x, $y) \). Translating \( B \) by $vector gives point \( C \). "
            r"Which of these is \( C \)?",
        ),
        words=lambda u, v, **_: {"vector": rf"\( \left(\begin{{array}}{{c}}{u} \\ {v}\end{{array}}\right) \)"},
        correct=(lambda x, y, u, v: point(x + u, y + v), r"\( (5, 1) \)"),
        rules={
            REVERSED: (lambda x, y, u, v: point(y + v, x + u), r"\( (1, 5) \)"),
            "Thinks the top number of a column vector tells how far to go up or down":
                (lambda x, y, u, v: point(x + v, y + u), r"\( (-2, 8) \)"),
            "Goes in the opposite direction, taking the vector away":
                (lambda x, y, u, v: point(x - u, y - v), r"\( (-1, 9) \)"),
            "Ignores negative signs, so that every movement is to the right or upwards":
                (lambda x, y, u, v: point(x + abs(u), y + abs(v)), r"\( (5, 9) \)"),
            "Reads a vector as the position reached, whatever the starting place":
                (lambda x, y, u, v: point(u, v), r"\( (3, -4) \)"),
            "Multiplies coordinates by the components of a vector":
                (lambda x, y, u, v: point(x * u, y * v), r"\( (6, -20) \)"),
        },
        slips=lambda x, y, u, v: [point(x + u + 1, y + v), point(x + u, y + v - 1)],
        example={"x": 2, "y": 5, "u": 3, "v": -4},
    ),
]
