"""Every rule of the sample's generator does what its misconception says."""

from random import Random

import pytest

from sample.generate.topic import Topic, tex
from sample.generate.topics import all_topics

TOPICS = all_topics()


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.construct)
class TestTopic:
    def test_rules_give_the_answers_worked_by_hand(self, topic: Topic) -> None:
        assert topic.answer(topic.example) == tex(topic.correct[1])
        for name, (rule, expected) in topic.rules.items():
            answer = rule(**topic.example)
            assert answer is not None, f"{name}: says nothing about the example"
            assert tex(answer) == tex(expected), name
            assert tex(answer) != topic.answer(topic.example), f"{name}: the right answer"

    def test_many_draws_give_questions_with_enough_wrong_answers(self, topic: Topic) -> None:
        rng = Random(0)
        assert len(topic.phrasings) >= 4
        rich = 0
        for _ in range(60):
            values = topic.draw(rng)
            texts = [topic.question(i, values) for i in range(len(topic.phrasings))]
            assert len(set(texts)) == len(texts)
            assert all("$" not in text and "{{" not in text for text in texts)
            assert all(text.count(r"\(") == text.count(r"\)") for text in texts)
            rich += len(topic.wrong(values)) >= 3
        assert rich >= 45, f"only {rich} of 60 draws have three telling wrong answers"

    def test_every_rule_speaks_often_enough(self, topic: Topic) -> None:
        rng = Random(1)
        draws = [topic.wrong(topic.draw(rng)) for _ in range(80)]
        for name in topic.rules:
            spoke = sum(name in wrong for wrong in draws)
            assert spoke >= 25, f"{name}: telling in only {spoke} of 80 draws"


def test_constructs_are_distinct() -> None:
    assert len({topic.construct for topic in TOPICS}) == len(TOPICS)
