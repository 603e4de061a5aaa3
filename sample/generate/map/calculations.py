"""Questions that are bare calculations, each with its misconceptions."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import gcd
from random import Random
from typing import Any

from sample.generate.map.item import Item, Way, proper


def _two(r: Random) -> dict[str, Any]:
    while True:
        (a, b), (c, d) = proper(r, range(1, 4), range(3, 8)), proper(r, range(1, 4), range(3, 8))
        if gcd(b, d) == 1:
            return {"a": a, "b": b, "c": c, "d": d}


def _times(r: Random) -> dict[str, Any]:
    while True:
        (a, b), n = proper(r, range(2, 5), range(5, 10)), r.randint(3, 7)
        if gcd(n, b) == 1:
            return {"a": a, "b": b, "n": n}


def _decimals(r: Random) -> dict[str, Any]:
    """The largest has neither the most digits nor the fewest, nor is it the largest as a whole number."""
    u = r.randint(3, 8)
    return {"one": Decimal(f"0.{u}"), "two": Decimal(f"0.{u}{r.randint(4, 9)}"), "four": Decimal(f"0.{u - 1}417")}


def _mean(r: Random) -> dict[str, Any]:
    while True:
        numbers = sorted(r.sample(range(3, 30), 5))
        if sum(numbers) % 5 == 0 and sum(numbers) // 5 != numbers[2]:
            shown = r.sample(numbers, 5)
            return {"numbers": ", ".join(map(str, shown)), "total": sum(numbers), "middle": numbers[2],
                    "low": numbers[0], "high": numbers[4]}  # fmt: skip


CALCULATIONS: Sequence[Item] = (
    Item(
        r"Calculate \( \frac{{{a}}}{{{b}}} + \frac{{{c}}}{{{d}}} \)",
        _two,
        Way(
            lambda a, b, c, d: Fraction(a, b) + Fraction(c, d),
            (
                "the common denominator is {e} so it is {x}/{e} plus {y}/{e}",
                "{a}/{b} is {x}/{e} and {c}/{d} is {y}/{e}, add them",
                "make both into {e}ths then add {x} and {y}",
                "{x}/{e} + {y}/{e} = {answer}",
            ),
            lambda a, b, c, d: {"e": b * d, "x": a * d, "y": c * b},
        ),
        {
            "Adds_across": Way(
                lambda a, b, c, d: rf"\( \frac{{{a + c}}}{{{b + d}}} \)",
                (
                    "{a} + {c} is {x} and {b} + {d} is {y}",
                    "i added the tops and then i added the bottoms",
                    "add the numerators to get {x} and the denominators to get {y}",
                    "{a} plus {c} over {b} plus {d}",
                ),
                lambda a, b, c, d: {"x": a + c, "y": b + d},
            ),
            "Keeps_tops": Way(
                lambda a, b, c, d: rf"\( \frac{{{a + c}}}{{{b * d}}} \)",
                (
                    "the common denominator is {y} and {a} + {c} is {x}",
                    "make the bottoms {y} and add the tops {a} and {c}",
                    "{b} times {d} is {y} for the bottom, {a} + {c} = {x} for the top",
                ),
                lambda a, b, c, d: {"x": a + c, "y": b * d},
            ),
            "Multiplies": Way(
                lambda a, b, c, d: rf"\( \frac{{{a * c}}}{{{b * d}}} \)",
                (
                    "{a} x {c} = {x} and {b} x {d} = {y}",
                    "i timesed the tops and timesed the bottoms",
                    "you multiply across so the top is {x} and the bottom is {y}",
                ),
                lambda a, b, c, d: {"x": a * c, "y": b * d},
            ),
        },
        ("they are both fractions", "{b} and {d} are different numbers", "it has a plus sign", "{d} is a denominator"),
    ),
    Item(
        r"Calculate \( \frac{{{a}}}{{{b}}} \times {n} \)",
        _times,
        Way(
            lambda a, b, n: Fraction(a * n, b),
            (
                "{a} times {n} is {x} so it is {x}/{b}",
                "{n} is the same as {n}/1 so you multiply the tops and get {x}",
                "{n} lots of {a}/{b} is {x}/{b}",
                "multiply the numerator by {n} and keep the {b}",
            ),
            lambda a, b, n: {"x": a * n},
        ),
        {
            "Multiplies_both": Way(
                lambda a, b, n: rf"\( \frac{{{a * n}}}{{{b * n}}} \)",
                (
                    "{a} x {n} = {x} and {b} x {n} = {y}",
                    "i multiplied the top and the bottom by {n}",
                    "whatever you do to the top you do to the bottom so {x} over {y}",
                ),
                lambda a, b, n: {"x": a * n, "y": b * n},
            ),
            "Adds_whole": Way(
                lambda a, b, n: rf"\( \frac{{{a + n}}}{{{b}}} \)",
                (
                    "{a} + {n} = {x} and the bottom stays {b}",
                    "add {n} to the top which makes {x}",
                    "you put {n} more on the {a}",
                ),
                lambda a, b, n: {"x": a + n},
            ),
            "Inverts": Way(
                lambda a, b, n: rf"\( \frac{{{a}}}{{{b * n}}} \)",
                (
                    "{b} times {n} is {y} so it is {a}/{y}",
                    "turn the {n} over to 1/{n} and multiply",
                    "keep change flip, {a} x 1 and {b} x {n}",
                ),
                lambda a, b, n: {"y": b * n},
            ),
        },
        ("{n} is a whole number", "a fraction is less than one", "there is a times sign", "{b} is the bottom number"),
    ),
    Item(
        r"Calculate \( \frac{{{a}}}{{{b}}} \div {n} \)",
        _times,
        Way(
            lambda a, b, n: Fraction(a, b * n),
            (
                "flip the {n} to 1/{n} and multiply, {b} x {n} is {y}",
                "{b} times {n} is {y} so it is {a}/{y}",
                "dividing by {n} is the same as multiplying by 1/{n}",
                "keep change flip gives {a}/{b} x 1/{n}",
            ),
            lambda a, b, n: {"y": b * n},
        ),
        {
            "Multiplies_instead": Way(
                lambda a, b, n: Fraction(a * n, b),
                ("{a} times {n} is {x}", "{n} lots of {a}/{b} is {x}/{b}", "you multiply the top by {n} and get {x}"),
                lambda a, b, n: {"x": a * n},
            ),
            "Divides_backwards": Way(
                lambda a, b, n: Fraction(b * n, a),
                (
                    "{n} divided by {a}/{b} is {answer}",
                    "you flip the first fraction so {b}/{a} times {n}",
                    "turn {a}/{b} upside down and times it by {n}",
                ),
            ),
        },
        ("{n} is bigger than the fraction", "it is a division", "you can draw a bar with {b} parts", "{a} is on top"),
    ),
    Item(
        r"What is \( (-{a}) - (-{b}) \) ?",
        lambda r: dict(zip("ba", sorted(r.sample(range(3, 15), 2)), strict=True)),
        Way(
            lambda a, b: b - a,
            (
                "two minuses make a plus so it is -{a} + {b}",
                "minus a minus is adding, -{a} add {b}",
                "start at -{a} and go up {b}",
                "-{a} + {b} = {answer}",
            ),
        ),
        {
            "Both_negative": Way(
                lambda a, b: -(a + b),
                (
                    "{a} + {b} is {x} and they are both negative",
                    "there are minus signs so add {a} and {b} and put a minus in front",
                    "start at -{a} and go down {b} more",
                ),
                lambda a, b: {"x": a + b},
            ),
            "Always_positive": Way(
                lambda a, b: a + b,
                (
                    "two negatives make a positive so {a} + {b}",
                    "all the minuses cancel so it is {a} plus {b}",
                    "a negative and a negative is positive, {a} + {b} = {answer}",
                ),
            ),
            "Drops_signs": Way(
                lambda a, b: a - b,
                (
                    "{a} - {b} = {answer}",
                    "{a} take away {b} is {answer}",
                    "the difference between {a} and {b} is {answer}",
                ),
            ),
        },
        ("negative numbers are below zero", "{a} is bigger than {b}", "there are brackets", "you use a number line"),
    ),
    Item(
        r"\( {k} x = {m} \) What is the value of \( x \) ?",
        lambda r: {"k": (k := r.randint(3, 9)), "m": k * r.randint(11, 14)},
        Way(
            lambda k, m: m // k,
            (
                "{m} divided by {k} is {answer}",
                "{k} times {answer} is {m}",
                "you do the inverse so divide both sides by {k}",
                "{k}x means {k} times x so {m} / {k}",
            ),
        ),
        {
            "Subtracts": Way(
                lambda k, m: m - k,
                ("{m} - {k} = {answer}", "take the {k} away from {m}", "{k} + {answer} is {m}"),
            ),
            "Multiplies_out": Way(
                lambda k, m: m * k,
                (
                    "{k} x {m} = {answer}",
                    "you times both sides by {k}",
                    "{k} next to x means multiply so {m} times {k}",
                ),
            ),
        },
        ("x is a letter for a number", "{m} is even or odd", "it is algebra", "the equals sign means the same"),
    ),
    Item(
        r"Which of \( {one} \), \( {two} \) and \( {four} \) is the greatest?",
        _decimals,
        Way(
            lambda one, two, four: two,
            (
                "the tenths are the same in {one} and {two} and {two} has hundredths",
                "{one} is {one}0 and {two} is more",
                "i compared the tenths first and then the hundredths",
            ),
        ),
        {
            "Longer_is_greater": Way(
                lambda one, two, four: four,
                ("{four} has the most digits", "it is the longest number", "{four} has more numbers after the point"),
            ),
            "Shorter_is_greater": Way(
                lambda one, two, four: one,
                (
                    "{one} has the fewest digits",
                    "tenths are bigger than hundredths and thousandths so the short one",
                    "{one} is the shortest so it is closest to a whole",
                ),
            ),
            "Ignores_point": Way(
                lambda one, two, four: four,
                (
                    "{big} is bigger than {small}",
                    "without the point it is {big} and that is the biggest",
                    "{big} is more than {small} so {four} wins",
                ),
                lambda one, two, four: {"big": str(four)[2:], "small": str(two)[2:]},
            ),
        },
        ("they all start with zero", "they are all less than one", "decimals have a point", "there are three numbers"),
    ),
    Item(
        r"Calculate \( {a} + {b} \times {c} \)",
        lambda r: dict(zip("abc", r.sample(range(2, 10), 3), strict=True)),
        Way(
            lambda a, b, c: a + b * c,
            (
                "you multiply first, {b} x {c} is {x} and {a} more",
                "bidmas says times before plus",
                "{b} times {c} is {x} then add {a}",
                "{x} + {a} = {answer}",
            ),
            lambda a, b, c: {"x": b * c},
        ),
        {
            "Left_to_right": Way(
                lambda a, b, c: (a + b) * c,
                (
                    "{a} + {b} is {x} and {x} x {c} is {answer}",
                    "you go from left to right so add first",
                    "{x} times {c}",
                    "do {a} plus {b} and then times it by {c}",
                ),
                lambda a, b, c: {"x": a + b},
            ),
            "Adds_all": Way(
                lambda a, b, c: a + b + c,
                ("{a} + {b} + {c} = {answer}", "add the three numbers", "{a} and {b} and {c} together is {answer}"),
            ),
        },
        ("there are two signs", "{a} comes first", "you need a calculator", "i know my times tables"),
    ),
    Item(
        r"What is the mean of \( {numbers} \) ?",
        _mean,
        Way(
            lambda numbers, total, middle, low, high: total // 5,
            (
                "they add up to {total} and {total} / 5 is {answer}",
                "add them all and divide by how many there are",
                "{total} shared by 5",
            ),
        ),
        {
            "Median": Way(
                lambda numbers, total, middle, low, high: middle,
                (
                    "put them in order and {answer} is in the middle",
                    "the middle number is {answer}",
                    "cross one off each end until {answer} is left",
                ),
            ),
            "Range": Way(
                lambda numbers, total, middle, low, high: high - low,
                ("{high} - {low} = {answer}", "the biggest take away the smallest", "{high} minus {low}"),
            ),
            "Total_only": Way(
                lambda numbers, total, middle, low, high: total,
                ("they add up to {answer}", "i added all the numbers", "{numbers} makes {answer} altogether"),
            ),
        },
        ("the mean is an average", "there are 5 numbers", "{high} is the biggest one", "the numbers are not in order"),
    ),
)
