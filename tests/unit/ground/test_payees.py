"""Payees: four forms, one canonical spelling each, and a table of spoofs that are all refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpay_policies.errors import PayeeInvalid
from agentpay_policies.payees import SELF, Payee, checksum

ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
"""From EIP-55's own examples."""


@pytest.mark.parametrize(
    ("text", "canonical", "kind", "direction"),
    [
        ("self", "self", "self", "collect"),
        ("stripe:acct_1A2b3C", "stripe:acct_1A2b3C", "stripe", "collect"),
        ("paypal:ABCDEFGH12345", "paypal:ABCDEFGH12345", "paypal_merchant", "collect"),
        ("paypal:ana@example.com", "paypal:ana@example.com", "paypal_email", "send"),
        ("paypal:Ana.B+x@EXAMPLE.com.", "paypal:ana.b+x@example.com", "paypal_email", "send"),
        ("paypal:a@bücher.de", "paypal:a@xn--bcher-kva.de", "paypal_email", "send"),
        ("paypal:a@BÜCHER.de", "paypal:a@xn--bcher-kva.de", "paypal_email", "send"),
        ("paypal:a@xn--bcher-kva.de", "paypal:a@xn--bcher-kva.de", "paypal_email", "send"),
        (f"eip155:1:{ADDRESS}", f"eip155:1:{ADDRESS}", "eip155", "send"),
        (f"eip155:1:{ADDRESS.lower()}", f"eip155:1:{ADDRESS}", "eip155", "send"),
        (f"eip155:137:0x{ADDRESS[2:].upper()}", f"eip155:137:{ADDRESS}", "eip155", "send"),
    ],
)
def test_the_forms(text: str, canonical: str, kind: str, direction: str) -> None:
    payee = Payee.parse(text)
    assert (payee.canonical, payee.kind, payee.direction) == (canonical, kind, direction)
    assert Payee.parse(canonical) == payee
    assert str(payee) == canonical


def test_an_address_knows_its_chain() -> None:
    payee = Payee.parse(f"eip155:137:{ADDRESS}")
    assert (payee.chain, payee.address) == (137, ADDRESS)
    assert (SELF.chain, SELF.address) == (None, None)


