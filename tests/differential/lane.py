"""What a stage knows of one of its channels: what it has to settle, what the broker has to confirm, what it said."""

from dataclasses import dataclass

from tests.differential.observing import Json, Names
from tests.differential.peer import Cancelled, Closed, Confirmed, Delivered, News, Returned


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A delivery or get-ok: its tag, the consumer or queue it came from, and the rest at which it was seen."""

    tag: int
    source: str
    rest: int


class Lane:
    """One channel; another one after ``reset``."""

    def __init__(self, connection: int, channel: int) -> None:
        self.connection = connection
        self.channel = channel
        #: messages published are confirmed
        self.confirms = False
        self._published = 0
        self.unconfirmed: set[int] = set()
        #: ordered by rest, source and tag, so that an index means the same at two brokers
        self._unsettled: list[Unsettled] = []
        #: consumer tags
        self._without_ack: set[str] = set()
        self._heard: list[News] = []

    def reset(self) -> None:
        """The channel was closed."""
        self.confirms = False
        self._published = 0
        self.unconfirmed = set()
        self._unsettled = []
        self._without_ack = set()

    # -- what is sent ----------------------------------------------------------------------------------------------

    def publish(self, count: int) -> None:
        if self.confirms:
            self.unconfirmed.update(range(self._published + 1, self._published + count + 1))
            self._published += count

    def settle(self, which: int, multiple: bool) -> int | None:
        """The tag of one of the unsettled, which is settled now, as are all before it with ``multiple``; None: no such.

        Of deliveries from several sources that came in one rest, which tag is whose is open: ``multiple`` takes all.
        """
        if not self._unsettled:
            return None
        chosen = self._unsettled[which % len(self._unsettled)]
        if not multiple:
            self._unsettled.remove(chosen)
            return chosen.tag
        beside = [item for item in self._unsettled if item.rest == chosen.rest]
        is_open = len({item.source for item in beside}) > 1
        tag = max(item.tag for item in beside) if is_open else chosen.tag
        self._unsettled = [item for item in self._unsettled if item.tag > tag]
        return tag

    def add_unsettled(self, items: list[Unsettled]) -> None:
        self._unsettled += sorted(items, key=lambda item: (item.source, item.tag))

    def forget_unsettled(self) -> None:
        """All are settled or requeued."""
        self._unsettled.clear()

    def note_consumer(self, tag: str, no_ack: bool) -> None:
        if no_ack:
            self._without_ack.add(tag)
        else:
            self._without_ack.discard(tag)

    # -- what is heard ---------------------------------------------------------------------------------------------

    def hear(self, news: News) -> None:
        if isinstance(news, Confirmed):
            meant = set(news.tags)
            if news.multiple:
                meant = {number for number in self.unconfirmed if number <= news.tags[0]}
            # What was not published, or is confirmed already, is told too.
            self.unconfirmed -= meant
            news = Confirmed(news.channel, tuple(sorted(meant)), False, news.positive)
        elif isinstance(news, Closed):
            self.reset()
        self._heard.append(news)

    def tell(self, names: Names, rest: int) -> dict[str, Json]:
        """What was heard since it was last told."""
        heard, self._heard = self._heard, []
        ends = [news for news in heard if isinstance(news, Closed) and not news.channel]
        # What is requeued when a connection ends may reach another channel of it, or not any more.
        heard = list[News](ends) or heard
        told: dict[str, list[Json]] = {}
        confirmed: dict[str, list[int]] = {}
        tags: list[int] = []
        for news in heard:
            if isinstance(news, Delivered):
                told.setdefault(f"to {names.plain(news.consumer_tag)}", []).append(
                    [news.redelivered, names.message(news.message)]
                )
                tags.append(news.tag)
            elif isinstance(news, Returned):
                told.setdefault("returned", []).append([news.code, news.text, names.message(news.message)])
            elif isinstance(news, Confirmed):
                confirmed.setdefault("acked" if news.positive else "nacked", []).extend(news.tags)
            elif isinstance(news, Cancelled):
                told.setdefault("cancelled", []).append(names.plain(news.consumer_tag))
            else:
                told.setdefault("closed", []).append(names.closed(news))
        told |= {word: list[Json](sorted(numbers)) for word, numbers in confirmed.items()}
        if "returned" in told and confirmed:
            kinds = [type(news) for news in heard]
            told["returned before it is confirmed"] = [kinds.index(Returned) < kinds.index(Confirmed)]
        if tags:
            told["tags"] = list[Json](sorted(tags))
        self._note_unsettled(heard, rest)
        return dict(told)

    def _note_unsettled(self, heard: list[News], rest: int) -> None:
        last_close = max([index for index, news in enumerate(heard) if isinstance(news, Closed)], default=-1)
        self.add_unsettled(
            [
                Unsettled(news.tag, news.consumer_tag, rest)
                for news in heard[last_close + 1 :]
                if isinstance(news, Delivered) and news.consumer_tag not in self._without_ack
            ]
        )
