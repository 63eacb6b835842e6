"""Who calls whom in the demo, what they say and what happens meanwhile: two dozen calls as data.

Numbers are those that regulators keep for fiction (Ofcom's 020 7946 0xxx, NANP's 555-01xx) or that cannot exist
(+7 000 …), so that nobody's number stands in a catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mediaserver.demo.network import Impairment

Who = Literal["caller", "agent", "second"]
WIDE: Final = ("opus", "PCMA")
HD: Final = ("G722", "PCMA")
NARROW: Final = ("PCMA", "PCMU")


@dataclass(frozen=True, slots=True)
class Say:
    who: Who
    text: str


@dataclass(frozen=True, slots=True)
class Both:
    """They talk at the same time."""

    caller: str
    agent: str


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """The agent holds the caller. told: who comes back hears the notice again, alone, and is waited for."""

    seconds: float
    told: bool = True


@dataclass(frozen=True, slots=True)
class Keys:
    who: Who
    keys: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """The agent sends the caller on to the second agent."""


Step = Say | Both | Wait | Hold | Keys | Transfer


@dataclass(frozen=True, slots=True)
class Person:
    """voice: of espeak-ng."""

    voice: str
    language: Literal["en", "ru"]
    codecs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Queue:
    """A routing rule: `name` is what the catalogue calls it."""

    name: str
    number: str
    users: tuple[str, ...]
    consent: str
    language: Literal["en", "ru"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One call. key: pressed after the notice until it goes on. hangs_up_s: the caller gives up so long after the
    answer. network: the caller's. ends: who hangs up.
    """

    caller: str
    name: str
    person: Person
    queue: str
    agent: str = ""
    second: str = ""
    steps: tuple[Step, ...] = ()
    key: str = ""
    hangs_up_s: float = 0.0
    network: Impairment | None = None
    ends: Literal["caller", "agent"] = "caller"


AGENTS: Final = {
    "demo-anna": Person("ru+f3", "ru", WIDE),
    "demo-boris": Person("ru+m3", "ru", NARROW),
    "demo-vera": Person("ru+f2", "ru", HD),
    "demo-gleb": Person("ru", "ru", WIDE),
    "demo-carol": Person("en-us+f3", "en", WIDE),
    "demo-david": Person("en-gb", "en", HD),
    "demo-emma": Person("en-gb+f2", "en", NARROW),
    "demo-frank": Person("en-us", "en", WIDE),
    "demo-sofia": Person("ru+f4", "ru", HD),  # takes what others transfer
    "demo-henry": Person("en-gb+m3", "en", WIDE),  # he too
}
VOICEMAIL: Final = "demo-voicemail"
QUEUES: Final = (
    Queue("demo-support-ru", "8001", ("demo-anna", "demo-boris", "demo-vera", "demo-gleb"), "russia", "ru"),
    Queue("demo-sales", "8002", ("demo-carol", "demo-david"), "uk", "en"),
    Queue("demo-claims-eu", "8003", ("demo-emma", "demo-frank"), "eu", "en"),
    Queue("demo-cards-us", "8004", ("demo-david", "demo-frank"), "us-all-party", "en"),
    Queue("demo-second-level", "8005", ("demo-sofia", "demo-henry"), "russia", "ru"),
)
VOICEMAIL_NUMBER: Final = "8006"

_RU_M, _RU_F = Person("ru+m4", "ru", NARROW), Person("ru+f5", "ru", WIDE)
_UK_M, _UK_F = Person("en-gb+m4", "en", NARROW), Person("en-gb+f4", "en", HD)
_US_M, _US_F = Person("en-us+m2", "en", NARROW), Person("en-us+f1", "en", WIDE)
_MOBILE = Impairment(loss=0.03, burst=3.0, jitter_ms=12.0)
_TRAIN = Impairment(loss=0.12, burst=6.0, jitter_ms=25.0)

