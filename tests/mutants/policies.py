"""Mutants of the ground floor: money, payees, the policy language and its decisions."""

from __future__ import annotations

from typing import Final

from mutants import Mutant

_P: Final = "policies/agentpay_policies"
_T: Final = "tests/unit/policies"

MUTANTS: Final = (
    Mutant(
        "float money",
        f"{_P}/money.py",
        "return int(self.amount.scaleb(exponent(self.currency), context=_EXACT))",
        "return int(float(self.amount) * 10 ** exponent(self.currency))",
        "tests/unit/ground/test_money.py",
    ),
    Mutant(
        "prefix match of payees",
        f"{_P}/allowing.py",
        "return has_payee(request) and request.payee not in entry.payees",
        "return has_payee(request) and not any(str(request.payee).startswith(str(p)) for p in entry.payees)",
        f"{_T}/test_fields.py::test_a_payee_is_matched_whole",
    ),
    Mutant(
        "look-alike domains pass",
        f"{_P}/payees.py",
        'if any(map(misleading, read.split("."))):',
        "if False:",
        "tests/unit/ground/test_payees.py::test_spoofs_are_refused",
    ),
    Mutant(
        "letters that fold to ASCII pass",
        f"{_P}/payees.py",
        "if folds_to_ascii(text) or any",
        "if any",
        "tests/unit/ground/test_payees.py::test_spoofs_are_refused",
    ),
    Mutant(
        "> for >=: a limit that is just reached is passed",
        f"{_P}/limits.py",
        "exceeded = found.total + limit.attempted > limit.cap",
        "exceeded = found.total + limit.attempted >= limit.cap",
        f"{_T}/test_limits.py::test_the_boundary_is_exact",
    ),
    Mutant(
        ">= for >: the most of one payment is too much",
        f"{_P}/allowing.py",
        "if most is not None and money > most:",
        "if most is not None and money >= most:",
        f"{_T}/test_evaluate.py::test_it_is_allowed",
    ),
    Mutant(
        "approval asked at the threshold",
        f"{_P}/asking.py",
        "weight(entry, request) <= over.minor",
        "weight(entry, request) < over.minor",
        f"{_T}/test_evaluate.py::test_approval_is_asked_above_and_not_at_the_threshold",
    ),
    Mutant(
        "the moment of expiry still counts",
        f"{_P}/allowing.py",
        "now >= entry.expires_at",
        "now > entry.expires_at",
        f"{_T}/test_evaluate.py::test_it_is_denied_with_its_code",
    ),
    Mutant(
        "holds ignored",
        f"{_P}/limits.py",
        "exceeded = found.total + limit.attempted > limit.cap",
        "exceeded = found.total - found.held + limit.attempted > limit.cap",
        f"{_T}/test_fields.py::test_what_is_held_is_spent",
    ),
    Mutant(
        "category from the model",
        f"{_P}/allowing.py",
        "rule, category = entry.categories, policy.category_of(request.payee)",
        "rule, category = entry.categories, request.method or policy.category_of(request.payee)",
        f"{_T}/test_fields.py::test_the_category_is_the_operators_word",
    ),
    Mutant(
        "category of a counter from the model",
        f"{_P}/limits.py",
        '"category": policy.category_of(request.payee) or NO_CATEGORY',
        '"category": request.method or policy.category_of(request.payee) or NO_CATEGORY',
        f"{_T}/test_fields.py::test_the_category_is_the_operators_word",
    ),
    Mutant(
        "an approval lifts a cap",
        f"{_P}/evaluate.py",
        "        findings += [exceeded] if exceeded else []\n    base = replace(",
        "        findings += [exceeded] if exceeded and not state.approved_rules else []\n    base = replace(",
        f"{_T}/test_evaluate.py::test_an_approval_lifts_the_approval_step_only",
    ),
    Mutant(
        "a sum that is missing is nothing",
        f"{_P}/limits.py",
        "if found is None or limit.subject is None or not 0 <= found.held <= found.total:",
        "found = found or Sum(0)\n    if limit.subject is None or not 0 <= found.held <= found.total:",
        f"{_T}/test_evaluate.py::test_a_missing_sum_is_a_denial",
    ),
    Mutant(
        "what goes wrong is let through",
        f"{_P}/evaluate.py",
        'return _deny(Decision("deny"), finding("EVALUATION_FAILED", asked=type(exc).__name__))',
        'return Decision("allow", agent_entry=type(exc).__name__)',
        f"{_T}/test_evaluate.py::test_whatever_goes_wrong_is_a_denial",
    ),
    Mutant(
        "allow before deny, of payees",
        f"{_P}/allowing.py",
        "if has_payee(request) and request.payee in entry.payees_denied:",
        "if payee_is_new(request, entry) and request.payee in entry.payees_denied:",
        f"{_T}/test_fields.py::test_with_the_field_the_answer_is_another",
    ),
    Mutant(
        "deny of customers ignored",
        f"{_P}/allowing.py",
        "for pattern in entry.customers_denied):",
        "for pattern in ()):",
        f"{_T}/test_fields.py::test_with_the_field_the_answer_is_another",
    ),
    Mutant(
        "hours over midnight belong to the wrong day",
        f"{_P}/schedule.py",
        "WEEKDAYS[today - 1] in self.days",
        "WEEKDAYS[today] in self.days",
        f"{_T}/test_schedule.py::test_inside",
    ),
    Mutant(
        "a shadow rule decides",
        f"{_P}/evaluate.py",
        "findings = list(denied(policy, request, entry, state, now))",
        "findings = [*denied(policy, request, entry, state, now), "
        "*tried_findings(policy, request, entry.shadow or entry, now)]",
        f"{_T}/test_views.py::test_a_shadow_rule_is_reported_and_never_decides",
    ),
    Mutant(
        "a subscription counts its first period only",
        f"{_P}/terms.py",
        'return minor * term if counts == "committed" else minor',
        "return minor",
        f"{_T}/test_fields.py::test_a_subscription_counts_what_it_commits_to",
    ),
    Mutant(
        "what people approved counts as split",
        f"{_P}/evaluate.py",
        "if not approved and (key := unapproved_key(entry, request)) is not None:",
        "if (key := unapproved_key(entry, request)) is not None:",
        f"{_T}/test_fields.py::test_what_people_approved_is_not_split",
    ),
    Mutant(
        "each agent of a pattern need not be enrolled",
        f"{_P}/evaluate.py",
        "if entry.each and request.agent not in state.enrolled:",
        "if False:",
        f"{_T}/test_fields.py::test_each_enrolled_agent_of_a_pattern_has_its_own",
    ),
    Mutant(
        "an agent's id may be another counter's name",
        f"{_P}/policy.py",
        "if pattern is None or (self._entries[pattern].each and not SUBJECT_NAME.match(agent)):",
        "if pattern is None:",
        f"{_T}/test_fields.py::test_an_id_that_could_be_another_subject_falls_under_no_pattern_of_each",
    ),
    Mutant(
        "the figures of a shared budget are shown",
        f"{_P}/codes.py",
        "if not (shared and name in _SHARED)}",
        "}",
        f"{_T}/test_views.py",
    ),
    Mutant(
        "an unknown key is ignored",
        f"{_P}/cursor.py",
        'found.pop(key).fault(f"unknown key{_did_you_mean(key, tuple(described))}")',
        "found.pop(key)",
        f"{_T}/test_schema.py::test_a_key_that_is_mistyped_is_never_just_ignored",
    ),
    Mutant(
        "a shadow limit caps",
        f"{_P}/clauses.py",
        "found[is_shadow(fields)][name] = limit",
        "found[False][name] = limit",
        f"{_T}/test_views.py",
    ),
    Mutant(
        "the memo keeps hidden characters",
        f"{_P}/memo.py",
        '" ".join(stripped(text).split())',
        '" ".join(text.split())',
        f"{_T}/test_fields.py::test_the_memo_is_rendered_plainly",
    ),
    Mutant(
        "the memo is formatted twice",
        f"{_P}/memo.py",
        'text, longest = _PLACE.sub(lambda place: facts.get(place[1], ""), rule.template), LONGEST_MEMO',
        'text, longest = _PLACE.sub(lambda p: facts.get(p[1], ""), _PLACE.sub('
        'lambda p: facts.get(p[1], ""), rule.template)), LONGEST_MEMO',
        f"{_T}/test_fields.py::test_the_memo_is_rendered_plainly",
    ),
    Mutant(
        "a window forgets its oldest minute",
        f"{_P}/windows.py",
        "return floor_minute(now - self.length)",
        "return floor_minute(now - self.length) + timedelta(minutes=1)",
        f"{_T}/test_windows.py",
    ),
    Mutant(
        "a loosening is not said",
        f"{_P}/compare.py",
        "if a.expires_at and (b.expires_at is None or b.expires_at > a.expires_at):",
        "if a.expires_at and b.expires_at and b.expires_at > a.expires_at:",
        f"{_T}/test_compare.py",
    ),
    Mutant(
        "six may wait",
        f"{_P}/evaluate.py",
        "if needs and state.pending_approvals >= MOST_PENDING:",
        "if needs and state.pending_approvals > MOST_PENDING:",
        f"{_T}/test_evaluate.py",
    ),
    Mutant(
        "refunds of others' charges pass",
        f"{_P}/allowing.py",
        'entry.refund.allow != "any" and not request.own_charge',
        "False",
        f"{_T}/test_evaluate.py::test_it_is_denied_with_its_code",
    ),
)
