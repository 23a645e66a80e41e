"""What is made from the code is up to date, and complete."""

from __future__ import annotations

from acceptance.docs import generated
from agentpay import errors
from agentpay_policies.codes import VIOLATIONS


def test_the_errors_are_those_of_the_code() -> None:
    assert (generated.DOCS / "errors.md").read_text("utf-8") == generated.errors_page()


def test_no_error_is_missing() -> None:
    classes = list(generated.error_classes())
    assert sorted(cls.__name__ for cls in classes) == sorted(errors.__all__)
    page = generated.errors_page()
    for code in [cls.code for cls in classes] + list(VIOLATIONS):
        assert f"\n| `{code}` |" in page


def test_the_mocks_table_is_that_of_the_code() -> None:
    page = (generated.DOCS / "mock.md").read_text("utf-8")
    assert generated.BEGIN in page
    assert page == generated.mock_page(page)