_DELIVERY_RU: tuple[Step, ...] = (
    Say("agent", "Служба поддержки, Анна. Чем я могу помочь?"),
    Say("caller", "Здравствуйте. Я жду посылку уже вторую неделю. Номер заказа сорок два семнадцать."),
    Say("agent", "Сейчас посмотрю. Да, вижу: посылка в Твери, привезут завтра утром."),
    Say("caller", "Спасибо, это всё, что я хотел узнать."),
)
_INTERNET_RU: tuple[Step, ...] = (
    Say("agent", "Добрый день, техническая поддержка."),
    Say("caller", "У меня со вчерашнего вечера не работает интернет."),
    Both("Я уже три раза перезагружал этот роутер", "Попробуйте, пожалуйста, выключить роутер"),
    Say("agent", "Понимаю. Проверяю линию, подождите, пожалуйста."),
    Wait(2.5),
    Say("agent", "Мастер придёт сегодня до шести вечера."),
    Say("caller", "Хорошо, буду ждать."),
)
_HOLD_RU: tuple[Step, ...] = (
    Say("agent", "Слушаю вас."),
    Say("caller", "Скажите, когда закончится мой договор?"),
    Say("agent", "Одну минуту, я уточню."),
    Hold(4.0),
    Say("agent", "Спасибо за ожидание. Договор действует до конца года."),
    Say("caller", "Отлично, спасибо."),
)
_TRANSFER_RU: tuple[Step, ...] = (
    Say("agent", "Служба поддержки, добрый день."),
    Say("caller", "Мне выставили два счёта за один месяц."),
    Say("agent", "Это решает бухгалтерия. Соединяю вас с Софьей."),
    Transfer(),
    Say("second", "Софья, бухгалтерия. Второй счёт ошибочный, мы его отменим."),
    Say("caller", "Замечательно, до свидания."),
)
_SALES: tuple[Step, ...] = (
    Say("agent", "Good morning, sales department. How can I help you?"),
    Say("caller", "I would like to order twenty headsets for our office in Leeds."),
    Say("agent", "With pleasure. They are in stock and leave tomorrow."),
    Say("caller", "Lovely. Please send the invoice by mail."),
)
_SALES_ARGUED: tuple[Step, ...] = (
    Say("agent", "Sales department, hello."),
    Say("caller", "You promised me a discount last week, and the invoice shows none."),
    Both("Your colleague said ten percent, I remember it well", "I am very sorry, let me have a look at it"),
    Wait(2.0),
    Say("agent", "You are right. I have corrected the invoice."),
    Say("caller", "Thank you. That is all."),
)
_HOLD_EN: tuple[Step, ...] = (
    Say("agent", "Hello, how may I help?"),
    Say("caller", "Can you tell me whether my contract covers repairs?"),
    Say("agent", "Let me ask a colleague. One moment."),
    Hold(4.0),
    Say("agent", "Thank you for holding. Yes, repairs are covered for three years."),
    Say("caller", "Great, thank you very much."),
)
_TRANSFER_EN: tuple[Step, ...] = (
    Say("agent", "Sales department, good afternoon."),
    Say("caller", "My new phone does not ring at all."),
    Say("agent", "I will put you through to Henry, who knows these phones."),
    Transfer(),
    Say("second", "Henry speaking. Press and hold the volume key, please."),
    Say("caller", "It rings! You are a wizard."),
)
_CLAIM: tuple[Step, ...] = (
    Say("agent", "Claims, good afternoon. What happened?"),
    Say("caller", "A pipe broke in the kitchen and the floor is under water."),
    Say("agent", "I am sorry to hear that. A plumber will be there within two hours."),
    Say("caller", "That is quick. Thank you."),
)
_CLAIM_WITHDRAWN: tuple[Step, ...] = (
    Say("agent", "Claims, hello."),
    Say("caller", "My bicycle was stolen from the cellar last night."),
    Say("agent", "Did you report it to the police?"),
    Say("caller", "I would rather not have this recorded after all."),
    Keys("caller", "*9"),
    Say("agent", "Of course. What you have said is erased, and we go on without."),
    Say("caller", "Thank you. Yes, I did."),
)
_CARD: tuple[Step, ...] = (
    Wait(6.0),  # under this policy agents hear the notice too: nobody is connected before
    Say("agent", "Payments, this is Frank. I stop the recording for your card number."),
    Keys("agent", "*1"),
    Say("caller", "Four thousand, zero, zero, zero, two."),
    Say("agent", "Thank you, that went through."),
    Keys("agent", "*2"),
    Say("agent", "The recording is on again. Anything else?"),
    Say("caller", "No, that is all. Bye."),
)

