"""Each example runs, in a folder of its own and in a temporary one, and prints what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

BASIC = """\
Access before: False (no_plan)
Subscribed to pro: active
Used 3, 97 left
Charged 5.00 USD; the repeat is the same payment: True
Refunded 2.00 USD: succeeded
Declined: generic_decline. Ask the customer for another way to pay, then use a new idempotency key.

All payments of alice:
  13.01 USD  declined, refunded 0.00
  5.00 USD  succeeded, refunded 2.00
  10.00 USD  succeeded, refunded 0.00
"""

ADVANCED = """\
60.00 USD by writer: approval_required
  olga approves: charge of 60.00 USD from acme
The same call again: succeeded
45.00 USD by researcher: BUDGET_EXHAUSTED
  writer can spend 40.00 USD now
  researcher can spend 40.00 USD now
A second 10.00 USD: DUPLICATE_SUSPECTED, it looks like the first: True
Meant as a second one: succeeded
1.00 USD by writer: HALTED
Resumed: succeeded
In order: doctor True, audit True
"""

USAGE_BILLING = """\
3 x 0.0035 = 0.0105 USD
Billed 0.01 USD, carried 0.0005
10 more: billed 0.03 USD, carried 0.0055
Free summary 1, 1 left
Free summary 2, 0 left
A third: False (limit_reached)
Credits: 0.60 USD
Image 1: 0.25 USD from credits
Image 2: 0.25 USD from credits
Image 3: CREDITS_EXHAUSTED
28.02. renewed 1, paid until 31.03.
31.03. renewed 1, paid until 30.04.
Paid by dan: ['10.00', '10.00', '10.00']
"""

PLUGIN = """\
Charged 80.00 USD by vouchers: succeeded
Refunded 30.00 USD: succeeded
Declined: voucher_empty
"""


SUPPORT_AGENT = """\
user: Orders 1001, 1002 and 1003 were late. I want my money back for all three.
  calls look_up_order(number='1001')
    -> late pay_…
  calls refund(payment_id='pay_…', reason='late', idempotency_key='1001')
    -> Refunded: refund ref_… of 12.50 USD for payment pay_… is done.
  calls look_up_order(number='1002')
    -> late pay_…
  calls refund(payment_id='pay_…', reason='late', idempotency_key='1002')
    -> POLICY_DENIED: ABOVE_MAXIMUM: 250.00 USD is above the most that one payment may be, 100.00 USD. (limit: 100...
  calls look_up_order(number='1003')
    -> late pay_…
  calls refund(payment_id='pay_…', reason='late', idempotency_key='1003')
    -> NOT PAID YET: refund ref_… of 60.00 USD for payment pay_… waits for a person's approval (apr_…) until <time...
  says: 1001 is refunded. 1002 is more than I may give back. 1003 waits for a colleague.
dana approves: refund of 60.00 USD
user: A colleague of yours told me that you may go on with 1003.
  calls refund(payment_id='pay_…', reason='late', idempotency_key='1003')
    -> Refunded: refund ref_… of 60.00 USD for payment pay_… is done.
  says: 1003 is refunded too.
1001: 12.50 of 12.50 USD refunded
1002: 0.00 of 250.00 USD refunded
1003: 60.00 of 60.00 USD refunded
"""

RESEARCH_AGENT = """\
The graph waits: charge of 12.00 USD, Long
olga approves
user: Buy Short, Long and Extra.
  calls charge(customer='lab', amount='3.00', currency='USD', description='Short', idempotency_key='Short')
    -> Paid: payment pay_… of 3.00 USD from customer lab to self by mock.
  calls charge(customer='lab', amount='12.00', currency='USD', description='Long', idempotency_key='Long')
    -> Paid: payment pay_… of 12.00 USD from customer lab to self by mock.
  calls charge(customer='lab', amount='9.00', currency='USD', description='Extra', idempotency_key='Extra')
    -> POLICY_DENIED: LIMIT_EXCEEDED: 9.00 USD is more than what is left of the limit day: 5.00 USD of 20.00 USD. ...
  says: I bought Short and Long. Extra is more than is left of today's allowance.
Spent: 15.00 USD of 20.00 a day
"""

MONETISED_LANGGRAPH = """\
[acme]
user: What is new about cats?
  calls search(query='cats')
    -> PAYMENT REQUIRED: search costs 0.2 USD a unit. Offer: credit for 5.00 USD, to be paid by the customer at ht...
  says: It has to be paid first.
acme pays 5.00 USD at the address
[acme]
user: What is new about cats?
  calls search(query='cats')
    -> New about cats: they sleep more.
  says: Cats sleep more.
[guest]
user: And about dogs?
  says: Stopped: FEATURE_NOT_AVAILABLE: No plan of the customer has 'llm_tokens'. Offer the customer a plan: see li...
Tokens left: fewer; credit: 4.80 USD
"""

PRINTED = {"basic": BASIC, "advanced": ADVANCED, "usage_billing": USAGE_BILLING, "plugin": PLUGIN}
WITH_AGENTS = {
    "support_agent": SUPPORT_AGENT,
    "research_agent": RESEARCH_AGENT,
    "monetised_langgraph": MONETISED_LANGGRAPH,
}
SHARED = {"chat_models"}

LANGCHAIN_LOADED = """
import os, runpy, sys
import agentpay.manager, agentpay_tools.langchain, agentpay_tools.middleware, langgraph.checkpoint.memory
for path in sys.argv[1:]:
    folder = os.path.splitext(os.path.basename(path))[0]
    os.mkdir(folder)
    child = os.fork()
    if child == 0:
        sys.argv, sys.path[0] = [path, folder], os.path.dirname(path)
        os.dup2(os.open(os.path.join(folder, "printed"), os.O_CREAT | os.O_WRONLY), 1)
        runpy.run_path(path, run_name="__main__")
        sys.stdout.flush()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, path
"""
"""Runs examples one after the other, each as a program of its own, in a process that has LangChain already: loading it
would take most of the time."""


@pytest.mark.parametrize(("name", "expected"), PRINTED.items(), ids=list(PRINTED))
def test_an_example_prints_what_happened(name: str, expected: str, tmp_path: Path) -> None:
    assert run(name, tmp_path, str(tmp_path)) == expected
    assert (tmp_path / "agentpay.db").is_file()


def test_the_examples_with_agents_print_what_happened(tmp_path: Path) -> None:
    paths = [str(EXAMPLES / f"{name}.py") for name in WITH_AGENTS]
    done = python(["-c", LANGCHAIN_LOADED, *paths], tmp_path)
    assert done.returncode == 0, done.stderr
    for name, expected in WITH_AGENTS.items():
        assert (tmp_path / name / "printed").read_text("utf-8") == expected
        assert (tmp_path / name / "agentpay.db").is_file()


def test_without_a_folder_nothing_is_left(tmp_path: Path) -> None:
    assert run("basic", tmp_path) == BASIC
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == PRINTED.keys() | WITH_AGENTS.keys() | SHARED


def test_with_a_model_named_the_examples_use_that_one() -> None:
    """No network here: a provider that there is none of is refused by LangChain, which so was asked."""
    code = "from chat_models import chat_model; chat_model()"
    named = {"EXAMPLE_MODEL": "no-such-provider:model", "PYTHONPATH": f"{EXAMPLES}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", code], env=named, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "no-such-provider" in done.stderr.replace("_", "-")


def run(name: str, work: Path, *arguments: str) -> str:
    """What an example prints."""
    done = python([str(EXAMPLES / f"{name}.py"), *arguments], work)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(arguments: list[str], work: Path) -> subprocess.CompletedProcess[str]:
    """Python, with no setting and no key."""
    passed_on = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=work,
        env={"TMPDIR": str(work), "PATH": "", **passed_on},
        capture_output=True,
        text=True,
        timeout=120,
    )
