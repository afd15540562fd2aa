"""Who may go on when not all can: bounds always hold, and everybody's turn comes."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st

from edgeconv.server.rpc.turns import Ticket, Turns

CALLERS = ("a", "b", "c")
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(CALLERS), st.integers(1, 6)),
        st.tuples(st.just("end"), st.integers(0, 30), st.just(0)),
    ),
    max_size=60,
)


@hypothesis.given(most=st.integers(1, 8), share=st.integers(1, 8), acts=ACTS)
def test_bounds_hold_and_nobody_waits_while_there_is_room(
    most: int, share: int, acts: list[tuple[str, str | int, int]]
) -> None:
    turns, tickets, told = Turns(most, share), list[Ticket](), list[int]()
    for act, which, units in acts:
        if act == "ask":
            place = len(told)
            tickets.append(turns.ask(str(which), units, lambda place=place: told.append(place)))
        elif tickets:
            turns.give_up(tickets.pop(int(which) % len(tickets)))
        held = [ticket for ticket in tickets if ticket.granted]
        waiting = [ticket for ticket in tickets if not ticket.granted]
        assert turns.held == sum(ticket.units for ticket in held)
        assert turns.held <= most or len(held) == 1
        for who in CALLERS:
            own = [ticket for ticket in held if ticket.who == who]
            assert turns.held_by(who) == sum(ticket.units for ticket in own)
            assert turns.held_by(who) <= share or len(own) == 1
        assert turns.waiting == len(waiting)
        assert held or not waiting


@hypothesis.given(most=st.integers(1, 4), waiting=st.integers(1, 20))
def test_one_that_asks_for_little_is_next_however_much_another_asks_for(
    most: int, waiting: int
) -> None:
    order: list[str] = []
    turns = Turns(most, most)
    running = [turns.ask("greedy", 1, lambda: None) for _ in range(most)]
    more = [turns.ask("greedy", 1, lambda: order.append("greedy")) for _ in range(waiting)]
    turns.ask("modest", 1, lambda: order.append("modest"))
    assert not any(ticket.granted for ticket in more)
    for ticket in running:
        turns.give_up(ticket)
        running = [each for each in more if each.granted]
    for ticket in running:
        turns.give_up(ticket)
    assert "modest" in order[:2]


def test_much_is_not_held_back_for_ever_by_little() -> None:
    order: list[str] = []
    turns = Turns(4, 4)
    first = turns.ask("a", 1, lambda: None)
    turns.ask("b", 4, lambda: order.append("much"))
    for _ in range(3):
        turns.ask("a", 1, lambda: order.append("little"))
    assert order == []
    turns.give_up(first)
    assert order[0] == "much"


def test_one_that_uses_its_share_up_lets_others_pass() -> None:
    turns = Turns(4, 2)
    own = [turns.ask("a", 1, lambda: None) for _ in range(4)]
    assert [ticket.granted for ticket in own] == [True, True, False, False]
    assert turns.ask("b", 1, lambda: None).granted
    turns.give_up(own[0])
    assert [ticket.granted for ticket in own[2:]] == [True, False]


def test_what_is_larger_than_all_bounds_goes_alone() -> None:
    turns = Turns(4, 2)
    large = turns.ask("a", 9, lambda: None)
    assert large.granted
    assert not turns.ask("b", 1, lambda: None).granted
