"""Billing: the flows that charge for something: subscribing, renewing, usage; and granting credits."""
