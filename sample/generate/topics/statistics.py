"""Statistics: averages from lists and tables, pie charts, two-way tables, probability."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from random import Random
from statistics import median_low

from sample.generate.topic import Answer, Topic, fraction

MODE = "Confuses the average that is wanted with the mode"
VALUES_ONLY = "Works with the different values alone and takes no account of how often each one occurs"
FREQUENCIES_ONLY = "Treats the frequencies as though they were the data"
PART_TO_PART = "Compares one part with the other part instead of with the whole"
EQUAL_SHARES = "Assumes every category has an equal share, however large or small it really is"
ONE_OVER = "Believes that picking a single item always makes the numerator of the probability one"

NAMES = ("Aisha", "Ben", "Chloe", "Dev", "Ewan", "Freya", "Grace", "Hamza", "Imogen", "Jonah", "Kofi", "Lena")
TABLES = (
    ("goals a hockey team scored in each of its matches", "Goals", "goals per match"),
    ("letters delivered to each house in a street", "Letters", "letters per house"),
    ("late buses on each day of a survey", "Late buses", "late buses per day"),
    ("books borrowed by each member of a library club", "Books", "books per member"),
    ("spelling mistakes on each page of a report", "Mistakes", "mistakes per page"),
    ("eggs found in each nest in a wood", "Eggs", "eggs per nest"),
)
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "orange", "purple")
THINGS = ("counters", "marbles", "beads", "buttons", "balls", "sweets")
SURVEYS = (
    ("favourite fruit", ("apple", "banana", "grape", "melon", "pear")),
    ("way of travelling to work", ("car", "bus", "train", "bicycle", "walking")),
    ("favourite sport", ("tennis", "football", "swimming", "hockey", "running")),
    ("usual breakfast", ("cereal", "toast", "porridge", "yoghurt", "fruit")),
    ("choice of holiday", ("beach", "city", "mountains", "lakes", "cruise")),
)
GROUPS = (
    ("Year 7 pupils", "Year 8 pupils", "walk to school", "come by bus"),
    ("adults", "children", "chose tea", "chose juice"),
    ("members", "visitors", "used the pool", "used the gym"),
    ("drivers", "cyclists", "wore glasses", "wore no glasses"),
    ("morning customers", "evening customers", "paid by card", "paid in cash"),
    ("French students", "German students", "passed the test", "failed the test"),
)


def exact(n: int, d: int) -> Answer:
    return Decimal(n) / Decimal(d)


def shares(r: Random, total: int, parts: int) -> tuple[int, ...]:
    """Whole numbers of at least 1 that add up to the total."""
    cuts = [0, *sorted(r.sample(range(1, total), parts - 1)), total]
    return tuple(b - a for a, b in pairwise(cuts))


def values(s: int, f: Sequence[int]) -> range:
    return range(s, s + len(f))


def written_out(s: int, f: Sequence[int]) -> list[int]:
    """The data in order, each value as often as the table says."""
    return [x for x, n in zip(values(s, f), f, strict=True) for _ in range(n)]


def commonest(s: int, f: Sequence[int]) -> int:
    return s + f.index(max(f))


def table_words(s: int, f: Sequence[int], about: tuple[str, str, str], **_: object) -> dict[str, str]:
    rows = "".join(rf"{x} & {n} \\ \hline" + "\n" for x, n in zip(values(s, f), f, strict=True))
    head = rf"\hline {about[1]} & Frequency \\ \hline"
    return {
        "thing": about[0], "head": about[1], "per": about[2],
        "xs": ", ".join(map(str, values(s, f))), "fs": ", ".join(map(str, f)),
        "table": "\\begin{tabular}{|c|c|}\n" + head + "\n" + rows + "\\end{tabular}",
    }


def mean_table(r: Random) -> dict[str, object]:
    while True:
        s = r.randint(0, 1)
        f = shares(r, r.choice((20, 25, 40)), 5 - s)
        if sorted(f)[-1] > sorted(f)[-2]:
            return {"s": s, "f": f, "about": r.choice(TABLES), "who": r.choice(NAMES)}


def median_table(r: Random) -> dict[str, object]:
    while True:
        s = r.randint(0, 3)
        f = shares(r, r.choice(range(15, 46, 2)), 5)
        middle = median_low(written_out(s, f))
        if sorted(f)[-1] > sorted(f)[-2] and len({middle, s + 2, commonest(s, f)}) == 3:
            return {"s": s, "f": f, "about": r.choice(TABLES), "who": r.choice(NAMES)}


def middle_pair(r: Random) -> dict[str, object]:
    while True:
        x = r.sample(range(2, 25), 5)
        x.append(r.choice(x))
        r.shuffle(x)
        low, high = sorted(x)[2:4]
        if sum(x) % 6 == 0 and low < high and low + high != x[2] + x[3]:
            return {"x": tuple(x), "who": r.choice(NAMES)}


def unknown_value(r: Random) -> dict[str, object]:
    while True:
        x = tuple(r.sample(range(2, 21), 4))
        m = sum(x) // 4 + r.randint(1, 5)
        if sum(x) < 4 * m and 5 * m - sum(x) not in x:
            return {"x": x, "m": m, "who": r.choice(NAMES)}


def three_colours(r: Random) -> dict[str, object]:
    b, g = r.sample(range(2, 8), 2)
    return {"n": b + g + r.randint(1, 9), "b": b, "g": g, "c": tuple(r.sample(COLOURS, 3)), "things": r.choice(THINGS)}


def two_picks(r: Random) -> dict[str, object]:
    n = r.randint(3, 9)
    return {"n": n, "t": n + r.randint(n, 2 * n + 4), "c": tuple(r.sample(COLOURS, 2)), "things": r.choice(THINGS)}


def survey(r: Random) -> dict[str, object]:
    about, categories = r.choice(SURVEYS)
    k = r.randint(3, 5)
    n = r.choice((20, 24, 30, 36, 40, 45, 60, 72, 90, 120))
    return {"f": shares(r, n, k), "names": tuple(r.sample(categories, k)), "about": about, "who": r.choice(NAMES)}


def two_way(r: Random) -> dict[str, object]:
    a, d = r.sample(range(3, 20), 2)
    b = a + r.randint(1, 12)
    c = r.choice([c for c in range(3, 26) if b * c != a * d])
    return {"a": a, "b": b, "c": c, "d": d, "about": r.choice(GROUPS)}


TOPICS = [
    Topic(
        construct="Calculate the mean from a frequency table",
        subject="Averages from Frequency Tables",
        draw=mean_table,
        phrasings=(
            "The table shows the number of $thing.\n$table\nWhat is the mean?",
            "![A frequency table with two columns. The column headed $head reads $xs and the column headed Frequency "
            "reads $fs]()\nThe table is about the number of $thing. Work out the mean number of $per.",
            "$who has recorded the number of $thing and put the results in this table.\n$table\n"
            "Which of these is the mean number of $per?",
            "Some data take the values $xs. In the same order, their frequencies are $fs. Calculate the mean of the "
            "data.",
            "“I counted the number of $thing,” says $who. “The results $xs came up $fs times, in that order.” "
            "What is the mean number of $per?",
        ),
        words=table_words,
        correct=(lambda s, f, **_: exact(sum(written_out(s, f)), sum(f)), Decimal("1.7")),
        rules={
            MODE: (lambda s, f, **_: commonest(s, f), 1),
            VALUES_ONLY: (lambda s, f, **_: exact(sum(values(s, f)), len(f)), 2),
            FREQUENCIES_ONLY: (lambda s, f, **_: exact(sum(f), len(f)), 4),
            "Divides by how many rows there are instead of by how many items of data":
                (lambda s, f, **_: exact(sum(written_out(s, f)), len(f)), Decimal("6.8")),
            "Finds the grand total of the data but never divides it":
                (lambda s, f, **_: sum(written_out(s, f)), 34),
            "Divides the total by the sum of the listed values, not by the sum of the frequencies":
                (lambda s, f, **_: exact(sum(written_out(s, f)), sum(values(s, f))), Decimal("3.4")),
        },
        example={"s": 0, "f": (4, 6, 5, 2, 3), "about": TABLES[0], "who": "Dev"},
    ),
    Topic(
        construct="Find the median from a frequency table",
        subject="Averages from Frequency Tables",
        draw=median_table,
        phrasings=(
            "The table shows the number of $thing.\n$table\nWhat is the median?",
            "![A table of two rows. The top row is headed $head and reads $xs. The row below is headed Frequency and "
            "reads $fs]()\nFind the median number of $per.",
            "$who has recorded the number of $thing.\n$table\nWhich of these is the median number of $per?",
            "A set of data is made up of the numbers $xs, which occur $fs times respectively. What is the median?",
            "$who kept a tally of the number of $thing. The tally shows $xs with frequencies $fs in that order, and "
            "$who would like to know the median. What is it?",
        ),
        words=table_words,
        correct=(lambda s, f, **_: median_low(written_out(s, f)), 2),
        rules={
            MODE: (lambda s, f, **_: commonest(s, f), 1),
            VALUES_ONLY: (lambda s, f, **_: s + 2, 3),
            FREQUENCIES_ONLY: (lambda f, **_: median_low(f), 5),
            "Gives the position of the middle item in the ordered data instead of the item itself":
                (lambda f, **_: (sum(f) + 1) // 2, 13),
            "Finds the correct row but answers with the frequency written there":
                (lambda s, f, **_: f[median_low(written_out(s, f)) - s], 7),
        },
        example={"s": 1, "f": (8, 7, 3, 2, 5), "about": TABLES[0], "who": "Dev"},
    ),
    Topic(
        construct="Find the median of a list that has an even number of values",
        subject="Averages and Range from Lists",
        draw=middle_pair,
        phrasings=(
            r"What is the median of \( $list \)?",
            "\\[\n$list\n\\]\nHere are six numbers. Find their median.",
            r"In six rounds of a game $who scores \( $list \) points, in that order. What is the median score?",
            r"$who measures the heights of six seedlings. In centimetres they are \( $list \). "
            r"Which of these is the median height in centimetres?",
            r"The waiting times of six patients, in minutes and in order of arrival, were \( $list \). "
            r"The doctor says, “I shall report the median.” Which number of minutes should be reported?",
        ),
        words=lambda x, **_: {"list": ", ".join(map(str, x))},
        correct=(lambda x, **_: exact(sum(sorted(x)[2:4]), 2), Decimal("7.5")),
        rules={
            MODE: (lambda x, **_: max(x, key=x.count), 4),
            "Takes the middle of the data as listed without first putting them in order":
                (lambda x, **_: exact(x[2] + x[3], 2), Decimal("10.5")),
            "When two numbers share the middle place, keeps only the smaller one": (lambda x, **_: sorted(x)[2], 6),
            "Shares out the total equally, mistaking one kind of average for another": (lambda x, **_: sum(x) // 6, 8),
            "Gives a measure of spread, largest minus smallest, where an average is wanted":
                (lambda x, **_: max(x) - min(x), 11),
            "Goes halfway between the two extreme values": (lambda x, **_: exact(max(x) + min(x), 2), Decimal("9.5")),
        },
        example={"x": (9, 4, 15, 6, 4, 10), "who": "Dev"},
    ),
    Topic(
        construct="Find a missing value when the mean of all the values is given",
        subject="Averages and Range from Lists",
        draw=unknown_value,
        phrasings=(
            r"The mean of \( $list \) and \( x \) is \( $m \). What is the value of \( x \)?",
            "![Five cards in a row. The first four cards show the numbers $list and the last card is face down]()\n"
            r"The mean of the numbers on all five cards is \( $m \). What number is on the last card?",
            r"$who plays five games of darts and has a mean score of \( $m \) points. In the first four games the "
            r"scores were \( $list \). How many points did $who score in the fifth game?",
            r"Five parcels have a mean mass of \( $m \mathrm{~kg} \). Four of them weigh \( $list \) kilograms. "
            r"Which of these is the mass of the other parcel, in kilograms?",
            r"$who writes down five numbers and says, “Four of mine are \( $list \), and the mean of all five is \( "
            r"$m \).” Find the remaining number.",
        ),
        words=lambda x, **_: {"list": ", ".join(map(str, x))},
        correct=(lambda x, m, **_: 5 * m - sum(x), 13),
        rules={
            "Believes an unknown item of data must be equal to the average": (lambda m, **_: m, 7),
            "Works backwards to the total and stops without taking off what is already known":
                (lambda m, **_: 5 * m, 35),
            "Does not count the unknown item when multiplying the mean back up to a total":
                (lambda x, m, **_: 4 * m - sum(x), 6),
            "Finds the average of only those items that are shown": (lambda x, **_: exact(sum(x), 4), Decimal("5.5")),
            "Confuses the mean with the total, and finds the difference between it and the sum of the known items":
                (lambda x, m, **_: sum(x) - m, 15),
            "Includes the given average among the data and averages everything again":
                (lambda x, m, **_: exact(sum(x) + m, 5), Decimal("5.8")),
        },
        example={"x": (3, 8, 6, 5), "m": 7, "who": "Dev"},
    ),
    Topic(
        construct="Find the probability that an event does not happen",
        subject="Probability",
        draw=three_colours,
        phrasings=(
            r"A bag contains \( $n \) $c1, \( $b \) $c2 and \( $g \) $c3 $things. One is taken out at random. "
            r"What is the probability that it is not $c1?",
            "![A jar with $n $c1, $b $c2 and $g $c3 $things in it]()\nOne of the $things is chosen at random. "
            "What is the probability of getting one that is not $c1?",
            r"A shopkeeper mixes \( $b \) $c2 $things, \( $g \) $c3 $things and \( $n \) $c1 $things in a box. A "
            r"customer who likes every colour except $c1 takes one without looking. What is the probability that it "
            r"is a colour the customer likes?",
            r"There are $things in three colours on a tray: \( $n \) are $c1, \( $b \) are $c2 and \( $g \) are $c3. "
            r"One falls off, and each is equally likely to be the one. Which of these is the probability that the one "
            r"that falls is not $c1?",
        ),
        words=lambda c, **_: {"c1": c[0], "c2": c[1], "c3": c[2]},
        correct=(lambda n, b, g, **_: fraction(b + g, n + b + g), r"\( \frac{5}{13} \)"),
        rules={
            PART_TO_PART: (lambda n, b, g, **_: fraction(b + g, n), r"\( \frac{5}{8} \)"),
            EQUAL_SHARES: (lambda n, b, g, **_: fraction(2, 3) if 3 * (b + g) != 2 * n else None, r"\( \frac{2}{3} \)"),
            ONE_OVER: (lambda n, b, g, **_: fraction(1, n + b + g), r"\( \frac{1}{13} \)"),
            "Gives the probability of an event when its complement is asked for":
                (lambda n, b, g, **_: fraction(n, n + b + g), r"\( \frac{8}{13} \)"),
            "Counts only the first kind of favourable outcome and misses the other kind":
                (lambda n, b, g, **_: fraction(b, n + b + g), r"\( \frac{3}{13} \)"),
        },
        slips=lambda n, b, g, **_: [fraction(b + g, n + b + g + 1), fraction(b + g - 1, n + b + g)],
        example={"n": 8, "b": 3, "g": 2, "c": ("red", "blue", "green"), "things": "beads"},
    ),
    Topic(
        construct="Find the probability of two dependent events when picking without replacement",
        subject="Probability",
        draw=two_picks,
        phrasings=(
            r"There are \( $t \) $things in a bag and \( $n \) of them are $c1. Two are taken out at random without "
            r"replacement. What is the probability that both are $c1?",
            "![A box of $t $things, of which $n are $c1 and the rest are $c2]()\nOne is taken at random and kept. "
            "Then a second one is taken at random. Find the probability of getting two $c1 ones.",
            r"A child reaches into a jar that holds \( $n \) $c1 $things and \( $m \) $c2 $things, takes one without "
            r"looking, puts it in a pocket and takes another. "
            r"Which of these is the probability that the child now has two $c1 ones?",
            r"\( $n \) of the \( $t \) $things on a table are $c1. A magician in a blindfold removes two of them, one "
            r"after the other, and every choice is equally likely. How likely is it that both of the removed $things "
            r"are $c1?",
        ),
        words=lambda n, t, c, **_: {"m": t - n, "c1": c[0], "c2": c[1]},
        correct=(lambda n, t, **_: fraction(n * (n - 1), t * (t - 1)), r"\( \frac{12}{90} \)"),
        rules={
            "Leaves the probability unchanged for the second pick, as if the first item had been returned":
                (lambda n, t, **_: fraction(n * n, t * t), r"\( \frac{16}{100} \)"),
            "Adds probabilities along the branches of a tree diagram instead of multiplying them":
                (lambda n, t, **_: fraction(n * (t - 1) + (n - 1) * t, t * (t - 1)), r"\( \frac{66}{90} \)"),
            "Reduces the denominator for the second pick but not the numerator":
                (lambda n, t, **_: fraction(n * n, t * (t - 1)), r"\( \frac{16}{90} \)"),
            "Reduces the numerator for the second pick but not the denominator":
                (lambda n, t, **_: fraction(n * (n - 1), t * t), r"\( \frac{12}{100} \)"),
            "Gives the chance of success in the first pick only":
                (lambda n, t, **_: fraction(n, t), r"\( \frac{4}{10} \)"),
            "Combines two fractions by adding the numerators and adding the denominators":
                (lambda n, t, **_: fraction(2 * n - 1, 2 * t - 1), r"\( \frac{7}{19} \)"),
        },
        slips=lambda n, t, **_: [
            fraction(n * (n - 1) + 2, t * (t - 1)), fraction(n * (n - 1), (t - 1) * (t - 2)),
        ],
        example={"n": 4, "t": 10, "c": ("red", "blue"), "things": "beads"},
    ),
    Topic(
        construct="Calculate the angle of a sector in a pie chart",
        subject="Statistical Diagrams and Tables",
        draw=survey,
        phrasings=(
            r"\( $n \) people were asked about their $about, and \( $x \) of them answered $one. The results, in $k "
            r"categories, are to be shown in a pie chart. How many degrees should the sector for $one have?",
            "![A table with the columns Answer and Frequency. $list]()\n$who draws a pie chart of these answers. What "
            "is the size in degrees of the angle for $one?",
            "$who has carried out a survey on people's $about and found: $list. For a pie chart of the results, which "
            "of these is the angle in degrees of the sector labelled $one?",
            "A newspaper prints a pie chart of its readers' $about. The numbers of answers were as follows: $list. "
            "Through how many degrees does the sector for $one turn?",
        ),
        words=lambda f, names, **_: {
            "n": sum(f), "k": ("three", "four", "five")[len(f) - 3], "x": f[0], "one": names[0],
            "list": ", ".join(f"{name} {x}" for name, x in sorted(zip(names, f, strict=True))),
        },
        correct=(lambda f, **_: 360 * f[0] // sum(f), 108),
        rules={
            EQUAL_SHARES: (lambda f, **_: 360 // len(f), 120),
            "Makes the size of a sector a percentage instead of a share of a full turn":
                (lambda f, **_: exact(100 * f[0], sum(f)) if 200 * f[0] % sum(f) == 0 else None, 30),
            "Reads a frequency directly as a number of degrees": (lambda f, **_: f[0], 12),
            "Thinks the angles at the centre of a circle make a half turn":
                (lambda f, **_: exact(180 * f[0], sum(f)), 54),
            "Finds the angle for one person and does not scale it up": (lambda f, **_: 360 // sum(f), 9),
            "Gives the angle taken up by the remaining sectors together":
                (lambda f, **_: 360 - 360 * f[0] // sum(f), 252),
        },
        example={"f": (12, 18, 10), "names": ("apple", "pear", "grape"), "about": "favourite fruit", "who": "Dev"},
    ),
    Topic(
        construct="Find a probability from a two-way table when the group is restricted",
        subject="Statistical Diagrams and Tables",
        draw=two_way,
        phrasings=(
            "$table\nThe two-way table shows the results of a survey. One of the $g is picked at random. "
            "What is the probability that the person picked is one of those who $v?",
            "![A two-way table. Row $g: $a $v, $b $w. Row $h: $c $v, $d $w]()\nA person is chosen at random from the "
            "$g. Find the probability that this person is among those who $v.",
            r"In a survey, \( $a \) of the $g $v and \( $b \) of them $w. Among the $h, \( $c \) $v and \( $d \) $w. "
            r"Someone picks one of the $g at random. What is the probability that this is a person counted under “$v”?",
            "A prize is to be given to one of the $g in this table, drawn by lot.\n$table\n"
            "Which of these is the probability that it goes to someone counted in the column “$v”?",
        ),
        words=lambda a, b, c, d, about: {
            "g": about[0], "h": about[1], "v": about[2], "w": about[3],
            "table": "\\begin{tabular}{|l|c|c|}\n" + rf"\hline & {about[2]} & {about[3]} \\ \hline" + "\n"
            + rf"{about[0]} & {a} & {b} \\ \hline" + "\n" + rf"{about[1]} & {c} & {d} \\ \hline" + "\n\\end{tabular}",
        },
        correct=(lambda a, b, **_: fraction(a, a + b), r"\( \frac{7}{19} \)"),
        rules={
            PART_TO_PART: (lambda a, b, **_: fraction(a, b), r"\( \frac{7}{12} \)"),
            ONE_OVER: (lambda a, b, **_: fraction(1, a + b), r"\( \frac{1}{19} \)"),
            "Divides by the grand total although the selection is made from one group only":
                (lambda a, b, c, d, **_: fraction(a, a + b + c + d), r"\( \frac{7}{33} \)"),
            "Swaps the condition with the event, dividing by all who share the outcome instead of by the group":
                (lambda a, c, **_: fraction(a, a + c), r"\( \frac{7}{16} \)"),
            "Overlooks the restriction to one group and uses everyone surveyed for both parts of the fraction":
                (lambda a, b, c, d, **_: fraction(a + c, a + b + c + d), r"\( \frac{16}{33} \)"),
            "Answers for the group that is not being asked about":
                (lambda c, d, **_: fraction(c, c + d), r"\( \frac{9}{14} \)"),
        },
        slips=lambda a, b, **_: [fraction(a, a + b + 1), fraction(a + 1, a + b)],
        example={"a": 7, "b": 12, "c": 9, "d": 5, "about": GROUPS[0]},
    ),
]
