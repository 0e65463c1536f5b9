"""The order in which requests are let in, whatever arrives, leaves and is let in meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from sortie.engine.admission import Line

ARRIVE, LEAVE, ADMIT = "arrive", "leave", "admit"
# ("arrive", exit), ("leave", which of those waiting), ("admit", -)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just(ARRIVE), st.sampled_from((3, 6, 9, 12))),
        st.tuples(st.just(ADMIT), st.just(0)),
        st.tuples(st.just(LEAVE), st.integers(0, 40)),
    ),
    max_size=200,
)


@dataclass(eq=False)
class Asked:
    number: int
    exit_layer: int
    overtaken: int = 0


@dataclass
class Desk:
    """A line and, by the definition, who has been overtaken how often."""

    most: int
    waiting: list[Asked] = field(default_factory=list)
    admitted: list[Asked] = field(default_factory=list)
    arrived: int = 0

    def __post_init__(self) -> None:
        self.line: Line[Asked] = Line(self.most)

    def happen(self, what: str, detail: int) -> None:
        if what == ARRIVE:
            asked = Asked(self.arrived, detail)
            self.arrived += 1
            self.waiting.append(asked)
            self.line.join(asked, detail)
        elif not self.waiting:
            assert self.line.next() is None
        elif what == LEAVE:
            self.line.leave(self.waiting.pop(detail % len(self.waiting)))
        else:
            self.admit()
        assert list(self.line) == self.waiting
        assert len(self.line) == len(self.waiting)

    def admit(self) -> None:
        chosen = self.line.next()
        self.line.admit()
        self.waiting.remove(chosen)
        self.admitted.append(chosen)
        for other in self.waiting:
            if other.number < chosen.number:
                other.overtaken += 1


def after(events: list[tuple[str, int]], most: int) -> Desk:
    desk = Desk(most)
    for what, detail in events:
        desk.happen(what, detail)
        for asked in desk.waiting:
            assert asked.overtaken <= most
    return desk


@given(EVENTS, st.integers(0, 8))
def test_nobody_is_overtaken_more_often_than_the_bound_and_nobody_by_its_own_exit(events, most) -> None:
    desk = after(events, most)
    while desk.waiting:  # everybody's turn comes
        desk.admit()
    assert all(asked.overtaken <= most for asked in desk.admitted)
    for exit_layer in (3, 6, 9, 12):
        numbers = [asked.number for asked in desk.admitted if asked.exit_layer == exit_layer]
        assert numbers == sorted(numbers)


@given(EVENTS, st.integers(1, 8))
def test_a_request_waits_for_no_more_than_those_before_it_and_the_bound(events, most) -> None:
    """However many shallow ones keep coming."""
    desk = after(events, most)
    desk.happen(ARRIVE, 12)
    asked, before = desk.waiting[-1], len(desk.waiting) - 1
    admitted = 0
    while asked in desk.waiting:
        desk.happen(ARRIVE, 3)
        desk.admit()
        admitted += 1
    assert admitted <= before + most + 1


@given(EVENTS, st.integers(0, 8))
def test_one_exit_alone_is_first_come_first_served(events, most) -> None:
    desk = after([(what, 6 if what == ARRIVE else detail) for what, detail in events], most)
    assert all(asked.overtaken == 0 for asked in (*desk.admitted, *desk.waiting))


@given(EVENTS)
def test_a_bound_of_none_is_first_come_first_served(events) -> None:
    numbers = [asked.number for asked in after(events, 0).admitted]
    assert numbers == sorted(numbers)


def test_requests_of_one_exit_are_let_in_together() -> None:
    desk = after([(ARRIVE, exit_layer) for exit_layer in (12, 6) * 4], most=3)
    while desk.waiting:
        desk.admit()
    assert [asked.exit_layer for asked in desk.admitted] == [12, 12, 12, 12, 6, 6, 6, 6]
    desk = after([(ARRIVE, exit_layer) for exit_layer in (12, 6) * 4], most=1)
    while desk.waiting:
        desk.admit()
    assert [asked.number for asked in desk.admitted] == [0, 2, 1, 3, 5, 4, 6, 7]
