"""Spending: the gate between what an agent asks and the money: policy, holds, approvals, halts."""