CALLS: Final = (
    Planned("+70000000101", "Игорь Петров", _RU_M, "8001", "demo-anna", steps=_DELIVERY_RU),
    Planned("+442079460101", "Kate Moss-Field", _UK_F, "8002", "demo-carol", steps=_SALES),
    Planned("+12025550101", "Bill Carter", _US_M, "8004", "demo-frank", steps=_CARD),
    Planned("+70000000102", "Ольга Смирнова", _RU_F, "8001", "demo-boris", steps=_INTERNET_RU, network=_MOBILE),
    Planned("+442079460102", "Tom Baker", _UK_M, "8002", "demo-david", steps=_SALES_ARGUED, ends="agent"),
    Planned("+442079460103", "Jane Doe", _UK_F, "8003", "demo-emma", steps=_CLAIM, key="1"),
    Planned("+70000000103", "Павел Жуков", _RU_M, "8001", "demo-vera", steps=_HOLD_RU),
    Planned("+70000000104", "Мария Котова", _RU_F, "8001", "demo-gleb", "demo-sofia", steps=_TRANSFER_RU),
    Planned("+442079460104", "Anon", _UK_M, "8002", hangs_up_s=3.0),
    Planned("+70000000105", "Сергей", _RU_M, "8001", hangs_up_s=2.0),
    Planned("+442079460105", "Rose Tyler", _UK_F, "8003", "demo-emma", steps=_CLAIM, key="2"),
    Planned("+442079460106", "Ian Hill", _UK_M, "8002", "demo-carol", steps=_HOLD_EN, network=_MOBILE),
    Planned("+12025550102", "Ann Lee", _US_F, "8004", "demo-frank", steps=_CARD, ends="agent"),
    Planned("+70000000106", "Дмитрий", _RU_M, "8001", "demo-anna", steps=_INTERNET_RU, network=_TRAIN),
    Planned("+442079460107", "Ned Stone", _UK_M, "8002", "demo-david", "demo-henry", steps=_TRANSFER_EN),
    Planned("+70000000107", "Елена Орлова", _RU_F, "8001", "demo-boris", steps=_HOLD_RU, ends="agent"),
    Planned("+442079460108", "Zoe Hart", _UK_F, "8003", "demo-emma", steps=_CLAIM_WITHDRAWN, key="1"),
    Planned("+70000000108", "Виктор", _RU_M, "8001", "demo-vera", steps=_DELIVERY_RU, ends="agent"),
    Planned("+442079460109", "Max Power", _UK_M, "8006", steps=(Say("caller", "This is Max. Please call me back."),)),
    Planned("+70000000109", "Лидия", _RU_F, "8001", "demo-gleb", "demo-sofia", steps=_TRANSFER_RU, network=_MOBILE),
    Planned("+12025550103", "Joe Bloggs", _US_M, "8003", "demo-frank", steps=_CLAIM, key="2", network=_TRAIN),
    Planned("+442079460110", "Liz Frost", _UK_F, "8002", "demo-carol", steps=_SALES_ARGUED, network=_TRAIN),
    Planned("+442079460111", "Hugh Grand", _UK_M, "8002", "demo-david", steps=_SALES),
    Planned("+70000000110", "Аноним", _RU_F, "8001", hangs_up_s=9.0),
)
