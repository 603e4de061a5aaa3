"""Questions about things, each with its misconceptions."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from sample.generate.map.item import Item, Way, proper


def _part(r: Random) -> dict[str, Any]:
    a, b = proper(r, range(2, 6), range(5, 9))
    return {"a": a, "b": b, "n": a * b * r.randint(2, 4)}


def _pattern(r: Random) -> dict[str, Any]:
    s, d = r.randint(4, 9), r.randint(3, 6)
    return {"s": s, "d": d, "second": s + d, "third": s + 2 * d, "n": r.randint(6, 9)}


def _work(r: Random) -> dict[str, Any]:
    p, k = r.randint(2, 4), r.randint(2, 4)
    return {"p": p, "k": k, "q": p * k, "h": 12 * p * r.randint(1, 3)}


PROBLEMS: Sequence[Item] = (
    Item(
        r"A jar holds \( {n} \) beads. \( \frac{{{a}}}{{{b}}} \) of the beads are green. How many are green?",
        _part,
        Way(
            lambda a, b, n: n * a // b,
            (
                "{n} divided by {b} is {one} and {one} times {a} is {answer}",
                "one {b}th of {n} is {one} so {a} of them make {answer}",
                "you divide {n} by {b} and multiply by {a}",
                "{n} / {b} = {one}, {one} x {a} = {answer}",
            ),
            lambda a, b, n: {"one": n // b},
        ),
        {
            "One_part": Way(
                lambda a, b, n: n // b,
                (
                    "{n} divided by {b} is {answer}",
                    "you share the {n} beads into {b} parts which is {answer}",
                    "{b} goes into {n} {answer} times",
                    "{n} / {b} = {answer}",
                ),
            ),
            "The_rest": Way(
                lambda a, b, n: n - n * a // b,
                (
                    "{n} divided by {b} is {one}, times {a} is {part} and {n} take away {part} is {answer}",
                    "{part} are used up so you take {part} from {n}",
                    "{n} - {part} = {answer} are left",
                ),
                lambda a, b, n: {"one": n // b, "part": n * a // b},
            ),
            "Divides_by_top": Way(
                lambda a, b, n: n // a,
                (
                    "{n} divided by {a} is {answer}",
                    "you split the {n} into {a} groups and get {answer}",
                    "{a} goes into {n} {answer} times",
                    "{n} / {a} = {answer}",
                ),
            ),
        },
        (
            "there are {n} beads in the jar",
            "some of the beads are green and some are not",
            "{a} and {b} are numbers in the question",
            "green is my favourite colour",
        ),
    ),
    Item(
        r"A pattern of tiles has \( {s} \) tiles in Pattern 1, \( {second} \) in Pattern 2 and \( {third} \) in "
        r"Pattern 3. How many tiles are in Pattern \( {n} \) ?",
        _pattern,
        Way(
            lambda s, d, second, third, n: s + (n - 1) * d,
            (
                "it goes up by {d} each time so {s} + {m} x {d}",
                "add {d} until you get to pattern {n}",
                "the rule is {d}n plus {c}",
                "{m} more steps of {d} from {s}",
            ),
            lambda s, d, second, third, n: {"m": n - 1, "c": s - d},
        ),
        {
            "Multiplies_first": Way(
                lambda s, d, second, third, n: s * n,
                (
                    "{s} tiles in the first so {s} x {n}",
                    "pattern {n} is {n} times pattern 1",
                    "{n} lots of {s} is {answer}",
                ),
            ),
            "Next_term": Way(
                lambda s, d, second, third, n: third + d,
                (
                    "it goes up by {d} so {third} + {d}",
                    "the next one after {third} is {answer}",
                    "just add {d} more to the last pattern, {third} + {d}",
                ),
            ),
            "Step_times_place": Way(
                lambda s, d, second, third, n: d * n,
                ("it goes up in {d}s so {d} x {n}", "the rule is {d}n", "{n} times the {d} that it goes up by"),
            ),
        },
        (
            "it gets bigger every time",
            "pattern 2 has {second} tiles",
            "the tiles make a shape",
            "i looked at the picture",
        ),
    ),
    Item(
        r"It takes \( {p} \) painters \( {h} \) hours to paint a hall. How long would \( {q} \) painters take?",
        _work,
        Way(
            lambda p, k, q, h: h // k,
            (
                "{k} times as many painters take a {k}th of the time",
                "{p} x {h} is {x} hours of work, {x} / {q}",
                "more people means less time so divide {h} by {k}",
                "{q} / {p} = {k} and {h} / {k} = {answer}",
            ),
            lambda p, k, q, h: {"x": p * h},
        ),
        {
            "Scales_up": Way(
                lambda p, k, q, h: h * k,
                (
                    "{k} times as many painters so {h} x {k}",
                    "{p} goes into {q} {k} times so you times {h} by {k}",
                    "{p} to {q} is times {k}, do the same to the hours",
                ),
            ),
            "Divides_by_all": Way(
                lambda p, k, q, h: h // p,
                (
                    "{h} hours shared by {p} is {answer} each",
                    "{h} / {p} = {answer}",
                    "each painter does {answer} hours",
                ),
            ),
        },
        ("painting takes a long time", "{q} is more than {p}", "there are {h} hours", "it depends how fast they work"),
    ),
    Item(
        r"A coat costs £\( {n} \). The price goes up by \( {p} \% \). What is the new price in pounds?",
        lambda r: {"n": 20 * r.randint(4, 12), "p": r.choice((5, 15, 25, 35))},
        Way(
            lambda n, p: n + n * p // 100,
            (
                "{p}% of {n} is {x} and {n} + {x} is {answer}",
                "1% is {n} / 100, times {p} is {x}, add it on",
                "{n} times 1.{p:02d}",
                "work out {x} and add it to {n}",
            ),
            lambda n, p: {"x": n * p // 100},
        ),
        {
            "Percent_as_pounds": Way(
                lambda n, p: n + p,
                ("{n} + {p} = {answer}", "it goes up by {p} so add {p}", "you add the {p} to {n}"),
            ),
            "Part_only": Way(
                lambda n, p: n * p // 100,
                (
                    "{p}% of {n} is {answer}",
                    "{n} / 100 x {p} = {answer}",
                    "find 1% and times it by {p} to get {answer}",
                ),
            ),
            "Takes_off": Way(
                lambda n, p: n - n * p // 100,
                ("{p}% of {n} is {x} and {n} - {x} is {answer}", "work out {x} and take it off", "{n} minus {x}"),
                lambda n, p: {"x": n * p // 100},
            ),
        },
        ("coats are expensive", "the price changes", "percent means out of 100", "{p} is the percentage"),
    ),
    Item(
        r"A rectangle is \( {long} \) cm long and \( {w} \) cm wide. What is its perimeter in centimetres?",
        lambda r: dict(zip(("w", "long"), sorted(r.sample(range(3, 14), 2)), strict=True)),
        Way(
            lambda w, long: 2 * (w + long),
            (
                "{long} + {w} + {long} + {w} = {answer}",
                "you add all four sides",
                "{long} and {w} is {x} and double it",
                "2 x {long} plus 2 x {w}",
            ),
            lambda w, long: {"x": w + long},
        ),
        {
            "Area": Way(
                lambda w, long: w * long,
                ("{long} x {w} = {answer}", "length times width is {answer}", "you multiply {long} by {w}"),
            ),
            "Two_sides": Way(
                lambda w, long: w + long,
                ("{long} + {w} = {answer}", "you add the length and the width", "{long} plus {w} makes {answer}"),
            ),
        },
        ("a rectangle has four sides", "{long} is longer than {w}", "it is measured in cm", "opposite sides are equal"),
    ),
    Item(
        r"\( {t} \) sweets are shared in the ratio \( {a} : {b} \). How many are in the smaller share?",
        lambda r: {"a": (a := r.randint(1, 4)), "b": (b := a + r.choice((1, 3))), "t": (a + b) * a * b * 2},
        Way(
            lambda a, b, t: t * a // (a + b),
            (
                "{a} + {b} is {x} parts, {t} / {x} is {one} and times {a}",
                "one part is {one} so {a} parts are {answer}",
                "{t} divided by {x} is {one}",
            ),
            lambda a, b, t: {"x": a + b, "one": t // (a + b)},
        ),
        {
            "Divides_by_number": Way(
                lambda a, b, t: t // b,
                ("{t} divided by {b} is {answer}", "{t} / {b} = {answer}", "share the {t} into {b} and get {answer}"),
            ),
            "Larger_share": Way(
                lambda a, b, t: t * b // (a + b),
                (
                    "one part is {one} so {b} parts are {answer}",
                    "{t} / {x} is {one} and times {b}",
                    "{b} lots of {one}",
                ),
                lambda a, b, t: {"x": a + b, "one": t // (a + b)},
            ),
        },
        ("sharing should be fair", "{b} is more than {a}", "there are {t} sweets", "a ratio has two dots"),
    ),
    Item(
        r"Two angles lie on a straight line. One is \( {a}^{{\circ}} \). What is the other, in degrees?",
        lambda r: {"a": r.choice([angle for angle in range(35, 86) if angle % 10])},
        Way(
            lambda a: 180 - a,
            (
                "a straight line is 180 and 180 - {a} is {answer}",
                "angles on a line add up to 180",
                "{a} + {answer} = 180",
            ),
        ),
        {
            "Full_turn": Way(
                lambda a: 360 - a,
                ("360 - {a} = {answer}", "angles add up to 360 so take {a} away", "{a} + {answer} = 360"),
            ),
            "Right_angle": Way(
                lambda a: 90 - a,
                ("90 - {a} = {answer}", "they make 90 together so {answer}", "{a} + {answer} = 90"),
            ),
            "Equal_angles": Way(
                lambda a: a,
                (
                    "both angles are the same",
                    "the other one is {a} too because they are equal",
                    "angles on a line are equal",
                ),
            ),
        },
        ("it is a straight line", "{a} is an acute angle", "i measured it", "angles are in degrees"),
    ),
)
