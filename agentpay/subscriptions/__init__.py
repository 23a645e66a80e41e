"""Subscriptions: who has which plan, from when until when. Time decides about access, not a job."""