@pytest.mark.parametrize(
    "address",
    [
        ADDRESS,
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_checksums_are_those_of_eip_55(address: str) -> None:
    assert checksum(address.lower()) == address


SPOOFS = [
    "",
    " ",
    "Self",
    "SELF",
    " self",
    "self ",
    "self\n",
    "self:",
    "self\u200b",
    "ѕelf",  # Cyrillic
    "sеlf",  # Cyrillic
    "stripe",
    "stripe:",
    "stripe:acct_",
    "stripe:acct",
    "stripe:acct_1 ",
    "stripe:acct_1\n",
    "stripe:acct_1/../acct_2",
    "stripe:acct_1?x=1",
    "stripe:acct_1#x",
    "stripe:acct_1%00",
    "stripe:acct_1\x00",
    "stripe:acct_1:acct_2",
    "stripe:acct-1",
    "stripe:ACCT_1",
    "Stripe:acct_1",
    "stripe :acct_1",
    "stripe: acct_1",
    "stripe:аcct_1",  # Cyrillic
    "stripe:acct_１",  # full width
    "stripe:acct_" + "1" * 65,
    "stripe:cus_1",
    "https://stripe.com/acct_1",
    "//acct_1",
    "paypal:",
    "paypal:ABCDEFGH1234",
    "paypal:abcdefgh12345",
    "paypal:ABCDEFGH123456",
    "paypal:ana@",
    "paypal:@example.com",
    "paypal:ana@localhost",
    "paypal:ana@example.com:443",
    "paypal:ana@example.com/x",
    "paypal:ana@example.com?x",
    "paypal:ana@example..com",
    "paypal:ana@.example.com",
    "paypal:ana@example.com..",
    "paypal:ana@-example.com",
    "paypal:ana@exa mple.com",
    "paypal:ana@exa_mple.com",
    "paypal:ana@127.0.0.1",
    "paypal:ana@[127.0.0.1]",
    "paypal:ana@eve@example.com",
    "paypal:ana <ana@example.com>",
    "paypal:ana@example.com,eve@example.com",
    'paypal:"ana"@example.com',
    "paypal:an\u00e4@example.com",
    "paypal:аna@example.com",  # Cyrillic
    "paypal:ana@exa\u200bmple.com",
    "paypal:ana@example\u3002com\u200d",
    "paypal:ana@xn--.com",
    "paypal:ana@xn--a.com",
    "paypal:.ana@example.com",
    "paypal:ana..b@example.com",
    "paypal:ana\u202e@example.com",
    "paypal:" + "a" * 65 + "@example.com",
    "paypal:a@" + "b" * 64 + ".com",
    "mailto:ana@example.com",
    "eip155:1",
    "eip155:1:",
    "eip155:0:" + ADDRESS,
    "eip155:01:" + ADDRESS,
    "eip155:-1:" + ADDRESS,
    "eip155:0x1:" + ADDRESS,
    "eip155::" + ADDRESS,
    "eip155:" + ADDRESS,
    "eip155:1:" + ADDRESS[2:],
    "eip155:1:" + ADDRESS[:-1],
    "eip155:1:" + ADDRESS + "0",
    "eip155:1:" + ADDRESS[:-1] + "D",  # the checksum of one letter
    "eip155:1:" + ADDRESS[:-1] + "O",
    "eip155:1:0X" + ADDRESS[2:],
    "eip155:1:0x" + "0" * 40,
    "eip155:1:" + ADDRESS + "\n",
    "eip155:1: " + ADDRESS,
    "eip155:1:vitalik.eth",
    "solana:1:" + ADDRESS,
    "ethereum:" + ADDRESS,
    ADDRESS,
    "a" * 321,
    # letters that become ASCII, dots that are none, words in two scripts, and words made of look-alikes
    "paypal:\u212aate@example.com",  # the Kelvin sign
    "paypal:ana@ban\u212a.com",
    "paypal:ana@\u0130stanbul.com",
    "paypal:ana@example\u3002com",
    "paypal:ana@example\uff0ecom",
    "paypal:ana@example\uff61com",
    "paypal:ana@ex\u0430mple.com",  # one Cyrillic letter
    "paypal:ana@xn--exmple-4nf.com",  # the same, as punycode
    "paypal:ana@XN--EXMPLE-4NF.COM",
    "paypal:ana@\u0430\u0440\u0440\u04cf\u0435.com",  # all Cyrillic: reads apple
    "paypal:ana@xn--80ak6aa92e.com",
    "paypal:ana@g\u03bf\u03bfgle.com",  # Greek omicron
    "paypal:ana@\u03c1\u03b1\u03c5.com",  # all Greek: reads pay
    "paypal:ana@payp\u0131.com",  # dotless i
    "paypal:ana@\u0261oogle.com",  # script g
    "paypal:ana@\u0251pple.com",  # Latin alpha
    "paypal:ana@p\u0101ypal.\u0441om",  # a Cyrillic top level
    "paypal:ana@\uff50aypal.com",  # full width
    "paypal:ana@ex\u00adample.com",  # soft hyphen
    "paypal:ana@example.com\u2024evil.com",
    "paypal:ana@example.com\u2044evil.com",  # a slash that is none
    "paypal:ana@\u0969xample.com",  # a digit of another script
    "paypal:ana@xn--example-.com",
    "paypal:ana@xn--a-ecp.ru",
    "paypal:ana@ab--c.com",
    "paypal:ana@\ufb01rm.com",  # a ligature
    "paypal:ana:secret@example.com",
    "paypal:ana@example.com%2eevil.com",
    "paypal:ana@0x7f000001",
    "paypal:ana@2130706433",
    "stripe://acct_1",
    "stripe:acct_1@evil.com",
    "bitcoin:bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    "bip122:000000000019d6689c085ae165831e93:128Lkh3S7CkDTBZ8W7BbpsN3YYizJMp8p6",
    "tron:TJRabPrwbZy45sbavfcjinPJC18kjpRTv8",
    "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv",
    "cosmos:cosmoshub-3:cosmos1t2uflqwqe0fsj0shcfkrvpukewcw40yjj6hdc0",
    "eip155:1:TJRabPrwbZy45sbavfcjinPJC18kjpRTv8",
    "eip155:1:" + ADDRESS.swapcase(),
    "eip155:1:" + ADDRESS[:2] + ADDRESS[2:].swapcase(),
    "eip155:1/" + ADDRESS,
    "eip155:1:" + ADDRESS + "@1",
    "eip155:\u0661:" + ADDRESS,  # an Arabic one
    "eip155:1:" + ADDRESS[:-1] + "\u0501",
]


@pytest.mark.parametrize("text", SPOOFS)
def test_spoofs_are_refused(text: str) -> None:
    with pytest.raises(PayeeInvalid) as caught:
        Payee.parse(text)
    assert caught.value.code == "PAYEE_INVALID"
    assert caught.value.message.isascii()


@pytest.mark.parametrize("value", [None, 5, True, b"self", ["self"], SELF])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(PayeeInvalid):
        Payee.parse(value)


def test_there_are_many_spoofs_and_each_once() -> None:
    assert len(set(SPOOFS)) == len(SPOOFS) >= 120


@pytest.mark.parametrize(
    "domain",
    [
        "bücher.de",
        "fussball-straße.de",
        "łódź.pl",
        "žlutý.cz",
        "việt.vn",
        "münchen.de",
        "日本語.jp",
        "例え.jp",
        "한국.kr",
        "пример.рф",
        "ελλάδα.gr",
        "السعودية.sa",
        "भारत.in",
    ],
)
def test_honest_words_of_one_script_are_domains(domain: str) -> None:
    assert Payee.parse(f"paypal:ana@{domain}").canonical.isascii()


def test_look_alikes_are_other_payees() -> None:
    """What differs in one character is another payee, however near it looks."""
    assert Payee.parse("paypal:ana@examp1e.com") != Payee.parse("paypal:ana@example.com")
    assert Payee.parse("stripe:acct_1a") != Payee.parse("stripe:acct_1A")
    assert Payee.parse("stripe:acct_1") != Payee.parse("stripe:acct_12"), "never by prefix"
    assert Payee.parse(f"eip155:1:{ADDRESS}") != Payee.parse(f"eip155:10:{ADDRESS}")


@given(
    st.text(max_size=40)
    | st.builds("{}:{}".format, st.sampled_from(["paypal", "stripe", "eip155"]), st.text(max_size=30))
)
def test_any_text_is_a_canonical_payee_or_refused(text: str) -> None:
    try:
        payee = Payee.parse(text)
    except PayeeInvalid:
        return
    assert Payee.parse(payee.canonical) == payee
    assert payee.canonical.isascii() and payee.canonical.isprintable()
